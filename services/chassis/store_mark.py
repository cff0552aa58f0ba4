"""A mark in the blob store, by which two processes know whether they share it: the same path proves nothing."""

import asyncio
import secrets
from pathlib import Path

import fsspec

_NAME = "store-mark"
_TIMEOUT_S = 3.0


async def mark_of(root: str) -> str:
    """The mark of the store at `root` (path or URL), made where there is none; "" when the store does not answer."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_mark_of, root), _TIMEOUT_S)
    except (OSError, TimeoutError):
        return ""


def _mark_of(root: str) -> str:
    files, path = fsspec.core.url_to_fs(f"{root.rstrip('/')}/{_NAME}")
    try:
        return str(files.cat_file(path).decode())
    except FileNotFoundError:
        pass
    mark = secrets.token_hex(8)
    if "://" in root:
        files.pipe_file(path, mark.encode())
    else:
        # Of several who find none at once, one makes it; a link is made whole or not at all. A folder that is missing
        # is a disk that is away, and no place for a mark.
        fresh = Path(f"{path}.{mark}")
        fresh.write_text(mark)
        try:
            Path(path).hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return str(files.cat_file(path).decode())
