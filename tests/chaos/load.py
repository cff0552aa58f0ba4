"""What goes on while things die: images come in with labels, predictions are asked for and corrected, models come."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import nats.errors
import nats.js.errors

from contracts.events.base import ImageRef
from contracts.events.dataset import DatasetRequested, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded
from contracts.events.prediction import PredictionCompleted, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingRequested
from contracts.project import ScopeCard
from services.chassis.client import Client
from services.chassis.ending import end
from services.cli.errors import BadInput, Failed
from services.cli.labelling import Inspector
from tests.chaos.books import INSPECTOR
from tests.chaos.speaker import Speaker
from tests.chaos.tiny import CLASSES, SIDE, encoded, trained_elsewhere

log = logging.getLogger(__name__)

# A picture's number says who sent it, so that no two senders send the same one.
_ASKED, _LABELLED = 1_000_000, 2_000_000


def card(project: str) -> ScopeCard:
    """Few labels make a version, and what is as good as the champion passes."""
    return ScopeCard.model_validate(
        {
            "project": project,
            "data": {"classes": CLASSES, "split": {"validation": 0.15, "test": 0.33}, "min_train_per_class": 3},
            "label": {
                "freeze": {"new_labels": 40, "quiet_s": 5},
                "query": {"every": 150, "quiet_s": 5, "uncertain": 4, "random_share": 0.02},
            },
            "model": {"parameters": {"image_px": 32}},
            "gates": {"floors": [{"metric": "accuracy", "at_least": 0.5}], "margin": 0, "min_test_per_class": 1},
        }
    )


@dataclass(frozen=True)
class Amounts:
    """How much is said in `for_s` seconds."""

    for_s: float
    predictions: int
    labelled: int
    models: int
    nonsense: int


class Load:
    """Everything that people and cameras do with one project."""

    def __init__(self, client: Client, project: str, mlflow: str, studio: str, token: str, amounts: Amounts) -> None:
        self.client = client
        self.project = project
        self.speaker = Speaker(client, project)
        self._mlflow = mlflow
        self._amounts = amounts
        self._truth: dict[str, str] = {}
        self._inspector = Inspector(studio, token, self._truth, INSPECTOR)
        self.inspected = 0

    async def begin(self) -> None:
        """The card, the first labels, and the first model; returns when a model serves."""
        began = self.client.bus.now()
        await self.speaker.say(ProjectDefined(card=card(self.project)))
        for number in range(40):
            await self._add_labelled(number)
        async for _ in self.client.events([DeploymentCompleted], self.project, since=began):
            return

    async def run(self) -> None:
        """All of it, spread over the time; returns when all is acknowledged."""
        correcting = asyncio.create_task(self._correct())
        amounts = self._amounts
        try:
            await asyncio.gather(
                self._spread(amounts.predictions, self._ask),
                self._spread(amounts.labelled, lambda number: self._add_labelled(40 + number)),
                self._spread(amounts.models, self._bring_model),
                self._spread(amounts.nonsense, self._talk_nonsense),
            )
        finally:
            await end([correcting])

    async def inspect(self) -> None:
        """Label whatever Label Studio asks about, for ever."""

        def one_more(count: int) -> None:
            self.inspected += count

        while True:
            try:
                await self._inspector.label(self.project, None, one_more, patience_s=10)
            except (BadInput, Failed) as error:
                log.info("the inspector begins anew: %s", error)

    async def _spread(self, count: int, do: Callable[[int], Coroutine[None, None, None]]) -> None:
        """Do something `count` times within the time; what takes longer is not waited for in between."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        doing: list[asyncio.Task[None]] = []
        for number in range(count):
            await asyncio.sleep(began + number * self._amounts.for_s / count - loop.time())
            doing.append(asyncio.create_task(do(number)))
        await asyncio.gather(*doing)

    async def _ask(self, number: int) -> None:
        """Ask for a prediction; now and then about something that is no picture."""
        refused = number % 97 == 96
        data = b"no picture" if refused else self._picture(_ASKED + number)[0]
        request = PredictionRequested(image_base64=base64.b64encode(data).decode(), metadata={"number": number})
        await self.speaker.say(request, refused=refused)

    async def _add_labelled(self, number: int) -> None:
        """An image with its label, now and then with one that is not on the card."""
        data, label = self._picture(_LABELLED + number)
        refused = number % 53 == 52
        blob = await asyncio.to_thread(self.client.blobs.put, data, "png")
        image = ImageRef(uri=blob.uri, sha256=blob.sha256, width=SIDE, height=SIDE)
        given = "no-such-class" if refused else label
        await self.speaker.say(ImageAdded(image=image, label=given, labelled_by="import"), refused=refused)

    def _picture(self, number: int) -> tuple[bytes, str]:
        data = encoded(number % 2, number)
        label = CLASSES[number % 2]
        self._truth[hashlib.sha256(data).hexdigest()] = label
        return data, label

    async def _bring_model(self, number: int) -> None:
        """Somebody outside has trained; every third time a training, a freeze and a bad wish are asked for as well."""
        dataset = await self._newest_dataset()
        completed = await asyncio.to_thread(
            trained_elsewhere, number, self.project, dataset, self.client.blobs, self._mlflow
        )
        await self.speaker.say(completed)
        if number % 3 == 1:
            await self.speaker.say(TrainingRequested(again=True, why="chaos"))
            await self.speaker.say(DatasetRequested(why="chaos"))
        if number % 5 == 2:
            await self.speaker.say(TrainingRequested(recipe="no-such-recipe"), refused=True)

    async def _newest_dataset(self) -> DatasetVersioned:
        while True:
            try:
                if found := await self.client.last(DatasetVersioned, self.project):
                    return found[0]
            except (nats.errors.Error, nats.js.errors.Error) as error:
                log.info("asks for the newest dataset again: %s", error)
            await asyncio.sleep(0.5)

    async def _talk_nonsense(self, number: int) -> None:
        """What no service can understand, in turn to different durables."""
        if number % 3 == 0:
            await self.speaker.say_nonsense(PredictionRequested, "predictor-requests", b"\xff\x00 no json")
        elif number % 3 == 1:
            await self.speaker.say_nonsense(ImageAdded, "labeling-sync-images", b'{"image": 7}')
        else:
            later = {"ce-type": TrainingRequested.TYPE.replace(".v1", ".v9")}
            await self.speaker.say_nonsense(TrainingRequested, "trainer-training", b"{}", **later)

    async def _correct(self) -> None:
        """A person looks at one answer in twenty and says what is right."""
        seen: set[str] = set()
        async for event, envelope in self.client.events([PredictionCompleted], self.project):
            if isinstance(event, PredictionCompleted) and envelope.id not in seen:
                seen.add(envelope.id)
                if len(seen) % 20 == 0:
                    await self.speaker.say(
                        FeedbackGiven(
                            prediction_id=event.prediction_id,
                            image=event.image,
                            predicted=event.label,
                            correct=self._truth[event.image.sha256],
                            given_by="a person",
                            model_version=event.model_version,
                        )
                    )
