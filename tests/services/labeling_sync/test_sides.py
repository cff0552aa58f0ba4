import itertools
from dataclasses import dataclass

import pytest

from services.labeling_sync.likeness import Pair
from services.labeling_sync.sides import Sides, Split, share_of, side_by_hash, sides_of


@dataclass(frozen=True)
class Image:
    sha256: str
    chosen: str = "random"
    group: str = ""


def sha(number: int) -> str:
    return f"{number:064x}"


def named(side: Split, after: int = 0) -> str:
    """An image that its hash puts on a side."""
    return next(sha(n) for n in itertools.count(after + 1) if side_by_hash(sha(n), validation=0.2, test=0.3) == side)


def group_on(side: Split) -> str:
    return next(str(n) for n in itertools.count() if side_by_hash(f"group:{n}", validation=0.2, test=0.3) == side)


def put(*images: Image, alike: tuple[Pair, ...] = (), frozen: dict[str, Split] | None = None) -> Sides:
    pairs = sorted((min(pair), max(pair)) for pair in alike)
    found = sides_of(images, pairs, frozen or {}, validation=0.2, test=0.3)
    assert found == sides_of(images[::-1], pairs, frozen or {}, validation=0.2, test=0.3)
    return found


def test_an_image_never_changes_sides_and_shares_are_kept() -> None:
    images = [Image(sha(number)) for number in range(4_000)]
    first = put(*images).of
    sides = list(first.values())
    assert abs(sides.count("test") / 4_000 - 0.3) < 0.03
    assert abs(sides.count("validation") / 4_000 - 0.2) < 0.03
    grown = sides_of(images, [], first, validation=0.4, test=0.4)
    assert grown.of == first


def test_uncertain_and_corrected_images_only_train() -> None:
    for chosen in ("uncertain", "corrected"):
        assert set(put(*(Image(sha(n), chosen) for n in range(200))).of.values()) == {"train"}


def test_the_side_of_an_image_does_not_hang_on_whether_it_was_drawn() -> None:
    drawn = [sha(n) for n in range(4_000) if share_of("draw", sha(n)) < 0.1]
    in_test = sum(side_by_hash(image, validation=0.2, test=0.3) == "test" for image in drawn)
    assert abs(in_test / len(drawn) - 0.3) < 0.08


def test_a_group_is_on_one_side_that_its_hash_says() -> None:
    for side in ("train", "validation", "test"):
        images = [Image(sha(n), group=group_on(side)) for n in range(50)]
        assert set(put(*images).of.values()) == {side}


def test_an_image_that_may_not_judge_is_left_out_of_a_group_that_does() -> None:
    group = group_on("test")
    found = put(Image(sha(1), group=group), Image(sha(2), "uncertain", group))
    assert (found.of, found.left_out) == ({sha(1): "test"}, {sha(2): "group"})


def test_a_group_named_in_mid_life_stays_where_its_images_are() -> None:
    group = group_on("train")
    found = put(Image(sha(1), group=group), Image(sha(2), group=group), frozen={sha(1): "test"})
    assert found.of == {sha(1): "test", sha(2): "test"}


def test_of_a_group_that_was_on_two_sides_one_side_is_left_out() -> None:
    group = group_on("test")
    images = [Image(sha(n), group=group) for n in (1, 2, 3)]
    found = put(*images, frozen={sha(1): "test", sha(2): "train"})
    assert (found.of, found.left_out) == ({sha(1): "test", sha(3): "test"}, {sha(2): "group"})


def test_new_near_duplicates_are_on_one_side_together() -> None:
    one, other = named("test"), named("train", 100)
    assert put(Image(one), Image(other), alike=((one, other),)).of == dict.fromkeys((one, other), "test")


@pytest.mark.parametrize("side", ["train", "validation", "test"])
def test_a_new_near_duplicate_joins_the_side_of_the_first_one(side: Split) -> None:
    new = named("validation" if side == "train" else "train")
    assert put(Image(sha(999)), Image(new), alike=((sha(999), new),), frozen={sha(999): side}).of[new] == side


def test_a_cluster_with_an_image_that_may_not_judge_trains() -> None:
    one, other = named("test"), sha(999)
    found = put(Image(one), Image(other, "corrected"), alike=((one, other),))
    assert set(found.of.values()) == {"train"}


def test_an_uncertain_image_like_one_of_the_test_set_is_left_out() -> None:
    found = put(Image(sha(1)), Image(sha(2), "uncertain"), alike=((sha(1), sha(2)),), frozen={sha(1): "test"})
    assert (found.of, found.left_out) == ({sha(1): "test"}, {sha(2): "near-duplicate"})


def test_of_two_frozen_near_duplicates_on_two_sides_the_one_that_trains_is_left_out() -> None:
    frozen: dict[str, Split] = {sha(1): "train", sha(2): "test"}
    found = put(Image(sha(1)), Image(sha(2)), alike=((sha(1), sha(2)),), frozen=frozen)
    assert (found.of, found.left_out) == ({sha(2): "test"}, {sha(1): "near-duplicate"})


def test_a_new_image_between_two_sides_is_left_out() -> None:
    frozen: dict[str, Split] = {sha(1): "train", sha(2): "test"}
    images = [Image(sha(n)) for n in (1, 2, 3)]
    found = put(*images, alike=((sha(1), sha(3)), (sha(2), sha(3))), frozen=frozen)
    assert (found.of, found.left_out) == (frozen, {sha(3): "near-duplicate"})


def test_no_pair_is_ever_on_two_sides() -> None:
    images = [Image(sha(n), ("random", "uncertain")[n % 3 == 0], str(n % 7) if n % 5 == 0 else "") for n in range(300)]
    pairs = tuple((sha(n), sha((n * 37 + 11) % 300)) for n in range(0, 300, 2) if n != (n * 37 + 11) % 300)
    frozen = put(*images[:100]).of
    found = put(*images, alike=pairs, frozen=frozen)
    assert all(len({found.of[one] for one in pair if one in found.of}) < 2 for pair in pairs)
    assert all(found.of.get(sha256, side) == side for sha256, side in frozen.items())
    assert set(found.of) | set(found.left_out) == {image.sha256 for image in images}
