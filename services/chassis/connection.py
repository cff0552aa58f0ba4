"""Connecting to NATS as the settings say, for those who do not run as a service."""

import nats
import nats.errors
from nats.aio.client import Client

from services.chassis.errors import Unreachable
from services.chassis.settings import Settings


def credentials(settings: Settings) -> dict[str, str]:
    """User and password, where there are any, as keyword arguments of the client."""
    if not settings.nats_user:
        return {}
    return {"user": settings.nats_user, "password": settings.nats_password.get_secret_value()}


async def connect(settings: Settings, name: str, timeout_s: float = 5) -> Client:
    """A connection, or an answer why there is none.

    Raises:
        Unreachable: nobody answers there, or user and password are wrong.
    """
    try:
        return await nats.connect(
            settings.nats_url,
            name=name,
            connect_timeout=int(timeout_s),
            allow_reconnect=True,
            max_reconnect_attempts=3,
            reconnect_time_wait=0.2,
            error_cb=_quiet,
            **credentials(settings),
        )
    except nats.errors.AuthorizationError:
        who = settings.nats_user or "nobody (LOOPLINE_NATS_USER is not set)"
        raise Unreachable(f"NATS at {settings.nats_url} refuses the user {who}: check LOOPLINE_NATS_PASSWORD") from None
    except (nats.errors.Error, OSError, ValueError) as error:
        if "authorization" in str(error).lower():
            raise Unreachable(f"NATS at {settings.nats_url} refuses user or password") from None
        raise Unreachable(f"cannot reach NATS at {settings.nats_url}: is the stack up? ./taskw up") from error


async def _quiet(_: Exception) -> None:
    """The client would print every failed attempt; what counts is the error that `connect` raises in the end."""
