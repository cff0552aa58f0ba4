"""Each recipe of Loopline gives the plain network, too, which its file and its archive are held against."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.manifest import read_manifest
from services.chassis.recipes import checked
from services.trainer.dataset import COLUMNS, Dataset
from services.trainer.exporting import check, with_archive
from services.trainer.recipes.recipe import Context
from services.trainer.training import trainer_of
from tests.manifests import two_corners

FEW = {"image_px": 48, "max_side": 40}
SHORT = {**FEW, "epochs": 1, "epochs_all": 1, "batch": 16, "views": 2}


@pytest.mark.parametrize(
    ("recipe", "parameters"), [("frozen-features", FEW), ("tutorial", FEW), ("anomaly", FEW), ("fine-tune", SHORT)]
)
def test_the_file_answers_as_the_plain_network_and_another_network_is_noticed(
    recipe: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    blobs = Blobs(str(tmp_path / "blobs"))
    dataset = Dataset.of(read_manifest(blobs.read(two_corners(blobs).uri), COLUMNS).to_pylist(), ("upper", "lower"))
    context = Context(blobs, str(tmp_path / "kept"), 0, lambda *_: None)
    made = trainer_of(recipe)(dataset, checked(recipe, parameters), context)
    network = made.eager
    assert isinstance(network, torch.nn.Module)
    assert not isinstance(network, torch.jit.ScriptModule)
    assert not [part for part in network.modules() if isinstance(part, torch.jit.ScriptModule)]
    archived = with_archive(made)
    assert archived.exported
    check(archived, recipe, 2)
    # Of any image size, and not only of those that it was made with.
    answers = torch.export.load(io.BytesIO(archived.exported)).module()
    other = torch.randint(255, (3, 3, 71, 33), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(answers(other), network(other))
    with pytest.raises(Rejected, match="from eager"):
        check(replace(made, eager=lambda images: [part + 1e-3 for part in network(images)]), recipe, 2)
