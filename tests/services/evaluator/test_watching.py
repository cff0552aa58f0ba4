"""The watch over a whole life of a version, on a bus in memory."""

from datetime import timedelta
from unittest.mock import AsyncMock

import pytest

from contracts.events.drift import DriftDetected
from contracts.events.training import TrainingRequested
from services.chassis.errors import Retry
from tests.services.evaluator.watching import PROJECT, Killed, Memory, answer, feedback, mixed


def serving(**watch: object) -> Memory:
    """Version 1 serves and has answered 50 pictures, one in five defective."""
    memory = Memory()
    memory.define(**watch)
    memory.promote(1)
    memory.tell(*mixed(range(50)))
    return memory


async def test_without_a_change_nothing_is_said() -> None:
    memory = serving()
    watcher = memory.watcher()
    for start in range(100, 600, 50):
        memory.tell(*mixed(range(start, start + 50)))
        await watcher.look()
    assert memory.said(DriftDetected) == []
    state, _ = await memory.watched(PROJECT)
    assert {look.kind: look.drifting_since for look in state.looks} == dict.fromkeys(
        ("inputs", "classes", "confidence")
    )


async def test_a_drift_is_said_once_an_episode_and_again_after_it_was_over() -> None:
    memory = serving()
    watcher = memory.watcher()

    async def window(start: int, share: float) -> int:
        memory.tell(*mixed(range(start, start + 50), share))
        await watcher.look()
        return len(memory.said(DriftDetected))

    assert [await window(n, 0.9) for n in (100, 150, 200)] == [1, 1, 1]
    # One quiet window is not the end of it, two are.
    assert [await window(250, 0.2), await window(300, 0.9)] == [1, 1]
    assert [await window(n, 0.2) for n in (350, 400)] == [1, 1]
    assert [await window(n, 0.9) for n in (450, 500)] == [2, 2]


async def test_the_fact_has_its_window_its_numbers_and_the_pictures_that_drifted() -> None:
    memory = serving()
    memory.tell(*mixed(range(100, 150), 0.9))
    await memory.watcher().look()
    (drift,) = memory.said(DriftDetected)
    assert (drift.kind, drift.model_version, drift.window.count, drift.reference_count) == ("classes", 1, 50, 50)
    assert drift.statistic == pytest.approx(0.7)
    assert drift.statistic > drift.threshold
    assert drift.p_value <= drift.p_threshold
    assert len(drift.pictures) == 12
    assert {picture.label for picture in drift.pictures} == {"defective"}
    assert drift.sentence == (
        "Version 1 answers defective for 90% of the last 50 pictures; of its first 50 it was 20%. "
        "Is there more of it, or is the model mistaken?"
    )
    _, envelope = next(one for one in memory.stored if one[0] == drift)
    last_answer = memory.stored[-2][1]
    assert envelope.causation_id == last_answer.id


async def test_pictures_that_look_otherwise_are_named_first() -> None:
    memory = serving()
    changed = range(120, 150)
    memory.tell(*mixed(range(100, 120)), *mixed(changed, shift=2.0))
    await memory.watcher().look()
    (drift,) = memory.said(DriftDetected)
    assert drift.kind == "inputs"
    assert {picture.prediction_id for picture in drift.pictures} <= {f"p-{n}" for n in changed}


async def test_a_new_version_is_compared_with_its_own_first_answers() -> None:
    memory = serving()
    watcher = memory.watcher()
    memory.tell(*mixed(range(100, 150), 0.9))
    await watcher.look()
    memory.promote(2)
    memory.tell(*mixed(range(200, 300), 0.9, version=2))
    await watcher.look()
    state, _ = await memory.watched(PROJECT)
    assert (state.version, state.reference, [look.drifting_since for look in state.looks]) == (2, 50, [None] * 3)
    assert len(memory.said(DriftDetected)) == 1


async def test_answers_of_another_version_do_not_count() -> None:
    memory = serving()
    memory.tell(*mixed(range(100, 150), 0.9, version=2), *mixed(range(200, 249)))
    await memory.watcher().look()
    state, _ = await memory.watched(PROJECT)
    assert (state.waiting, state.looks) == (49, ())


async def test_answers_without_a_sketch_are_compared_by_what_they_have() -> None:
    memory = Memory()
    memory.define()
    memory.promote(1)
    memory.tell(*(one.model_copy(update={"sketch": ("", None)[n % 2]}) for n, one in enumerate(mixed(range(100)))))
    await memory.watcher().look()
    state, _ = await memory.watched(PROJECT)
    assert [look.kind for look in state.looks] == ["classes", "confidence"]


async def test_retraining_only_where_the_card_lets_it_and_never_more_often() -> None:
    memory = serving(retrain="when-drifting", at_most_every_h=1)
    watcher = memory.watcher()
    asked = []
    for start in range(100, 500, 50):
        memory.tell(*mixed(range(start, start + 50), 0.9))
        await watcher.look()
        asked.append(len(memory.said(TrainingRequested)))
        memory.time += timedelta(minutes=20)
    # Windows come every 20 minutes and 50 seconds: the third after a training is more than an hour later.
    assert asked == [1, 1, 1, 2, 2, 2, 3, 3]
    training = memory.said(TrainingRequested)[0]
    (drift,) = memory.said(DriftDetected)
    assert training.why == drift.sentence
    assert training.unless_training
    never = serving()
    never.tell(*mixed(range(100, 150), 0.9))
    await never.watcher().look()
    assert (len(never.said(DriftDetected)), never.said(TrainingRequested)) == (1, [])


async def test_a_new_version_does_not_let_it_train_more_often() -> None:
    memory = serving(retrain="when-drifting", at_most_every_h=1)
    watcher = memory.watcher()
    memory.tell(*mixed(range(100, 150), 0.9))
    await watcher.look()
    memory.promote(2)
    memory.tell(*mixed(range(200, 250), version=2), *mixed(range(250, 300), 0.9, version=2))
    await watcher.look()
    assert [drift.model_version for drift in memory.said(DriftDetected)] == [1, 2]
    assert len(memory.said(TrainingRequested)) == 1


@pytest.mark.parametrize("effects", range(6))
async def test_a_death_between_any_two_effects_changes_nothing(effects: int) -> None:
    undisturbed, memory = (serving(retrain="when-drifting") for _ in range(2))
    for one in (undisturbed, memory):
        one.tell(*mixed(range(100, 150), 0.9))
    await undisturbed.watcher().look()
    memory.dies_before = effects
    if effects < 5:
        with pytest.raises(Killed):
            await memory.watcher().look()
    memory.dies_before = -1
    await memory.watcher().look()
    await memory.watcher().look()

    def ids(of: Memory) -> set[str]:
        return {envelope.id for _, envelope in of.stored if envelope.source == "/services/evaluator"}

    assert ids(memory) == ids(undisturbed)
    assert len(ids(memory)) == 2
    assert (await memory.watched(PROJECT))[0] == (await undisturbed.watched(PROJECT))[0]


async def test_of_two_replicas_that_look_at_once_one_gives_way() -> None:
    memory = serving()
    slow, quick = memory.watcher(), memory.watcher()
    await slow.look()
    memory.tell(*mixed(range(100, 150), 0.9))
    before = memory.states[PROJECT]
    await quick.look()
    after = memory.states[PROJECT]
    # The slow one read the state before the quick one had changed it.
    read, memory.watched = memory.watched, AsyncMock(return_value=before)  # type: ignore[method-assign]
    with pytest.raises(Retry):
        await slow.look()
    memory.watched = read  # type: ignore[method-assign]
    await slow.look()
    assert len(memory.said(DriftDetected)) == 1
    assert memory.states[PROJECT] == after


async def test_accuracy_is_what_people_confirmed_among_what_they_judged() -> None:
    memory = serving(accuracy=0.9, judged=20)
    watcher = memory.watcher()
    memory.tell(*(feedback(n, right=n % 10 != 0) for n in range(20)))
    await watcher.look()
    assert memory.said(DriftDetected) == []
    memory.tell(*(feedback(n, right=n % 2 == 0) for n in range(20, 40)))
    await watcher.look()
    (drift,) = memory.said(DriftDetected)
    assert (drift.kind, drift.statistic, drift.threshold, drift.window.count) == ("accuracy", 0.5, 0.9, 20)
    assert "10 were right: 50% (95 % interval 30% to 70%)" in drift.sentence
    assert "People choose what they judge" in drift.sentence
    assert {picture.prediction_id for picture in drift.pictures} == {f"p-{n}" for n in range(21, 40, 2)}


async def test_who_only_corrects_says_nothing_of_the_accuracy() -> None:
    memory = serving(accuracy=0.9, judged=20)
    memory.tell(*(feedback(n, right=False) for n in range(20)))
    await memory.watcher().look()
    assert memory.said(DriftDetected) == []


async def test_of_two_words_about_one_answer_the_last_counts_and_other_versions_do_not() -> None:
    memory = serving(accuracy=0.9, judged=10)
    memory.tell(*(feedback(n, right=False) for n in range(9)), *(feedback(n, right=True) for n in range(9)))
    memory.tell(*(feedback(n, right=False, version=3) for n in range(20, 40)), feedback(50, right=True))
    await memory.watcher().look()
    state, _ = await memory.watched(PROJECT)
    (look,) = [look for look in state.looks if look.kind == "accuracy"]
    assert (look.statistic, look.count) == (1.0, 10)


async def test_what_the_card_does_not_want_is_not_watched() -> None:
    memory = serving(classes=None, inputs=None)
    memory.tell(*mixed(range(100, 150), 0.9))
    watcher = memory.watcher()
    await watcher.look()
    state, _ = await memory.watched(PROJECT)
    assert [look.kind for look in state.looks] == ["confidence"]
    # A limit that is taken off the card ends what it had found.
    memory.define(confidence=None, classes=None, inputs=None)
    await watcher.look()
    assert (await memory.watched(PROJECT))[0].looks == ()


async def test_a_project_without_a_serving_version_or_a_card_is_left_alone() -> None:
    memory = Memory()
    memory.tell(answer(1))
    memory.promote(1)
    await memory.watcher().look()
    assert memory.states == {}
