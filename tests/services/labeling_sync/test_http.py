"""What Label Studio's answers mean, against a small server that answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.chassis.errors import Away, Rejected, Retry
from services.labeling_sync.adapters.label_studio.http import Http, NotThere, There

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
async def talking_to(server: Server) -> AsyncIterator[Http]:
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    http = Http(f"http://127.0.0.1:{port}/", "secret", timeout_s=5)
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
        (503, Away, "overloaded or starting"),
        (HANGS_UP, Away, "got no answer"),
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


@pytest.mark.parametrize(
    ("then", "error", "text"),
    [(200, Retry, "POST /api/x of Label Studio: 500"), (500, Away, "500 to everything"), (HANGS_UP, Away, "500 to")],
)
async def test_a_server_that_fails_at_the_simplest_question_too_is_away(
    then: int, error: type[Exception], text: str
) -> None:
    server = Server(500, then)
    async with talking_to(server) as http:
        with pytest.raises(error, match=text) as raised:
            await http.call("POST", "/api/x", body={})
    assert raised.type is error
    assert server.requests == 2
