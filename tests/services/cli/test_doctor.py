"""Each test plants a fault for real and asks the doctor for its name; what stands around it is well."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.events.dataset import DatasetRequested
from contracts.events.image import ImageAdded
from contracts.topology import CLAIMS, DEAD, LOOP, SERVICES, STREAMS, consumer, dead_subject
from deploy.embedded import servers
from deploy.embedded.servers import HOST, free_port
from services.chassis import presence
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.finding import Finding
from services.chassis.provisioning import consumer_config, provision, stream_config
from services.chassis.settings import StreamLimits
from services.cli.checks import disk
from services.cli.doctor import examine
from services.cli.settings import CliSettings
from tests.filling import fill, small_nats
from tests.servers import running
from tests.services.cli.world import CliRunner, Session, app

pytestmark = pytest.mark.integration

TOKEN = "the-right-one"


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def http(answers: dict[str, int], clock_s: float = 0) -> AsyncIterator[str]:
    """An HTTP server that answers paths with a status; 401 for a wrong token, its clock off by so much."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = answers.get(head.split()[1], 404)
        if "Authorization" in head or "authorization" in head:
            status = status if f"Token {TOKEN}" in head else 401
        date = format_datetime(now() + timedelta(seconds=clock_s), usegmt=True)
        writer.write(f"HTTP/1.1 {status} x\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def grpc(greets: bool = True) -> AsyncIterator[str]:
    """What a gRPC server says first, or something else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(24)
        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" if greets else b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def nats_port(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    process = servers.nats(tmp_path / "nats", port)
    config = Path(process.command[-1])
    told = json.loads(config.read_text())
    told["authorization"] = {
        "users": [
            {"user": "cli", "password": "right"},
            {"user": "camera", "password": "right", "permissions": {
                "publish": "loopline.*.prediction.requested", "subscribe": "_INBOX_camera.>"}},
        ]
    }  # fmt: skip
    config.write_text(json.dumps(told))
    with running(process, tmp_path / "nats.log"):
        yield port


@pytest.fixture
async def well(nats_port: int, tmp_path: Path) -> AsyncIterator[CliSettings]:
    """Settings of a world in which all is well, apart from services, which do not run."""
    (tmp_path / "blobs").mkdir()
    async with http({"/health": 200}) as mlflow, http({"/api/current-user/whoami": 200}) as studio, grpc() as triton:
        settings = CliSettings(
            _env_file=None,  # type: ignore[call-arg]
            nats_url=f"nats://{HOST}:{nats_port}",
            nats_user="cli",
            nats_password=SecretStr("right"),
            blobs_root=str(tmp_path / "blobs"),
            mlflow_url=mlflow,
            label_studio_url=studio,
            label_studio_token=SecretStr(TOKEN),
            triton_nodes={"local": triton},
        )
        connection = await connect(settings, "provisioning")
        await provision(connection)
        await connection.close()
        yield settings


@asynccontextmanager
async def services_run(settings: CliSettings, *but: str) -> AsyncIterator[Client]:
    """All services answer, but those named."""
    async with Client.connect(settings, "test") as client:
        for name in SERVICES:
            if name not in but:
                await presence.announce(client.bus.connection, name, now(), settings.blobs_root)
        yield client


async def faults(settings: CliSettings, clock: object = None) -> dict[str, Finding]:
    found = [finding async for finding in examine(settings, clock)]  # type: ignore[arg-type]
    return {finding.what: finding for finding in found if finding.fault}


async def the_fault(settings: CliSettings, what: str, clock: object = None) -> Finding:
    """The only one there is."""
    found = await faults(settings, clock)
    assert list(found) == [what], found
    assert found[what].do
    return found[what]


def but(settings: CliSettings, **other: object) -> CliSettings:
    return settings.model_copy(update=other)


async def test_where_all_is_well_the_doctor_finds_no_fault(well: CliSettings) -> None:
    async with services_run(well):
        assert await faults(well) == {}


async def test_a_wrong_password_is_named(well: CliSettings) -> None:
    found = await faults(but(well, nats_password=SecretStr("wrong")))
    assert "refuses the user cli" in found["NATS"].fault
    assert "LOOPLINE_NATS_PASSWORD" in found["NATS"].do


async def test_a_bus_that_nobody_runs_is_named_and_the_rest_is_looked_at(well: CliSettings) -> None:
    found = await faults(but(well, nats_url=f"nats://{HOST}:{free_port()}", mlflow_url=f"http://{HOST}:{free_port()}"))
    assert "cannot reach NATS" in found["NATS"].fault
    assert "does not answer" in found["MLflow"].fault


async def test_a_user_that_may_not_look_is_told_so(well: CliSettings) -> None:
    found = await the_fault(but(well, nats_user="camera"), "rights on the bus")
    assert "the user camera is not allowed" in found.fault


@pytest.mark.parametrize("stream", [DEAD, LOOP, "SCHEDULES"])
async def test_a_missing_stream_is_named(well: CliSettings, stream: str) -> None:
    async with services_run(well) as client:
        await client.bus.jetstream.delete_stream(stream)
        found = await faults(well)
        assert found.pop(f"stream {stream}").fault == "it is missing"
        assert not found or all(what.startswith("durable ") for what in found), found


async def test_a_missing_durable_and_a_missing_bucket_are_named(well: CliSettings) -> None:
    async with services_run(well) as client:
        await client.bus.jetstream.delete_consumer(LOOP, "trainer-training")
        await client.bus.jetstream.delete_key_value(CLAIMS)
        found = await faults(well)
        assert set(found) == {"durable trainer-training", f"bucket {CLAIMS}"}
        assert "hears nothing" in found["durable trainer-training"].fault


async def test_a_stream_and_a_durable_that_differ_from_the_topology_are_named_with_what_differs(
    well: CliSettings,
) -> None:
    async with services_run(well) as client:
        row = next(row for row in STREAMS if row.name == DEAD)
        config = stream_config(row, 1)
        config.max_age = 8000
        await client.bus.jetstream.update_stream(config)
        durable = consumer_config(consumer("trainer-training"))
        durable.ack_wait = 99
        await client.bus.jetstream.add_consumer(LOOP, durable)
        found = await faults(well)
        assert set(found) == {f"stream {DEAD}", "durable trainer-training"}
        assert "max_age (8000.0 instead of 7776000" in found[f"stream {DEAD}"].fault
        assert "ack_wait (99.0 instead of 15" in found["durable trainer-training"].fault


async def test_a_stream_that_is_nearly_full_is_named(well: CliSettings) -> None:
    settings = but(well, streams={DEAD: StreamLimits.model_validate({"max_bytes": 2**20})})
    async with services_run(well) as client:
        await provision(client.bus.connection, limits=settings.streams)
        for _ in range(9):
            subject = dead_subject(LOOP, "trainer-training")
            await client.bus.jetstream.publish(subject, b"x" * 100_000, stream=DEAD)
        found = await faults(settings)
        assert set(found) == {f"stream {DEAD}", "dead letters"}
        assert "nearly full" in found[f"stream {DEAD}"].fault
        assert "LOOPLINE_STREAMS" in found[f"stream {DEAD}"].do
        assert found["dead letters"].fault == "there are 9"


async def test_a_durable_that_nobody_serves_and_one_that_falls_behind_are_named(well: CliSettings) -> None:
    async with services_run(well) as client:
        await client.say(DatasetRequested(why="waits"), project="solar")
        found = await the_fault(well, "durable labeling-sync-datasets")
        assert "1 messages wait, and nobody takes them" in found.fault

        examined = asyncio.Event()

        async def flood() -> None:
            while not examined.is_set():
                await client.bus.jetstream.publish(ImageAdded.subject("solar"), b"{}", stream=LOOP)

        flooding = asyncio.create_task(flood())
        found_now = await faults(well)
        examined.set()  # not cancelled: on Python 3.11 `wait_for`, in nats-py, may swallow that
        await flooding
        assert "more in a second" in found_now["durable labeling-sync-images"].fault


async def test_a_service_that_does_not_run_is_named(well: CliSettings) -> None:
    async with services_run(well, "deployer"):
        assert "not running" in (await the_fault(well, "service deployer")).fault


async def test_a_service_that_knows_older_words_is_to_be_upgraded(
    well: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with services_run(well, "registry") as client:
        with monkeypatch.context() as patched:
            patched.setattr(presence, "contracts_hash", lambda: "0" * 12)
            await presence.announce(client.bus.connection, "registry", now(), well.blobs_root)
        found = await the_fault(well, "service registry")
        assert "upgrade this service" in found.do


async def test_a_service_with_another_blob_store_is_named(well: CliSettings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with services_run(well, "trainer") as client:
        await presence.announce(client.bus.connection, "trainer", now(), str(tmp_path / "elsewhere"))
        assert "another blob store" in (await the_fault(well, "service trainer")).fault


async def test_a_clock_that_is_off_is_named_by_how_much(well: CliSettings) -> None:
    async with services_run(well):
        found = await faults(well, lambda: now() - timedelta(seconds=40))
        assert set(found) == {"clock of NATS", "clock of MLflow", "clock of Label Studio"}
        assert "40 s ahead of" in found["clock of NATS"].fault
        async with http({"/health": 200}, clock_s=-300) as late:
            assert "behind" in (await the_fault(but(well, mlflow_url=late), "clock of MLflow")).fault


async def test_a_full_store_of_the_bus_is_named(tmp_path: Path, well: CliSettings) -> None:
    port = free_port()
    process = small_nats(tmp_path / "small", port, 8 * 2**20)
    limits = {row.name: StreamLimits.model_validate({"max_bytes": 2**20}) for row in STREAMS}
    settings = but(well, nats_url=f"nats://{HOST}:{port}", nats_user="", streams=limits)
    with running(process, tmp_path / "small.log"):
        connection = await connect(settings, "provisioning")
        await provision(connection, limits=limits)
        await connection.close()
        async with services_run(settings) as client:
            await client.bus.jetstream.add_stream(name="OTHER", subjects=["other"])
            await fill(client.bus.jetstream, "OTHER", "other")
            found = await the_fault(settings, "store of NATS")
            assert "max_file_store" in found.do


async def test_triton_mlflow_and_label_studio_are_named_when_they_are_away_or_somebody_else(well: CliSettings) -> None:
    async with services_run(well), grpc(greets=False) as other:
        away = f"http://{HOST}:{free_port()}"
        nodes = {"a": f"{HOST}:{free_port()}", "b": other}
        found = await faults(but(well, triton_nodes=nodes, mlflow_url=away, label_studio_url=away))
        assert set(found) == {"Triton a", "Triton b", "MLflow", "Label Studio"}
        assert "nobody answers" in found["Triton a"].fault
        assert "no Triton's gRPC port" in found["Triton b"].fault
        wrong = but(well, label_studio_token=SecretStr("wrong"))
        assert "LOOPLINE_LABEL_STUDIO_TOKEN" in (await the_fault(wrong, "Label Studio")).do


async def test_a_blob_store_that_is_not_there_or_not_to_be_written_is_named(well: CliSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert "is not there" in disk.blobs(str(tmp_path / "file"))[0].fault
    assert "is not there" in disk.blobs(str(tmp_path / "nothing"))[0].fault
    assert "cannot be written" in disk.blobs("/proc/self", lambda folder: (2**40, 2**40))[0].fault


def test_a_disk_that_is_nearly_full_is_named(tmp_path: Path) -> None:
    (fault,) = [one for one in disk.blobs(str(tmp_path), lambda folder: (2**29, 2**40)) if one.fault]
    assert (fault.what, fault.fault[:7]) == ("disk", "512.0 M")
    assert not [one for one in disk.blobs(str(tmp_path), lambda folder: (2**38, 2**40)) if one.fault]


def test_the_command_exits_1_with_a_line_for_each_fault(tmp_path: Path) -> None:
    nowhere = f"{HOST}:{free_port()}"
    settings = CliSettings(
        _env_file=None,  # type: ignore[call-arg]
        nats_url=f"nats://{nowhere}",
        mlflow_url=f"http://{nowhere}",
        label_studio_url=f"http://{nowhere}",
        triton_nodes={"local": nowhere},
        blobs_root=str(tmp_path),
    )
    shown = CliRunner().invoke(app, ["doctor"], obj=Session(settings=settings))
    assert shown.exit_code == 1
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("FAULT  NATS: cannot reach NATS at nats://")
    assert all(" To do: " in line for line in lines if line.startswith("FAULT"))
    told = json.loads(CliRunner().invoke(app, ["doctor", "--json"], obj=Session(settings=settings)).stdout)
    assert not told["healthy"]
    assert {"what": "NATS", "ok": False}.items() <= told["checks"][0].items()
