"""Connecting to NATS as the settings say, and leaving it."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from types import TracebackType

import nats
import nats.errors
from faststream.nats import NatsBroker
from faststream.nats.security import NatsSecurity, NatsUserPassword
from nats.aio.client import Client

from contracts.permissions import inbox_prefix
from services.chassis.ending import end
from services.chassis.errors import Unreachable
from services.chassis.settings import Settings

log = logging.getLogger(__name__)

# A connection whose other end is gone without a word counts as lost after three pings without an answer: sooner than
# the server hands out again what was being worked on.
PING_EVERY_S = 4
# What saying goodbye may take of the time that a service has for stopping.
_LEAVE_S = 2.0


def security(settings: Settings) -> NatsSecurity:
    """User, password and TLS as FastStream wants them, where there are any."""
    tls = _tls(settings)
    first = tls is not None and settings.nats_tls_first
    if not settings.nats_user:
        return NatsSecurity(ssl_context=tls, tls_handshake_first=first)
    password = settings.nats_password.get_secret_value()
    return NatsUserPassword(settings.nats_user, password, ssl_context=tls, tls_handshake_first=first)


async def connect(settings: Settings, name: str, timeout_s: float = 5) -> Client:
    """A connection, or an answer why there is none.

    Raises:
        Unreachable: nobody answers there, or user and password are wrong.
    """
    tls = _tls(settings)
    # The client tries again after each error and in the end only says that no server is there: so listen to all.
    errors: list[Exception] = []
    connection: Client | None = None

    async def on_error(error: Exception) -> None:
        if connection is None:
            errors.append(error)
            await end_at_once(error)

    try:
        connection = await nats.connect(
            settings.nats_servers,
            name=name,
            ping_interval=PING_EVERY_S,
            connect_timeout=int(timeout_s),
            max_reconnect_attempts=3,
            reconnect_time_wait=0.2,
            error_cb=on_error,
            user=settings.nats_user or None,
            password=settings.nats_password.get_secret_value() or None,
            tls=tls,
            tls_handshake_first=tls is not None and settings.nats_tls_first,
            inbox_prefix=inbox_prefix(settings.nats_user),
        )
        # Whether there is a bus at all is answered soon; an outage of one that was there is waited out.
        connection.options["max_reconnect_attempts"] = -1
        return connection
    except (nats.errors.Error, OSError, ValueError) as error:
        raise Unreachable(why(settings, (*errors, error))) from error


class Broker(NatsBroker):
    """FastStream's, which also stops while there is no server to say goodbye to."""

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Stop the subscribers, then leave."""
        connection, self._connection = self._connection, None
        await super().stop(exc_type, exc_val, exc_tb)
        if connection:
            await leave(connection)


async def leave(connection: Client) -> None:
    """Say goodbye, so that nothing is on its way any more, and close.

    Without a server that answers, closed all the same: what it does not hear now it notices by the ack wait.
    """

    async def say_goodbye() -> None:
        await connection.flush(timeout=1)  # it says whether anybody answers; a drain waits for half a minute
        await connection.drain()

    goodbye = asyncio.create_task(say_goodbye())
    await asyncio.wait({goodbye}, timeout=_LEAVE_S)
    failed = goodbye.exception() if goodbye.done() else f"no answer within {_LEAVE_S:g} s"
    if failed is None:
        return
    log.warning("stops without the bus (%s): what is in flight comes again after its ack wait", failed)
    closing = asyncio.create_task(connection.close())
    await asyncio.wait({closing}, timeout=_LEAVE_S)
    await end([goodbye, closing])


async def end_at_once(error: Exception) -> None:
    """What to do with an error of connecting for the first time: raise it where no second try mends it.

    After a TLS handshake that failed, nats-py would wait for ever.
    """
    if isinstance(error, ssl.SSLError):
        raise error


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.nats_tls_ca and not any(url.startswith("tls://") for url in settings.nats_servers):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_tls_ca or None)
        if settings.nats_tls_cert:
            context.load_cert_chain(settings.nats_tls_cert, settings.nats_tls_key or None)
    except OSError as error:
        named = ", ".join(filter(None, (settings.nats_tls_ca, settings.nats_tls_cert, settings.nats_tls_key)))
        raise Unreachable(f"LOOPLINE_NATS_TLS_CA, _CERT or _KEY cannot be used ({named}): {error}") from error
    return context


def why(settings: Settings, errors: Sequence[Exception]) -> str:
    """What a person should do about errors of connecting, the first that says something."""
    where = f"NATS at {settings.nats_url}"
    for error in errors:
        text = str(error).lower()
        if "authorization" in text:
            who = settings.nats_user or "nobody (LOOPLINE_NATS_USER is not set)"
            return f"{where} refuses the user {who}: check LOOPLINE_NATS_PASSWORD"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"{where} shows a certificate that LOOPLINE_NATS_TLS_CA does not vouch for: {error.verify_message}"
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return (
                f"{where} does not speak TLS from the first byte: set handshake_first there, "
                "or LOOPLINE_NATS_TLS_FIRST=false here"
            )
        if isinstance(error, ssl.SSLError) or (settings.nats_tls_ca and "empty response" in text):
            return f"{where} ends the TLS handshake ({error}): does it want LOOPLINE_NATS_TLS_CERT?"
    return f"cannot reach {where}: is the stack up? ./taskw up"
