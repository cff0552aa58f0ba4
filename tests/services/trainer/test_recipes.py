import subprocess
import sys
from typing import Any

import pytest

from services.trainer.recipes import RECIPES, NotARecipe, checked


def test_defaults_are_filled_in_so_that_equal_work_has_equal_parameters() -> None:
    default = checked("frozen-features", {})
    assert default == checked("frozen-features", {"image_px": default["image_px"]})
    assert set(default) == {"image_px", "max_side", "l2", "class_weight"}


@pytest.mark.parametrize(
    ("recipe", "parameters", "says"),
    [
        ("frozen-featurs", {}, "'frozen-featurs' is not known here, only frozen-features"),
        ("frozen-features", {"epochs": 3}, "epochs: .*It knows image_px, max_side, l2, class_weight"),
        ("frozen-features", {"image_px": 9000}, "image_px: Input should be less than or equal to 768, got 9000"),
        ("frozen-features", {"l2": float("nan")}, "l2: "),
        ("frozen-features", {"class_weight": "heavy"}, "class_weight: "),
    ],
)
def test_what_a_recipe_does_not_know_is_refused_in_a_sentence(
    recipe: str, parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(NotARecipe, match=says):
        checked(recipe, parameters)


def test_every_recipe_that_is_offered_can_be_trained() -> None:
    from services.trainer.worker import RECIPES as TRAINED

    assert set(TRAINED) == set(RECIPES)


def test_the_service_itself_imports_neither_torch_nor_mlflow() -> None:
    code = "import sys, services.trainer.app; print([m for m in ('torch', 'mlflow', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
