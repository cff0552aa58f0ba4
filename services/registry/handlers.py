"""What the registry does about a verdict and about a finished rollout."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.envelope import derive_id
from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.model import ModelApproved, ModelPromoted, ModelRegistered, ModelVersion
from services.chassis.errors import Rejected
from services.chassis.heard import Heard
from services.registry.domain import Aliases, after_deployment, gates_sentence, is_outdated
from services.registry.ports import Claims, NoSuchRun, NoSuchVersion, Said, VersionStore

log = logging.getLogger(__name__)

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def on_evaluation_completed(
    event: EvaluationCompleted, heard: Heard, *, versions: VersionStore, claims: Claims, said: Said
) -> list[Event]:
    """Register the candidate that passed, and approve it. Another verdict stands for itself: `evaluation.completed`.

    A run judged twice keeps its version and is approved again. A candidate from an older dataset than the one
    approved last is registered and not approved.
    """
    if event.verdict != "passed":
        return []
    number, registered_by = await _registered(event, heard, versions, claims)
    version = ModelVersion(
        name=heard.project,
        version=number,
        model=event.model,
        run_id=event.run_id,
        dataset_id=event.plan.dataset_id,
        dataset_number=event.dataset_number,
    )
    facts: list[Event] = []
    if registered_by == heard.envelope.id:
        facts.append(ModelRegistered(version=version))
    approved = await said.last(ModelApproved, heard.project)
    newest = approved[0].version if approved else None
    if newest and is_outdated(event.dataset_number, newest.dataset_number):
        log.info(
            "%s version %d is not approved: its dataset %d is older than dataset %d of version %d",
            heard.project, number, event.dataset_number, newest.dataset_number, newest.version,
        )  # fmt: skip
        return facts
    return [*facts, ModelApproved(version=version, approved_by="gates", why=gates_sentence(len(event.gates)))]


async def _registered(
    event: EvaluationCompleted, heard: Heard, versions: VersionStore, claims: Claims
) -> tuple[int, str]:
    """The candidate's version, made now if it is not there, and the id of the evaluation that it was made for."""
    if not _RUN_ID.fullmatch(event.run_id):
        raise Rejected(f"{event.run_id!r} is not the id of an MLflow run")
    key = f"register.{heard.project}.{event.run_id}"
    done = await claims.take(key, heard.owner)
    if done:
        return int(done["version"]), str(done["evaluation"])
    async with _released_on_error(claims, key, heard.owner):
        # A crash after `create` and before `finish` leaves a version behind: MLflow has no unique key, so look first.
        found = await versions.find(heard.project, event.run_id, event.model.file.sha256)
        if found:
            number, evaluation = found[0], found[1].get("loopline.evaluation", heard.envelope.id)
        else:
            evaluation = heard.envelope.id
            try:
                number = await versions.create(heard.project, event.run_id, lineage(event, heard), event.sentence)
            except NoSuchRun as error:
                raise Rejected(f"{error}: the candidate cannot be registered; train it again") from error
        await claims.finish(key, heard.owner, {"version": number, "evaluation": evaluation})
    return number, evaluation


def lineage(event: EvaluationCompleted, heard: Heard) -> dict[str, str]:
    """Where a version comes from, as the tags it carries in MLflow."""
    return {
        "loopline.model_sha256": event.model.file.sha256,
        "loopline.run": event.run_id,
        "loopline.dataset": event.plan.dataset_id,
        "loopline.dataset_number": str(event.dataset_number),
        "loopline.recipe": event.plan.recipe,
        "loopline.plan": event.plan.model_dump_json(),
        "loopline.evaluation": heard.envelope.id,
        "loopline.correlation": heard.envelope.correlation_id,
    }


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
    async with _released_on_error(claims, key, heard.owner):
        aliases = await _move(event, heard.project, versions)
        if not done:
            await claims.finish(key, heard.owner, {"after": before})
    newest = await said.last(DeploymentCompleted, heard.project)
    if newest and newest[1].id != heard.envelope.id:
        # Another replica heard it meanwhile and may have moved the aliases first: whoever moves last looks again.
        await _move(newest[0], heard.project, versions)
        return []
    return [ModelPromoted(version=event.version, previous_version=aliases.previous)]


async def _is_newest(deployment_id: str, project: str, said: Said) -> bool:
    newest = await said.last(DeploymentCompleted, project)
    return newest is None or newest[1].id == deployment_id


async def _move(event: DeploymentCompleted, project: str, versions: VersionStore) -> Aliases:
    """Set `previous`, then `champion`: after a crash in between the former champion is still to be read."""
    now = await versions.aliases(project)
    wanted = after_deployment(now, event.version.version, event.replaces)
    if wanted.previous is not None and wanted.previous != now.previous:
        try:
            await versions.set_alias(project, "previous", wanted.previous)
        except NoSuchVersion as error:
            log.warning("%s: it cannot carry the alias previous", error)
            wanted = Aliases(wanted.champion, None)
    if wanted.champion is not None and wanted.champion != now.champion:
        try:
            await versions.set_alias(project, "champion", wanted.champion)
        except NoSuchVersion as error:
            raise Rejected(f"{error}, but it serves: deploy another version") from error
    return wanted


@asynccontextmanager
async def _released_on_error(claims: Claims, key: str, owner: str) -> AsyncIterator[None]:
    """Give the claim back when the work fails, so that the same wish in another message need not wait for this one."""
    try:
        yield
    except Exception:
        await claims.release(key, owner)
        raise
