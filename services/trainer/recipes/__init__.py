"""What can be trained, by name. Torch-free: a request is checked before any work begins."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from services.trainer.recipes.parameters import FrozenFeatures

RECIPES: Mapping[str, type[BaseModel]] = {"frozen-features": FrozenFeatures}


class NotARecipe(ValueError):
    """The recipe or one of its parameters is not known here; the text says which are."""


def checked(recipe: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with every default filled in, so that equal work has equal parameters.

    Raises:
        NotARecipe: no such recipe, an unknown parameter, or a value out of its range.
    """
    model = RECIPES.get(recipe)
    if model is None:
        raise NotARecipe(
            f"the recipe {recipe!r} is not known here, only {', '.join(sorted(RECIPES))}: "
            "name one of those as model.recipe on the card, or in the request"
        )
    try:
        return model.model_validate(dict(parameters)).model_dump(mode="json")
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}, got {problem['input']!r}"
            for problem in error.errors(include_url=False)[:5]
        )
        raise NotARecipe(
            f"the recipe {recipe} does not take these parameters: {problems}. It knows {', '.join(model.model_fields)}"
        ) from None
