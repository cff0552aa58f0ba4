"""All six services in one process, on real servers of their own that can be stopped, frozen and started again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil
import pytest
from pydantic import SecretStr

from contracts.envelope import Envelope
from contracts.events.base import Event, ImageRef
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.training import TrainingCompleted
from contracts.topology import consumer
from deploy.embedded import servers
from deploy.embedded.servers import HOST, Process, free_port
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.delivery import Delivery
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.deployer import app as deployer
from services.deployer.settings import DeployerSettings
from services.evaluator import app as evaluator
from services.evaluator.settings import EvaluatorSettings
from services.labeling_sync import app as labeling_sync
from services.labeling_sync.settings import LabelingSyncSettings
from services.predictor import app as predictor
from services.predictor.settings import PredictorSettings
from services.registry import app as registry
from services.registry.settings import RegistrySettings
from services.trainer import app as trainer
from services.trainer.settings import TrainerSettings
from tests.chaos import tiny
from tests.conftest import LabelStudioServer
from tests.eventually import eventually
from tests.manifests import two_corners
from tests.servers import running
from tests.services.registry.world import evaluation

E = TypeVar("E", bound=Event)

PROJECT = "outages"
WAIT_S = 120.0
_SPLITS = {"train": 6, "validation": 3, "test": 3}
# Short at first, so that many tries are made; then long enough to leave the machine to the servers that start.
PAUSES_S = (*[0.02] * 12, 0.5)


class Server:
    """A real server on one port and one data folder, however often it is started."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._runs = ExitStack()
        self._pid = 0

    async def start(self) -> None:
        """Returns when it is ready. In a thread: services of this process go on."""
        self._pid = await asyncio.to_thread(self._runs.enter_context, running(self._process, self._log))

    async def stop(self) -> None:
        """Returns when it has ended."""
        await asyncio.to_thread(self._runs.close)

    def freeze(self) -> None:
        """It accepts connections and answers none."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        """It goes on where it was."""
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        return psutil.Process(self._pid).children(recursive=True)


@dataclass
class World:
    """What runs, and `attempts`: how often each durable has tried each event since that was last cleared."""

    client: Client
    servers: Mapping[str, Server]
    services: Mapping[str, Service]
    studio: LabelStudioServer
    mlflow_url: str
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def blobs(self) -> Path:
        """The folder of the blob store."""
        return Path(self.client.settings.blobs_root)

    def picture(self, number: int) -> ImageRef:
        """Number `number` in the blob store."""
        blob = self.client.blobs.put(tiny.encoded(number % 2, number), "png")
        return ImageRef(uri=blob.uri, sha256=blob.sha256, width=tiny.SIDE, height=tiny.SIDE)

    def dataset(self, number: int) -> DatasetVersioned:
        """A dataset version of few pictures."""
        return DatasetVersioned(
            dataset_id=uuid4().hex[:16],
            number=number,
            manifest=two_corners(self.client.blobs, **_SPLITS),
            classes=tiny.CLASSES,
            counts=tuple(ClassCount(label=label, **_SPLITS) for label in tiny.CLASSES),
            labels=24,
            new_labels=24,
        )

    def trained(self, number: int) -> TrainingCompleted:
        """A tiny network whose run is in MLflow; each number is another model."""
        return tiny.trained_elsewhere(number, PROJECT, self.dataset(number), self.client.blobs, self.mlflow_url)

    def passed(self, number: int) -> EvaluationCompleted:
        """The verdict on such a network, which is to be served."""
        made = self.trained(number)
        wanted = {"plan": made.plan, "run_id": made.run_id, "model": made.model, "dataset_number": number}
        return evaluation().model_copy(update=wanted)

    async def waits(self, durable: str, said: Iterable[Envelope], why: str) -> None:
        """Wait until each event was tried more often than the topology grants, and health says for whom it waits."""
        service = self.services[consumer(durable).service]
        ids = [envelope.id for envelope in said]

        async def has_waited() -> None:
            tries = {id_: self.attempts[durable, id_] for id_ in ids}
            assert min(tries.values()) > len(consumer(durable).pauses_s) + 1, f"{durable}: {tries}"
            assert why in (await service.health.state())[f"work of {durable}"]

        await eventually(has_waited, WAIT_S)

    async def said(self, event_type: type[E], project: str) -> dict[str, E]:
        """All events of a type by id: each fact once."""
        return {envelope.id: event async for event, envelope, _ in self.client.read(event_type, project)}

    async def caught_up(self) -> None:
        """Wait until nothing waits any more, for anybody, and all are ready; nothing may be a dead letter."""

        async def is_quiet() -> None:
            assert [state for state in await self.client.consumers() if state.pending or state.unacked] == []
            for name, service in self.services.items():
                state = await service.health.state()
                assert {part: answer for part, answer in state.items() if answer != "ok"} == {}, name

        await eventually(is_quiet, WAIT_S, every_s=0.2)
        assert await self.client.dead_count() == 0


def services_on(
    settings: Settings, studio: LabelStudioServer, mlflow_url: str, nodes: Mapping[str, str]
) -> list[Service]:
    """All six, not yet running."""
    common: dict[str, Any] = settings.model_dump()
    return [
        labeling_sync.build(
            LabelingSyncSettings(
                **common,
                poll_period_s=0.3,
                label_studio_url=studio.url,
                label_studio_token=SecretStr(studio.token),
                label_studio_files_root=str(studio.files_root),
            )
        ),
        trainer.build(TrainerSettings(**common, mlflow_url=mlflow_url)),
        evaluator.build(EvaluatorSettings(**common)),
        registry.build(RegistrySettings(**common, mlflow_url=mlflow_url)),
        deployer.build(DeployerSettings(**common, triton_nodes=dict(nodes), reconcile_period_s=0.5, triton_threads=1)),
        predictor.build(PredictorSettings(**common, triton_nodes=dict(nodes), triton_deadline_s=3)),
    ]


@asynccontextmanager
async def all_running(folder: Path) -> AsyncIterator[World]:
    """Servers and services, from when they are ready until the `async with` ends."""
    nats, mlflow, studio_port, grpc = free_port(), free_port(), free_port(), (free_port(), free_port())
    studio = LabelStudioServer(
        f"http://{HOST}:{studio_port}", "0123456789abcdef0123456789abcdef01234567",
        "operator@loopline.local", "only-for-tests", folder / "files",
    )  # fmt: skip
    processes = {
        "nats": servers.nats(folder / "nats", nats),
        "mlflow": servers.mlflow(folder / "mlflow", mlflow),
        "label-studio": servers.label_studio(
            folder / "label-studio", studio_port,
            email=studio.email, password=studio.password, token=studio.token, files_root=studio.files_root,
        ),
        "a": servers.triton(folder / "a", free_port(), grpc[0], free_port()),
        "b": servers.triton(folder / "b", free_port(), grpc[1], free_port()),
    }  # fmt: skip
    started = {name: Server(process, folder / f"{name}.log") for name, process in processes.items()}
    settings = Settings(
        nats_url=f"nats://{HOST}:{nats}",
        nats_user="",
        blobs_root=str(folder / "files" / "blobs"),
        kept_root=str(folder / "kept"),
        traces_dir="",
    )
    await asyncio.to_thread((folder / "files" / "blobs").mkdir, parents=True)
    nodes = {"a": f"{HOST}:{grpc[0]}", "b": f"{HOST}:{grpc[1]}"}
    async with AsyncExitStack() as stack:
        for server in started.values():
            stack.push_async_callback(server.stop)
        await asyncio.gather(*(server.start() for server in started.values()))
        connection = await connect(settings, "provisioning")
        await provision(connection)
        await connection.close()
        client = await stack.enter_async_context(Client.connect(settings, "test"))
        services = services_on(settings, studio, f"http://{HOST}:{mlflow}", nodes)
        world = World(client, started, {one.name: one for one in services}, studio, f"http://{HOST}:{mlflow}")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("services.chassis.delivery._AWAY_PAUSES_S", PAUSES_S)
            _count(world.attempts, patched)
            for service in services:
                await stack.enter_async_context(service.app().start_lifespan_context())
            yield world
            await stack.aclose()


def _count(attempts: Counter[tuple[str, str]], patched: pytest.MonkeyPatch) -> None:
    say_all = Delivery._say_all

    async def counted(self: Delivery, said: Any, envelope: Envelope) -> None:
        attempts[self.consumer.durable, envelope.id] += 1
        await say_all(self, said, envelope)

    patched.setattr(Delivery, "_say_all", counted)
