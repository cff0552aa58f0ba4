"""A predictor whose model, store and routes are in memory; pictures are decoded for real."""

import base64
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from services.chassis.blobs import Blobs
from services.chassis.heard import Heard
from services.predictor.adapters.pictures import BlobPictures
from services.predictor.answer import Serving
from services.predictor.handlers import answer_ask, on_prediction_requested
from services.predictor.ports import ModelAnswer, Ports

ASKED_AT = datetime(2026, 1, 1, tzinfo=UTC)
SERVING = Serving(version=4, model="solar-v4", classes=("functional", "defective"), max_side=64, nodes=("local",))


@dataclass
class Models:
    probabilities: tuple[float, ...] = (0.25, 0.75)
    embedding: NDArray[np.float32] = field(default_factory=lambda: np.arange(8, dtype=np.float32))
    fails: list[Exception] = field(default_factory=list)
    seen: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    async def infer(self, serving: Serving, pixels: NDArray[np.uint8]) -> ModelAnswer:
        self.seen.append((serving.model, pixels.shape))
        if self.fails:
            raise self.fails.pop(0)
        heat_map = np.array([[0.0, 1.0], [0.5, 2.0]], dtype=np.float32)
        return ModelAnswer("local", np.array(self.probabilities, dtype=np.float32), heat_map, self.embedding)


@dataclass
class Routes:
    known: dict[str, Serving]
    after_reread: Serving | None = None

    async def of(self, project: str) -> Serving | None:
        return self.known.get(project)

    async def reread(self, project: str) -> None:
        if self.after_reread:
            self.known[project] = self.after_reread


@dataclass
class Said:
    projects: set[str]

    async def last(self, event_type: Any, project: str) -> Any:
        return (object(), object()) if project in self.projects else None


class World:
    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(str(root))
        self.models = Models()
        self.routes = Routes({"solar": SERVING})
        self.said: list[tuple[Event, str]] = []
        self._seconds = 0.0
        self.ports = Ports(
            BlobPictures(self.blobs, threads=1),
            self.models,
            self.routes,
            Said({"solar", "digits"}),
            now=lambda: ASKED_AT + timedelta(milliseconds=7),
            clock=self._tick,
        )

    def _tick(self) -> float:
        """Each look at the clock is a second after the last."""
        self._seconds += 1
        return self._seconds

    async def requested(
        self, request: PredictionRequested, project: str = "solar"
    ) -> PredictionCompleted | PredictionFailed:
        envelope = Envelope.first(request, project=project, source="test", id="request-1", time=ASKED_AT)
        (fact,) = await on_prediction_requested(request, Heard(envelope, "REQUESTS:1"), ports=self.ports)
        assert isinstance(fact, PredictionCompleted | PredictionFailed)
        return fact

    async def asked(self, body: bytes, project: str = "solar") -> bytes:
        async def say(event: Event, about: str) -> None:
            self.said.append((event, about))

        return await answer_ask(project, body, {}, ports=self.ports, say=say, new_id=lambda: "ask-1")


def encoded(width: int = 100, height: int = 50, mode: str = "RGB", format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, format, **options)
    return out.getvalue()


def inline(data: bytes, **fields: Any) -> PredictionRequested:
    return PredictionRequested(image_base64=base64.b64encode(data).decode(), **fields)
