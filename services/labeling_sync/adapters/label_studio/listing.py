"""Lists of tasks, as Label Studio's data manager gives them."""

import json
from collections.abc import Sequence
from typing import Any

from services.labeling_sync.adapters.label_studio.http import Http


async def tasks(
    http: Http, project_id: int, filters: list[Any], at_most: int, ordering: Sequence[str] = (), **which: str
) -> list[dict[str, Any]]:
    """Tasks with all that belongs to them, or with what `which` names."""
    query = {"filters": {"conjunction": "and", "items": filters}, "ordering": list(ordering)}
    params = {"project": project_id, "query": json.dumps(query), "page_size": at_most, "resolve_uri": "false"}
    answer = await http.call("GET", "/api/tasks/", params={"fields": "all", **params, **which})
    return list(answer["tasks"])


def where(column: str, operator: str, type_: str, value: Any) -> dict[str, Any]:
    """A condition on tasks."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": type_, "value": value}
