"""`loopline schedule`, against a real bus."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from services.chassis.settings import Settings
from services.cli.app import app
from services.cli.session import Session
from services.cli.settings import CliSettings
from tests.services.chassis.conftest import settings

pytestmark = pytest.mark.integration

__all__ = ["settings"]


def loopline(settings: Settings, *words: str) -> Result:
    told = CliSettings(
        _env_file=None,  # type: ignore[call-arg]
        nats_url=settings.nats_url,
        nats_user=settings.nats_user,
        nats_password=SecretStr(settings.nats_password.get_secret_value()),
    )
    return CliRunner().invoke(app, list(words), obj=Session(settings=told))


def defined(settings: Settings, folder: Path) -> None:
    card = folder / "card.yaml"
    card.write_text("project: solar\ndata: {classes: [good, bad]}\n")
    assert loopline(settings, "project", "apply", str(card)).exit_code == 0


def test_a_training_every_night_is_added_shown_replaced_and_removed(settings: Settings, tmp_path: Path) -> None:
    defined(settings, tmp_path)
    add = ("schedule", "add", "training.requested", "--name", "nightly", "--data", '{"seed": 7}')
    added = loopline(settings, *add, "--cron", "0 0 2 * * *", "--zone", "Europe/Berlin")
    assert added.exit_code == 0, added.stderr
    (kept,) = json.loads(loopline(settings, "schedule", "list", "--json").stdout)
    assert (kept["project"], kept["name"], kept["when"]) == ("solar", "nightly", "0 0 2 * * *")
    assert json.loads(kept["says"]) == {"seed": 7, "again": True, "unless_training": True, "why": "schedule nightly"}
    assert "Europe/Berlin" in loopline(settings, "schedule", "list").stdout
    assert json.loads(loopline(settings, *add, "--every", "6h", "--json").stdout)["replaced"]
    assert "@every 6h" in loopline(settings, "schedule", "list").stdout
    assert loopline(settings, "schedule", "remove", "--name", "nightly").exit_code == 0
    again = loopline(settings, "schedule", "remove", "--name", "nightly")
    assert again.exit_code == 2
    assert "solar has no schedule nightly" in again.stderr
    assert "nothing is scheduled" in loopline(settings, "schedule", "list").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("training.requested", "--name", "n"), "--every 6h, one of them"),
        (("training.requested", "--name", "n", "--cron", "0 2 * * *"), "six fields, seconds first"),
        (("training.requested", "--name", "No Name", "--every", "6h"), "1 to 40 of a-z"),
        (("model.approved", "--name", "n", "--every", "6h", "--data", "{}"), "version"),
        (
            ("feedback.rejected", "--name", "n", "--every", "6h", "--data", '{"reason": "x", "prediction_id": "p"}'),
            "cannot be scheduled",
        ),
        (("training.requested", "--name", "n", "--every", "6h", "--data", '{"sed": 1}'), "no such field"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_in_a_line(
    settings: Settings, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    defined(settings, tmp_path)
    refused = loopline(settings, "schedule", "add", *words)
    assert refused.exit_code == 2
    assert says in refused.stderr, refused.stderr
    assert "nothing is scheduled" in loopline(settings, "schedule", "list").stdout
