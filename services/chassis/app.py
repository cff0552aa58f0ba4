"""A service: which durable is bound to which handler, and everything around it. `build()` of a service returns one."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping

import nats.errors
import nats.js.errors
import uvicorn
from faststream import AckPolicy
from faststream.asgi import AsgiFastStream
from faststream.asgi.types import ASGIApp
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from contracts.events.base import Event
from contracts.permissions import inbox_prefix
from contracts.topology import BUCKETS, CLAIMS, consumer
from services.chassis.answering import Reply, answering
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.claims import Claims
from services.chassis.connection import PING_EVERY_S, Broker, end_at_once, security, why
from services.chassis.delivery import Delivery, Handler
from services.chassis.errors import NotAllowed, Unreachable
from services.chassis.health import Health, waits_for_nobody
from services.chassis.jobs import Job, Jobs
from services.chassis.logs import start_logs
from services.chassis.memory import collect_less_often
from services.chassis.presence import announce
from services.chassis.pull import PullLoop
from services.chassis.serving import Server
from services.chassis.settings import Settings
from services.chassis.telemetry import start_telemetry, stop_telemetry

log = logging.getLogger(__name__)

GRACE_S = 4.0
_POLL_S = 0.5

Step = Callable[[], Awaitable[None]]


class Service:
    """Declares what a service hears, answers and does by itself; `run()` runs it until SIGTERM or SIGINT."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.bus = Bus(name)
        self.blobs = Blobs(settings.blobs_root, make=False)
        self.claims = Claims(self.bus.bucket(CLAIMS))
        self.broker = Broker(
            settings.nats_servers,
            name=name,
            graceful_timeout=GRACE_S * 2,
            ack_policy=AckPolicy.MANUAL,
            apply_types=False,  # what it injects it finds in a thread, for each message
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=PING_EVERY_S,
            logger=None,
            security=security(settings),
            error_cb=end_at_once,
            inbox_prefix=inbox_prefix(settings.nats_user),
        )
        self.health = Health(self.bus)
        self.deliveries: dict[str, Delivery] = {}
        self._pulls: list[PullLoop] = []
        self._replies: list[tuple[str, Reply]] = []
        self._jobs = Jobs(name, self.bus)
        self._routes: list[tuple[str, ASGIApp]] = []
        self._on_start: list[Step] = []
        self._on_stop: list[Step] = []

    def hear(self, durable: str, handlers: Mapping[type[Event], Handler]) -> None:
        """Bind a durable of the topology to one handler for each event that it hears."""
        delivery = Delivery(consumer(durable), handlers, self.bus)
        self.deliveries[durable] = delivery
        self.health.also(f"work of {durable}", waits_for_nobody(delivery))
        self._pulls.append(PullLoop(delivery))

    def reply(self, subject: str, handler: Reply) -> None:
        """Answer request-reply on `ask.*.predict`: `handler(project, body, headers)` returns the reply's bytes."""
        self._replies.append((subject, handler))

    def every(self, period_s: float, job: Step, *, name: str) -> Callable[[], None]:
        """Do something again and again, in one replica at a time. What is returned makes this replica do it soon."""
        added = Job(name, period_s, job)
        self._jobs.add(added)
        return added.soon

    def on_start(self, step: Step) -> None:
        """Do this before anything is heard."""
        self._on_start.append(step)

    def on_stop(self, step: Step) -> None:
        """Do this after nothing is heard any more."""
        self._on_stop.append(step)

    def ready_when(self, name: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Count as ready only when `check` says so, too."""
        self.health.also(name, check)

    def background(self, forever: Callable[[], Awaitable[None]], name: str) -> None:
        """Run something in every replica for as long as the service runs, such as a watch."""
        self._jobs.background(name, forever)

    def answer_http(self, path: str, app: ASGIApp) -> None:
        """Let an ASGI application answer one path of the service's HTTP door."""
        self._routes.append((path, app))

    def wire_in_memory(self) -> NatsBroker:
        """The broker with every durable as a FastStream subscriber and facts said through it, for `TestNatsBroker`."""

        async def publish(subject: str, body: bytes, headers: Mapping[str, str], stream: str) -> None:
            await self.broker.publish(body, subject, headers=dict(headers), stream=stream)

        self.bus.publish_through(publish)
        for delivery in self.deliveries.values():
            self._subscribe(delivery)
        return self.broker

    def app(self) -> AsgiFastStream:
        """The ASGI application: `/health/live`, `/health/ready`, and the life of the service."""
        return AsgiFastStream(
            self.broker,
            logger=None,
            asgi_routes=[
                ("/health/live", self.health.live),
                ("/health/ready", self.health.ready),
                *self._routes,
            ],
            on_startup=[self._start],
            on_shutdown=[self._stop],
            after_shutdown=[self._stopped],
        )

    def run(self) -> None:
        """Run until told to stop, and return after a clean stop.

        Raises:
            SystemExit: it could not start, or not stop cleanly.
        """
        collect_less_often()
        start_logs(self.name, self.settings.log_level)
        start_telemetry(self.name, self.settings.traces_dir, self.settings.trace_predictions_ratio)
        config = uvicorn.Config(
            self.app(),
            host=self.settings.http_host,
            port=self.settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        server = Server(config)
        server.run()
        if server.lifespan.should_exit:
            sys.exit("could not stop cleanly: the log says why")

    def _subscribe(self, delivery: Delivery) -> None:
        row = delivery.consumer
        filters = [*(event.subject("*") for event in row.hears), row.redo_subject]

        self.broker.subscriber(
            stream=JStream(row.stream, declare=False),
            durable=row.durable,
            inbox_prefix=f"{inbox_prefix(self.settings.nats_user)}.".encode(),
            config=ConsumerConfig(filter_subjects=filters),
            pull_sub=PullSub(batch_size=1, timeout=5.0),
            ack_policy=AckPolicy.MANUAL,
            decoder=_as_it_came,
            title=row.durable,
        )(delivery.deliver)

    async def _start(self) -> None:
        """All of it before the process counts as started: what fails here ends it, and does not leave it half alive."""
        try:
            await self._connect()
            try:
                await self._begin()
            except NotAllowed as error:
                user = self.settings.nats_user or "nobody"
                raise NotAllowed(f"{error} as user {user}: is LOOPLINE_NATS_USER the user of {self.name}?") from error
        except (Unreachable, NotAllowed) as error:
            log.error("cannot start: %s", error)
            raise
        log.info("%s is running", self.name)

    async def _connect(self) -> None:
        try:
            connection: Client = await self.broker.connect()
        except (nats.errors.Error, OSError) as error:
            raise Unreachable(why(self.settings, [error])) from error
        self.bus.attach(connection)

    async def _begin(self) -> None:
        await self._wait_for_provisioner()
        for step in self._on_start:
            await step()
        for subject, handler in self._replies:
            await self.bus.answer(subject, self.name, answering(handler, self.bus.now))
        for pull in self._pulls:
            await pull.start(self.bus.jetstream)
        self._jobs.start()
        await announce(self.bus.connection, self.name, self.bus.now(), self.settings.blobs_root)
        self.health.started([row.consumer for row in self.deliveries.values()])

    async def _stop(self) -> None:
        log.info("%s is stopping", self.name)
        self.health.stopping()
        # All at once: each has the whole grace, and giving up a lease takes as long without a bus.
        await asyncio.gather(self._jobs.stop(), *(pull.stop(GRACE_S) for pull in self._pulls))

    async def _stopped(self) -> None:
        for step in self._on_stop:
            await step()
        stop_telemetry()

    async def _wait_for_provisioner(self) -> None:
        """FastStream would create a durable that is missing, its own way: so wait for the one who makes them all."""
        told = False
        while True:
            try:
                for row in (delivery.consumer for delivery in self.deliveries.values()):
                    await self.bus.jetstream.consumer_info(row.stream, row.durable)
                    await self.bus.check_may_fetch(row.stream, row.durable)
                for bucket in BUCKETS:
                    await self.bus.jetstream.key_value(bucket.name)
                return
            except (nats.js.errors.Error, nats.errors.Error) as error:
                if not told:
                    log.warning("waits for `python -m services.chassis.provisioning`: %s", error)
                    told = True
                await asyncio.sleep(_POLL_S)


async def _as_it_came(message: StreamMessage[Msg]) -> Msg:
    return message.raw_message
