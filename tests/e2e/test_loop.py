"""The whole loop on a small set, each service killed once in mid-work; then its trace is walked edge by edge."""

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from contracts.events.base import Event
from contracts.events.dataset import DatasetRequested, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentStarted
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded
from contracts.events.label import LabelSubmitted
from contracts.events.model import ModelPromoted, ModelRegistered
from contracts.events.prediction import PredictionCompleted, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted, TrainingStarted
from contracts.project import ScopeCard
from contracts.telemetry import PREDICTION_EDGES, TURN_EDGES, Edge
from contracts.topology import SERVICES
from services.chassis.client import Client
from services.chassis.traces import StoredSpan, read_spans
from services.cli.datasets import LabelledImage, digits
from services.cli.demo.turns import Said, turns_of
from services.cli.importing import add_images
from services.cli.progress import bars
from tests.e2e.stack import Stack, embedded_stack
from tests.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PROJECT = "three-digits"
CLASSES = ("0", "1", "2")
CARD = {
    "project": PROJECT,
    "data": {"classes": CLASSES, "split": {"validation": 0.15, "test": 0.33}},
    "label": {
        "freeze": {"new_labels": 90, "quiet_s": 600},
        "query": {"every": 40, "quiet_s": 600, "uncertain": 5, "random_share": 0.1},
    },
    "model": {"parameters": {"image_px": 64}},
    "gates": {"floors": [{"metric": "accuracy", "at_least": 0.6}], "margin": 0.2, "min_test_per_class": 3},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with embedded_stack(tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.fixture(scope="module")
def images() -> list[LabelledImage]:
    return [image for image in digits() if image.label in CLASSES][:140]


class Ear:
    """Everything that is said about the project, as it is said."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.said: list[Said] = []

    async def listen(self) -> None:
        async for said in self.client.events(project=PROJECT):
            self.said.append(said)

    def of(self, event_type: type[Event]) -> list[Any]:
        """The events of a type heard so far, each once."""
        return list({envelope.id: event for event, envelope in self.said if isinstance(event, event_type)}.values())

    async def hears(self, event_type: type[Event], count: int = 1, timeout_s: float = 120) -> Any:
        """Wait until `count` events of a type were heard; the last of them."""

        def heard() -> None:
            found = Counter(envelope.type for _, envelope in self.said)
            assert len(self.of(event_type)) >= count, f"{event_type.name()} was not heard: {found}"

        await eventually(heard, timeout_s)
        return self.of(event_type)[count - 1]


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client.connect(stack.settings, "e2e") as found:
        yield found


async def test_each_service_is_killed_in_mid_work_and_the_loop_ends_in_the_same_state(
    stack: Stack, client: Client, images: list[LabelledImage]
) -> None:
    ear = Ear(client)
    listening = asyncio.create_task(ear.listen())
    card = ScopeCard.model_validate(CARD)
    await client.say(ProjectDefined(card=card), project=PROJECT)

    adding = asyncio.create_task(add_images(client, PROJECT, images[:90], bars(Console(quiet=True))))
    await ear.hears(ImageAdded, 30)
    await stack.kill("labeling-sync")
    await adding
    await ear.hears(TrainingStarted)
    await stack.kill("trainer")
    await ear.hears(TrainingCompleted)
    await stack.kill("evaluator")
    await ear.hears(EvaluationCompleted)
    await stack.kill("registry")
    await ear.hears(DeploymentStarted)
    await stack.kill("deployer")
    await ear.hears(ModelPromoted)

    for image in images[90:]:
        request = PredictionRequested(image_base64=b64encode(image.encoded).decode())
        await client.say(request, project=PROJECT)
    await ear.hears(PredictionCompleted)
    await stack.kill("predictor")
    await ear.hears(PredictionCompleted, 50)

    truth = {image.sha256: image.label for image in images}
    answer = ear.of(PredictionCompleted)[0]
    await client.say(
        FeedbackGiven(
            prediction_id=answer.prediction_id,
            image=answer.image,
            predicted=answer.label,
            correct=truth[answer.image.sha256] or "",
            given_by="e2e",
        ),
        project=PROJECT,
    )
    await ear.hears(LabelSubmitted, 91)
    await client.say(DatasetRequested(why="one correction"), project=PROJECT)
    await ear.hears(EvaluationCompleted, 2)

    async def all_is_settled() -> None:
        assert [state for state in await client.consumers() if state.pending or state.unacked] == []

    await eventually(all_is_settled, 60)
    listening.cancel()
    assert await client.dead_count() == 0
    first, second = turns_of(ear.said)
    _one_effect_a_cause(ear, first.said)
    await _once_in_mlflow_and_label_studio(stack, ear, second_passed=_passed(second.said))
    assert len(ear.of(PredictionCompleted)) == 50
    await _trace_has_every_edge(stack, first.trace_id, TURN_EDGES)


def _passed(said: list[Said]) -> bool:
    return any(isinstance(event, EvaluationCompleted) and event.verdict == "passed" for event, _ in said)


def _one_effect_a_cause(ear: Ear, first: list[Said]) -> None:
    assert len(ear.of(DatasetVersioned)) == 2
    for event_type in (TrainingCompleted, EvaluationCompleted, ModelRegistered, DeploymentCompleted, ModelPromoted):
        ids = {envelope.id for event, envelope in first if isinstance(event, event_type)}
        assert len(ids) == 1, event_type.TYPE


async def _once_in_mlflow_and_label_studio(stack: Stack, ear: Ear, second_passed: bool) -> None:
    mlflow, label_studio = stack.env["LOOPLINE_MLFLOW_URL"], stack.env["LOOPLINE_LABEL_STUDIO_URL"]
    async with httpx.AsyncClient(timeout=30) as http:
        api = f"{mlflow}/api/2.0/mlflow"
        experiment = (await http.get(f"{api}/experiments/get-by-name", params={"experiment_name": PROJECT})).json()
        search = {"experiment_ids": [experiment["experiment"]["experiment_id"]], "max_results": 100}
        runs = (await http.post(f"{api}/runs/search", json=search)).json()["runs"]
        assert len(runs) == 2
        assert {run["info"]["run_id"] for run in runs} == {event.run_id for event in ear.of(TrainingCompleted)}
        filter_ = {"filter": f"name='{PROJECT}'"}
        versions = (await http.get(f"{api}/model-versions/search", params=filter_)).json()["model_versions"]
        assert len(versions) == 1 + second_passed
        headers = {"Authorization": f"Token {stack.env['LOOPLINE_LABEL_STUDIO_TOKEN']}"}
        found = (await http.get(f"{label_studio}/api/projects/", headers=headers)).json()["results"]
        (project,) = [one for one in found if PROJECT in one["title"]]
        expected = {event.image.sha256 for event in ear.of(ImageAdded)} | {ear.of(FeedbackGiven)[0].image.sha256}
        assert project["task_number"] == len(expected)


async def _trace_has_every_edge(stack: Stack, trace_id: str, edges: tuple[Edge, ...]) -> None:
    def walked() -> None:
        spans = read_spans(stack.settings.traces_dir, trace_id)
        missing = [edge for edge in edges if not _has(spans, edge)]
        assert missing == [], sorted({(span.service, span.name) for span in spans})

    await eventually(walked, 20)


def _has(spans: list[StoredSpan], edge: Edge) -> bool:
    parents = {span.id for span in spans if (span.name, span.service) == (edge.parent, edge.under)}
    return any((span.name, span.service) == (edge.child, edge.of) and span.parent_id in parents for span in spans)


async def test_a_prediction_has_a_trace_of_its_own(stack: Stack, client: Client, images: list[LabelledImage]) -> None:
    request = PredictionRequested(image_base64=b64encode(images[0].encoded).decode())
    asked = await client.say(request, project=PROJECT)

    async def answered() -> None:
        assert await client.find_prediction(asked.id, PROJECT)

    await eventually(answered, 30)

    def walked() -> None:
        spans = read_spans(stack.settings.traces_dir)
        heard = [span for span in spans if span.name == "process prediction.requested"]
        assert any(
            all(_has([span for span in spans if span.trace_id == one.trace_id], edge) for edge in PREDICTION_EDGES)
            for one in heard
        )

    await eventually(walked, 20)


@pytest.mark.parametrize(
    ("service", "limit_mb"), [("deployer", 150), ("predictor", 150), ("labeling-sync", 250), ("registry", 250)]
)
def test_a_service_stays_within_its_memory(stack: Stack, service: str, limit_mb: float) -> None:
    assert service in SERVICES
    assert stack.resident_mb(service) <= limit_mb


def test_the_secrets_of_the_stack_are_in_no_log_and_no_trace(stack: Stack) -> None:
    secrets = [
        value.encode()
        for key, value in stack.env.items()
        if any(word in key for word in ("PASSWORD", "TOKEN", "SECRET")) and len(value) >= 8
    ]
    assert secrets
    for path in [*(stack.var / "log").rglob("*"), *Path(stack.settings.traces_dir).rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), path
