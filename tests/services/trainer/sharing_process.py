"""A training by gradients, alone or under torchrun: python -m tests.services.trainer.sharing_process FILE.

Process 0 writes its weights to FILE.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from services.trainer.recipes.device import compiled, device, mixed
from services.trainer.recipes.sharing import joined, rank, share, shared, told

ROWS, BATCH, EPOCHS = 23, 5, 3


def train(file: Path) -> None:
    """Three epochs of batches of five; the last of each has three rows."""
    torch.manual_seed(0)
    images, labels = torch.randn(ROWS, 4), torch.randint(0, 3, (ROWS,))
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(device())
    model = compiled(shared(network), device())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(EPOCHS):
        # Two rows at the end: with three processes one has none.
        for batch in torch.randperm(ROWS - 1).split(BATCH):
            rows, weights = share(batch)
            with mixed(device()):
                losses = nn.functional.cross_entropy(model(images[rows]), labels[rows], reduction="none")
            optimizer.zero_grad()
            (losses * weights).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert told(b"the checkpoint" if rank() == 0 else None) == b"the checkpoint"
    if rank() == 0:
        torch.save(network.state_dict(), file)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined():
        train(Path(sys.argv[1]))
