"""One training by several processes, as `torchrun` starts them: each takes its share of every batch (DDP).

Alone, all of this does nothing: a recipe is written once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

# Those that wait for work wait for hours. Who waits for the dead is ended by torchrun.
_PATIENCE = timedelta(days=365)


def rank() -> int:
    """Which of the processes this is. Number 0 reports, logs, and makes the model."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Meet the others that torchrun started; alone there is nobody to meet."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def shared(network: nn.Module) -> nn.Module:
    """The network, with gradients that are the mean over all processes."""
    return DistributedDataParallel(network) if size() > 1 else network


def share(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Of the rows of a batch, int64 [n], those of this process, and the weight of each in the loss, float32.

    `(losses * weights).sum()` then has the gradient of the mean over the whole batch, however it is shared out. A
    process for which there is no row gets the first one, of weight 0, for it has to take part.
    """
    mine = batch[rank() :: size()]
    weight = size() / len(batch)
    if len(mine) == 0:
        return batch[:1], torch.zeros(1)
    return mine, torch.full((len(mine),), weight)


@contextmanager
def first() -> Iterator[None]:
    """Process 0 goes through before the others: they find what it kept."""
    if rank() != 0:
        told(None)
    yield
    if rank() == 0:
        told(None)


def told(value: bytes | None) -> bytes | None:
    """What process 0 has, in all of them; all have to ask."""
    if size() == 1:
        return value
    found = [value]
    dist.broadcast_object_list(found, src=0)
    return found[0]
