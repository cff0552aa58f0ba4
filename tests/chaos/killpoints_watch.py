"""What the evaluator finds when it looks at live answers by itself, and what must come of it."""

from typing import Any

from contracts.events.model import ModelPromoted, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.project import Data, ScopeCard, Watch
from contracts.topology import WATCHED
from tests.chaos.killpoints import handler
from tests.chaos.killpoints_play import Play
from tests.chaos.killpoints_scene import Scene
from tests.said import CLASSES, MODEL, answered

_HALF = 50


async def _drift(scene: Scene) -> None:
    """A version serves, and answered the second half of its pictures otherwise than the first."""
    policy = Watch(reference=_HALF, window=_HALF, inputs=None, confidence=None, retrain="when-drifting")
    card = ScopeCard(project=scene.project, data=Data(classes=CLASSES), watch=policy)
    version = ModelVersion(
        name=scene.project, version=1, model=MODEL, run_id="run-1", dataset_id="1" * 16, dataset_number=1
    )
    for number in range(2 * _HALF):
        await scene.say(answered(f"p-{number}", CLASSES[number // _HALF]), f"p-{number}")
    await scene.client.say(ProjectDefined(card=card), project=scene.project)
    await scene.client.say(ModelPromoted(version=version), project=scene.project)


async def _drifting(scene: Scene) -> dict[str, Any]:
    """What is still to be said, and what drifts."""
    found = await scene.client.bucket(WATCHED).get(f"state.{scene.project}")
    state = found[0] if found else {"plan": "not looked yet", "looks": []}
    return {"plan": state["plan"], "drifting": [look["kind"] for look in state["looks"] if look["drifting_since"]]}


PLAYS = (
    Play(
        handler("evaluator: by itself: watch"),
        _drift,
        _drifting,
        {
            "said": {"drift.detected": 1, "training.requested": 1},
            "claims": {},
            "plan": None,
            "drifting": ["classes"],
        },
    ),
)
