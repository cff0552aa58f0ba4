"""One function per event heard."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)
from services.chassis.errors import Busy
from services.chassis.heard import Heard
from services.trainer.asking import job_of
from services.trainer.cancelling import Unwanted, unless, until_cancelled, why_cancelled
from services.trainer.job import Job, Made
from services.trainer.plan import all_claims, came_before
from services.trainer.ports import CannotTrain, Claims, Facts, Trainer

Clock = Callable[[], float]

# So often is looked for the search that a request is to help with: 23 s in all.
_TRIES_TO_HELP = 5


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
    job = await job_of(request, versioned, heard, ports.facts)
    if request.helps:
        if isinstance(job, Job):
            await _help(job, heard, ports)
        return
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
        reason = reason or await why_cancelled(job, heard, ports.facts)
        # Its run may go on from an earlier try, which died. One that finished before it died is no longer cancelled.
        if reason and await ports.trainer.cancel(heard.project, key, reason):
            await ports.claims.release(key, heard.owner)
            yield TrainingCancelled(plan=job.plan, reason=reason)
            return
        async with aclosing(_train(job, heard, ports)) as facts:
            async for fact in facts:
                if isinstance(fact, TrainingCompleted):
                    # Kept before it is said: whoever is killed in between says it from the claim.
                    await ports.claims.finish(key, heard.owner, fact.model_dump(mode="json"))
                yield fact
    except Unwanted as unwanted:
        if not await ports.trainer.cancel(heard.project, key, str(unwanted)):
            raise Busy(f"{key} was finished in the moment in which it was cancelled") from unwanted
        await ports.claims.release(key, heard.owner)
        yield TrainingCancelled(plan=job.plan, reason=str(unwanted))
    except CannotTrain as error:
        await ports.claims.release(key, heard.owner)
        yield TrainingFailed(plan=job.plan, reason=str(error))
    except Exception:
        # Tried again later; until then another who wants the same may do it. Not so when cancelled: then this very
        # message comes again, with the same owner.
        await ports.claims.release(key, heard.owner)
        raise


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


async def _help(job: Job, heard: Heard, ports: Ports) -> None:
    """Share the work on a search until it needs no more help. Whoever owns it says what came of it."""
    if job.claim not in await ports.claims.held(all_claims(heard.project)):
        if heard.tries < _TRIES_TO_HELP:
            raise Busy(f"nobody is at {job.claim} yet")
        return
    try:
        async with aclosing(unless(until_cancelled(job, heard, ports.facts), ports.trainer.train(job))) as steps:
            async for _ in steps:
                pass
    except Unwanted as unwanted:
        # The run of the trial that was in work here may have begun after its owner had ended all others.
        await ports.trainer.cancel(heard.project, job.claim, str(unwanted))
    except CannotTrain:
        return


async def _train(job: Job, heard: Heard, ports: Ports) -> AsyncGenerator[Event]:
    started = ports.clock()
    yield TrainingStarted(plan=job.plan, trainer=ports.replica)
    async with aclosing(unless(until_cancelled(job, heard, ports.facts), ports.trainer.train(job))) as steps:
        async for step in steps:
            if isinstance(step, Made):
                found = {} if step.parameters is None else {"parameters": step.parameters}
                yield TrainingCompleted(
                    plan=job.plan.model_copy(update=found),
                    dataset_number=job.dataset_number,
                    manifest=job.manifest,
                    run_id=step.run_id,
                    model=step.model,
                    metrics=step.metrics,
                    seconds=ports.clock() - started,
                    doubts=step.doubts,
                    code_revision=step.code_revision,
                )
            else:
                yield TrainingProgressed(
                    plan=job.plan, stage=step.stage, done=step.done, total=step.total, metrics=step.metrics
                )
