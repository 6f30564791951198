"""Float networks as PyTorch and ONNX Runtime's `quantize_static` turn them into files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn

FORMATS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(392, 10),
    )  # fmt: skip


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(432, 10),
    )  # fmt: skip


class Residual(nn.Module):
    """A residual block between a convolution and a global average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 2, 1)
        self.one, self.two = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.two(torch.relu(self.one(x))))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def depthwise() -> nn.Module:
    """Separable convolutions with ReLU6 and batch normalisation."""

    def separable(before: int, after: int, stride: int) -> Iterator[nn.Module]:
        yield from (nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
                    nn.BatchNorm2d(before), nn.ReLU6())  # fmt: skip
        yield from (nn.Conv2d(before, after, 1), nn.BatchNorm2d(after), nn.ReLU6())

    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU6(), *separable(8, 12, 1), *separable(12, 16, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


def leaky() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.LeakyReLU(0.1), nn.AvgPool2d(3, 2),
        nn.Conv2d(6, 8, 3), nn.LeakyReLU(0.1), nn.AvgPool2d(3, 2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


class Joined(nn.Module):
    """Two branches whose channels stand one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, 2, 1)
        self.narrow, self.wide = nn.Conv2d(6, 5, 1), nn.Conv2d(6, 7, 3, padding=1)
        self.last = nn.Conv2d(12, 8, 3, 2)
        self.fc = nn.Linear(288, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.cat([torch.relu(self.narrow(x)), torch.relu(self.wide(x))], dim=1)
        return self.fc(torch.relu(self.last(x)).flatten(1))


def signal() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 8, 7, 2, 3), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 12, 5, 1, 2), nn.ReLU(), nn.MaxPool1d(3, 2), nn.Flatten(), nn.Linear(276, 5),
    )  # fmt: skip


def colour() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 16, (3, 5), (2, 1), (1, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def large() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(3, ceil_mode=True), nn.Flatten(),
        nn.Linear(128, 2),
    )  # fmt: skip


def fully_convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 1),
    )  # fmt: skip


NETWORKS = {
    "convnet": (convnet, (1, 28, 28)),
    "lenet5": (lenet5, (1, 28, 28)),
    "strided": (strided, (1, 28, 28)),
    "residual": (Residual, (1, 28, 28)),
    "depthwise": (depthwise, (1, 28, 28)),
    "leaky": (leaky, (1, 28, 28)),
    "joined": (Joined, (1, 28, 28)),
    "signal": (signal, (1, 187)),
    "colour": (colour, (3, 32, 32)),
    "large": (large, (1, 96, 96)),
    "fully_convolutional": (fully_convolutional, (1, 20, 24)),
}


def export_float(name: str, path: Path, seed: int = 1, opset: int = 17) -> None:
    """Write a network of random weights as PyTorch's exporter does, N of any size."""
    build, shape = NETWORKS[name]
    torch.manual_seed(seed)
    network = build()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is an old one
        torch.onnx.export(
            network.eval(), (torch.zeros(1, *shape),), path, dynamo=False, opset_version=opset,
            input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
        )  # fmt: skip


class _Batches(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._batches = iter([{"x": part} for part in np.array_split(images, 2)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def quantise_file(
    source: Path,
    path: Path,
    images: np.ndarray,
    style: str = "qdq",
    activations: str = "uint8",
    per_channel: bool = False,
    symmetric: bool = False,
    **more: Any,
) -> onnx.ModelProto:
    """Write what `quantize_static` makes of a float file; images: float32 to calibrate with."""
    import logging

    logging.disable(logging.WARNING)  # it recommends a preprocessing
    options = {"ActivationSymmetric": symmetric, **more.pop("extra_options", {})}
    quantize_static(
        source, path, _Batches(images), FORMATS[style], per_channel=per_channel,
        activation_type=TYPES[activations], extra_options=options, **more,
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    return onnx.load(path)


def images_for(shape: Sequence[int], count: int, seed: int = 2) -> np.ndarray:
    """float32 count x shape from -1 to 1: smooth, noisy, black and white ones."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (count, *shape))
    smooth = np.cumsum(rng.normal(0, 0.3, images.shape), axis=-1).clip(-1, 1)
    images[::3] = smooth[::3]
    images[1::4] = np.where(images[1::4] > 0.3, 1, -1)
    return images.astype(np.float32)
