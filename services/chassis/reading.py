"""Reading a stream in order without taking anything from anybody: an ephemeral pull consumer, made anew where it broke.

nats-py has push consumers for this; one that was reset after a silence of the server did not go on reliably.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

log = logging.getLogger(__name__)

_BATCH = 256
_FETCH_TIMEOUT_S = 5.0
_PAUSE_AFTER_ERROR_S = 0.5
_INACTIVE_S = 60.0


@dataclass(frozen=True)
class Start:
    """Where to begin: at a stream sequence, at a time, or with what comes next."""

    seq: int | None = None
    since: datetime | None = None

    def config(self, subjects: Sequence[str]) -> ConsumerConfig:
        """The consumer that begins there."""
        config = ConsumerConfig(
            # Named, so that the server's permissions can tell it from a durable.
            name=f"reading-{uuid4().hex}",
            filter_subjects=list(subjects),
            deliver_policy=DeliverPolicy.NEW,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=_INACTIVE_S,
        )
        if self.seq is not None:
            config.deliver_policy, config.opt_start_seq = DeliverPolicy.BY_START_SEQUENCE, max(self.seq, 1)
        elif self.since is not None:
            config.deliver_policy, config.opt_start_time = DeliverPolicy.BY_START_TIME, self.since
        return config


async def in_order(
    jetstream: JetStreamContext, stream: str, subjects: Sequence[str], start: Start
) -> AsyncGenerator[Msg, None]:
    """The messages of some subjects of a stream, each once and in order, for ever.

    A lost connection or a server that forgot the consumer is waited out; it then goes on behind the last message.
    """
    while True:
        try:
            info = await jetstream.add_consumer(stream, start.config(subjects))
            subscription = await jetstream.pull_subscribe_bind(consumer=info.name, stream=stream)
            try:
                # With "what comes next" a consumer that has to be made anew must not miss what came in between.
                if start.seq is None and start.since is None and info.delivered:
                    start = Start(seq=(info.delivered.stream_seq or 0) + 1)
                handed_out = 0
                while True:
                    for message in await _fetch(subscription, handed_out):
                        if message.metadata.sequence.consumer != handed_out + 1:
                            raise _Gap
                        handed_out += 1
                        start = replace(start, seq=message.metadata.sequence.stream + 1)
                        yield message
            finally:
                with suppress(nats.errors.Error):
                    await subscription.unsubscribe()
                with suppress(nats.errors.Error, nats.js.errors.Error):
                    await jetstream.delete_consumer(stream, info.name)
        except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError):
            return
        except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
            log.info("reading %s was interrupted, goes on: %r", stream, error)
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)


class _Gap(nats.errors.Error):
    """The server handed out a message that did not arrive here; nothing is acked, so it would not come again."""


async def _fetch(subscription: JetStreamContext.PullSubscription, handed_out: int) -> list[Msg]:
    """What there is, or what comes within some seconds; raises where the server has forgotten the consumer.

    A fetch that times out may have lost what it had received: `handed_out` is how many messages arrived so far.
    """
    try:
        return await subscription.fetch(batch=_BATCH, timeout=_FETCH_TIMEOUT_S)
    except TimeoutError:  # nats-py raises its own kind, which is one of these, or asyncio's
        info = await subscription.consumer_info()
        if info.delivered and (info.delivered.consumer_seq or 0) > handed_out:
            raise _Gap from None
        return []
