"""What this machine must have before anything is installed, and what to do where it has not."""

import ctypes.util
import os
import platform
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

NEEDED_DISK_BYTES = 5 * 2**30
NEEDED_MEMORY_BYTES = 6 * 2**30
WITH_CUDA_DISK_BYTES = 12 * 2**30


def lacks(root: Path) -> list[str]:
    """Sentences on what must be mended first; empty when the set-up can go on."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = []
    if sys.platform != "linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        found.append(
            f"Triton's wheel is for Linux on x86-64 with glibc, this is {sys.platform} on {platform.machine()}"
            f" with {platform.libc_ver()[0] or 'another C library'}."
        )
    packages = []
    if not (find_spec("venv") and find_spec("ensurepip")):
        packages += [f"python{version}-venv"]
    if not has_shared_python(version):
        packages += [f"libpython{version}"]
    if packages:
        found.append(f"Parts of {sys.executable} are missing. On Debian and Ubuntu: apt install {' '.join(packages)}")
    free = shutil.disk_usage(root).free
    if free < NEEDED_DISK_BYTES:
        needed = NEEDED_DISK_BYTES / 2**30
        found.append(f"{free / 2**30:.1f} GB are free on the disk of {root}, and {needed:.0f} are needed.")
    return found


def has_shared_python(version: str) -> bool:
    """Whether there is a libpython as a shared library, which Triton's Python backend loads."""
    folder = sysconfig.get_config_var("LIBDIR") or ""
    name = f"libpython{version}.so.1.0"
    return os.path.exists(os.path.join(folder, name)) or ctypes.util.find_library(f"python{version}") is not None


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
