"""Triton nodes over gRPC, one channel each, kept."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from contracts.telemetry import TRITON_INFER
from services.chassis.errors import Away, Retry
from services.chassis.telemetry import span
from services.predictor.answer import Serving, Unanswerable, in_turn
from services.predictor.ports import ModelAnswer, NotLoaded

# A node that comes back is found within a second; gRPC's own pauses grow to two minutes.
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_PROBABILITIES, _HEAT_MAP, _EMBEDDING = _OUTPUTS = "OUTPUT__0", "OUTPUT__1", "OUTPUT__2"
# A node that was away is asked again after this long, by one request; the others would all wait for a frozen one.
_SHUN_S = 5.0
# Of these the node or the network is the cause; of all others the model or the image.
_AWAY = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"}


class TritonModels:
    """`Models` of real Triton servers; `addresses` (`host:port` of gRPC) by the names that routes use."""

    def __init__(
        self, addresses: Mapping[str, str], *, deadline_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._addresses = dict(addresses)
        self._deadline_s = deadline_s
        self._clock = clock
        self._shunned_until: dict[str, float] = {}
        self._clients: dict[str, InferenceServerClient] = {}
        self._turn = count()

    async def close(self) -> None:
        """Close the channels."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def any_live(self) -> bool:
        """Whether a node answers; raises Away when none does."""
        asked = [asyncio.ensure_future(self._is_live(node)) for node in self._addresses]
        try:
            for first in asyncio.as_completed(asked):
                if await first:
                    return True
        finally:
            for one in asked:
                one.cancel()
        where = ", ".join(f"{node} at {address}" for node, address in self._addresses.items())
        raise Away(f"no Triton node answers ({where}): is one running?")

    async def _is_live(self, node: str) -> bool:
        try:
            return bool(await self._client(node).is_server_live(client_timeout=self._deadline_s))
        except InferenceServerException:
            return False

    async def infer(self, serving: Serving, pixels: NDArray[np.uint8]) -> ModelAnswer:
        """As `Models.infer`; `pixels` is uint8 [3, H, W]. A node that is away is passed over for the next."""
        nodes = [node for node in serving.nodes if node in self._addresses]
        if not nodes:
            raise Retry(
                f"{serving.model} is on {', '.join(serving.nodes)} and this predictor knows "
                f"{', '.join(self._addresses)}: give it the LOOPLINE_TRITON_NODES of the deployer"
            )
        away: list[str] = []
        lacking: list[str] = []
        failing: list[str] = []
        with span(TRITON_INFER, model=serving.model, height=pixels.shape[1], width=pixels.shape[2]):
            for node in self._in_turn(nodes):
                try:
                    answer = await self._infer(node, serving.model, pixels)
                except InferenceServerException as error:
                    text = " ".join(str(error.message()).split())
                    if error.status() == "StatusCode.INVALID_ARGUMENT":
                        raise Unanswerable(f"{serving.model} cannot look at this image: {text}") from error
                    if error.status() in _AWAY:
                        away.append(node)
                        self._shunned_until[node] = self._clock() + _SHUN_S
                    elif error.status() == "StatusCode.NOT_FOUND":
                        lacking.append(f"{node}: {text}")
                    else:
                        failing.append(f"{node}: {text}")
                else:
                    self._shunned_until.pop(node, None)
                    return answer
        if failing:
            raise Retry(f"{serving.model} fails at this image ({'; '.join(failing)})")
        if away:
            where = ", ".join(f"{node} at {self._addresses[node]}" for node in away)
            lacks = f", and {'; '.join(lacking)}" if lacking else ""
            raise Away(f"no Triton node answers for {serving.model} (asked {where}{lacks}): is it running?")
        raise NotLoaded(f"no Triton node has {serving.model} at the moment ({'; '.join(lacking)})")

    def _in_turn(self, nodes: Sequence[str]) -> Sequence[str]:
        """The nodes in the order in which this call tries them: the shunned ones last."""
        now = self._clock()
        order = sorted(in_turn(nodes, next(self._turn)), key=lambda node: self._shunned_until.get(node, 0.0) > now)
        if order[0] in self._shunned_until:
            self._shunned_until[order[0]] = now + _SHUN_S  # this call finds out, and no other meanwhile
        return order

    async def _infer(self, node: str, model: str, pixels: NDArray[np.uint8]) -> ModelAnswer:
        tensor = InferInput("INPUT__0", [1, *pixels.shape], "UINT8")
        tensor.set_data_from_numpy(pixels[np.newaxis])
        answer = await self._client(node).infer(
            model,
            [tensor],
            outputs=[InferRequestedOutput(name) for name in _OUTPUTS],
            client_timeout=self._deadline_s,
        )
        return ModelAnswer(
            node,
            answer.as_numpy(_PROBABILITIES)[0],
            answer.as_numpy(_HEAT_MAP)[0],
            answer.as_numpy(_EMBEDDING)[0],
        )

    def _client(self, node: str) -> InferenceServerClient:
        if node not in self._clients:
            self._clients[node] = InferenceServerClient(self._addresses[node], channel_args=_CHANNEL)
        return self._clients[node]
