import asyncio
from pathlib import Path

import nats.js.errors
import pytest

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import DatasetRequested
from contracts.events.model import ModelApproved
from contracts.events.training import TrainingRequested
from contracts.topology import LOOP, SCHEDULES
from deploy.embedded import servers
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.errors import Rejected
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.servers import running

pytestmark = pytest.mark.integration

AGAIN = TrainingRequested(again=True, why="schedule nightly")


async def fired(client: Client, event_type: type[Event], project: str = "solar") -> list[Envelope]:
    return [envelope async for _, envelope, _ in client.read(event_type, project)]


async def until_fired(client: Client, count: int, event_type: type[Event] = TrainingRequested) -> list[Envelope]:
    async def enough() -> None:
        assert len(await fired(client, event_type)) >= count

    await eventually(enough, 30)
    return await fired(client, event_type)


async def test_each_firing_is_an_event_of_its_own_that_names_its_schedule(client: Client) -> None:
    assert await client.schedules.add("solar", "nightly", AGAIN, "@every 1s") is False
    envelopes = await until_fired(client, 3)
    assert len({envelope.id for envelope in envelopes}) == len(envelopes)
    assert {envelope.schedule for envelope in envelopes} == {"nightly"}
    assert all(envelope.correlation_id == envelope.id and not envelope.causation_id for envelope in envelopes)
    assert [envelope.time for envelope in envelopes] == sorted(envelope.time for envelope in envelopes)
    event, _ = await client.last(TrainingRequested, "solar") or pytest.fail("nothing fired")
    assert event == AGAIN
    (kept,) = await client.schedules.all("solar")
    assert (kept.name, kept.when, kept.event) == ("nightly", "@every 1s", "training.requested")
    assert kept.fired_at
    assert kept.next


async def test_a_schedule_that_is_removed_is_silent_while_others_go_on(client: Client) -> None:
    await client.schedules.add("solar", "nightly", AGAIN, "@every 1s")
    await client.schedules.add("solar", "freeze", DatasetRequested(), "@every 1s")
    await until_fired(client, 1)
    assert await client.schedules.remove("solar", "nightly")
    before = len(await fired(client, TrainingRequested))
    others = len(await fired(client, DatasetRequested))
    await until_fired(client, others + 3, DatasetRequested)
    # One may have been on its way.
    assert len(await fired(client, TrainingRequested)) <= before + 1
    assert [one.name for one in await client.schedules.all()] == ["freeze"]
    assert not await client.schedules.remove("solar", "nightly")


async def test_a_schedule_of_the_same_name_replaces_the_one_before(client: Client) -> None:
    await client.schedules.add("solar", "nightly", AGAIN, "0 0 2 * * *", "Europe/Berlin")
    assert await client.schedules.add("solar", "nightly", AGAIN, "0 0 3 * * *", "Europe/Lisbon")
    assert [(one.when, one.zone) for one in await client.schedules.all("solar")] == [("0 0 3 * * *", "Europe/Lisbon")]
    assert await client.schedules.all("lunar") == []


@pytest.mark.parametrize(
    ("when", "zone", "says"),
    [
        ("0 2 * * *", "", "six fields, seconds first"),
        ("0 0 25 * * *", "", "six fields"),
        ("@every 1ms", "", "of a second at least"),
        ("0 0 2 * * *", "Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("@every 1h", "Europe/Berlin", "takes no time zone"),
    ],
)
async def test_a_time_that_the_server_does_not_understand_is_refused_with_what_to_write(
    client: Client, when: str, zone: str, says: str
) -> None:
    with pytest.raises(Rejected, match=says):
        await client.schedules.add("solar", "nightly", AGAIN, when, zone)
    assert await client.schedules.all() == []


async def test_a_schedule_says_requests_and_nothing_else(client: Client) -> None:
    with pytest.raises(Rejected, match=r"cannot be scheduled, only training\.requested, dataset\.requested"):
        await client.schedules.add("solar", "evil", ModelApproved.model_construct(), "@every 1s")
    # Nor does the server let anybody write a target of his own.
    for target in ("loopline.solar.model.approved", "loopline-due.solar.model.approved"):
        headers = {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": target}
        with pytest.raises(nats.js.errors.BadRequestError, match="target is invalid"):
            await client.bus.jetstream.publish("loopline-schedule.solar.evil", b"{}", headers=headers)


async def test_no_header_lets_one_who_may_say_a_fact_wipe_the_audit_log(client: Client) -> None:
    await client.say(DatasetRequested(why="first"), project="solar")
    for rollup in ("all", "sub"):
        with pytest.raises(nats.js.errors.APIError, match="rollup not permitted"):
            await client.bus.jetstream.publish(
                DatasetRequested.subject("solar"), b"{}", stream=LOOP, headers={"Nats-Rollup": rollup}
            )
    assert len(await fired(client, DatasetRequested)) == 1


async def test_schedules_outlive_the_server_and_no_firing_is_taken_over_twice(tmp_path: Path) -> None:
    port = servers.free_port()
    process = servers.nats(tmp_path / "nats", port)
    settings = Settings(nats_url=f"nats://{servers.HOST}:{port}", blobs_root=str(tmp_path / "blobs"))
    with running(process, tmp_path / "nats.log"):
        connection = await connect(settings, "provisioning")
        await provision(connection)
        await connection.close()
        async with Client.connect(settings, "test") as client:
            await client.schedules.add("solar", "nightly", AGAIN, "@every 1s")
            before = len(await until_fired(client, 3))
    with running(process, tmp_path / "nats.log"):
        async with Client.connect(settings, "test") as client:
            await until_fired(client, before + 2)
            await client.schedules.remove("solar", "nightly")

            async def both_streams_agree() -> None:
                due = await client.bus.jetstream.stream_info(SCHEDULES, subjects_filter="loopline-due.>")
                last = await client.bus.jetstream.get_last_msg(LOOP, TrainingRequested.subject("solar"))
                newest = await client.bus.jetstream.get_last_msg(SCHEDULES, "loopline-due.solar.training.requested")
                assert due.state.subjects
                taken_over = (last.headers or {})["Nats-Stream-Source"].split()
                assert taken_over[1] == str(newest.seq)

            await eventually(both_streams_agree)
            sources = [
                (message.headers or {})["Nats-Stream-Source"].split()[1]
                for message in await asyncio.gather(
                    *(
                        client.bus.jetstream.get_msg(LOOP, seq)
                        for seq in range(1, (await client.bus.jetstream.stream_info(LOOP)).state.last_seq + 1)
                    )
                )
            ]
            assert len(set(sources)) == len(sources)
