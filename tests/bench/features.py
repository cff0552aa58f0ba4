"""How fast features are, against the plain eager loop: each in a process of its own, on the same cores.

`python -m tests.bench.features plain|fast` prints the seconds an image takes.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from deploy.embedded.servers import TORCH_MALLOC
from services.trainer.recipes.extractor import extractor
from services.trainer.recipes.kept import cores
from services.trainer.recipes.lite import weights_file

PX, BATCH, ROUNDS = 300, 8, 5
_NAME = "efficientnet-lite0"


def plain() -> Callable[[Tensor], None]:
    """What one would write: the library's network, batch norms and all, called eagerly, statistics of its maps."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(_NAME, image_size=PX).eval()
    network.load_state_dict(torch.load(weights_file(_NAME), weights_only=True))
    maps: list[Tensor] = []
    for place in (2, 4, 7, 10, 14, 15):
        network._blocks[place].register_forward_hook(lambda module, given, answer: maps.append(answer))

    def extract(images: Tensor) -> None:
        maps.clear()
        x = F.interpolate(images.to(torch.float32), size=[PX, PX], mode="bilinear", antialias=True)
        with torch.no_grad():
            network.extract_features((x - 127.0) / 128.0)
            torch.cat([torch.cat((m.mean((2, 3)), m.amax((2, 3)), m.std((2, 3))), dim=1) for m in maps], dim=1)

    return extract


def fast() -> Callable[[Tensor], None]:
    """What the recipes do."""
    traced = extractor(PX, _NAME)

    def extract(images: Tensor) -> None:
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            traced(images)

    return extract


def seconds(kind: str) -> float:
    """An image, the median of the rounds."""
    torch.set_num_threads(cores())
    extract = {"plain": plain, "fast": fast}[kind]()
    images = torch.randint(0, 256, (BATCH, 3, PX, PX), dtype=torch.uint8)
    extract(images)
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        extract(images)
        took.append((time.perf_counter() - began) / BATCH)
    return statistics.median(took)


def speedup(turns: int = 5) -> tuple[float, dict[str, list[float]]]:
    """How many times faster, and the seconds an image of each turn. The plain loop has the default malloc.

    In turns, and the fastest turn of each is taken: whatever else runs on the machine can only make one slower.
    """
    plainly = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    found: dict[str, list[float]] = {"plain": [], "fast": []}
    for _ in range(turns):
        for kind, env in (("plain", plainly), ("fast", {**plainly, **TORCH_MALLOC})):
            command = [sys.executable, "-m", "tests.bench.features", kind]
            found[kind].append(
                float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
            )
    return min(found["plain"]) / min(found["fast"]), found


if __name__ == "__main__":
    print(seconds(sys.argv[1]))
