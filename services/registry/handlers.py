"""What the registry does about a verdict, about a person's no, and about a finished rollout."""

import logging
from collections.abc import Mapping

from contracts.envelope import derive_id
from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelVersion,
)
from services.chassis.errors import Rejected
from services.chassis.heard import Heard
from services.registry import aliases
from services.registry.domain import gates_sentence, is_outdated, to_put_back
from services.registry.ports import Claims, NoSuchVersion, Said, Signer, VersionStore
from services.registry.registering import RUN_ID, register, released_on_error
from services.registry.words import served, withdrawn

log = logging.getLogger(__name__)


async def on_evaluation_completed(
    event: EvaluationCompleted, heard: Heard, *, versions: VersionStore, claims: Claims, said: Said, signer: Signer
) -> list[Event]:
    """Register the candidate that passed, and approve it or ask a person to. Another verdict stands for itself.

    A run judged twice keeps its version and is approved again. A candidate from an older dataset than the one
    approved last is registered and not approved. One that somebody brought by hand and that failed is told why there.
    """
    if event.verdict != "passed":
        await _note(f"{event.verdict}: {event.sentence}", event.run_id, heard, versions)
        return []
    registered = await register(event, heard, versions, claims, said, signer)
    version = registered.version
    facts: list[Event] = []
    if registered.evaluation == heard.envelope.id:
        facts.append(ModelRegistered(version=version))
    approved = await said.last(ModelApproved, heard.project)
    newest = approved[0].version if approved else None
    if newest and is_outdated(event.dataset_number, newest.dataset_number):
        log.info(
            "%s version %d is not approved: its dataset %d is older than dataset %d of version %d",
            heard.project, version.version, event.dataset_number, newest.dataset_number, newest.version,
        )  # fmt: skip
        return facts
    if registered.ask_because:
        return [*facts, ModelApprovalRequested(version=version, why=registered.ask_because)]
    return [*facts, ModelApproved(version=version, approved_by="gates", why=gates_sentence(len(event.gates)))]


async def on_evaluation_failed(event: EvaluationFailed, heard: Heard, *, versions: VersionStore) -> list[Event]:
    """Whoever brought it by hand is told there why it could not be judged, as on the bus."""
    await _note(f"could not be judged: {event.reason}", event.run_id, heard, versions)
    return []


async def on_model_rejected(event: ModelRejected, heard: Heard, *, versions: VersionStore, said: Said) -> list[Event]:
    """Write it down at the version. A version that is no way back any more does not carry `previous`."""
    _check_project(event.version, heard)
    tags = {"loopline.rejected_by": event.rejected_by, "loopline.rejected_why": event.why}
    await _tag(versions, heard.project, event.version.version, tags)
    await aliases.without_withdrawn(heard.project, versions, said)
    return []


async def on_model_demoted(event: ModelDemoted, heard: Heard, *, versions: VersionStore, said: Said) -> list[Event]:
    """Have the version put back that served before. The aliases follow when it does.

    Raises:
        Rejected: no other version ever served, or all were taken back.
    """
    _check_project(event.version, heard)
    demoted = event.version.version
    tags = {"loopline.demoted_by": event.demoted_by, "loopline.demoted_why": event.why}
    await _tag(versions, heard.project, demoted, tags)
    await aliases.without_withdrawn(heard.project, versions, said)
    former = await served(heard.project, said)
    if not former or former[-1].version != demoted:
        log.info("%s version %d is demoted and does not serve: nothing is put back", heard.project, demoted)
        return []
    back = to_put_back([one.version for one in former], demoted, await withdrawn(heard.project, said))
    if back is None:
        raise Rejected(
            f"there is no version to put back for version {demoted} of {heard.project}, which serves on: approve "
            "another one (loopline models approve), which then takes its place"
        )
    version = next(one for one in reversed(former) if one.version == back)
    why = f"put back for version {demoted}: {event.why}"
    return [ModelApproved(version=version, approved_by=event.demoted_by, why=why, instead_of=demoted)]


async def on_deployment_completed(
    event: DeploymentCompleted, heard: Heard, *, versions: VersionStore, claims: Claims, said: Said
) -> list[Event]:
    """Let `champion` and `previous` follow what serves, and say so.

    Facts may arrive late, twice or out of order, so the newest deployment said decides and not the one heard: an
    older one changes nothing. One whose promotion was followed by another's and which is stored once more is older too.
    """
    if not await _is_newest(heard.envelope.id, heard.project, said):
        log.info("version %d was replaced before its promotion", event.version.version)
        return []
    promoted = await said.last(ModelPromoted, heard.project)
    before = promoted[1].id if promoted else ""
    # An id that others made may have characters that no key may have.
    key = f"promote.{heard.project}.{derive_id(heard.envelope.id)}"
    done = await claims.take(key, heard.owner)
    if done and promoted and promoted[1].causation_id != heard.envelope.id and done["after"] != before:
        log.info("version %d was promoted already, and another after it", event.version.version)
        return []
    async with released_on_error(claims, key, heard.owner):
        if not done:
            await _tag(versions, heard.project, event.version.version, await _approval(heard, said))
        moved = await aliases.move(event, heard.project, versions, said)
        if not done:
            await claims.finish(key, heard.owner, {"after": before})
    newest = await said.last(DeploymentCompleted, heard.project)
    if newest and newest[1].id != heard.envelope.id:
        # Another replica heard it meanwhile and may have moved the aliases first: whoever moves last looks again.
        await aliases.move(newest[0], heard.project, versions, said)
        return []
    return [ModelPromoted(version=event.version, previous_version=moved.previous)]


async def _is_newest(deployment_id: str, project: str, said: Said) -> bool:
    newest = await said.last(DeploymentCompleted, project)
    return newest is None or newest[1].id == deployment_id


async def _approval(heard: Heard, said: Said) -> dict[str, str]:
    """Who let the version serve, and why, as tags."""
    async for approved, envelope, _ in said.read(ModelApproved, heard.project):
        if envelope.id == heard.envelope.causation_id:
            return {"loopline.approved_by": approved.approved_by, "loopline.approved_why": approved.why}
    return {}


async def _note(why: str, run_id: str, heard: Heard, versions: VersionStore) -> None:
    """Write it down at the version of this run that somebody brought by hand, if there is one."""
    brought = await versions.brought(heard.project, run_id) if RUN_ID.fullmatch(run_id) else None
    if brought:
        await _tag(versions, heard.project, brought, {"loopline.note": why})


async def _tag(versions: VersionStore, project: str, version: int, tags: Mapping[str, str]) -> None:
    """A mirror for people: a version that somebody deleted there needs none."""
    try:
        await versions.tag(project, version, tags)
    except NoSuchVersion as error:
        log.warning("%s: nothing is written down there", error)


def _check_project(version: ModelVersion, heard: Heard) -> None:
    if version.name != heard.project:
        raise Rejected(f"a version of {version.name} was named for the project {heard.project}")
