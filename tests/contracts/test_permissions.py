"""The table of users: complete, in agreement with the topology, and as the README shows it."""

import re
from pathlib import Path

import pytest

from contracts.events import EVENTS
from contracts.permissions import USERS, inbox_prefix, permissions, table, user
from contracts.topology import BUCKETS, SERVICES

README = Path(__file__).parents[2] / "contracts" / "README.md"


def test_every_service_is_a_user_and_no_name_or_inbox_is_given_twice() -> None:
    names = [row.name for row in USERS]
    assert set(SERVICES) <= set(names)
    assert len(set(names)) == len({row.inbox for row in USERS}) == len(names)


def test_every_event_is_said_by_somebody_beside_the_one_who_says_all() -> None:
    said = {event for row in USERS if row.name != "cli" for event in row.says}
    only_by_a_person = {event.name() for event in EVENTS.values() if event not in said}
    assert only_by_a_person == {"project.defined"}


def test_every_bucket_is_written_and_what_serves_by_the_deployer_alone() -> None:
    writers = {bucket.name: [row.name for row in USERS if bucket.name in row.writes] for bucket in BUCKETS}
    assert all(writers.values())
    assert writers["deployments"] == ["deployer"]
    assert writers["cursors"] == ["labeling-sync"]


def test_what_a_user_may_say_has_no_wildcard_but_for_the_project() -> None:
    for row in USERS:
        for subject in permissions(row).publish:
            assert subject != ">"
            if subject.startswith("loopline."):
                assert re.fullmatch(r"loopline\.\*\.[a-z-]+\.[a-z-]+", subject), subject


@pytest.mark.parametrize("name", ["*", ">", "a.b", "über fünf", "a*"])
def test_no_name_of_a_user_makes_a_wildcard_of_its_inbox(name: str) -> None:
    assert not set(inbox_prefix(name)) & set("*>. ")


def test_a_camera_may_say_one_event_and_ask() -> None:
    allowed = permissions(user("camera"))
    assert allowed.publish == ("loopline.*.prediction.requested", "ask.*.predict")
    assert allowed.subscribe == ("_INBOX_camera.>",)


def test_the_readme_shows_the_table_as_it_is() -> None:
    assert table() in README.read_text("utf-8"), "put what contracts.permissions.table() gives into contracts/README.md"
