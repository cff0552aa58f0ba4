"""Today's models against every schema that was ever published."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from contracts.events import EVENTS
from contracts.generate import SCHEMAS, schema_of, schemas
from contracts.publishing import PUBLISHED, broken, damaged, publish, revisions, unpublished
from tests.contracts.promises import check_old_consumers, check_old_producers

EVER_PUBLISHED = [
    pytest.param(type_, schema, id=f"{type_}.{number}")
    for type_, published in sorted(revisions().items())
    for number, schema in enumerate(published, 1)
]
TRIES = 25


@pytest.mark.parametrize(("type_", "schema"), EVER_PUBLISHED)
def test_todays_model_keeps_what_was_published(type_: str, schema: dict[str, object]) -> None:
    Draft202012Validator.check_schema(schema)
    check_old_producers(schema, EVENTS[type_], TRIES)
    check_old_consumers(schema, EVENTS[type_], TRIES)


def test_no_promise_is_broken_and_every_event_is_published() -> None:
    assert broken(schemas()) == []
    assert unpublished(schemas()) == []


def test_what_was_published_is_as_it_was() -> None:
    assert damaged() == []


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_no_commit_and_no_change_touches_a_published_file() -> None:
    files = ["--no-renames", "--diff-filter=MDT", "--format=", "--name-only"]
    for command in (["log", *files], ["diff", *files[:2], "--name-only", "HEAD"]):
        told = subprocess.run(
            ["git", *command, "--", "contracts/published/*.json"],
            cwd=PUBLISHED.parents[1],
            capture_output=True,
            text=True,
        )
        if "not a git repository" in told.stderr:
            pytest.skip("no git repository")
        assert (told.returncode, told.stdout) == (0, ""), "a published schema is frozen"


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_the_schema_is_todays(type_: str) -> None:
    assert (SCHEMAS / f"{type_}.json").read_text() == schema_of(EVENTS[type_]), "run ./taskw generate"


class TestPublishing:
    TYPE = "loopline.lamp.changed.v1"

    def today(self, **fields: object) -> dict[str, str]:
        return {self.TYPE: json.dumps({"properties": fields, "required": sorted(fields), "title": self.TYPE})}

    def test_only_what_is_new_is_added(self, tmp_path: Path) -> None:
        today = self.today(lamp={"type": "string"})
        assert publish(today, tmp_path) == [f"{self.TYPE}.1.json"]
        reworded = self.today(lamp={"type": "string", "description": "Which one", "examples": ["left"]})
        assert publish(reworded, tmp_path) == []
        grown = json.loads(today[self.TYPE])
        grown["properties"]["watts"] = {"type": "number", "default": 0}
        assert publish({self.TYPE: json.dumps(grown)}, tmp_path) == [f"{self.TYPE}.2.json"]
        assert [len(found) for found in revisions(tmp_path).values()] == [2]
        assert damaged(tmp_path) == []

    def test_a_file_that_is_changed_removed_or_added_by_hand_is_found(self, tmp_path: Path) -> None:
        publish(self.today(lamp={"type": "string"}), tmp_path)
        file = tmp_path / f"{self.TYPE}.1.json"
        text = file.read_text()
        file.write_text(text.replace("string", "number"))
        assert "was changed" in damaged(tmp_path)[0]
        file.unlink()
        assert "was removed" in damaged(tmp_path)[0]
        file.write_text(text)
        (tmp_path / f"{self.TYPE}.2.json").write_text(text)
        assert "not in SHA256SUMS" in damaged(tmp_path)[0]

    def test_an_event_that_is_gone_or_was_changed_is_told_in_a_sentence(self, tmp_path: Path) -> None:
        publish(self.today(lamp={"type": "string"}), tmp_path)
        assert broken({}, tmp_path) == [f"{self.TYPE} was published and is gone: whoever hears or says it would break"]
        (told,) = broken(self.today(lamp={"type": "integer"}), tmp_path)
        assert "lamp: type was 'string', now it is 'integer': say it as a new version instead" in told
