"""How many labels it takes to 85 %, by uncertainty and in random order: the learning curve of `frozen-features`."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.trainer.recipes.head import Examples, fit_head
from tests.bench.cells import Cell

GOAL = 0.85
FIRST, STEP, MOST = 40, 40, 1400
_AROUND = 3


def curve(
    learn: Sequence[Cell], test: Sequence[Cell], features: dict[str, Tensor], seed: int, uncertain: bool
) -> dict[int, float]:
    """Labels -> accuracy on the test cells. Both orders begin with the same labels, drawn at random."""
    pool, labels = _of(learn, features)
    unseen, truth = _of(test, features)
    order = np.random.default_rng(seed).permutation(len(learn))
    known, waiting = list(order[:FIRST]), list(order[FIRST:])
    none = Examples(pool[:0], labels[:0])
    found: dict[int, float] = {}
    while True:
        head = fit_head(Examples(pool[known], labels[known]), none, 2)
        found[len(known)] = float((head.logits(unseen).argmax(dim=1) == truth).to(torch.float64).mean())
        if len(known) >= MOST:
            return found
        if uncertain:
            first, second = torch.softmax(head.logits(pool[waiting]), dim=1).topk(2, dim=1).values.T
            margins: NDArray[np.float64] = (first - second).numpy()
            chosen = set(np.argsort(margins, kind="stable")[:STEP].tolist())
        else:
            chosen = set(range(STEP))
        known += [one for place, one in enumerate(waiting) if place in chosen]
        waiting = [one for place, one in enumerate(waiting) if place not in chosen]


def labels_needed(of_curve: dict[int, float]) -> int:
    """The least number of labels from which the accuracy, as a mean over three points, is at the goal; MOST if none."""
    counts = sorted(of_curve)
    for place in range(len(counts) - _AROUND + 1):
        window = counts[place : place + _AROUND]
        if np.mean([of_curve[count] for count in window]) >= GOAL:
            return window[_AROUND // 2]
    return MOST


def _of(cells: Sequence[Cell], features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.stack([features[cell.sha256] for cell in cells]), torch.tensor([cell.label for cell in cells])
