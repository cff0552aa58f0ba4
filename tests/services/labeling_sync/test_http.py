"""What Label Studio's answers mean, against a small server that answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.chassis.errors import Rejected, Retry
from services.labeling_sync.adapters.label_studio.http import Http, NotThere, There
from services.labeling_sync.ports import Away

HANGS_UP = 0


class Server:
    """Answers its scripted statuses in turn, then 200; counts the requests."""

    def __init__(self, *script: int) -> None:
        self.script = list(script)
        self.requests = 0
        self.token = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests += 1
        self.token = next(line for line in head.split("\r\n") if line.lower().startswith("authorization:"))
        status = self.script.pop(0) if self.script else 200
        if status != HANGS_UP:
            body = json.dumps({"detail": "Validation error", "validation_errors": {"title": ["too long"]}}).encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
            writer.write(body)
        writer.close()


@asynccontextmanager
async def talking_to(server: Server, patience_s: float = 0) -> AsyncIterator[Http]:
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    http = Http(f"http://127.0.0.1:{port}/", "secret", timeout_s=5, patience_s=patience_s)
    try:
        yield http
    finally:
        await http.close()
        listening.close()
        await listening.wait_closed()


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, Rejected, "too long"),
        (401, Away, "LOOPLINE_LABEL_STUDIO_TOKEN"),
        (404, NotThere, "/api/x"),
        (409, There, "/api/x"),
        (500, Retry, "500"),
        (503, Away, "overloaded or starting"),
        (HANGS_UP, Retry, "got no answer"),
    ],
)
async def test_each_answer_has_its_meaning_and_is_asked_for_once(
    status: int, error: type[Exception], text: str
) -> None:
    server = Server(status)
    async with talking_to(server) as http:
        with pytest.raises(error, match=text):
            await http.call("POST", "/api/x", body={})
    assert server.requests == 1
    assert server.token == "Authorization: Token secret"


async def test_a_call_with_patience_waits_until_the_server_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server = Server(503, 503)
    async with talking_to(server, patience_s=30) as http:
        assert (await http.call("GET", "/api/x"))["detail"]
    assert server.requests == 3
    told = [record.message for record in caplog.records if record.name.endswith("label_studio.http")]
    assert len(told) == 2
    assert "overloaded or starting; goes on when that is mended" in told[0]
    assert told[1] == "Label Studio is back"
