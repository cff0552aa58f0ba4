"""The training loop of `fine-tune`: AdamW, warm-up and cosine, averaged weights, a checkpoint after each epoch.

Under torchrun each process takes its share of every batch: the weights are those of one process but for rounding.
"""

import io
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from services.trainer.dataset import Example
from services.trainer.recipes.augmentation import augmented, drawn
from services.trainer.recipes.batches import batches, chunks
from services.trainer.recipes.device import compiled, device, mixed
from services.trainer.recipes.extractor import Extractor
from services.trainer.recipes.head import NotFinite
from services.trainer.recipes.making import labels_of
from services.trainer.recipes.network import Network
from services.trainer.recipes.parameters import FineTune
from services.trainer.recipes.recipe import Context
from services.trainer.recipes.sharing import rank, share, shared, told

# What early stages know of any picture is worth keeping: they learn this much slower.
_EARLY = 0.1
# The head begins fitted, and has thousands of features to move an answer with at every step.
_HEAD = 0.1
_WARM_UP_EPOCHS = 1
_FINAL_SHARE = 0.02  # of the learning rate, at the end
_MOST_NORM = 1.0
# Of what the weights were an epoch ago, e⁻² is left in their average.
_FADES_IN_AN_EPOCH = 2.0


class Tuning:
    """A training by gradients that can stop after any epoch and go on from its checkpoint, bit for bit on a CPU."""

    def __init__(
        self,
        network: Network,
        extract: Extractor,
        examples: Sequence[Example],
        weights: Tensor,
        parameters: FineTune,
        context: Context,
    ) -> None:
        self._device = device()
        self._network = network.to(self._device)
        self._extract = extract
        self._examples = examples
        self._weights = weights.to(self._device)
        self._chosen = parameters
        self._context = context
        self._steps = math.ceil(len(examples) / parameters.batch)
        fade = math.exp(-_FADES_IN_AN_EPOCH / self._steps)
        self._average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(fade))
        compiled(network, self._device)
        early, late, head = network.parts(parameters.frozen_stages)
        shares = ((early, _EARLY), (late, 1.0), (head, _HEAD))
        groups = [{"params": part, "share": share} for part, share in shares]
        self._optimiser = torch.optim.AdamW(groups, lr=parameters.lr, weight_decay=parameters.weight_decay)
        self._chance = torch.Generator().manual_seed(context.seed)
        self._done = 0
        self._metrics: dict[str, float] = {}

    def run(self) -> tuple[Network, dict[str, float]]:
        """Train to the end, from the last checkpoint on. Returns the network of averaged weights, and last metrics.

        Raises:
            NotFinite: the loss is no number.
            Rejected: an image is gone or unreadable.
        """
        if (saved := told(self._context.checkpoint.load() if rank() == 0 else None)) is not None:
            self._restore(saved)
        total = self._chosen.epochs + self._chosen.epochs_all
        while self._done < total:
            self._network.thaw(self._chosen.frozen_stages if self._done < self._chosen.epochs else 0)
            self._metrics = self._epoch(self._done, total)
            self._done += 1
            if rank() == 0:
                self._context.epoch(self._done, total, self._metrics)
                self._context.checkpoint.save(self._state())
        self._network.to("cpu")
        return cast(Network, self._average.module).to("cpu"), self._metrics

    def _epoch(self, epoch: int, total: int) -> dict[str, float]:
        order = torch.randperm(len(self._examples), generator=self._chance).tolist()
        shuffled = [self._examples[place] for place in order]
        chosen, context = self._chosen, self._context
        # Anew in each epoch, for which weights are trained may have changed.
        network = shared(self._network)
        losses, right, seen = 0.0, 0, 0
        steps = chunks(shuffled, chosen.batch)
        shares = [share(torch.arange(len(step))) for step in steps]
        mine = [[step[row] for row in rows] for step, (rows, _) in zip(steps, shares, strict=True)]
        loaded = batches(mine, context.blobs, chosen.max_side, self._extract.seen)
        for step, (images, labels) in enumerate(loaded):
            rate = chosen.lr * _schedule((epoch * self._steps + step) / self._steps, total)
            for group in self._optimiser.param_groups:
                group["lr"] = rate * group["share"]
            # For all of the batch, so that chance is the same however it is shared.
            changes = drawn(len(steps[step]), images.shape[-1], chosen, self._chance)
            rows, weights = shares[step]
            x = augmented(images, [changes[row] for row in rows]).to(self._device)
            labels = labels.to(self._device)
            with mixed(self._device):
                logits = network(x)
            each = F.cross_entropy(
                logits.float(), labels, weight=self._weights, label_smoothing=chosen.label_smoothing, reduction="none"
            )
            loss = (each * weights.to(self._device)).sum() / self._balance(steps[step])
            if not math.isfinite(value := float(loss.detach())):
                raise NotFinite(
                    f"the loss is not a number in epoch {epoch + 1}: ask for a smaller lr than {chosen.lr:g}"
                )
            self._optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), _MOST_NORM)
            self._optimiser.step()
            self._average.update_parameters(self._network)
            losses += value * len(labels)
            right += int((logits.argmax(dim=1) == labels).sum())
            seen += len(labels)
            context.report("fit", epoch * self._steps + step + 1, total * self._steps, {"loss": value})
        # Of process 0 alone, where there are several.
        return {"train_loss": losses / seen, "train_accuracy": right / seen, "lr": rate}

    def _balance(self, batch: Sequence[Example]) -> float:
        """The mean of the class weights in a batch, by which its loss is divided, as of one process."""
        return float(self._weights[labels_of(batch)].mean())

    def _state(self) -> bytes:
        out = io.BytesIO()
        state: dict[str, Any] = {
            "done": self._done,
            "metrics": self._metrics,
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "chance": self._chance.get_state(),
        }
        torch.save(state, out)
        return out.getvalue()

    def _restore(self, saved: bytes) -> None:
        state = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._chance.set_state(state["chance"])
        self._done, self._metrics = state["done"], state["metrics"]


def _schedule(epochs_done: float, total: int) -> float:
    """Share of the highest learning rate: up in a line, down along half a cosine."""
    if epochs_done < _WARM_UP_EPOCHS:
        return max(epochs_done / _WARM_UP_EPOCHS, 0.01)
    progress = (epochs_done - _WARM_UP_EPOCHS) / max(total - _WARM_UP_EPOCHS, 1)
    return _FINAL_SHARE + (1 - _FINAL_SHARE) * (1 + math.cos(math.pi * progress)) / 2
