"""The networks in floating point, forward and backward, in plain NumPy: nothing is hidden.

Each layer's formulas stand in `model/network/layers/`: the forward one computes y from x; the
backward one takes dy, the gradient of the loss with respect to y, and gives those with respect to
x, the weights and the biases. `FloatNetwork` joins them along the graph. Equal to PyTorch and its
autograd, which the tests show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.base.files import read_npz
from convstream.model.network.exponents import (
    PIXEL_EXPONENT,
    Exponents,
    from_integers,
    parameter_shapes,
)
from convstream.model.network.graph import IMAGE, Network, Node
from convstream.model.network.layers.base import (
    Backward,
    Gradients,
    Passes,
    Way,
    check_gradient,
    describe,
)
from convstream.model.network.layers.windows import images_innermost
from convstream.model.network.quantised import QuantisedNetwork

CONVOLUTIONS = ("slow", "fast")


def relu(x: np.ndarray) -> np.ndarray:
    """y = max(x, 0), of any shape."""
    return np.maximum(x, 0)


def relu_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dx = dy where y > 0, else 0."""
    return dy * (y > 0)


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
        raise UserError(f"labels are {describe(labels)}, expected {count} integers")
    if count and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"labels {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    log_p = log_softmax(logits)
    q = np.full_like(logits, smoothing / classes)
    q[np.arange(count), labels] += 1 - smoothing
    return float(-(q * log_p).sum() / count), (np.exp(log_p) - q) / count


def round_through(
    values: np.ndarray, exponent: int, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """`exponents.fake_quantise`, and where a gradient passes: where nothing was clamped.

    Rounding itself has the gradient 0 almost everywhere; that of the identity is used in its stead.
    """
    scaled = np.rint(values * 2.0**exponent)
    clamped = np.clip(scaled, low, high)
    return clamped * 2.0**-exponent, scaled == clamped


class Operation(NamedTuple):
    """One part of the forward pass: a node's layer or, as an activation, its ReLU and rounding.

    sources: the places, in `operations`, of those whose results it takes; -1 is the image.
    """

    node: Node
    activation: bool
    sources: tuple[int, ...]


def operations(network: Network) -> list[Operation]:
    """The forward pass in order.

    A monotone layer comes before the ReLU of its input, which then has fewer values to do.
    """
    order: list[Operation] = []
    made = {IMAGE: -1}  # by node, the operation that gives its output so far
    due: dict[str, Node] = {}  # by node, the one whose ReLU that output still lacks
    for node in network.nodes:
        if not node.layer.monotone:
            for name in node.inputs:
                if name in due:
                    order.append(Operation(due.pop(name), True, (made[name],)))
                    made[name] = len(order) - 1
        order.append(Operation(node, False, tuple(made[name] for name in node.inputs)))
        made[node.name] = len(order) - 1
        if not node.layer.passes:
            due[node.name] = node
        elif node.inputs[0] in due:
            due[node.name] = due[node.inputs[0]]
    return order


@dataclass(frozen=True, eq=False)
class Step:
    """An operation as the forward pass did it once, for the backward pass.

    x, y: what went in and came out, each N x C x H x W.
    """

    operation: Operation
    x: tuple[np.ndarray, ...]
    y: np.ndarray
    backward: Backward


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
                found = "missing" if array is None else describe(array)
                raise UserError(f"{self.network.name}: {name} is {found}, expected floats {shape}")
            if array.dtype != self.dtype:
                raise UserError(f"{name} is {array.dtype}, other weights are {self.dtype}")

    @property
    def dtype(self) -> np.dtype:
        """Type of the weights and of all that is computed; float64 where there are none."""
        return next((array.dtype for array in self.parameters.values()), np.dtype(np.float64))

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

        Its logits are then exactly those of the int8 reference times 2**-exponents.logits(network),
        in float64, and in float32 where no sum reaches 2**24.
        """
        parameters, exponents = from_integers(quantised, dtype)
        return cls(quantised.network, parameters), exponents

    def astype(self, dtype: type | np.dtype) -> FloatNetwork:
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
        `fast`. observe: is given, by name, the output of each node with codes of its own, after its
        ReLU.
        """
        self._check_pixels(pixels)
        if convolution not in CONVOLUTIONS:
            expected = ", ".join(CONVOLUTIONS)
            raise UserError(f"unknown convolution {convolution!r}; expected one of {expected}")
        image = images_innermost(pixels).astype(self.dtype)
        image *= self.dtype.type(2.0 ** -(exponents.input if exponents else PIXEL_EXPONENT))
        steps: list[Step] = []
        for operation in operations(self.network):
            x = tuple(image if at < 0 else steps[at].y for at in operation.sources)
            if operation.activation:
                y, backward = _activate(x[0], operation.node, exponents)
                if observe is not None:
                    observe[operation.node.name] = y
            else:
                y, backward = self._layer(operation.node, x, exponents, convolution)
            steps.append(Step(operation, x, y, backward))
        return y.reshape(len(y), self.network.classes), steps

    def backward(self, dlogits: np.ndarray, steps: list[Step]) -> dict[str, np.ndarray]:
        """Gradients of the loss with respect to all weights and biases, by name.

        dlogits: N x classes, that with respect to the logits; steps: what `forward` gave.
        """
        check_gradient(dlogits, (len(steps[-1].y), self.network.classes), self.dtype)
        gradients: dict[str, np.ndarray] = {}
        pending: dict[int, np.ndarray] = {len(steps) - 1: dlogits.reshape(steps[-1].y.shape)}
        for index in range(len(steps) - 1, -1, -1):
            step = steps[index]
            dx, dweights = step.backward(pending.pop(index))
            for source, gradient in zip(step.operation.sources, dx, strict=True):
                if source < 0 or gradient is None:
                    continue
                # A tensor with several readers gets the sum of their gradients.
                before = pending.get(source)
                pending[source] = gradient if before is None else before + gradient
            for kind, gradient in zip(("weight", "bias"), dweights, strict=False):
                gradients[f"{step.operation.node.name}.{kind}"] = gradient
        return gradients

    def _layer(
        self,
        node: Node,
        x: tuple[np.ndarray, ...],
        exponents: Exponents | None,
        convolution: str,
    ) -> Passes:
        # Nobody needs the gradient of the pixels.
        way = Way(slow=convolution == "slow", wants_dx=set(node.inputs) != {IMAGE})
        if node.weight_shape is None:
            return node.layer.forward(x, (), way)
        weight, bias = (self.parameters[f"{node.name}.{kind}"] for kind in ("weight", "bias"))
        if exponents is None:
            return node.layer.forward(x, (weight, bias), way)
        exponent = exponents.weight[node.name]
        weight, weight_passes = round_through(weight, exponent, -128, 127)
        exponent += exponents.input_of(self.network, node)
        bias, bias_passes = round_through(bias, exponent, -(2**31), 2**31 - 1)
        y, inner = node.layer.forward(x, (weight, bias), way)

        def backward(dy: np.ndarray) -> Gradients:
            dx, (dweight, dbias) = inner(dy)
            return dx, (dweight * weight_passes, dbias * bias_passes)

        return y, backward

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


def _activate(x: np.ndarray, node: Node, exponents: Exponents | None) -> Passes:
    """The ReLU of `node`, with its rounding if there are exponents."""
    if exponents is None:
        y = relu(x)
        passes = y > 0
    else:
        y, passes = round_through(x, exponents.output[node.name], 0, 255)
    return y, lambda dy: ((dy * passes,), ())
