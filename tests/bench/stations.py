"""What `bench:bus` measures, each in a process of its own: `python -m tests.bench.stations NAME`, told by `Meter`.

A station stands on the nats-server that `LOOPLINE_NATS_URL` names, with the topology on it, and hears one durable. The
bare ones are what one would write with nats-py and nothing else; they lose messages where a service would not.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import nats
import uvloop
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.image import ImageAdded
from contracts.events.label import LabelSubmitted
from contracts.events.training import TrainingFailed, TrainingRequested
from contracts.topology import LOOP, Consumer, consumer
from services.chassis.app import Service
from services.chassis.heard import Heard
from services.chassis.memory import collect_less_often
from services.chassis.settings import Settings
from services.chassis.telemetry import start_telemetry, stop_telemetry
from tests.bench import predictions
from tests.bench.meter import Meter

ONE = consumer("trainer-training")
MANY = consumer("labeling-sync-images")


async def bare(row: Consumer, handle: Callable[[Msg, JetStreamContext], Coroutine[None, None, None]]) -> None:
    """Pull, `at_once` in flight, with nats-py alone. Runs until cancelled."""
    connection = await nats.connect(Settings().nats_url)
    jetstream = connection.jetstream()
    pull = await jetstream.pull_subscribe_bind(consumer=row.durable, stream=row.stream)
    places = asyncio.Semaphore(row.at_once)
    running: set[asyncio.Task[None]] = set()

    def done(task: asyncio.Task[None]) -> None:
        running.discard(task)
        places.release()

    while True:
        await places.acquire()
        free = 1
        while free < row.at_once and not places.locked():
            await places.acquire()
            free += 1
        messages: list[Msg] = []
        with suppress(TimeoutError):
            messages = await pull.fetch(free, timeout=5)
        for _ in range(free - len(messages)):
            places.release()
        for message in messages:
            if row.at_once == 1:
                await handle(message, jetstream)
                places.release()
                continue
            task = asyncio.create_task(handle(message, jetstream))
            running.add(task)
            task.add_done_callback(done)


async def bare_one(meter: Meter) -> None:
    """One hop after the other: fetch, json, publish, ack."""

    async def handle(message: Msg, jetstream: JetStreamContext) -> None:
        event = json.loads(message.data)
        await meter.passes()
        body = json.dumps({"reason": event["why"]}).encode()
        await jetstream.publish(TrainingFailed.subject("bench"), body, stream=LOOP, headers=_id_after(message))
        await message.ack()

    await _beside(bare(ONE, handle), meter)


async def bare_many(meter: Meter) -> None:
    """Small facts, many in flight: what nats-py alone can do."""

    async def handle(message: Msg, jetstream: JetStreamContext) -> None:
        event = json.loads(message.data)
        await meter.passes()
        body = json.dumps(
            {
                "image_sha256": event["image"]["sha256"],
                "label": event["label"],
                "chosen": event["chosen"],
                "task_id": 1,
                "annotation_id": 1,
                "labelled_at": _NOW.isoformat(),
            }
        ).encode()
        await jetstream.publish(LabelSubmitted.subject("bench"), body, stream=LOOP, headers=_id_after(message))
        await message.ack()

    await _beside(bare(MANY, handle), meter)


async def faststream_one(meter: Meter) -> None:
    """FastStream as its manual has it, with an event as the argument, and nothing on it."""
    broker = NatsBroker(Settings().nats_url, logger=None)

    @broker.subscriber(
        stream=JStream(LOOP, declare=False),
        durable=ONE.durable,
        config=ConsumerConfig(filter_subjects=[*(event.subject("*") for event in ONE.hears), ONE.redo_subject]),
        pull_sub=PullSub(batch_size=1, timeout=5.0),
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def take(event: TrainingRequested) -> None:
        await meter.passes()
        # Its annotations that give the message, and with it an id to go on from, would double the time.
        await broker.publish(
            TrainingFailed(reason=event.why),
            TrainingFailed.subject("bench"),
            stream=LOOP,
            headers={"Nats-Msg-Id": str(uuid4())},
        )

    async with broker:
        await broker.start()
        await meter.serve()


async def chassis_one(meter: Meter) -> None:
    """A service that hears one durable, one message after the other."""
    service = Service("trainer", Settings())

    async def on_requested(event: TrainingRequested, heard: Heard) -> list[Event]:
        await meter.passes()
        return [TrainingFailed(reason=event.why)]

    service.hear("trainer-training", {TrainingRequested: on_requested, DatasetVersioned: on_requested})
    await _run(service, meter)


async def chassis_many(meter: Meter) -> None:
    """A service that hears one durable, many messages in flight."""
    service = Service("labeling-sync", Settings())

    async def on_added(event: ImageAdded, heard: Heard) -> list[Event]:
        await meter.passes()
        submitted = LabelSubmitted(
            image_sha256=event.image.sha256,
            label=event.label or "",
            chosen=event.chosen,
            task_id=1,
            annotation_id=1,
            labelled_at=_NOW,
        )
        return [submitted]

    service.hear("labeling-sync-images", {ImageAdded: on_added})
    await _run(service, meter)


async def bare_predictor(meter: Meter) -> None:
    """The predictor's own work in a bare pull loop."""
    async with predictions.ports(meter) as ports:
        await _beside(bare(predictions.DURABLE, predictions.directly(ports)), meter)


async def predictor(meter: Meter) -> None:
    """The predictor."""
    await _run(predictions.service(meter), meter)


_NOW = datetime.now(UTC)


def _id_after(message: Msg) -> dict[str, str]:
    return {"Nats-Msg-Id": f"{(message.headers or {})['ce-id']}.out"}


async def _run(service: Service, meter: Meter) -> None:
    collect_less_often()  # as `Service.run` does
    async with service.app().start_lifespan_context():
        await meter.serve()


async def _beside(forever: Awaitable[None], meter: Meter) -> None:
    working = asyncio.ensure_future(forever)
    measuring = asyncio.create_task(meter.serve())
    await asyncio.wait({working, measuring}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await measuring


STATIONS: dict[str, tuple[Callable[[Meter], Awaitable[None]], Consumer]] = {
    "bare_one": (bare_one, ONE),
    "faststream_one": (faststream_one, ONE),
    "chassis_one": (chassis_one, ONE),
    "bare_many": (bare_many, MANY),
    "chassis_many": (chassis_many, MANY),
    "bare_predictor": (bare_predictor, predictions.DURABLE),
    "predictor": (predictor, predictions.DURABLE),
}


async def main(name: str) -> None:
    """Run one station until standard input ends."""
    settings = Settings()
    if settings.traces_dir:
        start_telemetry(name, settings.traces_dir, settings.trace_predictions_ratio)
    station, row = STATIONS[name]
    await station(Meter(row.at_once))
    stop_telemetry()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))  # as uvicorn does for a service
