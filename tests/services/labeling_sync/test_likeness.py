import itertools
import time
import tracemalloc

import numpy as np

from services.labeling_sync.likeness import clusters, near_duplicates


def hash_of(*bits: int) -> str:
    """256 bits of which these are set."""
    set_ = np.zeros(256, np.uint8)
    set_[list(bits)] = 1
    return np.packbits(set_).tobytes().hex()


def test_hashes_that_differ_in_few_bits_are_of_near_duplicates() -> None:
    hashes = {"c": hash_of(), "a": hash_of(*range(16)), "b": hash_of(*range(17)), "none": ""}
    assert list(near_duplicates(hashes)) == [("a", "b"), ("a", "c")]
    assert list(near_duplicates({"a": hash_of()})) == list(near_duplicates({})) == []


def test_ten_thousand_images_are_compared_in_seconds() -> None:
    chance = np.random.default_rng(0).integers(0, 256, (10_000, 32), dtype=np.uint8)
    chance[9_999] = chance[0]
    hashes = {f"{place:064x}": row.tobytes().hex() for place, row in enumerate(chance)}
    started = time.monotonic()
    assert list(near_duplicates(hashes)) == [(f"{0:064x}", f"{9_999:064x}")]
    assert time.monotonic() - started < 60  # 1 s where nobody else computes


def test_pictures_that_are_all_alike_take_eight_bytes_a_pair() -> None:
    hashes = {f"{place:064x}": hash_of(place % 8) for place in range(1_500)}
    tracemalloc.start()
    pairs = near_duplicates(hashes)
    (first, *_), count = itertools.islice(pairs, 2), sum(1 for _ in pairs)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (first, count) == ((f"{0:064x}", f"{1:064x}"), 1_500 * 1_499 // 2)
    assert kept < 10 * count


def test_pairs_hang_together_as_clusters() -> None:
    found = clusters(["e", "d", "c", "b", "a"], [("b", "c"), ("c", "e"), ("a", "elsewhere")])
    assert list(found) == [["a"], ["b", "c", "e"], ["d"]]
