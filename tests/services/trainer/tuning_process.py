"""The recipe `fine-tune`, alone or under torchrun: python -m tests.services.trainer.tuning_process BLOBS MANIFEST OUT.

Process 0 writes the model to OUT.
"""

import sys
from pathlib import Path

import torch

from services.chassis.blobs import Blobs
from services.chassis.manifest import read_manifest
from services.chassis.recipes import checked
from services.trainer.dataset import COLUMNS, Dataset
from services.trainer.recipes.fine_tune import train
from services.trainer.recipes.recipe import Context
from services.trainer.recipes.sharing import joined, rank

# Balanced, and with a last batch that is short: what is divided by must be of the whole batch.
PARAMETERS = {
    "image_px": 48, "max_side": 40, "epochs": 1, "epochs_all": 1, "batch": 7, "views": 1, "class_weight": "balanced",
}  # fmt: skip


def tune(blobs_root: str, manifest: str, out: Path) -> None:
    """Two epochs, one with frozen stages and one with none."""
    blobs = Blobs(blobs_root)
    dataset = Dataset.of(read_manifest(blobs.read(manifest), COLUMNS).to_pylist(), ("upper", "lower"))
    context = Context(blobs, str(out.parent / "kept"), 0, lambda *_: None)
    made = train(dataset, checked("fine-tune", PARAMETERS), context)
    if rank() == 0:
        out.write_bytes(made.model)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined():
        tune(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
