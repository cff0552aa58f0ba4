"""Which images look the same, by their perceptual hashes. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Pair = tuple[str, str]

# Bits of 256. Measured on solar cells and digits, see docs/decisions/0017.
ALIKE_BITS = 16
_BLOCK = 256
_AT_ONCE = 65_536


class Pairs:
    """Pairs of images, kept as places int32 [n, 2]: of 5,000 pictures that are all dark there are twelve million."""

    def __init__(self, images: Sequence[str], places: NDArray[np.int32]) -> None:
        self._images = images
        self._places = places

    def __iter__(self) -> Iterator[Pair]:
        for start in range(0, len(self._places), _AT_ONCE):
            for one, other in self._places[start : start + _AT_ONCE].tolist():
                yield self._images[one], self._images[other]


def near_duplicates(hashes: Mapping[str, str], within: int = ALIKE_BITS) -> Pairs:
    """Pairs of images (sha256, the smaller first; sorted) whose hashes differ in `within` bits at most.

    `hashes` are 256 bits as 64 hex digits, by image. All pairs are compared, 10,000 images in about 1 s.
    """
    images = sorted(image for image, hash_ in hashes.items() if hash_)
    words = np.frombuffer(b"".join(bytes.fromhex(hashes[image]) for image in images), dtype=np.uint64).reshape(-1, 4)
    found = [np.empty((0, 2), np.int32)]
    for start in range(0, len(images), _BLOCK):
        block, rest = words[start : start + _BLOCK], words[start:]
        distance = np.zeros((len(block), len(rest)), np.uint16)
        for word in range(words.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ rest[None, :, word])
        # Above the diagonal: each pair once, and no image beside itself.
        found.append((np.argwhere(np.triu(distance <= within, 1)) + start).astype(np.int32))
    return Pairs(images, np.concatenate(found))


def clusters(images: Sequence[str], pairs: Iterable[Pair]) -> Iterator[list[str]]:
    """The images in groups that hang together by pairs, each sorted; an image without a pair is one of its own."""
    head = {image: image for image in sorted(images)}

    def find(image: str) -> str:
        while head[image] != image:
            head[image] = head[head[image]]
            image = head[image]
        return image

    for one, other in pairs:
        if one in head and other in head:
            first, second = sorted((find(one), find(other)))
            head[second] = first
    members: dict[str, list[str]] = {}
    for image in head:
        members.setdefault(find(image), []).append(image)
    yield from members.values()
