"""What stays up all the time: Label Studio, MLflow and Triton, real ones, for all acts of a run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.embedded import servers
from deploy.embedded.servers import HOST, free_port
from tests.servers import running
from tests.signing import key_settings


@dataclass(frozen=True)
class Surroundings:
    """Where they are, and where blobs lie."""

    label_studio_url: str
    label_studio_token: str
    mlflow_url: str
    triton: str
    files: Path
    kept: Path

    @property
    def blobs(self) -> Path:
        """The blob store, below what Label Studio serves."""
        return self.files / "blobs"

    @property
    def settings(self) -> dict[str, str]:
        """Of the services, but for the bus."""
        return {
            "LOOPLINE_BLOBS_ROOT": str(self.blobs),
            "LOOPLINE_KEPT_ROOT": str(self.kept),
            "LOOPLINE_VAR": str(self.files.parent),
            "LOOPLINE_MLFLOW_URL": self.mlflow_url,
            "LOOPLINE_LABEL_STUDIO_URL": self.label_studio_url,
            "LOOPLINE_LABEL_STUDIO_TOKEN": self.label_studio_token,
            "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(self.files),
            "LOOPLINE_TRITON_NODES": f"local={self.triton}",
            "LOOPLINE_TRITON_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **key_settings(),
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
        }

    def studio(self) -> httpx.AsyncClient:
        """A client of Label Studio."""
        headers = {"Authorization": f"Token {self.label_studio_token}"}
        return httpx.AsyncClient(base_url=self.label_studio_url, headers=headers, timeout=60, trust_env=False)


@contextmanager
def surroundings(folder: Path) -> Iterator[Surroundings]:
    """All three, started together; they end with the `with`."""
    token = "0123456789abcdef0123456789abcdef01234567"
    studio_port, mlflow_port, grpc_port = free_port(), free_port(), free_port()
    files = folder / "files"
    (files / "blobs").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for process in (
            servers.mlflow(folder / "mlflow", mlflow_port),
            servers.triton(folder / "triton", free_port(), grpc_port, free_port()),
            servers.label_studio(
                folder / "label-studio", studio_port, email="operator@loopline.local", password="only-for-tests",
                token=token, files_root=files,
            ),
        ):  # fmt: skip
            stack.enter_context(running(process, folder / "log" / f"{process.name}.log"))
        yield Surroundings(
            f"http://{HOST}:{studio_port}", token, f"http://{HOST}:{mlflow_port}", f"{HOST}:{grpc_port}",
            files, folder / "kept",
        )  # fmt: skip
