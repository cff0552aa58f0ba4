"""Two things that nats-py 2.16 does not stand up to, put right: any publisher could stop every reader with one message.

- Whatever has a header `Status` counts as a word of the server, also a stored message: it never reaches a handler,
  comes again for ever, and with most values ends FastStream's subscriber (`JetStreamContext.is_status_msg`).
- Headers that cannot be read end the loop that reads the connection; after the reconnect the message comes again
  (`Client._process_headers`).
"""

import logging

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import Header

log = logging.getLogger(__name__)

_process_headers = Client._process_headers


def stand_up_to_any_message() -> None:
    """For all of this process; a second time changes nothing."""
    JetStreamContext.is_status_msg = classmethod(_status)  # type: ignore[method-assign, assignment]
    Client._process_headers = _headers_or_none  # type: ignore[method-assign, assignment]


def _status(cls: type[JetStreamContext], msg: Msg | None) -> str | None:
    """What wants an ack is a stored message, whatever its headers say."""
    if msg is None or msg.headers is None or msg.reply.startswith("$JS.ACK."):
        return None
    return msg.headers.get(Header.STATUS)


async def _headers_or_none(client: Client, headers: bytes) -> dict[str, str] | None:
    """A message whose headers cannot be read is one without: subject and body are enough."""
    try:
        return await _process_headers(client, headers)
    except (IndexError, ValueError) as error:
        log.warning("headers of a message cannot be read, it is taken without them: %s", error)
        return None
