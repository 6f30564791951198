"""Three networks as people write them in PyTorch, trained on MNIST for one epoch.

python tb/mnist_networks.py LeNet5 lenet5.pt
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNet(nn.Module):
    """Three filters of 3x3, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(3 * 14 * 14, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.conv(x)))
        return self.fc(x.view(x.size(0), -1))


class LeNet5(nn.Module):
    """All that has no weights is a function in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        return functional.log_softmax(self.fc3(x), dim=1)


class Strided(nn.Module):
    """Convolutions of stride 2, and no pool."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * width, 250), nn.ReLU(), nn.Linear(250, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 1, 28, 28), and labels, int64 (N,), of `train` or `t10k`."""
    raw = Path(os.environ["MNIST_ROOT"]) / "MNIST" / "raw"
    images = np.fromfile(raw / f"{split}-images-idx3-ubyte", np.uint8)[16:]
    labels = np.fromfile(raw / f"{split}-labels-idx1-ubyte", np.uint8)[8:]
    return images.reshape(-1, 1, 28, 28), labels.astype(np.int64)


def normalised(images: np.ndarray) -> Tensor:
    """What ToTensor and Normalize(0.5, 0.5) make of pixels."""
    return (torch.from_numpy(images).float() / 255 - 0.5) / 0.5


def train(network: nn.Module) -> None:
    """One epoch of Adam on batches of 64."""
    images, labels = mnist("train")
    x, y = normalised(images), torch.from_numpy(labels)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    network.train()
    for batch in torch.randperm(len(x)).split(64):
        loss = functional.cross_entropy(network(x[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


if __name__ == "__main__":
    torch.manual_seed(1)
    made: nn.Module = globals()[sys.argv[1]]()
    train(made)
    torch.save(made.state_dict(), sys.argv[2])
