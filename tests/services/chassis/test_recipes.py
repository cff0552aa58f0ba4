import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from services.chassis import recipes
from services.chassis.recipes import GROUP, NotARecipe, Recipe, checked, found, recipe


class Blur(BaseModel):
    model_config = ConfigDict(extra="forbid")

    radius_px: int = Field(2, ge=1)


OWN = Recipe(Blur, "their.package:train", every_class=False)
NOT_ONE = "not a recipe"


def test_defaults_are_filled_in_so_that_equal_work_has_equal_parameters() -> None:
    default = checked("frozen-features", {})
    assert default == checked("frozen-features", {"image_px": default["image_px"]})
    assert {"image_px", "max_side", "l2", "class_weight"} <= set(default)


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("frozen-featurs", {}, "'frozen-featurs' is not known here, only .*frozen-features"),
        ("frozen-features", {"epoch": 3}, "epoch: .*It knows image_px, max_side"),
        ("frozen-features", {"image_px": 9000}, "image_px: Input should be less than or equal to 768, got 9000"),
        ("frozen-features", {"l2": float("nan")}, "l2: "),
        ("frozen-features", {"class_weight": "heavy"}, "class_weight: "),
    ],
)
def test_what_a_recipe_does_not_know_is_refused_in_a_sentence(name: str, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(NotARecipe, match=says):
        checked(name, parameters)


@pytest.fixture
def of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    here = __name__
    points = {
        name: EntryPoint(name, f"{here}:{value}", GROUP)
        for name, value in (("own", "OWN"), ("odd", "NOT_ONE"), ("gone", "MISSING"))
    }
    monkeypatch.setattr(recipes, "found", lambda: points)


@pytest.mark.usefixtures("of_others")
def test_a_recipe_of_another_package_is_checked_like_ours() -> None:
    assert checked("own", {}) == {"radius_px": 2}
    assert recipe("own").every_class is False
    with pytest.raises(NotARecipe, match=r"radius_px: .*got 0"):
        checked("own", {"radius_px": 0})


@pytest.mark.usefixtures("of_others")
@pytest.mark.parametrize(
    ("name", "says"), [("odd", "odd .* is no services.chassis.recipes.Recipe"), ("gone", "gone .* cannot be loaded")]
)
def test_a_broken_package_is_named(name: str, says: str) -> None:
    with pytest.raises(NotARecipe, match=says):
        recipe(name)


def test_every_recipe_that_is_offered_can_be_trained() -> None:
    from services.trainer.training import trainer_of

    assert all(callable(trainer_of(name)) for name in found())


def test_the_service_itself_imports_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys, services.trainer.app; from services.chassis.recipes import found, recipe; "
        "[recipe(name) for name in found()]; "
        "print([m for m in ('torch', 'mlflow', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
