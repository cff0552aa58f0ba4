"""Trials of a study, by one process and by several, with a real SQLite."""

import time
from pathlib import Path

import pytest

from contracts.search import Budget, Choice, FloatRange, IntRange, Range, Search
from services.chassis.errors import Away
from services.trainer.adapters import optuna_study
from services.trainer.adapters.optuna_study import OptunaStudy, Trial, answering

SPACE: dict[str, Range] = {
    "l2": FloatRange(kind="float", low=1e-5, high=0.1, log=True),
    "image_px": IntRange(kind="int", low=32, high=64),
    "class_weight": Choice(kind="choice", values=("none", "balanced", None)),
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


def study(url: str, trials: int = 3, name: str = "one", seed: int = 0, minutes: float | None = None) -> OptunaStudy:
    return OptunaStudy(url, name, Search(space=SPACE, budget=Budget(trials=trials, minutes=minutes)), seed)


def taken(study: OptunaStudy, owner: str = "LOOP:7") -> Trial:
    trial = study.take(owner)
    assert trial
    return trial


def test_a_budget_is_spent_to_the_last_trial_and_the_best_is_the_result(url: str) -> None:
    one = study(url)
    values = {}
    for value in (0.5, 0.2, 0.3):
        trial = taken(one)
        assert 1e-5 <= trial.parameters["l2"] <= 0.1
        assert trial.parameters["class_weight"] in ("none", "balanced", None)
        values[trial.number] = value
        one.finish(trial, value, {"run": trial.number} if one.is_best(value) else None)
    assert one.take("LOOP:7") is None
    best = one.best()
    assert best
    assert (best.number, best.value, best.result, one.ended()) == (1, 0.2, {"run": 1}, 3)


def test_who_died_takes_up_its_own_trial_and_nobody_elses(url: str) -> None:
    begun = taken(study(url))
    assert taken(study(url), "LOOP:8").number == 1
    again = study(url)
    assert taken(again) == begun
    again.finish(begun, 0.5, {})
    assert taken(study(url)).number == 2


def test_the_same_seed_tries_the_same_also_after_a_death(url: str) -> None:
    def tried(name: str, dies: bool) -> list[dict[str, object]]:
        found, one = [], study(url, name=name)
        for number in range(3):
            trial = taken(one)
            if dies:
                one = study(url, name=name)
                trial = taken(one)
            found.append(trial.parameters)
            one.finish(trial, 0.1 * number, {})
        return found

    assert tried("whole", False) == tried("dying", True)
    assert taken(study(url, name="other", seed=1)).parameters != tried("once more", False)[0]


def test_replicas_get_no_more_numbers_than_the_budget_has(url: str) -> None:
    one, two = study(url, 2), study(url, 2)
    taken(one)
    # Both have seen that one is left.
    seen = one._of
    one._of = lambda *states: seen(*states)[:1]  # type: ignore[method-assign]
    taken(two, "LOOP:8")
    assert one.take("LOOP:9") is None
    assert (two.in_work(), two.ended()) == (2, 0)


def test_who_is_dead_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = study(url, 1)
    taken(one)
    assert one.in_work() == 1
    monkeypatch.setattr(optuna_study, "_DEAD_AFTER_S", 0.0)
    assert one.in_work() == 0
    assert one.best() is None


def test_whoever_is_at_work_is_seen(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_study, "_BEAT_S", 0.01)
    one = study(url, 1)
    trial = taken(one)
    until = time.monotonic() + 20
    before = one._storage.get_trial_user_attrs(trial.id)["seen_s"]
    with one.at_work(trial):
        while one._storage.get_trial_user_attrs(trial.id)["seen_s"] == before:
            assert time.monotonic() < until


def test_the_worse_half_is_given_up_and_a_step_told_twice_is_one(url: str) -> None:
    one = study(url, 10)
    for _ in range(4):
        trial = taken(one)
        assert not one.should_stop(trial, 1, 0.1)
        assert not one.should_stop(trial, 1, 0.9), "told again it is what it was"
        one.finish(trial, 0.1, {})
    trial = taken(one)
    assert one.should_stop(trial, 1, 0.5)
    one.prune(trial)
    trial = taken(one)
    one.fail(trial, "the loss is no number")
    assert one.why_failed() == "the loss is no number"
    assert one.ended() == 6


def test_a_study_whose_time_is_up_begins_no_other_trial_and_forgotten_it_begins_anew(url: str) -> None:
    one = study(url, minutes=1e-9)
    assert one.time_is_up
    assert one.take("LOOP:7") is None
    one.forget()
    assert study(url).take("LOOP:7")


def test_asked_for_later_a_search_has_all_of_its_minutes_but_none_more_after_a_crash(url: str) -> None:
    one = study(url, minutes=1)
    one.begun_by("LOOP:7")
    one._study.set_user_attr("began_s", time.time() - 61)
    again = study(url, minutes=1)
    again.begun_by("LOOP:7")
    assert again.time_is_up
    again.begun_by("LOOP:9")
    assert not again.time_is_up


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'studies.db'}"
    with pytest.raises(Away, match="sqlite database of the studies"), answering(url):
        study(url)
