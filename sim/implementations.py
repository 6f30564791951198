"""Every implementation of a network, as a function from images to logits, and how fast it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from convstream.model.formats.onnx.predictor import predictor
from convstream.model.network import reference
from convstream.model.network.exponents import Exponents, shifts_of
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.layers.base import EXACT_IN_FLOAT32
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import report, shard
from convstream.sim.design import Design
from convstream.sim.shard import FEWEST_IMAGES, Shard

BATCH = 250
REFERENCE = "int8 reference"
ONNX_RUNTIME = "ONNX Runtime"
RTL = "RTL in Verilator"

Predict = Callable[[np.ndarray], np.ndarray]
"""Logits (N, classes) of images, uint8 (N, C, H, W)."""


@dataclass(frozen=True, eq=False)
class Row:
    """What one implementation made of the first images.

    numbers: `int8` or `float`, those of the network it computed. logits: (images, classes), in
    integers for int8. seconds: that took. wrong: what an implementation found wrong by itself.
    """

    name: str
    numbers: str
    logits: np.ndarray
    seconds: float
    wrong: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.logits)

    @property
    def speed(self) -> float:
        """Images a second."""
        return self.images / max(self.seconds, 1e-9)


def float_predictors(
    model: FloatNetwork, exponents: Exponents | None = None
) -> Iterator[tuple[str, Predict]]:
    """NumPy slow and fast, and PyTorch where it is installed."""
    for convolution in ("slow", "fast"):

        def predict(images: np.ndarray, convolution: str = convolution) -> np.ndarray:
            return model.predict(images, exponents, convolution=convolution, batch=len(images))

        yield f"NumPy, {convolution}", predict
    try:
        import torch

        from convstream.model.learning.torch_network import TorchNetwork
    except ImportError:
        return
    twin = TorchNetwork(model)

    @torch.no_grad()
    def predict_torch(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(images.astype(model.dtype))
        return twin(pixels, exponents).numpy()

    yield "PyTorch", predict_torch


def int8_predictors(quantised: QuantisedNetwork, folder: Path) -> Iterator[tuple[str, Predict]]:
    """All that compute the integers of the int8 network, but for the RTL.

    NumPy and PyTorch only where all scales are powers of two, whose rounding floats have too.
    """
    if shifts_of(quantised) is not None:
        dtype = np.float32 if fits_float32(quantised) else np.float64
        model, exponents = FloatNetwork.from_integers(quantised, dtype)
        for name, predict in float_predictors(model, exponents):
            yield name, partial(_integers, predict, exponents.logits(quantised.network))
    yield REFERENCE, lambda images: reference.predict(quantised, images)
    yield ONNX_RUNTIME, predictor(folder / "network.onnx", quantised)


def fits_float32(quantised: QuantisedNetwork) -> bool:
    """Whether float32 holds every sum exactly."""
    return quantised.largest_bound < EXACT_IN_FLOAT32


def _integers(predict: Predict, exponent: int, images: np.ndarray) -> np.ndarray:
    """Real logits, which are multiples of 2**-exponent, as these multiples."""
    return np.ldexp(predict(images), exponent)


def measure(
    name: str, numbers: str, predict: Predict, images: np.ndarray, tell: Callable[[int], None]
) -> Row:
    """Run `predict` on all images, a batch at a time; the slow one, image by image.

    The fastest batch gives the time, so that whatever else the machine does matters less.
    """
    slow = name.endswith("slow")
    batch = 1 if slow else BATCH
    if not slow:
        predict(images[:2])  # one-time costs do not count
    logits = []
    fastest = math.inf
    for start in range(0, len(images), batch):
        started = time.perf_counter()
        logits.append(predict(images[start : start + batch]))
        seconds = time.perf_counter() - started
        fastest = min(fastest, seconds / len(logits[-1]))
        tell(start + len(logits[-1]))
    return Row(name, numbers, np.concatenate(logits), fastest * len(images))


def simulate(design: Design, part: Shard, expected: np.ndarray, tell: Callable[[int], None]) -> Row:
    """The RTL in Verilator, in one process; it must have been compiled.

    expected: int32 (N, classes), the reference's logits.
    """
    result = shard.run(design, part, tell)
    # A shard of very few images is filled up.
    count = len(part.images)
    seconds = result.seconds * count / max(count, FEWEST_IMAGES)
    wrong = tuple(report.shorten(report.complaints(design, [result], expected)))
    return Row(RTL, "int8", result.logits, seconds, wrong)
