"""Which images look the same, by their perceptual hashes. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Pair = tuple[str, str]

# Bits of 256. Measured on solar cells and digits, see docs/decisions/0017.
ALIKE_BITS = 16
_BLOCK = 256


def near_duplicates(hashes: Mapping[str, str], within: int = ALIKE_BITS) -> list[Pair]:
    """Pairs of images (sha256, the smaller first; sorted) whose hashes differ in `within` bits at most.

    `hashes` are 256 bits as 64 hex digits, by image. All pairs are compared, 10,000 images in about 1 s.
    """
    images = sorted(image for image, hash_ in hashes.items() if hash_)
    if len(images) < 2:
        return []
    words = np.frombuffer(b"".join(bytes.fromhex(hashes[image]) for image in images), dtype=np.uint64).reshape(-1, 4)
    found: list[Pair] = []
    for start in range(0, len(images), _BLOCK):
        block, rest = words[start : start + _BLOCK], words[start:]
        distance = np.zeros((len(block), len(rest)), np.uint16)
        for word in range(words.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ rest[None, :, word])
        for one, other in np.argwhere(distance <= within):
            if one < other:
                found.append((images[start + one], images[start + other]))
    return sorted(found)


def clusters(images: Sequence[str], pairs: Sequence[Pair]) -> Iterator[list[str]]:
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
