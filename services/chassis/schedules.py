"""Requests that come again by the clock, fired by the bus itself: message schedules of JetStream (ADR-51)."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import nats.js.errors

from contracts.events.base import Event
from contracts.topology import SCHEDULED, SCHEDULES, due_subject, schedule_subject
from services.chassis.bus import PUBLISH_TIMEOUT_S, Bus
from services.chassis.errors import Rejected

_WHEN, _TARGET, _ZONE = "Nats-Schedule", "Nats-Schedule-Target", "Nats-Schedule-Time-Zone"
_FIRED_BY, _NEXT, _ROLLUP = "Nats-Scheduler", "Nats-Schedule-Next", "Nats-Rollup"

_BAD_PATTERN, _BAD_ZONE = 10189, 10223


@dataclass(frozen=True)
class Schedule:
    """An event, the JSON that is its body, and when it is said.

    `when` is a cron line of six fields, seconds first, or `@every 6h`, `@at <RFC 3339 time>`, `@daily` and the like; in
    `zone` (IANA name), in UTC where there is none. `fired_at` and `next` are known once it has fired, and only of the
    one that fired last of those that say the same event about a project.
    """

    project: str
    name: str
    when: str
    event: str
    says: str
    zone: str = ""
    fired_at: datetime | None = None
    next: str = ""


class Schedules:
    """The schedules on the bus. Whoever may say a request by schedule may say `loopline-schedule.>`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def add(self, project: str, name: str, event: Event, when: str, zone: str = "") -> bool:
        """Keep a schedule, instead of one of the same name. Returns whether there was one.

        Raises:
            Rejected: the server understands the time or the zone not, or no schedule may say this event.
        """
        if type(event) not in SCHEDULED:
            known = ", ".join(one.name() for one in SCHEDULED)
            raise Rejected(f"{event.name()} cannot be scheduled, only {known}")
        there_was = await self._last(schedule_subject(project, name)) is not None
        headers = {
            _WHEN: when,
            _TARGET: due_subject(type(event), project),
            "ce-type": event.TYPE,
            "content-type": "application/json",
            **({_ZONE: zone} if zone else {}),
        }
        body = event.model_dump_json(exclude_defaults=True).encode()
        try:
            await self._store(schedule_subject(project, name), body, headers)
        except nats.js.errors.APIError as error:
            raise _understood(error, when, zone) from error
        return there_was

    async def remove(self, project: str, name: str) -> bool:
        """End a schedule. Returns whether there was one."""
        subject = schedule_subject(project, name)
        if await self._last(subject) is None:
            return False
        # The last message on its subject holds: one without a time ends it, and takes the place of those before.
        await self._store(subject, b"", {_ROLLUP: "sub"})
        return True

    async def all(self, project: str = "*") -> list[Schedule]:
        """Those of a project, or all, by project and name."""
        info = await self._bus.jetstream.stream_info(SCHEDULES, subjects_filter=schedule_subject(project, "*"))
        found = [await self._read(subject) for subject in sorted(info.state.subjects or {})]
        return [schedule for schedule in found if schedule]

    async def _read(self, subject: str) -> Schedule | None:
        last = await self._last(subject)
        if last is None:
            return None
        headers, body, _ = last
        _, project, name = subject.split(".")
        fired = await self._last(headers[_TARGET])
        if fired and fired[0].get(_FIRED_BY) != subject:
            fired = None
        return Schedule(
            project=project,
            name=name,
            when=headers[_WHEN],
            event=headers[_TARGET].split(".", 2)[2],
            says=body.decode("utf-8", "replace"),
            zone=headers.get(_ZONE, ""),
            fired_at=fired[2] if fired else None,
            next=fired[0].get(_NEXT, "") if fired else "",
        )

    async def _last(self, subject: str) -> tuple[dict[str, str], bytes, datetime | None] | None:
        """Headers, body and time of the last message; None where there is none, or where it ended a schedule."""
        with suppress(nats.js.errors.NotFoundError):
            message = await self._bus.jetstream.get_last_msg(SCHEDULES, subject)
            headers = dict(message.headers or {})
            if _WHEN in headers or _FIRED_BY in headers:
                return headers, message.data or b"", message.time
        return None

    async def _store(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        await self._bus.jetstream.publish(subject, body, timeout=PUBLISH_TIMEOUT_S, stream=SCHEDULES, headers=headers)


def _understood(error: nats.js.errors.APIError, when: str, zone: str) -> Exception:
    if error.err_code == _BAD_ZONE:
        return Rejected(f"the server knows no time zone {zone!r}: write it like Europe/Berlin")
    if error.err_code == _BAD_PATTERN and zone and when.startswith("@"):
        return Rejected(f"{when!r} takes no time zone, only a cron line does")
    if error.err_code == _BAD_PATTERN:
        return Rejected(
            f"{when!r} is no time that comes again: write six fields, seconds first, as in '0 0 2 * * *' for 2:00 at "
            "night, or '@every 6h', of a second at least"
        )
    return error
