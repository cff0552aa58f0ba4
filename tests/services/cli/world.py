"""The bus of the command line's tests, in memory, and a way to run a command against it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from typer.testing import CliRunner

from contracts.envelope import Envelope, derive_id
from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.topology import SERVICES
from services.chassis.blobs import Blobs
from services.chassis.client import ConsumerState
from services.chassis.dead import Chosen, DeadLetter, NoSuchLetter
from services.chassis.images import encode_png
from services.chassis.limits import Fill
from services.chassis.presence import Alive
from services.cli.app import app
from services.cli.session import Session
from services.cli.settings import CliSettings

E = TypeVar("E", bound=Event)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class FakeDeadLetters:
    """Dead letters by number. `ways` remembers which way each one went, and why."""

    def __init__(self) -> None:
        self.letters: dict[int, DeadLetter] = {}
        self.ways: list[tuple[int, str]] = []

    async def read(self, chosen: Chosen) -> AsyncIterator[DeadLetter]:
        for letter in list(self.letters.values()):
            if chosen.takes(letter):
                yield letter

    async def find(self, id_: int) -> DeadLetter:
        if id_ not in self.letters:
            raise NoSuchLetter(f"there is no dead letter {id_}")
        return self.letters[id_]

    async def replay(self, id_: int, by: str) -> DeadLetter:
        letter = await self.find(id_)
        self.ways.append((id_, "replayed"))
        return self.letters.pop(letter.id)

    async def discard(self, id_: int, why: str, by: str) -> DeadLetter:
        letter = await self.find(id_)
        self.ways.append((id_, why))
        return self.letters.pop(letter.id)


@dataclass
class FakeClient:
    """Remembers what is said. `answer` stands for the predictor."""

    root: Path
    said: list[tuple[Event, Envelope]] = field(default_factory=list)
    answer: Callable[[PredictionRequested], PredictionCompleted | PredictionFailed] | None = None
    refuses: Exception | None = None

    def __post_init__(self) -> None:
        self.blobs = Blobs(str(self.root / "blobs"))
        self.dead = FakeDeadLetters()
        self.kept: dict[str, dict[str, Any]] = {}

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        time = NOW + timedelta(seconds=len(self.said))
        id_ = derive_id(str(len(self.said)))
        self.said.append((event, Envelope.first(event, project=project, source="/cli", id=id_, time=time)))
        return self.said[-1][1]

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        found = [(event, envelope) async for event, envelope, _ in self.read(event_type, project)]
        return found[-1] if found else None

    async def read(self, event_type: type[E], project: str = "*") -> AsyncIterator[tuple[E, Envelope, int]]:
        for seq, (event, envelope) in enumerate(self.said, 1):
            if isinstance(event, event_type) and project in ("*", envelope.project):
                yield event, envelope, seq

    async def events(
        self, types: list[type[Event]] | None = None, project: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[tuple[Event, Envelope]]:
        for event, envelope in self.said:
            if project in (None, envelope.project) and (types is None or type(event) in types):
                yield event, envelope

    async def predict(self, project: str, request: PredictionRequested) -> PredictionCompleted | PredictionFailed:
        assert self.answer is not None
        return self.answer(request)

    async def find_prediction(self, prediction_id: str, project: str) -> tuple[PredictionCompleted, Envelope] | None:
        async for event, envelope, _ in self.read(PredictionCompleted, project):
            if event.prediction_id == prediction_id:
                return event, envelope
        return None

    def bucket(self, name: str) -> "FakeClient":
        """Every bucket is this one, with what is `kept`."""
        return self

    async def get(self, key: str) -> tuple[dict[str, Any], int] | None:
        return (self.kept[key], 1) if key in self.kept else None

    async def projects(self) -> list[str]:
        return sorted({envelope.project for event, envelope in self.said if isinstance(event, ProjectDefined)})

    async def consumers(self) -> list[ConsumerState]:
        return [ConsumerState("trainer-training", 3, 1, 0)]

    async def alive(self) -> list[Alive]:
        return [Alive(name, name, "1.2.3", f"host/{name}", "", "", "") for name in SERVICES if name != "deployer"]

    async def fills(self) -> list[Fill]:
        return [Fill("LOOP", 10, 90, 100), Fill("DEAD", 1, 1, 100)]

    async def dead_count(self) -> int:
        return len(self.dead.letters)

    def all(self, event_type: type[E]) -> list[E]:
        return [event for event, _ in self.said if isinstance(event, event_type)]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(client: FakeClient, *words: str, stdin: str = "") -> Outcome:
    """Run `loopline` with these words."""

    @asynccontextmanager
    async def connect(settings: CliSettings) -> AsyncIterator[FakeClient]:
        if client.refuses:
            raise client.refuses
        yield client

    session = Session(settings=CliSettings(_env_file=None), connect=connect)  # type: ignore[arg-type]
    result = CliRunner().invoke(app, list(words), obj=session, input=stdin)
    return Outcome(result.exit_code, result.stdout, result.stderr)


def refused(outcome: Outcome) -> str:
    """The line of a command that was refused: one, on standard error, with exit code 2."""
    assert outcome.code == 2, (outcome.out, outcome.err)
    lines = outcome.err.splitlines()
    assert len(lines) == 1, lines
    assert outcome.out == ""
    return lines[0].removeprefix("loopline: ")


def png(seed: int, side: int = 16) -> bytes:
    """A small picture like no other."""
    return encode_png(np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8))


CARD = """
project: solar
data: {classes: [functional, defective]}
"""


def defined(root: Path, card: str = CARD) -> FakeClient:
    """A bus on which one project is defined."""
    client = FakeClient(root)
    file = root / "card.yaml"
    file.write_text(card)
    assert run(client, "project", "apply", str(file)).code == 0
    return client


def with_dataset(root: Path) -> FakeClient:
    """The project `solar` with a dataset version."""
    client = defined(root)
    event = DatasetVersioned.model_validate(
        {
            "dataset_id": "0" * 16,
            "number": 1,
            "manifest": {"uri": f"blob://{'1' * 64}.parquet", "sha256": "1" * 64, "size_bytes": 1},
            "classes": ["functional", "defective"],
            "counts": [{"label": "functional", "train": 1, "validation": 1, "test": 1}],
            "labels": 3,
            "new_labels": 3,
        }
    )
    asyncio.run(client.say(event, project="solar"))
    return client
