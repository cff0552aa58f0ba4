"""Retraining after 20 corrections on 2,600 cells: from `dataset.versioned` to `training.completed`, on a real bus and
MLflow with the real trainer and its child process."""

import shutil
from pathlib import Path
from uuid import uuid4

from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted, TrainingFailed
from contracts.project import Data, Gates, Model, ScopeCard
from deploy.embedded import servers
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.trainer.app import build
from services.trainer.settings import TrainerSettings
from tests.bench.cells import CLASSES, Cell
from tests.eventually import eventually
from tests.manifests import manifest_of
from tests.servers import running

IMAGES, CORRECTIONS = 2600, 20
_FIRST_S, _NEXT_S = 3600.0, 300.0
_PROJECT = "solar"


async def seconds(folder: Path, blobs_root: str, kept_root: str, known: list[Cell], rounds: int) -> list[float]:
    """Of each round, by the times of the two facts. The first training, which may compute features, is not counted."""
    shutil.rmtree(folder, ignore_errors=True)
    nats_port, mlflow_port = servers.free_port(), servers.free_port()
    places = {"nats_url": f"nats://{servers.HOST}:{nats_port}", "blobs_root": blobs_root, "kept_root": kept_root}
    settings = TrainerSettings(**places, mlflow_url=f"http://{servers.HOST}:{mlflow_port}")
    with (
        running(servers.nats(folder / "nats", nats_port), folder / "nats.log"),
        running(servers.mlflow(folder / "mlflow", mlflow_port), folder / "mlflow.log"),
    ):
        connection = await connect(Settings(**places), "bench")
        await provision(connection)
        bus = Bus("bench")
        bus.attach(connection)
        async with build(settings).app().start_lifespan_context():
            card = ScopeCard(project=_PROJECT, data=Data(classes=CLASSES), gates=Gates(), model=Model())
            await bus.say(ProjectDefined(card=card), project=_PROJECT)
            found = [
                await _turn(bus, Blobs(blobs_root), known, number, _NEXT_S if number else _FIRST_S)
                for number in range(rounds + 1)
            ]
        await connection.close()
    return found[1:]


async def _turn(bus: Bus, blobs: Blobs, known: list[Cell], number: int, timeout_s: float) -> float:
    said = await bus.say(_version(blobs, known, number), project=_PROJECT)

    async def trained() -> None:
        assert await bus.last(TrainingFailed, _PROJECT) is None
        found = await bus.last(TrainingCompleted, _PROJECT)
        assert found
        assert found[1].correlation_id == said.correlation_id

    await eventually(trained, timeout_s)
    completed = await bus.last(TrainingCompleted, _PROJECT)
    assert completed
    return (completed[1].time - said.time).total_seconds()


def _version(blobs: Blobs, known: list[Cell], number: int) -> DatasetVersioned:
    """Of 2,600 cells, of which 20 more are labelled otherwise than in the version before; a fifth is aside."""
    rows: list[dict[str, object]] = []
    for place, cell in enumerate(known[:IMAGES]):
        corrected = place < CORRECTIONS * number
        rows.append(
            {
                "sha256": cell.sha256,
                "uri": cell.uri,
                "label": CLASSES[1 - cell.label if corrected else cell.label],
                "split": ("validation", "test")[place % 2] if place % 5 == 0 else "train",
                "chosen": "random",
                "annotator": "bench",
                "width": cell.width,
                "height": cell.height,
            }
        )
    counts = tuple(
        ClassCount(
            label=label,
            **{
                split: sum(row["label"] == label and row["split"] == split for row in rows)
                for split in ("train", "validation", "test")
            },
        )
        for label in CLASSES
    )
    return DatasetVersioned(
        dataset_id=uuid4().hex[:16],
        number=number + 1,
        manifest=manifest_of(blobs, rows),
        classes=CLASSES,
        counts=counts,
        labels=IMAGES,
        new_labels=CORRECTIONS,
    )
