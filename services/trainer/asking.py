"""What a request comes to, by the card as it is when it is heard: the job, or why there can be none."""

from contracts.events.dataset import DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingFailed, TrainingPlan, TrainingRequested
from contracts.project import ScopeCard
from services.chassis.heard import Heard
from services.chassis.recipes import NotARecipe, checked, checked_search
from services.trainer.job import Job
from services.trainer.plan import claim_key, plan_hash, sequence
from services.trainer.ports import Facts


async def job_of(
    request: TrainingRequested, versioned: DatasetVersioned | None, heard: Heard, facts: Facts
) -> Job | TrainingFailed:
    """What is to be done, or why nothing can be."""
    defined = await facts.last(ProjectDefined, heard.project)
    if defined is None:
        return TrainingFailed(
            reason=f"the project {heard.project} has no scope card: apply one with `loopline project apply FILE`"
        )
    dataset = versioned or await _dataset(request.dataset_id, heard, facts)
    if dataset is None:
        return TrainingFailed(reason=_no_dataset(request.dataset_id, heard.project))
    card = defined[0].card
    plan = _plan(request, card, dataset)
    try:
        plan = filled(plan)
    except NotARecipe as error:
        return TrainingFailed(plan=plan, reason=str(error))
    hash_ = hash_of(plan)
    return Job(
        project=heard.project,
        claim=claim_key(heard.project, hash_, (request.helps or heard.envelope.id) if request.again else None),
        plan_hash=hash_,
        plan=plan,
        dataset_number=dataset.number,
        classes=dataset.classes,
        manifest=dataset.manifest,
        correlation_id=heard.envelope.correlation_id,
        owner=heard.owner,
        helps=bool(request.helps),
        exports=card.model.export == "torch-export",
    )


def filled(plan: TrainingPlan) -> TrainingPlan:
    """The plan with every default, so that equal work has equal plans. What is searched for is no fixed parameter.

    Raises:
        NotARecipe: the recipe does not take it.
    """
    if plan.search is None:
        parameters = checked(plan.recipe, plan.parameters)
    else:
        parameters = checked_search(plan.recipe, plan.parameters, plan.search)
    return plan.model_copy(update={"parameters": parameters})


def hash_of(plan: TrainingPlan) -> str:
    """The natural key of a filled plan."""
    search = plan.search.model_dump(mode="json") if plan.search else None
    return plan_hash(plan.dataset_id, plan.recipe, plan.parameters, plan.seed, search)


def _plan(request: TrainingRequested, card: ScopeCard, dataset: DatasetVersioned) -> TrainingPlan:
    """Another recipe than the card's has nothing to do with the card's parameters."""
    recipe = request.recipe or card.model.recipe
    of_card = card.model.parameters if recipe == card.model.recipe else {}
    return TrainingPlan(
        dataset_id=dataset.dataset_id,
        recipe=recipe,
        parameters={**of_card, **request.parameters},
        seed=card.model.seed if request.seed is None else request.seed,
        search=request.search,
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
