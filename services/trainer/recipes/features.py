"""Kept features of examples, as a recipe that looks with a frozen backbone wants them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from services.chassis.blobs import Cache
from services.trainer.dataset import Example
from services.trainer.recipes.extractor import extractor, extractor_key, flipped
from services.trainer.recipes.kept import KeptFeatures
from services.trainer.recipes.making import unprofiled
from services.trainer.recipes.parameters import Looking
from services.trainer.recipes.recipe import Context


def features_of(examples: Sequence[Example], looking: Looking, context: Context, views: int = 1) -> Tensor:
    """float32 [n, D], in the order of `examples`: statistics of the backbone's maps, averaged over the views.

    Raises:
        Rejected: an image is gone or unreadable, or there is no such backbone.
    """
    extract = extractor(looking.image_px, looking.backbone)

    def averaged(images: Tensor) -> Tensor:
        with torch.inference_mode(), unprofiled():
            seen = [extract(flipped(images, view))[1] for view in range(views)]
        return torch.stack(seen).mean(dim=0)

    key = f"{extractor_key(looking.image_px, looking.backbone, views)}-{looking.max_side}"
    cache = Cache(context.kept_root, f"features/{key}")
    kept = KeptFeatures(context.blobs, cache, averaged, width=int(extract.width), max_side=looking.max_side)
    return kept.of(examples, lambda done, total: context.report("features", done, total, {}))
