"""The recipes that come with Loopline; `pyproject.toml` names them as entry points. Torch-free."""

from services.chassis.recipes import Recipe
from services.trainer.recipes.parameters import Anomaly, FineTune, FrozenFeatures, Tutorial

FROZEN_FEATURES = Recipe(FrozenFeatures, "services.trainer.recipes.frozen_features:train")
FINE_TUNE = Recipe(FineTune, "services.trainer.recipes.fine_tune:train", shared=True)
TUTORIAL = Recipe(Tutorial, "services.trainer.recipes.tutorial:train")
ANOMALY = Recipe(Anomaly, "services.trainer.recipes.anomaly:train", every_class=False)
