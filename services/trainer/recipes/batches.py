"""Images in batches, as the backbone is given them; the next batch is decoded while one is worked on."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from services.trainer.dataset import Example
from services.trainer.recipes.kept import pixels
from services.trainer.recipes.recipe import Reading


def chunks(examples: Sequence[Example], size: int) -> list[Sequence[Example]]:
    """`size` examples each, the last of what is left."""
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def batches(
    chunks: Sequence[Sequence[Example]], blobs: Reading, max_side: int, seen: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """(float32 [n, 3, P, P], labels int64 [n]) of each chunk.

    `seen` makes what the backbone is given of uint8 [1, 3, H, W].

    Raises:
        Rejected: an image is gone or unreadable.
    """

    def loaded(chunk: Sequence[Example]) -> Tensor:
        with torch.inference_mode():
            return torch.cat([seen(torch.from_numpy(pixels(example, blobs, max_side))[None]) for example in chunk])

    with ThreadPoolExecutor(1) as aside:
        ahead = aside.submit(loaded, chunks[0]) if chunks else None
        for number, chunk in enumerate(chunks, start=1):
            assert ahead
            # A clone, because what was made in inference mode has no gradients behind it.
            images = ahead.result().clone()
            ahead = aside.submit(loaded, chunks[number]) if number < len(chunks) else None
            yield images, torch.tensor([example.label for example in chunk], dtype=torch.int64)
