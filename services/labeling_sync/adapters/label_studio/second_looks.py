"""Labelled tasks that come back to people, in a tab of their own: the community edition cannot reopen a task.

Who opens one there sees its label, and beside it why; a label that is changed, confirmed by "Update", or given anew is
a second look.
"""

from typing import Any

from services.labeling_sync.adapters.label_studio import listing, shapes
from services.labeling_sync.adapters.label_studio.http import Http, NotThere
from services.labeling_sync.adapters.label_studio.listing import all_of, where

TAB = "Second look"
_WAITS = where(f"data.{shapes.SECOND_LOOK}", "empty", "String", False)


class SecondLooks:
    """The tab `Second look` of each project, and what is in it."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._tabs: set[int] = set()

    async def count(self, project_id: int) -> int:
        """How many tasks wait."""
        return await listing.count(self._http, project_id, [_WAITS])

    async def give_back(self, project_id: int, task_id: int, why: str) -> bool:
        """As `Labelling.give_back`. One that was given back before keeps since when."""
        await self._make_tab(project_id)
        task = await self._task(task_id)
        if task is None or not task["annotations"]:
            return False
        if shapes.SECOND_LOOK not in task["data"]:
            await self._write(task_id, shapes.given_back(task, why))
        return True

    async def take_off(self, task_id: int) -> None:
        """As `Labelling.take_off`."""
        task = await self._task(task_id)
        if task is not None and shapes.SECOND_LOOK in task["data"]:
            await self._write(task_id, shapes.taken_off(task))

    async def _task(self, task_id: int) -> dict[str, Any] | None:
        try:
            found = await self._http.call("GET", f"/api/tasks/{task_id}/", params={"resolve_uri": "false"})
        except NotThere:
            return None
        return dict(found)

    async def _write(self, task_id: int, data: dict[str, Any]) -> None:
        await self._http.call("PATCH", f"/api/tasks/{task_id}/", body={"data": data})

    async def _make_tab(self, project_id: int) -> None:
        if project_id in self._tabs:
            return
        tabs = await self._http.call("GET", "/api/dm/views/", params={"project": project_id})
        if not any(tab["data"].get("title") == TAB for tab in tabs):
            data = {"title": TAB, "type": "list", "target": "tasks", "filters": all_of([_WAITS]), "ordering": []}
            await self._http.call("POST", "/api/dm/views/", body={"project": project_id, "data": data})
        self._tabs.add(project_id)
