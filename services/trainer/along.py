"""The other processes of torchrun: they hear from process 0 what is trained, and train along.

Only process 0 speaks with the service, MLflow and the store of checkpoints.
"""

import os
import threading

import torch

from services.chassis.blobs import Blobs
from services.chassis.child import tether
from services.trainer.job import Job, Places
from services.trainer.recipes.kept import cores
from services.trainer.recipes.recipe import Context
from services.trainer.recipes.sharing import told
from services.trainer.training import read_dataset, trainer_of

_LAST_WORDS_S = 30


class Shared(Places):
    """A training that all share."""

    job: Job


def call(places: Places, job: Job) -> None:
    """Tell the others what to train, from process 0. Alone there is nobody to tell."""
    told(Shared(**places.model_dump(), job=job).model_dump_json().encode())


def dismiss() -> None:
    """Tell the others that no more will come."""
    told(None)


def train_along() -> None:
    """Train what process 0 calls for, until it dismisses: for the gradients, and the model is thrown away."""
    tether()
    # Standard output is the channel of process 0.
    os.dup2(2, 1)
    torch.set_num_threads(cores())
    while (heard := told(None)) is not None:
        shared = Shared.model_validate_json(heard)
        job, blobs = shared.job, Blobs(shared.blobs_root, make=False)
        try:
            dataset = read_dataset(job, blobs)
            context = Context(blobs, shared.kept_root, job.plan.seed, lambda *_: None)
            trainer_of(job.plan.recipe)(dataset, job.plan.parameters, context)
        except Exception:
            # Process 0 most likely says the same, in words that are heard: torchrun would end it at once.
            threading.Event().wait(_LAST_WORDS_S)
            raise
