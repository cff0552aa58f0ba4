"""Asking servers of this machine whether they are ready. None of these raises, each takes two seconds at most."""

import http.client
import socket
import urllib.request
from collections.abc import Mapping

_PROBE_S = 2.0
# Not through a company's proxy.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether a GET of `url` is answered with 2xx within two seconds."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with _DIRECT.open(request, timeout=_PROBE_S) as response:
            return bool(200 <= response.status < 300)
    except (OSError, http.client.HTTPException):
        return False


def greets(host: str, port: int) -> bool:
    """Whether a nats-server says hello there."""
    try:
        with socket.create_connection((host, port), timeout=_PROBE_S) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False
