"""A project's counterpart in Label Studio: found by its title, made once, and fitted to the card."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from contracts.project import ScopeCard
from services.chassis.errors import Rejected, Retry
from services.labeling_sync.adapters.label_studio import listing, shapes
from services.labeling_sync.adapters.label_studio.http import Http, NotThere
from services.labeling_sync.adapters.label_studio.listing import where
from services.labeling_sync.adapters.label_studio.pictures import ServedPictures
from services.labeling_sync.ports import NoSuchProject

log = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 100


class Projects:
    """Projects of one Label Studio, whose ids are remembered until a call finds one gone."""

    def __init__(self, http: Http, pictures: ServedPictures) -> None:
        self._http = http
        self._pictures = pictures
        self._ids: dict[str, int] = {}

    async def find(self, project: str) -> int | None:
        """As `Labelling.find_project`."""
        if project in self._ids:
            return self._ids[project]
        found = await self._titled(project)
        if not found:
            return None
        # Should there be two of one title, the older one is it.
        self._ids[project] = int(found[0]["id"])
        return self._ids[project]

    async def _titled(self, project: str) -> list[dict[str, Any]]:
        """Those with the project's title, oldest first; the server's filter finds all that contain the text."""
        title = shapes.title_of(project)
        params = {"title": title, "include": "id,title,task_number", "page_size": _PAGE}
        found = await self._http.call("GET", "/api/projects/", params=params)
        return sorted((one for one in found["results"] if one["title"] == title), key=lambda one: int(one["id"]))

    async def create(self, card: ScopeCard) -> int:
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
        found = await self._titled(card.project)
        if not found:
            await self._http.call("POST", "/api/projects/", body=body)
            found = await self._titled(card.project)
            log.info("made project %s of Label Studio, %s", found[0]["id"], found[0]["title"])
        kept, *twins = found
        for twin in twins:
            if not twin["task_number"]:
                await self._http.call("DELETE", f"/api/projects/{twin['id']}/")
        self._ids[card.project] = int(kept["id"])
        return self._ids[card.project]

    async def fit(self, project_id: int, card: ScopeCard) -> None:
        """As `Labelling.fit_project`; NotThere where it was deleted."""
        path = f"/api/projects/{project_id}/"
        is_now = await self._http.call("GET", path)
        former = {
            name: shapes.former_title(name, card.data.class_of(name))
            for name in shapes.choices_of(is_now)
            if name not in card.data.classes and await self._is_used(project_id, name)
        }
        wanted = {"label_config": shapes.label_config(card.data.classes, former), "description": card.goal}
        if any((is_now.get(key) or "") != value for key, value in wanted.items()):
            await self._http.call("PATCH", path, body=wanted)
        await self._show_pictures(project_id)

    async def _is_used(self, project_id: int, name: str) -> bool:
        """Whether annotations may name a class: by Label Studio's summary, which knows no imports, or by their text."""
        summary = await self._http.call("GET", f"/api/projects/{project_id}/summary/")
        if any(labels.get(name) for labels in summary["created_labels"].values()):
            return True
        # As text of JSON, which may or may not escape what is not ASCII.
        for text in {name, json.dumps(name)[1:-1]}:
            names_it = where("annotations_results", "contains", "String", text)
            if await listing.tasks(self._http, project_id, [names_it], 1):
                return True
        return False

    async def _show_pictures(self, project_id: int) -> None:
        """Pictures are served only from the folders of a project's storages."""
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

    async def within(self, project: str, call: Callable[[int], Awaitable[T]]) -> T:
        """What `call(project id)` gives."""
        try:
            found = await self.find(project)
            if found is None:
                raise NoSuchProject(f"Label Studio has no project {shapes.title_of(project)}")
            return await call(found)
        except NotThere:
            self._ids.pop(project, None)
            raise NoSuchProject(f"the project {shapes.title_of(project)} was deleted in Label Studio") from None
