"""A linear softmax head on standardised features, fitted to the optimum, its confidence calibrated on validation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

# Tried from the strongest on, each fit starting from the one before.
L2_TRIED = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
L2_DEFAULT = 1e-3
_TEMPERATURES = tuple(2 ** (step / 20) for step in range(-30, 61))  # 0.35 to 8
_MOST_STEPS = 300
_PRIOR_SPREAD = 0.5  # of the logarithm of the temperature
_SPANNED = 1e-10  # of the largest eigenvalue: what is smaller is rounding
_SURE = 2  # standard errors of a paired difference


class NotFinite(ValueError):
    """The loss is no number; the text says where."""


@dataclass(frozen=True)
class Examples:
    """Features float32 [n, D] and class indices int64 [n]."""

    features: Tensor
    labels: Tensor

    def holds_all(self, classes: int) -> bool:
        """Whether every class has an example."""
        return len(torch.unique(self.labels)) == classes


@dataclass(frozen=True)
class Head:
    """probabilities = softmax(weight @ (features - center) + bias). weight [C, D], bias [C], center [D], float64.

    Scale and temperature are folded into weight and bias. `loss` is the penalised loss on the training images.
    """

    weight: Tensor
    bias: Tensor
    center: Tensor
    l2: float
    temperature: float
    loss: float

    def logits(self, features: Tensor) -> Tensor:
        """float64 [n, C]."""
        return (features.to(torch.float64) - self.center) @ self.weight.T + self.bias


def fit_head(
    train: Examples,
    validation: Examples,
    classes: int,
    *,
    l2: float | None = None,
    balanced: bool = False,
    report: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> Head:
    """Fit, choose the penalty on validation unless `l2` is given, then calibrate there.

    Where validation lacks a class it can teach nothing: the penalty is then L2_DEFAULT, the temperature 1.
    `report(done, total, loss)` is called after each fit. Nothing here is random.

    Raises:
        NotFinite: a feature or the loss is no number.
    """
    judged = validation.holds_all(classes)
    tried: Sequence[float] = (l2,) if l2 is not None else L2_TRIED if judged else (L2_DEFAULT,)
    space = _Space(train.features)
    counts = torch.bincount(train.labels, minlength=classes).to(torch.float64)
    weights = counts.sum() / (classes * counts) if balanced else torch.ones(classes, dtype=torch.float64)
    fitted = torch.zeros(space.inside.shape[1] + 1, classes, dtype=torch.float64)
    heads = []
    for strength in tried:
        fitted, loss = _minimise(space.inside, train.labels, strength, weights, fitted)
        heads.append(space.head(fitted, strength, loss))
        report(len(heads), len(tried), loss)
    return _chosen([_calibrated(head, validation) for head in heads], validation) if judged else heads[0]


def _chosen(heads: Sequence[Head], validation: Examples) -> Head:
    """The head of the usual penalty, unless another is better on validation by more than chance.

    A validation set is often a few dozen images: its best of five penalties alone is a coin flip that costs accuracy.
    """
    usual = next((head for head in heads if head.l2 == L2_DEFAULT), heads[0])

    def losses(head: Head) -> Tensor:
        return F.cross_entropy(head.logits(validation.features), validation.labels, reduction="none")

    best = min(heads, key=lambda head: float(losses(head).mean()))
    better = losses(usual) - losses(best)
    sure = _SURE * float(better.std()) / math.sqrt(len(better))
    return best if float(better.mean()) > sure else usual


def log_loss(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood, nats."""
    return float(F.cross_entropy(logits, labels))


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    return float((logits.argmax(dim=1) == labels).to(torch.float64).mean())


class _Space:
    """Features standardised, and seen inside the span of the training images.

    With a penalty on the weights the best weights are a combination of the images, so a few hundred numbers a class
    are fitted instead of thousands, and the optimum is the same.
    """

    def __init__(self, features: Tensor) -> None:
        x = features.to(torch.float64)
        if not bool(torch.isfinite(x).all()):
            raise NotFinite("a feature of a training image is not a number: is an image or the kept features damaged?")
        spread, self.center = torch.std_mean(x, dim=0, correction=0)
        # A feature that hardly varies would be blown up to nothing but rounding noise.
        alive = spread > 1e-4 + 1e-3 * self.center.abs()
        self.scale = torch.where(alive, 1.0 / spread.clamp_min(1e-12), 0.0) / math.sqrt(max(1, int(alive.sum())))
        z = (x - self.center) * self.scale
        self.basis: Tensor | None = None
        self.inside = z
        if z.shape[0] < z.shape[1]:
            # By the small matrix of inner products: several times faster than a QR of the wide one.
            squares, directions = torch.linalg.eigh(z @ z.T)
            spanned = squares > _SPANNED * squares[-1]
            lengths = squares[spanned].sqrt()
            self.inside = (directions[:, spanned] * lengths).contiguous()
            self.basis = z.T @ (directions[:, spanned] / lengths)

    def head(self, fitted: Tensor, l2: float, loss: float) -> Head:
        weight = fitted[:-1] if self.basis is None else self.basis @ fitted[:-1]
        return Head((weight * self.scale[:, None]).T.contiguous(), fitted[-1].clone(), self.center, l2, 1.0, loss)


def _minimise(z: Tensor, labels: Tensor, l2: float, weights: Tensor, start: Tensor) -> tuple[Tensor, float]:
    """Weighted cross-entropy + l2/2 |w|² over w [k + 1, C], the last row free of penalty, from `start` on."""
    w = start.clone().requires_grad_(True)
    steps = torch.optim.LBFGS(
        [w],
        max_iter=_MOST_STEPS,
        tolerance_grad=1e-5,
        tolerance_change=1e-8,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def value() -> Tensor:
        penalty = l2 / 2 * (w[:-1] ** 2).sum()
        return F.cross_entropy(z @ w[:-1] + w[-1], labels, weight=weights) + penalty

    def with_gradient() -> Tensor:
        steps.zero_grad()
        loss = value()
        loss.backward()
        return loss

    steps.step(with_gradient)
    with torch.no_grad():
        loss = float(value())
    if not math.isfinite(loss):
        raise NotFinite(f"the loss is not a number with l2 = {l2:g}: ask for a larger l2")
    return w.detach(), loss


def _calibrated(head: Head, validation: Examples) -> Head:
    """The head with its logits divided by the likeliest temperature, under a prior that confidence is about right.

    Without the prior three lucky images would make it certain of everything.
    """
    logits, n = head.logits(validation.features), len(validation.labels)

    def cost(temperature: float) -> float:
        prior = math.log(temperature) ** 2 / (2 * _PRIOR_SPREAD**2)
        return log_loss(logits / temperature, validation.labels) + prior / n

    best = min(_TEMPERATURES, key=cost)
    return replace(head, weight=head.weight / best, bias=head.bias / best, temperature=best)
