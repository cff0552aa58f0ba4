import subprocess
import sys

_SCRIPT = """
from services.chassis.memory import give_memory_back

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

give_memory_back()
before = resident_mb()
# The first large block to be freed teaches glibc to keep later ones, unless it was told otherwise.
for size_mb in (24, 16, 12):
    blocks = [bytearray(size_mb * 2**20) for _ in range(2)]
    pin = bytes(100_000)
    del blocks
print(resident_mb() - before)
"""


def test_what_was_needed_for_a_moment_is_given_back() -> None:
    kept = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True).stdout
    assert float(kept) < 5
