"""A scikit-learn model, trained by your own script and handed to the loop.

python examples/sklearn_logistic.py --project digits

scikit-learn cannot be scripted, but what it learned are a few arrays: a small torch module with the same arithmetic is.
"""

import argparse

import mlflow
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import loopline


def features(images: Tensor, cells: int = 16) -> Tensor:
    """uint8 [N, 3, H, W] of any size -> float32 [N, 256], grey values. Training and serving share it."""
    grey = images.to(torch.float32).mean(dim=1, keepdim=True) / 255.0
    return F.interpolate(grey, size=[cells, cells], mode="bilinear", antialias=True).flatten(1)


class Logistic(nn.Module):
    """uint8 [N, 3, H, W] -> probabilities [N, C], heat map [N, 16, 16], embedding [N, 256]."""

    def __init__(self, fitted: LogisticRegression) -> None:
        super().__init__()
        weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
        if len(weight) == 1:  # of two classes scikit-learn keeps one row, that of the second
            weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32))
        self.register_buffer("bias", torch.tensor(bias, dtype=torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The model as it serves."""
        x = features(images)
        probabilities = torch.softmax(F.linear(x, self.weight, self.bias), dim=1)
        # A linear answer is a sum over places, so this is where the evidence for it lies, its peak at 1.
        contrast = self.weight[probabilities.argmax(dim=1)] - self.weight.mean(dim=0)
        heat = (contrast * x).clamp_min(0.0)
        heat = heat / heat.amax(dim=1, keepdim=True).clamp_min(1e-12)
        return probabilities, heat.view(-1, 16, 16), x


def main() -> None:
    """Train, log, hand over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="digits")
    parser.add_argument("--strength", type=float, default=1.0, help="C of LogisticRegression")
    chosen = parser.parse_args()

    data = loopline.dataset(chosen.project)
    known, truth = features(torch.from_numpy(data.train.images())).numpy(), data.train.labels
    held_out = features(torch.from_numpy(data.validation.images())).numpy()

    mlflow.set_tracking_uri(loopline.mlflow_url())
    mlflow.set_experiment(chosen.project)
    mlflow.autolog(log_models=False)  # what serves is model.pt, which hand_over logs
    with mlflow.start_run(run_name="sklearn logistic"):
        fitted = LogisticRegression(C=chosen.strength, max_iter=1000).fit(known, truth)
        mlflow.log_metric("validation_accuracy", float(fitted.score(held_out, data.validation.labels)))
        model = torch.jit.script(Logistic(fitted).eval())
        handed = loopline.hand_over(model, data, recipe="sklearn-logistic")
    judged = handed.verdict()
    print(f"run {handed.run_id}: {judged.verdict}. {judged.sentence}")


if __name__ == "__main__":
    main()
