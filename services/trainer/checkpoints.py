"""Where a training that was killed goes on: its last checkpoint, kept until its end."""

import hashlib

from services.chassis.blobs import Cache

_KEY = "last"
_DIGEST = 32


class KeptCheckpoint:
    """The checkpoint of one claim. A store that lost it, or half of it, costs time only."""

    def __init__(self, kept_root: str, claim: str) -> None:
        self._cache = Cache(kept_root, f"checkpoints/{claim}")

    def load(self) -> bytes | None:
        """As `recipe.Checkpoint`."""
        kept = self._cache.get(_KEY)
        if kept is None or hashlib.sha256(kept[_DIGEST:]).digest() != kept[:_DIGEST]:
            return None
        return kept[_DIGEST:]

    def save(self, data: bytes) -> None:
        """As `recipe.Checkpoint`."""
        self._cache.put(_KEY, hashlib.sha256(data).digest() + data)

    def drop(self) -> None:
        """The training has ended, or is not wanted any more."""
        self._cache.clear()
