"""Claims: of all who want to do one piece of work, one does it, and the others learn its result.

MLflow and Label Studio have no unique keys, so a key in KV decides: create is compare-and-set.
"""

from typing import Any

from services.chassis.errors import Busy
from services.chassis.kv import Bucket, Conflict, KeyExists


class Claims:
    """The bucket `claims`: natural key -> `{"owner": …}`, then `{"owner": …, "result": {…}}`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        """Take a piece of work, or learn that it is done.

        `owner` is that of the message which asks for it, so that the same message delivered again goes on with its
        own claim after a crash.

        Returns None when the work is the caller's to do, and the result when it is done.

        Raises:
            Busy: another owner is at it.
        """
        try:
            await self._bucket.create(key, {"owner": owner})
            return None
        except KeyExists:
            found = await self._bucket.get(key)
        if found is None:
            raise Busy(f"the claim {key} was released this moment")
        value, _ = found
        if "result" in value:
            return dict(value["result"])
        if value.get("owner") != owner:
            raise Busy(f"{value.get('owner')} is working on {key}")
        return None

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        """Keep the result under the claim.

        Raises:
            Busy: the claim is another owner's by now.
        """
        found = await self._bucket.get(key)
        if found is None or found[0].get("owner") != owner:
            raise Busy(f"the claim {key} is no longer {owner}'s")
        try:
            await self._bucket.put(key, {"owner": owner, "result": result}, found[1])
        except Conflict:
            raise Busy(f"the claim {key} was changed by another") from None

    async def held(self, keys: str) -> dict[str, str]:
        """The unfinished claims of a pattern, such as `train.solar.*`: key -> owner."""
        found = await self._bucket.values(keys)
        return {key: str(value.get("owner")) for key, value in found.items() if "result" not in value}

    async def release(self, key: str, owner: str) -> None:
        """Give an unfinished claim back. One that is another's, or finished, stays as it is."""
        found = await self._bucket.get(key)
        if found and found[0].get("owner") == owner and "result" not in found[0]:
            await self._bucket.delete(key)
