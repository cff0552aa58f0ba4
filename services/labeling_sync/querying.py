"""The job that looks at stored predictions and asks people about some of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from contracts.envelope import Envelope
from contracts.events.image import Chosen, ImageAdded
from contracts.events.prediction import PredictionCompleted
from contracts.project import ScopeCard
from services.labeling_sync.cards import Cards
from services.labeling_sync.choosing import Answer, choose, window
from services.labeling_sync.cursors import QueryCursor
from services.labeling_sync.ports import Ports

Stored = AsyncGenerator[tuple[PredictionCompleted, Envelope, int], None]


class Query:
    """Remembers the answers of the window that is not full yet, so that they are read once and not every second."""

    def __init__(self, cards: Cards, ports: Ports) -> None:
        self._cards = cards
        self._ports = ports
        self._waiting: dict[str, list[Answer]] = {}

    async def look(self) -> None:
        """Look once at every project."""
        for project, card in sorted((await self._cards.all()).items()):
            await self._ask(project, card)

    async def _ask(self, project: str, card: ScopeCard) -> None:
        """Go through all full windows; each is chosen from, then the choice is kept, then said."""
        ports, policy = self._ports, card.label.query
        cursor, revision = await ports.cursors.query(project)
        while True:
            if cursor.planned_to:
                await self._say(project, cursor)
                cursor = cursor.done()
                revision = await ports.cursors.save_query(project, cursor, revision)
            now = ports.now()
            waiting = await self._read(project, cursor.seq, policy.every)
            answers = window(waiting, every=policy.every, quiet_s=policy.quiet_s, now=now)
            if answers is None:
                return
            picks = choose(
                answers,
                uncertain=policy.uncertain,
                random_share=policy.random_share,
                known=await ports.labelling.find_tasks(project, sorted({answer.sha256 for answer in answers})),
                budget=cursor.budget(policy.per_day, now.date()),
            )
            cursor = cursor.plan(picks, answers[-1].seq, now.date())
            revision = await ports.cursors.save_query(project, cursor, revision)

    async def _read(self, project: str, after: int, every: int) -> list[Answer]:
        """The answers after a sequence, as many as a window needs."""
        waiting = [answer for answer in self._waiting.get(project, []) if answer.seq > after]
        images = {answer.sha256 for answer in waiting}
        if len(images) < every:
            read_to = waiting[-1].seq if waiting else after
            async with aclosing(self._stored(project, read_to + 1)) as stored:
                async for event, envelope, seq in stored:
                    waiting.append(Answer(seq, event.image.sha256, event.probabilities, envelope.time))
                    images.add(event.image.sha256)
                    if len(images) >= every:
                        break
        self._waiting[project] = waiting
        return waiting

    async def _say(self, project: str, cursor: QueryCursor) -> None:
        """Say `image.added` for what was planned; the ids follow from the predictions, so twice is once."""
        planned = dict(cursor.planned)
        if not planned:
            return
        async with aclosing(self._stored(project, min(planned))) as stored:
            async for event, envelope, seq in stored:
                if seq in planned:
                    added = _asked_about(event, project, cast(Chosen, planned[seq]))
                    await self._ports.bus.say(added, project=project, cause=envelope)
                if seq >= max(planned):
                    return

    def _stored(self, project: str, from_seq: int) -> Stored:
        return cast(Stored, self._ports.bus.read(PredictionCompleted, project, from_seq=from_seq))


def _asked_about(event: PredictionCompleted, project: str, chosen: Chosen) -> ImageAdded:
    """The prediction's image, with what the model answered: it becomes the task's pre-annotation."""
    metadata = {
        **event.metadata,
        "predicted": event.label,
        "confidence": round(event.confidence, 6),
        "model_version": f"{project}-v{event.model_version}",
        "prediction_id": event.prediction_id,
    }
    return ImageAdded(image=event.image, chosen=chosen, metadata=metadata)
