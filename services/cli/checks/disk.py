"""The blob store and the disk below it."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import fsspec

from services.chassis.finding import Finding
from services.chassis.limits import size

LEAST_FREE_SHARE = 0.05
LEAST_FREE_BYTES = 2**30

Free = Callable[[str], tuple[int, int]]


def free_of(folder: str) -> tuple[int, int]:
    """Free and all bytes of the disk that a folder is on."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def blobs(root: str, free: Free = free_of) -> list[Finding]:
    """Whether blobs can be written and read back, and whether the disk below has room."""
    what = "blob store"
    here = "://" not in root
    do = "set LOOPLINE_BLOBS_ROOT to a folder or bucket that every service can read and write"
    if here and not Path(root).is_dir():
        return [Finding(what, f"the folder {root} is not there", do)]
    name = f"{root.rstrip('/')}/.doctor-{secrets.token_hex(8)}"
    try:
        files, path = fsspec.core.url_to_fs(name)
        files.pipe_file(path, b"doctor")
        same = files.cat_file(path) == b"doctor"
        files.rm_file(path)
    except Exception as error:  # of whichever store it is
        return [Finding(what, f"{root} cannot be written: {error}", do), *(_room(root, free) if here else [])]
    if not same:
        return [Finding(what, f"{root} gives back other bytes than were written", do)]
    return [Finding(what), *(_room(root, free) if here else [])]


def _room(root: str, free: Free) -> list[Finding]:
    left, all_ = free(root)
    if left < LEAST_FREE_BYTES or left < all_ * LEAST_FREE_SHARE:
        fault = f"{size(left)} of {size(all_)} are free below {root}"
        return [Finding("disk", fault, "free some space: without it neither images nor models can be kept")]
    return [Finding("disk")]
