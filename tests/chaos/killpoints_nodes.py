"""What deployer and predictor are given to do, and what must come of it."""

import json
from dataclasses import replace
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient

from contracts.events.base import BlobRef
from contracts.events.model import ModelApproved, ModelVersion
from contracts.events.training import TrainedModel
from contracts.topology import DEPLOYMENTS
from services.deployer.adapters.triton import TritonNodes
from services.deployer.model_config import DIGEST, model_config
from services.deployer.rollout import model_name
from services.deployer.route import Route, Served
from tests.chaos.killpoints import handler
from tests.chaos.killpoints_models import golden_model, tiny_model
from tests.chaos.killpoints_play import Play
from tests.chaos.killpoints_scene import Scene, Surroundings
from tests.chaos.tiny import SIDE, encoded
from tests.services.predictor.world import inline
from tests.signing import signed

_NODE = "local"
_SHARED = "killpoints"
# An older version that is there and never asked: without torch it is loaded in a moment.
_IDLE = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


def _blob(digit: int, suffix: str) -> BlobRef:
    sha256 = f"{digit}" * 64
    return BlobRef(uri=f"blob://{sha256}.{suffix}", sha256=sha256, size_bytes=1)


def _version(scene: Scene, number: int, model: TrainedModel | None = None) -> ModelVersion:
    idle = TrainedModel(
        file=_blob(number, "pt"), golden=_blob(number, "npz"), classes=("upper", "lower"), max_side=SIDE
    )
    version = ModelVersion(
        name=scene.project, version=number, model=model or idle, run_id=f"run-{number}", dataset_id="0" * 16,
        dataset_number=number,
    )  # fmt: skip
    return signed(version)


def _served(version: ModelVersion, model: str = "") -> Served:
    trained = version.model
    return Served(
        version=version.version,
        model=model or model_name(version.name, version.version),
        classes=trained.classes,
        max_side=trained.max_side,
        registered=version,
        checks=(),
    )


async def _route(scene: Scene, current: Served, previous: Served | None, *nodes: str) -> None:
    route = Route(current=current, previous=previous, nodes=nodes)
    await scene.client.bucket(DEPLOYMENTS).create(scene.project, route.model_dump(mode="json"))


async def _two_versions_serve(scene: Scene) -> None:
    """The second has the traffic, the first stays for the way back."""
    versions = [_version(scene, number) for number in (1, 2)]
    node = InferenceServerClient(scene.around.triton)
    for version in versions:
        config = {"backend": "python", "parameters": {DIGEST: {"string_value": version.model.file.sha256}}}
        name = model_name(scene.project, version.version)
        await node.load_model(name, config=json.dumps({"name": name, **config}), files={"file:1/model.py": _IDLE})
    await node.close()
    await _route(scene, _served(versions[1]), _served(versions[0]), _NODE)


async def _approve_third(scene: Scene) -> None:
    version = _version(scene, 3, tiny_model(scene))
    await scene.say(ModelApproved(version=version, approved_by="gates", why="all passed"), "approved")


async def _another_rolls_out_a_fourth(scene: Scene) -> None:
    """As another replica does with a newer approval, before the third is heard again."""
    bucket = scene.client.bucket(DEPLOYMENTS)
    found = await bucket.get(scene.project)
    assert found
    route = Route.model_validate(found[0])
    fourth = Route(current=_served(_version(scene, 4)), previous=route.current, nodes=route.nodes)
    await bucket.put(scene.project, fourth.model_dump(mode="json"), found[1])


async def _approve_with_wrong_answers(scene: Scene) -> None:
    """Its golden answers are those of another model."""
    right, other = tiny_model(scene), tiny_model(scene, sharpness=0.5)
    version = _version(scene, 1, right.model_copy(update={"golden": other.golden}))
    await scene.say(ModelApproved(version=version, approved_by="gates", why="all passed"), "approved")


async def _a_node_is_new(scene: Scene) -> None:
    """A version serves from another node; this one has nothing yet."""
    await _route(scene, _served(_version(scene, 1, tiny_model(scene))), None, "another")


async def _say_nonsense(scene: Scene) -> None:
    headers = {"ce-id": "nonsense"}
    for _ in range(scene.copies):
        await scene.client.bus.jetstream.publish(f"loopline.{scene.project}.model.approved", b"{}", headers=headers)


async def _serving(scene: Scene) -> dict[str, Any]:
    """The versions of the route, and those that the node has."""
    nodes = TritonNodes({_NODE: scene.around.triton}, load_timeout_s=30, call_timeout_s=10)
    try:
        found = await scene.client.bucket(DEPLOYMENTS).get(scene.project)
        route = Route.model_validate(found[0]) if found else None
        loaded = [
            number for number in (1, 2, 3) if await nodes.digest(_NODE, model_name(scene.project, number)) is not None
        ]
        return {
            "route": [one.version for one in (route.current, route.previous) if one] if route else [],
            "nodes": list(route.nodes) if route else [],
            "loaded": loaded,
        }
    finally:
        await nodes.close()


async def _clear(scene: Scene) -> None:
    """A model takes 200 MB of the node."""
    node = InferenceServerClient(scene.around.triton)
    for number in (1, 2, 3):
        await node.unload_model(model_name(scene.project, number))
    await node.close()


async def share_a_model(around: Surroundings) -> None:
    """One on the node that answers in all scenes, whatever project they are about."""
    nodes = TritonNodes({_NODE: around.triton}, load_timeout_s=60, call_timeout_s=10)
    config = model_config(_SHARED, classes=2, max_side=SIDE, digest="", threads=1)
    await nodes.load(_NODE, config, golden_model().model)
    await nodes.close()


async def _the_shared_model_answers(scene: Scene) -> None:
    await _route(scene, _served(_version(scene, 1, tiny_model(scene)), _SHARED), None, _NODE)


async def _ask(scene: Scene) -> None:
    await scene.say(inline(encoded(0, 0)), "asked")


async def _stored(scene: Scene) -> dict[str, Any]:
    """Images and heat maps in the store."""
    return {"blobs": scene.blobs("png")}


ROLLED_OUT = Play(
    handler("deployer: model.approved"),
    _approve_third,
    _serving,
    {
        "said": {"deployment.started": 1, "deployment.completed": 1},
        "claims": {},
        "route": [3, 2],
        "nodes": [_NODE],
        "loaded": [2, 3],
    },
    arrange=_two_versions_serve,
    clear=_clear,
)
OVERTAKEN = replace(ROLLED_OUT, expect={**ROLLED_OUT.expect, "route": [4, 3]}, meanwhile=_another_rolls_out_a_fourth)

PLAYS = (
    ROLLED_OUT,
    Play(
        handler("deployer: model.approved, refused by its golden images"),
        _approve_with_wrong_answers,
        _serving,
        {
            "said": {"deployment.started": 1, "deployment.failed": 1},
            "claims": {},
            "route": [],
            "nodes": [],
            "loaded": [],
        },
        clear=_clear,
    ),
    Play(
        handler("deployer: by itself: reconcile"),
        _a_node_is_new,
        _serving,
        {"said": {}, "claims": {}, "route": [1], "nodes": [_NODE], "loaded": [1]},
        clear=_clear,
    ),
    Play(
        handler("deployer: any message that is refused"),
        _say_nonsense,
        _serving,
        {
            "said": {"message.dead-lettered": 1},
            "claims": {},
            "dead": 1,
            "route": [],
            "nodes": [],
            "loaded": [],
        },
    ),
    Play(
        handler("predictor: prediction.requested"),
        _ask,
        _stored,
        {"said": {"prediction.completed": 1}, "claims": {}, "blobs": 2},
        arrange=_the_shared_model_answers,
    ),
)
