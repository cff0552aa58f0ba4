"""As much of the loop as a model from outside meets: the bus with its users, MLflow, the evaluator, one dataset."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr

from contracts.events.base import Event
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.permissions import USERS
from contracts.project import Data, Floor, Gates, Model, ScopeCard
from deploy.embedded import servers
from deploy.embedded.nats_users import authorization
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.connection import connect
from services.chassis.images import size
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.cli.datasets import LabelledImage, digits
from services.evaluator.app import build as build_evaluator
from services.evaluator.settings import EvaluatorSettings
from tests.manifests import manifest_of
from tests.servers import running

ROOT = Path(__file__).parents[2]
WAIT_S = 240.0

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Loop:
    """The running parts. `bus` is that of an operator."""

    nats_url: str
    mlflow_url: str
    folder: Path
    bus: Bus

    def places(self, user: str) -> dict[str, Any]:
        """The settings of a user."""
        return {
            "nats_url": self.nats_url,
            "nats_user": user,
            "nats_password": SecretStr(_password(user)),
            "blobs_root": str(self.folder / "blobs"),
            "kept_root": str(self.folder / "kept"),
        }

    def environment(self, user: str = "notebook") -> dict[str, str]:
        """The same as variables of a process."""
        return {
            "LOOPLINE_VAR": str(self.folder),
            "LOOPLINE_NATS_URL": self.nats_url,
            "LOOPLINE_NATS_USER": user,
            "LOOPLINE_NATS_PASSWORD": _password(user),
            "LOOPLINE_BLOBS_ROOT": str(self.folder / "blobs"),
            "LOOPLINE_KEPT_ROOT": str(self.folder / "kept"),
            "LOOPLINE_MLFLOW_URL": self.mlflow_url,
        }

    async def start(self, *words: str, user: str = "notebook") -> asyncio.subprocess.Process:
        """Start Python with these words as a user of the bus, in the project's folder."""
        environment = {**os.environ, **self.environment(user), "PYTHONPATH": str(ROOT)}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            sys.executable, *words, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe
        )

    async def python(self, *words: str, user: str = "notebook") -> Ended:
        """The same to its end."""
        process = await self.start(*words, user=user)
        out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
        return Ended(process.returncode or 0, out.decode(), err.decode())

    async def only(self, event_type: type[E], project: str) -> E:
        """The one event of a type that was said about a project."""
        (found,) = [event async for event, _, _ in self.bus.read(event_type, project)]
        return found

    async def define(
        self, project: str, images: Iterable[LabelledImage], *, least_accuracy: float, model: Model | None = None
    ) -> None:
        """A project and its first dataset version: of each five images one is for validation, one for the test."""
        frozen = dataset_of(Blobs(str(self.folder / "blobs")), list(images))
        gates = Gates(floors=(Floor(metric="accuracy", at_least=least_accuracy),), min_test_per_class=1)
        card = ScopeCard(project=project, data=Data(classes=frozen.classes), gates=gates, model=model or Model())
        await self.bus.say(ProjectDefined(card=card), project=project)
        await self.bus.say(frozen, project=project)


def dataset_of(blobs: Blobs, images: list[LabelledImage]) -> DatasetVersioned:
    """Store images with their manifest; the version that lists them."""
    classes = tuple(sorted({str(image.label) for image in images}))
    splits = ["train", "train", "train", "validation", "test"]
    counts = {label: dict.fromkeys(("train", "validation", "test"), 0) for label in classes}
    rows: list[dict[str, object]] = []
    for image in images:
        label, blob = str(image.label), blobs.put(image.encoded, image.suffix)
        split = splits[sum(counts[label].values()) % len(splits)]
        counts[label][split] += 1
        width, height = size(image.encoded)
        rows.append(
            {"sha256": blob.sha256, "uri": blob.uri, "label": label, "split": split, "width": width, "height": height}
        )
    manifest = manifest_of(blobs, rows)
    return DatasetVersioned(
        dataset_id=manifest.sha256[:16],
        number=1,
        manifest=manifest,
        classes=classes,
        counts=tuple(ClassCount(label=label, **counts[label]) for label in classes),
        labels=len(rows),
        new_labels=len(rows),
    )


def some_digits(count: int) -> list[LabelledImage]:
    """Real handwriting, 64 x 64."""
    return [image for _, image in zip(range(count), digits(), strict=False)]


@asynccontextmanager
async def loop_running(folder: Path, mlflow_url: str) -> AsyncIterator[Loop]:
    """A bus of its own and an evaluator; no fixture, since a service stops in the task that started it."""
    port = servers.free_port()
    users = authorization({row.name: _password(row.name) for row in USERS})
    url = f"nats://{servers.HOST}:{port}"
    (folder / "blobs").mkdir(parents=True)
    with running(servers.nats(folder / "nats", port, users), folder / "nats.log"):
        bus = Bus("cli")
        loop = Loop(url, mlflow_url, folder, bus)
        provisioner = await connect(Settings(**loop.places("provisioner")), "provisioner")
        await provision(provisioner)
        await provisioner.close()
        operator = await connect(Settings(**loop.places("cli")), "cli")
        bus.attach(operator)
        evaluator = build_evaluator(EvaluatorSettings(**loop.places("evaluator")))
        async with evaluator.app().start_lifespan_context():
            yield loop
        await operator.close()


def _password(user: str) -> str:
    return f"{user}-only-for-tests"
