from contracts.events.feedback import FeedbackRejected
from contracts.events.prediction import PredictionFailed
from tests.said import answered, card, enveloped, given
from webapp.read_models.live import LiveFeed


def feed(*said: tuple, kept: int = 500) -> LiveFeed:
    made = LiveFeed(kept)
    for event, envelope in said:
        made.hear(event, envelope)
    return made


def shown(made: LiveFeed) -> list[str]:
    return [prediction.id for prediction in made.view("solar").predictions]


def test_newest_predictions_come_first_whatever_the_order_of_arrival() -> None:
    made = feed(enveloped(answered("b"), 2), enveloped(answered("c"), 3), enveloped(answered("a"), 1))
    assert shown(made) == ["c", "b", "a"]


def test_only_the_last_predictions_are_kept_but_all_are_counted() -> None:
    labels = ["defective", "functional", "functional"]
    made = feed(*(enveloped(answered(str(n), labels[n % 3]), n) for n in range(30)), kept=5)
    view = made.view("solar")
    assert shown(made) == ["29", "28", "27", "26", "25"]
    assert view.numbers.predictions == 30
    assert view.numbers.by_class == (("functional", 20), ("defective", 10))


def test_a_prediction_heard_twice_counts_once() -> None:
    made = feed(enveloped(answered("a"), 1), enveloped(answered("b"), 2), enveloped(answered("a"), 3))
    assert shown(made) == ["b", "a"]
    assert made.view("solar").numbers.predictions == 2


def test_memory_does_not_grow_with_what_is_heard() -> None:
    said = []
    for n in range(300):
        said += [enveloped(answered(str(n)), n), enveloped(given(str(n), "functional"), n)]
    project = feed(*said, kept=10)._projects["solar"]
    assert max(len(project._predictions), len(project._feedback), len(project._heard)) <= 100


def test_feedback_heard_before_its_prediction_is_shown_with_it() -> None:
    made = feed(enveloped(given("a", "functional", by="ines"), 2), enveloped(answered("a"), 1))
    word = made.view("solar").feedback["a"]
    assert (word.correct, word.given_by, word.is_correction) == ("functional", "ines", True)


def test_the_last_word_about_a_prediction_counts_and_counts_once() -> None:
    first, second = enveloped(given("a", "functional"), 2), enveloped(given("a", "defective", by="bo"), 3)
    made = feed(enveloped(answered("a"), 1), second, first, second)
    view = made.view("solar")
    assert (view.feedback["a"].given_by, view.feedback["a"].is_correction) == ("bo", False)
    assert (view.numbers.checked, view.numbers.corrected, view.numbers.correction_rate) == (1, 0, 0.0)


def test_correction_rate_is_of_the_checked_answers() -> None:
    said = [enveloped(answered(str(n)), n) for n in range(10)]
    said += [enveloped(given("0", "functional"), 20), enveloped(given("1", "defective"), 21)]
    assert feed(*said).view("solar").numbers.correction_rate == 0.5
    assert feed(*said[:10]).view("solar").numbers.correction_rate is None


def test_a_refusal_belongs_to_the_word_that_caused_it() -> None:
    first = enveloped(given("a", "brokn"), 2)
    refusal = enveloped(FeedbackRejected(prediction_id="a", reason="no such class"), 3, cause=first[1].id)
    made = feed(enveloped(answered("a"), 1), refusal, first)
    assert made.view("solar").feedback["a"].rejection == "no such class"
    made.hear(*enveloped(given("a", "functional"), 4))
    assert made.view("solar").feedback["a"].rejection is None


def test_classes_come_from_the_newest_card_and_before_any_from_the_answers() -> None:
    made = feed(enveloped(answered("a"), 5))
    assert made.view("solar").classes == ("functional", "defective")
    made.hear(*enveloped(card(("functional", "defective", "soiled")), 2))
    made.hear(*enveloped(card(("good", "bad")), 1))
    assert made.view("solar").classes == ("functional", "defective", "soiled")


def test_unanswered_requests_are_counted_with_the_last_reason() -> None:
    made = feed(
        enveloped(PredictionFailed(prediction_id="b", reason="truncated"), 2),
        enveloped(PredictionFailed(prediction_id="a", reason="not a picture"), 1),
    )
    view = made.view("solar")
    assert (view.numbers.failed, view.last_failure, view.predictions) == (2, "truncated", ())


def test_projects_are_kept_apart_and_a_view_does_not_change_later() -> None:
    made = feed(enveloped(answered("a"), 1), enveloped(answered("b"), 1, project="digits"))
    before = made.view("solar")
    made.hear(*enveloped(answered("c", version=2), 2))
    assert [prediction.id for prediction in before.predictions] == ["a"]
    assert (shown(made), made.view("solar").answering_version) == (["c", "a"], 2)
    assert made.view("unheard-of").predictions == ()
