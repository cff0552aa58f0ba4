"""One function per event heard."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingPlan,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)
from contracts.project import ScopeCard
from services.chassis.heard import Heard
from services.chassis.recipes import NotARecipe, checked
from services.trainer.job import Job, Made
from services.trainer.plan import all_claims, came_before, claim_key, plan_hash, sequence
from services.trainer.ports import CannotTrain, Claims, Facts, Trainer

Clock = Callable[[], float]


@dataclass(frozen=True)
class Ports:
    """What a training needs; `replica` names this process, `clock` counts seconds."""

    facts: Facts
    claims: Claims
    trainer: Trainer
    replica: str
    clock: Clock


def on_dataset_versioned(event: DatasetVersioned, heard: Heard, *, ports: Ports) -> AsyncIterator[Event]:
    """Train what the card says on the new version, unless a newer one is there already."""
    return _answer(TrainingRequested(), event, heard, ports)


def on_training_requested(event: TrainingRequested, heard: Heard, *, ports: Ports) -> AsyncIterator[Event]:
    """Train what the request says, and for the rest what the card says."""
    return _answer(event, None, heard, ports)


async def _answer(
    request: TrainingRequested, versioned: DatasetVersioned | None, heard: Heard, ports: Ports
) -> AsyncIterator[Event]:
    """The facts of one training, from the first look at the card to its end."""
    job = await _job(request, versioned, heard, ports.facts)
    key = job.claim if isinstance(job, Job) else ""
    if heard.tries > 1:
        await _end_former(key, heard, ports)
    if isinstance(job, TrainingFailed):
        yield job
        return
    done = await ports.claims.take(key, heard.owner)
    if done is not None:
        # Trained before, by this message or another one: say so again, whoever heard it first knows it by its id.
        yield TrainingCompleted.model_validate(done)
        return
    try:
        reason = ""
        newest = await ports.facts.last(DatasetVersioned, heard.project) if versioned else None
        if versioned and newest and newest[0].number > versioned.number:
            reason = f"superseded by dataset version {newest[0].number}"
        if request.unless_training and await _overlaps(heard, ports):
            reason = f"another training of {heard.project} was under way"
        # Its run may go on from an earlier try, which died. One that finished before it died is no longer cancelled.
        if reason and await ports.trainer.cancel(heard.project, key, reason):
            await ports.claims.release(key, heard.owner)
            yield TrainingCancelled(plan=job.plan, reason=reason)
            return
        async with aclosing(_train(job, ports)) as facts:
            async for fact in facts:
                if isinstance(fact, TrainingCompleted):
                    # Kept before it is said: whoever is killed in between says it from the claim.
                    await ports.claims.finish(key, heard.owner, fact.model_dump(mode="json"))
                yield fact
    except CannotTrain as error:
        await ports.claims.release(key, heard.owner)
        yield TrainingFailed(plan=job.plan, reason=str(error))
    except Exception:
        # Tried again later; until then another who wants the same may do it. Not so when cancelled: then this very
        # message comes again, with the same owner.
        await ports.claims.release(key, heard.owner)
        raise


async def _job(
    request: TrainingRequested, versioned: DatasetVersioned | None, heard: Heard, facts: Facts
) -> Job | TrainingFailed:
    """What is to be done, by the card as it is now, or why nothing can be."""
    defined = await facts.last(ProjectDefined, heard.project)
    if defined is None:
        return TrainingFailed(
            reason=f"the project {heard.project} has no scope card: apply one with `loopline project apply FILE`"
        )
    dataset = versioned or await _dataset(request.dataset_id, heard, facts)
    if dataset is None:
        return TrainingFailed(reason=_no_dataset(request.dataset_id, heard.project))
    plan = _plan(request, defined[0].card, dataset)
    try:
        plan = plan.model_copy(update={"parameters": checked(plan.recipe, plan.parameters)})
    except NotARecipe as error:
        return TrainingFailed(plan=plan, reason=str(error))
    hash_ = plan_hash(plan.dataset_id, plan.recipe, plan.parameters, plan.seed)
    return Job(
        project=heard.project,
        claim=claim_key(heard.project, hash_, heard.envelope.id if request.again else None),
        plan_hash=hash_,
        plan=plan,
        dataset_number=dataset.number,
        classes=dataset.classes,
        manifest=dataset.manifest,
        correlation_id=heard.envelope.correlation_id,
    )


async def _end_former(wanted: str, heard: Heard, ports: Ports) -> None:
    """End what an earlier try of this very message began and died in, where the card by now asks for something else."""
    for key, owner in (await ports.claims.held(all_claims(heard.project))).items():
        if owner == heard.owner and key != wanted:
            await ports.trainer.cancel(heard.project, key, "the scope card was changed meanwhile")
            await ports.claims.release(key, heard.owner)


async def _overlaps(heard: Heard, ports: Ports) -> bool:
    """Whether another training of the project is in work, or was when this was said and this waited for its end.

    Of two that look at once the later one yields.
    """
    owners = (await ports.claims.held(all_claims(heard.project))).values()
    if any(came_before(owner, heard.owner) for owner in owners):
        return True
    for end in (TrainingCompleted, TrainingFailed):
        last = await ports.facts.last(end, heard.project)
        if last and last[1].time > heard.envelope.time and last[1].causation_id != heard.envelope.id:
            return True
    return False


async def _train(job: Job, ports: Ports) -> AsyncGenerator[Event]:
    started = ports.clock()
    yield TrainingStarted(plan=job.plan, trainer=ports.replica)
    async with aclosing(ports.trainer.train(job)) as steps:
        async for step in steps:
            if isinstance(step, Made):
                yield TrainingCompleted(
                    plan=job.plan,
                    dataset_number=job.dataset_number,
                    manifest=job.manifest,
                    run_id=step.run_id,
                    model=step.model,
                    metrics=step.metrics,
                    seconds=ports.clock() - started,
                )
            else:
                yield TrainingProgressed(
                    plan=job.plan, stage=step.stage, done=step.done, total=step.total, metrics=step.metrics
                )


def _plan(request: TrainingRequested, card: ScopeCard, dataset: DatasetVersioned) -> TrainingPlan:
    """Another recipe than the card's has nothing to do with the card's parameters."""
    recipe = request.recipe or card.model.recipe
    of_card = card.model.parameters if recipe == card.model.recipe else {}
    return TrainingPlan(
        dataset_id=dataset.dataset_id,
        recipe=recipe,
        parameters={**of_card, **request.parameters},
        seed=card.model.seed if request.seed is None else request.seed,
    )


async def _dataset(dataset_id: str | None, heard: Heard, facts: Facts) -> DatasetVersioned | None:
    """The version that is asked for; without one the newest that was said before the request, whenever that is heard.

    Handed out again after a newer version was said it must be the same work: its claim and its run are there already.
    """
    asked = sequence(heard.owner)
    found = None
    async for event, _, seq in facts.read(DatasetVersioned, heard.project):
        if event.dataset_id == dataset_id or (dataset_id is None and seq < asked):
            found = event
    return found


def _no_dataset(dataset_id: str | None, project: str) -> str:
    if dataset_id is None:
        return f"{project} has no dataset version yet: label some images, then say dataset.requested"
    return f"{project} has no dataset version {dataset_id}: leave dataset_id out to train on the newest"
