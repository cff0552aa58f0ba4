"""What validation says of a model, as pictures: what it confuses, how far it can be trusted, its worst mistakes."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from services.trainer.dataset import Example
from services.trainer.recipes.recipe import Validated

_WORST = 12
_BINS = 10

Pixels = NDArray[np.uint8]


def pictures(validated: Validated, classes: Sequence[str], pixels: Callable[[Example], Pixels]) -> dict[str, bytes]:
    """PNG by name. `pixels` gives uint8 [3, H, W]; asked for a dozen images at most."""
    if not validated.examples:
        return {}
    labels = np.array([example.label for example in validated.examples])
    found = {
        "confusion_matrix.png": _confusion(labels, validated.probabilities, classes),
        "reliability_diagram.png": _reliability(labels, validated.probabilities),
    }
    if worst := worst_mistakes(labels, validated.probabilities):
        found["worst_mistakes.png"] = _mistakes(worst, validated, classes, pixels)
    return found


def worst_mistakes(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> list[int]:
    """The rows that are answered wrongly, the surest of their wrong answer first, a dozen at most."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(probabilities[wrong, labels[wrong]], kind="stable")
    return [int(row) for row in wrong[order][:_WORST]]


def reliability(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32], bins: int = _BINS
) -> list[tuple[float, float, int]]:
    """Bins of equally many images by confidence: mean confidence, share that is right, how many."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(sure, kind="stable"), min(bins, len(labels)))
    return [(float(sure[part].mean()), float(right[part].mean()), len(part)) for part in parts]


def _confusion(labels: NDArray[np.int64], probabilities: NDArray[np.float32], classes: Sequence[str]) -> bytes:
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    side = min(12.0, 2.5 + 0.6 * len(classes))
    figure = Figure((side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("answered")
    axes.set_ylabel("labelled")
    axes.set_title(f"{len(labels)} validation images")
    if len(classes) <= 20:
        for row, column in np.ndindex(counts.shape):
            dark = counts[row, column] > counts[row].sum() / 2
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", color="white" if dark else "black"
            )
    return _png(figure)


def _reliability(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> bytes:
    bins = reliability(labels, probabilities)
    off = sum(count * abs(sure - right) for sure, right, count in bins) / len(labels)
    figure = Figure((4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="grey", linestyle="--", linewidth=1)
    axes.plot([sure for sure, _, _ in bins], [right for _, right, _ in bins], marker="o")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("how sure it says it is")
    axes.set_ylabel("how often it is right")
    axes.set_title(f"{len(labels)} validation images, off by {off:.3f} on average")
    return _png(figure)


def _mistakes(
    rows: Sequence[int], validated: Validated, classes: Sequence[str], pixels: Callable[[Example], Pixels]
) -> bytes:
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure((2.6 * columns, 2.9 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, row in zip(grid, rows, strict=False):
        example, said = validated.examples[row], validated.probabilities[row]
        axes.imshow(pixels(example).transpose(1, 2, 0))
        answer = int(said.argmax())
        axes.set_title(f"{classes[answer]} {said[answer]:.0%}\nlabelled {classes[example.label]}", fontsize=8)
        axes.text(0.5, -0.05, example.sha256[:12], transform=axes.transAxes, ha="center", va="top", fontsize=6)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()
