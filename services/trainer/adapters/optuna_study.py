"""Optuna: which parameters are tried next, and which trial was best. Its storage is what replicas share."""

import json
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from contracts.search import Choice, IntRange, Range, Search
from services.chassis.errors import Away

_OWNER, _SEEN_S, _RESULT, _WHY, _BEGAN_S = "owner", "seen_s", "result", "why", "began_s"
_BEAT_S = 10.0
# Who was not seen for so long is dead; clocks of machines may differ by some seconds.
_DEAD_AFTER_S = 60.0
_WAIT_FOR_LOCK_S = 30

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """One training of a study. `number` counts from 0; `parameters` are what is tried."""

    number: int
    id: int
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Best:
    """The best trial so far, with the result that was kept of it."""

    number: int
    value: float
    parameters: dict[str, Any]
    result: dict[str, Any]


class OptunaStudy:
    """The study of one claim, by an SQLAlchemy URL. Made by whoever comes first, also of several at once."""

    def __init__(self, url: str, name: str, search: Search, seed: int) -> None:
        self.url = url
        self._search = search
        self._seed = seed
        self._storage = _storage(url)
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            direction="minimize" if search.minimizes else "maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
            load_if_exists=True,
        )
        if _BEGAN_S not in self._study.user_attrs:
            self._study.set_user_attr(_BEGAN_S, time.time())

    def begun_by(self, owner: str) -> None:
        """Count the minutes from here on, unless it is the same owner over again: a cancelled search may be asked for
        later, with all of its time."""
        if self._study.user_attrs.get(_OWNER) != owner:
            self._study.set_user_attr(_BEGAN_S, time.time())
            self._study.set_user_attr(_OWNER, owner)

    def take(self, owner: str) -> Trial | None:
        """The trial that this owner had begun before it died, or the next one; None when the budget is spent."""
        mine = [one for one in self._of(TrialState.RUNNING) if one.user_attrs[_OWNER] == owner]
        if mine:
            return self._asked(mine[0].number, mine[0]._trial_id)
        if self.time_is_up or len(self._of(*TrialState)) >= self._search.budget.trials:
            return None
        template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={_OWNER: owner, _SEEN_S: time.time()})
        id_ = self._storage.create_new_trial(self._storage.get_study_id_from_name(self._study.study_name), template)
        number = self._storage.get_trial_number_from_id(id_)
        if number >= self._search.budget.trials:
            # Another replica took the last one in between; numbers are given once.
            self._storage.set_trial_state_values(id_, TrialState.FAIL)
            return None
        return self._asked(number, id_)

    @property
    def time_is_up(self) -> bool:
        """Whether the minutes of the budget have passed since its owner began, whoever worked on it meanwhile."""
        minutes = self._search.budget.minutes
        return minutes is not None and time.time() > self._study.user_attrs[_BEGAN_S] + 60 * minutes

    def should_stop(self, trial: Trial, step: int, value: float) -> bool:
        """Whether a trial is worse at this step than half of those that came so far. Told twice it is one step."""
        if step not in self._storage.get_trial(trial.id).intermediate_values:
            self._storage.set_trial_intermediate_value(trial.id, step, value)
        return self._study.pruner.prune(self._study, self._storage.get_trial(trial.id))

    def is_best(self, value: float) -> bool:
        """Whether a trial of this value is better than all that have ended."""
        best = self.best()
        return best is None or (value < best.value if self._search.minimizes else value > best.value)

    def finish(self, trial: Trial, value: float, result: Mapping[str, Any] | None) -> None:
        """A trial has ended. The result is kept for the best."""
        if result is not None:
            self._storage.set_trial_user_attr(trial.id, _RESULT, json.dumps(result))
        self._study.tell(trial.number, value)

    def prune(self, trial: Trial) -> None:
        """A trial was given up."""
        self._study.tell(trial.number, state=TrialState.PRUNED)

    def fail(self, trial: Trial, why: str) -> None:
        """A trial could not be trained."""
        self._storage.set_trial_user_attr(trial.id, _WHY, why[:2000])
        self._study.tell(trial.number, state=TrialState.FAIL)

    def ended(self) -> int:
        """How many trials have come to an end, good or not."""
        return len(self._of(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))

    def why_failed(self) -> str:
        """What the first trial that failed says; "" when none did."""
        return next((str(one.user_attrs[_WHY]) for one in self._of(TrialState.FAIL) if _WHY in one.user_attrs), "")

    def in_work(self) -> int:
        """How many trials others are still at. Those of the dead are given up."""
        alive = 0
        for one in self._of(TrialState.RUNNING):
            if time.time() - one.user_attrs[_SEEN_S] < _DEAD_AFTER_S:
                alive += 1
            else:
                self._study.tell(one.number, state=TrialState.FAIL, skip_if_finished=True)
        return alive

    def best(self) -> Best | None:
        """The best trial, the earliest of several."""
        sign = 1 if self._search.minimizes else -1
        kept = [one for one in self._of(TrialState.COMPLETE) if _RESULT in one.user_attrs]
        if not kept:
            return None
        best = min(kept, key=lambda one: (sign * _value(one), one.number))
        return Best(best.number, _value(best), dict(best.params), json.loads(best.user_attrs[_RESULT]))

    def forget(self) -> None:
        """Begin anew the next time it is asked for."""
        optuna.delete_study(study_name=self._study.study_name, storage=self._storage)

    @contextmanager
    def at_work(self, trial: Trial) -> Iterator[None]:
        """Show the others that somebody is at this trial."""
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(_BEAT_S):
                try:
                    self._storage.set_trial_user_attr(trial.id, _SEEN_S, time.time())
                except (UpdateFinishedTrialError, StorageInternalError):
                    continue

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _asked(self, number: int, id_: int) -> Trial:
        """Its parameters: drawn once. Chance comes from the seed and the number, not from what a process did before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            seed = (self._seed * 1_000_003 + number) % 2**32
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._storage.set_trial_user_attr(id_, _SEEN_S, time.time())
        trial = optuna.trial.Trial(self._study, id_)
        space = sorted(self._search.space.items())
        return Trial(number, id_, {name: _suggested(trial, name, tried) for name, tried in space})

    def _of(self, *states: TrialState) -> list[FrozenTrial]:
        found = self._study.get_trials(deepcopy=False, states=states)
        return [one for one in found if one.number < self._search.budget.trials]


def _suggested(trial: optuna.trial.Trial, name: str, tried: Range) -> Any:
    if isinstance(tried, Choice):
        return trial.suggest_categorical(name, tried.values)
    if isinstance(tried, IntRange):
        return trial.suggest_int(name, tried.low, tried.high, log=tried.log)
    return trial.suggest_float(name, tried.low, tried.high, log=tried.log)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Raises Away where the database of the studies does not answer."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        kind = url.partition(":")[0]
        raise Away(f"the {kind} database of the studies (LOOPLINE_STUDIES_URL) does not answer: {error}") from error


def _storage(url: str) -> optuna.storages.RDBStorage:
    """Of two that make the tables at once one fails, and finds them the next time."""
    waits = {"connect_args": {"timeout": _WAIT_FOR_LOCK_S}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=waits)
    except (StorageInternalError, SQLAlchemyError):
        return optuna.storages.RDBStorage(url, engine_kwargs=waits)
