"""How good a model file is on cells that it has not seen."""

import io
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from services.chassis.blobs import Blobs
from services.trainer.recipes.kept import pixels
from services.trainer.recipes.making import unprofiled
from tests.bench.cells import Cell

_BATCH = 8


def answers(model: bytes, cells: Sequence[Cell], blobs: Blobs, max_side: int) -> NDArray[np.float64]:
    """Probabilities [n, C] that the file gives, asked as a node is asked."""
    loaded = torch.jit.load(io.BytesIO(model))
    found = []
    with torch.inference_mode(), unprofiled():
        for start in range(0, len(cells), _BATCH):
            images = [pixels(cell.example("test"), blobs, max_side) for cell in cells[start : start + _BATCH]]
            found.append(loaded(torch.from_numpy(np.stack(images)))[0].numpy())
    return np.concatenate(found).astype(np.float64)


def scores(probabilities: NDArray[np.float64], cells: Sequence[Cell]) -> dict[str, float]:
    """Accuracy, macro F1 and ROC AUC, of all and of mono and poly apart."""
    labels, kinds = np.array([cell.label for cell in cells]), np.array([cell.kind for cell in cells])
    found = {}
    for name, rows in (("", kinds != ""), ("_mono", kinds == "mono"), ("_poly", kinds == "poly")):
        given, answer = labels[rows], probabilities[rows].argmax(axis=1)
        found[f"accuracy{name}"] = float(accuracy_score(given, answer))
        found[f"macro_f1{name}"] = float(f1_score(given, answer, average="macro"))
        found[f"roc_auc{name}"] = float(roc_auc_score(given, probabilities[rows, 1]))
    return found


def summed_up(of_seeds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Of each number its mean over the seeds, its standard error and its spread; one seed has no error."""
    found = {}
    for name in of_seeds[0]:
        values = [one[name] for one in of_seeds]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = {
            "mean": round(statistics.mean(values), 4),
            "standard_error": round(spread / len(values) ** 0.5, 4),
            "least": round(min(values), 4),
            "most": round(max(values), 4),
        }
    return found
