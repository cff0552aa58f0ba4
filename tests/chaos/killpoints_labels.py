"""What labeling-sync is given to do, and what must come of it."""

from typing import Any

from contracts.events.base import ImageRef
from contracts.events.dataset import DatasetRequested
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded
from contracts.events.prediction import PredictionCompleted, Timings
from contracts.events.project import ProjectDefined
from contracts.project import ScopeCard
from services.labeling_sync.adapters.label_studio.shapes import title_of
from tests.chaos.killpoints import handler
from tests.chaos.killpoints_play import Play, prepared
from tests.chaos.killpoints_scene import Scene
from tests.services.labeling_sync.real import a_picture, annotate, browser

SERVICE = "labeling-sync"
_DAY_S = 86_400


async def _define(scene: Scene, *more_classes: str, freeze_at: int = 1_000) -> None:
    label = {
        "freeze": {"new_labels": freeze_at, "quiet_s": _DAY_S},
        "query": {"every": 2, "quiet_s": _DAY_S, "uncertain": 1, "random_share": 0},
    }
    data = {"classes": ("good", "bad", *more_classes), "min_train_per_class": 1}
    card = ScopeCard.model_validate({"project": scene.project, "data": data, "label": label})
    await scene.say(ProjectDefined(card=card))


async def _add(scene: Scene, number: int, **metadata: Any) -> None:
    """As corrected, because of those every one trains: two of them can be a dataset."""
    added = ImageAdded(image=picture_of(scene, number), chosen="corrected", metadata=metadata)
    await scene.say(added)


def picture_of(scene: Scene, number: int) -> ImageRef:
    return a_picture(scene.client.blobs, number)


async def tasks_of(scene: Scene) -> list[dict[str, Any]]:
    """All tasks of all projects with the name, with their annotations and predictions."""
    assert scene.around.label_studio
    async with browser(scene.around.label_studio) as api:
        tasks: list[dict[str, Any]] = []
        for project in await _projects(scene):
            params = {"project": project["id"], "page_size": 100, "fields": "all"}
            answer = await api.get("/api/tasks/", params=params)
            # The second of two projects that one request made is gone a moment later.
            assert answer.is_success, answer.text
            tasks += answer.json()["tasks"]
        return sorted(tasks, key=lambda task: int(task["id"]))


async def _projects(scene: Scene) -> list[dict[str, Any]]:
    assert scene.around.label_studio
    async with browser(scene.around.label_studio) as api:
        answer = (await api.get("/api/projects/", params={"title": title_of(scene.project)})).raise_for_status()
        return list(answer.json()["results"])


async def look(scene: Scene) -> dict[str, Any]:
    projects, tasks = await _projects(scene), await tasks_of(scene)
    return {
        "projects": [project["parsed_label_config"]["label"]["labels"] for project in projects],
        "tasks": sorted(
            (
                [one["result"][0]["value"]["choices"][0] for one in task["annotations"]],
                [one["model_version"].replace(scene.project, "{project}") for one in task["predictions"]],
            )
            for task in tasks
        ),
        "manifests": scene.blobs("parquet"),
    }


async def _defined(scene: Scene, *, freeze_at: int = 1_000) -> None:
    await _define(scene, freeze_at=freeze_at)

    async def project_is_there() -> None:
        assert await _projects(scene)

    await prepared(SERVICE, scene, project_is_there)


async def _two_images(scene: Scene, *, freeze_at: int = 1_000) -> None:
    await _define(scene, freeze_at=freeze_at)
    for number in range(2):
        await _add(scene, number)

    async def tasks_are_there() -> None:
        assert len(await tasks_of(scene)) == 2

    await prepared(SERVICE, scene, tasks_are_there)


async def _define_first(scene: Scene) -> None:
    await _define(scene)


async def _define_otherwise(scene: Scene) -> None:
    await _define(scene, "ugly")


async def _add_one(scene: Scene) -> None:
    await _add(scene, 0, predicted="good", confidence=0.6, model_version=f"{scene.project}-v3")


async def _give_feedback(scene: Scene) -> None:
    image = picture_of(scene, 0)
    await scene.say(FeedbackGiven(prediction_id="p1", image=image, predicted="good", correct="bad", given_by="ines"))


async def _freeze(scene: Scene) -> None:
    await scene.say(DatasetRequested())


async def _two_unlabelled(scene: Scene) -> None:
    await _two_images(scene, freeze_at=2)


async def two_labelled(scene: Scene) -> None:
    """Labelled by hand: now and then Label Studio loses the labels of an import, which are then given one by one."""
    await _two_images(scene)
    await _label_both(scene)

    async def labels_are_said() -> None:
        assert (await scene.said(SERVICE)).get("label.submitted") == 2

    await prepared(SERVICE, scene, labels_are_said)


async def _one_without_label(scene: Scene) -> None:
    await _define(scene)
    await _add(scene, 0)

    async def it_is_there() -> None:
        assert len(await tasks_of(scene)) == 1

    await prepared(SERVICE, scene, it_is_there)


async def _label_both(scene: Scene) -> None:
    assert scene.around.label_studio
    async with browser(scene.around.label_studio) as api:
        for task, label in zip(await tasks_of(scene), ("good", "bad"), strict=True):
            await annotate(api, int(task["id"]), label)


async def _delete_a_label(scene: Scene) -> None:
    assert scene.around.label_studio
    async with browser(scene.around.label_studio) as api:
        first, _ = await tasks_of(scene)
        (await api.delete(f"/api/annotations/{first['annotations'][0]['id']}/")).raise_for_status()


async def _predict_two(scene: Scene) -> None:
    for number, confidence in enumerate((0.55, 0.95)):
        await scene.say(
            PredictionCompleted(
                prediction_id=f"p{number}",
                image=picture_of(scene, number),
                label="bad",
                confidence=confidence,
                classes=("good", "bad"),
                probabilities=(1 - confidence, confidence),
                model_name=scene.project,
                model_version=3,
                node="local",
                timings=Timings(waited_ms=0, decode_ms=0, infer_ms=0, total_ms=0),
            )
        )


_TWO = ["good", "bad"]
_PROJECT_DONE = {"label-studio-project done": 1}


def end(**differs: Any) -> dict[str, Any]:
    """A project that is there, its claim done, and what is different."""
    usual = {"said": {}, "projects": [_TWO], "tasks": [], "manifests": 0}
    return {**usual, **differs, "claims": {**differs.get("claims", {}), **_PROJECT_DONE}}


PLAYS = (
    Play(handler("labeling-sync: project.defined"), _define_first, look, end()),
    Play(
        handler("labeling-sync: project.defined, changed"),
        _define_otherwise,
        look,
        end(projects=[[*_TWO, "ugly"]]),
        arrange=_defined,
    ),
    Play(
        handler("labeling-sync: image.added"),
        _add_one,
        look,
        end(claims={"task done": 1}, tasks=[([], ["{project}-v3"])]),
        arrange=_defined,
    ),
    Play(
        handler("labeling-sync: feedback.given"),
        _give_feedback,
        look,
        end(said={"label.submitted": 1}, claims={"task done": 1, "label done": 1}, tasks=[(["bad"], [])]),
        arrange=_one_without_label,
    ),
    Play(
        handler("labeling-sync: dataset.requested"),
        _freeze,
        look,
        end(
            said={"label.submitted": 2, "dataset.versioned": 1},
            claims={"task done": 2, "dataset done": 1, "freeze done": 1},
            tasks=[(["bad"], []), (["good"], [])],
            manifests=1,
        ),
        arrange=two_labelled,
    ),
    Play(
        handler("labeling-sync: by itself: labels"),
        _label_both,
        look,
        end(
            said={"label.submitted": 2, "dataset.versioned": 1},
            claims={"task done": 2, "dataset done": 1},
            tasks=[(["bad"], []), (["good"], [])],
            manifests=1,
        ),
        arrange=_two_unlabelled,
    ),
    Play(
        handler("labeling-sync: by itself: withdrawals"),
        _delete_a_label,
        look,
        end(
            said={"label.submitted": 2, "label.withdrawn": 1},
            claims={"task done": 2},
            tasks=[([], []), (["bad"], [])],
        ),
        arrange=two_labelled,
    ),
    Play(
        handler("labeling-sync: by itself: query"),
        _predict_two,
        look,
        end(said={"image.added": 1}, claims={"task done": 1}, tasks=[([], ["{project}-v3"])]),
        arrange=_defined,
    ),
)
