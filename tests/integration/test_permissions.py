"""Who may say, read and keep what: the real nats-server with the configuration that the embedded stack gives it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from contracts.envelope import Envelope
from contracts.events import EVENTS
from contracts.events.base import Event
from contracts.events.dataset import DatasetRequested
from contracts.events.message import MessageDeadLettered
from contracts.events.model import ModelPromoted
from contracts.events.prediction import PredictionFailed, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingRequested
from contracts.permissions import USERS, User, user
from contracts.topology import (
    BUCKETS,
    CONSUMERS,
    DEAD,
    DEPLOYMENTS,
    LOOP,
    PREDICTIONS,
    SERVICES,
    dead_subject,
    stream_of,
)
from deploy.embedded import servers
from deploy.embedded.nats_users import authorization
from deploy.embedded.passwords import passwords
from deploy.embedded.servers import HOST, free_port
from services.chassis.app import Service
from services.chassis.bus import Bus
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.dead import Chosen as Letters
from services.chassis.errors import NotAllowed, Unreachable
from services.chassis.provisioning import provision
from services.chassis.reading import Start, in_order
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.servers import running

pytestmark = pytest.mark.integration

ENOUGH_S = 30
PROJECT = "line-3"
NAMES = [row.name for row in USERS]
LOOKERS = [row.name for row in USERS if row.looks]


@dataclass(frozen=True)
class Server:
    """The server, and the settings by which somebody is a user of it."""

    url: str
    passwords: dict[str, str]
    folder: Path

    def settings(self, name: str) -> Settings:
        return Settings(
            nats_url=self.url,
            nats_user=name,
            nats_password=SecretStr(self.passwords[name]),
            blobs_root=str(self.folder / "blobs"),
            kept_root=str(self.folder / "kept"),
        )

    @asynccontextmanager
    async def bus(self, name: str) -> AsyncIterator[Bus]:
        connection = await connect(self.settings(name), name)
        bus = Bus(name)
        bus.attach(connection)
        try:
            yield bus
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the topology on it, made by the provisioner."""
    folder, port = tmp_path_factory.mktemp("permissions"), free_port()
    made = dict(passwords(folder).nats)
    found = Server(f"nats://{HOST}:{port}", made, folder)

    async def provisioned() -> None:
        connection = await connect(found.settings("provisioner"), "provisioner")
        # Twice: to change what is there needs other calls than to make it.
        await provision(connection)
        await provision(connection)
        await connection.close()

    with running(servers.nats(folder / "nats", port, authorization(made)), folder / "nats.log"):
        asyncio.run(provisioned())
        yield found


async def nothing(_: Msg) -> None:
    """Takes a message."""


@pytest.mark.parametrize("name", NAMES)
async def test_a_user_says_what_it_may_say_and_no_other_event(server: Server, name: str) -> None:
    said, refused = [], []
    async with server.bus(name) as bus:
        for event in EVENTS.values():
            try:
                await bus.store(event.subject(PROJECT), b"{}", {}, stream_of(event))
                said.append(event)
            except NotAllowed as error:
                refused.append(str(error))
    assert set(said) == set(user(name).says)
    assert refused == [f"not allowed to say {e.subject(PROJECT)}" for e in EVENTS.values() if e not in said]


@pytest.mark.parametrize("name", NAMES)
async def test_a_user_writes_only_its_own_buckets(server: Server, name: str) -> None:
    wrote = []
    async with server.bus(name) as bus:
        for bucket in BUCKETS:
            try:
                # Straight to the subject: to open a bucket first is one more thing that may be refused.
                await bus.store(f"$KV.{bucket.name}.of-{name}", b"{}", {}, f"KV_{bucket.name}")
                wrote.append(bucket.name)
            except NotAllowed:
                continue
    assert sorted(wrote) == sorted(user(name).writes)


def of_others(row: User) -> list[str]:
    """JetStream calls by which a user would take, delete or forge what is another's."""
    api = "$JS.API"
    calls = [
        *(f"{api}.STREAM.{verb}.{LOOP}" for verb in ("DELETE", "PURGE", "MSG.DELETE")),
        f"{api}.STREAM.DELETE.KV_{DEPLOYMENTS}",
        f"{api}.STREAM.PURGE.{DEAD}",
        "loopline.line-3.unheard-of.said",
        "loopline-due.line-3.training.requested",
        "elsewhere",
    ]
    for consumer in CONSUMERS:
        where = f"{consumer.stream}.{consumer.durable}"
        calls.append(f"{api}.CONSUMER.DELETE.{where}")
        if consumer.service != row.name:
            calls += [f"{api}.CONSUMER.MSG.NEXT.{where}", f"$JS.ACK.{where}.1.1.1.1.1", f"loopline-dead.{where}"]
    if not row.provisions:
        calls += [
            f"{api}.STREAM.CREATE.MINE",
            f"{api}.STREAM.UPDATE.{LOOP}",
            f"{api}.CONSUMER.DURABLE.CREATE.{LOOP}.mine",
            # With or without a name in the subject: the server believes the one in the request.
            f"{api}.CONSUMER.CREATE.{LOOP}",
            *(f"{api}.CONSUMER.CREATE.{row.stream}.{row.durable}" for row in CONSUMERS),
            f"{api}.CONSUMER.CREATE.{LOOP}.trainer-training.loopline.*.dataset.versioned",
            f"{api}.CONSUMER.CREATE.REQUESTS",
        ]
    if not row.operates:
        calls += [*(consumer.redo_subject for consumer in CONSUMERS), f"{api}.STREAM.MSG.DELETE.{DEAD}"]
        calls += ["loopline-schedule.line-3.nightly"]
    if not row.meets_services:
        calls += ["$SRV.PING"]
    if not row.looks:
        calls += [f"{api}.INFO", f"{api}.STREAM.INFO.REQUESTS", f"{api}.DIRECT.GET.REQUESTS"]
    return calls


@pytest.mark.parametrize("name", NAMES)
async def test_nobody_takes_deletes_or_forges_what_is_anothers(server: Server, name: str) -> None:
    refused: list[str] = []
    async with server.bus(name) as bus:
        for subject in of_others(user(name)):
            try:
                await bus.ask(subject, {}, timeout_s=ENOUGH_S)
            except NotAllowed as error:
                refused.append(str(error))
    assert refused == [f"not allowed to ask {subject}" for subject in of_others(user(name))]


@pytest.mark.parametrize("name", NAMES)
async def test_nobody_hears_the_answers_to_another_or_what_it_may_not_read(server: Server, name: str) -> None:
    row = user(name)
    inboxes = [f"{other.inbox}.>" for other in USERS if other is not row]
    unread = [] if row.reads else ["loopline.*.training.>"]
    asks = [] if name == "predictor" else ["ask.*.predict"]
    async with server.bus(name) as bus:
        for subject in (*inboxes, *unread, *asks, "_INBOX.>", ">", "loopline.*.prediction.requested", "$KV.>", "$JS.>"):
            with pytest.raises(NotAllowed, match="not allowed to hear"):
                await bus.answer(subject, "spies", nothing)


@pytest.mark.parametrize("name", LOOKERS)
async def test_who_may_look_reads_streams_and_buckets(server: Server, name: str) -> None:
    async with server.bus("cli") as cli, server.bus("deployer") as deployer:
        await cli.say(DatasetRequested(why=name), project=name)
        await cli.store(PredictionFailed.subject(name), b"{}", {}, PREDICTIONS)
        await deployer.bucket(DEPLOYMENTS).put("line-3", {"version": 1})
    async with Client.connect(server.settings(name), name) as client:
        assert len(await client.consumers()) == len(CONSUMERS)
        found = await client.bucket(DEPLOYMENTS).get("line-3")
        assert found
        assert found[0] == {"version": 1}
        assert "line-3" in await client.bucket(DEPLOYMENTS).keys()
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def on_value(key: str, value: object) -> None:
            await seen.put(key)

        watching = asyncio.create_task(client.bucket(DEPLOYMENTS).watch(on_value))
        assert await asyncio.wait_for(seen.get(), ENOUGH_S)
        watching.cancel()
        await asyncio.wait({watching}, timeout=ENOUGH_S)
        assert watching.cancelled()
        if LOOP not in user(name).reads:
            return
        last = await client.last(DatasetRequested, name)
        assert last
        assert last[0].why == name
        assert [event.why async for event, _, _ in client.read(DatasetRequested, name)] == [name]
        if PREDICTIONS in user(name).reads:
            messages = in_order(client.bus.jetstream, PREDICTIONS, [PredictionFailed.subject(name)], Start(seq=1))
            assert (await anext(messages)).data == b"{}"
            await messages.aclose()
        if DEAD in user(name).reads:
            assert [letter async for letter in client.dead.read(Letters(project=name))] == []
            assert await client.schedules.all() == []


async def test_a_camera_asks_and_is_answered_and_reads_nothing(server: Server) -> None:
    service = Service("predictor", server.settings("predictor"))

    async def answer(project: str, body: bytes, headers: object) -> bytes:
        failed = PredictionFailed(prediction_id="7", reason=project)
        return json.dumps({"type": failed.TYPE, "data": failed.model_dump()}).encode()

    service.reply("ask.*.predict", answer)
    bind_all(service)
    async with run(service), Client.connect(server.settings("camera"), "camera") as camera:
        answered = await camera.predict(PROJECT, PredictionRequested(image_base64="aa"))
        assert isinstance(answered, PredictionFailed)
        await camera.say(PredictionRequested(image_base64="aa"), project=PROJECT)
        with pytest.raises(NotAllowed, match=r"not allowed to say \$JS\.API\.STREAM\.MSG\.GET\.LOOP"):
            await camera.last(ProjectDefined, PROJECT)
        with pytest.raises(NotAllowed):
            await anext(camera.events())


def bind_all(service: Service, said: tuple[Event, ...] = ()) -> None:
    """Every durable of a service with handlers that say `said`."""

    async def handle(event: Event, heard: object) -> tuple[Event, ...]:
        return said

    for consumer in CONSUMERS:
        if consumer.service == service.name:
            service.hear(consumer.durable, {event: handle for event in consumer.hears})


@asynccontextmanager
async def run(service: Service) -> AsyncIterator[None]:
    """A service in this process."""
    app = service.app()
    await app.start()
    try:
        yield
    finally:
        await app.stop()


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_gives_up_tells_and_is_given_the_message_again(server: Server, name: str) -> None:
    service = Service(name, server.settings(name))
    bind_all(service)
    async with run(service), Client.connect(server.settings("cli"), "cli") as cli:
        assert name in [one.name for one in await cli.alive()]
        for consumer in (row for row in CONSUMERS if row.service == name):
            heard, project = consumer.hears[0], f"given-up-{consumer.durable}"
            await cli.bus.store(heard.subject(project), b"not json", {}, consumer.stream)
            letters = [letter async for letter in said_dead(cli, project, 1)]
            await cli.dead.replay(letters[0], "ines")
            assert [letter async for letter in said_dead(cli, project, 2)]
        for consumer in (row for row in CONSUMERS if row.service == name):
            await eventually(lambda row=consumer: nothing_left(cli, row.durable))


async def said_dead(cli: Client, project: str, count: int) -> AsyncIterator[int]:
    """The numbers of the dead letters of a project, once there are so many."""

    async def enough() -> None:
        assert len([1 async for _ in cli.read(MessageDeadLettered, project)]) == count

    await eventually(enough, ENOUGH_S)
    async for event, _, _ in cli.read(MessageDeadLettered, project):
        assert event.letter
        yield event.letter


async def nothing_left(cli: Client, durable: str) -> None:
    states = {state.durable: state for state in await cli.consumers()}
    assert (states[durable].pending, states[durable].unacked) == (0, 0)


async def test_a_service_that_says_what_it_may_not_is_told_and_the_message_is_a_dead_letter(server: Server) -> None:
    service, project = Service("trainer", server.settings("trainer")), "overreach"
    bind_all(service, (ModelPromoted.model_construct(),))
    async with run(service), Client.connect(server.settings("cli"), "cli") as cli:
        asked: Envelope = await cli.say(TrainingRequested(why="test"), project=project)
        [letter] = [letter async for letter in said_dead(cli, project, 1)]
        found = await cli.dead.find(letter)
    assert found.reason == f"NotAllowed: not allowed to say loopline.{project}.model.promoted"
    assert found.tries == 1
    assert found.envelope
    assert found.envelope.id == asked.id
    assert dead_subject(found.stream, found.durable) == "loopline-dead.LOOP.trainer-training"


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_does_not_start_under_the_user_of_another(server: Server, name: str) -> None:
    for other in (row.name for row in USERS if row.name not in (name, "provisioner")):
        service = Service(name, server.settings(other))
        bind_all(service)
        told = rf"not allowed to .* as user {other}: is LOOPLINE_NATS_USER the user of {name}\?"
        with pytest.raises(NotAllowed, match=told):
            async with run(service):
                pass
        await service.bus.connection.close()


async def test_what_answers_does_not_start_under_the_user_of_another(server: Server) -> None:
    service = Service("predictor", server.settings("trainer"))

    async def answer(project: str, body: bytes, headers: object) -> bytes:
        return b""

    service.reply("ask.*.predict", answer)
    with pytest.raises(NotAllowed, match=r"not allowed to hear ask\.\*\.predict as user trainer"):
        async with run(service):
            pass


async def test_a_process_under_the_user_of_another_ends_and_says_why(server: Server) -> None:
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": server.url,
        "LOOPLINE_NATS_USER": "trainer",
        "LOOPLINE_NATS_PASSWORD": server.passwords["trainer"],
        "LOOPLINE_MLFLOW_URL": f"http://{HOST}:{free_port()}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.registry", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, told = await asyncio.wait_for(process.communicate(), ENOUGH_S * 2)
    lines = [json.loads(line)["message"] for line in told.decode().splitlines() if line.startswith("{")]
    assert process.returncode not in (0, None)
    assert (
        "cannot start: not allowed to fetch from registry-versions as user trainer: "
        "is LOOPLINE_NATS_USER the user of registry?"
    ) in lines


async def test_to_look_whether_it_may_fetch_takes_no_message(server: Server) -> None:
    async with server.bus("cli") as cli, server.bus("trainer") as trainer:
        await cli.say(TrainingRequested(why="x"), project="untouched")
        before = await trainer.jetstream.consumer_info(LOOP, "trainer-training")
        await trainer.check_may_fetch(LOOP, "trainer-training")
        after = await trainer.jetstream.consumer_info(LOOP, "trainer-training")
    assert before.delivered
    assert before.num_pending
    assert (before.delivered, before.num_pending) == (after.delivered, after.num_pending)


async def test_anonymous_gets_nothing_but_an_error(server: Server) -> None:
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await nats.connect(server.url, allow_reconnect=False)
    nobody = server.settings("cli").model_copy(update={"nats_user": "", "nats_password": SecretStr("")})
    with pytest.raises(Unreachable, match="refuses the user nobody"):
        await connect(nobody, "nobody")


def test_no_password_stands_in_the_servers_configuration_or_log(server: Server) -> None:
    told = [
        path.read_text("utf-8", "replace")
        for path in (server.folder / "nats" / "nats.json", server.folder / "nats.log")
    ]
    assert all(password not in text for password in server.passwords.values() for text in told)
