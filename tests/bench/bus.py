"""`./taskw bench:bus`: what the chassis costs, and how many facts a second go through one service.

What is compared takes turns, in rounds, so that whatever else the machine does falls on all alike: ratios are of one
round, and their median over the rounds counts. Writes `var/bench/bus.json`.
"""

import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from contracts.events.base import Event, ImageRef
from contracts.events.image import ImageAdded
from contracts.events.training import TrainingRequested
from deploy.embedded import servers
from services.deployer.adapters.triton import TritonNodes
from services.deployer.model_config import model_config
from tests.bench import predictions
from tests.bench.meter import Measured
from tests.bench.stations import MANY, ONE
from tests.bench.turns import TRACED, in_turns, station
from tests.e2e.stack import ROOT
from tests.servers import running

OUT = ROOT / "var" / "bench"
# Hops a turn, and rounds.
HOPS = (150, 25)
FACTS = (3000, 7)
PREDICTIONS = (200, 17)
LARGE_PREDICTIONS = (100, 41)

Found = dict[str, list[Measured]]


def training(number: int) -> Event:
    """A request, small."""
    return TrainingRequested(why=f"bench {number}")


def image(number: int) -> Event:
    """A fact, small."""
    sha256 = f"{number:064x}"
    ref = ImageRef(uri=f"blob://{sha256}.png", sha256=sha256, width=300, height=300)
    return ImageAdded(image=ref, label="defective")


async def hops(folder: Path, size: tuple[int, int] = HOPS) -> Found:
    """One message after the other, layer by layer: pull, decode, a handler that does nothing, publish, ack."""
    async with AsyncExitStack() as open_:
        layers = (
            station("bare_one", folder / "bare nats-py", ONE.at_once, training),
            station("faststream_one", folder / "FastStream", ONE.at_once, training),
            station("chassis_one", folder / "chassis, no tracing", ONE.at_once, training),
            station("chassis_one", folder / "chassis, 10 % traced", ONE.at_once, training, traces=True),
            station("chassis_one", folder / "chassis, all traced", ONE.at_once, training, traced=1, traces=True),
        )
        return await in_turns([await open_.enter_async_context(layer) for layer in layers], *size)


async def facts(folder: Path, size: tuple[int, int] = FACTS) -> Found:
    """Many in flight, a small fact in and a small fact out."""
    async with AsyncExitStack() as open_:
        layers = (
            station("bare_many", folder / "bare nats-py", MANY.at_once, image),
            station("chassis_many", folder / "chassis, 10 % traced", MANY.at_once, image, traces=True),
        )
        return await in_turns([await open_.enter_async_context(layer) for layer in layers], *size)


async def predicting(
    folder: Path, env: Mapping[str, str], size: tuple[int, int] = PREDICTIONS, side: int = predictions.SMALL
) -> Found:
    """The predictor's own work in a bare pull loop, and in its service, which keeps the traces of a tenth."""
    at_once, request = predictions.DURABLE.at_once, partial(predictions.request, side=side)
    env = {**env, "LOOPLINE_TRACE_PREDICTIONS_RATIO": str(TRACED)}
    async with AsyncExitStack() as open_:
        layers = (
            station("bare_predictor", folder / "bare nats-py", at_once, request, traced=None, env=env),
            station("predictor", folder / "chassis, 10 % traced", at_once, request, traced=None, traces=True, env=env),
        )
        return await in_turns([await open_.enter_async_context(layer) for layer in layers], *size)


@asynccontextmanager
async def triton(folder: Path) -> AsyncIterator[str]:
    """A Triton with a model of a few numbers; `name=host:port` for the predictor."""
    grpc_port = servers.free_port()
    process = servers.triton(folder, servers.free_port(), grpc_port, servers.free_port())
    with running(process, folder / "log"):
        nodes = TritonNodes({"local": f"{servers.HOST}:{grpc_port}"}, load_timeout_s=60, call_timeout_s=10)
        classes, side = len(predictions.CLASSES), predictions.LARGE
        config = model_config(predictions.MODEL, classes=classes, max_side=side, digest="", threads=1)
        await nodes.load("local", config, predictions.torchscript())
        await nodes.close()
        yield f"local={servers.HOST}:{grpc_port}"


def rows(found: Found) -> dict[str, dict[str, Any]]:
    """Medians of each layer, and of its ratios to the first one, with the quartiles of these."""
    first = next(iter(found.values()))
    table = {}
    for name, measured in found.items():
        ratios = sorted(one.wall_s / bare.wall_s for one, bare in zip(measured, first, strict=True))
        quarter = len(ratios) // 4
        table[name] = {
            "a_second": round(statistics.median(one.hops / one.wall_s for one in measured)),
            "wall_us": round(statistics.median(one.wall_s / one.hops for one in measured) * 1e6),
            "cpu_us": round(statistics.median(one.cpu_s / one.hops for one in measured) * 1e6),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_quartiles": [round(ratios[quarter], 3), round(ratios[-1 - quarter], 3)],
        }
    return table


def lines(title: str, table: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A table for people."""
    yield f"\n{title:<26}{'a second':>10}{'wall us':>9}{'cpu us':>9}{'ratio':>8}  middle half"
    for name, row in table.items():
        low, high = row["ratio_quartiles"]
        numbers = f"{row['a_second']:>10,}{row['wall_us']:>9,}{row['cpu_us']:>9,}{row['ratio']:>8.2f}"
        yield f"{name:<26}{numbers}  {low:.2f} to {high:.2f}"


async def measure(folder: Path) -> dict[str, Any]:
    """All of it."""
    one, many = rows(await hops(folder / "one")), rows(await facts(folder / "many"))
    async with triton(folder / "triton") as node:
        told = {"LOOPLINE_TRITON_NODES": node}
        real = rows(await predicting(folder / "small", told))
        large = rows(await predicting(folder / "large", told, LARGE_PREDICTIONS, predictions.LARGE))
    alone = rows(await predicting(folder / "without Triton", {predictions.NO_TRITON: "1"}))
    chassis = "chassis, 10 % traced"
    return {
        "metrics": {
            "hop_ratio": one[chassis]["ratio"],
            "facts_per_s": many[chassis]["a_second"],
            # Of pictures as the demo has them; of the smallest ones beside it.
            "chassis_cost": round(large[chassis]["ratio"] - 1, 3),
            "chassis_cost_32px": round(real[chassis]["ratio"] - 1, 3),
        },
        "one hop at a time": one,
        f"hops, {MANY.at_once} in flight": many,
        "predictions, 32 x 32": real,
        "predictions, 300 x 300": large,
        "no Triton, 32 x 32": alone,
    }


def main() -> int:
    """Measure, write, print; returns the exit code."""
    shutil.rmtree(OUT / "bus", ignore_errors=True)
    began, load = time.monotonic(), os.getloadavg()[0]
    result = asyncio.run(measure(OUT / "bus"))
    for title, table in result.items():
        if title != "metrics":
            print("\n".join(lines(title, table)))
    result |= {
        "load_before": round(load, 1),
        "seconds": round(time.monotonic() - began),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    (OUT / "bus.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{json.dumps(result['metrics'])}\n{result['seconds']} s; load before: {result['load_before']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
