"""The servers of others: whether they answer, let us in, and have our time."""

import asyncio
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from services.chassis.diagnosis import Now, skew
from services.chassis.finding import Finding

_TIMEOUT_S = 5.0
# A Date header has whole seconds.
_SKEW_S = 3.0
# HTTP/2, which gRPC speaks, begins with these: the client's greeting and an empty frame of settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_BYTES, _SETTINGS = 9, 4


async def mlflow(url: str, now: Now) -> list[Finding]:
    """Whether MLflow answers."""
    answer = await _get(f"{url.rstrip('/')}/health")
    if answer is None or answer.status_code >= 400:
        says = "does not answer" if answer is None else f"answers {answer.status_code}"
        do = "start it, or set LOOPLINE_MLFLOW_URL; trainings wait for it"
        return [Finding("MLflow", f"MLflow at {url} {says}", do)]
    return [Finding("MLflow"), *_clock("MLflow", answer, now)]


async def label_studio(url: str, token: str, now: Now) -> list[Finding]:
    """Whether Label Studio answers and takes the token."""
    address = f"{url.rstrip('/')}/api/current-user/whoami"
    answer = await _get(address, {"Authorization": f"Token {token}"} if token else {})
    what = "Label Studio"
    if answer is None:
        do = "start it, or set LOOPLINE_LABEL_STUDIO_URL; labels wait for it"
        return [Finding(what, f"Label Studio at {url} does not answer", do)]
    if answer.status_code in (401, 403):
        do = "set LOOPLINE_LABEL_STUDIO_TOKEN to the legacy token of a user (Account & Settings > Legacy Token)"
        return [Finding(what, f"Label Studio at {url} refuses the token", do), *_clock(what, answer, now)]
    if answer.status_code >= 400:
        return [Finding(what, f"Label Studio at {url} answers {answer.status_code}", "look into its log")]
    return [Finding(what), *_clock(what, answer, now)]


async def triton(nodes: Mapping[str, str]) -> list[Finding]:
    """Whether gRPC is spoken at each node."""
    return list(await asyncio.gather(*(_node(name, address) for name, address in nodes.items())))


async def _node(name: str, address: str) -> Finding:
    what = f"Triton {name}"
    host, _, port = address.rpartition(":")
    do = "start it, or set LOOPLINE_TRITON_NODES; without one nothing is predicted"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(_PREFACE)
                await writer.drain()
                frame = await reader.readexactly(_FRAME_BYTES)
            finally:
                writer.close()
    except asyncio.IncompleteReadError:
        return Finding(what, f"what listens at {address} is no Triton's gRPC port", do)
    except OSError as error:
        return Finding(what, f"nobody answers at {address}: {error.strerror or 'no answer in time'}", do)
    if frame[3] != _SETTINGS:
        return Finding(what, f"what listens at {address} is no Triton's gRPC port", do)
    return Finding(what)


def _clock(what: str, answer: httpx.Response, now: Now) -> list[Finding]:
    told = answer.headers.get("date")
    if not told:
        return []
    theirs = parsedate_to_datetime(told)
    return [skew(f"clock of {what}", theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC), now(), _SKEW_S)]


async def _get(url: str, headers: Mapping[str, str] | None = None) -> httpx.Response | None:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            return await client.get(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
