"""Which side of the split an image is on. A side, once frozen, stays; what would sit on two is left out. Pure."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from services.labeling_sync.likeness import Pair, clusters

Split = Literal["train", "validation", "test"]
Why = Literal["near-duplicate", "group"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Sided(Protocol):
    """What the side of an image hangs on. `group` is "" where it belongs to none."""

    @property
    def sha256(self) -> str: ...
    @property
    def chosen(self) -> str: ...
    @property
    def group(self) -> str: ...


@dataclass(frozen=True)
class Sides:
    """The side of each image (by sha256) that is in, and why the others are left out."""

    of: dict[str, Split] = field(default_factory=dict)
    left_out: dict[str, Why] = field(default_factory=dict)


def share_of(purpose: str, key: str) -> float:
    """A number in 0..1 that hangs on the key alone, such as an image's sha256; another purpose gives another one."""
    digest = hashlib.sha256(f"{purpose}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side_by_hash(key: str, *, validation: float, test: float) -> Split:
    """The side of an image or a group that has none yet."""
    share = share_of("split", key)
    if share < test:
        return "test"
    return "validation" if share < test + validation else "train"


def sides_of(
    images: Sequence[Sided], alike: Iterable[Pair], frozen: Mapping[str, Split], *, validation: float, test: float
) -> Sides:
    """The sides of all images, whatever their order. `alike` is gone through several times.

    - An image that has been on a side (`frozen`) stays there.
    - Only an image that was drawn at random may judge a model: uncertain and corrected ones are harder than the world
      is. They train, or are left out where their group or a picture like theirs judges.
    - A group is on the side of its frozen images, or else where its hash puts it.
    - Near-duplicates (`alike`: pairs of images) go where the first of them is. A cluster that is all new goes where its
      least sha256 puts it, and trains where one of it may not judge.
    - Of two near-duplicates that are on different sides after all, as two that were frozen, one is left out.
    """
    sides = Sides()
    for image in images:
        if image.sha256 in frozen:
            sides.of[image.sha256] = frozen[image.sha256]
    _put_groups(images, sides, validation=validation, test=test)
    fresh = {image.sha256: image for image in images if not image.group and image.sha256 not in frozen}
    _put_clusters(fresh, alike, sides, validation=validation, test=test)
    _part(alike, frozen, sides)
    return sides


def _put_groups(images: Iterable[Sided], sides: Sides, *, validation: float, test: float) -> None:
    groups: defaultdict[str, list[Sided]] = defaultdict(list)
    for image in images:
        if image.group:
            groups[image.group].append(image)
    for group, members in groups.items():
        had = {sides.of[one.sha256] for one in members if one.sha256 in sides.of}
        by_hash = side_by_hash(f"group:{group}", validation=validation, test=test)
        side = had.pop() if len(had) == 1 else by_hash
        for one in members:
            if sides.of.get(one.sha256, side) != side or not _may_be(one, side):
                sides.of.pop(one.sha256, None)
                sides.left_out[one.sha256] = "group"
            else:
                sides.of[one.sha256] = side


def _put_clusters(
    fresh: Mapping[str, Sided], alike: Iterable[Pair], sides: Sides, *, validation: float, test: float
) -> None:
    beside: defaultdict[str, set[Split]] = defaultdict(set)
    for one, other in alike:
        for mine, theirs in ((one, other), (other, one)):
            if mine in fresh and theirs in sides.of:
                beside[mine].add(sides.of[theirs])
    for cluster in list(clusters(sorted(fresh), alike)):
        near = set[Split]().union(*(beside[sha256] for sha256 in cluster))
        if near:
            side = max(near, key=SPLITS.index)
        elif all(_may_be(fresh[sha256], "test") for sha256 in cluster):
            side = side_by_hash(cluster[0], validation=validation, test=test)
        else:
            side = "train"
        for sha256 in cluster:
            if _may_be(fresh[sha256], side):
                sides.of[sha256] = side
            else:
                sides.left_out[sha256] = "near-duplicate"


def _part(alike: Iterable[Pair], frozen: Mapping[str, Split], sides: Sides) -> None:
    """Leave one out of each pair on two sides: rather a new one than a frozen one, rather one that trains."""

    def is_apart(pair: Pair) -> bool:
        one, other = (sides.of.get(sha256) for sha256 in pair)
        return one is not None and other is not None and one != other

    for pair in sorted(pair for pair in alike if is_apart(pair)):
        if is_apart(pair):  # the other one may have been left out by now
            weaker = min(pair, key=lambda sha256: (sha256 in frozen, SPLITS.index(sides.of[sha256])))
            del sides.of[weaker]
            sides.left_out[weaker] = "near-duplicate"


def _may_be(image: Sided, side: Split) -> bool:
    return side == "train" or image.chosen == "random"
