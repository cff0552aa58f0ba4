"""Every side effect of a process, seen on its way out: facts, claims and other keys, acks, HTTP writes, models, blobs.

Looks at the client libraries and not at the services: an effect that somebody adds tomorrow is seen as well.
"""

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# How often these come is a matter of time, so that only the first of them has a name.
_REPEATED = ("keep", "say training.progressed", "save labels", "save frozen labels")
# Reads of MLflow that are asked for by POST.
_MLFLOW_READS = ("search", "get")

_being_made: ContextVar[bool] = ContextVar("being_made", default=False)


class _Refused(Exception):
    """The server answered and did nothing."""


class Effects:
    """Writes each effect that was made to `log`, a line each; `at` names the one before which the process dies.

    With `sleeps` it is stopped there instead, until somebody wakes it up.

    The second effect of one name is `<name> #2`. The first `lose_acks` acks do not reach the server. `service` is the
    process that dies: this one, or the parent of a child that works for it.
    """

    def __init__(
        self, log: Path, at: str = "", lose_acks: int = 0, sleeps: bool = False, service: int | None = None
    ) -> None:
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._at = at
        self._lose_acks = lose_acks
        self._signal = signal.SIGSTOP if sleeps else signal.SIGKILL
        self._service = service
        self._made: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def making(self, kind: str) -> Iterator[None]:
        """Around an effect: dies before it, or writes down that it was made. One that raises was not made."""
        with self._lock:
            if self._name(kind) == self._at:
                self._die()
        yield
        with self._lock:
            name = self._name(kind)
            self._made[kind] += 1
            if name == kind or kind not in _REPEATED:
                os.write(self._file, f"{name}\n".encode())

    def _name(self, kind: str) -> str:
        """Of the next one of its kind."""
        return f"{kind} #{self._made[kind] + 1}" if self._made[kind] else kind

    def loses_ack(self) -> bool:
        """Whether this ack is lost on its way."""
        with self._lock:
            self._lose_acks -= 1
            return self._lose_acks >= 0

    def _die(self) -> None:
        if self._service is not None:
            os.kill(self._service, self._signal)
        os.kill(os.getpid(), self._signal)


def watch_bus(effects: Effects) -> None:
    """What goes to NATS: facts, keys, dead letters and acks; not what only reads, leases and keep-alives."""
    from nats.aio.client import Client
    from nats.js import JetStreamContext

    store, publish = JetStreamContext.publish, Client.publish

    async def storing(self: Any, subject: str, payload: bytes = b"", *args: Any, **more: Any) -> Any:
        name = of_message(subject, payload, more.get("headers"))
        if name is None:
            return await store(self, subject, payload, *args, **more)
        with effects.making(name):
            token = _being_made.set(True)
            try:
                return await store(self, subject, payload, *args, **more)
            finally:
                _being_made.reset(token)

    async def publishing(self: Any, subject: str, payload: bytes = b"", *args: Any, **more: Any) -> None:
        name = None if _being_made.get() else of_message(subject, payload, more.get("headers"))
        if name is None:
            await publish(self, subject, payload, *args, **more)
            return
        with effects.making(name):
            if name == "ack" and effects.loses_ack():
                return
            await publish(self, subject, payload, *args, **more)

    JetStreamContext.publish = storing  # type: ignore[method-assign]
    Client.publish = publishing  # type: ignore[method-assign]


def of_message(subject: str, payload: bytes, headers: Mapping[str, Any] | None) -> str | None:
    """The name of what a message does; None where it does nothing that lasts."""
    root, *rest = subject.split(".")
    if subject.startswith("$JS.ACK."):
        return {b"": "ack", b"+ACK": "ack", b"+WPI": None}.get(payload[:4], payload[1:4].decode().lower())
    if subject.startswith(("$JS.API.", "_INBOX.", "$SRV.")):
        return None
    if root == "$KV":
        return _of_key(rest[0], rest[1], payload, headers or {})
    if root == "loopline-dead":
        return "bury"
    return f"say {'.'.join(rest[1:])}" if root == "loopline" else f"publish {root}"


def _of_key(bucket: str, first: str, payload: bytes, headers: Mapping[str, Any]) -> str | None:
    """Claims by their kind; of other buckets what is kept. A lease says who may work and is no work."""
    if bucket == "cursors":
        frozen = first == "labels" and json.loads(payload).get("frozen_up_to")
        return f"save {'frozen ' if frozen else ''}{first}"
    if bucket == "watched":
        return f"save {'reference' if first == 'reference' else bucket}"
    if bucket != "claims":
        return f"save {bucket}"
    if first == "lease":
        return None
    if "KV-Operation" in headers:
        return f"release {first}"
    return f"finish {first}" if "result" in json.loads(payload) else f"claim {first}"


def watch_http(effects: Effects) -> None:
    """What is written over HTTP, with httpx or requests: Label Studio and MLflow."""
    import httpx
    import requests

    ask, ask_blocking = httpx.AsyncClient.request, requests.Session.request

    async def asking(self: Any, method: str, url: Any, **more: Any) -> Any:
        name = of_request("label-studio", method, str(url))
        if name is None:
            return await ask(self, method, url, **more)
        with suppress(_Refused), effects.making(name):
            answer = await ask(self, method, url, **more)
            if answer.is_error:
                raise _Refused
        return answer

    def asking_blocking(self: Any, method: str, url: str, **more: Any) -> Any:
        name = of_request("mlflow", method, url)
        if name is None:
            return ask_blocking(self, method, url, **more)
        with suppress(_Refused), effects.making(name):
            answer = ask_blocking(self, method, url, **more)
            if not answer.ok:
                raise _Refused
        return answer

    httpx.AsyncClient.request = asking  # type: ignore[method-assign]
    requests.Session.request = asking_blocking  # type: ignore[method-assign]


def of_request(server: str, method: str, url: str) -> str | None:
    """`<server> <method> <what>`, without ids; None for what only reads."""
    path = urlsplit(url).path
    words = [word for word in path.split("/") if re.fullmatch(r"[A-Za-z_-]+(\.[a-z0-9]+)?", word) and word != "api"]
    if method in ("GET", "HEAD") or words[-1] in _MLFLOW_READS:
        return None
    kept = 2 if server == "mlflow" and method != "PUT" else 1
    return f"{server} {method} {'/'.join(words[-kept:])}"


def watch_models(effects: Effects) -> None:
    """What Triton nodes load and unload."""
    from tritonclient.grpc.aio import InferenceServerClient

    for what in ("load", "unload"):
        setattr(InferenceServerClient, f"{what}_model", _seen(f"triton {what}", effects, InferenceServerClient, what))


def _seen(name: str, effects: Effects, client: Any, what: str) -> Callable[..., Any]:
    call = getattr(client, f"{what}_model")

    async def seen(self: Any, *args: Any, **more: Any) -> Any:
        with effects.making(name):
            return await call(self, *args, **more)

    return seen


def watch_files(effects: Effects) -> None:
    """What is put into the blob store, by its kind, and what is kept in a cache."""
    from services.chassis.blobs import Blobs, Cache

    put, keep = Blobs.put, Cache.put

    def putting(self: Any, data: bytes, suffix: str = "") -> Any:
        with effects.making(f"blob {suffix}"):
            return put(self, data, suffix)

    def keeping(self: Any, key: str, data: bytes) -> None:
        with effects.making("keep"):
            keep(self, key, data)

    Blobs.put = putting  # type: ignore[method-assign]
    Cache.put = keeping  # type: ignore[method-assign]
