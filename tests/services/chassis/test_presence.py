import asyncio
import json
from pathlib import Path

import pytest
from pydantic import Field

from contracts.compatibility import meaning
from contracts.events.base import Shape
from deploy.embedded import servers
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.jobs import replica
from services.chassis.presence import contracts_hash
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.chassis.store_mark import mark_of
from tests.eventually import eventually
from tests.servers import running
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


def test_contracts_are_told_apart_by_fields_and_not_by_what_is_said_about_them() -> None:
    class Before(Shape):
        title: str = Field(description="What it is called")

    class After(Shape):
        title: str = Field(description="Its name", examples=["x"])

    class Grown(Shape):
        title: str
        more: int = 0

    before, after, grown = (meaning(model.model_json_schema()) for model in (Before, After, Grown))
    assert before == after != grown
    assert list(before["properties"]) == ["title"]


async def names(client: Client, *expected: str) -> None:
    async def are_there() -> None:
        assert [one.name for one in await client.alive()] == list(expected)

    await eventually(are_there, 30)


async def test_every_replica_answers_while_it_runs_with_what_it_is(
    client: Client, settings: Settings, run: Run
) -> None:
    await asyncio.to_thread(Path(settings.blobs_root).mkdir)
    await names(client)
    async with run(Service("trainer", settings)), run(Service("trainer", settings)), run(Service("registry", settings)):
        await names(client, "registry", "trainer", "trainer")
        registry, first, second = await client.alive()
        assert first.id != second.id
        assert (registry.replica, registry.contracts) == (replica(), contracts_hash())
        assert registry.blobs == first.blobs == await mark_of(settings.blobs_root) != ""
        assert registry.started
        # As any other tool of NATS asks.
        for verb in ("INFO", "STATS"):
            answer = json.loads((await client.bus.connection.request(f"$SRV.{verb}.registry", b"", timeout=5)).data)
            assert (answer["name"], answer["id"]) == ("registry", registry.id)
    await names(client)


async def test_a_service_answers_again_after_the_bus_was_restarted(tmp_path: Path, run: Run) -> None:
    port = servers.free_port()
    process = servers.nats(tmp_path / "nats", port)
    settings = Settings(nats_url=f"nats://{servers.HOST}:{port}", blobs_root=str(tmp_path / "blobs"))
    with running(process, tmp_path / "nats.log"):
        connection = await connect(settings, "provisioning")
        await provision(connection)
        await connection.close()
        service = run(Service("trainer", settings))
        await service.__aenter__()
        async with Client.connect(settings, "test") as client:
            await names(client, "trainer")
    with running(process, tmp_path / "nats.log"):
        async with Client.connect(settings, "test") as client:
            await names(client, "trainer")
        await service.__aexit__(None, None, None)


async def test_stores_at_one_root_have_one_mark_and_others_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = await mark_of(str(tmp_path / "one"))
    assert one == await mark_of(f"{tmp_path}/one/") != await mark_of(str(tmp_path / "two"))
    # A disk that is away.
    assert await mark_of(str(tmp_path / "three")) == ""
