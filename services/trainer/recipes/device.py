"""Where a recipe by gradients computes: on a GPU with mixed precision and compiled, else on all cores of the CPU."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn


def device() -> torch.device:
    """The GPU of this process, the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def mixed(where: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where the device computes it faster than it loses by it: on a GPU. A CPU stays exact."""
    return torch.autocast("cuda", torch.bfloat16) if where.type == "cuda" else nullcontext()


def compiled(network: nn.Module, where: torch.device) -> nn.Module:
    """`torch.compile` on a GPU; on a CPU it takes longer than it saves, and another machine rounds otherwise."""
    if where.type == "cuda":
        network.compile()
    return network
