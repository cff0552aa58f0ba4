"""Which processes the stack has, and the settings that join them. Nothing here starts anything."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.topology import SERVICES
from deploy.embedded import servers
from deploy.embedded.given import MLFLOW_LOGIN, BadSetting
from deploy.embedded.nats_users import authorization
from deploy.embedded.passwords import LABEL_STUDIO_USER, passwords, secrets_file
from deploy.embedded.probes import answers
from deploy.embedded.servers import HOST, ROOT, Process, Tls, free_port
from deploy.signing import signing_keys

NATS_URL = "LOOPLINE_NATS_URL"
_OF_MLFLOW = ("trainer", "registry")


@dataclass(frozen=True)
class Place:
    """Something to look at: what it is, where, and how to get in."""

    name: str
    url: str
    note: str = ""


@dataclass(frozen=True)
class Stack:
    """What to start and what to tell: `servers`, then `once` to its end as soon as `nats` is ready, then `services`."""

    settings: Mapping[str, str]
    servers: tuple[Process, ...]
    once: tuple[Process, ...]
    services: tuple[Process, ...]
    places: tuple[Place, ...]

    @property
    def processes(self) -> tuple[Process, ...]:
        """All that keep running."""
        return self.servers + self.services


def embedded_stack(given: Mapping[str, str], var: Path) -> Stack:
    """The whole loop under `var`, on the usual ports or free ones, without servers for which `given` names others.

    Raises:
        BadSetting: what is given does not go together.
        servers.NotInstalled: something is missing here.
    """
    ports = _Ports()
    made = {} if NATS_URL in given else passwords(var).nats
    joined = [_nats(given, made, var, ports), _mlflow(given, var, ports), _label_studio(given, var, ports)]
    joined.append(_triton(given, var, ports))
    settings = {
        "LOOPLINE_VAR": str(var),
        # Label Studio serves to its users what lies under its files root: so that is not var, where the passwords are.
        "LOOPLINE_BLOBS_ROOT": str(var / "files" / "blobs"),
        "LOOPLINE_KEPT_ROOT": str(var / "kept"),
        "LOOPLINE_TRACES_DIR": str(var / "traces"),
        "LOOPLINE_LOG_LEVEL": "INFO",
    }
    for part in joined:
        settings |= part.settings
    # Services never make this folder: to them one that is missing is a disk that is away.
    Path(settings["LOOPLINE_BLOBS_ROOT"]).mkdir(parents=True, exist_ok=True)
    settings |= {name: value for name, value in given.items() if name not in ("LOOPLINE_VAR", *MLFLOW_LOGIN)}
    environment = settings | _for_python()
    mlflow_login = {name: given[name] for name in MLFLOW_LOGIN if name in given}
    own = {name: _as_user(name, made) | (mlflow_login if name in _OF_MLFLOW else {}) for name in SERVICES}
    for name, keys in _signing(given, var).items():
        own[name] |= keys
    services = tuple(_service(name, ports.one(), environment | own[name]) for name in SERVICES)
    webapp = _webapp(ports.one(8501), environment | _as_user("webapp", made))
    return Stack(
        settings,
        servers=tuple(part.process for part in joined if part.process),
        once=(_provisioner(environment | _as_user("provisioner", made)),),
        services=(*services, webapp),
        places=(Place("Operator view", webapp.url), *(part.place for part in joined)),
    )


@dataclass(frozen=True)
class _Joined:
    """A server, ours or somebody's own (then there is no process), and how the services find it."""

    process: Process | None
    settings: Mapping[str, str]
    place: Place


class _Ports:
    """Hands out ports, none twice."""

    def __init__(self) -> None:
        self._out: set[int] = set()

    def one(self, usual: int | None = None) -> int:
        port = free_port(usual)
        while port in self._out:
            port = free_port()
        self._out.add(port)
        return port


def _nats(given: Mapping[str, str], made: Mapping[str, str], var: Path, ports: _Ports) -> _Joined:
    if url := given.get(NATS_URL):
        return _Joined(None, {}, Place("NATS", _without_password(url), "your own"))
    port = ports.one(4222)
    url = f"nats://{HOST}:{port}"
    # What is in the settings file is for the person who runs the stack.
    return _Joined(
        servers.nats(var / "nats", port, authorization(made), _nats_tls(given)),
        {NATS_URL: url, **_as_user("cli", made)},
        Place("NATS", url, f"users and passwords in {secrets_file(var)}"),
    )


def _nats_tls(given: Mapping[str, str]) -> Tls | None:
    cert, key, client_ca = (given.get(f"LOOPLINE_NATS_SERVER_{name}", "") for name in ("CERT", "KEY", "CLIENT_CA"))
    if not cert and not key:
        return None
    if not cert or not key or "LOOPLINE_NATS_TLS_CA" not in given:
        raise BadSetting(
            "TLS needs LOOPLINE_NATS_SERVER_CERT, LOOPLINE_NATS_SERVER_KEY and LOOPLINE_NATS_TLS_CA; "
            "python -m deploy.tls makes them"
        )
    return Tls(cert, key, client_ca)


def _as_user(name: str, made: Mapping[str, str]) -> dict[str, str]:
    """The settings by which a process is this user of our NATS; none when the NATS is somebody's own."""
    return {"LOOPLINE_NATS_USER": name, "LOOPLINE_NATS_PASSWORD": made[name]} if made else {}


def _signing(given: Mapping[str, str], var: Path) -> dict[str, dict[str, str]]:
    """The private key goes to the registry alone, the public ones to the deployer."""
    theirs = [name for name in ("LOOPLINE_SIGNING_KEY_FILE", "LOOPLINE_TRUSTED_KEYS_FILE") if name in given]
    if len(theirs) == 1:
        raise BadSetting(
            f"{theirs[0]} is your own: set both LOOPLINE_SIGNING_KEY_FILE and LOOPLINE_TRUSTED_KEYS_FILE; "
            "python -m deploy.signing makes them"
        )
    if theirs:
        return {}
    keys = signing_keys(var / "signing")
    return {"registry": keys.of_registry, "deployer": keys.of_deployer}


def _mlflow(given: Mapping[str, str], var: Path, ports: _Ports) -> _Joined:
    if url := given.get("LOOPLINE_MLFLOW_URL"):
        if _without_password(url) != url:
            raise BadSetting(
                "LOOPLINE_MLFLOW_URL holds a user or password, which would be shown in errors: "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        return _Joined(None, {}, Place("MLflow", url, "your own"))
    port = ports.one(5000)
    url = f"http://{HOST}:{port}"
    return _Joined(servers.mlflow(var / "mlflow", port), {"LOOPLINE_MLFLOW_URL": url}, Place("MLflow", url))


def _label_studio(given: Mapping[str, str], var: Path, ports: _Ports) -> _Joined:
    if url := given.get("LOOPLINE_LABEL_STUDIO_URL"):
        if "LOOPLINE_LABEL_STUDIO_TOKEN" not in given:
            raise BadSetting("LOOPLINE_LABEL_STUDIO_URL is your own: set LOOPLINE_LABEL_STUDIO_TOKEN, too")
        return _Joined(None, {}, Place("Label Studio", url, "your own"))
    port, made, files = ports.one(8080), passwords(var), var / "files"
    url = f"http://{HOST}:{port}"
    process = servers.label_studio(
        var / "label-studio",
        port,
        email=LABEL_STUDIO_USER,
        password=made.label_studio,
        token=made.label_studio_token,
        files_root=files,
    )
    return _Joined(
        process,
        {
            "LOOPLINE_LABEL_STUDIO_URL": url,
            "LOOPLINE_LABEL_STUDIO_TOKEN": made.label_studio_token,
            "LOOPLINE_LABEL_STUDIO_HOOK_SECRET": made.label_studio_hook,
            "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(files),
        },
        Place("Label Studio", url, f"{LABEL_STUDIO_USER}, password in {secrets_file(var)}"),
    )


def _triton(given: Mapping[str, str], var: Path, ports: _Ports) -> _Joined:
    if nodes := given.get("LOOPLINE_TRITON_NODES"):
        return _Joined(None, {}, Place("Triton", nodes, "your own"))
    http, grpc, metrics = ports.one(8000), ports.one(8001), ports.one(8002)
    return _Joined(
        servers.triton(var / "triton", http, grpc, metrics),
        {"LOOPLINE_TRITON_NODES": f"local={HOST}:{grpc}"},
        Place("Triton", f"http://{HOST}:{http}", f"gRPC on {grpc}, metrics at http://{HOST}:{metrics}/metrics"),
    )


def _for_python() -> dict[str, str]:
    """Environment of our own processes, beside the settings."""
    own = f"{HOST},localhost"
    return {
        "PYTHONPATH": str(ROOT),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # What talks to servers of this machine must not go through a company's proxy.
        **{name: ",".join(filter(None, (os.environ.get(name), own))) for name in ("NO_PROXY", "no_proxy")},
    }


def _provisioner(environment: Mapping[str, str]) -> Process:
    command = (sys.executable, "-m", "services.chassis.provisioning")
    return Process("provisioner", command, environment, lambda: True, start_timeout_s=60)


def _service(name: str, port: int, environment: Mapping[str, str]) -> Process:
    return Process(
        name,
        (sys.executable, "-m", f"services.{name.replace('-', '_')}"),
        {**environment, "LOOPLINE_HTTP_PORT": str(port)},
        lambda: answers(f"http://{HOST}:{port}/health/ready"),
        start_timeout_s=90,
        url=f"http://{HOST}:{port}",
    )


def _webapp(port: int, environment: Mapping[str, str]) -> Process:
    command = (
        sys.executable, "-m", "streamlit", "run", str(ROOT / "webapp" / "app.py"), "--server.headless=true",
        f"--server.address={HOST}", f"--server.port={port}", "--browser.gatherUsageStats=false",
        "--server.fileWatcherType=none",
    )  # fmt: skip
    url = f"http://{HOST}:{port}"
    return Process("webapp", command, environment, lambda: answers(f"{url}/_stcore/health"), 60, url=url)


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def environment_file(settings: Mapping[str, str]) -> str:
    """Settings as the text of a `.env` file that python-dotenv reads back as they were."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(settings.items()))


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
