from pathlib import Path

from contracts.events import EVENTS
from contracts.topology import CONSUMERS, SERVICES, STREAMS, stream_of

README = Path(__file__).parents[2] / "services" / "chassis" / "README.md"


def _matches(filter_: str, subject: str) -> bool:
    wanted, given = filter_.split("."), subject.split(".")
    for n, token in enumerate(wanted):
        if token == ">":
            return len(given) > n
        if n >= len(given) or token not in ("*", given[n]):
            return False
    return len(wanted) == len(given)


def test_every_event_is_stored_by_exactly_one_stream_and_it_is_the_one_named() -> None:
    for event in EVENTS.values():
        stored = [s.name for s in STREAMS if any(_matches(f, event.subject("solar")) for f in s.subjects)]
        assert stored == [stream_of(event)], event.TYPE


def test_every_durable_hears_events_of_its_own_stream_and_belongs_to_a_service() -> None:
    assert len({row.durable for row in CONSUMERS}) == len(CONSUMERS)
    for row in CONSUMERS:
        assert {stream_of(event) for event in row.hears} == {row.stream}
        assert row.service in SERVICES


def test_no_two_durables_of_a_service_hear_the_same_event() -> None:
    heard = [(row.service, event.TYPE) for row in CONSUMERS for event in row.hears]
    assert len(set(heard)) == len(heard)


def test_the_readme_of_the_chassis_has_every_durable_with_its_waits() -> None:
    told = README.read_text()
    for row in CONSUMERS:
        pauses = ", ".join(f"{pause:g}" for pause in row.pauses_s)
        numbers = (
            f"{row.ack_wait_s:g} s | {row.keep_alive_s:g} s | {pauses} s | {len(row.pauses_s) + 1} | {row.at_once}"
        )
        assert f"| `{row.durable}` | {numbers} |" in told
