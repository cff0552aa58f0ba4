import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.js.api import ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo, StreamState

from contracts.events.dataset import DatasetRequested
from contracts.events.prediction import PredictionRequested
from contracts.topology import LOOP, REQUESTS, STREAMS
from deploy.embedded import servers
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.errors import Away
from services.chassis.limits import Fill, Lag
from services.chassis.provisioning import provision
from services.chassis.settings import Settings, StreamLimits
from tests.eventually import eventually
from tests.filling import fill, small_nats
from tests.servers import running
from tests.services.chassis.conftest import Run

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@asynccontextmanager
async def bus_with(tmp_path: Path, store_bytes: int, stream_bytes: int) -> AsyncIterator[Client]:
    """A bus with so much room for all, and so much in each stream."""
    port = servers.free_port()
    process = small_nats(tmp_path / "nats", port, store_bytes)
    settings = Settings(nats_url=f"nats://{servers.HOST}:{port}", blobs_root=str(tmp_path / "blobs"))
    limits = {row.name: StreamLimits.model_validate({"max_bytes": stream_bytes}) for row in STREAMS}
    with running(process, tmp_path / "nats.log"):
        connection = await connect(settings, "provisioning")
        await provision(connection, limits=limits)
        await connection.close()
        async with Client.connect(settings, "test") as client:
            yield client


@pytest.mark.integration
async def test_a_full_stream_slows_who_speaks_and_loses_nothing(tmp_path: Path) -> None:
    async with bus_with(tmp_path, 64 * 2**20, 2**20) as client:
        await fill(client.bus.jetstream, LOOP, "loopline.solar.image.added")
        saying = [asyncio.create_task(client.say(DatasetRequested(why=str(n)), project="solar")) for n in range(5)]
        await eventually(lambda: _assert("the stream LOOP is full" in client.bus.room.waits_for))
        assert not any(one.done() for one in saying)
        await client.bus.jetstream.purge_stream(LOOP, subject="loopline.solar.image.added")
        envelopes = await asyncio.wait_for(asyncio.gather(*saying), 20)
        stored = [envelope.id async for _, envelope, _ in client.read(DatasetRequested, "solar")]
        assert sorted(stored) == sorted(envelope.id for envelope in envelopes)
        assert client.bus.room.waits_for == ""


@pytest.mark.integration
async def test_a_full_disk_is_waited_out_and_health_says_so(tmp_path: Path, run: Run) -> None:
    async with bus_with(tmp_path, 8 * 2**20, 2**20) as client:
        # Whatever is not reserved for another stream is used up by one without a limit.
        await client.bus.jetstream.add_stream(StreamConfig(name="OTHER", subjects=["other.>"]))
        await fill(client.bus.jetstream, "OTHER", "other.x")
        async with run(Service("trainer", client.settings)) as service:
            saying = asyncio.create_task(service.bus.say(DatasetRequested(), project="solar"))

            async def health_names_it() -> None:
                said = (await service.health.state()).get("room", "")
                assert "the disk or the store of the bus has no room" in said

            await eventually(health_names_it)
            with pytest.raises(Away, match="no room for a bucket"):
                await service.bus.bucket("claims").create("key", {})
            await client.bus.jetstream.delete_stream("OTHER")
            await asyncio.wait_for(saying, 20)
            assert (await service.health.state())["room"] == "ok"


@pytest.mark.integration
async def test_health_warns_of_a_stream_that_is_nearly_full_and_stays_ready(tmp_path: Path, run: Run) -> None:
    async with bus_with(tmp_path, 64 * 2**20, 2**20) as client:
        for _ in range(9):
            await client.bus.jetstream.publish("loopline.solar.image.added", b"x" * 100_000, stream=LOOP)
        async with run(Service("trainer", client.settings)) as service:

            async def is_ready() -> None:
                assert set((await service.health.state()).values()) == {"ok"}

            await eventually(is_ready)
            warnings = await service.health.warnings()
            assert list(warnings) == [LOOP]
            assert "of 1.0 MiB are used" in warnings[LOOP]
            assert "who speaks has to wait" in warnings[LOOP]


@pytest.mark.integration
async def test_a_burst_of_pictures_presses_back_until_the_predictor_has_made_room(tmp_path: Path) -> None:
    async with bus_with(tmp_path, 64 * 2**20, 2**20) as client:
        picture = PredictionRequested(image_base64="A" * 200_000)
        saying = [asyncio.create_task(client.say(picture, project="solar")) for _ in range(12)]
        await eventually(lambda: _assert("the stream REQUESTS is full" in client.bus.room.waits_for))
        subscription = await client.bus.jetstream.pull_subscribe_bind(consumer="predictor-requests", stream=REQUESTS)
        seen: set[str] = set()

        async def serve() -> None:
            for message in await subscription.fetch(1, timeout=5):
                seen.add((message.headers or {})["ce-id"])
                await message.ack_sync()

        while len(seen) < 12:
            await asyncio.wait_for(serve(), 10)
        assert seen == {envelope.id for envelope in await asyncio.gather(*saying)}


def test_a_stream_says_what_happens_when_it_is_full() -> None:
    def of(name: str, used: int) -> str:
        info = StreamInfo(
            config=StreamConfig(name=name, max_bytes=100),
            state=StreamState(messages=1, bytes=used, first_seq=1, last_seq=1, consumer_count=0),
        )
        return Fill.of(info).warning

    assert of(LOOP, 79) == ""
    assert "who speaks has to wait" in of(LOOP, 80)
    assert "its oldest messages are dropped" in of("PREDICTIONS", 95)


def test_a_durable_falls_behind_when_what_waits_becomes_more_from_look_to_look() -> None:
    def told(waiting: int) -> ConsumerInfo:
        return ConsumerInfo(name="d", stream_name=LOOP, config=ConsumerConfig(), num_pending=waiting, created=NOW)

    lag = None
    for second, waiting in enumerate((0, 10, 20, 20, 40, 50, 60)):
        lag = Lag.of(told(waiting), NOW + timedelta(seconds=4 * second), lag)
    assert lag
    assert "60 messages wait and become more since 20 s" in lag.warning
    assert Lag.of(told(59), NOW + timedelta(seconds=40), lag).warning == ""


def _assert(truth: bool) -> None:
    assert truth
