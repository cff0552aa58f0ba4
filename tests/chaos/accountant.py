"""The accountant: every cause has exactly one effect, nothing is lost, doubled or left lying. Looks at books only."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelSubmitted, LabelWithdrawn
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelPromoted,
    ModelRegistered,
)
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from contracts.events.training import TrainingCancelled, TrainingCompleted, TrainingFailed, TrainingRequested
from tests.chaos.books import INSPECTOR, Books, Fact, Finding, Sent

Check = Callable[[Books], Iterator[Finding]]


def audit(books: Books) -> list[Finding]:
    """Everything that is wrong."""
    return [finding for check in CHECKS for finding in check(books)]


def what_was_acknowledged_is_stored(books: Books) -> Iterator[Finding]:
    """A PubAck is a promise. Requests leave their stream when they are answered, so their answers stand for them."""
    stored = {fact.id for fact in books.facts}
    for sent in books.sent:
        if sent.id not in stored and not isinstance(sent.event, PredictionRequested):
            yield Finding("lost", f"{sent.event.name()} {sent.id} was acknowledged and is not stored")


def predictions(books: Books) -> Iterator[Finding]:
    """Every request has one outcome, and every outcome a request."""
    asked = {sent.id: sent for sent in books.sent if isinstance(sent.event, PredictionRequested)}
    for sent in asked.values():
        yield from _one("prediction", sent, books.caused(sent.id, PredictionCompleted, PredictionFailed))
        for failed in books.caused(sent.id, PredictionFailed):
            if not sent.refused:
                yield Finding("prediction", f"{sent.id} failed: {_reason(failed)}")
    for fact, _ in [*books.of(PredictionCompleted), *books.of(PredictionFailed)]:
        if fact.cause not in asked:
            yield Finding("prediction", f"{fact.name} {fact.id} answers {fact.cause or 'nobody'}, which nobody asked")


def tasks(books: Books) -> Iterator[Finding]:
    """Every image that was added or corrected has one task, unless it was refused for its content."""
    refused = {sent.id for sent in books.sent if sent.refused}
    wanted: defaultdict[str, list[Fact]] = defaultdict(list)
    about: list[tuple[Fact, ImageAdded | FeedbackGiven]] = [*books.of(ImageAdded), *books.of(FeedbackGiven)]
    for fact, event in about:
        noes = books.caused(fact.id, ImageRejected, FeedbackRejected)
        if fact.id in refused:
            yield from _one("task", fact, noes)
            continue
        yield from (Finding("task", f"{fact.name} {fact.id} was refused: {_reason(no)}") for no in noes)
        wanted[event.image.sha256].append(fact)
    made = Counter(task.sha256 for task in books.tasks)
    for sha256, facts in wanted.items():
        if made[sha256] != 1:
            yield Finding("task", f"{made[sha256]} tasks for the image {sha256[:12]} of {facts[0].name} {facts[0].id}")
    for task in books.tasks:
        if task.sha256 not in wanted:
            yield Finding("task", f"task {task.id} is of the image {task.sha256[:12]}, which nobody asked about")


def annotations(books: Books) -> Iterator[Finding]:
    """Every label that was given on the bus is one annotation; the inspector labels a task once at most."""
    refused = {sent.id for sent in books.sent if sent.refused}
    given: Counter[tuple[str, str]] = Counter()
    for fact, added in books.of(ImageAdded):
        if added.label and fact.id not in refused:
            given[added.image.sha256, added.labelled_by] += 1
    for fact, feedback in books.of(FeedbackGiven):
        if fact.id not in refused:
            given[feedback.image.sha256, feedback.given_by] += 1
    found = Counter((task.sha256, one.by) for task in books.tasks for one in task.annotations)
    for (sha256, by), count in given.items():
        if found[sha256, by] != count:
            yield Finding("annotation", f"{found[sha256, by]} for {count} labels of {by} on the image {sha256[:12]}")
    for (sha256, by), count in found.items():
        if (sha256, by) not in given and (by != INSPECTOR or count != 1):
            yield Finding("annotation", f"{count} of {by or 'nobody'} on the image {sha256[:12]}, which nobody gave")
    for task in books.tasks:
        if not task.annotations:
            yield Finding("annotation", f"task {task.id} of the image {task.sha256[:12]} was never labelled")


def labels(books: Books) -> Iterator[Finding]:
    """Every annotation was said once, as it is; one that is gone was withdrawn."""
    said: defaultdict[int, list[LabelSubmitted]] = defaultdict(list)
    for _, event in books.of(LabelSubmitted):
        said[event.annotation_id].append(event)
    known = set()
    for task in books.tasks:
        for one in task.annotations:
            known.add(one.id)
            if len(said[one.id]) != 1:
                yield Finding("label", f"annotation {one.id} of task {task.id} was said {len(said[one.id])} times")
            elif (said[one.id][0].label, said[one.id][0].image_sha256) != (one.label, task.sha256):
                yield Finding("label", f"annotation {one.id} of task {task.id} was said otherwise than it is")
    withdrawn = {event.annotation_id for _, event in books.of(LabelWithdrawn)}
    for id_ in said:
        if id_ not in known | withdrawn:
            yield Finding("label", f"label.submitted tells of annotation {id_}, which is not there")


def datasets(books: Books) -> Iterator[Finding]:
    """Versions are numbered without a gap, none twice, and the last one has all that is labelled."""
    numbers = sorted(event.number for _, event in books.of(DatasetVersioned))
    if numbers != list(range(1, len(numbers) + 1)):
        yield Finding("dataset", f"the versions are numbered {numbers}")
    labelled = len({task.sha256 for task in books.tasks if task.annotations})
    last = max((event for _, event in books.of(DatasetVersioned)), key=lambda event: event.number, default=None)
    if last and last.labels != labelled:
        yield Finding("dataset", f"the last version, {last.number}, has {last.labels} of {labelled} labelled images")


def trainings(books: Books) -> Iterator[Finding]:
    """Every dataset version and every request has one outcome; a failure only where it was asked for."""
    refused = {sent.id for sent in books.sent if sent.refused}
    # Whoever only helps with a search says nothing of its own.
    requested = [cause for cause, event in books.of(TrainingRequested) if not event.helps]
    for cause in [*(cause for cause, _ in books.of(DatasetVersioned)), *requested]:
        outcomes = books.caused(cause.id, TrainingCompleted, TrainingFailed, TrainingCancelled)
        yield from _one("training", cause, outcomes)
        for outcome in outcomes:
            if isinstance(outcome.event, TrainingFailed) != (cause.id in refused):
                yield Finding("training", f"{outcome.name} for {cause.name} {cause.id}: {_reason(outcome)}")


def runs(books: Books) -> Iterator[Finding]:
    """Every training that was completed has one finished run, no other run is left open, no claim has two."""
    completed = {event.run_id: fact for fact, event in books.of(TrainingCompleted)}
    there = {run.id for run in books.runs}
    for run_id, fact in completed.items():
        if run_id not in there:
            yield Finding("run", f"MLflow has no run {run_id} of training.completed {fact.id}")
    for run in books.runs:
        if run.status == "KILLED" and run.claim not in books.claims:
            continue  # a training that was cancelled: its claim was given back
        if run.status != "FINISHED":
            yield Finding("run", f"the run {run.id} ({run.claim}) is left {run.status}")
        elif run.id not in completed:
            yield Finding("run", f"the run {run.id} ({run.claim}) is finished, and no training.completed names it")
    for claim, count in Counter(run.claim for run in books.runs if run.claim).items():
        if count > 1:
            yield Finding("run", f"{count} runs for the claim {claim}")


def evaluations(books: Books) -> Iterator[Finding]:
    """Every training that was completed was judged once."""
    for fact, _ in books.of(TrainingCompleted):
        outcomes = books.caused(fact.id, EvaluationCompleted, EvaluationFailed)
        yield from _one("evaluation", fact, outcomes)
        for outcome in outcomes:
            if isinstance(outcome.event, EvaluationFailed):
                yield Finding("evaluation", f"{fact.name} {fact.id} could not be judged: {outcome.event.reason}")


def versions(books: Books) -> Iterator[Finding]:
    """Every run that passed has one version, no other run has one, and each version was said once."""
    passed = {event.run_id for _, event in books.of(EvaluationCompleted) if event.verdict == "passed"}
    made = Counter(version.run_id for version in books.versions)
    for run_id in passed | set(made):
        if made[run_id] != (run_id in passed):
            yield Finding("version", f"the run {run_id} has {made[run_id]} versions, and passed: {run_id in passed}")
    said = Counter((event.version.version, event.version.run_id) for _, event in books.of(ModelRegistered))
    for version in books.versions:
        if said[version.number, version.run_id] != 1:
            times = said[version.number, version.run_id]
            yield Finding("version", f"version {version.number} of run {version.run_id} was registered {times} times")
    for number, run_id in set(said) - {(version.number, version.run_id) for version in books.versions}:
        yield Finding("version", f"model.registered tells of version {number} of run {run_id}, which MLflow has not")


def rollouts(books: Books) -> Iterator[Finding]:
    """What passed was approved once, or a person asked, unless a newer one was before; an approval has one outcome."""
    newest = max((event.version.dataset_number for _, event in books.of(ModelApproved)), default=0)
    for fact, evaluation in books.of(EvaluationCompleted):
        approvals = books.caused(fact.id, ModelApproved, ModelApprovalRequested)
        may_be_none = evaluation.verdict != "passed" or evaluation.dataset_number < newest
        if not may_be_none or len(approvals) > 1:
            yield from _one("approval", fact, approvals)
    for fact, _ in books.of(ModelApproved):
        outcomes = books.caused(fact.id, DeploymentCompleted, DeploymentFailed)
        yield from _one("rollout", fact, outcomes)
        for outcome in outcomes:
            if isinstance(outcome.event, DeploymentFailed) and not outcome.event.reason.startswith("overtaken"):
                yield Finding("rollout", f"{fact.name} {fact.id} could not be rolled out: {outcome.event.reason}")


def demotions(books: Books) -> Iterator[Finding]:
    """Whoever is demoted while it serves gives way to one other version, once."""
    for fact, event in books.of(ModelDemoted):
        put_back = books.caused(fact.id, ModelApproved)
        served = any(deployed.version.version == event.version.version for _, deployed in books.of(DeploymentCompleted))
        if served or put_back:
            yield from _one("demotion", fact, put_back)
        for one in put_back:
            approved = one.event
            assert isinstance(approved, ModelApproved)
            if approved.version.version == event.version.version or approved.instead_of != event.version.version:
                yield Finding("demotion", f"{one.name} {one.id} does not put another version back for {fact.id}")


def champions(books: Books) -> Iterator[Finding]:
    """Who serves, who carries the alias and who was promoted last are the same."""
    promoted = books.of(ModelPromoted)
    for fact, _ in books.of(DeploymentCompleted):
        if len(books.caused(fact.id, ModelPromoted)) > 1:
            yield Finding("champion", f"{fact.name} {fact.id} was promoted twice")
    last = promoted[-1][1].version.version if promoted else None
    if not last == books.champion == books.served:
        yield Finding(
            "champion", f"promoted last {last}, champion in MLflow {books.champion}, served by Triton {books.served}"
        )


def unsettled(books: Books) -> Iterator[Finding]:
    """Nothing waits and nothing is unacked."""
    for one in books.waiting:
        if one.pending or one.unacked:
            yield Finding("unsettled", f"{one.durable} has {one.pending} messages waiting and {one.unacked} unacked")


def dead_letters(books: Books) -> Iterator[Finding]:
    """What was put in to become a dead letter is one, and nothing else is."""
    for dead in sorted(books.injected - set(books.dead)):
        yield Finding("dead", f"{dead.stream}:{dead.seq} should be a dead letter of {dead.durable}")
    for dead in sorted(set(books.dead) - books.injected):
        yield Finding("dead", f"{dead.stream}:{dead.seq} of {dead.durable}: {books.dead[dead]}")


def claims(books: Books) -> Iterator[Finding]:
    """Every claim on a piece of work has its result; a lease is no claim."""
    for key, value in books.claims.items():
        if not key.startswith("lease.") and "result" not in value:
            yield Finding("claim", f"{key} of {value.get('owner')} has no result")


CHECKS: tuple[Check, ...] = (
    what_was_acknowledged_is_stored, predictions, tasks, annotations, labels, datasets, trainings, runs, evaluations,
    versions, rollouts, demotions, champions, unsettled, dead_letters, claims,
)  # fmt: skip


def _one(kind: str, cause: Fact | Sent, outcomes: list[Fact]) -> Iterator[Finding]:
    """A finding unless there is exactly one outcome."""
    if len(outcomes) != 1:
        found = ", ".join(f"{outcome.name} {outcome.id}" for outcome in outcomes) or "no outcome"
        yield Finding(kind, f"{cause.event.name()} {cause.id} has {found}")


def _reason(fact: Fact) -> str:
    event: Event = fact.event
    return str(getattr(event, "reason", event.name()))
