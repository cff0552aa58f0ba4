"""train and cancel: asking for work, and taking it back."""

from pathlib import Path
from typing import Any

import pytest

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.training import (
    TrainingCancelled,
    TrainingFailed,
    TrainingPlan,
    TrainingRequested,
    TrainingStarted,
)
from contracts.search import Choice, FloatRange, IntRange
from tests.services.cli.world import NOW, FakeClient, defined, refused, run, with_dataset

PLAN = TrainingPlan(dataset_id="0" * 16, recipe="frozen-features", seed=0)


@pytest.fixture
def client(tmp_path: Path) -> FakeClient:
    """A project with a dataset version."""
    return with_dataset(tmp_path)


def test_train_asks_with_parameters_of_their_own_types(client: FakeClient) -> None:
    words = ("--set", "l2=0.01", "--set", "flips=true", "--set", "head=linear", "--seed", "3", "--again")
    assert run(client, "train", *words, "--recipe", "installed-elsewhere").code == 0
    (event,) = client.all(TrainingRequested)
    assert event.parameters == {"l2": 0.01, "flips": True, "head": "linear"}
    assert (event.seed, event.again, event.recipe, event.dataset_id) == (3, True, "installed-elsewhere", None)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--set", "l2"), "write NAME=VALUE"),
        (("--set", "l2=1", "--set", "l2=2"), "l2 is given twice"),
        (("--dataset", "the-third"), "dataset_id"),
        (("--set", "l3=1"), "does not take these parameters: l3"),
        (("--set", "image_px=7"), "image_px: Input should be greater than or equal to 32, got 7"),
        (("--search", "l2"), "write NAME=LOW:HIGH"),
        (("--search", "l2=a:b"), "write LOW:HIGH with two numbers"),
        (("--search", "l2=1:2:3"), "write LOW:HIGH with two numbers"),
        (("--search", "l2=0.1:0.01"), "low is not below high"),
        (("--search", "l2=log:0:1"), "a logarithmic range begins above 0"),
        (("--search", "l2=-1:1"), "l2: Input should be greater than 0"),
        (("--search", "l3=0.1:1"), "does not take these parameters: l3"),
        (("--search", "class_weight=none,some"), "got 'some'"),
        (("--search", "l2=0.1:1", "--minutes", "0"), "search.budget.minutes"),
        (("--trainers", "2"), "--trainers is for a search"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_is_said(
    words: tuple[str, ...], complaint: str, client: FakeClient
) -> None:
    assert complaint in refused(run(client, "train", *words))
    assert client.all(TrainingRequested) == []


def test_train_without_anything_to_train_on_is_refused(tmp_path: Path) -> None:
    assert "no dataset version to train on" in refused(run(defined(tmp_path), "train"))


def test_a_search_is_asked_for_in_short_and_shared_by_who_helps(client: FakeClient) -> None:
    words = ("l2=log:1e-5:1e-1", "image_px=96:384", "class_weight=none,balanced")
    options = [word for tried in words for word in ("--search", tried)]
    answer = run(
        client, "train", *options, "--trials", "9", "--minutes", "2.5", "--trainers", "3", "--objective", "recall"
    )
    assert answer.code == 0, answer.err
    first, *helpers = client.all(TrainingRequested)
    assert first.search
    assert first.search.space == {
        "l2": FloatRange(kind="float", low=1e-5, high=0.1, log=True),
        "image_px": IntRange(kind="int", low=96, high=384),
        "class_weight": Choice(kind="choice", values=("none", "balanced")),
    }
    assert (first.search.budget.trials, first.search.budget.minutes, first.search.objective) == (9, 2.5, "recall")
    id_ = next(envelope.id for event, envelope in client.said if event is first)
    assert helpers == [first.model_copy(update={"helps": id_})] * 2


def test_one_of_several_backbones_can_be_searched_for_though_their_names_have_colons(client: FakeClient) -> None:
    assert run(client, "train", "--search", "backbone=efficientnet-lite0,timm:resnet18").code == 0
    (event,) = client.all(TrainingRequested)
    assert event.search
    assert event.search.space["backbone"] == Choice(kind="choice", values=("efficientnet-lite0", "timm:resnet18"))


def _said(client: FakeClient, event: Event, cause: str) -> None:
    envelope = Envelope.first(event, project="solar", source="/services/trainer", id=f"{cause}-{event.TYPE}", time=NOW)
    object.__setattr__(envelope, "causation_id", cause)
    client.said.append((event, envelope))


def test_cancel_stops_what_is_in_work_and_says_so(client: FakeClient) -> None:
    assert "nothing to cancel" in refused(run(client, "cancel"))
    other = PLAN.model_copy(update={"seed": 7})
    _said(client, TrainingStarted(plan=PLAN, trainer="host/1"), "asked-1")
    _said(client, TrainingStarted(plan=other, trainer="host/2"), "asked-2")
    # Its trainer died, and it was begun anew.
    _said(client, TrainingStarted(plan=other, trainer="host/2"), "asked-2")
    _said(client, TrainingFailed(plan=PLAN, reason="no"), "asked-1")
    answer = run(client, "cancel", "--why", "wrong lamp")
    assert answer.code == 0
    assert "in work by host/2" in answer.out
    assert client.all(TrainingCancelled) == [TrainingCancelled(plan=other, reason="wrong lamp")]
    shown: Any = run(client, "cancel", "--json").json
    assert [one["plan"]["seed"] for one in shown] == [7]
