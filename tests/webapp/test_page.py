"""The page as Streamlit draws it, over a subscription that hears nothing but what the test says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from services.chassis.blobs import Blobs
from tests.said import answered, card, deployed, enveloped, given, versioned
from webapp import shared
from webapp.known import Known, Link
from webapp.pictures import Pictures
from webapp.read_models.live import Feedback, Prediction
from webapp.settings import WebappSettings
from webapp.subscription import NotSaid

APP = str(Path(__file__).parents[2] / "webapp" / "app.py")


class FakeSubscription(Known):
    def __init__(self) -> None:
        super().__init__(500)
        self.settings = WebappSettings(webapp_tiles=4)
        self.said: list[tuple[str, str, str]] = []
        self.refuses = ""
        self.found(link=Link(up=True), projects=("solar",))

    def give_feedback(self, project: str, prediction: Prediction, correct: str, given_by: str) -> Feedback:
        if self.refuses:
            raise NotSaid(self.refuses)
        self.said.append((prediction.id, correct, given_by))
        self.hear(*enveloped(given(prediction.id, correct, given_by, prediction.label), 100 + len(self.said)))
        word = self.feedback(project, prediction.id)
        assert word is not None
        return word


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSubscription:
    fake = FakeSubscription()
    monkeypatch.setattr(shared, "subscription", lambda: fake)
    monkeypatch.setattr(shared, "pictures", lambda: Pictures(Blobs(str(tmp_path))))
    return fake


@pytest.fixture
def page(live: FakeSubscription) -> Callable[[], AppTest]:
    def draw() -> AppTest:
        drawn = AppTest.from_file(APP, default_timeout=20).run()
        assert not drawn.exception
        return drawn

    return draw


def words(page: AppTest) -> str:
    return "\n".join(element.value for element in (*page.markdown, *page.caption, *page.info, *page.warning))


def answers(page: AppTest) -> list[str]:
    return [element.value for element in page.markdown if element.value.startswith("**") and "\\" not in element.value]


def test_without_a_project_the_page_says_how_to_make_one(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    live.found(projects=())
    assert "loopline project apply" in words(page())


def test_without_predictions_the_page_says_how_to_ask(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    live.hear(*enveloped(card(), 0))
    drawn = words(page())
    assert "loopline predict IMAGE --project solar" in drawn
    assert "No model serves" in drawn
    live.hear(*enveloped(deployed(1), 1))
    assert "No model serves" not in words(page())


def test_a_lost_bus_is_words_beside_what_was_heard(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    live.hear(*enveloped(answered("a"), 1))
    live.found(link=Link(up=False, words="cannot reach NATS", since=enveloped(card(), 2)[1].time))
    drawn = words(page())
    assert "Cannot reach NATS" in drawn
    assert "**defective** 90 %" in drawn


def test_tiles_are_newest_first_and_a_missing_picture_breaks_nothing(
    live: FakeSubscription, page: Callable[[], AppTest]
) -> None:
    for second in range(6):
        live.hear(*enveloped(answered(str(second), confidence=0.5 + second / 100), second))
    live.hear(*enveloped(versioned(1), 1))
    drawn = page()
    assert answers(drawn) == [f"**defective** {share} %" for share in (55, 54, 53, 52)]
    assert words(drawn).count("No picture") == 4
    assert "**Dataset** 1 with 300 labels" in words(drawn)


def test_filters_leave_what_was_asked_for(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    for second, (label, share) in enumerate([("defective", 0.9), ("functional", 0.6), ("defective", 0.6)]):
        live.hear(*enveloped(answered(str(second), label, share), second))
    drawn = page()
    drawn.slider[0].set_value(70).run()
    assert answers(drawn) == ["**defective** 60 %", "**functional** 60 %"]
    drawn.multiselect[0].set_value(["functional"]).run()
    assert answers(drawn) == ["**functional** 60 %"]
    drawn.slider[0].set_value(20).run()
    assert "passes the filters" in words(drawn)


def test_a_press_says_the_true_class_and_the_tile_tells_by_whom(
    live: FakeSubscription, page: Callable[[], AppTest]
) -> None:
    live.hear(*enveloped(answered("a"), 1))
    drawn = page()
    drawn.text_input[0].set_value("ines").run()
    drawn.button("is-a-functional").click().run()
    assert live.said == [("a", "functional", "ines")]
    assert "corrected to **functional** by ines" in words(drawn)
    drawn.button("change-a").click().run()
    drawn.button("right-a").click().run()
    assert live.said[1:] == [("a", "defective", "ines")]
    assert "right, says ines" in words(drawn)


def test_with_many_classes_the_true_one_is_chosen_from_a_list(
    live: FakeSubscription, page: Callable[[], AppTest]
) -> None:
    digits = tuple("0123456789")
    live.hear(*enveloped(card(digits), 0))
    live.hear(*enveloped(answered("a", "7", classes=digits), 1))
    drawn = page()
    assert "7" not in drawn.selectbox("is-a").options
    drawn.selectbox("is-a").select("1").run()
    assert [(id_, correct) for id_, correct, _ in live.said] == [("a", "1")]


def test_what_could_not_be_said_is_told_on_its_tile(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    live.hear(*enveloped(answered("a"), 1))
    live.refuses = "Not saved: the bus is away"
    drawn = page()
    drawn.button("right-a").click().run()
    assert "Not saved\\: the bus is away" in words(drawn)
    live.hear(*enveloped(given("a", "defective", "bo"), 2))
    drawn.run()
    assert "Not saved" not in words(drawn)


def test_a_held_page_lets_new_predictions_wait(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    live.hear(*enveloped(answered("a", confidence=0.7), 1))
    drawn = page()
    hold = drawn.toggle[1]
    hold.set_value(True).run()
    live.hear(*enveloped(answered("b", confidence=0.8), 2))
    drawn.run()
    assert answers(drawn) == ["**defective** 70 %"]
    assert "1 newer" in words(drawn)
    drawn.toggle[1].set_value(False).run()
    assert answers(drawn) == ["**defective** 80 %", "**defective** 70 %"]


def test_text_from_the_bus_does_not_become_markup(live: FakeSubscription, page: Callable[[], AppTest]) -> None:
    live.hear(*enveloped(answered("a"), 1))
    live.hear(*enveloped(given("a", "functional", by="<b>![x](http://evil)"), 2))
    drawn = words(page())
    assert "![x](" not in drawn
    assert "<b>" not in drawn.replace("\\<b\\>", "")
