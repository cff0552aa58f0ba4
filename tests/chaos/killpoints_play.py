"""A play: what a service is given to do, and what must have come of it at the end, whatever happened on the way."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from tests.chaos.killpoints_scene import Scene, Surroundings, ended, scene
from tests.chaos.killpoints_shape import Handler
from tests.eventually import eventually

Act = Callable[[Scene], Awaitable[None]]
Look = Callable[[Scene], Awaitable[dict[str, Any]]]

START_S = 120.0
END_S = 120.0


async def nothing(scene: Scene) -> None:
    """For a play that needs no preparation."""


@dataclass(frozen=True)
class Play:
    """`arrange` prepares, `cause` says what the service is to hear, `look` sees what is there outside the bus, `clear`
    takes away what the next scene would stumble over. `meanwhile` happens between a death and the start after it.

    `expect` is the end: the facts said by the service (`said`), the claims, and what `look` gives.
    """

    handler: Handler
    cause: Act
    look: Look
    expect: Mapping[str, Any]
    arrange: Act = nothing
    clear: Act = nothing
    meanwhile: Act = nothing

    @property
    def service(self) -> str:
        """Who plays."""
        return self.handler.service

    @asynccontextmanager
    async def begun(self, around: Surroundings, copies: int = 1) -> AsyncIterator[Scene]:
        """A scene in which everything is said and nobody has heard it yet."""
        async with scene(around) as here:
            try:
                await self.arrange(here)
                here.copies = copies
                await self.cause(here)
                yield here
            finally:
                await self.clear(here)

    async def ends(self, scene: Scene) -> None:
        """Wait for the end that is expected."""

        wanted = {"waiting": 0, "dead": 0, **self.expect}

        async def as_expected() -> None:
            # Outside is looked at last: that takes those who are asked as long as the work itself.
            for look in (partial(scene.bus_state, self.service), partial(self.look, scene)):
                found = await look()
                wrong = {key: f"{one} instead of {wanted[key]}" for key, one in found.items() if one != wanted[key]}
                assert not wrong, wrong

        await eventually(as_expected, END_S, 0.3)


async def undisturbed(play: Play, around: Surroundings) -> list[str]:
    """The play to its end without any trouble; the side effects that were made."""
    async with play.begun(around) as here:
        with here.running(play.service, "only", tiny=False):
            await _to_the_end(play, here, "only")
        await play.ends(here)
        return here.made("only")


async def killed(play: Play, before: str, around: Surroundings) -> list[str]:
    """The play with a death before the effect `before`, and one fresh start after it; what was made until the death."""
    async with play.begun(around) as here:
        with here.running(play.service, "dies", at=before) as process:
            code = await ended(process, START_S)
        assert code == -9, f"it did not come to `{before}`, only to {here.made('dies')}\n{here.output('dies')}"
        await play.meanwhile(here)
        with here.running(play.service, "lives"):
            await _to_the_end(play, here, "lives")
        # Stopped in order: what it was about to do besides is done by now.
        await play.ends(here)
        return here.made("dies")


async def overslept(play: Play, before: str, around: Surroundings) -> list[str]:
    """The play with a replica that is stopped before an effect until another has done it all, and then goes on."""
    async with play.begun(around) as here:
        with here.running(play.service, "sleeps", at=before, sleeps=True) as process:
            sleeper = psutil.Process(process.pid)

            async def asleep() -> None:
                assert sleeper.status() == psutil.STATUS_STOPPED, here.made("sleeps")

            await eventually(asleep, START_S, 0.1)
            with here.running(play.service, "works"):
                await _to_the_end(play, here, "works")
                done = len(here.made("sleeps"))
                for one in (*sleeper.children(recursive=True), sleeper):
                    one.resume()

                async def settled() -> None:
                    since = here.made("sleeps")[done:]
                    assert any(effect.startswith(("ack", "nak")) for effect in since), since

                await eventually(settled, START_S, 0.1)
                await _to_the_end(play, here, "sleeps")
        await play.ends(here)
        return here.made("sleeps")


async def repeated(play: Play, deliveries: int, replicas: int, around: Surroundings) -> list[str]:
    """The play with its causes stored `deliveries` times, under the same ids, heard by some replicas at once."""
    async with play.begun(around, deliveries) as here:
        await _replicas(play, here, replicas)
        await play.ends(here)
        return [effect for number in range(1, replicas + 1) for effect in here.made(f"replica-{number}")]


async def redelivered(play: Play, deliveries: int, around: Surroundings) -> list[str]:
    """The play with its causes handed out again and again, because the acks are lost on their way."""
    async with play.begun(around) as here:
        with here.running(play.service, "deaf", lose_acks=deliveries - 1):
            await _to_the_end(play, here, "deaf")
        await play.ends(here)
        assert f"ack #{deliveries}" in here.made("deaf")
        return here.made("deaf")


async def _replicas(play: Play, here: Scene, count: int) -> None:
    if count == 0:
        await _to_the_end(play, here, "replica-1")
        return
    with here.running(play.service, f"replica-{count}"):
        await _replicas(play, here, count - 1)


async def _to_the_end(play: Play, here: Scene, log: str) -> None:
    try:
        await play.ends(here)
    except AssertionError as error:
        raise AssertionError(f"{error}\nmade: {here.made(log)}\n{here.output(log)}") from error


async def prepared(service: str, here: Scene, done: Callable[[], Awaitable[None]]) -> None:
    """Let the service itself make what a play begins with."""
    with here.running(service, "prepares"):
        await eventually(done, START_S, 0.3)

        async def idle() -> None:
            assert (await here.bus_state(service))["waiting"] == 0

        await eventually(idle, START_S, 0.1)
