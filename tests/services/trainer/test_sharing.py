"""Several processes train one network, as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.services.trainer import sharing_process

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_of_torchrun_train_what_one_trains(processes: int, tmp_path: Path) -> None:
    sharing_process.train(tmp_path / "alone")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run(
        [*torchrun, "-m", sharing_process.__name__, str(tmp_path / "shared")],
        check=True,
        timeout=200,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    alone, shared = (torch.load(tmp_path / name, weights_only=True) for name in ("alone", "shared"))
    assert alone.keys() == shared.keys()
    for name, weights in alone.items():
        assert torch.allclose(weights, shared[name], atol=1e-5), name
