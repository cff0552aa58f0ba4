import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.chassis.blobs import Blobs
from services.chassis.child import WarmChild
from services.chassis.errors import Rejected
from services.labeling_sync.adapters.cleanlab_process import WORKER, CleanlabProcess
from services.labeling_sync.worker import likely_wrong, read

CLASSES = ("good", "bad", "ugly")


def doubts(count: int = 90, wrong: int = 5, **replaced: Any) -> bytes:
    """Labels by turns, each likely but for the first few, which name the next class, the first one most boldly."""
    chance = np.random.default_rng(0)
    truth = np.arange(count) % 3
    probabilities = chance.uniform(0.01, 0.1, (count, 3))
    probabilities[np.arange(count), truth] = np.linspace(2, 1, count)
    labels = truth.copy()
    labels[:wrong] = (truth[:wrong] + 1) % 3
    arrays = {
        "sha256": np.array([f"{number:064x}" for number in range(count)]),
        "probabilities": (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32),
        "labels": labels,
        "classes": np.array(CLASSES),
    } | replaced
    out = io.BytesIO()
    np.savez(out, **{name: value for name, value in arrays.items() if value is not None})
    return out.getvalue()


def test_labels_that_contradict_the_model_are_found_and_no_others() -> None:
    _, probabilities, labels, _ = read(doubts())
    assert sorted(likely_wrong(probabilities, labels)) == [0, 1, 2, 3, 4]
    _, probabilities, labels, _ = read(doubts(wrong=0))
    assert likely_wrong(probabilities, labels) == []


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"no file", "no npz with what the contract names"),
        (doubts()[:-40], "no npz with what the contract names"),
        (doubts(classes=None), "no npz with what the contract names"),
        (doubts(labels=np.zeros(3, np.int64)), "do not fit together"),
        (doubts(labels=np.full(90, 3)), "labels outside of 0 to 2"),
        (doubts(probabilities=np.full((90, 3), np.nan)), "probabilities that are none"),
        (doubts(sha256=np.array([object()] * 90)), "no npz with what the contract names"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(data: bytes, complaint: str) -> None:
    with pytest.raises(Rejected, match=complaint):
        read(data)


async def test_the_child_answers_with_the_likelier_class_and_is_gone_then(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    child = WarmChild(WORKER)
    process = CleanlabProcess(child, str(tmp_path))
    found = await process.likely_wrong(blobs.put(doubts(), "npz"))
    assert sorted(one.sha256 for one in found) == [f"{number:064x}" for number in range(5)]
    assert (found[0].label_probability, found[0].likelier_probability) == (
        min(one.label_probability for one in found),
        pytest.approx(0.95, abs=0.05),
    )
    assert {(one.sha256, one.label, one.likelier) for one in found} >= {(f"{0:064x}", "bad", "good")}
    with pytest.raises(Rejected, match="no npz"):
        await process.likely_wrong(blobs.put(b"no file", "npz"))
    assert child._process is None
