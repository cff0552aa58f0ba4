"""A softmax head on standardised features, fitted to the optimum, its confidence calibrated on validation.

Kernel logistic regression (Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, 12.3.3; Zhu and Hastie
2005) with a Gaussian kernel; why not a linear one, and where the constants come from: ADR 0020.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

# Penalties for the images together: each is divided by their number, since more images need less of it. Tried from the
# strongest on, each fit starting from the one before.
L2_TRIED = (3.0, 0.3, 0.1, 0.03, 0.01)
L2_USUAL = 0.03
# kernel = exp(-GAMMA * mean squared difference of the standardised features): two random images have about e⁻¹.
GAMMA = 0.5
# More training images than this are all fitted to, but compared with this many of them only (Nyström).
MOST_SUPPORT = 2048
_TEMPERATURES = tuple(2 ** (step / 20) for step in range(-30, 61))  # 0.35 to 8
_MOST_STEPS = 300
_PRIOR_SPREAD = 0.5  # of the logarithm of the temperature
_JITTER = 1e-6  # on the kernel's diagonal of ones: two equal images are nearly one
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
    """logits = kernel(standardised(features), support) @ weight + bias, in float64.

    `support` [S, D] are training images, standardised by `center` and `scale` [D]; `weight` [S, C], `bias` [C]. The
    temperature is folded into weight and bias. `loss` is the penalised loss on the training images.
    """

    support: Tensor
    weight: Tensor
    bias: Tensor
    center: Tensor
    scale: Tensor
    l2: float
    temperature: float
    loss: float

    def logits(self, features: Tensor) -> Tensor:
        """float64 [n, C]."""
        return kernel((features.to(torch.float64) - self.center) * self.scale, self.support) @ self.weight + self.bias


def kernel(one: Tensor, other: Tensor) -> Tensor:
    """Gaussian kernel of standardised features [n, D] and [m, D] -> [n, m], in 0..1."""
    squares = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1)[None, :] - 2 * one @ other.T
    return torch.exp(-GAMMA * squares.clamp_min(0.0))


class Space:
    """Images seen inside the span of the support's kernel functions: `inside` [n, k], inner products as the kernel's.

    With a penalty on the length of a function the best one is a combination of the kernel at the training images
    (representer theorem), so a few hundred numbers a class are fitted, whatever the number of features.
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
        # The order is that of hashes, so an even draw is a fair one.
        count = min(len(z), MOST_SUPPORT)
        self.support = z[torch.arange(count) * len(z) // count]
        # With inner products as the kernel's, any square root of it does; Cholesky's is many times faster than others.
        among = kernel(self.support, self.support)
        self._root = torch.linalg.cholesky(among + _JITTER * torch.eye(count, dtype=torch.float64))
        self.inside = self.of(features)

    def of(self, features: Tensor) -> Tensor:
        """Any images, seen inside, float64 [n, k]."""
        z = (features.to(torch.float64) - self.center) * self.scale
        alike = kernel(z, self.support)
        return torch.linalg.solve_triangular(self._root, alike.T, upper=False).T.contiguous()

    def head(self, fitted: Tensor, l2: float, loss: float) -> Head:
        """The head of what was fitted inside, [k + 1, C], the bias last."""
        weight = torch.linalg.solve_triangular(self._root.T, fitted[:-1], upper=True)
        return Head(self.support, weight, fitted[-1].clone(), self.center, self.scale, l2, 1.0, loss)


def fit_head(
    train: Examples,
    validation: Examples,
    classes: int,
    *,
    l2: float | None = None,
    balanced: bool = False,
    space: Space | None = None,
    report: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> Head:
    """Fit, choose the penalty on validation unless `l2` is given, then calibrate there.

    Where validation lacks a class it can teach nothing: the penalty is then the usual one, the temperature 1. `space`
    is that of the training images, where it is there already. `report(done, total, loss)` is called after each fit.
    Nothing here is random.

    Raises:
        NotFinite: a feature or the loss is no number.
    """
    judged = validation.holds_all(classes)
    usual = L2_USUAL / len(train.labels)
    tried = (l2,) if l2 else [each / len(train.labels) for each in L2_TRIED] if judged else (usual,)
    space = space or Space(train.features)
    weights = class_weights(train.labels, classes, balanced)
    fitted = torch.zeros(space.inside.shape[1] + 1, classes, dtype=torch.float64)
    heads = []
    for strength in tried:
        fitted, loss = minimise(space.inside, train.labels, strength, weights, fitted)
        heads.append(space.head(fitted, strength, loss))
        report(len(heads), len(tried), loss)
    return _chosen([calibrated(head, validation) for head in heads], validation, usual) if judged else heads[0]


def class_weights(labels: Tensor, classes: int, balanced: bool) -> Tensor:
    """float64 [C]: what an image of each class counts."""
    if not balanced:
        return torch.ones(classes, dtype=torch.float64)
    counts = torch.bincount(labels, minlength=classes).to(torch.float64)
    return counts.sum() / (classes * counts.clamp_min(1))


def _chosen(heads: Sequence[Head], validation: Examples, usual_l2: float) -> Head:
    """The head of the usual penalty, unless another is better on validation by more than chance.

    A validation set is often a few dozen images: its best of five penalties alone is a coin flip that costs accuracy.
    """
    usual = next((head for head in heads if head.l2 == usual_l2), heads[0])

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


def minimise(z: Tensor, labels: Tensor, l2: float, weights: Tensor, start: Tensor) -> tuple[Tensor, float]:
    """Weighted cross-entropy + l2/2 |w|² over w [k + 1, C], the last row free of penalty, from `start` on.

    Raises:
        NotFinite: the loss is no number.
    """
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


def calibrated(head: Head, validation: Examples) -> Head:
    """The head with its logits divided by the likeliest temperature, under a prior that confidence is about right."""
    best = likeliest_temperature(head.logits(validation.features), validation.labels)
    return replace(head, weight=head.weight / best, bias=head.bias / best, temperature=best)


def likeliest_temperature(logits: Tensor, labels: Tensor) -> float:
    """What logits are to be divided by (Guo et al. 2017); without the prior three lucky images would make it certain
    of everything. 1 without images."""
    if not len(labels):
        return 1.0

    def cost(temperature: float) -> float:
        prior = math.log(temperature) ** 2 / (2 * _PRIOR_SPREAD**2)
        return log_loss(logits / temperature, labels) + prior / len(labels)

    return min(_TEMPERATURES, key=cost)
