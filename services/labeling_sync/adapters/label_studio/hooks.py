"""Webhooks of Label Studio's projects."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.chassis.errors import Rejected
from services.labeling_sync.adapters.label_studio.http import Http
from services.labeling_sync.ports import NoSuchProject

_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
_PRIVATE = "private network addresses"

# A call with the id of a project; NoSuchProject where there is none, or none any more.
InProject = Callable[[str, Callable[[int], Awaitable[None]]], Awaitable[None]]


class LabelStudioHooks:
    """`Hooks` in Label Studio 1.23, which has one a project."""

    def __init__(self, http: Http, in_project: InProject) -> None:
        self._http = http
        self._in = in_project

    async def keep(self, project: str, url: str, secret: str) -> bool:
        """As `Hooks.keep`. A webhook that points there already is put right, whoever made it."""
        try:
            await self._in(project, lambda id_: self._keep(id_, url, secret))
        except NoSuchProject:
            return False
        return True

    async def _keep(self, id_: int, url: str, secret: str) -> None:
        wanted = {
            "project": id_,
            "url": url,
            "send_payload": False,
            "send_for_all_actions": False,
            "actions": list(_ACTIONS),
            "headers": {"Authorization": f"Bearer {secret}"},
            "is_active": True,
        }
        try:
            found = await self._http.call("GET", "/api/webhooks/", params={"project": id_})
            ours = next((hook for hook in found if hook["url"] == url), None)
            if ours is None:
                await self._http.call("POST", "/api/webhooks/", body=wanted)
            elif any(_plain(ours.get(name)) != _plain(value) for name, value in wanted.items()):
                await self._http.call("PATCH", f"/api/webhooks/{ours['id']}/", body=wanted)
        except Rejected as error:
            if _PRIVATE in str(error):
                raise Rejected(
                    f"Label Studio does not post to {url}, an address of a private network: start it with "
                    "SSRF_PROTECTION_ENABLED=false, or unset LOOPLINE_LABEL_STUDIO_HOOK_URL"
                ) from error
            raise


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
