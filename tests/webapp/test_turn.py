from contracts.events.deployment import DeploymentFailed, DeploymentStarted
from contracts.events.training import TrainingCompleted, TrainingProgressed
from tests.said import BLOB, MODEL, PLAN, deployed, enveloped, judged, model_version, versioned
from webapp.read_models.turn import Turn

TRAINED = TrainingCompleted(
    plan=PLAN, dataset_number=1, manifest=BLOB, run_id="a" * 32, model=MODEL, metrics={}, seconds=14.2
)
FIRST_TURN = [
    enveloped(versioned(1), 1, turn="first"),
    enveloped(TRAINED, 2, turn="first"),
    enveloped(judged("passed", "All 3 gates passed."), 3, turn="first"),
    enveloped(deployed(1), 4, turn="first"),
]


def told(*said: tuple) -> dict[str, tuple[str, str, bool]]:
    turn = Turn()
    for event, envelope in said:
        turn.hear(event, envelope)
    return {step.name: (step.words, step.tone, step.earlier) for step in turn.steps()}


def test_a_whole_turn_is_told_in_four_steps() -> None:
    assert told(*FIRST_TURN) == {
        "Dataset": ("1 with 300 labels, 300 of them new", "good", False),
        "Training": ("done in 14 s on dataset 1", "good", False),
        "Verdict": ("All 3 gates passed.", "good", False),
        "Serving": ("v1", "good", False),
    }


def test_order_and_repetition_of_the_facts_do_not_matter() -> None:
    assert told(*FIRST_TURN[::-1], *FIRST_TURN) == told(*FIRST_TURN)


def test_a_new_dataset_marks_what_belongs_to_the_turn_before() -> None:
    steps = told(*FIRST_TURN, enveloped(versioned(2), 5, turn="second"))
    assert [name for name, (_, _, earlier) in steps.items() if earlier] == ["Training", "Verdict"]
    assert steps["Serving"][0] == "v1"


def test_progress_said_in_the_same_instant_does_not_hide_the_end() -> None:
    progress = TrainingProgressed(plan=PLAN, stage="log", done=1, total=1)
    assert told(enveloped(TRAINED, 2), enveloped(progress, 2))["Training"][0].startswith("done")


def test_a_rollout_that_failed_leaves_the_version_that_serves() -> None:
    started = enveloped(DeploymentStarted(version=model_version(2), nodes=("local",)), 5)
    failed = enveloped(DeploymentFailed(version=model_version(2), node="local", reason="golden check"), 6)
    assert told(*FIRST_TURN, started)["Serving"][:2] == ("v1, rolling out v2", "busy")
    assert told(*FIRST_TURN, started, failed)["Serving"][:2] == ("v1; the rollout of v2 failed: golden check", "bad")


def test_a_verdict_that_is_no_pass_is_told_with_its_sentence() -> None:
    verdict = told(enveloped(judged("cannot-be-judged", "Too few defective cells."), 1))["Verdict"]
    assert verdict[:2] == ("Too few defective cells.", "bad")


def test_nothing_is_told_of_a_project_without_a_turn() -> None:
    assert told() == {}
