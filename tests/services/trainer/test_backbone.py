import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from services.chassis.errors import Rejected
from services.chassis.recipes import NotARecipe, checked
from services.trainer.recipes.backbone import backbone, weights_sha256
from services.trainer.recipes.extractor import STATISTICS, scripted

PX = 64


class Tiny(nn.Module):
    """Maps of two resolutions and a classifier on top, as networks of timm have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.finer = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.coarser = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.top = nn.Linear(6, 10)
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.coarser(self.finer(self.stem(x)))
        return self.top(x.mean(dim=(2, 3)))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool) -> nn.Module:
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        assert pretrained
        torch.manual_seed(1)
        return Tiny()

    module = ModuleType("timm")
    module.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)


def test_a_network_of_timm_is_seen_as_the_last_map_of_each_resolution(timm: None) -> None:
    network = backbone("timm:tiny", PX)
    assert network.channels == (4, 6)
    x = torch.rand(2, 3, PX, PX)
    with torch.inference_mode():
        finer, coarser = network(x)
    assert (finer.shape, coarser.shape) == ((2, 4, 16, 16), (2, 6, 8, 8))
    assert float(finer.min()) >= 0  # behind its ReLU
    assert list(network.mean) == [127.5] * 3


def test_its_extractor_is_torchscript_and_answers_batches_of_any_size(timm: None) -> None:
    network = backbone("timm:tiny", PX)
    extract = scripted(network, PX)
    images = torch.randint(0, 256, (5, 3, 40, 50), dtype=torch.uint8)
    with torch.inference_mode():
        maps, features = extract(images)
        alone = extract(images[:1])[1]
    assert [x.shape[1] for x in maps] == [4, 6]
    assert features.shape == (5, STATISTICS * 10)
    torch.testing.assert_close(features[:1], alone)


def test_a_network_of_torchvision_is_had_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    models = SimpleNamespace(get_model=lambda name, weights: {("tiny", "DEFAULT"): Tiny()}[name, weights])
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    assert backbone("torchvision:tiny", PX).channels == (4, 6)


def test_a_library_that_is_not_installed_and_a_name_it_does_not_know_are_said(
    timm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Rejected, match="the backbone timm:huge cannot be had: Unknown model"):
        backbone("timm:huge", PX)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Rejected, match="needs the package timm: install it beside the trainer"):
        backbone("timm:tiny", PX)


@pytest.mark.parametrize("name", ["resnet18", "timm:../x", "keras:resnet18"])
def test_a_backbone_that_nobody_has_is_refused_when_it_is_requested(name: str) -> None:
    with pytest.raises(NotARecipe, match="backbone"):
        checked("frozen-features", {"backbone": name})


def test_other_weights_have_another_hash(timm: None) -> None:
    weights_sha256.cache_clear()
    assert weights_sha256("efficientnet-lite0", PX) != weights_sha256("timm:tiny", PX)
