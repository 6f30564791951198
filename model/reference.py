"""The int8 reference: what the hardware must compute, exactly, one function per RTL layer.

Integers in, integers out. Inside, sums of products run as floating-point matrix products, which are
exact as long as no partial sum can pass 2**24 (float32) or 2**53 (float64): the largest possible sum
is known beforehand from the weights, and chooses between the two.

Every array has the shape N x C x H x W, but N is innermost in memory: each step then works on long
contiguous runs, whatever the kernel and the stride.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from model.errors import UserError
from model.networks import Conv, MaxPool
from model.quantised import Parameters, QuantisedNetwork


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
            f"conv2d: weights {weight.shape} and biases {bias.shape} do not fit the input {x.shape};"
            " expected OC x IC x K x K and OC"
        )
    return _integers(_conv2d(x, _float_weight(weight, bias), bias, layer))


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
            f"fc: weights {weight.shape} and biases {bias.shape} do not fit the input {x.shape};"
            " expected OUT x IN and OUT"
        )
    return _integers(_fc(x, _float_weight(weight, bias), bias))


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

    x: uint8 N x C x H x W. Returns uint8 N x C x OH x OW. Raises `UserError` on another type or shape.
    """
    _check(x, "uint8", 4, "the input of maxpool2d, N x C x H x W")
    return _maxpool2d(x, MaxPool(kernel, stride, padding))


def argmax(logits: np.ndarray) -> np.ndarray:
    """Class of each row of int32 N x classes (`rtl/argmax.v`): int64 (N,), the lowest index wins."""
    _check(logits, "int32", 2, "the logits, N x classes")
    return np.argmax(logits, axis=1)


def predict(
    quantised: QuantisedNetwork,
    images: np.ndarray,
    *,
    all_layers: bool = False,
    threads: int | None = None,
    batch: int = 64,
) -> np.ndarray | list[np.ndarray]:
    """Logits of uint8 `images` N x C x H x W: int32 N x classes, flattened from (C, H, W).

    all_layers: return a list instead, the output of every layer: uint8 N x C x H x W after each
    hidden layer, the int32 logits last.
    threads: how many batches of `batch` images run at once; all processors if None.
    Raises `UserError` if the images do not fit the network.
    """
    network = quantised.network
    _check(images, "uint8", 4, "images, N x C x H x W")
    if images.shape[1:] != network.input_shape:
        raise UserError(
            f"network {network.name}: images are {_times(images.shape[1:])}, "
            f"expected {_times(network.input_shape)} (C x H x W)"
        )
    layers = [
        (
            layer,
            parameters,
            None if parameters is None else _float_weight(parameters.weight, parameters.bias),
        )
        for layer, parameters in zip(network.layers, quantised.parameters, strict=True)
    ]
    outputs = [
        np.empty((len(images), *shape), np.uint8) for shape in network.shapes[1:-1] if all_layers
    ]
    outputs.append(np.empty((len(images), network.classes), np.int32))

    def run(start: int) -> None:
        rows = slice(start, start + batch)
        features = _predict_batch(layers, images[rows])
        for output, feature in zip(reversed(outputs), reversed(list(features)), strict=False):
            output[rows] = feature.reshape(output[rows].shape)

    # BLAS keeps to one thread: the batches are what runs in parallel.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
    ):
        for _ in pool.map(run, range(0, len(images), batch)):
            pass
    return outputs if all_layers else outputs[0]


def _predict_batch(layers: list, x: np.ndarray) -> Iterable[np.ndarray]:
    x = _batch_innermost(x)
    for layer, parameters, weight in layers:
        if isinstance(layer, MaxPool):
            x = _maxpool2d(x, layer)
        else:
            if isinstance(layer, Conv):
                acc = _conv2d(x, weight, parameters.bias, layer)
            else:
                acc = _fc(x.reshape(len(x), -1), weight, parameters.bias)
                acc = acc.reshape(*acc.shape, 1, 1)
            x = acc if parameters.shift is None else _requantise(acc, parameters.shift)
        yield x


def _conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: Conv) -> np.ndarray:
    """Accumulators as floats, N x OC x OH x OW; `weight` is OC x (IC*K*K), its type that of the sum."""
    columns = _columns(x, layer, weight.dtype)
    acc = weight @ columns.reshape(weight.shape[1], -1)
    acc += bias[:, None]
    return acc.reshape(-1, *columns.shape[3:]).transpose(3, 0, 1, 2)


def _columns(x: np.ndarray, layer: Conv, dtype: np.dtype) -> np.ndarray:
    """Every window of x: IC x K x K x OH x OW x N."""
    x = x.transpose(1, 2, 3, 0)
    if p := layer.padding:
        channels, height, width, images = x.shape
        padded = np.zeros((channels, height + 2 * p, width + 2 * p, images), x.dtype)
        padded[:, p : p + height, p : p + width] = x
        x = padded
    windows = sliding_window_view(x, (layer.kernel, layer.kernel), (1, 2))
    windows = windows[:, :: layer.stride, :: layer.stride].transpose(0, 4, 5, 1, 2, 3)
    return windows.astype(dtype, order="C")


def _fc(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    acc = weight @ x.T.astype(weight.dtype)
    acc += bias[:, None]
    return acc.T


def _requantise(acc: np.ndarray, shift: int) -> np.ndarray:
    """As `requantise`, from floats that hold integers; overwrites them."""
    acc *= acc.dtype.type(2.0**-shift)
    np.rint(acc, out=acc)
    np.clip(acc, 0, 255, out=acc)
    return acc.astype(np.uint8)


def _maxpool2d(x: np.ndarray, layer: MaxPool) -> np.ndarray:
    x = _pool_axis(x, 2, layer)
    return _pool_axis(x, 3, layer)


def _pool_axis(x: np.ndarray, axis: int, layer: MaxPool) -> np.ndarray:
    """Maximum over windows along one axis: a window is a rectangle, so the axes pool one by one."""
    size = x.shape[axis]
    positions = (size + 2 * layer.padding - layer.kernel) // layer.stride + 1
    pooled = None
    if layer.padding:
        pads = [(0, 0)] * 4
        pads[axis] = (layer.padding, layer.padding)
        x = np.pad(x, pads)
    for tap in range(layer.kernel):
        index = [slice(None)] * 4
        index[axis] = slice(tap, tap + (positions - 1) * layer.stride + 1, layer.stride)
        part = x[tuple(index)]
        pooled = part.copy("K") if pooled is None else np.maximum(pooled, part, out=pooled)
    return pooled


def _float_weight(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Weights as a matrix of the narrowest float type in which every partial sum is exact."""
    bound = Parameters(weight, bias, 0, 0, None).accumulator_bound
    return weight.reshape(len(weight), -1).astype(np.float32 if bound < 2**24 else np.float64)


def _integers(acc: np.ndarray) -> np.ndarray:
    if acc.size and np.abs(acc).max() >= 2**31:
        raise UserError(
            f"an accumulator reaches {np.abs(acc).max():.0f}, beyond int32; "
            "use smaller weights or biases"
        )
    return np.ascontiguousarray(acc.astype(np.int32))


def _batch_innermost(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)


def _check(array: np.ndarray, dtype: str, ndim: int | None, what: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or ndim not in (None, array.ndim):
        found = (
            f"{array.dtype} {array.shape}"
            if isinstance(array, np.ndarray)
            else type(array).__name__
        )
        raise UserError(f"{what}: found {found}, expected {dtype}")


def _times(shape: Iterable[int]) -> str:
    return " x ".join(str(size) for size in shape)
