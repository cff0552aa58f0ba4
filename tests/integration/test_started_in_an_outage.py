"""A service that is started while what it needs hangs comes up and waits; told to stop, it hands its work back."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from contracts.events.base import Event
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.image import ImageAdded
from contracts.events.model import ModelApproved, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from contracts.topology import DEPLOYMENTS, consumer
from deploy.embedded import servers
from deploy.embedded.servers import HOST, free_port
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.deployer.route import Route, Served
from tests.chaos import killpoints_tiny, tiny
from tests.eventually import eventually
from tests.manifests import two_corners
from tests.servers import running
from tests.services.labeling_sync.real import a_card, a_picture
from tests.services.predictor.world import inline
from tests.services.registry.world import evaluation
from tests.signing import signed

pytestmark = pytest.mark.integration

PROJECT = "solar"
COUNTS = {"train": 1, "validation": 1, "test": 1}
WAIT_S = 120.0
# What SIGTERM leaves a service before it would be killed.
STOP_S = 10.0
# Less than what the server waits for a keep-alive before it hands a message out again by itself.
HANDED_BACK_S = 8.0


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a listener that takes connections and never answers."""
    with socket.create_server((HOST, 0), backlog=100) as listener:
        yield f"{HOST}:{listener.getsockname()[1]}"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a bus of its own."""
    port = free_port()
    settings = Settings(
        nats_url=f"nats://{HOST}:{port}", nats_user="", traces_dir="", blobs_root=str(tmp_path / "files" / "blobs")
    )
    await asyncio.to_thread(Path(settings.blobs_root).mkdir, parents=True)
    with running(servers.nats(tmp_path / "nats", port), tmp_path / "nats.log"):
        connection = await connect(settings, "provisioning")
        await provision(connection)
        await connection.close()
        async with Client.connect(settings, "test") as found:
            yield found


@asynccontextmanager
async def processes(environment: Mapping[str, str]) -> AsyncIterator[dict[str, tuple[asyncio.subprocess.Process, int]]]:
    """All six services, each with the port of its HTTP door."""
    made: dict[str, tuple[asyncio.subprocess.Process, int]] = {}
    try:
        for name in ("labeling_sync", "trainer", "evaluator", "registry", "deployer", "predictor"):
            env = {**environment, "LOOPLINE_HTTP_PORT": str(free_port())}
            if name == "evaluator":  # which needs nothing else
                env["LOOPLINE_BLOBS_ROOT"] += "-of-another-disk"
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", f"services.{name}", env=env)
            made[name.replace("_", "-")] = process, int(env["LOOPLINE_HTTP_PORT"])
        yield made
    finally:
        for process, _ in made.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


def work_for_each(client: Client) -> dict[str, Event]:
    """By durable: something to do for each service."""
    made = killpoints_tiny.made([np.repeat(tiny.picture(0, 1)[np.newaxis], 3, axis=0)])
    model = TrainedModel(
        file=client.blobs.put(made.model, "pt"),
        golden=client.blobs.put(made.golden, "npz"),
        classes=tiny.CLASSES,
        max_side=made.max_side,
    )
    version = signed(
        ModelVersion(name=PROJECT, version=2, model=model, run_id="run-2", dataset_id="0" * 16, dataset_number=1)
    )
    manifest = two_corners(client.blobs, **COUNTS)
    counts = tuple(ClassCount(label=label, **COUNTS) for label in tiny.CLASSES)
    return {
        "labeling-sync-images": ImageAdded(image=a_picture(client.blobs, 1)),
        "trainer-training": DatasetVersioned(
            dataset_id="0" * 16, number=1, manifest=manifest, classes=tiny.CLASSES, counts=counts, labels=6,
            new_labels=6,
        ),
        "evaluator-judging": TrainingCompleted(
            plan=TrainingPlan(dataset_id="0" * 16, recipe="tiny", seed=0), dataset_number=1, manifest=manifest,
            run_id="run-1", model=model, metrics={}, seconds=0.0,
        ),
        "registry-versions": evaluation(),
        "deployer-rollouts": ModelApproved(version=version, approved_by="gates", why="all gates passed"),
        "predictor-requests": inline(tiny.encoded(0, 1)),
    }  # fmt: skip


async def test_each_comes_up_waits_says_for_whom_and_hands_its_work_back_when_told_to_stop(
    client: Client, hanging: str, tmp_path: Path
) -> None:
    work = work_for_each(client)
    approved = work["deployer-rollouts"]
    assert isinstance(approved, ModelApproved)
    served = Served(
        version=1, model="solar-v1", classes=tiny.CLASSES, max_side=tiny.SIDE, registered=approved.version, checks=()
    )
    route = Route(current=served, nodes=("local",)).model_dump(mode="json")
    await client.bucket(DEPLOYMENTS).put(PROJECT, route)
    await client.say(ProjectDefined(card=a_card(PROJECT, *tiny.CLASSES)), project=PROJECT)
    for event in work.values():
        await client.say(event, project=PROJECT)
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": client.settings.nats_url,
        "LOOPLINE_NATS_USER": "",
        "LOOPLINE_BLOBS_ROOT": client.settings.blobs_root,
        "LOOPLINE_KEPT_ROOT": str(tmp_path / "kept"),
        "LOOPLINE_MLFLOW_URL": f"http://{hanging}",
        "LOOPLINE_LABEL_STUDIO_URL": f"http://{hanging}",
        "LOOPLINE_LABEL_STUDIO_TOKEN": "any",
        "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(tmp_path / "files"),
        "LOOPLINE_LABEL_STUDIO_TIMEOUT_S": "5",
        "LOOPLINE_TRITON_NODES": f"local={hanging}",
        "LOOPLINE_TRITON_DEADLINE_S": "5",
        "LOOPLINE_TRITON_CALL_TIMEOUT_S": "5",
        "LOOPLINE_MLFLOW_TIMEOUT_S": "5",
    }
    waits_for = {
        "labeling-sync-images": "of Label Studio",
        "trainer-training": f"MLflow at http://{hanging} does not answer",
        "evaluator-judging": "blobs-of-another-disk of the blob store is not there",
        "registry-versions": f"MLflow at http://{hanging} does not answer",
        "deployer-rollouts": f"Triton node local at {hanging} does not answer",
        "predictor-requests": f"local at {hanging}",
    }
    async with processes(environment) as made, httpx.AsyncClient(trust_env=False, timeout=10) as http:
        for durable, why in waits_for.items():
            process, port = made[consumer(durable).service]

            async def says(port: int = port, durable: str = durable, why: str = why) -> None:
                try:
                    answer = await http.get(f"http://{HOST}:{port}/health/ready")
                except httpx.HTTPError as error:
                    raise AssertionError(f"{durable}: {error!r}") from error
                assert why in answer.json()["parts"].get(f"work of {durable}", ""), answer.text

            await eventually(says, WAIT_S, every_s=0.3)
            assert process.returncode is None
        for process, _ in made.values():
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*(process.wait() for process, _ in made.values())), STOP_S)
        for durable in waits_for:
            row = consumer(durable)
            subscription = await client.bus.jetstream.pull_subscribe_bind(consumer=durable, stream=row.stream)
            (message,) = await subscription.fetch(1, timeout=HANDED_BACK_S)
            assert message.metadata.num_delivered == 2, durable
    assert await client.dead_count() == 0
