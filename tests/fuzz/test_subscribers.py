"""Every subscriber, fed from the schemas and against them: each message is settled, a refusal is one sentence.

`LONG=1` tries 10,000 cases and more, otherwise some hundreds.
"""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from contracts.events.prediction import PredictionFailed
from contracts.events.project import ProjectDefined
from contracts.golden import message_of
from contracts.topology import CONSUMERS, DEAD, DEPLOYMENTS, Consumer, consumer
from services.chassis.errors import NotAllowed, Rejected, Retry
from services.chassis.understanding import understand
from tests.fuzz.memory import Handed, Memory, Stored
from tests.fuzz.messages import SECRET, Message, messages
from tests.fuzz.services import BUILD, ROUTE
from tests.services.predictor.world import World

LONG = bool(os.environ.get("LONG"))
CASES = 1_200 if LONG else 50
WITHIN_S = 20.0
EXPECTED = (Rejected, NotAllowed, Retry)
_TECHNICAL = ("Traceback", 'File "', "errors.pydantic.dev", "input_value=", "object at 0x", "<class ")


def fuzzing(cases: int) -> settings:
    """Other cases in each long run; without shrinking, since a service remembers what it heard."""
    return settings(
        max_examples=cases,
        derandomize=not LONG,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("row", CONSUMERS, ids=lambda row: row.durable)
def test_whatever_arrives_is_settled(row: Consumer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    memory.install(monkeypatch)
    (tmp_path / "blobs").mkdir()
    service = BUILD[row.service](tmp_path)
    service.bus.publish_through(memory.store)
    if row.service == "predictor":
        memory.buckets[DEPLOYMENTS].kept["solar"] = (json.dumps(ROUTE), 1)
    failures: list[BaseException] = []
    monkeypatch.setattr("services.chassis.delivery.record_error", lambda current, error: failures.append(error))
    ends: Counter[str] = Counter()

    with asyncio.Runner() as runner:

        @fuzzing(CASES)
        @given(messages(row))
        def is_settled(message: Message) -> None:
            failures.clear()
            handed: Any = Handed(message, row.stream)
            before = [_card(), *memory.stored[-20:]]
            memory.stored[:] = before
            runner.run(asyncio.wait_for(service.deliveries[row.durable].deliver(handed), WITHIN_S))
            letters = [one for one in memory.stored[len(before) :] if one.stream == DEAD]
            _check(handed, [letter.headers["loopline-dead-reason"] for letter in letters], failures)
            ends["dead letter" if letters else handed.settled[0]] += 1

        is_settled()
    print(f"\n{row.durable}: {sum(ends.values())} cases, {dict(ends)}")
    # Neither everything is refused nor everything taken.
    assert ends["ack"]
    assert ends["dead letter"]


def _card() -> Stored:
    """The project `solar` is defined, as far as the bus knows."""
    said = message_of(ProjectDefined, "cli")
    body = ProjectDefined.model_validate(said["body"]).model_dump_json().encode()
    return Stored(said["subject"], said["headers"], body, "LOOP")


def _check(handed: Handed, reasons: list[str], failures: list[BaseException]) -> None:
    assert len(handed.settled) == 1, handed.settled
    assert all(isinstance(failure, EXPECTED) for failure in failures), repr(failures)
    assert len(reasons) <= 1
    for reason in reasons:
        assert handed.settled == ["ack"]
        kind, _, sentence = reason.partition(": ")
        assert kind.isidentifier(), reason
        assert 10 <= len(sentence) <= 600, reason
        assert sentence.isprintable(), ascii(reason)
        assert not any(word in sentence for word in _TECHNICAL), reason
        assert SECRET not in sentence, reason


@pytest.mark.timeout(600)
def test_whatever_is_asked_is_answered(tmp_path: Path) -> None:
    world = World(tmp_path)
    answers: Counter[str] = Counter()

    with asyncio.Runner() as runner:

        @fuzzing(CASES)
        @given(messages(consumer("predictor-requests")))
        def is_answered(message: Message) -> None:
            project = message.subject.split(".")[1]
            reply = json.loads(runner.run(asyncio.wait_for(world.asked(message.body, project), WITHIN_S)))
            event = understand(reply["type"], json.dumps(reply["data"]).encode())
            answers[event.name()] += 1
            if isinstance(event, PredictionFailed):
                assert 10 <= len(event.reason) <= 600, event.reason
                assert event.reason.isprintable(), ascii(event.reason)
                assert not any(word in event.reason for word in (*_TECHNICAL, SECRET)), event.reason

        is_answered()
    print(f"\nask.*.predict: {sum(answers.values())} cases, {dict(answers)}")
    assert len(answers) == 2
