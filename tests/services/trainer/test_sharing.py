"""Several processes train one network, as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch

from services.chassis.blobs import Blobs
from tests.manifests import two_corners
from tests.services.trainer import sharing_process, tuning_process

ROOT = Path(__file__).parents[3]


def torchrun(processes: int, module: ModuleType, *arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run(
        [*command, "-m", module.__name__, *arguments],
        check=True,
        timeout=200,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_processes_of_torchrun_train_what_one_trains_also_where_one_of_them_has_no_row(tmp_path: Path) -> None:
    sharing_process.train(tmp_path / "alone")
    torchrun(3, sharing_process, str(tmp_path / "shared"))
    alone, shared = (torch.load(tmp_path / name, weights_only=True) for name in ("alone", "shared"))
    assert alone.keys() == shared.keys()
    for name, weights in alone.items():
        assert torch.allclose(weights, shared[name], atol=1e-5), name


def test_fine_tune_under_torchrun_makes_the_model_of_one_process(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path / "blobs"))
    manifest = two_corners(blobs).uri
    tuning_process.tune(str(tmp_path / "blobs"), manifest, tmp_path / "alone.pt")
    torchrun(2, tuning_process, str(tmp_path / "blobs"), manifest, str(tmp_path / "shared.pt"))
    alone, shared = (torch.jit.load(tmp_path / f"{name}.pt") for name in ("alone", "shared"))
    images = torch.randint(255, (16, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(alone(images)[0], shared(images)[0], atol=1e-3, rtol=0)
