"""The one subscription of this server process, however many browsers look: a thread with an event loop of its own.

It reads the last hour again when it starts, reconnects by itself, and tells in words when the bus is away.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from contracts.envelope import Envelope, NotAnEvent
from contracts.events.base import Event
from contracts.events.feedback import FeedbackGiven
from contracts.events.message import MessageDeadLettered, MessageDiscarded, MessageReplayed
from contracts.events.project import ProjectDefined
from services.chassis.client import Client
from services.chassis.errors import NotAllowed, Rejected, Unreachable
from webapp.known import Known, Link
from webapp.read_models.drift import drifting
from webapp.read_models.live import Feedback, Prediction
from webapp.read_models.loop import LOOP_EVENTS
from webapp.read_models.trouble import letters
from webapp.read_models.turn import TURN_EVENTS
from webapp.settings import WebappSettings

T = TypeVar("T")

log = logging.getLogger(__name__)

# Read as the last value of each project, too: they may be older than the history that is read again.
_HEARD: tuple[type[Event], ...] = (ProjectDefined, *LOOP_EVENTS)
# Of these last values the ones that go to the Live page as well, which tells of no other fact that is older.
_ALSO_LIVE: tuple[type[Event], ...] = (ProjectDefined, *TURN_EVENTS)
# Said when the dead letters change: what there is is then looked up.
_TROUBLE: tuple[type[Event], ...] = (MessageDeadLettered, MessageReplayed, MessageDiscarded)

_CHECK_S = 2.0
_ANSWER_S = 5.0
_PAUSE_S = 2.0
_SEEN_S = 3.0
# After a lost connection: heard from a while before it was last known to work, as clocks differ; twice is no harm.
_OVERLAP_S = 60.0


class NotSaid(Exception):
    """What the user wanted was not done; the text says why."""


Connect = Callable[[WebappSettings, str], AbstractAsyncContextManager[Client]]


class Subscription(Known):
    """How it comes to be known, and what the pages do on the bus. All methods may be called from any thread."""

    def __init__(
        self,
        settings: WebappSettings,
        connect: Connect = Client.connect,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(settings.webapp_kept)
        self.settings = settings
        self._connect = connect
        self._now = now
        self._trouble = asyncio.Event()
        self._client: Client | None = None
        self._worked_at: datetime | None = None
        self._loop = asyncio.new_event_loop()
        self._session: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="subscription", daemon=True)

    def start(self) -> "Subscription":
        """Begin to hear, in the background."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop hearing; returns when the thread has ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(_ANSWER_S)

    def give_feedback(self, project: str, prediction: Prediction, correct: str, given_by: str) -> Feedback:
        """Say what is right about a prediction, and wait until it is heard. Returns the word that counts.

        Once said, a second word about the same prediction is caused by the first, or the bus would take it for a
        repetition. So two who decide at once say one fact; the returned one may be another person's.

        Raises:
            NotSaid: the bus is away, does not answer, or does not allow it.
        """
        before = self.feedback(project, prediction.id)
        event = FeedbackGiven(
            prediction_id=prediction.id,
            image=prediction.image,
            predicted=prediction.label,
            correct=correct,
            given_by=given_by,
            model_version=prediction.model_version,
        )
        envelope = self.say(event, project=project, cause=before.envelope if before else None)

        def is_heard() -> bool:
            known = self.feedback(project, prediction.id)
            return known is not None and (before is None or known.envelope.id != before.envelope.id)

        self.wait_until(is_heard, _SEEN_S)
        known = self.feedback(project, prediction.id) if is_heard() else None
        return known or Feedback(envelope, prediction.label, correct, given_by)

    def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        """Say an event; returns when the bus has stored it.

        Raises:
            NotSaid: as `give_feedback`.
        """
        return self.do(lambda client: client.say(event, project=project, cause=cause))

    def do(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do something on the bus and wait for it, a few seconds at most.

        Raises:
            NotSaid: the bus is away or does not answer, does not allow it, or it cannot be done.
        """
        client = self._client
        if client is None:
            raise NotSaid("Not done: the bus is away. Try again when it is back.")

        async def doing() -> T:
            try:
                return await work(client)
            finally:
                self._trouble.set()

        done = asyncio.run_coroutine_threadsafe(doing(), self._loop)
        try:
            return done.result(_ANSWER_S * 2)
        except (NotAllowed, Rejected) as error:
            raise NotSaid(f"Not done: {error}") from error
        except Exception as error:  # of the NATS client, which only the chassis knows by name
            done.cancel()
            log.warning("what a user wanted could not be done: %r", error)
            raise NotSaid("Not done: the bus does not answer. Try again when it is back.") from error

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._session = self._loop.create_task(self._keep_connected())
        try:
            self._loop.run_until_complete(self._session)
        except asyncio.CancelledError:
            log.info("the subscription has ended")
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _stop(self) -> None:
        if self._session:
            self._session.cancel()

    async def _keep_connected(self) -> None:
        while True:
            try:
                async with self._connect(self.settings, "webapp") as client:
                    await self._serve(client)
            except Unreachable as error:
                self._lost(str(error))
            except Exception as error:
                log.warning("the subscription was interrupted, goes on: %r", error)
                self._lost(f"the bus at {self.settings.nats_url} does not answer")
            await asyncio.sleep(_PAUSE_S)

    async def _serve(self, client: Client) -> None:
        """Hear until the connection fails, which raises."""
        started = self._now()
        if self._worked_at is None:
            since = started - timedelta(seconds=self.settings.webapp_history_s)
        else:
            since = self._worked_at - timedelta(seconds=_OVERLAP_S)
        projects = await client.projects()
        for project in projects:
            await asyncio.gather(*(self._read_last(client, type_, project) for type_ in _HEARD))
        tasks = {
            asyncio.create_task(self._follow(client, since)),
            asyncio.create_task(self._watch(client, projects)),
            asyncio.create_task(self._look_after_trouble(client)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._client = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_last(self, client: Client, type_: type[Event], project: str) -> None:
        try:
            last = await client.last(type_, project)
        except (Rejected, NotAnEvent) as error:
            log.warning("the last %s of %s cannot be understood: %s", type_.name(), project, error)
            return
        if last:
            self.hear(*last, live=type_ in _ALSO_LIVE)

    async def _follow(self, client: Client, since: datetime) -> None:
        async for event, envelope in client.events([*_HEARD, *_TROUBLE], since=since):
            if isinstance(event, _TROUBLE):
                self._trouble.set()
            else:
                self.hear(event, envelope)

    async def _watch(self, client: Client, projects: list[str]) -> None:
        """Ask for the projects now and then: the answer tells that the bus is there, silence that it is not."""
        reconnects = client.bus.connection.stats["reconnects"]
        while True:
            self._worked_at = self._now()
            self._client = client
            self.found(link=Link(up=True, since=self._worked_at), projects=tuple(projects))
            await asyncio.sleep(_CHECK_S)
            async with asyncio.timeout(_ANSWER_S):
                projects = await client.projects()
            if client.bus.connection.stats["reconnects"] != reconnects:
                # The server may have lost our consumers with the connection: begin anew rather than be deaf.
                raise Unreachable("the connection to the bus was lost for a moment")

    async def _look_after_trouble(self, client: Client) -> None:
        """Look for dead letters and drift now and then, and at once when something was said about them."""
        while True:
            self._trouble.clear()
            self.found(letters=await letters(client, self.letters()), drifting=await drifting(client))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._trouble.wait(), _CHECK_S)

    def _lost(self, words: str) -> None:
        self.found(link=Link(up=False, words=words, since=self._worked_at))
