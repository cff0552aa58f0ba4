"""Makes the server agree with `contracts.topology` and the settings: streams, durables, buckets.

The only place that creates any. `python -m services.chassis.provisioning` may be run at any time, any number of times.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping

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
    StreamSource,
    SubjectTransform,
)

from contracts.topology import BUCKETS, CONSUMERS, STREAMS, Bucket, Consumer, Stream, due_subject
from services.chassis.connection import connect
from services.chassis.errors import Rejected, Unreachable
from services.chassis.limits import with_limits
from services.chassis.logs import start_logs
from services.chassis.settings import Settings, StreamLimits

log = logging.getLogger(__name__)

_NO_SPACE, _NO_CLUSTER, _NO_PEERS = 10047, 10074, 10005


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
        max_msgs_per_subject=stream.per_subject or -1,
        duplicate_window=stream.duplicate_window_s,
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        allow_msg_schedules=True if stream.fires else None,
        sources=_sources(stream),
    )


def _sources(stream: Stream) -> list[StreamSource] | None:
    """What its schedules have fired goes into a stream under the subject on which a person would say it."""
    fired = [event for row in STREAMS if row.name == stream.takes_from for event in row.fires]
    if not fired:
        return None
    transforms = [
        SubjectTransform(src=due_subject(event, "*"), dest=event.subject("{{wildcard(1)}}")) for event in fired
    ]
    return [StreamSource(name=stream.takes_from, subject_transforms=transforms)]


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


async def provision(connection: Client, replicas: int = 1, limits: Mapping[str, StreamLimits] | None = None) -> None:
    """Create what is missing and update what differs; a stream without limits of its own has those of the topology.

    Raises:
        Rejected: the server cannot do as it should, for example 3 replicas on one machine; the text says what to do.
        nats.js.errors.Error: the server refuses for another reason.
    """
    jetstream = connection.jetstream(timeout=10)
    for stream in STREAMS:
        await _stream(jetstream, stream_config(with_limits(stream, limits or {}), replicas))
    for row in CONSUMERS:
        await jetstream.add_consumer(row.stream, consumer_config(row))
    for bucket in BUCKETS:
        await _bucket(jetstream, bucket, replicas)
    log.info("%d streams, %d durables, %d buckets are as they should be", len(STREAMS), len(CONSUMERS), len(BUCKETS))


async def _stream(jetstream: JetStreamContext, config: StreamConfig) -> None:
    name = config.name or ""
    try:
        try:
            await jetstream.stream_info(name)
        except nats.js.errors.NotFoundError:
            await jetstream.add_stream(config)
        else:
            await jetstream.update_stream(config)
    except nats.js.errors.APIError as error:
        raise _understood(error, f"the stream {name}", config.num_replicas or 1) from error


async def _bucket(jetstream: JetStreamContext, bucket: Bucket, replicas: int) -> None:
    """A bucket is a stream with a name of its own: whatever else its configuration says stays as it is."""
    try:
        try:
            info = await jetstream.stream_info(f"KV_{bucket.name}")
        except nats.js.errors.NotFoundError:
            await jetstream.create_key_value(bucket_config(bucket, replicas))
            return
        wanted = (replicas, bucket.history, bucket.ttl_s)
        config = info.config
        if (config.num_replicas, config.max_msgs_per_subject, config.max_age or 0) != wanted:
            config.num_replicas, config.max_msgs_per_subject, config.max_age = wanted
            await jetstream.update_stream(config)
    except nats.js.errors.APIError as error:
        raise _understood(error, f"the bucket {bucket.name}", replicas) from error


def _understood(error: nats.js.errors.APIError, what: str, replicas: int) -> Exception:
    """The server's refusal as a sentence that says what to do, where we know it."""
    if error.err_code == _NO_SPACE:
        return Rejected(
            f"the server has no room to keep free for {what}: make the streams smaller with LOOPLINE_STREAMS, "
            "or raise max_file_store of nats-server"
        )
    if error.err_code in (_NO_CLUSTER, _NO_PEERS):
        return Rejected(
            f"the server cannot keep {replicas} copies of {what}: set LOOPLINE_REPLICAS to the number of servers "
            "in its cluster or less"
        )
    return error


async def _main() -> int:
    settings = Settings()
    start_logs("provisioning", settings.log_level)
    try:
        connection = await connect(settings, "provisioning")
        try:
            await provision(connection, settings.replicas, settings.streams)
        finally:
            await connection.close()
    except (Rejected, Unreachable) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
