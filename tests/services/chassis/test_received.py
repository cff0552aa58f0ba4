from datetime import UTC, datetime

import pytest

from contracts.envelope import Envelope
from services.chassis.received import project_of, written_out

SUBJECT = "loopline.solar.training.requested"
STORED_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def read(headers: dict[str, str], position: str) -> Envelope:
    return Envelope.read(SUBJECT, headers, stored_at=STORED_AT, position=position)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Nats-Scheduler": "every-night", "ce-id": "each night the same"}, {"CE-Id": "42", "CE-Type": ""}],
    ids=["bare", "fired by a schedule", "in capitals"],
)
def test_what_followed_from_the_place_of_a_message_stays_when_it_is_stored_elsewhere(headers: dict[str, str]) -> None:
    there = read(headers, "LOOP:7")
    elsewhere = written_out(headers, there)
    assert read(elsewhere, "DEAD:1") == there
    assert not [name for name in elsewhere if name.lower().startswith("nats-")]


def test_what_others_put_into_the_headers_goes_along_and_what_belongs_to_the_place_does_not() -> None:
    headers = {"x-line": "3", "loopline-dead-reason": "old", "loopline-redo-of": SUBJECT, "Nats-Msg-Id": "1"}
    assert written_out(headers, None) == {"x-line": "3"}


def test_a_project_is_known_from_the_subject_of_what_is_no_event() -> None:
    assert project_of("loopline.solar.nonsense") == "solar"
    assert [project_of(subject) for subject in ("loopline.UPPER.model.approved", "solar", "")] == ["", "", ""]
