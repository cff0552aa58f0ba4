"""The aliases `champion` and `previous` in MLflow follow what serves."""

import logging
from dataclasses import replace

from contracts.events.deployment import DeploymentCompleted
from services.chassis.errors import Rejected
from services.registry.domain import Aliases, after_deployment, to_put_back
from services.registry.ports import NoSuchVersion, Said, VersionStore
from services.registry.words import served, withdrawn

log = logging.getLogger(__name__)


async def move(event: DeploymentCompleted, project: str, versions: VersionStore, said: Said) -> Aliases:
    """Set `previous`, then `champion`: after a crash in between the former champion is still to be read."""
    now = await versions.aliases(project)
    former = [version.version for version in await served(project, said)]
    taken_back = await withdrawn(project, said)
    wanted = after_deployment(now, event.version.version, event.replaces, former, taken_back)
    wanted = replace(wanted, previous=await _set_previous(project, now.previous, wanted.previous, versions))
    if wanted.champion is not None and wanted.champion != now.champion:
        try:
            await versions.set_alias(project, "champion", wanted.champion)
        except NoSuchVersion as error:
            raise Rejected(f"{error}, but it serves: deploy another version") from error
    return wanted


async def without_withdrawn(project: str, versions: VersionStore, said: Said) -> None:
    """Let `previous` be a version that nobody took back; none where there is none."""
    now, taken_back = await versions.aliases(project), await withdrawn(project, said)
    if now.previous in taken_back:
        former = [version.version for version in await served(project, said)]
        await _set_previous(project, now.previous, to_put_back(former, now.champion or 0, taken_back), versions)


async def _set_previous(project: str, now: int | None, wanted: int | None, versions: VersionStore) -> int | None:
    """The version that carries it then."""
    if wanted == now:
        return wanted
    if wanted is not None:
        try:
            await versions.set_alias(project, "previous", wanted)
            return wanted
        except NoSuchVersion as error:
            log.warning("%s: it cannot carry the alias previous", error)
    if now is not None:
        await versions.drop_alias(project, "previous")
    return None
