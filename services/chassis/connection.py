"""Connecting to NATS as the settings say, for those who do not run as a service."""

import nats
import nats.errors
from faststream.security import SASLPlaintext
from nats.aio.client import Client

from services.chassis.errors import Unreachable
from services.chassis.settings import Settings


def security(settings: Settings) -> SASLPlaintext | None:
    """User and password as FastStream wants them, where there are any."""
    if not settings.nats_user:
        return None
    return SASLPlaintext(username=settings.nats_user, password=settings.nats_password.get_secret_value())


async def connect(settings: Settings, name: str, timeout_s: float = 5) -> Client:
    """A connection, or an answer why there is none.

    Raises:
        Unreachable: nobody answers there, or user and password are wrong.
    """
    # The client tries again after each error and in the end only says that no server is there: so listen to all.
    errors: list[Exception] = []

    async def on_error(error: Exception) -> None:
        errors.append(error)

    try:
        connection = await nats.connect(
            settings.nats_url,
            name=name,
            connect_timeout=int(timeout_s),
            max_reconnect_attempts=3,
            reconnect_time_wait=0.2,
            error_cb=on_error,
            user=settings.nats_user or None,
            password=settings.nats_password.get_secret_value() or None,
        )
        # Whether there is a bus at all is answered soon; an outage of one that was there is waited out.
        connection.options["max_reconnect_attempts"] = -1
        return connection
    except (nats.errors.Error, OSError, ValueError) as error:
        if any("authorization" in str(heard).lower() for heard in (*errors, error)):
            who = settings.nats_user or "nobody (LOOPLINE_NATS_USER is not set)"
            raise Unreachable(
                f"NATS at {settings.nats_url} refuses the user {who}: check LOOPLINE_NATS_PASSWORD"
            ) from None
        raise Unreachable(f"cannot reach NATS at {settings.nats_url}: is the stack up? ./taskw up") from error
