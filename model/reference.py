"""The int8 reference: what the hardware must compute, exactly, one function per RTL layer.

Integers in, integers out. Inside, sums of products run as floating-point matrix products, which
are exact as long as no partial sum can reach 2**24 (float32) or 2**53 (float64): the largest
possible sum is known beforehand from the weights, and chooses between the two.

Every array has the shape N x C x H x W, but N is innermost in memory: each step then works on long
contiguous runs, whatever the kernel and the stride.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from model.errors import UserError
from model.networks import Conv, Layer, MaxPool, Network
from model.quantised import Parameters, QuantisedNetwork

CACHED_VALUES = 2**20  # of float32, in the largest array of a batch


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """Accumulators of a 2-D convolution with zero padding (`rtl/conv2d.v`, OUT_WIDTH = 32).

    x: uint8 N x IC x H x W; weight: int8 OC x IC x K x K; bias: int32 (OC,).
    Returns int32 N x OC x OH x OW. Raises `UserError` on another type or shape.
    """
    _check(x, "uint8", 4, "the input of conv2d, N x C x H x W")
    _check(weight, "int8", 4, "the weights of conv2d, OC x IC x K x K")
    _check(bias, "int32", 1, "the biases of conv2d, OC")
    layer = Conv(weight.shape[0], weight.shape[2], stride, padding)
    if weight.shape != layer.weight_shape(x.shape[1:]) or len(bias) != len(weight):
        raise UserError(
            f"conv2d: weights {weight.shape} and biases {bias.shape} do not fit "
            f"the input {x.shape}; expected OC x IC x K x K and OC"
        )
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    return _integers(_conv2d(x, *_exact(weight, bias), layer))


def fc(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Accumulators of a fully connected layer (`rtl/fc.v`, OUT_WIDTH = 32).

    x: uint8 N x IN; weight: int8 OUT x IN; bias: int32 (OUT,).
    Returns int32 N x OUT. Raises `UserError` on another type or shape.
    """
    _check(x, "uint8", 2, "the input of fc, N x IN")
    _check(weight, "int8", 2, "the weights of fc, OUT x IN")
    _check(bias, "int32", 1, "the biases of fc, OUT")
    if weight.shape[1] != x.shape[1] or len(bias) != len(weight):
        raise UserError(
            f"fc: weights {weight.shape} and biases {bias.shape} do not fit "
            f"the input {x.shape}; expected OUT x IN and OUT"
        )
    return _integers(_fc(x, *_exact(weight, bias)))


def requantise(acc: np.ndarray, shift: int) -> np.ndarray:
    """clamp(round_half_even(acc / 2**shift), 0, 255) as uint8 (`rtl/requantise.v`).

    acc: int32 of any shape; shift >= 0. The lower clamp is the ReLU.
    """
    _check(acc, "int32", None, "the accumulators of requantise")
    if shift < 0:
        raise UserError(f"requantise: the shift is {shift}, expected 0 or more")
    return _requantise(acc.astype(np.float64), shift)


def maxpool2d(x: np.ndarray, kernel: int, stride: int, padding: int = 0) -> np.ndarray:
    """2-D max-pool (`rtl/maxpool2d.v`); a padded zero never exceeds a real uint8.

    x: uint8 N x C x H x W. Returns uint8 N x C x OH x OW. Raises `UserError` on another type or
    shape.
    """
    _check(x, "uint8", 4, "the input of maxpool2d, N x C x H x W")
    layer = MaxPool(kernel, stride, padding)
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    return _maxpool2d(x, layer)


def avgpool2d(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Sums of the windows of a 2-D average pool (`rtl/avgpool2d.v`, OUT_WIDTH = 32).

    The division by kernel**2 is part of the shift that `requantise` takes.
    x: uint8 N x C x H x W. Returns int32 N x C x OH x OW. Raises `UserError` on another type or
    shape.
    """
    _check(x, "uint8", 4, "the input of avgpool2d, N x C x H x W")
    MaxPool(kernel, stride).out_shape(x.shape[1:])  # refuses a window that does not fit
    windows = sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    return windows.sum((4, 5), np.int32)


def argmax(logits: np.ndarray) -> np.ndarray:
    """Class of each row of int32 N x classes (`rtl/argmax.v`): int64 N, the lowest index wins."""
    _check(logits, "int32", 2, "the logits, N x classes")
    return np.argmax(logits, axis=1)


def predict(
    quantised: QuantisedNetwork,
    images: np.ndarray,
    *,
    all_layers: bool = False,
    threads: int | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Logits of uint8 `images` N x C x H x W: int32 N x classes, flattened from (C, H, W).

    all_layers: return a list instead, the output of every layer: uint8 N x C x H x W after each
    hidden layer, the int32 logits last.
    threads: processors to use, all of them if None.
    Raises `UserError` if the images do not fit the network.
    """
    network = quantised.network
    _check(images, "uint8", 4, "images, N x C x H x W")
    if images.shape[1:] != network.input_shape:
        raise UserError(
            f"network {network.name}: images are {_times(images.shape[1:])}, "
            f"expected {_times(network.input_shape)} (C x H x W)"
        )
    steps = [
        _Step(layer, *((None,) * 3 if p is None else (*_exact(p.weight, p.bias), p.shift)))
        for layer, p in zip(network.layers, quantised.parameters, strict=True)
    ]
    outputs = [
        np.empty((len(images), *shape), np.uint8) for shape in network.shapes[1:-1] if all_layers
    ]
    outputs.append(np.empty((len(images), network.classes), np.int32))
    batch = _batch_size(network)

    def run(start: int) -> None:
        rows = slice(start, start + batch)
        features = _features(steps, images[rows])
        for output, feature in zip(outputs, features[-len(outputs) :], strict=True):
            output[rows] = feature.reshape(output[rows].shape)

    # The batches are what runs in parallel, so the matrix products keep to one thread each.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(threads or os.cpu_count()) as executor,
    ):
        for _ in executor.map(run, range(0, len(images), batch)):
            pass
    return outputs if all_layers else outputs[0]


class _Step(NamedTuple):
    """A layer, its weights as `_exact` gives them, and its shift (None: max-pool or logits)."""

    layer: Layer
    weight: np.ndarray | None
    bias: np.ndarray | None
    shift: int | None


def _batch_size(network: Network) -> int:
    """Images at once: so few that the largest array stays in the cache, whole vectors of them."""
    largest = max(
        max(math.prod(layer.weight_shape(shape)[1:]), out_shape[0]) * math.prod(out_shape[1:])
        for layer, shape, out_shape in zip(
            network.layers, network.shapes, network.shapes[1:], strict=False
        )
        if not isinstance(layer, MaxPool)
    )
    images = max(1, CACHED_VALUES // largest)
    return images if images < 16 else images // 16 * 16


def _features(steps: list[_Step], x: np.ndarray) -> list[np.ndarray]:
    """Output of every layer for a batch; the logits are still floats."""
    x = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    features = []
    for layer, weight, bias, shift in steps:
        if isinstance(layer, MaxPool):
            x = _maxpool2d(x, layer)
        elif isinstance(layer, Conv):
            x = _conv2d(x, weight, bias, layer)
        else:
            x = _fc(x.reshape(len(x), -1), weight, bias)[:, :, None, None]
        if shift is not None:
            x = _requantise(x, shift)
        features.append(x)
    return features


def _exact(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights as a matrix, and biases as a column, of a float type in which every sum is exact."""
    bound = Parameters(weight, bias, 0, 0, None).accumulator_bound
    dtype = np.float32 if bound < 2**24 else np.float64
    return weight.reshape(len(weight), -1).astype(dtype), bias.astype(dtype)[:, None]


def _conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: Conv) -> np.ndarray:
    """As `conv2d`, with weights and sums of a type that `_exact` has chosen."""
    columns = _columns(_pad(x, layer.padding), layer, weight.dtype)
    acc = weight @ columns.reshape(weight.shape[1], -1)
    acc += bias
    return acc.reshape(-1, *columns.shape[3:]).transpose(3, 0, 1, 2)


def _columns(x: np.ndarray, layer: Conv, dtype: np.dtype) -> np.ndarray:
    """The window at each position: IC x K x K x OH x OW x N."""
    windows = sliding_window_view(x, (layer.kernel, layer.kernel), (2, 3))
    windows = windows[:, :, :: layer.stride, :: layer.stride].transpose(1, 4, 5, 2, 3, 0)
    return windows.astype(dtype, order="C")


def _fc(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """As `fc`, with weights and sums of a type that `_exact` has chosen."""
    acc = weight @ x.T.astype(weight.dtype)
    acc += bias
    return acc.T


def _requantise(acc: np.ndarray, shift: int) -> np.ndarray:
    """As `requantise`, from floats, which it overwrites."""
    acc *= acc.dtype.type(2.0**-shift)
    np.rint(acc, out=acc)
    np.clip(acc, 0, 255, out=acc)
    return acc.astype(np.uint8)


def _maxpool2d(x: np.ndarray, layer: MaxPool) -> np.ndarray:
    x = _pad(x, layer.padding)
    for axis in (
        2,
        3,
    ):  # a window is a rectangle: the maxima of its rows, then the maximum of those
        span = x.shape[axis] - layer.kernel + 1
        taps = [
            np.moveaxis(x, axis, 0)[tap : tap + span : layer.stride] for tap in range(layer.kernel)
        ]
        x = np.moveaxis(functools.reduce(np.maximum, taps), 0, axis)
    return x


def _pad(x: np.ndarray, padding: int) -> np.ndarray:
    if padding == 0:
        return x
    images, channels, height, width = x.shape
    padded = np.zeros((channels, height + 2 * padding, width + 2 * padding, images), x.dtype)
    padded = padded.transpose(3, 0, 1, 2)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    return padded


def _integers(acc: np.ndarray) -> np.ndarray:
    largest = np.abs(acc).max(initial=0)
    if largest >= 2**31:
        raise UserError(
            f"an accumulator reaches {largest:.0f}, beyond int32; use smaller weights or biases"
        )
    return np.ascontiguousarray(acc, np.int32)


def _check(array: np.ndarray, dtype: str, ndim: int | None, what: str) -> None:
    """Refuse an array of another type, or of another number of dimensions if `ndim` is not None."""
    if not isinstance(array, np.ndarray):
        raise UserError(f"{what}: found {type(array).__name__}, expected a {dtype} array")
    if array.dtype != dtype or ndim not in (None, array.ndim):
        raise UserError(f"{what}: found {array.dtype} {array.shape}, expected {dtype}")


def _times(shape: Iterable[int]) -> str:
    return " x ".join(str(size) for size in shape)
