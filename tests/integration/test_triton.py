"""Deployer and predictor against real Triton and real NATS: push, check, route, answer, recover."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted
from contracts.events.model import ModelApproved, ModelVersion
from contracts.events.prediction import PredictionCompleted, PredictionFailed
from contracts.events.training import TrainedModel
from deploy.embedded import servers
from services.chassis import images
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.errors import Retry
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.chassis.sketches import sketch, unsketched
from services.deployer import app as deployer
from services.deployer.adapters.triton import TritonNodes
from services.deployer.model_config import model_config
from services.deployer.settings import DeployerSettings
from services.predictor import app as predictor
from services.predictor.adapters.triton import TritonModels
from services.predictor.answer import Serving, Unanswerable
from services.predictor.settings import PredictorSettings
from tests.eventually import eventually
from tests.servers import running
from tests.services.predictor.world import inline
from tests.signing import signed

pytestmark = [
    pytest.mark.integration,
    # TorchScript is what Triton is given; that it is no longer developed is known.
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

CLASSES = ("functional", "defective")


class Tiny(torch.nn.Module):
    """uint8 [N, 3, H, W] in; probabilities, heat map and embedding out, as a trained model has them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = torch.nn.Linear(8, len(CLASSES))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if images.size(2) < 8:
            raise ValueError("too small")
        features = torch.relu(self.features(images.float() / 255))
        embedding = features.mean((2, 3))
        return torch.softmax(self.head(embedding) * 20, 1), torch.sigmoid(features.mean(1)), embedding


@cache
def torchscript(seed: int) -> bytes:
    torch.manual_seed(seed)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Tiny().eval()), file)
    return file.getvalue()


def in_process(seed: int, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """What torch answers here."""
    with torch.inference_mode():
        model = torch.jit.load(io.BytesIO(torchscript(seed)))
        return [output[0].numpy() for output in model(torch.from_numpy(image[np.newaxis]))]


def pictures(count: int, side: int = 48) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(7)
    return [random.integers(0, 255, (3, side + 8 * (i % 3), side), dtype=np.uint8) for i in range(count)]


@dataclass
class Stack:
    """A bus and a blob store of one test, and the settings of the services on them."""

    settings: Settings
    client: Client

    def common(self, address: str) -> dict[str, object]:
        return {**self.settings.model_dump(), "triton_nodes": {"local": address}}

    def deployer(self, address: str) -> Service:
        return deployer.build(DeployerSettings(**self.common(address), reconcile_period_s=0.5))  # type: ignore[arg-type]

    def predictor(self, address: str) -> Service:
        return predictor.build(PredictorSettings(**self.common(address)))  # type: ignore[arg-type]

    def version(self, project: str, number: int, *, file: bytes | None = None, tampered: bool = False) -> ModelVersion:
        golden = pictures(4)
        probabilities = np.stack([in_process(number, image)[0] for image in golden])
        if tampered:
            probabilities[2] = probabilities[2][::-1]
        npz = io.BytesIO()
        np.savez(npz, probabilities=probabilities, **{f"image_{i}": image for i, image in enumerate(golden)})  # type: ignore[arg-type]
        return signed(
            ModelVersion(
                name=project,
                version=number,
                model=TrainedModel(
                    file=self.client.blobs.put(file or torchscript(number), "pt"),
                    golden=self.client.blobs.put(npz.getvalue(), "npz"),
                    classes=CLASSES,
                    max_side=64,
                ),
                run_id=f"run-{number}",
                dataset_id="0" * 16,
                dataset_number=number,
            )
        )

    async def approve(
        self, version: ModelVersion, instead_of: int | None = None
    ) -> DeploymentCompleted | DeploymentFailed:
        """Approve a version and wait for the end of its rollout."""
        approved = ModelApproved(version=version, approved_by="gates", why="all 4 gates passed", instead_of=instead_of)
        await self.client.say(approved, project=version.name)

        ends: list[DeploymentCompleted | DeploymentFailed] = []

        async def ended() -> None:
            for type_ in (DeploymentCompleted, DeploymentFailed):
                found = await self.client.last(type_, version.name)
                if found and found[0].version == version:
                    ends.append(found[0])
            assert ends

        await eventually(ended, timeout_s=60)
        return ends[0]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    port = servers.free_port()
    with running(servers.nats(tmp_path / "nats", port), tmp_path / "nats.log"):
        settings = Settings(nats_url=f"nats://{servers.HOST}:{port}", blobs_root=str(tmp_path / "blobs"))
        await asyncio.to_thread(Path(settings.blobs_root).mkdir)
        connection = await connect(settings, "provisioning")
        await provision(connection)
        await connection.close()
        async with Client.connect(settings, "test") as client:
            yield Stack(settings, client)


@pytest.fixture
async def nodes(triton: str) -> AsyncIterator[TritonNodes]:
    found = TritonNodes({"local": triton}, load_timeout_s=60, call_timeout_s=10)
    yield found
    await found.close()


@pytest.fixture
async def models(triton: str) -> AsyncIterator[TritonModels]:
    found = TritonModels({"gone": "127.0.0.1:1", "local": triton}, deadline_s=10)
    yield found
    await found.close()


async def test_pushed_model_answers_as_torch_does_and_a_bad_image_fails_alone(
    nodes: TritonNodes, models: TritonModels
) -> None:
    config = model_config("alone-v1", classes=2, max_side=64, digest="ab", threads=1)
    assert await nodes.digest("local", "alone-v1") is None
    assert await nodes.load("local", config, torchscript(1)) > 0
    assert await nodes.digest("local", "alone-v1") == "ab"
    # A node that is away is passed over, and images of all sizes may come at once.
    serving = Serving(1, "alone-v1", CLASSES, 64, ("gone", "local"))
    asked = [*pictures(20), np.zeros((3, 4, 48), np.uint8), *pictures(4)]
    answers = await asyncio.gather(*(models.infer(serving, image) for image in asked), return_exceptions=True)
    for image, answer in zip(asked, answers, strict=True):
        if image.shape[1] < 8:
            assert isinstance(answer, Unanswerable)
            assert "too small" in str(answer)
            continue
        assert not isinstance(answer, BaseException)
        probabilities, heat_map, embedding = in_process(1, image)
        np.testing.assert_allclose(answer.probabilities, probabilities, atol=1e-5)
        np.testing.assert_allclose(answer.heat_map, heat_map, atol=1e-5)
        np.testing.assert_allclose(answer.embedding, embedding, atol=1e-5)
        assert answer.node == "local"
    await nodes.unload("local", "alone-v1")
    with pytest.raises(Retry):
        await models.infer(serving, asked[0])


async def test_versions_roll_out_only_when_they_answer_as_they_should(
    stack: Stack, triton: str, nodes: TritonNodes
) -> None:
    async def loaded() -> list[int]:
        return [number for number in range(1, 7) if await nodes.digest("local", f"solar-v{number}")]

    async def routed() -> tuple[int, int | None]:
        route = (await stack.client.bucket("deployments").get("solar") or ({},))[0]
        return route["current"]["version"], route["previous"]["version"] if route["previous"] else None

    async with stack.deployer(triton).app().start_lifespan_context():
        first = await stack.approve(stack.version("solar", 1))
        assert isinstance(first, DeploymentCompleted)
        assert (first.replaces, first.checks[0].node, first.checks[0].golden_images) == (None, "local", 4)
        assert first.checks[0].largest_difference < 1e-4
        assert first.checks[0].load_s > 0

        tampered = await stack.approve(stack.version("solar", 2, tampered=True))
        assert isinstance(tampered, DeploymentFailed)
        assert "golden image 3 of 4" in tampered.reason
        garbage = await stack.approve(stack.version("solar", 3, file=b"garbage"))
        assert isinstance(garbage, DeploymentFailed)
        assert "local says" in garbage.reason
        assert (await routed(), await loaded()) == ((1, None), [1])

        for number, replaced, left in ((4, 1, ()), (5, 4, (1,))):
            completed = await stack.approve(stack.version("solar", number))
            assert isinstance(completed, DeploymentCompleted)
            assert (completed.replaces, completed.unloaded) == (replaced, left)
        assert (await routed(), await loaded()) == ((5, 4), [4, 5])

        unsigned = await stack.approve(stack.version("solar", 6).model_copy(update={"signature": None}))
        assert isinstance(unsigned, DeploymentFailed)
        assert "version 6 of solar is not signed" in unsigned.reason
        assert (await routed(), await loaded()) == ((5, 4), [4, 5])
        back = await stack.approve(stack.version("solar", 4), instead_of=5)
        assert isinstance(back, DeploymentCompleted)
        assert (back.replaces, back.unloaded) == (5, ())
        assert (await routed(), await loaded()) == ((4, 5), [4, 5])

        started = [event.version.version async for event, _, _ in stack.client.read(DeploymentStarted)]
        assert started == [1, 2, 3, 4, 5, 6, 4]


async def test_a_hundred_requests_at_once_are_answered_as_torch_would(stack: Stack, triton: str) -> None:
    project = "hundred"
    async with AsyncExitStack() as services:
        for service in (stack.predictor(triton), stack.deployer(triton)):
            await services.enter_async_context(service.app().start_lifespan_context())
        assert isinstance(await stack.approve(stack.version(project, 1)), DeploymentCompleted)
        shown = pictures(100)
        said = [await stack.client.say(inline(images.encode_png(image)), project=project) for image in shown]

        found: dict[str, PredictionCompleted] = {}

        async def answered() -> None:
            found.update({e.prediction_id: e async for e, _, _ in stack.client.read(PredictionCompleted, project)})
            assert len(found) == len(shown)

        await eventually(answered, timeout_s=20)
        for image, envelope in zip(shown, said, strict=True):
            answer = found[envelope.id]
            probabilities, heat_map, embedding = in_process(1, image)
            np.testing.assert_allclose(answer.probabilities, probabilities, atol=1e-5)
            assert (answer.label, answer.model_version) == (CLASSES[int(probabilities.argmax())], 1)
            assert answer.heat_map
            kept = images.decode(stack.client.blobs.read(answer.heat_map.uri))[0]
            np.testing.assert_allclose(kept / 255, heat_map, atol=1 / 255)
            assert images.decode(stack.client.blobs.read(answer.image.uri)).shape == image.shape
            ours = unsketched(sketch(embedding) or "")
            np.testing.assert_allclose(unsketched(answer.sketch or ""), ours, rtol=1e-2, atol=1e-2)

        asked = await stack.client.predict(project, inline(images.encode_png(shown[0])))
        assert isinstance(asked, PredictionCompleted)
        assert asked.probabilities == pytest.approx(found[said[0].id].probabilities, abs=1e-5)
        assert await stack.client.find_prediction(asked.prediction_id, project)
        unknown = await stack.client.predict("nobody", inline(images.encode_png(shown[0])))
        assert isinstance(unknown, PredictionFailed)
        assert "there is no project nobody" in unknown.reason


async def test_triton_that_was_killed_gets_its_models_back_and_the_waiting_request_its_answer(
    stack: Stack, tmp_path: Path
) -> None:
    ports = servers.free_port(), servers.free_port(), servers.free_port()
    address = f"{servers.HOST}:{ports[1]}"
    picture = inline(images.encode_png(pictures(1)[0]))
    async with AsyncExitStack() as services:
        with running(servers.triton(tmp_path / "triton", *ports), tmp_path / "triton.log"):
            for service in (stack.predictor(address), stack.deployer(address)):
                await services.enter_async_context(service.app().start_lifespan_context())
            for number in (1, 2):
                assert isinstance(await stack.approve(stack.version("solar", number)), DeploymentCompleted)
            before = await stack.client.predict("solar", picture)
            assert isinstance(before, PredictionCompleted)
        away = await stack.client.predict("solar", picture)
        assert isinstance(away, PredictionFailed)
        assert "ask again in some seconds" in away.reason
        waiting = await stack.client.say(picture, project="solar")
        with running(servers.triton(tmp_path / "triton", *ports), tmp_path / "triton.log"):

            async def answered() -> None:
                assert await stack.client.find_prediction(waiting.id, "solar")

            await eventually(answered, timeout_s=40)
            after, _ = await stack.client.find_prediction(waiting.id, "solar") or (before, None)
            assert after.prediction_id == waiting.id
            assert after.probabilities == pytest.approx(before.probabilities, abs=1e-5)
            assert after.model_version == 2
            nodes = TritonNodes({"local": address}, load_timeout_s=60, call_timeout_s=10)

            async def previous_is_back() -> None:
                assert await nodes.digest("local", "solar-v1")

            await eventually(previous_is_back, timeout_s=30)
            await nodes.close()


async def test_node_that_is_away_is_no_failed_deployment(stack: Stack) -> None:
    away = TritonNodes({"local": "127.0.0.1:1"}, load_timeout_s=5, call_timeout_s=5)
    with pytest.raises(Retry, match=r"Triton node local at 127\.0\.0\.1:1 does not answer"):
        await away.digest("local", "solar-v1")
    with pytest.raises(Retry):
        await away.load("local", model_config("x", classes=2, max_side=64, digest=""), b"")
    await away.close()
