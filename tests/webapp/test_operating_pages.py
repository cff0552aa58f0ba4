"""The pages Loop and Trouble as Streamlit draws them, over a subscription that hears nothing but what the test says."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from services.chassis.dead import DeadLetter
from tests.letters import letter
from tests.said import at, deployed, enveloped, judged
from webapp import shared
from webapp.known import Known, Link
from webapp.read_models.drift import Drifting
from webapp.read_models.trouble import Letter
from webapp.settings import WebappSettings
from webapp.subscription import NotSaid


class FakeSubscription(Known):
    """Does what it is asked on dead letters that are kept here; `refuses` is what it says no with."""

    def __init__(self) -> None:
        super().__init__(500)
        self.settings = WebappSettings()
        self.dead: dict[int, DeadLetter] = {}
        self.ways: list[tuple[int, str, str]] = []
        self.refuses = ""
        self.found(link=Link(up=True), projects=("solar",))

    def bury(self, *letters: DeadLetter) -> None:
        self.dead.update({letter.id: letter for letter in letters})
        self._tell()

    def do(self, work: Callable[[Any], Awaitable[DeadLetter]]) -> DeadLetter:
        if self.refuses:
            raise NotSaid(self.refuses)
        return asyncio.run(_awaited(work(SimpleNamespace(dead=self))))

    async def find(self, id_: int) -> DeadLetter:
        return self.dead[id_]

    async def replay(self, id_: int, by: str) -> DeadLetter:
        return self._gone(id_, "replayed", by)

    async def discard(self, id_: int, why: str, by: str) -> DeadLetter:
        return self._gone(id_, why, by)

    def _gone(self, id_: int, how: str, by: str) -> DeadLetter:
        self.ways.append((id_, how, by))
        gone = self.dead.pop(id_)
        self._tell()
        return gone

    def _tell(self) -> None:
        self.found(letters=tuple(Letter.of(letter) for letter in self.dead.values()))


async def _awaited(work: Awaitable[DeadLetter]) -> DeadLetter:
    return await work


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> FakeSubscription:
    fake = FakeSubscription()
    monkeypatch.setattr(shared, "subscription", lambda: fake)
    return fake


def drawn(page: str) -> AppTest:
    script = f"from webapp.views import {page}\n{page}.show()"
    app = AppTest.from_string(script, default_timeout=20).run()
    assert not app.exception
    return app


def words(page: AppTest) -> str:
    shown = (*page.markdown, *page.caption, *page.info, *page.warning, *page.success, *page.code)
    return "\n".join(element.value for element in shown)


def test_the_loop_is_shown_station_by_station(live: FakeSubscription) -> None:
    live.hear(*enveloped(judged("failed", "Recall is below its floor."), 1))
    live.hear(*enveloped(deployed(3), 2))
    live.bury(letter(7))
    told = words(drawn("loop"))
    assert [name for name in ("Label", "Dataset", "Train", "Evaluate", "Register", "Deploy", "Predict")
            if f"**{name}**" in told] == [
        "Label", "Dataset", "Train", "Evaluate", "Register", "Deploy", "Predict"
    ]  # fmt: skip
    assert "Recall is below its floor" in told
    assert "v3 serves" in told
    assert "Nothing yet" in told
    assert "One message could not be handled" in told


def test_without_a_project_the_loop_says_how_to_make_one(live: FakeSubscription) -> None:
    live.found(projects=())
    assert "loopline project apply" in words(drawn("loop"))


def test_without_dead_letters_there_is_no_trouble(live: FakeSubscription) -> None:
    assert "No dead letters" in words(drawn("trouble"))
    live.found(link=Link(up=False, words="cannot reach NATS"))
    told = words(drawn("trouble"))
    assert "Cannot reach NATS" in told
    assert "No dead letters" not in told


def test_what_drifts_is_told_above_the_letters(live: FakeSubscription) -> None:
    drift = Drifting(
        "solar", 7, "classes", at(0), "Version 7 answers [defective](http://evil) for 90% of the pictures."
    )
    live.found(drifting=(drift,))
    told = words(drawn("trouble"))
    assert "solar v7, classes since" in told
    assert "for 90% of the pictures" in told
    assert "[defective](" not in told
    assert "No dead letters" in told


def test_a_dead_letter_is_told_with_its_reason_and_shown_whole_when_asked_for(live: FakeSubscription) -> None:
    live.bury(letter(7, reason="Rejected: <b>no</b> [such](http://evil) recipe"))
    page = drawn("trouble")
    told = words(page)
    assert "**training\\.requested** of solar" in told
    assert "[such](" not in told
    assert "trainer\\-training gave up after 5 tries" in told
    assert '"why": "new lamp"' not in told
    page.button("details-7").click().run()
    told = words(page)
    assert '"why": "new lamp"' in told
    assert "in on_requested" in told
    assert "`event-7`" in told
    page.button("details-7").click().run()
    assert '"why": "new lamp"' not in words(page)


def test_a_replayed_letter_goes_back_and_off_the_page(live: FakeSubscription) -> None:
    live.bury(letter(7), letter(8))
    page = drawn("trouble")
    page.sidebar.text_input[0].set_value("ines").run()
    page.button("replay-7").click().run()
    assert live.ways == [(7, "replayed", "ines")]
    assert [button.key for button in page.button if button.key and button.key.startswith("replay-")] == ["replay-8"]
    assert "7 went back to trainer\\-training" in words(page)


def test_nothing_is_thrown_away_without_a_why(live: FakeSubscription) -> None:
    live.bury(letter(7))
    page = drawn("trouble")
    page.button("discard-7").click().run()
    assert live.ways == []
    assert "Say why first" in words(page)
    page.text_input("why-7").set_value(" a typing error ")
    page.button("discard-7").click().run()
    assert [way[:2] for way in live.ways] == [(7, "a typing error")]
    assert "No dead letters" in words(page)


def test_what_could_not_be_done_is_told_beside_its_letter(live: FakeSubscription) -> None:
    live.bury(letter(7))
    live.refuses = "Not done: the bus is away"
    page = drawn("trouble")
    page.button("replay-7").click().run()
    assert "the bus is away" in words(page)
    assert live.dead.keys() == {7}


def test_the_letters_of_one_durable_can_be_looked_at_alone(live: FakeSubscription) -> None:
    live.bury(letter(7), letter(8, durable="registry-versions", name="evaluation.completed"))
    page = drawn("trouble")
    page.button_group[0].set_value(["registry-versions"]).run()
    told = words(page)
    assert "evaluation" in told
    assert "training" not in told
