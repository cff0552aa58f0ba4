"""The job that looks at what the serving version of each project answers, and says when that has changed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, cast

from contracts.envelope import Envelope
from contracts.events.feedback import FeedbackGiven
from contracts.events.model import ModelPromoted
from contracts.events.prediction import PredictionCompleted
from contracts.events.project import ProjectDefined
from contracts.project import Watch
from services.evaluator.looking import Looked, Seen, kinds, look_at_answers, look_at_judged, reference_of
from services.evaluator.ports import Bus, Kept
from services.evaluator.watched import Watched

Stored = AsyncGenerator[tuple[Any, Envelope, int], None]


class _Window:
    """What was read of one stream and not looked at yet. Without a memory of it all is read again, to the same end."""

    def __init__(self) -> None:
        self.version = 0
        self.read_to = 0
        self.seen: dict[str, Seen] = {}

    def begin(self, version: int, looked_at: int) -> None:
        """Forget what was looked at, by whatever replica, and what another version answered."""
        if version != self.version or looked_at > self.read_to:
            self.version, self.read_to, self.seen = version, looked_at, {}
        self.seen = {id_: one for id_, one in self.seen.items() if one.seq > looked_at}

    def take(self, one: Seen, most: int) -> None:
        """Keep the last `most`; what is said of one prediction a second time takes the place of the first."""
        self.seen.pop(one.prediction_id, None)
        self.seen[one.prediction_id] = one
        while len(self.seen) > most:
            del self.seen[next(iter(self.seen))]


class Watcher:
    """Of several replicas one works; the state in KV is changed by compare-and-set, so that no two go on with it."""

    def __init__(self, bus: Bus, kept: Kept, now: Callable[[], datetime]) -> None:
        self._bus = bus
        self._kept = kept
        self._now = now
        self._serving: dict[str, int] = {}
        self._promoted_to = 0
        self._answers: dict[str, _Window] = {}
        self._judged: dict[str, _Window] = {}

    async def look(self) -> None:
        """Look once at every project that has a serving version."""
        async for event, envelope, seq in self._bus.read(ModelPromoted, from_seq=self._promoted_to + 1):
            self._serving[envelope.project] = event.version.version
            self._promoted_to = seq
        for project, version in sorted(self._serving.items()):
            defined = await self._bus.last(ProjectDefined, project)
            if defined:
                await self._watch(project, version, defined[0].card.watch)

    async def _watch(self, project: str, version: int, policy: Watch) -> None:
        state, revision = await self._kept.watched(project)
        if state.plan:
            state, revision = await self._say(project, state, revision)
        found = state
        state = state.serving(version, kinds(policy))
        if not state.reference:
            state = await self._collect(project, state, policy)
        if state.reference:
            state = await self._compare(project, state, policy)
        if not state.plan:
            state = await self._count(project, state, policy)
        if state != found:
            revision = await self._kept.save(project, state, revision)
        if state.plan:
            await self._say(project, state, revision)

    async def _collect(self, project: str, state: Watched, policy: Watch) -> Watched:
        """The first answers of a version become its reference."""
        window = await self._read_answers(project, state, policy.reference, stop_when_full=True)
        seen = list(window.seen.values())
        if len(seen) < policy.reference:
            return state.model_copy(update={"waiting": len(seen)})
        await self._kept.save_reference(project, reference_of(state.version, seen))
        return state.collected(len(seen)).answers_read(window.read_to)

    async def _compare(self, project: str, state: Watched, policy: Watch) -> Watched:
        """The newest answers beside the reference, once there are enough that no window had yet."""
        window = await self._read_answers(project, state, policy.window)
        seen = list(window.seen.values())
        if len(seen) < policy.window:
            return state.model_copy(update={"waiting": len(seen)})
        reference = await self._kept.reference(project)
        if reference is None or reference.version != state.version:
            return state.collected(0)
        looked = await asyncio.to_thread(look_at_answers, reference, seen, policy, self._now())
        return self._looked(state.answers_read(window.read_to), looked, policy, seen[-1].envelope)

    async def _count(self, project: str, state: Watched, policy: Watch) -> Watched:
        """What people judged, once it is enough."""
        if policy.accuracy is None:
            return state
        window = self._judged.setdefault(project, _Window())
        window.begin(state.version, state.feedback_seq)
        async with aclosing(self._stored(FeedbackGiven, project, window.read_to)) as stored:
            async for event, envelope, seq in stored:
                window.read_to = seq
                if event.model_version == state.version:
                    window.take(_judged(event, envelope, seq), policy.judged)
                if len(window.seen) >= policy.judged:
                    break
        seen = list(window.seen.values())
        if len(seen) < policy.judged:
            return state
        looked = look_at_judged(state.version, seen, policy, self._now())
        return self._looked(state.feedback_read(window.read_to), looked, policy, seen[-1].envelope)

    def _looked(self, state: Watched, looked: Looked, policy: Watch, cause: Envelope) -> Watched:
        facts = {kind: fact for kind, (_, fact) in looked.items()}
        return state.looked(facts, [look for look, _ in looked.values()], policy, cause, self._now())

    async def _read_answers(self, project: str, state: Watched, most: int, stop_when_full: bool = False) -> _Window:
        """What this version answered since the last look; of more than `most` the last, unless it stops there."""
        window = self._answers.setdefault(project, _Window())
        window.begin(state.version, state.answers_seq)
        if stop_when_full and len(window.seen) >= most:
            return window
        async with aclosing(self._stored(PredictionCompleted, project, window.read_to)) as stored:
            async for event, envelope, seq in stored:
                window.read_to = seq
                if event.model_version == state.version:
                    window.take(_answered(event, envelope, seq), most)
                if stop_when_full and len(window.seen) >= most:
                    break
        return window

    async def _say(self, project: str, state: Watched, revision: int) -> tuple[Watched, int]:
        """What was planned; the ids follow from the window's last message, so that twice is once."""
        assert state.plan
        cause = state.plan.cause
        because = cause
        for drift in state.plan.drifts:
            said = await self._bus.say(drift, project=project, cause=cause)
            because = said if because is cause else because
        if state.plan.training:
            await self._bus.say(state.plan.training, project=project, cause=because)
        done = state.said()
        return done, await self._kept.save(project, done, revision)

    def _stored(self, event_type: type[Any], project: str, after: int) -> Stored:
        return cast(Stored, self._bus.read(event_type, project, from_seq=after + 1))


def _answered(event: PredictionCompleted, envelope: Envelope, seq: int) -> Seen:
    return Seen(seq, envelope, event.prediction_id, event.image, event.label, event.confidence, event.sketch)


def _judged(event: FeedbackGiven, envelope: Envelope, seq: int) -> Seen:
    right = event.correct == event.predicted
    return Seen(seq, envelope, event.prediction_id, event.image, event.predicted, right=right)
