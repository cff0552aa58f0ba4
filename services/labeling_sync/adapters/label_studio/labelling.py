"""`Labelling` in Label Studio 1.23 over its REST API."""

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from contracts.project import ScopeCard
from services.labeling_sync.adapters.label_studio import listing, shapes
from services.labeling_sync.adapters.label_studio.hooks import LabelStudioHooks
from services.labeling_sync.adapters.label_studio.http import WHO_AM_I, Http, NotThere, There
from services.labeling_sync.adapters.label_studio.imports import Imports
from services.labeling_sync.adapters.label_studio.listing import where
from services.labeling_sync.adapters.label_studio.pictures import ServedPictures
from services.labeling_sync.adapters.label_studio.projects import Projects
from services.labeling_sync.adapters.label_studio.second_looks import SecondLooks
from services.labeling_sync.labels import GivenLabel, Guess, MadeTask, NewTask, Task

log = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 100
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_MOST_IN_A_FILTER = 100


class LabelStudio:
    """One Label Studio; `pictures` says where it finds the images."""

    def __init__(self, http: Http, pictures: ServedPictures) -> None:
        self._http = http
        self._pictures = pictures
        self._projects = Projects(http, pictures)
        self._in = self._projects.within
        self.hooks = LabelStudioHooks(http, self._in)
        self._imports = Imports(self._import)
        self._second_looks = SecondLooks(http)
        self._people: dict[int, str] = {}
        self._shown_versions: dict[int, str] = {}

    async def answers(self) -> bool:
        """Whether it answers and takes the token; raises what is wrong when not."""
        await self._http.call("GET", WHO_AM_I)
        return True

    async def find_project(self, project: str) -> int | None:
        """As `Labelling.find_project`."""
        return await self._projects.find(project)

    async def create_project(self, card: ScopeCard) -> int:
        """As `Labelling.create_project`."""
        return await self._projects.create(card)

    async def fit_project(self, project_id: int, card: ScopeCard) -> None:
        """As `Labelling.fit_project`."""
        await self._in(card.project, lambda _: self._projects.fit(project_id, card))

    # Tasks

    async def make_task(self, project: str, task: NewTask) -> MadeTask:
        """As `Labelling.make_task`; with others that are wanted at the same time by one call."""
        return await self._in(project, lambda project_id: self._imports.make(project_id, task))

    async def find_tasks(self, project: str, images: Sequence[str]) -> dict[str, MadeTask]:
        """As `Labelling.find_tasks`."""
        return await self._in(project, lambda project_id: self._find(project_id, images))

    async def tasks_of(self, project: str, images: Sequence[str]) -> dict[str, Task]:
        """As `Labelling.tasks_of`."""
        found = await self._in(project, lambda project_id: self._of_images(project_id, images))
        return {task.sha256: task for task in await self._read(list(found.values()))}

    async def _find(self, project_id: int, images: Sequence[str]) -> dict[str, MadeTask]:
        found = await self._of_images(project_id, images)
        return {sha256: shapes.made_task(task) for sha256, task in found.items()}

    async def _of_images(self, project_id: int, images: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(images), _MOST_IN_A_FILTER):
            part = list(images[start : start + _MOST_IN_A_FILTER])
            wanted = [where("data.sha256", "in_list", "List", part)]
            tasks = await listing.tasks(self._http, project_id, wanted, 2 * len(part))
            # Should an image have two tasks, the older one is it.
            for task in sorted(tasks, key=lambda task: int(task["id"])):
                found.setdefault(task["data"]["sha256"], task)
        return found

    async def _import(self, project_id: int, tasks: list[NewTask]) -> list[MadeTask]:
        """Make those of the tasks that are not there: a crash may have left some behind that nobody knows of."""
        found = await self._find(project_id, [task.sha256 for task in tasks])
        # An image that is wanted twice at once, as by a message that was handed out again, has one task, too.
        missing = list({task.sha256: task for task in tasks if task.sha256 not in found}.values())
        if missing:
            made = await self._http.call(
                "POST",
                f"/api/projects/{project_id}/import",
                params={"return_task_ids": "true"},
                body=[shapes.new_task(task, self._pictures.url(task.uri)) for task in missing],
            )
            # Looked at once more. Where its database is locked Label Studio makes tasks without their annotations, and
            # the call of a replica that has died may have had its effect only now: then there is an older twin.
            found |= await self._find(project_id, [task.sha256 for task in missing])
            for id_ in set(made["task_ids"]) - {task.id for task in found.values()}:
                await self._http.call("DELETE", f"/api/tasks/{id_}/")
        ours = {task.sha256: task.guess for task in tasks if task.guess and found[task.sha256].event == task.event}
        await self._show_guesses(project_id, [(found[sha256], guess) for sha256, guess in ours.items()])
        return [found[task.sha256] for task in tasks]

    async def _show_guesses(self, project_id: int, guesses: Sequence[tuple[MadeTask, Guess]]) -> None:
        """Give a guess to each task whose import has lost it; done before by one who died, it changes nothing.

        Of all predictions a project shows those of one model version: let it be the newest.
        """
        for task, guess in guesses:
            if not task.guessed:
                await self._http.call("POST", "/api/predictions/", body=shapes.new_prediction(task.id, guess))
        version = guesses[-1][1].model_version if guesses else None
        if version and self._shown_versions.get(project_id) != version:
            await self._http.call("PATCH", f"/api/projects/{project_id}/", body={"model_version": version})
            self._shown_versions[project_id] = version

    # Labels

    async def add_label(self, task_id: int, label: GivenLabel) -> bool:
        """As `Labelling.add_label`; Label Studio itself refuses a second annotation of one `unique_id`."""
        try:
            await self._http.call("POST", f"/api/tasks/{task_id}/annotations/", body=shapes.new_annotation(label))
        except There:
            return True
        except NotThere:
            return False
        return True

    async def changed(self, project: str, since: datetime | None) -> AsyncIterator[list[Task]]:
        """As `Labelling.changed`."""
        seen: dict[int, datetime] = {}
        after, operator = since or datetime.fromtimestamp(0, UTC), "greater"
        while True:
            filters = [
                where("updated_at", operator, "Datetime", after.astimezone(UTC).strftime(_TIME)),
                # Not by the task's count of them, which Label Studio writes last, under load seconds later.
                where("annotators", "empty", "List", False),
            ]
            page = partial(listing.tasks, self._http, filters=filters, at_most=_PAGE, ordering=["tasks:updated_at"])
            found = await self._in(project, page)
            once = {task["id"]: task for task in found}.values()  # one with two annotations is found twice
            fresh = [task for task in await self._read(list(once)) if seen.get(task.id) != task.updated_at]
            if fresh:
                yield fresh
            if len(found) < _PAGE or not fresh:
                return
            # From the last change on, not by page number: a task that changes meanwhile would shift the pages.
            seen.update((task.id, task.updated_at) for task in fresh)
            after, operator = fresh[-1].updated_at, "greater_or_equal"

    async def labelled(self, project: str) -> list[Task]:
        """As `Labelling.labelled`, by an export: three times as fast as the list of tasks."""
        params = {"exportType": "JSON", "download_all_tasks": "false", "interpolate_key_frames": "false"}
        return await self._read(
            await self._in(project, lambda id_: self._http.call("GET", f"/api/projects/{id_}/export", params=params))
        )

    async def annotation_count(self, project: str) -> int:
        """As `Labelling.annotation_count`."""
        params = {"include": "total_annotations_number"}
        found = await self._in(project, lambda id_: self._http.call("GET", f"/api/projects/{id_}/", params=params))
        return int(found["total_annotations_number"])

    async def annotations_of(self, project: str, tasks: Sequence[int]) -> set[int]:
        """As `Labelling.annotations_of`. Label Studio fills the column only where it orders by it."""
        between = {"min": min(tasks), "max": max(tasks)}
        filters = [where("id", "in", "Number", between), where("annotators", "empty", "List", False)]
        page = partial(
            listing.tasks, self._http, filters=filters, at_most=2 * len(tasks), ordering=["tasks:annotations_ids"]
        )
        found = await self._in(project, partial(page, fields="task_only", include="id,annotations_ids"))
        return {int(id_) for task in found for id_ in str(task["annotations_ids"]).split(",") if id_.strip()}

    async def has_annotation(self, annotation_id: int) -> bool:
        """As `Labelling.has_annotation`."""
        try:
            await self._http.call("GET", f"/api/annotations/{annotation_id}/")
        except NotThere:
            return False
        return True

    async def second_looks(self, project: str) -> int:
        """As `Labelling.second_looks`."""
        return await self._in(project, self._second_looks.count)

    async def give_back(self, project: str, task_id: int, why: str) -> bool:
        """As `Labelling.give_back`."""
        return await self._in(project, lambda project_id: self._second_looks.give_back(project_id, task_id, why))

    async def take_off(self, task_id: int) -> None:
        """As `Labelling.take_off`."""
        await self._second_looks.take_off(task_id)

    async def _read(self, tasks: list[dict[str, Any]]) -> list[Task]:
        if shapes.people_in(tasks) - set(self._people):
            self._people |= {user["id"]: user["email"] for user in await self._http.call("GET", "/api/users/")}
            self._people |= {who: f"user {who}" for who in shapes.people_in(tasks) - set(self._people)}
        return [shapes.task_of(task, self._people) for task in tasks]
