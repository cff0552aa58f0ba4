"""A recipe by gradients on one number, and a process that trains by it and dies where it is told to.

python -m tests.integration.toy_recipe < job.json, with TOY_DIES_AFTER=EPOCH or TOY_DIES_BEFORE_CHECKPOINT=EPOCH
"""

import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from services.chassis.images import decode
from services.trainer import training, worker
from services.trainer.dataset import Dataset
from services.trainer.recipes.recipe import Context, MadeModel, Validated
from tests.chaos.tiny import Tiny

EPOCHS = 4


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """Noisy descent to sharpness 20, by as many epochs; the best `l2` is 1e-3."""
    chance = torch.Generator().manual_seed(context.seed)
    network = Tiny(1.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    begin = 0
    if kept := context.checkpoint.load():
        state = torch.load(io.BytesIO(kept), weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        chance.set_state(state["chance"])
        begin = state["done"]
    off = abs(np.log10(parameters["l2"] or 1e-3) + 3)
    for done in range(begin + 1, EPOCHS + 1):
        loss = (network.sharpness - 20 + torch.randn((), generator=chance)).square()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        context.epoch(done, EPOCHS, {"loss": float(loss.detach()), "validation_log_loss": off + 1 / done})
        _die_if("TOY_DIES_BEFORE_CHECKPOINT", done)
        out = io.BytesIO()
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**state, "chance": chance.get_state(), "done": done}, out)
        context.checkpoint.save(out.getvalue())
        _die_if("TOY_DIES_AFTER", done)
    return _made(network.eval(), dataset, context, {"validation_log_loss": float(off), "validation_accuracy": 1.0})


def _made(network: Tiny, dataset: Dataset, context: Context, metrics: dict[str, float]) -> MadeModel:
    def shown(*splits: Any) -> list[torch.Tensor]:
        return [torch.from_numpy(decode(context.blobs.read(e.uri))) for e in dataset.of_split(*splits)]

    model, golden = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(network), model)
    images = shown("test")[:2]
    with torch.inference_mode():
        answers = torch.cat([network(image[None])[0] for image in images]).numpy()
        said = torch.cat([network(image[None])[0] for image in shown("validation")]).numpy()
    arrays: dict[str, Any] = {f"image_{place}": image.numpy() for place, image in enumerate(images)}
    np.savez(golden, probabilities=answers, **arrays)
    return MadeModel(
        model.getvalue(),
        golden.getvalue(),
        metrics,
        max_side=images[0].shape[-1],
        # Upside down, so that there are mistakes to look at.
        validated=Validated(dataset.of_split("validation"), said[:, ::-1].copy()),
        eager=network,
    )


def _die_if(variable: str, done: int) -> None:
    if os.environ.get(variable) == str(done):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    training.trainer_of = lambda name: train
    print(json.dumps(worker.handle(json.load(sys.stdin), lambda step: None)))
