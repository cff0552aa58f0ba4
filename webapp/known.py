"""What was heard of the bus so far, under one lock."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope
from contracts.events.base import Event
from webapp.read_models.drift import Drifting
from webapp.read_models.live import Feedback, LiveFeed, LiveView
from webapp.read_models.loop import LoopFeed, Station
from webapp.read_models.trouble import Letter


@dataclass(frozen=True)
class Link:
    """Whether the bus answers. `words` say what is wrong and what to do; `since` is when it last answered."""

    up: bool
    words: str = ""
    since: datetime | None = None


class Known:
    """The read models of all pages. All methods may be called from any thread."""

    def __init__(self, kept: int) -> None:
        self._changed = threading.Condition()
        self._live = LiveFeed(kept)
        self._loops = LoopFeed()
        self._letters: tuple[Letter, ...] = ()
        self._drifting: tuple[Drifting, ...] = ()
        self._projects: tuple[str, ...] = ()
        self._link = Link(up=False, words="Connecting to the bus.")

    def link(self) -> Link:
        """Whether the bus answers."""
        with self._changed:
            return self._link

    def projects(self) -> tuple[str, ...]:
        """The projects that have a card, in alphabetical order."""
        with self._changed:
            return self._projects

    def view(self, project: str) -> LiveView:
        """The predictions of a project and what people said about them, as a copy."""
        with self._changed:
            return self._live.view(project)

    def stations(self, project: str) -> tuple[Station, ...]:
        """Where the loop of a project stands."""
        with self._changed:
            return self._loops.stations(project)

    def letters(self) -> tuple[Letter, ...]:
        """The dead letters, oldest first."""
        with self._changed:
            return self._letters

    def drifting(self) -> tuple[Drifting, ...]:
        """What drifts at the moment, the newest first."""
        with self._changed:
            return self._drifting

    def feedback(self, project: str, prediction_id: str) -> Feedback | None:
        """The last word about a prediction."""
        with self._changed:
            return self._live.feedback(project, prediction_id)

    def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `holds`, asked again after every change; whether it did."""
        with self._changed:
            return self._changed.wait_for(holds, timeout_s)

    def hear(self, event: Event, envelope: Envelope, *, live: bool = True) -> None:
        """Take in a fact; with `live` False one that is too old for the Live page."""
        with self._changed:
            self._loops.hear(event, envelope)
            if live:
                self._live.hear(event, envelope)
            self._changed.notify_all()

    def found(
        self,
        *,
        link: Link | None = None,
        projects: tuple[str, ...] | None = None,
        letters: tuple[Letter, ...] | None = None,
        drifting: tuple[Drifting, ...] | None = None,
    ) -> None:
        """What a look at the bus came to; None is as before."""
        with self._changed:
            self._link = self._link if link is None else link
            self._projects = self._projects if projects is None else projects
            self._letters = self._letters if letters is None else letters
            self._drifting = self._drifting if drifting is None else drifting
            self._changed.notify_all()
