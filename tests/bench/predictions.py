"""The predictor as `bench:bus` measures it: in its service, and its own work alone."""

import base64
import io
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import nats
import numpy as np
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from numpy.typing import NDArray

from contracts.events.prediction import PredictionRequested
from contracts.topology import DEPLOYMENTS, consumer, stream_of
from services.chassis.app import Service
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.images import encode_png
from services.chassis.kv import Bucket
from services.predictor.adapters.deployments import WatchedRoutes
from services.predictor.adapters.pictures import BlobPictures
from services.predictor.adapters.triton import TritonModels
from services.predictor.answer import Serving
from services.predictor.app import build
from services.predictor.ports import ModelAnswer, Models, Ports
from services.predictor.predicting import predict
from services.predictor.settings import PredictorSettings
from tests.bench.meter import Meter

DURABLE = consumer("predictor-requests")
MODEL = "bench-v1"
CLASSES = ("upper", "lower")
# Of the smallest picture, and of those of the demo.
SMALL, LARGE = 32, 300
# The variable that makes a station ask nobody: an answer that is there at once stands in for Triton.
NO_TRITON = "BENCH_NO_TRITON"
ROUTE = {
    "current": {"version": 1, "model": MODEL, "classes": list(CLASSES), "max_side": LARGE},
    "nodes": ["local"],
}


def torchscript() -> bytes:
    """A model of a few numbers, as the contract of every model says: uint8 [N, 3, H, W] in."""
    import torch

    class Tiny(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            grey = images.float().mean(1) / 255
            half = grey.size(1) // 2
            corners = torch.stack([grey[:, :half, :half].mean((1, 2)), grey[:, half:, half:].mean((1, 2))], 1)
            return torch.softmax(corners * 20, 1), grey[:, ::4, ::4], corners

    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Tiny().eval()), file)
    return file.getvalue()


def request(number: int, side: int = SMALL) -> PredictionRequested:
    """A picture of its own, grey, `side` x `side`."""
    pixels = np.random.default_rng(number).integers(0, 255, (side, side), dtype=np.uint8)
    return PredictionRequested(image_base64=base64.b64encode(encode_png(pixels)).decode())


class _AtOnce:
    """Stands in for Triton."""

    async def infer(self, serving: Serving, pixels: NDArray[np.uint8]) -> ModelAnswer:
        heat_map, embedding = np.zeros((8, 8), np.float32), np.zeros(1280, np.float32)
        return ModelAnswer("local", np.array([0.25, 0.75], np.float32), heat_map, embedding)


class _Counted:
    """Models before which the meter stands."""

    def __init__(self, models: Models, meter: Meter) -> None:
        self._models = models
        self._meter = meter

    async def infer(self, serving: Serving, pixels: NDArray[np.uint8]) -> ModelAnswer:
        await self._meter.passes()
        return await self._models.infer(serving, pixels)


def _models(settings: PredictorSettings, meter: Meter) -> Models:
    if os.environ.get(NO_TRITON):
        return _Counted(_AtOnce(), meter)
    return _Counted(TritonModels(settings.triton_nodes, deadline_s=settings.triton_deadline_s), meter)


def service(meter: Meter) -> Service:
    """The predictor as it is shipped, the meter before its Triton."""
    settings = PredictorSettings()
    return build(settings, _models(settings, meter))


@asynccontextmanager
async def ports(meter: Meter) -> AsyncIterator[Ports]:
    """The same adapters without the service."""
    settings = PredictorSettings()
    connection = await nats.connect(settings.nats_url)
    jetstream = connection.jetstream()
    pictures = BlobPictures(Blobs(settings.blobs_root), settings.decode_threads)
    routes = WatchedRoutes(Bucket(lambda: jetstream, DEPLOYMENTS))
    yield Ports(
        pictures, _models(settings, meter), routes, Bus("bench"), lambda: datetime.now(UTC), clock=time.perf_counter
    )
    await pictures.close()
    await connection.close()


def directly(ports: Ports) -> Callable[[Msg, JetStreamContext], Coroutine[None, None, None]]:
    """Request in, the predictor's work, answer out."""

    async def handle(message: Msg, jetstream: JetStreamContext) -> None:
        asked = PredictionRequested.model_validate_json(message.data)
        id_ = (message.headers or {})["ce-id"]
        now = datetime.now(UTC)
        answer = await predict(asked, project="bench", prediction_id=id_, asked_at=now, ports=ports)
        await jetstream.publish(
            answer.subject("bench"),
            answer.model_dump_json().encode(),
            stream=stream_of(type(answer)),
            headers={"Nats-Msg-Id": f"{id_}.out"},
        )
        await message.ack()

    return handle
