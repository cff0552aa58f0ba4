"""The accountant is given bad books, one fault at a time, and must name each."""

from dataclasses import replace

import pytest

from contracts.events.base import Event
from contracts.events.dataset import DatasetRequested
from contracts.events.deployment import DeploymentFailed
from contracts.events.evaluation import EvaluationFailed
from contracts.events.image import ImageRejected
from contracts.events.model import ModelApprovalRequested, ModelApproved, ModelDemoted, ModelPromoted, ModelRegistered
from contracts.events.prediction import PredictionFailed
from contracts.events.training import TrainingCancelled, TrainingFailed
from tests.chaos.accountant import CHECKS, audit
from tests.chaos.books import Annotation, Books, Dead, Fact, Run, Sent, Task, Version, Waiting
from tests.chaos.good_books import GOOD, PLAN, VERSION, answered, completed, image, judged, label, versioned
from tests.chaos.telling import counted, told


def without(*ids: str) -> Books:
    return replace(GOOD, facts=tuple(fact for fact in GOOD.facts if fact.id not in ids))


def instead_of(id_: str, fact: Fact) -> Books:
    return replace(GOOD, facts=(*without(id_).facts, fact))


def with_fact(id_: str, event: Event, cause: str = "") -> Books:
    return replace(GOOD, facts=(*GOOD.facts, Fact(id_, event, cause)))


def with_task(*tasks: Task) -> Books:
    changed = {task.id for task in tasks}
    return replace(GOOD, tasks=(*(task for task in GOOD.tasks if task.id not in changed), *tasks))


APPROVED = ModelApproved(version=VERSION, approved_by="gates", why="…")
OTHER = VERSION.model_copy(update={"version": 2, "run_id": "run-2"})
DEMOTED = ModelDemoted(version=VERSION, demoted_by="ines", why="…")
A, B, C = "a" * 64, "b" * 64, "c" * 64
UPPER_A = Annotation(11, "upper", "import")

BAD: list[tuple[str, str, Books]] = [
    ("lost", "acknowledged", replace(GOOD, sent=(*GOOD.sent, Sent("x", DatasetRequested())))),
    ("lost", "acknowledged", without("corrected", "label-2")),
    ("prediction", "no outcome", without("answered", "asked-about")),
    (
        "prediction",
        "prediction.failed again",
        with_fact("again", PredictionFailed(prediction_id="asked", reason="…"), "asked"),
    ),
    (
        "prediction",
        "failed: no node",
        instead_of("answered", Fact("f", PredictionFailed(prediction_id="asked", reason="no node"), "asked")),
    ),
    ("prediction", "nobody asked", with_fact("x", answered("stranger"), "stranger")),
    ("task", "0 tasks", replace(GOOD, tasks=GOOD.tasks[1:])),
    ("task", "2 tasks", with_task(Task(9, A, (UPPER_A,)))),
    ("task", "nobody asked about", with_task(Task(9, "e" * 64, (Annotation(19, "upper", "import"),)))),
    (
        "task",
        "was refused: Label Studio",
        with_fact("x", ImageRejected(image=image("a"), reason="Label Studio"), "added"),
    ),
    ("task", "no outcome", without("rejected")),
    ("annotation", "0 for 1 labels of import", with_task(Task(1, A))),
    ("annotation", "2 for 1 labels of import", with_task(Task(1, A, (UPPER_A, Annotation(14, "upper", "import"))))),
    ("annotation", "nobody gave", with_task(Task(1, A, (UPPER_A, Annotation(14, "upper", "a stranger"))))),
    ("annotation", "never labelled", with_task(Task(3, C))),
    ("label", "said 0 times", without("label-2")),
    ("label", "said 2 times", with_fact("x", label(12, "b"))),
    ("label", "otherwise than it is", with_task(Task(1, A, (Annotation(11, "lower", "import"),)))),
    ("label", "which is not there", with_fact("x", label(99, "a"))),
    ("dataset", "numbered [1, 1]", with_fact("x", versioned(1))),
    ("dataset", "numbered [1, 3]", with_fact("x", versioned(3))),
    ("dataset", "has 2 of 3", instead_of("dataset", Fact("dataset", versioned(1, labels=2)))),
    ("training", "no outcome", without("trained")),
    ("training", "training.cancelled x", with_fact("x", TrainingCancelled(plan=PLAN, reason="superseded"), "dataset")),
    (
        "training",
        "for dataset.versioned dataset: the child died",
        with_fact("x", TrainingFailed(reason="the child died"), "dataset"),
    ),
    ("training", "no outcome", without("training-failed")),
    ("run", "MLflow has no run run-1", replace(GOOD, runs=())),
    ("run", "left RUNNING", replace(GOOD, runs=(*GOOD.runs, Run("run-2", "RUNNING", "train.p.2")))),
    (
        "run",
        "left KILLED",
        replace(
            GOOD,
            runs=(*GOOD.runs, Run("run-2", "KILLED", "train.p.2")),
            claims={**GOOD.claims, "train.p.2": {"owner": "LOOP:9"}},
        ),
    ),
    ("run", "no training.completed names it", replace(GOOD, runs=(*GOOD.runs, Run("run-2")))),
    ("run", "2 runs for the claim train.p.1", replace(GOOD, runs=(*GOOD.runs, Run("run-2", claim="train.p.1")))),
    ("evaluation", "no outcome", without("judged")),
    ("evaluation", "evaluation.completed x", with_fact("x", judged("failed"), "trained")),
    (
        "evaluation",
        "could not be judged: no test set",
        with_fact("x", EvaluationFailed(run_id="run-1", model_sha256="0" * 64, reason="no test set"), "trained"),
    ),
    ("version", "has 0 versions", replace(GOOD, versions=())),
    ("version", "has 2 versions", replace(GOOD, versions=(*GOOD.versions, Version(2, "run-1")))),
    ("version", "passed: False", replace(GOOD, versions=(*GOOD.versions, Version(2, "run-2")))),
    ("version", "registered 0 times", without("registered")),
    ("version", "registered 2 times", with_fact("x", ModelRegistered(version=VERSION), "judged")),
    ("version", "which MLflow has not", with_fact("x", ModelRegistered(version=OTHER), "judged")),
    ("approval", "no outcome", without("approved", "deployed", "promoted")),
    ("approval", "model.approved x", with_fact("x", APPROVED, "judged")),
    ("rollout", "no outcome", without("deployed")),
    (
        "rollout",
        "deployment.failed x",
        with_fact("x", DeploymentFailed(version=VERSION, node="all", reason="overtaken by version 2"), "approved"),
    ),
    (
        "rollout",
        "could not be rolled out: no memory",
        with_fact("x", DeploymentFailed(version=VERSION, node="n", reason="no memory"), "approved"),
    ),
    (
        "approval",
        "model.approval-requested x",
        with_fact("x", ModelApprovalRequested(version=VERSION, why="…"), "judged"),
    ),
    ("demotion", "no outcome", with_fact("x", DEMOTED)),
    (
        "demotion",
        "does not put another version back",
        replace(GOOD, facts=(*GOOD.facts, Fact("x", DEMOTED), Fact("y", APPROVED, "x"))),
    ),
    ("champion", "promoted twice", with_fact("x", ModelPromoted(version=VERSION), "deployed")),
    ("champion", "champion in MLflow None", replace(GOOD, champion=None)),
    ("champion", "served by Triton 2", replace(GOOD, served=2)),
    ("champion", "promoted last None", without("promoted")),
    ("unsettled", "3 messages waiting", replace(GOOD, waiting=(Waiting("trainer-training", pending=3),))),
    ("unsettled", "1 unacked", replace(GOOD, waiting=(Waiting("trainer-training", unacked=1),))),
    ("dead", "should be a dead letter", replace(GOOD, dead={})),
    ("dead", "Retry: no bus", replace(GOOD, dead={**GOOD.dead, Dead("LOOP", 8, "trainer-training"): "Retry: no bus"})),
    ("claim", "train.p.2 of LOOP:2 has no result", replace(GOOD, claims={"train.p.2": {"owner": "LOOP:2"}})),
]


def test_good_books_have_no_finding() -> None:
    assert told(audit(GOOD)) == ""


@pytest.mark.parametrize(("kind", "what", "books"), BAD, ids=[f"{kind}: {what}" for kind, what, _ in BAD])
def test_a_fault_is_found_and_named(kind: str, what: str, books: Books) -> None:
    found = [finding for finding in audit(books) if finding.kind == kind and what in finding.what]
    assert found, told(audit(books)) or "nothing was found"


def test_every_check_complains_of_some_bad_books() -> None:
    silent = [check.__name__ for check in CHECKS if not any(list(check(books)) for _, _, books in BAD)]
    assert silent == []


def test_a_candidate_from_an_older_dataset_need_not_be_approved() -> None:
    newer = ModelApproved(version=OTHER.model_copy(update={"dataset_number": 2}), approved_by="gates", why="…")
    books = replace(
        GOOD,
        facts=(*without("approved", "deployed", "promoted").facts, Fact("newer", newer, "elsewhere")),
    )
    assert [finding for finding in audit(books) if finding.kind == "approval"] == []


def test_a_person_may_be_asked_instead() -> None:
    asked = Fact("asked-a-person", ModelApprovalRequested(version=VERSION, why="…"), "judged")
    facts = (*without("approved", "deployed", "promoted").facts, asked)
    assert [finding for finding in audit(replace(GOOD, facts=facts)) if finding.kind == "approval"] == []


def test_a_person_may_approve_and_what_is_demoted_gives_way() -> None:
    facts = (
        *GOOD.facts,
        Fact("by-a-person", ModelApproved(version=OTHER, approved_by="ines", why="…"), "registered"),
        Fact("demoted", ModelDemoted(version=OTHER, demoted_by="ines", why="…")),
        Fact("back", ModelApproved(version=VERSION, approved_by="ines", why="…", instead_of=2), "demoted"),
    )
    found = audit(replace(GOOD, facts=facts))
    assert {finding.kind for finding in found} == {"rollout"}, "no rollout of these two was written down"


def test_an_overtaken_rollout_is_an_outcome() -> None:
    overtaken = DeploymentFailed(version=OTHER, node="all", reason="overtaken by version 3, which serves")
    facts = (
        *GOOD.facts,
        Fact("other", ModelApproved(version=OTHER, approved_by="gates", why="…"), "x"),
        Fact("overtaken", overtaken, "other"),
    )
    assert [finding for finding in audit(replace(GOOD, facts=facts)) if finding.kind == "rollout"] == []


def test_findings_are_told_by_kind_and_no_more_than_ten_of_each() -> None:
    facts = tuple(Fact(f"x{number}", answered("stranger"), "stranger") for number in range(12))
    lines = told(audit(replace(GOOD, facts=(*GOOD.facts, *facts)))).splitlines()
    assert lines[0] == "prediction: 12"
    assert len(lines) == 11


def test_a_fact_that_is_stored_twice_is_counted_once() -> None:
    figures = counted(GOOD)
    assert figures["model.promoted"] == 1
    assert figures["facts stored twice"] == 1
    assert figures["prediction.requested"] == 2


def test_a_second_word_of_one_training_needs_no_second_run() -> None:
    facts = (*GOOD.facts, Fact("again", completed(), "elsewhere"))
    assert [finding for finding in audit(replace(GOOD, facts=facts)) if finding.kind == "run"] == []


def test_a_killed_run_whose_claim_was_given_back_is_in_order() -> None:
    assert audit(replace(GOOD, runs=(*GOOD.runs, Run("run-2", "KILLED", "train.p.2")))) == []
