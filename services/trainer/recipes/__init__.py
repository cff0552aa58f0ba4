"""The recipes that come with Loopline; `pyproject.toml` names them as entry points. Torch-free."""

from services.chassis.recipes import Recipe
from services.trainer.recipes.parameters import FrozenFeatures

FROZEN_FEATURES = Recipe(FrozenFeatures, "services.trainer.recipes.frozen_features:train")
