"""`python -m tests.chaos`: everything dies, at random and all the time, and an accountant looks at what is left.

Two acts: on one nats-server, as on one machine, and on a cluster of three. Exit code 0 when the accountant of each
finds nothing, 1 otherwise.
"""

import argparse
import asyncio
import json
import logging
import os
import secrets
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from random import Random

from tests.chaos.act import Act, Outcome, Plan
from tests.chaos.load import Amounts
from tests.chaos.surroundings import Surroundings, surroundings
from tests.chaos.telling import told

VAR = Path(__file__).parents[2] / "var" / "chaos"


def plans(long: bool, servers: list[int]) -> list[Plan]:
    """One act for each kind of bus. The long form is 200 kills, 20 restarts and 10,000 predictions."""
    if long:
        amounts = Amounts(for_s=840, predictions=5_000, labelled=400, models=24, nonsense=12)
        return [Plan(count, kills=100, restarts=10, cuts=30, amounts=amounts, settle_s=420) for count in servers]
    amounts = Amounts(for_s=80, predictions=500, labelled=60, models=4, nonsense=3)
    return [Plan(count, kills=18, restarts=3, cuts=4, amounts=amounts, settle_s=240) for count in servers]


async def _acts(plans: list[Plan], seed: int, around: Surroundings, folder: Path) -> list[Outcome]:
    outcomes = []
    for plan in plans:
        project = f"chaos-on-{plan.servers}"
        act = Act(plan, project, Random(f"{seed}-{plan.servers}"), around, folder / project, _say)
        outcome = await act.run()
        _say(f"{project}: came to rest {outcome.settled_s} s after the last blow, {len(outcome.findings)} findings")
        outcomes.append(outcome)
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """What was done and counted, an act a column."""
    rows: dict[str, list[object]] = {}
    for place, outcome in enumerate(outcomes):
        for name, value in {
            "nats-servers": outcome.servers,
            **{f"kill -9 {service}": count for service, count in sorted(outcome.kills.items())},
            "kill -9 services": sum(outcome.kills.values()),
            "ended by themselves": sum(outcome.died.values()),
            "kill -9 nats-server": outcome.restarts,
            **{f"cut off, {how}": count for how, count in sorted(outcome.cuts.items())},
            "tries to publish again": outcome.repeats,
            **outcome.counted,
            "seconds to rest": outcome.settled_s,
            "findings": len(outcome.findings),
        }.items():
            rows.setdefault(name, ["" for _ in outcomes])[place] = value
    return "\n".join(f"{name:<28}" + "".join(f"{value!s:>10}" for value in values) for name, values in rows.items())


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the schedule; drawn when missing")
    parser.add_argument("--long", action="store_true", help="200 kills, 20 restarts and 10,000 predictions")
    parser.add_argument("--servers", type=int, choices=(1, 3), action="append", help="only the act on so many")
    parser.add_argument("--keep", action="store_true", help="keep data and logs also when nothing was found")
    given = parser.parse_args()
    seed = secrets.randbelow(10**9) if given.seed is None else given.seed
    _say(f"SEED={seed}{' LONG=1' if given.long else ''}")
    logging.basicConfig(level=logging.ERROR)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    folder = VAR / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    with surroundings(folder) as around:
        _say("Label Studio, MLflow and Triton run")
        outcomes = asyncio.run(_acts(plans(given.long, given.servers or [1, 3]), seed, around, folder))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    minutes = (time.monotonic() - began) / 60
    result = {"seed": seed, "long": given.long, "minutes": round(minutes, 1), "acts": [asdict(one) for one in outcomes]}
    (VAR / f"{seed}.json").write_text(json.dumps(result, indent=2))
    print(table(outcomes))
    print(told(findings) or "The accountant finds nothing.")
    _say(f"SEED={seed}: {minutes:.1f} minutes, {len(findings)} findings, {VAR / f'{seed}.json'}")
    if not findings and not given.keep:
        shutil.rmtree(folder)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
