"""Lists of tasks, as Label Studio's data manager gives them."""

import json
from collections.abc import Sequence
from typing import Any

from services.labeling_sync.adapters.label_studio.http import Http


async def tasks(
    http: Http, project_id: int, filters: list[Any], at_most: int, ordering: Sequence[str] = (), **which: str
) -> list[dict[str, Any]]:
    """Tasks with all that belongs to them, or with what `which` names."""
    which = {"fields": "all", "resolve_uri": "false", **which}
    return list((await _page(http, project_id, filters, at_most, ordering, **which))["tasks"])


async def count(http: Http, project_id: int, filters: list[Any]) -> int:
    """How many tasks there are."""
    return int((await _page(http, project_id, filters, 1, include="id"))["total"])


async def _page(
    http: Http, project_id: int, filters: list[Any], at_most: int, ordering: Sequence[str] = (), **which: str
) -> Any:
    query = {"filters": all_of(filters), "ordering": list(ordering)}
    params = {"project": project_id, "query": json.dumps(query), "page_size": at_most}
    return await http.call("GET", "/api/tasks/", params={**params, **which})


def all_of(filters: list[Any]) -> dict[str, Any]:
    """Conditions that all hold."""
    return {"conjunction": "and", "items": filters}


def where(column: str, operator: str, type_: str, value: Any) -> dict[str, Any]:
    """A condition on tasks."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": type_, "value": value}
