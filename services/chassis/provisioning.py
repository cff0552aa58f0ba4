"""Makes the server agree with `contracts.topology`: streams, durables, buckets. The only place that creates any.

`python -m services.chassis.provisioning` may be run at any time and any number of times.
"""

import asyncio
import logging

import nats
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from contracts.topology import BUCKETS, CONSUMERS, STREAMS, Bucket, Consumer, Stream
from services.chassis.connection import connect
from services.chassis.logs import start_logs
from services.chassis.settings import Settings

log = logging.getLogger(__name__)


def stream_config(stream: Stream, replicas: int) -> StreamConfig:
    """A row of STREAMS as the server wants it."""
    # A dead letter goes back to one durable alone, on a subject of its own.
    redo = tuple(row.redo_subject for row in CONSUMERS if row.stream == stream.name)
    return StreamConfig(
        name=stream.name,
        subjects=[*stream.subjects, *redo],
        retention=RetentionPolicy(stream.retention),
        discard=DiscardPolicy(stream.discard),
        max_age=stream.max_age_s,
        max_bytes=stream.max_bytes,
        duplicate_window=stream.duplicate_window_s,
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
    )


def consumer_config(row: Consumer) -> ConsumerConfig:
    """A row of CONSUMERS as the server wants it. `max_deliver` is not set: the chassis counts the tries."""
    return ConsumerConfig(
        durable_name=row.durable,
        filter_subjects=[*(event.subject("*") for event in row.hears), row.redo_subject],
        deliver_policy=DeliverPolicy(row.deliver),
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=row.ack_wait_s,
        max_ack_pending=max(1000, row.at_once * 8),
    )


def bucket_config(bucket: Bucket, replicas: int) -> KeyValueConfig:
    """A row of BUCKETS as the server wants it."""
    return KeyValueConfig(bucket=bucket.name, history=bucket.history, ttl=bucket.ttl_s or None, replicas=replicas)


async def provision(connection: Client, replicas: int = 1) -> None:
    """Create what is missing and update what differs.

    Raises:
        nats.js.errors.Error: the server refuses, for example a changed `deliver` of a durable that exists.
    """
    jetstream = connection.jetstream(timeout=10)
    for stream in STREAMS:
        await _stream(jetstream, stream_config(stream, replicas))
    for row in CONSUMERS:
        await jetstream.add_consumer(row.stream, consumer_config(row))
    for bucket in BUCKETS:
        try:
            await jetstream.key_value(bucket.name)
        except nats.js.errors.BucketNotFoundError:
            await jetstream.create_key_value(bucket_config(bucket, replicas))
    log.info("%d streams, %d durables, %d buckets are as they should be", len(STREAMS), len(CONSUMERS), len(BUCKETS))


async def _stream(jetstream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await jetstream.stream_info(config.name or "")
    except nats.js.errors.NotFoundError:
        await jetstream.add_stream(config)
    else:
        await jetstream.update_stream(config)


async def _main() -> None:
    settings = Settings()
    start_logs("provisioning", settings.log_level)
    connection = await connect(settings, "provisioning")
    try:
        await provision(connection, settings.replicas)
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(_main())
