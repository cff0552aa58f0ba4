"""One at a time for each project: a rollout and the reconciler do not load and unload the same models at once."""

import asyncio
from collections import defaultdict


class Turns:
    """A lock for each project, within this process; between replicas the route's compare-and-set decides."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def of(self, project: str) -> asyncio.Lock:
        """To be held while a project's models are loaded or unloaded."""
        return self._locks[project]

    def taken(self, project: str) -> bool:
        """Whether somebody is at it."""
        return self._locks[project].locked()
