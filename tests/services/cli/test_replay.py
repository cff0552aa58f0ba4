"""loopline replay: what it says no to. What it gives is tested against a real bus."""

from pathlib import Path

import pytest

from tests.services.cli.world import FakeClient, refused, run


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--since yesterday", "--since yesterday: write a span back from now"),
        ("--since 1h --until 2h", "--since 1h is not before --until 2h"),
        ("--since 2999-01-01", "is not before --until now"),
        ("--since start --type training.reqested", "training.requested"),
        ("--since start --to baker", "there is no service baker: labeling-sync"),
        ("--since start --to predictor", "not stored once it was answered"),
        ("--since start --to trainer --type feedback.given --type model.approved",
         "trainer does not hear feedback.given, model.approved, only dataset.versioned, training.requested"),
    ],
)  # fmt: skip
def test_what_cannot_be_given_is_refused_before_anything_is_read(tmp_path: Path, words: str, told: str) -> None:
    assert told in refused(run(FakeClient(tmp_path), "replay", *words.split()))


def test_from_when_has_to_be_said(tmp_path: Path) -> None:
    assert "--since" in run(FakeClient(tmp_path), "replay").err
