"""Who is there: every service answers `$SRV.PING`, `.INFO` and `.STATS`, NATS' protocol for services (ADR-32)."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import nats.micro
from nats.aio.client import Client

from contracts.compatibility import meaning
from contracts.events import EVENTS
from services.chassis.jobs import replica
from services.chassis.store_mark import mark_of

# Answers come within milliseconds; after this much silence there is no other.
_QUIET_S = 0.4
_UNKNOWN_VERSION = "0.0.0"


@dataclass(frozen=True)
class Alive:
    """One process of a service.

    `contracts` is the hash of the words it knows (see `contracts_hash`), `blobs` the mark of its blob store.
    """

    name: str
    id: str
    version: str
    replica: str
    started: str
    contracts: str
    blobs: str


def loopline_version() -> str:
    """The version that is installed, `0.0.0` where it runs without being installed."""
    try:
        return version("loopline")
    except PackageNotFoundError:
        return _UNKNOWN_VERSION


@cache
def contracts_hash() -> str:
    """12 hex digits, the same for all who know the same events with the same fields, however these are described."""
    schemas = {type_: meaning(event.model_json_schema()) for type_, event in EVENTS.items()}
    return hashlib.sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:12]


async def announce(connection: Client, name: str, now: datetime, blobs_root: str) -> None:
    """Answer for this process for as long as the connection lasts."""
    await nats.micro.add_service(
        connection,
        name=name,
        version=loopline_version(),
        description=f"loopline {name}",
        metadata={
            "replica": replica(),
            "started": now.astimezone(UTC).isoformat(timespec="seconds"),
            "contracts": contracts_hash(),
            "blobs": await mark_of(blobs_root),
        },
    )


async def alive(connection: Client) -> Sequence[Alive]:
    """Everybody who answers now, by name and replica. Takes half a second."""
    inbox = connection.new_inbox()
    found: list[Alive] = []
    subscription = await connection.subscribe(inbox)
    try:
        await connection.publish("$SRV.PING", reply=inbox)
        with suppress(TimeoutError):
            while True:
                message = await subscription.next_msg(timeout=_QUIET_S)
                if message.data:  # empty: the server says that nobody listens
                    found += _read(message.data)
                else:
                    break
    finally:
        await subscription.unsubscribe()
    return sorted(found, key=lambda one: (one.name, one.replica))


def _read(data: bytes) -> list[Alive]:
    """An answer, or nothing where it is none. A service that is none of ours has no metadata that we know."""
    try:
        answer = json.loads(data)
        metadata = answer.get("metadata") or {}
        return [
            Alive(
                name=str(answer["name"]),
                id=str(answer["id"]),
                version=str(answer["version"]),
                replica=str(metadata.get("replica", "")),
                started=str(metadata.get("started", "")),
                contracts=str(metadata.get("contracts", "")),
                blobs=str(metadata.get("blobs", "")),
            )
        ]
    except (ValueError, KeyError, AttributeError):
        return []
