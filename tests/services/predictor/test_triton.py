"""Which node is asked, and what becomes of its errors; the calls themselves are tested on a real Triton."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from services.chassis.errors import Away, Retry
from services.predictor.adapters.triton import TritonModels
from services.predictor.answer import Serving
from services.predictor.ports import ModelAnswer, NotLoaded

PIXELS = np.zeros((3, 8, 8), np.uint8)
SERVING = Serving(version=4, model="solar-v4", classes=("good", "bad"), max_side=64, nodes=("a", "b"))


@dataclass
class Nodes:
    """What each node's status is: "" where it answers; `asked` counts."""

    status: dict[str, str]
    asked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    async def infer(self, node: str, model: str, pixels: NDArray[np.uint8]) -> ModelAnswer:
        self.asked[node] += 1
        if status := self.status[node]:
            raise InferenceServerException(msg="so it is", status=f"StatusCode.{status}")
        return ModelAnswer(node, np.zeros(2, np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.float32))


def models(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> TritonModels:
    made = TritonModels({"a": "a:1", "b": "b:1"}, deadline_s=1, clock=lambda: nodes.seconds)
    monkeypatch.setattr(made, "_infer", nodes.infer)
    return made


async def test_of_many_calls_one_finds_out_whether_a_node_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes({"a": "DEADLINE_EXCEEDED", "b": ""})
    asking = models(nodes, monkeypatch)
    for _ in range(20):
        assert (await asking.infer(SERVING, PIXELS)).node == "b"
    assert nodes.asked["a"] == 1
    nodes.seconds = 6
    for _ in range(20):
        assert (await asking.infer(SERVING, PIXELS)).node == "b"
    assert nodes.asked["a"] == 2
    nodes.seconds, nodes.status["a"] = 12, ""
    assert {(await asking.infer(SERVING, PIXELS)).node for _ in range(4)} == {"a", "b"}


@pytest.mark.parametrize(
    ("a", "b", "error", "text"),
    [
        ("UNAVAILABLE", "DEADLINE_EXCEEDED", Away, "asked a at a:1, b at b:1"),
        ("UNAVAILABLE", "NOT_FOUND", Away, "b: so it is"),
        ("NOT_FOUND", "NOT_FOUND", NotLoaded, "no Triton node has solar-v4"),
        # Waiting mends neither the model nor the image: it counts as a try.
        ("INTERNAL", "UNAVAILABLE", Retry, "solar-v4 fails at this image"),
    ],
)
async def test_each_error_has_its_kind(
    a: str, b: str, error: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(error, match=text) as raised:
        await models(Nodes({"a": a, "b": b}), monkeypatch).infer(SERVING, PIXELS)
    assert raised.type is error
