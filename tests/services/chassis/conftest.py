"""A nats-server of one test's own, provisioned, and services that run in the test's process."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.embedded import servers
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.servers import running


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings that point to a nats-server with the topology on it and nothing else."""
    port = servers.free_port()
    authorization = {"user": "loopline", "password": "only-for-tests"}
    with running(servers.nats(tmp_path / "nats", port, authorization), tmp_path / "nats.log"):
        found = Settings(
            nats_url=f"nats://{servers.HOST}:{port}",
            nats_user="loopline",
            nats_password=SecretStr("only-for-tests"),
            blobs_root=str(tmp_path / "blobs"),
            kept_root=str(tmp_path / "kept"),
            traces_dir=str(tmp_path / "traces"),
        )
        connection = await connect(found, "provisioning")
        await provision(connection)
        await connection.close()
        yield found


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client of that server."""
    async with Client.connect(settings, "test") as found:
        yield found


Run = Callable[[Service], AbstractAsyncContextManager[Service]]


@pytest.fixture
def run() -> Run:
    """Runs a service, without its HTTP server, for as long as the `async with` lasts."""

    @asynccontextmanager
    async def running_service(service: Service) -> AsyncIterator[Service]:
        async with service.app().start_lifespan_context():
            yield service

    return running_service
