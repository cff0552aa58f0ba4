"""`Labelling` in Label Studio 1.23 over its REST API."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from contracts.project import ScopeCard
from services.chassis.errors import Rejected, Retry
from services.labeling_sync.adapters.label_studio import shapes
from services.labeling_sync.adapters.label_studio.hooks import LabelStudioHooks
from services.labeling_sync.adapters.label_studio.http import WHO_AM_I, Http, NotThere, There
from services.labeling_sync.adapters.label_studio.imports import Imports
from services.labeling_sync.adapters.label_studio.pictures import ServedPictures
from services.labeling_sync.labels import GivenLabel, Guess, MadeTask, NewTask, Task
from services.labeling_sync.ports import NoSuchProject

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
        self.hooks = LabelStudioHooks(http, self._in)
        self._imports = Imports(self._import)
        self._ids: dict[str, int] = {}
        self._people: dict[int, str] = {}
        self._shown_versions: dict[int, str] = {}

    async def answers(self) -> bool:
        """Whether it answers and takes the token; raises what is wrong when not."""
        await self._http.call("GET", WHO_AM_I)
        return True

    # Projects

    async def find_project(self, project: str) -> int | None:
        """As `Labelling.find_project`."""
        if project in self._ids:
            return self._ids[project]
        found = await self._projects(project)
        if not found:
            return None
        # Should there be two of one title, the older one is it.
        self._ids[project] = int(found[0]["id"])
        return self._ids[project]

    async def _projects(self, project: str) -> list[dict[str, Any]]:
        """Those with the project's title, oldest first; the server's filter finds all that contain the text."""
        title = shapes.title_of(project)
        params = {"title": title, "include": "id,title,task_number", "page_size": _PAGE}
        found = await self._http.call("GET", "/api/projects/", params=params)
        return sorted((one for one in found["results"] if one["title"] == title), key=lambda one: int(one["id"]))

    async def create_project(self, card: ScopeCard) -> int:
        """As `Labelling.create_project`.

        While others read, Label Studio on SQLite makes two projects of some requests (3 in 100 with 1.23): the second
        one, which nobody has seen yet, is deleted, also where it was left by one who died before that.
        """
        body = {
            "title": shapes.title_of(card.project),
            "description": card.goal,
            "label_config": shapes.label_config(card.data.classes),
            "enable_empty_annotation": False,
        }
        found = await self._projects(card.project)
        if not found:
            await self._http.call("POST", "/api/projects/", body=body)
            found = await self._projects(card.project)
            log.info("made project %s of Label Studio, %s", found[0]["id"], found[0]["title"])
        kept, *twins = found
        for twin in twins:
            if not twin["task_number"]:
                await self._http.call("DELETE", f"/api/projects/{twin['id']}/")
        self._ids[card.project] = int(kept["id"])
        return self._ids[card.project]

    async def fit_project(self, project_id: int, card: ScopeCard) -> None:
        """As `Labelling.fit_project`."""
        await self._in(card.project, lambda _: self._fit(project_id, card))

    async def _fit(self, project_id: int, card: ScopeCard) -> None:
        path = f"/api/projects/{project_id}/"
        is_now = await self._http.call("GET", path)
        wanted = {"label_config": shapes.label_config(card.data.classes), "description": card.goal}
        if any((is_now.get(key) or "") != value for key, value in wanted.items()):
            await self._http.call("PATCH", path, body=wanted)
        # Pictures are served only from the folders of a project's storages.
        storages = await self._http.call("GET", "/api/storages/localfiles", params={"project": project_id})
        if str(self._pictures.folder) in [storage["path"] for storage in storages]:
            return
        storage = {
            "project": project_id,
            "title": "loopline",
            "path": str(self._pictures.folder),
            "use_blob_urls": True,
        }
        self._pictures.check()
        try:
            await self._http.call("POST", "/api/storages/localfiles", body=storage)
        except Rejected as error:
            raise Retry(
                f"Label Studio cannot show the pictures in {self._pictures.folder}: LOOPLINE_LABEL_STUDIO_FILES_ROOT "
                f"must be its LOCAL_FILES_DOCUMENT_ROOT, with the blob store below it: {error}"
            ) from error

    async def _in(self, project: str, call: Callable[[int], Awaitable[T]]) -> T:
        """What `call(project id)` gives."""
        try:
            found = await self.find_project(project)
            if found is None:
                raise NoSuchProject(f"Label Studio has no project {shapes.title_of(project)}")
            return await call(found)
        except NotThere:
            self._ids.pop(project, None)
            raise NoSuchProject(f"the project {shapes.title_of(project)} was deleted in Label Studio") from None

    # Tasks

    async def make_task(self, project: str, task: NewTask) -> MadeTask:
        """As `Labelling.make_task`; with others that are wanted at the same time by one call."""
        return await self._in(project, lambda project_id: self._imports.make(project_id, task))

    async def find_tasks(self, project: str, images: Sequence[str]) -> dict[str, MadeTask]:
        """As `Labelling.find_tasks`."""
        return await self._in(project, lambda project_id: self._find(project_id, images))

    async def _find(self, project_id: int, images: Sequence[str]) -> dict[str, MadeTask]:
        found: dict[str, MadeTask] = {}
        for start in range(0, len(images), _MOST_IN_A_FILTER):
            part = list(images[start : start + _MOST_IN_A_FILTER])
            wanted = [_filter("data.sha256", "in_list", "List", part)]
            tasks = await self._tasks(project_id, wanted, 2 * len(part))
            # Should an image have two tasks, the older one is it.
            for task in sorted(tasks, key=lambda task: int(task["id"])):
                found.setdefault(task["data"]["sha256"], shapes.made_task(task))
        return found

    async def _tasks(
        self, project_id: int, filters: list[Any], at_most: int, ordering: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        query = {"filters": {"conjunction": "and", "items": filters}, "ordering": list(ordering)}
        params = {"project": project_id, "query": json.dumps(query), "page_size": at_most, "fields": "all"}
        answer = await self._http.call("GET", "/api/tasks/", params={**params, "resolve_uri": "false"})
        return list(answer["tasks"])

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
                _filter("updated_at", operator, "Datetime", after.astimezone(UTC).strftime(_TIME)),
                # Not by the task's count of them, which Label Studio writes last, under load seconds later.
                _filter("annotators", "empty", "List", False),
            ]
            page = partial(self._tasks, filters=filters, at_most=_PAGE, ordering=["tasks:updated_at"])
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

    async def _read(self, tasks: list[dict[str, Any]]) -> list[Task]:
        if shapes.people_in(tasks) - set(self._people):
            self._people |= {user["id"]: user["email"] for user in await self._http.call("GET", "/api/users/")}
            self._people |= {who: f"user {who}" for who in shapes.people_in(tasks) - set(self._people)}
        return [shapes.task_of(task, self._people) for task in tasks]


def _filter(column: str, operator: str, type_: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": type_, "value": value}
