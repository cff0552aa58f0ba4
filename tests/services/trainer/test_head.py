import math

import pytest
import torch

from services.trainer.recipes.head import (
    GAMMA,
    L2_USUAL,
    MOST_SUPPORT,
    Examples,
    NotFinite,
    accuracy,
    fit_head,
    kernel,
    log_loss,
)


def drawn(n: int, *, seed: int, classes: int = 3, features: int = 40, noise: float = 2.0) -> Examples:
    """Class c is shifted along feature c."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    x = torch.randn(n, features, generator=chance) * noise
    x[torch.arange(n), labels] += 4
    return Examples(x.to(torch.float32), labels)


NONE = Examples(torch.empty(0, 40), torch.empty(0, dtype=torch.int64))


def test_the_head_learns_and_is_the_same_each_time() -> None:
    train, validation, test = drawn(60, seed=0), drawn(30, seed=1), drawn(300, seed=2)
    head = fit_head(train, validation, 3)
    assert accuracy(head.logits(test.features), test.labels) > 0.6
    again = fit_head(train, validation, 3)
    assert torch.equal(head.weight, again.weight)
    assert torch.equal(head.bias, again.bias)


@pytest.mark.parametrize("features", [20, 200])
def test_the_fit_is_the_optimum_of_kernel_logistic_regression(features: int) -> None:
    train = drawn(60, seed=0, features=features)
    head = fit_head(train, NONE, 3, l2=0.01)
    x = train.features.double()
    z = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    alike = torch.exp(-GAMMA * (z[:, None, :] - z[None, :, :]).square().mean(dim=2))
    # At the optimum the gradient of the penalised loss vanishes.
    weight, bias = head.weight.clone().requires_grad_(True), head.bias.clone().requires_grad_(True)
    loss = log_loss_of(alike @ weight + bias, train.labels) + 0.005 * (weight * (alike @ weight)).sum()
    gradient, of_bias = torch.autograd.grad(loss, (weight, bias))
    assert float(gradient.abs().max()) < 1e-4
    assert float(of_bias.abs().max()) < 1e-4
    assert head.loss == pytest.approx(loss.item(), abs=1e-6)


def test_many_images_are_compared_with_some_of_them() -> None:
    train = drawn(MOST_SUPPORT + 2, seed=0, features=5)
    head = fit_head(train, NONE, 3, l2=1e-2)
    assert len(head.support) == len(head.weight) <= MOST_SUPPORT
    assert accuracy(head.logits(train.features), train.labels) > 0.6


def test_an_image_is_as_its_own_kernel_says() -> None:
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[1.0, math.exp(-GAMMA)], [math.exp(-GAMMA), 1.0]], dtype=torch.float64)
    torch.testing.assert_close(kernel(z, z), expected)


def log_loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, labels)


def test_without_validation_the_usual_penalty_is_taken_and_confidence_left_alone() -> None:
    for validation in (NONE, Examples(torch.zeros(2, 40), torch.tensor([0, 1]))):
        head = fit_head(drawn(60, seed=0), validation, 3)
        assert (head.l2, head.temperature) == (L2_USUAL / 60, 1.0)


def test_another_penalty_is_chosen_only_when_validation_is_sure_of_it() -> None:
    train = drawn(60, seed=0)
    assert fit_head(train, drawn(600, seed=1), 3).l2 > L2_USUAL / 60
    assert fit_head(train, drawn(9, seed=1), 3).l2 == L2_USUAL / 60


def test_three_lucky_images_do_not_make_it_certain_of_everything() -> None:
    assert fit_head(drawn(60, seed=0), drawn(3, seed=1), 3).temperature > 0.6


def test_calibration_helps_an_overconfident_head_and_keeps_its_answers() -> None:
    train, validation, test = drawn(60, seed=0, noise=6), drawn(300, seed=1, noise=6), drawn(600, seed=2, noise=6)
    sure = fit_head(train, NONE, 3, l2=1e-4)
    calibrated = fit_head(train, validation, 3, l2=1e-4)
    assert calibrated.temperature > 1
    assert log_loss(calibrated.logits(test.features), test.labels) < log_loss(sure.logits(test.features), test.labels)
    assert torch.equal(calibrated.logits(test.features).argmax(dim=1), sure.logits(test.features).argmax(dim=1))


def test_balanced_weights_give_a_rare_class_its_due() -> None:
    train, test = drawn(90, seed=0, noise=4), drawn(300, seed=2, noise=4)
    rare = torch.cat((torch.where(train.labels != 2)[0], torch.where(train.labels == 2)[0][:4]))
    few = Examples(train.features[rare], train.labels[rare])
    of_rare = test.labels == 2
    plain, balanced = (
        (fit_head(few, NONE, 3, l2=0.1, balanced=yes).logits(test.features).argmax(dim=1)[of_rare] == 2).sum()
        for yes in (False, True)
    )
    assert balanced > plain


def test_a_feature_that_never_varied_has_no_say() -> None:
    train = drawn(60, seed=0)
    train.features[:, 7] = 5.0
    head = fit_head(train, NONE, 3)
    other = train.features.clone()
    other[:, 7] = 500.0
    torch.testing.assert_close(head.logits(other), head.logits(train.features))


def test_a_feature_that_is_no_number_is_named_as_the_cause() -> None:
    train = drawn(60, seed=0)
    train.features[3, 3] = math.nan
    with pytest.raises(NotFinite, match="not a number"):
        fit_head(train, NONE, 3)
