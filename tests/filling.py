"""A nats-server with little room, and filling it up."""

import json
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from deploy.embedded import servers
from deploy.embedded.servers import Process

_FULL = r"maximum bytes exceeded|insufficient resources"


def small_nats(data: Path, port: int, store_bytes: int) -> Process:
    """nats-server whose JetStream may use so many bytes of the disk."""
    process = servers.nats(data, port)
    config = Path(process.command[-1])
    told = json.loads(config.read_text())
    told["jetstream"]["max_file_store"] = store_bytes
    config.write_text(json.dumps(told))
    return process


async def fill(jetstream: JetStreamContext, stream: str, subject: str) -> None:
    """Publish until the server takes no more, large messages first."""
    for size in (100_000, 20):
        with pytest.raises(Exception, match=_FULL):
            await _for_ever(jetstream, stream, subject, b"x" * size)


async def _for_ever(jetstream: JetStreamContext, stream: str, subject: str, body: bytes) -> None:
    while True:
        await jetstream.publish(subject, body, stream=stream)
