from concurrent.futures import Future

import pytest

from services.chassis.errors import Retry
from services.trainer.training import unless_hopeless
from services.trainer.worker import paced


def test_progress_is_said_at_most_twice_a_second() -> None:
    said: list[dict[str, object]] = []
    times = iter([10.0, 10.1, 10.4, 10.5, 10.9, 11.1])
    report = paced(said.append, lambda: next(times))
    for done in range(6):
        report("features", done, 6, {})
    assert [step["done"] for step in said] == [0, 3, 5]


def test_the_work_stops_as_soon_as_mlflow_is_known_to_be_away() -> None:
    said: list[str] = []
    begun: Future[str] = Future()
    report = unless_hopeless(begun, lambda stage, *_: said.append(stage))
    report("features", 1, 2, {})
    begun.set_exception(Retry("MLflow does not answer"))
    with pytest.raises(Retry, match="MLflow"):
        report("features", 2, 2, {})
    assert said == ["features"]
