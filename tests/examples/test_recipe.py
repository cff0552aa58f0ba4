"""A team's own recipe, installed from `examples/recipe` as a package beside ours, and trained with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from contracts.events.evaluation import EvaluationCompleted
from contracts.events.training import TrainingCompleted, TrainingFailed, TrainingRequested
from contracts.project import Model
from services.chassis import recipes
from services.chassis.images import encode_png
from services.cli.datasets import LabelledImage
from services.trainer.app import build as build_trainer
from services.trainer.settings import TrainerSettings
from tests.eventually import eventually
from tests.examples.loop import ROOT, loop_running

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe's package in it, as pip puts it into an environment."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    # Nothing is fetched: it needs only what is here.
    words = (
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(target),
        str(ROOT / "examples" / "recipe"),
    )
    done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def beside_ours(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is found by this process, and by the child that trains."""
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("PYTHONPATH", f"{installed}{os.pathsep}{ROOT}")
    recipes.found.cache_clear()
    yield
    recipes.found.cache_clear()


def coloured() -> Iterator[LabelledImage]:
    """Pictures 24 x 24 that are more red, or more blue."""
    for number in range(60):
        label = ("red", "blue")[number % 2]
        pixels = np.random.default_rng(number).integers(0, 120, (3, 24, 24), np.uint8)
        pixels[0 if label == "red" else 2] += 60
        yield LabelledImage(encode_png(pixels), label, str(number))


@pytest.mark.usefixtures("beside_ours")
async def test_a_card_names_it_and_its_model_is_judged_like_any_other(tmp_path: Path, mlflow_url: str) -> None:
    project = f"colours-{uuid4().hex[:8]}"
    async with loop_running(tmp_path, mlflow_url) as loop:
        trainer = build_trainer(TrainerSettings(**loop.places("trainer"), mlflow_url=mlflow_url))
        async with trainer.app().start_lifespan_context():
            model = Model(recipe="mean-colour", parameters={"steps": 100})
            await loop.define(project, coloured(), least_accuracy=0.9, model=model)

            async def judged() -> None:
                assert await loop.bus.last(EvaluationCompleted, project) or await loop.bus.last(TrainingFailed, project)

            await eventually(judged, timeout_s=120)
            assert await loop.bus.last(TrainingFailed, project) is None
            verdict = await loop.only(EvaluationCompleted, project)
            assert verdict.verdict == "passed", verdict.sentence
            trained = await loop.only(TrainingCompleted, project)
            assert trained.plan.parameters == {"steps": 100, "rate": 0.1, "max_side": 256}
            assert trained.metrics["validation_accuracy"] > 0.9

            await loop.bus.say(TrainingRequested(recipe="mean-colour", parameters={"epochs": 3}), project=project)

            async def refused() -> None:
                assert await loop.bus.last(TrainingFailed, project)

            await eventually(refused, timeout_s=30)
            reason = (await loop.only(TrainingFailed, project)).reason
            assert "does not take these parameters: epochs: " in reason
            assert "It knows steps, rate, max_side" in reason


@pytest.mark.usefixtures("beside_ours")
def test_it_is_found_by_its_entry_point() -> None:
    assert {"frozen-features", "mean-colour"} <= set(recipes.found())
    assert recipes.checked("mean-colour", {"steps": 7})["steps"] == 7
