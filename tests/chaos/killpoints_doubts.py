"""What labeling-sync is given to do about labels that a model doubts, and what must come of it."""

import io
from typing import Any

import numpy as np

from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from tests.chaos.killpoints import handler
from tests.chaos.killpoints_labels import SERVICE, end, look, picture_of, tasks_of, two_labelled
from tests.chaos.killpoints_play import Play, prepared
from tests.chaos.killpoints_scene import Scene
from tests.services.labeling_sync.real import annotate, browser


async def _doubt_a_label(scene: Scene) -> None:
    await scene.say(await _training(scene))


async def _training(scene: Scene) -> TrainingCompleted:
    """Doubts about the label of the one that is labelled good: the first of twenty images, of which two have tasks."""
    by_label = {one["annotations"][0]["result"][0]["value"]["choices"][0]: one for one in await tasks_of(scene)}
    images = [by_label["good"]["data"]["sha256"], by_label["bad"]["data"]["sha256"]]
    images += [picture_of(scene, number).sha256 for number in range(2, 20)]
    probabilities = np.tile(np.array([0.95, 0.05], np.float32), (20, 1))
    probabilities[1::2] = probabilities[1::2, ::-1]
    labels = np.arange(20) % 2
    probabilities[0] = [0.02, 0.98]
    out = io.BytesIO()
    np.savez(out, sha256=images, probabilities=probabilities, labels=labels, classes=["good", "bad"])
    blob = scene.client.blobs.put(out.getvalue(), "npz")
    return TrainingCompleted(
        plan=TrainingPlan(dataset_id="1" * 16, recipe="frozen-features", seed=0),
        dataset_number=1,
        manifest=blob,
        run_id="a-run",
        model=TrainedModel(file=blob, golden=blob, classes=("good", "bad"), max_side=64),
        metrics={},
        seconds=1,
        doubts=blob,
    )


async def _second_looks(scene: Scene) -> dict[str, Any]:
    seen = await look(scene)
    waits = [task["data"]["second_look"] for task in await tasks_of(scene) if "second_look" in task["data"]]
    return {**seen, "waits": waits}


async def _one_doubted(scene: Scene) -> None:
    await two_labelled(scene)
    await scene.say(await _training(scene))

    async def it_is_said() -> None:
        assert (await scene.said(SERVICE)).get("label.doubted") == 1

    await prepared(SERVICE, scene, it_is_said)


async def _look_once_more(scene: Scene) -> None:
    assert scene.around.label_studio
    async with browser(scene.around.label_studio) as api:
        (waits,) = [task for task in await tasks_of(scene) if "second_look" in task["data"]]
        await annotate(api, int(waits["id"]), "bad")


async def _delete_the_doubted(scene: Scene) -> None:
    assert scene.around.label_studio
    async with browser(scene.around.label_studio) as api:
        (waits,) = [task for task in await tasks_of(scene) if "second_look" in task["data"]]
        (await api.delete(f"/api/annotations/{waits['annotations'][0]['id']}/")).raise_for_status()


PLAYS = (
    Play(
        handler("labeling-sync: training.completed"),
        _doubt_a_label,
        _second_looks,
        end(
            said={"label.submitted": 2, "label.doubted": 1},
            claims={"task done": 2, "doubts done": 1, "doubt done": 1},
            tasks=[(["bad"], []), (["good"], [])],
            waits=["labelled good (2% likely): is it bad (98%)?"],
        ),
        arrange=two_labelled,
    ),
    Play(
        handler("labeling-sync: by itself: labels, a second look"),
        _look_once_more,
        _second_looks,
        end(
            said={"label.submitted": 3, "label.doubted": 1},
            claims={"task done": 2, "doubts done": 1, "doubt done": 1},
            tasks=[(["bad"], []), (["good", "bad"], [])],
            waits=[],
        ),
        arrange=_one_doubted,
    ),
    Play(
        handler("labeling-sync: by itself: withdrawals, a second look"),
        _delete_the_doubted,
        _second_looks,
        end(
            said={"label.submitted": 2, "label.doubted": 1, "label.withdrawn": 1},
            claims={"task done": 2, "doubts done": 1, "doubt done": 1},
            tasks=[([], []), (["bad"], [])],
            waits=[],
        ),
        arrange=_one_doubted,
    ),
)
