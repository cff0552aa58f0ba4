import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from services.chassis.child import ChildFailed, WarmChild
from tests.eventually import eventually

MODULE = "tests.services.chassis.echo_child"


@pytest.fixture
async def child() -> AsyncIterator[WarmChild]:
    found = WarmChild(MODULE)
    yield found
    await found.stop()


async def answers(child: WarmChild, **job: Any) -> list[dict[str, Any]]:
    return [answer async for answer in child.run(job)]


async def test_one_child_does_job_after_job_and_reports_progress(child: WarmChild) -> None:
    first, second = await answers(child, do="echo", echo="ä\n"), await answers(child, do="echo")
    assert first[0] == {"progress": 1}
    assert first[1]["result"]["echo"] == "ä\n"
    assert first[1]["result"]["pid"] == second[1]["result"]["pid"]


@pytest.mark.parametrize(
    ("do", "kind", "word"),
    [
        ("reject", (True, False), "^no such class$"),
        ("away", (False, True), "^MLflow is away$"),
        ("fail", (False, False), "boom"),
        ("die", (False, False), "died"),
    ],
)
async def test_a_failed_job_says_why_and_the_next_one_is_done(
    child: WarmChild, do: str, kind: tuple[bool, bool], word: str
) -> None:
    with pytest.raises(ChildFailed, match=word) as failed:
        await answers(child, do=do)
    assert (failed.value.rejected, failed.value.away) == kind
    assert (await answers(child, do="echo", echo=1))[-1]["result"]["echo"] == 1


async def test_a_cancelled_job_stops_its_child(child: WarmChild) -> None:
    started = asyncio.Event()

    async def hang() -> None:
        async for _ in child.run({"do": "hang"}):
            started.set()

    work = asyncio.create_task(hang())
    await started.wait()
    before = {process.pid for process in psutil.Process().children()}
    work.cancel()
    await asyncio.wait({work})
    assert len({process.pid for process in psutil.Process().children()}) == len(before) - 1


async def test_a_child_ends_with_its_parent_even_in_mid_work() -> None:
    code = (
        "import asyncio\nfrom services.chassis.child import WarmChild\n"
        "async def main():\n"
        f"    child = WarmChild({MODULE!r})\n"
        "    async for _ in child.run({'do': 'hang'}):\n"
        "        print(child._process.pid, flush=True)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    def gone() -> None:
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await eventually(gone)


def test_a_child_whose_parent_died_before_it_was_tied_to_it_does_not_do_the_job_that_waits() -> None:
    gone = {**os.environ, "LOOPLINE_CHILD_OF": str(2**22 + 1)}  # no process has such a number
    job = json.dumps({"do": "echo"})
    ended = subprocess.run([sys.executable, "-m", MODULE], input=job, env=gone, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "the parent died" in ended.stderr


def test_a_child_that_nobody_listens_to_ends_in_the_middle_of_its_job() -> None:
    ours = {**os.environ, "LOOPLINE_CHILD_OF": str(os.getpid())}
    child = subprocess.Popen([sys.executable, "-m", MODULE], env=ours, text=True, stdin=-1, stdout=-1, stderr=-1)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    child.stdout.close()
    child.stdin.write(json.dumps({"do": "hang"}) + "\n")
    child.stdin.flush()
    assert child.wait(60) == 1
    assert "Traceback" not in child.stderr.read()
