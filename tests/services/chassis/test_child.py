import asyncio
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
    ("do", "rejected", "word"), [("reject", True, "^no such class$"), ("fail", False, "boom"), ("die", False, "died")]
)
async def test_a_failed_job_says_why_and_the_next_one_is_done(
    child: WarmChild, do: str, rejected: bool, word: str
) -> None:
    with pytest.raises(ChildFailed, match=word) as failed:
        await answers(child, do=do)
    assert failed.value.rejected is rejected
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
