"""The HTTP doors, fed over a socket by what is HTTP, almost HTTP and no HTTP: each is answered or closed, none fails.

`LONG=1` tries thousands.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.app import Service
from services.chassis.settings import Settings
from services.labeling_sync.hinting import HOOK_PATH, HintDoor
from tests.fuzz.messages import SECRET
from tests.fuzz.test_subscribers import LONG, WITHIN_S, fuzzing

CASES = 2_000 if LONG else 200
PATHS = [b"/health/live", b"/health/ready", HOOK_PATH.encode()]
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

_TOKENS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"get", b"CONNECT", b"", b"\x00", b"G\xc3\xa9T", b"X" * 10_000]
_ODD_PATHS = [
    b"/", b"*", b"", b"//", b"/../..", b"/%00", b"/%zz", b"/health/live?x=%ff", b"/" + b"a" * 70_000, b"http://x/health/live",
    b"/health/live\x00", "/é".encode(), b"/hooks/label-studio/", b"/hooks/label-studio#x",
]  # fmt: skip
_SOCKET = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
_HEADERS = [
    b"Host: x", b"Authorization: Bearer " + SECRET.encode(), b"Authorization: Bearer wrong", b"Authorization: \xff\xfe",
    b"Authorization:", b"Content-Type: application/json", b"Content-Length: 5", b"Content-Length: -1",
    b"Content-Length: 99999999999999999999", b"Content-Length: 1\r\nContent-Length: 2", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip", b"Expect: 100-continue", b"Connection: close", b"no colon", b": no name", b"X\x00: y",
    b"x: " + b"y" * 70_000, _SOCKET + b"A" * 22 + b"==",
]  # fmt: skip
_BODIES = [b"", b"{}", b"hello", b"\x00" * 100, b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"x" * 70_000, b"\xff" * 10]


def requests() -> st.SearchStrategy[bytes]:
    """Bytes for the socket."""
    line = st.builds(
        lambda method, path, version: method + b" " + path + b" " + version,
        st.sampled_from([b"GET", b"POST", *_TOKENS]),
        st.sampled_from([*PATHS, *PATHS, *_ODD_PATHS]),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b""]),
    )
    headers = st.lists(st.sampled_from(_HEADERS), max_size=4)
    whole = st.builds(
        lambda first, more, body: b"\r\n".join([first, b"Host: x", *more, b"", body]),
        line,
        headers,
        st.sampled_from(_BODIES) | st.binary(max_size=50),
    )
    hint = st.builds(
        lambda bearer, body: b"\r\n".join(
            [
                b"POST " + HOOK_PATH.encode() + b" HTTP/1.1",
                b"Host: x",
                bearer,
                b"Content-Length: %d" % len(body),
                b"",
                body,
            ]
        ),
        st.sampled_from(_HEADERS[1:5]),
        st.sampled_from(_BODIES) | st.binary(max_size=50),
    )
    look = st.sampled_from(PATHS).map(lambda path: b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    return st.one_of(look, whole, whole, hint, st.binary(max_size=300))


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[int]:
    """The service's doors on a port, without the bus."""
    config = uvicorn.Config(service.app(), host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def answer(port: int, request: bytes) -> bytes:
    """What comes back until the other end closes, or nothing more comes for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), WITHIN_S)
    except (ConnectionResetError, BrokenPipeError):
        return b""
    finally:
        writer.close()


@pytest.mark.timeout(1_800)
def test_whatever_comes_to_the_doors_is_answered_or_closed() -> None:
    hints: list[None] = []
    service = Service("labeling-sync", Settings())
    service.answer_http(HOOK_PATH, HintDoor(SECRET, lambda: hints.append(None)))
    statuses: Counter[int] = Counter()

    with asyncio.Runner() as runner:
        doors = serving(service)
        port = runner.run(doors.__aenter__())

        @fuzzing(CASES)
        @given(requests())
        def is_answered_or_closed(request: bytes) -> None:
            before = len(hints)
            came = runner.run(answer(port, request))
            found = _STATUS.match(came)
            status = int(found.group(1)) if found else 0
            statuses[status] += 1
            assert status == 0 or 200 <= status < 500 or status == 503, came[:300]
            assert found or not came
            assert SECRET.encode() not in came
            assert b"Traceback" not in came
            assert len(hints) == before or SECRET.encode() in request, "a hint without its secret"

        is_answered_or_closed()
        live = runner.run(answer(port, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        runner.run(doors.__aexit__(None, None, None))
    print(f"\ndoors: {sum(statuses.values())} cases, {dict(statuses)}, {len(hints)} hints")
    assert live.startswith(b"HTTP/1.1 200"), "the doors are still open"
    assert {200, 204, 400, 401} <= statuses.keys()
