from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Envelope, NotAnEvent
from contracts.events.base import BlobRef
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingFailed, TrainingProgressed, TrainingRequested

HEADERS = [f"ce-{name}" for name in ("type", "id", "hops", "time", "source", "correlationid", "causationid")]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAN = {"dataset_id": "0" * 16, "recipe": "frozen-features", "seed": 0}


def first(**changes: str) -> Envelope:
    given_ = {"project": "solar", "source": "/services/cli", "id": "a"} | changes
    return Envelope.first(TrainingRequested(), time=NOW, **given_)


def read(subject: str, headers: dict[str, str] | None = None, position: str = "LOOP:7") -> Envelope:
    return Envelope.read(subject, headers, stored_at=NOW, position=position)


def test_what_is_written_is_read_again() -> None:
    said = Envelope.caused(TrainingFailed(reason="x"), by=first(), source="/services/trainer", time=NOW)
    said = said.traced("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "k=v")
    assert read(said.subject, said.headers()) == said


def test_subject_and_body_are_enough() -> None:
    bare = read("loopline.solar.prediction.requested")
    assert (bare.type, bare.project, bare.time) == ("loopline.prediction.requested.v1", "solar", NOW)
    assert bare.id == read("loopline.solar.prediction.requested").id
    assert bare.id != read("loopline.solar.prediction.requested", position="LOOP:8").id


def test_a_schedule_that_repeats_its_headers_says_a_new_event_each_time() -> None:
    headers = first().headers() | {"Nats-Scheduler": "x"}
    ids = {read("loopline.solar.training.requested", headers, f"LOOP:{n}").id for n in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        ("loopline.../x.training.requested", {}),
        ("loopline.Solar.training.requested", {}),
        ("loopline.solar.training", {}),
        ("loopline.solar.training.requested", {"ce-type": "loopline.model.approved.v1"}),
        ("loopline.solar.training.requested", {"ce-type": "nonsense"}),
        ("loopline.solar.training.requested", {"ce-subject": "other"}),
        ("loopline.solar.training.requested", {"ce-hops": "many"}),
        ("loopline.solar.training.requested", {"ce-hops": "-1"}),
        ("loopline.solar.training.requested", {"ce-hops": "9" * 5_000}),
        ("loopline.solar.training.requested", {"ce-time": "yesterday"}),
        ("loopline.solar.training.requested", {"ce-time": "0001-01-01T00:00:00+23:59"}),
        ("loopline.solar.training.requested", {"ce-id": "a b"}),
        ("loopline.solar.training.requested", {"ce-id": "x" * 201}),
        ("loopline.solar.training.requested", {"ce-correlationid": "a\r\nce-hops: 0"}),
        ("loopline.solar.training.requested", {"ce-causationid": "é"}),
        ("loopline.solar.training.requested", {"ce-source": "\x00"}),
    ],
)
def test_what_cannot_be_understood_says_why(subject: str, headers: dict[str, str]) -> None:
    with pytest.raises(NotAnEvent, match=r"^(subject|ce-[a-z]+) .{10,}") as refused:
        read(subject, headers)
    assert not any(value in str(refused.value) for value in headers.values())


def test_the_same_cause_gives_the_same_id_and_counts_its_hop() -> None:
    cause = first()
    one, two = (
        Envelope.caused(TrainingFailed(reason=r), by=cause, source="/services/trainer", time=NOW) for r in ("x", "y")
    )
    assert one.id == two.id
    assert (one.causation_id, one.correlation_id, one.hops) == (cause.id, cause.correlation_id, 1)


def test_facts_of_one_cause_with_different_natural_keys_differ() -> None:
    steps = [TrainingProgressed.model_validate({"plan": PLAN, "stage": "fit", "done": n, "total": 2}) for n in (1, 2)]
    ids = {Envelope.caused(s, by=first(), source="/services/trainer", time=NOW).id for s in steps}
    assert len(ids) == 2


def test_the_same_labels_frozen_for_two_reasons_are_one_dataset_version_and_start_one_turn() -> None:
    manifest = BlobRef(uri="blob://" + "0" * 64, sha256="0" * 64, size_bytes=1)
    version = DatasetVersioned(
        dataset_id="ab" * 8, number=1, manifest=manifest, classes=("a", "b"), counts=(), labels=1, new_labels=1
    )
    one, two = (
        Envelope.caused(version, by=first(id=id_), source="/services/labeling-sync", time=NOW) for id_ in ("a", "b")
    )
    assert one.id == two.id == one.correlation_id


@given(
    st.text(max_size=80),
    st.dictionaries(
        st.sampled_from(HEADERS), st.text() | st.sampled_from(["x", "9", "2026-11-24", "00010101T00+2359"])
    ),
)
def test_any_subject_and_headers_are_read_or_refused(subject: str, headers: dict[str, str]) -> None:
    for one in (subject, "loopline.solar.training.requested"):
        try:
            envelope = read(one, headers)
        except NotAnEvent:
            continue
        assert envelope.project
        assert envelope.id
        # It can be said again, as a dead letter is.
        assert read(envelope.subject, envelope.headers()) == envelope
