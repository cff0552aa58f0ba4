"""A plain PyTorch network, trained by your own loop and handed to the loop.

python examples/pytorch_cnn.py --project digits --epochs 8

MLflow's autologging knows Lightning and scikit-learn, not a loop that you wrote yourself: so this logs by hand.
"""

import argparse

import mlflow
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import loopline


class SmallCnn(nn.Module):
    """uint8 [N, 3, H, W] of any size -> probabilities [N, C], heat map [N, 8, 8], embedding [N, 32]."""

    def __init__(self, classes: int, side: int = 32) -> None:
        super().__init__()
        self.side = side
        self.look = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32 * 16, classes)

    def maps(self, images: Tensor) -> Tensor:
        """What the convolutions see, [N, 32, 8, 8]. Raw pixels come in: preprocessing belongs to the model."""
        x = images.to(torch.float32) / 127.5 - 1.0
        x = F.interpolate(x, size=[self.side, self.side], mode="bilinear", antialias=True)
        return self.look(x)

    def logits(self, images: Tensor) -> Tensor:
        """For the loss, [N, C]."""
        return self.head(F.adaptive_avg_pool2d(self.maps(images), [4, 4]).flatten(1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The model as it serves."""
        maps = self.maps(images)
        pooled = F.adaptive_avg_pool2d(maps, [4, 4])
        probabilities = torch.softmax(self.head(pooled.flatten(1)), dim=1)
        # The head is linear: the weights of the answer times what was pooled is where its evidence lies.
        weight = self.head.weight
        contrast = (weight[probabilities.argmax(dim=1)] - weight.mean(dim=0)).view(pooled.shape)
        heat = F.interpolate((contrast * pooled).sum(dim=1, keepdim=True), size=[8, 8], mode="nearest").squeeze(1)
        heat = heat.clamp_min(0.0)
        heat = heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        return probabilities, heat, maps.mean(dim=(2, 3))


def accuracy(model: SmallCnn, images: Tensor, labels: Tensor) -> float:
    """Share of right answers, 0..1."""
    with torch.inference_mode():
        return float((model.logits(images).argmax(dim=1) == labels).float().mean())


def main() -> None:
    """Train, log, hand over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="digits")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.003, help="learning rate of AdamW")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()

    torch.manual_seed(chosen.seed)
    data = loopline.dataset(chosen.project)
    images, labels = torch.from_numpy(data.train.images()), torch.from_numpy(data.train.labels)
    held_out, truth = torch.from_numpy(data.validation.images()), torch.from_numpy(data.validation.labels)
    model = SmallCnn(len(data.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen.rate)
    batches = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)

    mlflow.set_tracking_uri(loopline.mlflow_url())
    mlflow.set_experiment(chosen.project)
    with mlflow.start_run(run_name="pytorch cnn"):
        mlflow.log_params(vars(chosen))
        for epoch in range(chosen.epochs):
            model.train()
            total = 0.0
            for batch, answers in batches:
                loss = F.cross_entropy(model.logits(batch), answers)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(batch)
            model.eval()
            seen = {"train_loss": total / len(images), "validation_accuracy": accuracy(model, held_out, truth)}
            mlflow.log_metrics(seen, step=epoch)
            print(f"epoch {epoch + 1} of {chosen.epochs}: {seen}")
        handed = loopline.hand_over(torch.jit.script(model.eval()), data, recipe="pytorch-cnn", seed=chosen.seed)
    judged = handed.verdict()
    print(f"run {handed.run_id}: {judged.verdict}. {judged.sentence}")


if __name__ == "__main__":
    main()
