"""When MLflow's client says that MLflow is away, against a small server that answers as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from services.chassis.mlflow_away import why_away

HANGS_UP = 0


@contextmanager
def answering(status: int, otherwise: int) -> Iterator[str]:
    """The address of a server with `status` for the search of registered models, and `otherwise` for the rest."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = status if "registered-models/search" in self.path else otherwise
            if code == HANGS_UP:
                return
            body = b"{}" if code == 200 else b"in words"
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "otherwise", "why"),
    [
        (HANGS_UP, 200, "does not answer: is it running?"),
        (429, 200, "answers only that it cannot now"),
        (502, 200, "answers only that it cannot now"),
        (503, 200, "answers only that it cannot now"),
        (500, 500, "answers 500 to everything"),
        (500, 200, ""),  # it fails at this request alone, which is for the tries of the topology
        (400, 500, ""),
        (401, 401, "lets nobody in: set MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_why_mlflow_is_away(status: int, otherwise: int, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with answering(status, otherwise) as url:
        client = MlflowClient(url, registry_uri=url)
        with pytest.raises(MlflowException) as raised:
            client.search_registered_models(max_results=1)
        found = why_away(raised.value, lambda: client.search_experiments(max_results=1))
    assert found.startswith(why)
    assert bool(found) == bool(why)
