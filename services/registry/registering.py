"""A candidate that passed becomes a version, once, with its lineage and our signature."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from contracts import runs
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.model import ModelVersion
from contracts.events.project import ProjectDefined
from services.chassis.errors import Rejected
from services.chassis.heard import Heard
from services.registry.domain import gates_sentence
from services.registry.ports import Claims, NoSuchRun, Said, Signer, VersionStore
from services.registry.words import withdrawn

# It goes into a filter of MLflow's and into the key of a claim.
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Registered:
    """The version, the id of the evaluation that it was made for, and why a person is to approve it ("": none is)."""

    version: ModelVersion
    evaluation: str
    ask_because: str


async def register(
    event: EvaluationCompleted, heard: Heard, versions: VersionStore, claims: Claims, said: Said, signer: Signer
) -> Registered:
    """The candidate's version, made now if it is not there. One that somebody made of this run by hand is taken over.

    Raises:
        Rejected: there is no such run.
    """
    if not RUN_ID.fullmatch(event.run_id):
        raise Rejected(f"{event.run_id!r} is not the id of an MLflow run")
    key = f"register.{heard.project}.{event.run_id}"
    done = await claims.take(key, heard.owner)
    if done:
        if not isinstance(done["version"], dict):
            raise Rejected(
                f"the run {event.run_id} was registered before versions were signed: loopline train --again makes one "
                "that can be"
            )
        version = ModelVersion.model_validate(done["version"])
        if done["evaluation"] == heard.envelope.id:
            return Registered(version, done["evaluation"], done["ask_because"])
        return Registered(version, done["evaluation"], await ask_because(event, version.version, heard.project, said))
    async with released_on_error(claims, key, heard.owner):
        try:
            version, evaluation = await _made(event, heard, versions, signer)
        except NoSuchRun as error:
            raise Rejected(f"{error}: the candidate cannot be registered; train it again") from error
        why = await ask_because(event, version.version, heard.project, said)
        result = {"version": version.model_dump(mode="json"), "evaluation": evaluation, "ask_because": why}
        await claims.finish(key, heard.owner, result)
    return Registered(version, evaluation, why)


async def _made(
    event: EvaluationCompleted, heard: Heard, versions: VersionStore, signer: Signer
) -> tuple[ModelVersion, str]:
    project, run_id, evaluation = heard.project, event.run_id, heard.envelope.id
    revision = (await versions.run(run_id)).tags.get(runs.REVISION, "")
    tags = lineage(event, heard, revision)
    # A crash after `create` and before `finish` leaves a version behind: MLflow has no unique key, so look first.
    if found := await versions.find(project, run_id, event.model.file.sha256):
        number, evaluation = found[0], found[1].get("loopline.evaluation", evaluation)
    elif brought := await versions.brought(project, run_id):
        number = brought
        await versions.tag(project, number, tags)
    else:
        number = await versions.create(project, run_id, tags, event.sentence)
    version = signer.sign(
        ModelVersion(
            name=project,
            version=number,
            model=event.model,
            run_id=run_id,
            dataset_id=event.plan.dataset_id,
            dataset_number=event.dataset_number,
            manifest_sha256=event.manifest.sha256,
            parent_version=event.champion_version,
            plan=event.plan,
            code_revision=revision,
            evaluation_id=evaluation,
        )
    )
    if version.signature:
        seal = {"keyid": version.signature.key_id, "sig": version.signature.signature}
        await versions.tag(project, number, {"loopline.signature": json.dumps(seal)})
    return version, evaluation


def lineage(event: EvaluationCompleted, heard: Heard, revision: str) -> dict[str, str]:
    """Where a version comes from, as the tags it carries in MLflow. By the last one it is known as ours."""
    return {
        "loopline.run": event.run_id,
        runs.DATASET: event.plan.dataset_id,
        runs.DATASET_NUMBER: str(event.dataset_number),
        "loopline.manifest_sha256": event.manifest.sha256,
        "loopline.parent": str(event.champion_version or ""),
        "loopline.recipe": event.plan.recipe,
        "loopline.plan": event.plan.model_dump_json(exclude_none=True),
        "loopline.code_revision": revision,
        runs.GOLDEN_SHA256: event.model.golden.sha256,
        "loopline.correlation": heard.envelope.correlation_id,
        "loopline.evaluation": heard.envelope.id,
        runs.MODEL_SHA256: event.model.file.sha256,
    }


async def ask_because(event: EvaluationCompleted, version: int, project: str, said: Said) -> str:
    """Why a person and not the gates approve a version that passed; "" where the gates do."""
    passed = gates_sentence(len(event.gates))
    if version in await withdrawn(project, said):
        return f"{passed}, but a person took version {version} back before, and only a person brings it back"
    card = await said.last(ProjectDefined, project)
    if card and card[0].card.gates.approval == "person":
        return f"{passed}, and the card leaves the last word to a person"
    return ""


@asynccontextmanager
async def released_on_error(claims: Claims, key: str, owner: str) -> AsyncIterator[None]:
    """Give the claim back when the work fails, so that the same wish in another message need not wait for this one."""
    try:
        yield
    except Exception:
        await claims.release(key, owner)
        raise
