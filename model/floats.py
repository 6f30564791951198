"""The networks in floating point, forward and backward, in plain NumPy: nothing is hidden.

Each layer is a pair of functions. The forward one computes y from x; the backward one takes dy, the
gradient of the loss with respect to y, and gives those with respect to x, the weights and the
biases. `FloatNetwork` chains them. Equal to PyTorch and its autograd, which the tests show.

Shapes: N images, C channels, H x W pixels; IC and OC are the channels before and after a layer, K
its kernel, S its stride, P its padding; OH x OW are the positions of its window. Every array of a
layer is of one float type, float32 or float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from model.errors import UserError
from model.exponents import PIXEL_EXPONENT, Exponents, from_integers
from model.files import read_npz
from model.networks import Conv, MaxPool, Network
from model.quantised import QuantisedNetwork

# Convolution, to be read


def conv2d_slow(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """y[n, oc, oy, ox] = bias[oc] + sum over ic, ky, kx of weight[oc, ic, ky, kx] * window, where
    window = x[n, ic, oy*S + ky - P, ox*S + kx - P], and zero outside the image.

    x: N x IC x H x W; weight: OC x IC x K x K; bias: OC. Returns y: N x OC x OH x OW.
    """
    layer = _checked_conv(x, weight, bias, stride, padding)
    out_channels, rows, columns = layer.out_shape(x.shape[1:])
    padded = _pad(x, padding, 0)
    y = np.empty((len(x), out_channels, rows, columns), x.dtype)
    for n in range(len(x)):
        for oc in range(out_channels):
            for oy in range(rows):
                for ox in range(columns):
                    window = padded[(n, *_window(layer, oy, ox))]
                    y[n, oc, oy, ox] = (window * weight[oc]).sum() + bias[oc]
    return y


def conv2d_backward_slow(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: int = 1, padding: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each y is a sum of products, so each factor's gradient is dy times the other factor:

    dweight[oc, ic, ky, kx] = sum over n, oy, ox of dy[n, oc, oy, ox] * its window of x,
    dx = sum over oc and all windows that hold the pixel of dy * weight, dbias[oc] = sum of dy[oc].

    dy: N x OC x OH x OW; x, weight: as in `conv2d_slow`. Returns dx, dweight, dbias, each of the
    shape of x, weight and bias.
    """
    layer = _checked_conv(x, weight, None, stride, padding)
    _check_gradient(dy, (len(x), *layer.out_shape(x.shape[1:])), x.dtype)
    padded = _pad(x, padding, 0)
    dpadded = np.zeros_like(padded)
    dweight = np.zeros_like(weight)
    dbias = np.zeros(len(weight), weight.dtype)
    for n, oc, oy, ox in np.ndindex(dy.shape):
        window = (n, *_window(layer, oy, ox))
        dweight[oc] += dy[n, oc, oy, ox] * padded[window]
        dpadded[window] += dy[n, oc, oy, ox] * weight[oc]
        dbias[oc] += dy[n, oc, oy, ox]
    return _crop(dpadded, padding), dweight, dbias


def _window(layer: Conv | MaxPool, oy: int, ox: int) -> tuple[slice, slice, slice]:
    """Index of the window (C, K, K) of position (oy, ox) in a padded image (C, H + 2P, W + 2P)."""
    top, left = oy * layer.stride, ox * layer.stride
    return slice(None), slice(top, top + layer.kernel), slice(left, left + layer.kernel)


# Convolution, to be used


def conv2d_fast(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """As `conv2d_slow`, as one matrix product: Y = W @ X + b.

    W is weight as OC x (IC*K*K); X holds each position's window as a column, (IC*K*K) x (OH*OW*N);
    Y is OC x (OH*OW*N). columns: `windows_to_columns(x, K, stride, padding)`, if it is at hand.
    """
    layer = _checked_conv(x, weight, bias, stride, padding)
    if columns is None:
        columns = windows_to_columns(x, layer.kernel, stride, padding)
    y = weight.reshape(len(weight), -1) @ columns
    y += bias[:, None]
    return y.reshape(*layer.out_shape(x.shape[1:]), len(x)).transpose(3, 0, 1, 2)


def conv2d_backward_fast(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    columns: np.ndarray | None = None,
    *,
    wants_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """As `conv2d_backward_slow`, from Y = W @ X + b:

    dW = dY @ X.T, dX = W.T @ dY, db = the sums of the rows of dY. A pixel's gradient is the sum of
    those of its copies in X. columns: X, as in `conv2d_fast`. dx is None where it is not wanted.
    """
    layer = _checked_conv(x, weight, None, stride, padding)
    out_shape = layer.out_shape(x.shape[1:])
    _check_gradient(dy, (len(x), *out_shape), x.dtype)
    if columns is None:
        columns = windows_to_columns(x, layer.kernel, stride, padding)
    matrix = dy.transpose(1, 2, 3, 0).reshape(len(weight), -1)
    dweight = (matrix @ columns.T).reshape(weight.shape)
    dbias = matrix.sum(axis=1)
    if not wants_dx:
        return None, dweight, dbias
    dcolumns = weight.reshape(len(weight), -1).T @ matrix
    dcolumns = dcolumns.reshape(*weight.shape[1:], *out_shape[1:], len(x))
    dpadded = np.zeros_like(_pad(x, padding, 0))
    for ky, kx in np.ndindex(layer.kernel, layer.kernel):
        dpadded[_tap(layer, out_shape, ky, kx)] += dcolumns[:, ky, kx].transpose(3, 0, 1, 2)
    return _crop(dpadded, padding), dweight, dbias


def windows_to_columns(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """The window of every position of every image of x as a column: (IC*K*K) x (OH*OW*N).

    Images are innermost, so whatever kernel and stride are, what is copied is contiguous if x is
    `images_innermost`.
    """
    windows = sliding_window_view(_pad(x, padding, 0), (kernel, kernel), (2, 3))
    windows = windows[:, :, ::stride, ::stride].transpose(1, 4, 5, 2, 3, 0)
    return windows.reshape(x.shape[1] * kernel**2, -1)


def images_innermost(x: np.ndarray) -> np.ndarray:
    """A copy of x, N x C x H x W as before, whose images are next to each other in memory."""
    copy = _empty(*x.shape, dtype=x.dtype)
    copy[...] = x
    return copy


CONVOLUTIONS: dict[str, tuple[Callable, Callable]] = {
    "slow": (conv2d_slow, conv2d_backward_slow),
    "fast": (conv2d_fast, conv2d_backward_fast),
}


# The other layers


def maxpool2d(x: np.ndarray, kernel: int, stride: int, padding: int = 0) -> np.ndarray:
    """y[n, c, oy, ox] = max over ky, kx of x[n, c, oy*S + ky - P, ox*S + kx - P] inside the image.

    x: N x C x H x W. Returns y: N x C x OH x OW.
    """
    layer, out_shape = _checked_pool(x, kernel, stride, padding)
    padded = _pad(x, padding, -np.inf)
    taps = [padded[_tap(layer, out_shape, ky, kx)] for ky, kx in np.ndindex(kernel, kernel)]
    return functools.reduce(np.maximum, taps[1:], taps[0].copy("K"))


def maxpool2d_backward(
    dy: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: int, stride: int, padding: int = 0
) -> np.ndarray:
    """dx: each dy goes to the pixel that was the maximum; of equals to the first in raster order.

    dy, y: N x C x OH x OW, y as `maxpool2d` gave it; x: N x C x H x W. Returns dx, shaped as x.
    """
    layer, out_shape = _checked_pool(x, kernel, stride, padding)
    _check_gradient(dy, (len(x), *out_shape), x.dtype)
    padded = _pad(x, padding, -np.inf)
    dpadded = np.zeros_like(padded)
    left = np.ones_like(y, bool)
    for ky, kx in np.ndindex(kernel, kernel):
        tap = _tap(layer, out_shape, ky, kx)
        wins = (padded[tap] == y) & left
        left &= ~wins
        dpadded[tap] += dy * wins
    return _crop(dpadded, padding)


def relu(x: np.ndarray) -> np.ndarray:
    """y = max(x, 0), of any shape."""
    return np.maximum(x, 0)


def relu_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dx = dy where y > 0, else 0."""
    return dy * (y > 0)


def fc(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y = x @ weight.T + bias. x: N x IN; weight: OUT x IN; bias: OUT. Returns y: N x OUT."""
    _check_fc(x, weight, bias)
    return (weight @ x.T + bias[:, None]).T


def fc_backward(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx = dy @ weight, dweight = dy.T @ x, dbias = the sums of the columns of dy.

    dy: N x OUT; x: N x IN; weight: OUT x IN. Returns dx, dweight, dbias.
    """
    _check_fc(x, weight)
    _check_gradient(dy, (len(x), len(weight)), x.dtype)
    return (weight.T @ dy.T).T, dy.T @ x, dy.sum(axis=0)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log p, where p[n, c] = exp(logits[n, c]) / sum over k of exp(logits[n, k]): N x classes."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0
) -> tuple[float, np.ndarray]:
    """Softmax with cross-entropy: loss = mean over n of -sum over c of q[n, c] * log p[n, c].

    p = softmax(logits); q = (1 - smoothing) * (1 at the label, else 0) + smoothing / classes.
    logits: N x classes; labels: integers, N. Returns the loss and dlogits = (p - q) / N.
    """
    count, classes = logits.shape
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(f"labels are {_describe(labels)}, expected {count} integers")
    if count and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"labels {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    log_p = log_softmax(logits)
    q = np.full_like(logits, smoothing / classes)
    q[np.arange(count), labels] += 1 - smoothing
    return float(-(q * log_p).sum() / count), (np.exp(log_p) - q) / count


# Rounding as int8 does


def round_through(
    values: np.ndarray, exponent: int, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """`exponents.fake_quantise`, and where a gradient passes: where nothing was clamped.

    Rounding itself has the gradient 0 almost everywhere; that of the identity is used in its stead.
    """
    scaled = np.rint(values * 2.0**exponent)
    clamped = np.clip(scaled, low, high)
    return clamped * 2.0**-exponent, scaled == clamped


# Networks


class Step(NamedTuple):
    """What a step of the forward pass leaves for the backward pass.

    kind: `conv`, `fc`, `maxpool`, or `activate` for the ReLU, with its rounding if any. index: of
    the layer. x, y: what went in and came out, N x C x H x W. weight: that was used. passes: where
    gradients pass to y (activate), or to weight and bias (None: everywhere). columns: of a fast
    convolution.
    """

    kind: str
    index: int
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None
    passes: tuple[np.ndarray, ...] | None = None
    columns: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A `Network` with float weights and biases, by name: `conv1.weight`, `conv1.bias`, ...

    All of one type, float32 or float64, which is that of everything computed. Raises `UserError`
    where a weight is missing or does not fit its layer.
    """

    network: Network
    parameters: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        for name, shape in parameter_shapes(self.network).items():
            array = self.parameters.get(name)
            if array is None or array.shape != shape or array.dtype not in (np.float32, np.float64):
                found = "missing" if array is None else _describe(array)
                raise UserError(f"{self.network.name}: {name} is {found}, expected floats {shape}")
            if array.dtype != self.dtype:
                raise UserError(f"{name} is {array.dtype}, other weights are {self.dtype}")

    @property
    def dtype(self) -> np.dtype:
        """Type of the weights and of all that is computed."""
        return next(iter(self.parameters.values())).dtype

    @classmethod
    def load(cls, network: Network, path: Path) -> FloatNetwork:
        """What training wrote to `float.npz`. Raises `UserError` where it holds anything else."""
        try:
            return cls(network, read_npz(path, parameter_shapes(network)))
        except UserError as error:
            raise UserError(
                f"not the float weights of {network.name} ({error}); "
                f"train it first: python model/train.py {network.name}"
            ) from None

    @classmethod
    def from_integers(
        cls, quantised: QuantisedNetwork, dtype: type = np.float64
    ) -> tuple[FloatNetwork, Exponents]:
        """The weights of an int8 network, and the exponents that make `forward` round as it does.

        Its logits are then exactly those of the int8 reference times 2**-exponents.logits, in
        float64, and in float32 where no sum reaches 2**24.
        """
        parameters, exponents = from_integers(quantised, dtype)
        return cls(quantised.network, parameters), exponents

    def astype(self, dtype: type) -> FloatNetwork:
        """A copy with weights of another float type."""
        return FloatNetwork(self.network, {k: v.astype(dtype) for k, v in self.parameters.items()})

    def predict(
        self,
        pixels: np.ndarray,
        exponents: Exponents | None = None,
        *,
        convolution: str = "fast",
        batch: int = 256,
    ) -> np.ndarray:
        """Logits N x classes of any number of images, `batch` at a time; as `forward` otherwise."""
        self._check_pixels(pixels)
        logits = np.empty((len(pixels), self.network.classes), self.dtype)
        for start in range(0, len(pixels), batch):
            part = slice(start, start + batch)
            logits[part] = self.forward(pixels[part], exponents, convolution=convolution)[0]
        return logits

    def forward(
        self,
        pixels: np.ndarray,
        exponents: Exponents | None = None,
        *,
        convolution: str = "fast",
        observe: dict[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, list[Step]]:
        """Logits N x classes as real values, and the steps that `backward` goes back through.

        pixels: uint8 N x C x H x W. exponents: round to what int8 computes. convolution: `slow` or
        `fast`. observe: is given the output of each hidden layer after its ReLU, by layer name.
        """
        self._check_pixels(pixels)
        _check_convolution(convolution)
        scale = 2.0 ** -(exponents.input if exponents else PIXEL_EXPONENT)
        x = images_innermost(pixels).astype(self.dtype)
        x *= self.dtype.type(scale)
        steps: list[Step] = []
        pending = None
        for index, layer in enumerate(self.network.layers):
            if isinstance(layer, MaxPool):
                # Commutes with the ReLU and with rounding, which then have fewer values to do.
                y = maxpool2d(x, layer.kernel, layer.stride, layer.padding)
                steps.append(Step("maxpool", index, x, y))
            else:
                if pending is not None:
                    steps.append(_activate(x, pending, exponents))
                    x = steps[-1].y
                    if observe is not None:
                        observe[self.network.layer_names[pending]] = x
                steps.append(self._affine(x, index, exponents, convolution))
                pending = index
            x = steps[-1].y
        return x.reshape(len(x), -1), steps

    def backward(
        self, dlogits: np.ndarray, steps: list[Step], *, convolution: str = "fast"
    ) -> dict[str, np.ndarray]:
        """Gradients of the loss with respect to all weights and biases, by name.

        dlogits: N x classes, that with respect to the logits; steps: what `forward` gave.
        """
        _check_convolution(convolution)
        _check_gradient(dlogits, (len(steps[0].x), self.network.classes), self.dtype)
        gradients: dict[str, np.ndarray] = {}
        dy = dlogits.reshape(steps[-1].y.shape)
        for step in reversed(steps):
            layer = self.network.layers[step.index]
            if step.kind == "activate":
                dy = dy * step.passes[0]
                continue
            if step.kind == "maxpool":
                dy = maxpool2d_backward(
                    dy, step.x, step.y, layer.kernel, layer.stride, layer.padding
                )
                continue
            if step.kind == "fc":
                flat = (a.reshape(len(a), -1) for a in (dy, step.x))
                dy, dweight, dbias = fc_backward(*flat, step.weight)
                dy = dy.reshape(step.x.shape)
            elif convolution == "slow":
                dy, dweight, dbias = conv2d_backward_slow(
                    dy, step.x, step.weight, layer.stride, layer.padding
                )
            else:
                dy, dweight, dbias = conv2d_backward_fast(
                    *(dy, step.x, step.weight, layer.stride, layer.padding, step.columns),
                    # Nobody needs the gradient of the pixels.
                    wants_dx=step is not steps[0],
                )
            if step.passes is not None:
                dweight, dbias = dweight * step.passes[0], dbias * step.passes[1]
            name = self.network.layer_names[step.index]
            gradients[f"{name}.weight"], gradients[f"{name}.bias"] = dweight, dbias
        return gradients

    def _affine(
        self, x: np.ndarray, index: int, exponents: Exponents | None, convolution: str
    ) -> Step:
        layer = self.network.layers[index]
        name = self.network.layer_names[index]
        weight, bias = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        passes = columns = None
        if exponents is not None:
            exponent = exponents.weight[index]
            weight, weight_passes = round_through(weight, exponent, -128, 127)
            exponent += exponents.layer_input(index)
            bias, bias_passes = round_through(bias, exponent, -(2**31), 2**31 - 1)
            passes = (weight_passes, bias_passes)
        if layer.kind == "fc":
            y = fc(x.reshape(len(x), -1), weight, bias)[:, :, None, None]
        elif convolution == "slow":
            y = conv2d_slow(x, weight, bias, layer.stride, layer.padding)
        else:
            columns = windows_to_columns(x, layer.kernel, layer.stride, layer.padding)
            y = conv2d_fast(x, weight, bias, layer.stride, layer.padding, columns)
        return Step(layer.kind, index, x, y, weight, passes, columns)

    def _check_pixels(self, pixels: np.ndarray) -> None:
        expected = self.network.input_shape
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            found = getattr(pixels, "dtype", type(pixels).__name__)
            raise UserError(f"a batch of {found}, expected uint8 pixels 0 to 255; convert it")
        if pixels.shape[1:] != expected:
            raise UserError(
                f"{self.network.name}: a batch of shape {pixels.shape}, "
                f"expected N images of {expected} (channels, height, width)"
            )


def parameter_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights and biases by name: `conv1.weight`, `conv1.bias`, ..."""
    shapes = {}
    for layer, name, shape in zip(
        network.layers, network.layer_names, network.shapes, strict=False
    ):
        if not isinstance(layer, MaxPool):
            shapes[f"{name}.weight"] = layer.weight_shape(shape)
            shapes[f"{name}.bias"] = layer.weight_shape(shape)[:1]
    return shapes


def _activate(x: np.ndarray, index: int, exponents: Exponents | None) -> Step:
    if exponents is None:
        y = relu(x)
        return Step("activate", index, x, y, passes=(y > 0,))
    y, passes = round_through(x, exponents.output[index], 0, 255)
    return Step("activate", index, x, y, passes=(passes,))


# Windows in memory


def _empty(count: int, *shape: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised count x shape, images innermost in memory."""
    return np.moveaxis(np.empty((*shape, count), dtype), -1, 0)


def _pad(x: np.ndarray, padding: int, value: float) -> np.ndarray:
    """x, N x C x H x W, with a frame of `padding` pixels of `value` around each image."""
    if padding == 0:
        return x
    padded = _empty(
        len(x), x.shape[1], *(size + 2 * padding for size in x.shape[2:]), dtype=x.dtype
    )
    padded[...] = value
    _crop(padded, padding)[...] = x
    return padded


def _crop(padded: np.ndarray, padding: int) -> np.ndarray:
    """What is inside the frame of `_pad`, as a view."""
    inside = slice(padding, -padding or None)
    return padded[:, :, inside, inside]


def _tap(
    layer: Conv | MaxPool, out_shape: tuple[int, ...], ky: int, kx: int
) -> tuple[slice, slice, slice, slice]:
    """Index, in padded images, of what tap (ky, kx) of the window sees at all OH x OW positions."""
    rows, columns = (
        slice(k, k + (positions - 1) * layer.stride + 1, layer.stride)
        for k, positions in zip((ky, kx), out_shape[1:], strict=True)
    )
    return slice(None), slice(None), rows, columns


# Refusals


def _check_convolution(name: str) -> None:
    if name not in CONVOLUTIONS:
        raise UserError(f"unknown convolution {name!r}; expected one of {', '.join(CONVOLUTIONS)}")


def _checked_conv(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int, padding: int
) -> Conv:
    if x.ndim != 4 or weight.ndim != 4:
        raise UserError(
            f"conv2d: input {_describe(x)} and weights {_describe(weight)}, "
            "expected N x IC x H x W and OC x IC x K x K"
        )
    layer = Conv(len(weight), weight.shape[2], stride, padding)
    if weight.shape != layer.weight_shape(x.shape[1:]):
        raise UserError(
            f"conv2d: weights {weight.shape} do not fit the input {x.shape}; "
            f"expected OC x {x.shape[1]} x K x K"
        )
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    _check_types("conv2d", x, weight, bias)
    return layer


def _check_fc(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise UserError(
            f"fc: weights {weight.shape} do not fit the input {x.shape}; "
            "expected OUT x IN and N x IN"
        )
    _check_types("fc", x, weight, bias)


def _check_types(what: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> None:
    if x.dtype not in (np.float32, np.float64) or weight.dtype != x.dtype:
        raise UserError(
            f"{what}: input {x.dtype} and weights {weight.dtype}, expected one float type for both"
        )
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        raise UserError(
            f"{what}: biases are {_describe(bias)}, expected {x.dtype} {weight.shape[:1]}"
        )


def _checked_pool(
    x: np.ndarray, kernel: int, stride: int, padding: int
) -> tuple[MaxPool, tuple[int, ...]]:
    if x.ndim != 4 or x.dtype not in (np.float32, np.float64):
        raise UserError(f"maxpool2d: input {_describe(x)}, expected floats N x C x H x W")
    layer = MaxPool(kernel, stride, padding)
    return layer, layer.out_shape(x.shape[1:])


def _check_gradient(dy: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dy.shape != shape or dy.dtype != dtype:
        raise UserError(f"gradient {_describe(dy)}, expected {dtype} {shape}, as its output")


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
