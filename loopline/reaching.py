"""The way from a script or notebook to the loop: its settings, one connection to the bus, and how it says no."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.chassis.client import Client
from services.chassis.settings import MlflowUrl, Settings

T = TypeVar("T")

WHO = "notebook"


class Refused(Exception):
    """It cannot be done as it was asked, and nothing was changed; the text says what to do."""


class LooplineSettings(Settings):
    """`LOOPLINE_…` variables, `.env`, or `var/loopline.env` of a stack that runs on this machine."""

    mlflow_url: MlflowUrl = "http://127.0.0.1:5000"


def mlflow_url() -> str:
    """The loop's MLflow server, for `mlflow.set_tracking_uri`: a run that is handed over must be there."""
    return LooplineSettings().mlflow_url


def on_the_bus(work: Callable[[Client], Awaitable[T]]) -> T:
    """Connect, do the work, disconnect.

    Raises:
        Unreachable: the bus does not answer; NotAllowed: this user may not do that.
    """

    async def connected() -> T:
        async with Client.connect(LooplineSettings(), WHO) as client:
            return await work(client)

    # In a thread of its own: a notebook's has an event loop that runs already.
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(lambda: asyncio.run(connected())).result()
