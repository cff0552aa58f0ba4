"""`loopline label`: a stand-in for the person who labels, for demos and tests. It answers what Label Studio asks."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from services.cli.errors import BadInput, Failed
from services.cli.options import AsJson, Project
from services.cli.progress import Advance, bars
from services.cli.session import Session, session_of, the_project

if TYPE_CHECKING:
    import httpx

    from services.chassis.client import Client

_AT_ONCE = 4
_PAGE = 100
_TRIES = 4
_POLL_S = 0.5
_TIMEOUT_S = 30.0
_PATIENCE_S = 60.0


class Inspector:
    """Knows the true class of images by their sha256, and gives it in the real Label Studio, over its API."""

    def __init__(self, url: str, token: str, truth: Mapping[str, str], name: str = "") -> None:
        self.url = url.rstrip("/")
        self.truth = truth
        self._token = token
        self._name = name

    async def label(self, project: str, count: int | None, advance: Advance, *, patience_s: float = _PATIENCE_S) -> int:
        """Answer unlabelled tasks, oldest first: `count` of them, or all there are.

        Tasks may still be in the making: it waits for the next one until none came for `patience_s` seconds. A task
        whose image it does not know stays as it is. Returns how many were labelled.

        Raises:
            BadInput: Label Studio cannot be reached, refuses the token, or has no such project.
            Failed: it refuses an annotation.
        """
        import httpx

        local = urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")
        headers = {"Authorization": f"Token {self._token}"}
        labelled = seen = 0
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=_TIMEOUT_S, trust_env=not local
        ) as http:
            loop = asyncio.get_running_loop()
            last_news = loop.time()
            while count is None or labelled < count:
                tasks = await self._unlabelled(http, project, seen)
                if tasks:
                    seen = max(int(task["id"]) for task in tasks)
                    known = [task for task in tasks if task["data"].get("sha256") in self.truth]
                    known = known if count is None else known[: count - labelled]
                    await self._answer_all(http, known, advance)
                    labelled += len(known)
                    last_news = loop.time()
                elif loop.time() - last_news > patience_s:
                    break
                else:
                    await asyncio.sleep(_POLL_S)
        return labelled

    async def _unlabelled(self, http: "httpx.AsyncClient", project: str, after: int) -> list[dict[str, Any]]:
        """The next tasks behind task `after` that nobody has labelled, by id."""
        project_id = await self._project_id(http, project)
        if project_id is None:
            return []
        filters = [
            {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after},
            {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0},
        ]
        query = {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}
        params = {"project": project_id, "query": json.dumps(query), "page_size": _PAGE, "resolve_uri": "false"}
        return list((await self._call(http, "GET", "/api/tasks/", params=params))["tasks"])

    async def _project_id(self, http: "httpx.AsyncClient", project: str) -> int | None:
        """Label Studio's project, which labeling-sync makes under this title."""
        title = f"loopline:{project}"
        found = await self._call(http, "GET", "/api/projects/", params={"title": title, "page_size": _PAGE})
        ids = sorted(int(one["id"]) for one in found["results"] if one["title"] == title)
        return ids[0] if ids else None

    async def _answer_all(self, http: "httpx.AsyncClient", tasks: list[dict[str, Any]], advance: Advance) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def answer(task: dict[str, Any]) -> None:
            async with room:
                await self._answer(http, int(task["id"]), self.truth[task["data"]["sha256"]])
                advance(1)

        await asyncio.gather(*(answer(task) for task in tasks))

    async def _answer(self, http: "httpx.AsyncClient", task_id: int, label: str) -> None:
        """One annotation. Label Studio takes a `unique_id` once, so that a repeated call cannot label twice."""
        from contracts.envelope import derive_id

        id_ = derive_id("loopline label", self.url, str(task_id), self._name, label)
        choice = {
            "id": id_[:10],
            "from_name": "label",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [label]},
            "meta": {"labelled_by": self._name} if self._name else {},
        }
        await self._call(
            http, "POST", f"/api/tasks/{task_id}/annotations/", body={"unique_id": id_, "result": [choice]}
        )

    async def _call(
        self, http: "httpx.AsyncClient", method: str, path: str, *, params: Any = None, body: Any = None
    ) -> Any:
        import httpx

        for tried in range(1, _TRIES + 1):
            try:
                response = await http.request(method, path, params=params, json=body)
            except httpx.TransportError as error:
                if tried == _TRIES:
                    raise BadInput(f"cannot reach Label Studio at {self.url}: is the stack up? ./taskw up") from error
            else:
                if response.status_code == 401:
                    raise BadInput(f"Label Studio at {self.url} refuses the token: check LOOPLINE_LABEL_STUDIO_TOKEN")
                if response.status_code == 409 and method == "POST":
                    return None  # an earlier try had its effect
                if response.status_code < 300:
                    return response.json()
                if response.status_code < 500 or tried == _TRIES:
                    raise Failed(f"Label Studio answers {response.status_code} to {path}: {response.text[:200]}")
            await asyncio.sleep(_POLL_S * tried)
        raise AssertionError("unreachable")


def label(
    context: typer.Context,
    truth: Annotated[
        str, typer.Option(metavar="elpv|digits|DIR", help="Who knows the true classes; DIR: a folder each.")
    ],
    project: Project = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many tasks; all there are when missing.")] = None,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the next task to come.")] = 5,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The name to label under.")] = "",
    as_json: AsJson = False,
) -> None:
    """Label in Label Studio with the true classes of a data set, as a stand-in for the people who do it."""
    from services.cli.datasets import BUILT_IN
    from services.cli.datasets import truth as truth_of

    session = session_of(context)
    if truth not in BUILT_IN and not Path(truth).is_dir():
        raise BadInput(f"there is no folder {truth}, and no data set of that name: {', '.join(BUILT_IN)}")

    async def work(client: "Client") -> tuple[str, int]:
        found = await the_project(client, project)
        inspector = inspector_of(session, await asyncio.to_thread(truth_of, truth), name)
        with bars(session.notes)("labelled", limit) as advance:
            return found, await inspector.label(found, limit, advance, patience_s=wait_s)

    found, labelled = session.run(work)
    if as_json:
        session.json({"project": found, "labelled": labelled})
    else:
        session.out.print(f"labelled {labelled} tasks of {found}")


def inspector_of(session: Session, truth: Mapping[str, str], name: str) -> Inspector:
    """The inspector for the Label Studio of the settings."""
    settings = session.settings
    return Inspector(settings.label_studio_url, settings.label_studio_token.get_secret_value(), truth, name)
