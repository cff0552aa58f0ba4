"""Services as processes: what SIGTERM comes to, with a bus, without one, and before there was one."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from contracts.topology import consumer
from deploy.embedded.servers import HOST, free_port
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.chaos.link import How, Link
from tests.eventually import eventually
from tests.services.registry.world import evaluation

pytestmark = pytest.mark.integration

WAIT_S = 60.0
# What SIGTERM leaves a service before it would be killed.
STOP_S = 10.0
MODULES = ("labeling_sync", "trainer", "evaluator", "registry", "deployer", "predictor")


@dataclass
class Running:
    """A service, its HTTP door, and the file with what it logs."""

    process: asyncio.subprocess.Process
    port: int
    log: Path

    async def bus_is(self, state: str) -> None:
        """Returns once its health says so of the bus; MLflow and others are not there in these tests."""

        async def says() -> None:
            assert self.process.returncode is None, self.log.read_text()
            try:
                async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
                    answer = await http.get(f"http://{HOST}:{self.port}/health/ready")
            except httpx.HTTPError as error:
                raise AssertionError(repr(error)) from error
            assert answer.json()["parts"].get("bus") == state, answer.text

        await eventually(says, WAIT_S)

    async def stopped(self) -> int:
        """SIGTERM; the exit code, which comes in time."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_S)


@asynccontextmanager
async def started(module: str, nats_url: str, folder: Path, code: str = "") -> AsyncIterator[Running]:
    """`python -m services.<module>`, or `code` in its place; MLflow, Label Studio and Triton are away."""
    nowhere, port, log = f"{HOST}:{free_port()}", free_port(), folder / f"{module}.log"
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": nats_url,
        "LOOPLINE_NATS_USER": "",
        "LOOPLINE_HTTP_PORT": str(port),
        "LOOPLINE_BLOBS_ROOT": str(folder / "files" / "blobs"),
        "LOOPLINE_KEPT_ROOT": str(folder / "kept"),
        "LOOPLINE_MLFLOW_URL": f"http://{nowhere}",
        "LOOPLINE_LABEL_STUDIO_URL": f"http://{nowhere}",
        "LOOPLINE_LABEL_STUDIO_TOKEN": "any",
        "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(folder / "files"),
        "LOOPLINE_TRITON_NODES": f"local={nowhere}",
    }
    with log.open("wb") as output:
        what = ("-c", code) if code else ("-m", f"services.{module}")
        process = await asyncio.create_subprocess_exec(sys.executable, *what, env=environment, stderr=output)
    try:
        yield Running(process, port, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def bus(nats_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a provisioned bus, with a blob store."""
    blobs = tmp_path / "files" / "blobs"
    blobs.mkdir(parents=True)
    settings = Settings(nats_url=nats_url, nats_user="", blobs_root=str(blobs))
    connection = await connect(settings, "provisioning")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


async def test_whoever_is_told_to_stop_and_stops_cleanly_exits_0(bus: Client, tmp_path: Path) -> None:
    codes = {}
    for module in MODULES:
        async with started(module, bus.settings.nats_url, tmp_path) as service:
            await service.bus_is("ok")
            codes[module] = await service.stopped()
            assert "Traceback" not in service.log.read_text()
    assert codes == dict.fromkeys(MODULES, 0)


async def test_whoever_cannot_stop_cleanly_does_not_exit_0(bus: Client, tmp_path: Path) -> None:
    code = (
        "from services.chassis.app import Service\n"
        "from services.chassis.settings import Settings\n"
        "async def fails(): raise RuntimeError('the child does not end')\n"
        "service = Service('registry', Settings())\n"
        "service.on_stop(fails)\n"
        "service.run()\n"
    )
    async with started("registry", bus.settings.nats_url, tmp_path, code) as service:
        await service.bus_is("ok")
        assert await service.stopped() == 1
        told(service, "the child does not end")


@pytest.mark.parametrize("how", ["closed", "silent"])
async def test_a_service_whose_bus_is_gone_stops_in_time_and_its_work_comes_again(
    bus: Client, tmp_path: Path, how: How
) -> None:
    link = Link([urlsplit(bus.settings.nats_url).port or 0])
    (port,) = await link.start()
    row = consumer("registry-versions")
    async with started("registry", f"nats://{HOST}:{port}", tmp_path) as service:
        await service.bus_is("ok")
        await bus.say(evaluation(), project=f"solar-{how}")

        async def taken() -> None:
            assert (await bus.bus.jetstream.consumer_info(row.stream, row.durable)).num_ack_pending == 1

        await eventually(taken, WAIT_S)
        link.cut(how)
        if how == "closed":
            await service.bus_is("not ready")  # it is reconnecting
        assert await service.stopped() == 0
        told(service, "stops without the bus")
        assert "Traceback" not in service.log.read_text()
    await link.stop()
    subscription = await bus.bus.jetstream.pull_subscribe_bind(consumer=row.durable, stream=row.stream)
    (message,) = await subscription.fetch(1, timeout=row.ack_wait_s * 2)
    assert message.metadata.num_delivered > 1
    await message.ack()


def told(service: Running, words: str) -> None:
    log = service.log.read_text()
    assert words in log, log


async def test_a_service_that_still_looks_for_its_bus_can_be_stopped(tmp_path: Path) -> None:
    async with started("registry", f"nats://{HOST}:{free_port()}", tmp_path) as service:
        await eventually(lambda: told(service, "Waiting for application startup"), WAIT_S)
        assert await service.stopped() == 0
        assert "Traceback" not in service.log.read_text()


async def test_a_service_that_still_waits_for_the_provisioner_can_be_stopped(bus: Client, tmp_path: Path) -> None:
    row = consumer("registry-versions")
    await bus.bus.jetstream.delete_consumer(row.stream, row.durable)
    async with started("registry", bus.settings.nats_url, tmp_path) as service:
        await eventually(lambda: told(service, "waits for `python -m services.chassis.provisioning`"), WAIT_S)
        assert await service.stopped() == 0
        assert "Traceback" not in service.log.read_text()
