"""What can be trained, by name: recipes are found as entry points, so that a team adds its own from its own package.

Torch-free: a request is checked where it is heard, and only the trainer's child process loads what trains.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts.search import Choice, IntRange, Range, Search

GROUP = "loopline.recipes"
_MOST_PROBED = 64


class NotARecipe(ValueError):
    """The recipe or one of its parameters is not known here; the text says which are."""


@dataclass(frozen=True)
class Recipe:
    """A way to train. `train` is `package.module:function`, a `services.trainer.recipes.recipe.Train`.

    `every_class` says that it needs training images of each class; a recipe that learns what is normal does not.
    `shared` says that under torchrun all processes train it together; any other is trained by the first alone.
    """

    parameters: type[BaseModel]
    train: str
    every_class: bool = True
    shared: bool = False


@lru_cache(maxsize=1)
def found() -> Mapping[str, EntryPoint]:
    """The entry points of the installed packages, by the name of their recipe."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.value)}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        NotARecipe: there is none, or its package is broken.
    """
    point = found().get(name)
    if point is None:
        raise NotARecipe(
            f"the recipe {name!r} is not known here, only {', '.join(sorted(found()))}: "
            "name one of those as model.recipe on the card, or in the request"
        )
    try:
        loaded = point.load()
    except Exception as error:
        raise NotARecipe(f"the recipe {name} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(loaded, Recipe):
        raise NotARecipe(f"the recipe {name} ({point.value}) is no services.chassis.recipes.Recipe")
    return loaded


def checked(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with every default filled in, so that equal work has equal parameters.

    Raises:
        NotARecipe: no such recipe, an unknown parameter, or a value out of its range.
    """
    model = recipe(name).parameters
    try:
        return model.model_validate(dict(parameters)).model_dump(mode="json")
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}, got {problem['input']!r}"
            for problem in error.errors(include_url=False)[:5]
        )
        raise NotARecipe(
            f"the recipe {name} does not take these parameters: {problems}. It knows {', '.join(model.model_fields)}"
        ) from None


def checked_search(name: str, parameters: Mapping[str, Any], search: Search) -> dict[str, Any]:
    """The parameters that stay as they are during a search, with their defaults.

    Raises:
        NotARecipe: as `checked`, for every choice, the ends of every range, and what lies between them.
    """
    given = {key: value for key, value in parameters.items() if key not in search.space}
    for key, tried in search.space.items():
        for value in _probes(tried):
            checked(name, {**given, key: value})
    return {key: value for key, value in checked(name, given).items() if key not in search.space}


def _probes(tried: Range) -> Sequence[Any]:
    """Values that show whether all of them can be tried: a parameter may take whole numbers only, or a few of them."""
    if isinstance(tried, Choice):
        return tried.values
    if isinstance(tried, IntRange):
        return [*range(tried.low, min(tried.high, tried.low + _MOST_PROBED)), tried.high]
    return tried.low, tried.high, tried.low + (tried.high - tried.low) / math.pi
