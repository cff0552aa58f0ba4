import httpx
import pytest
from pydantic import ValidationError

from services.chassis.errors import Rejected, Retry, explain
from services.labeling_sync.cards import Cards
from services.labeling_sync.hinting import HOOK_PATH, HintDoor, HookKeeper
from services.labeling_sync.settings import LabelingSyncSettings
from tests.services.labeling_sync.world import solar

SECRET = "only-for-tests-0123456789"


async def ask(door: HintDoor, method: str = "POST", secret: str | None = SECRET, body: bytes = b"{}") -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}"} if secret is not None else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://test") as client:
        return await client.request(method, HOOK_PATH, headers=headers, content=body)


async def test_a_hint_with_the_secret_is_taken_and_no_other() -> None:
    hints: list[str] = []
    door = HintDoor(SECRET, lambda: hints.append("hint"))
    assert (await ask(door)).status_code == 204
    assert len(hints) == 1
    for refused in (await ask(door, secret=None), await ask(door, secret="wrong"), await ask(door, secret="")):
        assert refused.status_code == 401
        assert "LOOPLINE_LABEL_STUDIO_HOOK_SECRET" in refused.text
        assert SECRET not in refused.text
    assert (await ask(door, "GET")).status_code == 405
    assert (await ask(door, body=b"x" * 70_000)).status_code == 413
    assert len(hints) == 1


class FakeHooks:
    def __init__(self) -> None:
        self.kept: list[str] = []
        self.made = False
        self.refuses = False

    async def keep(self, project: str, url: str, secret: str) -> bool:
        if self.refuses:
            raise Rejected("it is a private address")
        self.kept.append(project)
        return self.made


async def test_a_project_is_looked_at_until_it_is_made_and_then_seldom() -> None:
    world, hooks = solar(), FakeHooks()
    keeper = HookKeeper(Cards(world.bus), hooks, "http://here", SECRET, world.ports.now)
    await keeper.look()
    await keeper.look()
    assert len(hooks.kept) == 2
    hooks.made = True
    for _ in range(3):
        await keeper.look()
    assert len(hooks.kept) == 3
    world.pass_time(301)
    await keeper.look()
    assert len(hooks.kept) == 4


async def test_an_address_that_is_refused_is_told_and_says_that_the_poll_goes_on() -> None:
    world, hooks = solar(), FakeHooks()
    hooks.refuses = True
    with pytest.raises(Retry, match="its labels come by the poll"):
        await HookKeeper(Cards(world.bus), hooks, "http://here", SECRET, world.ports.now).look()


@pytest.mark.parametrize(("secret", "says"), [("", "set LOOPLINE_LABEL_STUDIO_HOOK_SECRET"), ("short", "16 ASCII")])
def test_a_hook_without_a_good_secret_is_refused_at_the_start(secret: str, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        LabelingSyncSettings(_env_file=None, label_studio_hook_url="http://here", label_studio_hook_secret=secret)  # type: ignore[arg-type]
    assert says in explain(refused.value)
