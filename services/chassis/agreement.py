"""Whether the server is as the topology and the settings want it: what the provisioner would make or change."""

from collections.abc import Mapping
from typing import Any

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, StreamInfo

from contracts.topology import BUCKETS, CONSUMERS, STREAMS, Bucket, Consumer, Stream
from services.chassis.finding import Finding
from services.chassis.limits import Fill, with_limits
from services.chassis.provisioning import consumer_config, stream_config
from services.chassis.settings import StreamLimits

PROVISION = "run the provisioner: python -m services.chassis.provisioning"

_OF_STREAM = (
    "subjects", "retention", "discard", "max_age", "max_bytes", "max_msgs_per_subject", "duplicate_window",
    "num_replicas", "allow_direct", "allow_msg_schedules",
)  # fmt: skip
_OF_CONSUMER = ("filter_subjects", "deliver_policy", "ack_policy", "ack_wait", "max_ack_pending")


async def streams(jetstream: JetStreamContext, replicas: int, limits: Mapping[str, StreamLimits]) -> list[Finding]:
    """Each stream: whether it is there, is as it should be, and has room."""
    return [await _stream(jetstream, row, replicas, limits) for row in STREAMS]


async def _stream(
    jetstream: JetStreamContext, row: Stream, replicas: int, limits: Mapping[str, StreamLimits]
) -> Finding:
    what = f"stream {row.name}"
    try:
        info = await jetstream.stream_info(row.name)
    except nats.js.errors.NotFoundError:
        return Finding(what, "it is missing", PROVISION)
    wanted = stream_config(with_limits(row, limits), replicas)
    differs = _differing(_OF_STREAM, wanted, info.config) + _sources(row, info)
    if differs:
        return Finding(what, f"it differs from the topology in {', '.join(differs)}", PROVISION)
    warning = Fill.of(info).warning
    if warning:
        fault, _, do = warning.partition(": ")
        return Finding(what, f"it is nearly full: {fault}", do)
    return Finding(what)


def _sources(row: Stream, info: StreamInfo) -> list[str]:
    has = [source.name for source in info.config.sources or []]
    return [] if has == ([row.takes_from] if row.takes_from else []) else ["sources"]


async def durables(jetstream: JetStreamContext) -> tuple[list[Finding], dict[str, ConsumerInfo]]:
    """Each durable: whether it is there and as it should be; beside it what the server says of those that are there."""
    findings, infos = [], {}
    for row in CONSUMERS:
        finding, info = await _durable(jetstream, row)
        findings.append(finding)
        if info:
            infos[row.durable] = info
    return findings, infos


async def _durable(jetstream: JetStreamContext, row: Consumer) -> tuple[Finding, ConsumerInfo | None]:
    what = f"durable {row.durable}"
    try:
        info = await jetstream.consumer_info(row.stream, row.durable)
    except nats.js.errors.NotFoundError:
        return Finding(what, "it is missing, so that its service hears nothing", PROVISION), None
    differs = _differing(_OF_CONSUMER, consumer_config(row), info.config)
    if "deliver_policy" in differs:
        do = "it cannot be changed: delete the durable while its service is stopped, then " + PROVISION
        return Finding(what, f"it differs from the topology in {', '.join(differs)}", do), info
    if differs:
        return Finding(what, f"it differs from the topology in {', '.join(differs)}", PROVISION), info
    return Finding(what), info


async def buckets(jetstream: JetStreamContext, replicas: int) -> list[Finding]:
    """Each bucket: whether it is there and as it should be."""
    return [await _bucket(jetstream, row, replicas) for row in BUCKETS]


async def _bucket(jetstream: JetStreamContext, row: Bucket, replicas: int) -> Finding:
    what = f"bucket {row.name}"
    try:
        config = (await jetstream.stream_info(f"KV_{row.name}")).config
    except nats.js.errors.NotFoundError:
        return Finding(what, "it is missing", PROVISION)
    wanted = {"copies": replicas, "history": row.history, "age": row.ttl_s}
    has = {"copies": config.num_replicas, "history": config.max_msgs_per_subject, "age": config.max_age or 0}
    differs = [f"{name} ({has[name]} instead of {value})" for name, value in wanted.items() if has[name] != value]
    if differs:
        return Finding(what, f"it differs from the topology in {', '.join(differs)}", PROVISION)
    return Finding(what)


def _differing(names: tuple[str, ...], wanted: Any, has: Any) -> list[str]:
    """The fields in which two configurations differ, with both values."""
    found = []
    for name in names:
        should, is_ = _plain(getattr(wanted, name)), _plain(getattr(has, name))
        if should != is_:
            short = isinstance(should, list) or isinstance(is_, list)
            found.append(name if short else f"{name} ({is_} instead of {should})")
    return found


def _plain(value: Any) -> Any:
    """The server writes what is not set as 0, False or nothing, and lists in any order."""
    if isinstance(value, list):
        return sorted(value)
    return getattr(value, "value", value) or None
