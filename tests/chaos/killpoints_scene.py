"""One death and what comes of it: a bus of its own, a project of its own, and a service that dies there."""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats.errors

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.topology import CONSUMERS, DEAD, LOOP, PREDICTIONS, SERVICES
from deploy.embedded import servers
from deploy.embedded.servers import HOST, ROOT, free_port
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.errors import Unreachable
from services.chassis.provisioning import consumer_config, provision
from services.chassis.settings import Settings
from tests.chaos.dying import ACK_WAIT_S, Faults, run
from tests.conftest import LabelStudioServer
from tests.eventually import eventually
from tests.servers import running
from tests.signing import key_settings

# Every death is a fresh process. The imports, most of its start, are paid once in the process that all are forked from.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pytest", "mlflow", "tests.chaos.dying", "httpx", "requests", "tritonclient.grpc.aio", "pyarrow.parquet"]
    + [f"services.{name.replace('-', '_')}.app" for name in SERVICES]
)
# The job of a service that is asked to stop ends within this.
_STOP_S = 20.0
_PROVISIONED_S = 60.0


@dataclass(frozen=True)
class Surroundings:
    """The servers that all scenes share; empty where a scene does not need one."""

    folder: Path
    label_studio: LabelStudioServer | None = None
    mlflow_url: str = ""
    triton: str = ""


@dataclass
class Scene:
    """A project on a bus of its own. `kept` is what its `arrange` wants to find again later.

    What a play says is stored `copies` times; more than once it goes without the id by which the server would know it.
    """

    around: Surroundings
    nats_url: str
    client: Client
    folder: Path
    project: str = field(default_factory=lambda: f"p-{uuid4().hex[:12]}")
    kept: dict[str, Any] = field(default_factory=dict)
    copies: int = 1

    @cached_property
    def env(self) -> dict[str, str]:
        """The settings of its services."""
        found = {
            "PYTHONPATH": str(ROOT),
            "LOOPLINE_NATS_URL": self.nats_url,
            "LOOPLINE_NATS_USER": "",
            "LOOPLINE_NATS_PASSWORD": "",
            "LOOPLINE_BLOBS_ROOT": self.client.settings.blobs_root,
            "LOOPLINE_KEPT_ROOT": str(self.folder / "kept"),
            "LOOPLINE_TRACES_DIR": "",
            "LOOPLINE_MLFLOW_URL": self.around.mlflow_url,
            "LOOPLINE_TRITON_NODES": f"local={self.around.triton or '127.0.0.1:1'}",
            "LOOPLINE_POLL_PERIOD_S": "0.5",
            "LOOPLINE_WATCH_PERIOD_S": "0.5",
            **key_settings(),
            "LOOPLINE_SWEEP_PERIOD_S": "0.5",
        }
        if studio := self.around.label_studio:
            found |= {
                "LOOPLINE_LABEL_STUDIO_URL": studio.url,
                "LOOPLINE_LABEL_STUDIO_TOKEN": studio.token,
                "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(studio.files_root),
            }
        return found

    @contextmanager
    def running(self, service: str, log: str, **faults: Any) -> Iterator[BaseProcess]:
        """A process of the service, with what is to happen to it; what it makes is in the log of that name."""
        given = Faults(str(self.folder / log), **faults)
        Path(given.log).touch()
        process = _FORKS.Process(target=_run, args=(service, given, self.env), daemon=True)
        process.start()
        try:
            yield process
        finally:
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGTERM)
            process.join(_STOP_S)
            if process.is_alive():
                process.kill()

    def blobs(self, kind: str) -> int:
        """How many blobs of a kind are stored."""
        return len(list(Path(self.client.settings.blobs_root).rglob(f"*.{kind}")))

    def made(self, log: str) -> list[str]:
        """The side effects that were made, in order."""
        return (self.folder / log).read_text().splitlines()

    def output(self, log: str) -> str:
        """The last lines that the process printed."""
        return "\n".join(Path(f"{self.folder / log}.txt").read_text("utf-8", "replace").splitlines()[-20:])

    async def say(self, event: Event, id_: str = "", cause: str | None = None) -> None:
        """Store an event as often as the play wants it, under one id; `cause` is the id of what caused it."""
        envelope = Envelope.first(
            event, project=self.project, source="/services/test", id=id_ or str(uuid4()), time=self.client.bus.now()
        )
        headers = replace(envelope, causation_id=cause).headers()
        if self.copies > 1:
            del headers["Nats-Msg-Id"]
        for _ in range(self.copies):
            body = event.model_dump_json().encode()
            await self.client.bus.jetstream.publish(envelope.subject, body, headers=headers)

    async def said(self, service: str) -> dict[str, int]:
        """How many facts of each type a service has said, each counted once however often it is stored."""
        ids: dict[str, set[str]] = {}
        for stream in (LOOP, PREDICTIONS):
            info = await self.client.bus.jetstream.stream_info(stream)
            for seq in range(1, info.state.last_seq + 1):
                message = await self.client.bus.jetstream.get_msg(stream, seq)
                headers = message.headers or {}
                if headers.get("ce-source") == f"/services/{service}":
                    ids.setdefault((message.subject or "").split(".", 2)[2], set()).add(headers["ce-id"])
        # How often progress is told is a matter of time.
        return {name: len(of_name) for name, of_name in sorted(ids.items()) if name != "training.progressed"}

    async def claims(self) -> dict[str, int]:
        """How many claims of each kind are done or open."""
        bucket = self.client.bucket("claims")
        found: Counter[str] = Counter()
        for key in await bucket.keys():
            kind = key.split(".")[0]
            if kind != "lease" and (value := await bucket.get(key)):
                found[f"{kind} {'done' if 'result' in value[0] else 'open'}"] += 1
        return dict(sorted(found.items()))

    async def bus_state(self, service: str) -> dict[str, Any]:
        """What every scene looks at: facts, claims, what is unacked, dead letters."""
        consumers = [one for one in await self.client.consumers() if one.durable.startswith(f"{service}-")]
        return {
            "said": await self.said(service),
            "claims": await self.claims(),
            "waiting": sum(one.pending + one.unacked for one in consumers),
            "dead": int((await self.client.bus.jetstream.stream_info(DEAD)).state.messages),
        }


@asynccontextmanager
async def scene(around: Surroundings) -> AsyncIterator[Scene]:
    """A new bus with the topology on it, whose unacked messages come again after two seconds."""
    folder = around.folder / uuid4().hex[:12]
    folder.mkdir(parents=True)
    blobs_root = folder / "blobs"
    if around.label_studio:
        blobs_root = around.label_studio.files_root / folder.name
    blobs_root.mkdir(parents=True)
    port = free_port()
    with running(servers.nats(folder / "nats", port), folder / "nats.log"):
        settings = Settings(nats_url=f"nats://{HOST}:{port}", nats_user="", blobs_root=str(blobs_root))
        await eventually(lambda: _provisioned(settings), _PROVISIONED_S, 0.5)
        async with Client.connect(settings, "test") as client:
            yield Scene(around, settings.nats_url, client, folder)


async def _provisioned(settings: Settings) -> None:
    """On a disk that is busy the server may take longer than the client waits."""
    connection = await connect(settings, "provisioning")
    try:
        await provision(connection)
        jetstream = connection.jetstream(timeout=10)
        for row in CONSUMERS:
            await jetstream.add_consumer(row.stream, consumer_config(replace(row, ack_wait_s=ACK_WAIT_S)))
        async with Client.connect(settings, "test"):
            pass
    except (nats.errors.TimeoutError, Unreachable) as error:
        raise AssertionError(f"not provisioned: {error}") from error
    finally:
        await connection.close()


def _run(service: str, faults: Faults, env: Mapping[str, str]) -> None:
    """What a fork does; its output goes beside its log."""
    output = os.open(f"{faults.log}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    run(service, faults, env)


async def ended(process: BaseProcess, timeout_s: float) -> int | None:
    """The exit code; None where the process lives on."""
    await asyncio.to_thread(process.join, timeout_s)
    return process.exitcode
