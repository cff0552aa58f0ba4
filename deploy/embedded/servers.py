"""The servers of others that the loop stands on, each as a command, its environment and a probe.

Nothing here starts anything: `deploy.embedded` and the tests' fixtures do. Everything listens on 127.0.0.1 only.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

from deploy.embedded.probes import answers, greets
from deploy.setup.steps import QUIET_LABEL_STUDIO

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
LABEL_STUDIO_BIN = ROOT / ".venv-label-studio" / "bin" / "label-studio"
LABEL_STUDIO_SETTINGS = Path(__file__).parent / "label_studio" / "loopline_settings.py"
MLFLOW_SERVER = Path(__file__).parent / "mlflow_server"
LABEL_STUDIO_EMPTY = ROOT / ".venv-label-studio" / "empty" / "label_studio.sqlite3"
"""A database with tables and nothing in them, from the set-up: making one takes half a minute."""

# glibc gives large blocks back to the kernel after every batch; without this, batches are slower than single images.
TORCH_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "2147483647"}

_JETSTREAM_BYTES = 64 * 2**30

# Linux gives outgoing connections ports from 32768 on: one of those could be taken while a server starts again.
_PORTS = range(20_000, 32_768)
_TRIES = 100


class NotInstalled(Exception):
    """A server cannot be started because something is missing; the message names it and says what to do."""


@dataclass(frozen=True)
class Process:
    """Something to run. `env` is added to the caller's environment; `ready` never raises and takes two seconds at most.

    `tree` says that it has processes of its own, which must end with it; `url` is where it can be asked, if anywhere.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], bool]
    start_timeout_s: float
    tree: bool = field(default=False, kw_only=True)
    url: str = field(default="", kw_only=True)


def free_port(preferred: int | None = None) -> int:
    """`preferred` when nobody listens there, otherwise one drawn from those that no outgoing connection is given."""
    drawn = SystemRandom().sample(_PORTS, _TRIES)
    for port in (preferred, *drawn) if preferred else drawn:
        with socket.socket() as probe:
            # Connections of an earlier run that linger must not make the port look taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError("no free port on 127.0.0.1")


@dataclass(frozen=True)
class Tls:
    """Files in PEM. With `client_ca` only clients are let in whose certificate it vouches for."""

    cert: str
    key: str
    client_ca: str = ""


def nats(data: Path, port: int, authorization: Mapping[str, object] | None = None, tls: Tls | None = None) -> Process:
    """nats-server with JetStream, everything under `data`. Whoever is not in `authorization` is not let in."""
    data.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "server_name": "loopline",
        "host": HOST,
        "port": port,
        # By default a share of the free disk, and a stream that reserves more than that is refused on a small one.
        "jetstream": {"store_dir": str(data / "jetstream"), "max_file_store": _JETSTREAM_BYTES},
    }
    if authorization:
        config["authorization"] = authorization
    if tls:
        # Ours speak TLS from the first byte. Others, who say nothing, get the server's greeting after a moment.
        config["tls"] = {"cert_file": tls.cert, "key_file": tls.key, "handshake_first": "auto"}
        if tls.client_ca:
            config["tls"] |= {"ca_file": tls.client_ca, "verify": True}
    path = data / "nats.json"
    write_private(path, json.dumps(config, indent=2))
    command = (_script("nats-server"), "--config", str(path))
    return Process("nats", command, {}, lambda: greets(HOST, port), start_timeout_s=20)


def mlflow(data: Path, port: int) -> Process:
    """MLflow's tracking server and model registry: sqlite, files, one worker."""
    artifacts = data / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    return Process(
        "mlflow",
        (
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            HOST,
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{data / 'mlflow.db'}",
            "--artifacts-destination",
            str(artifacts),
        ),
        {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Its job runner serves prompts and judges of language models: two processes and 300 MB for nothing.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "GIT_PYTHON_REFRESH": "quiet",
            "PYTHONPATH": str(MLFLOW_SERVER),
        },
        lambda: answers(f"http://{HOST}:{port}/health"),
        start_timeout_s=90,
        tree=True,
    )


def label_studio(data: Path, port: int, *, email: str, password: str, token: str, files_root: Path) -> Process:
    """Label Studio from its own environment, with one user; files under `files_root` are served to who is logged in.

    Args:
        token: the user's legacy API token; taken on the first start only, when the user is made.

    Raises:
        NotInstalled: its environment was not set up.
    """
    if not LABEL_STUDIO_BIN.exists():
        raise NotInstalled(f"Label Studio is not installed (no {LABEL_STUDIO_BIN}): ./taskw setup")
    data.mkdir(parents=True, exist_ok=True)
    files_root.mkdir(parents=True, exist_ok=True)
    database = data / "label_studio.sqlite3"
    if LABEL_STUDIO_EMPTY.exists() and not database.exists():
        shutil.copyfile(LABEL_STUDIO_EMPTY, database)
    return Process(
        "label-studio",
        (str(LABEL_STUDIO_BIN), "start", "--no-browser", "--internal-host", HOST, "--port", str(port)),
        {
            "LABEL_STUDIO_USERNAME": email,
            "LABEL_STUDIO_PASSWORD": password,
            "LABEL_STUDIO_USER_TOKEN": token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_BASE_DATA_DIR": str(data),
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files_root),
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "PYTHONPATH": str(LABEL_STUDIO_SETTINGS.parent),
            "DJANGO_SETTINGS_MODULE": LABEL_STUDIO_SETTINGS.stem,
            **QUIET_LABEL_STUDIO,
        },
        # /health says UP some seconds before the user exists.
        lambda: answers(f"http://{HOST}:{port}/api/current-user/whoami", {"Authorization": f"Token {token}"}),
        start_timeout_s=180,
    )


def triton(data: Path, http_port: int, grpc_port: int, metrics_port: int) -> Process:
    """Triton without models, for models that are pushed; its Python backend runs torch of this environment.

    Raises:
        NotInstalled: the wheel, its stub for this Python, or the shared libpython that the stub loads is missing.
    """
    site = Path(sysconfig.get_paths()["purelib"])
    server = site / "pytriton" / "tritonserver"
    if not server.exists():
        raise NotInstalled("Triton is not installed (nvidia-pytriton): ./taskw setup")
    repository = data / "models"
    repository.mkdir(parents=True, exist_ok=True)
    shared = f"loopline_{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}_"
    for left in Path("/dev/shm").glob(f"{shared}*"):
        left.unlink(missing_ok=True)  # of an earlier run that was killed: memory, until someone takes it away
    return Process(
        "triton",
        (
            str(server / "bin" / "tritonserver"), f"--model-repository={repository}",
            f"--backend-directory={_backends(data, server)}",
            f"--backend-config=python,shm-region-prefix-name={shared}", "--model-control-mode=explicit",
            # Strict, one model that failed to load would make the whole server look ill.
            "--strict-readiness=false", "--allow-gpu-metrics=false", "--exit-timeout-secs=3",
            f"--http-address={HOST}", f"--http-port={http_port}", "--http-thread-count=2",
            f"--grpc-address={HOST}", f"--grpc-port={grpc_port}",
            f"--metrics-address={HOST}", f"--metrics-port={metrics_port}",
        ),
        {
            "LD_LIBRARY_PATH": os.pathsep.join(
                filter(None, (str(site / "nvidia_pytriton.libs"), _libdir(), os.environ.get("LD_LIBRARY_PATH")))
            ),
            # Its stub starts Python isolated, so PYTHONPATH does nothing: it finds the packages by the python3 of PATH.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            # A __pycache__ in a model's folder counts as a change of the model.
            "PYTHONDONTWRITEBYTECODE": "1",
            **TORCH_MALLOC,
        },
        lambda: answers(f"http://{HOST}:{http_port}/v2/health/live"),
        start_timeout_s=60,
        tree=True,
    )  # fmt: skip


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner may read, at once."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def _script(name: str) -> str:
    """A command of this environment, or of PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise NotInstalled(f"{name} is not installed: ./taskw setup")
    return found


def _libdir() -> str:
    return str(sysconfig.get_config_var("LIBDIR") or "")


def _backends(data: Path, server: Path) -> Path:
    """A folder with the Python backend and the stub for this Python side by side, which the wheel keeps apart."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise NotInstalled(f"Triton has no stub for Python {version}: set up with 3.11, 3.12 or 3.13")
    backend = data / "backends" / "python"
    backend.mkdir(parents=True, exist_ok=True)
    for source in (*(server / "backends" / "python").glob("*.*"), stub):
        copy = backend / source.name
        if not copy.exists() or copy.stat().st_mtime_ns != source.stat().st_mtime_ns:
            shutil.copy2(source, copy)
    return backend.parent
