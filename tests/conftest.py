"""Fixtures that start the real servers, each only when a test asks for it; all but NATS once a test run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.embedded import servers
from deploy.embedded.servers import HOST, free_port
from tests.servers import running
from tests.signing import key_settings


@dataclass(frozen=True)
class LabelStudioServer:
    """A running Label Studio and its user. Files under `files_root` are served at /data/local-files/?d=…"""

    url: str
    token: str
    email: str
    password: str
    files_root: Path


@pytest.fixture(scope="session", autouse=True)
def signing_keys_of_the_run() -> Iterator[None]:
    """Without keys neither registry nor deployer starts, be it here or as a process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in key_settings().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def servers_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of this run keep data and logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A nats-server with JetStream and an empty store, for one test: a service hears other tests' projects, too."""
    root, port = tmp_path_factory.mktemp("nats"), free_port()
    with running(servers.nats(root / "store", port), root / "nats.log"):
        yield f"nats://{HOST}:{port}"


@pytest.fixture(scope="session")
def mlflow_url(servers_root: Path) -> Iterator[str]:
    """An MLflow server without runs."""
    port = free_port()
    with running(servers.mlflow(servers_root / "mlflow", port), servers_root / "mlflow.log"):
        yield f"http://{HOST}:{port}"


@pytest.fixture(scope="session")
def label_studio(servers_root: Path) -> Iterator[LabelStudioServer]:
    """A Label Studio without projects."""
    port = free_port()
    server = LabelStudioServer(
        url=f"http://{HOST}:{port}",
        token="0123456789abcdef0123456789abcdef01234567",
        email="operator@loopline.local",
        password="only-for-tests",
        files_root=servers_root / "files",
    )
    process = servers.label_studio(
        servers_root / "label-studio",
        port,
        email=server.email,
        password=server.password,
        token=server.token,
        files_root=server.files_root,
    )
    with running(process, servers_root / "label-studio.log"):
        yield server


@pytest.fixture(scope="session")
def triton(servers_root: Path) -> Iterator[str]:
    """The gRPC address (host:port) of a Triton without models."""
    grpc_port = free_port()
    process = servers.triton(servers_root / "triton", free_port(), grpc_port, free_port())
    with running(process, servers_root / "triton.log"):
        yield f"{HOST}:{grpc_port}"
