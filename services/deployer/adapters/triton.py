"""Triton nodes over gRPC: a model's files are pushed, no disk is shared."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from contracts.telemetry import GOLDEN_CHECK, TRITON_LOAD
from services.chassis.errors import Away
from services.chassis.telemetry import span
from services.deployer.model_config import DIGEST
from services.deployer.ports import ModelRefused

BACKEND = Path(__file__).parents[1] / "backend" / "model.py"

# A node that comes back is found within a second; gRPC's own pauses grow to two minutes.
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# Of these the node, the network or the moment is the cause; of all others the model.
_AWAY = {
    "StatusCode.UNAVAILABLE",
    "StatusCode.DEADLINE_EXCEEDED",
    "StatusCode.CANCELLED",
    "StatusCode.NOT_FOUND",
}


class _HandedOver(dict[str, bytes]):
    """A dict whose items can be looked at once: each is forgotten when the next is asked for."""

    def items(self) -> Iterator[tuple[str, bytes]]:  # type: ignore[override]
        while self:
            name = next(iter(self))
            yield name, self.pop(name)


class TritonNodes:
    """`ModelNodes` of real Triton servers, `addresses` by name (`host:port` of gRPC), one channel each, kept."""

    def __init__(self, addresses: Mapping[str, str], *, load_timeout_s: float, call_timeout_s: float) -> None:
        self._addresses = dict(addresses)
        self._load_timeout_s = load_timeout_s
        self._call_timeout_s = call_timeout_s
        self._clients: dict[str, InferenceServerClient] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes, in the order of the settings."""
        return tuple(self._addresses)

    async def close(self) -> None:
        """Close the channels."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def all_live(self) -> bool:
        """Whether every node answers. Raises Away when one cannot be reached."""
        for node in self.names:
            with self._reaching(node):
                if not await self._client(node).is_server_live(client_timeout=self._call_timeout_s):
                    return False
        return True

    async def digest(self, node: str, model: str) -> str | None:
        """As `ModelNodes.digest`: the deployer writes it into the model's configuration when it pushes the file."""
        with self._reaching(node):
            # The repository index does not list pushed models: they are asked for one by one.
            if not await self._client(node).is_model_ready(model, client_timeout=self._call_timeout_s):
                return None
            try:
                answer = await self._client(node).get_model_config(model, client_timeout=self._call_timeout_s)
            except InferenceServerException as error:
                if error.status() == "StatusCode.NOT_FOUND":
                    return None
                raise
        return str(answer.config.parameters[DIGEST].string_value) if DIGEST in answer.config.parameters else ""

    async def load(self, node: str, config: Mapping[str, Any], file: bytes) -> float:
        """As `ModelNodes.load`; the files given replace whatever the node had under that name."""
        name = str(config["name"])
        size = len(file)
        # The client copies each file into its request; what it has copied need not be here a second time.
        files = _HandedOver({"file:1/model.pt": file, "file:1/model.py": BACKEND.read_bytes()})
        del file
        began = time.monotonic()
        with span(TRITON_LOAD, node=node, model=name, size_bytes=size), self._reaching(node):
            await self._client(node).load_model(
                name, config=json.dumps(config), files=files, client_timeout=self._load_timeout_s
            )
        return time.monotonic() - began

    async def unload(self, node: str, model: str) -> None:
        """As `ModelNodes.unload`; calls in flight are still answered."""
        with self._reaching(node):
            await self._client(node).unload_model(model, client_timeout=self._call_timeout_s)

    async def answer(self, node: str, model: str, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """As `ModelNodes.answer`."""
        with span(GOLDEN_CHECK, node=node, model=model, images=len(images)), self._reaching(node):
            return np.concatenate([await self._answer_one(node, model, image) for image in images])

    async def _answer_one(self, node: str, model: str, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        tensor = InferInput("INPUT__0", [1, *image.shape], "UINT8")
        tensor.set_data_from_numpy(image[np.newaxis])
        answer = await self._client(node).infer(
            model, [tensor], outputs=[InferRequestedOutput("OUTPUT__0")], client_timeout=self._call_timeout_s
        )
        return np.asarray(answer.as_numpy("OUTPUT__0"), dtype=np.float32)

    def _client(self, node: str) -> InferenceServerClient:
        if node not in self._clients:
            self._clients[node] = InferenceServerClient(self._addresses[node], channel_args=_CHANNEL)
        return self._clients[node]

    @contextmanager
    def _reaching(self, node: str) -> Iterator[None]:
        """Tell a node that is away (`Away`) from a model that is no good (`ModelRefused`)."""
        try:
            yield
        except InferenceServerException as error:
            text = " ".join(str(error.message()).split())
            if error.status() in _AWAY:
                raise Away(f"Triton node {node} at {self._addresses[node]} does not answer: {text}") from error
            raise ModelRefused(f"{node} says: {text}") from error
