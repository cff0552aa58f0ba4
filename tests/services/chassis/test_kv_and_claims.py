import asyncio
from typing import Any

import pytest

from contracts.topology import CLAIMS, CURSORS
from services.chassis import jobs
from services.chassis.app import Service
from services.chassis.claims import Claims
from services.chassis.client import Client
from services.chassis.errors import Away, Busy
from services.chassis.jobs import Lease
from services.chassis.kv import Conflict, KeyExists
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


async def test_of_many_who_take_a_piece_of_work_at_once_one_gets_it_and_the_others_its_result(client: Client) -> None:
    claims = Claims(client.bucket(CLAIMS))
    outcomes = await asyncio.gather(
        *(claims.take("train.solar.abc", f"LOOP:{n}") for n in range(10)), return_exceptions=True
    )
    winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
    assert len(winners) == 1
    assert sum(isinstance(outcome, Busy) for outcome in outcomes) == 9
    owner = f"LOOP:{winners[0]}"
    assert await claims.take("train.solar.abc", owner) is None, "the same message delivered again goes on"
    await claims.finish("train.solar.abc", owner, {"run": 7})
    assert await claims.take("train.solar.abc", "LOOP:99") == {"run": 7}
    with pytest.raises(Busy):
        await claims.finish("train.solar.abc", "LOOP:99", {"run": 8})


async def test_a_released_claim_is_free_and_a_finished_or_foreign_one_stays(client: Client) -> None:
    claims = Claims(client.bucket(CLAIMS))
    assert await claims.take("a", "LOOP:1") is None
    await claims.release("a", "LOOP:2")
    with pytest.raises(Busy):
        await claims.take("a", "LOOP:2")
    await claims.release("a", "LOOP:1")
    assert await claims.take("a", "LOOP:2") is None
    await claims.finish("a", "LOOP:2", {})
    await claims.release("a", "LOOP:2")
    assert await claims.take("a", "LOOP:3") == {}


async def test_compare_and_set_refuses_what_was_read_before_a_change(client: Client) -> None:
    bucket = client.bucket(CURSORS)
    revision = await bucket.create("labels.solar", {"n": 1})
    with pytest.raises(KeyExists):
        await bucket.create("labels.solar", {"n": 1})
    await bucket.put("labels.solar", {"n": 2}, revision)
    with pytest.raises(Conflict):
        await bucket.put("labels.solar", {"n": 3}, revision)
    found = await bucket.get("labels.solar")
    assert found
    assert found[0] == {"n": 2}
    await bucket.delete("labels.solar")
    assert await bucket.get("labels.solar") is None
    assert await bucket.keys() == []


async def test_a_watch_tells_what_is_there_and_what_comes_and_outlives_an_error(client: Client) -> None:
    bucket = client.bucket(CURSORS)
    await bucket.put("a", {"n": 1})
    seen: list[tuple[str, dict[str, Any] | None]] = []

    async def on_value(key: str, value: dict[str, Any] | None) -> None:
        seen.append((key, value))
        if len(seen) == 1:
            raise RuntimeError("cannot use this")

    watching = asyncio.create_task(bucket.watch(on_value))

    def saw(*expected: tuple[str, dict[str, Any] | None]) -> None:
        assert seen == list(expected)

    await eventually(lambda: saw(("a", {"n": 1})))
    await bucket.put("b", {"n": 2})
    await bucket.delete("a")
    await eventually(lambda: saw(("a", {"n": 1}), ("b", {"n": 2}), ("a", None)))
    watching.cancel()


async def test_only_one_replica_holds_a_lease_until_it_gives_it_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = client.bucket(CLAIMS)
    who = "host/1"
    monkeypatch.setattr("services.chassis.jobs.replica", lambda: who)
    lease = Lease(bucket, "lease.labeling-sync.labels", client.bus)
    assert await lease.hold()
    assert await lease.hold(), "renewed"
    who = "host/2"
    assert not await lease.hold()
    await lease.give_up()
    assert not await lease.hold(), "what another holds cannot be given up"
    who = "host/1"
    await lease.give_up()
    who = "host/2"
    assert await lease.hold()


async def test_a_job_that_fails_is_done_again(settings: Settings, run: Run) -> None:
    service = Service("labeling-sync", settings)
    tries = []

    async def job() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("Label Studio is away")

    service.every(0.05, job, name="labels")

    def went_on() -> None:
        assert len(tries) > 3

    async with run(service):
        await eventually(went_on)


async def test_a_job_whose_system_is_away_says_so_without_a_stack(
    settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service("labeling-sync", settings)
    told: list[tuple[str, object]] = []

    async def job() -> None:
        raise Away("Label Studio does not answer: is it running?")

    def warning(text: str, *values: object, exc_info: object) -> None:
        told.append((text % values, exc_info))

    monkeypatch.setattr(jobs.log, "warning", warning)
    service.every(0.05, job, name="labels")

    def said_once() -> None:
        assert len(told) == 1

    async with run(service):
        await eventually(said_once)
    assert told == [("labels failed, again in 0.05 s: Label Studio does not answer: is it running?", None)]


async def test_the_unfinished_claims_of_a_pattern_are_known_with_their_owners(client: Client) -> None:
    claims = Claims(client.bucket(CLAIMS))
    for key, owner in (("train.solar.a", "LOOP:1"), ("train.solar.b", "LOOP:2"), ("train.solar-2.c", "LOOP:3")):
        await claims.take(key, owner)
    await claims.finish("train.solar.b", "LOOP:2", {})
    assert await claims.held("train.solar.*") == {"train.solar.a": "LOOP:1"}
    await claims.release("train.solar.a", "LOOP:1")
    assert await claims.held("train.solar.*") == {}


async def test_the_keys_and_values_of_a_pattern_are_those_that_were_not_removed(client: Client) -> None:
    bucket = client.bucket(CURSORS)
    await bucket.put("labels.solar", {"n": 1})
    await bucket.put("labels.steel", {"n": 2})
    await bucket.put("labels.solar", {"n": 3})
    await bucket.delete("labels.steel")
    assert await bucket.keys() == ["labels.solar"]
    assert await bucket.values("labels.*") == {"labels.solar": {"n": 3}}
    assert await bucket.values("scopes.*") == {}
