"""Work that is done once, by whomever it is wanted."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.labeling_sync.ports import Claims

Result = dict[str, Any]


async def once(claims: Claims, key: str, owner: str, work: Callable[[], Awaitable[Result]]) -> Result:
    """The result of `work`, done now or before. Given back undone when it fails, so that another message may do it.

    After a crash the same message goes on with its own claim: `work` looks whether it has had its effect.

    Raises:
        Busy: another message is at it.
    """
    done = await claims.take(key, owner)
    if done is not None:
        return done
    try:
        result = await work()
        await claims.finish(key, owner, result)
    except Exception:
        await claims.release(key, owner)
        raise
    return result
