"""Embeddings small enough for the bus."""

import base64

import numpy as np
import pytest

from services.chassis.sketches import NUMBERS, sketch, unsketched


def test_a_sketch_is_the_same_in_every_process_and_for_all_time() -> None:
    assert sketch(np.arange(6, dtype=np.float32)) == (
        "Prg+OMe/qLFOQaixmcA+uF2+TkE+OMe/Pjg+OF2+XT5dvpnAErtdvl0+qDGZwKgxmUCosU5BPrhdPj64qLESuw=="
    )


def test_distances_survive() -> None:
    random = np.random.default_rng(0)
    embeddings = random.gamma(0.5, 1.0, (200, 1280)).astype(np.float32)
    sketches = np.stack([unsketched(sketch(one) or "") for one in embeddings])
    there, here = (np.linalg.norm(rows[:100] - rows[100:], axis=1) for rows in (embeddings, sketches))
    ratio = here / there
    # By Johnson and Lindenstrauss: on the whole the same, one of them within some 1/sqrt(2 * 32).
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert ratio.std() < 0.16


def test_embeddings_of_any_length_and_size_fit() -> None:
    for size in (1, 7, 4096):
        text = sketch(np.full(size, 1e30, np.float32))
        assert text
        assert len(text) == 88
        assert unsketched(text).shape == (NUMBERS,)


def test_what_is_not_finite_has_no_sketch() -> None:
    assert sketch(np.array([1.0, np.nan], np.float32)) is None
    assert sketch(np.array([np.inf, 0.0], np.float32)) is None


@pytest.mark.parametrize(
    "text", ["", "nonsense!", base64.b64encode(bytes(62)).decode(), base64.b64encode(b"\xff\x7f" * 32).decode()]
)
def test_what_is_no_sketch_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unsketched(text)
