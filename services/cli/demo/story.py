"""The story of the demo: the whole loop, twice round, on real photographs of solar cells, told as it happens."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from rich.console import Console

from contracts.events.base import Event
from contracts.events.dataset import DatasetRejected, DatasetRequested
from contracts.events.deployment import DeploymentFailed
from contracts.events.evaluation import EvaluationFailed
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelSubmitted
from contracts.events.model import ModelPromoted
from contracts.events.prediction import PredictionCompleted, PredictionFailed
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingFailed, TrainingProgressed
from contracts.project import ScopeCard
from services.chassis.client import Client, request_for
from services.cli.datasets import LabelledImage
from services.cli.demo.turns import Said, Turn, turns_of
from services.cli.importing import add_images
from services.cli.labelling import Inspector
from services.cli.progress import bars
from services.cli.telling import tell

LABELLED_FIRST = 400
PREDICTED = 600
CORRECTED = 20
INSPECTOR = "demo-inspector"

_SILENCE_S = 180.0
_MORE_S = 5.0
_BROKEN = (TrainingFailed, EvaluationFailed, DeploymentFailed, DatasetRejected, ImageRejected, FeedbackRejected)
_UNTOLD = (ImageAdded, LabelSubmitted, PredictionCompleted, FeedbackGiven, TrainingProgressed)

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class DemoFailed(Exception):
    """The story did not go on; the text says where and why."""


class Demo:
    """One telling of the story about one project."""

    def __init__(self, client: Client, inspector: Inspector, console: Console, card: ScopeCard) -> None:
        self.client = client
        self.inspector = inspector
        self.console = console
        self.card = card
        self.project = card.project
        self.said: list[Said] = []
        self._show = bars(console)
        self._news = asyncio.Condition()

    async def run(self, images: Sequence[LabelledImage]) -> list[Turn]:
        """Both turns of the loop over images in the order in which the camera sees them.

        Raises:
            DemoFailed: a step failed or did not come.
        """
        following = asyncio.create_task(self._follow(self.client.bus.now()))
        try:
            await self._first_turn(images[:LABELLED_FIRST])
            await self._second_turn(images[LABELLED_FIRST : LABELLED_FIRST + PREDICTED])
        finally:
            following.cancel()
        return turns_of(self.said)

    async def _first_turn(self, images: Sequence[LabelledImage]) -> None:
        await self.client.say(ProjectDefined(card=self.card), project=self.project)
        self._chapter(f"An inspector labels {len(images)} cells in Label Studio")
        await add_images(self.client, self.project, [image.without_label() for image in images], self._show)
        await self._label(len(images))
        self._chapter("The labels become a dataset version, and that becomes a model")
        await self.until(lambda: self._turns_over() >= 1, "the end of the first turn")
        if not self.of(ModelPromoted):
            raise DemoFailed("the first model did not pass its gates, so nothing serves: see the verdict above")

    async def _second_turn(self, images: Sequence[LabelledImage]) -> None:
        self._chapter(f"The camera sees {len(images)} more cells, and the model answers")
        await self._predict(images)
        truth = self.inspector.truth
        answers = self.of(PredictionCompleted)
        wrong = [answer for answer in answers if truth[answer.image.sha256] != answer.label]
        self.console.print(f"  {len(answers)} answers, {len(wrong)} of them wrong")

        asking = self.card.label.query
        self._chapter(f"The {asking.uncertain} least certain, and some drawn at random, come back for a label")
        await self.until(lambda: len(self._asked()) >= min(asking.uncertain, len(images)), "the query")
        await self._label(len(self._asked()), and_more=True)

        self._chapter(f"The inspector corrects {CORRECTED} wrong answers")
        unasked = [answer for answer in wrong if answer.image.sha256 not in self._asked()][:CORRECTED]
        labels = len(self.of(LabelSubmitted))
        for answer in unasked:
            await self._correct(answer, truth[answer.image.sha256])
        await self.until(lambda: len(self.of(LabelSubmitted)) >= labels + len(unasked), "the corrections as labels")

        self._chapter("The second dataset version makes the second model, which is judged against the first")
        await self.client.say(DatasetRequested(why="the inspector is through"), project=self.project)
        await self.until(lambda: self._turns_over() >= 2, "the end of the second turn")

    def counts(self) -> dict[str, int | None]:
        """Predictions, corrections, and the version that serves in the end."""
        promoted = self.of(ModelPromoted)
        return {
            "predictions": len(self.of(PredictionCompleted)),
            "corrections": len(self.of(FeedbackGiven)),
            "champion_version": promoted[-1].version.version if promoted else None,
        }

    async def _correct(self, answer: PredictionCompleted, correct: str) -> None:
        feedback = FeedbackGiven(
            prediction_id=answer.prediction_id,
            image=answer.image,
            predicted=answer.label,
            correct=correct,
            given_by=INSPECTOR,
            model_version=answer.model_version,
        )
        await self.client.say(feedback, project=self.project)

    def _asked(self) -> set[str]:
        """Images that came back from predictions for a label."""
        first = {event.image.sha256 for event in self.of(ImageAdded)[:LABELLED_FIRST]}
        return {event.image.sha256 for event in self.of(ImageAdded)} - first

    def _turns_over(self) -> int:
        return sum(turn.is_over for turn in turns_of(self.said))

    def _chapter(self, title: str) -> None:
        self.console.print(f"\n{title}", style="bold")

    async def _label(self, images: int, *, and_more: bool = False) -> None:
        """Let the inspector label what Label Studio asks about: `images` tasks, and with `and_more` all others, too."""
        before = len(self.of(LabelSubmitted))
        with self._show("labelled in Label Studio", images) as advance:
            labelled = await self.inspector.label(self.project, images, advance, patience_s=_SILENCE_S)
            if and_more:
                labelled += await self.inspector.label(self.project, None, advance, patience_s=_MORE_S)
        if labelled < images:
            raise DemoFailed(f"Label Studio asked about {labelled} images of {images}: `loopline status` may show why")
        await self.until(lambda: len(self.of(LabelSubmitted)) >= before + labelled, "the labels on the bus")
        self.console.print(f"  {labelled} labels")

    async def _predict(self, images: Sequence[LabelledImage]) -> None:
        with self._show("answered", len(images)) as advance:
            for image in images:
                request = await request_for(self.client.blobs, image.encoded, image.metadata)
                await self.client.say(request, project=self.project)
            for seen in range(1, len(images) + 1):
                await self.until(partial(self._answered, seen), "an answer")
                advance(1)

    def _answered(self, count: int) -> bool:
        return len(self.of(PredictionCompleted)) + len(self.of(PredictionFailed)) >= count

    def of(self, event_type: type[E]) -> list[E]:
        """The facts of a type heard so far."""
        return [event for event, _ in self.said if isinstance(event, event_type)]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until what was heard makes `holds` true.

        Raises:
            DemoFailed: a step failed, or nothing at all was heard for three minutes.
        """
        async with self._news:
            while not holds():
                if broken := next((said for said in self.said if isinstance(said[0], _BROKEN)), None):
                    raise DemoFailed(f"waited for {what}, and heard: {tell(*broken)}")
                try:
                    await asyncio.wait_for(self._news.wait(), _SILENCE_S)
                except TimeoutError:
                    raise DemoFailed(
                        f"waited for {what}, and heard nothing for {_SILENCE_S:.0f} s: `loopline status` may show why"
                    ) from None

    async def _follow(self, since: datetime) -> None:
        seen: set[str] = set()
        async for event, envelope in self.client.events(project=self.project, since=since):
            if envelope.id in seen:
                continue
            seen.add(envelope.id)
            async with self._news:
                self.said.append((event, envelope))
                self._news.notify_all()
            if not isinstance(event, _UNTOLD):
                self.console.print(f"  {tell(event, envelope)}")
