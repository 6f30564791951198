"""What every layer answers for, so that nobody has to ask which one it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes
from convstream.model.network.rounding import Rounding

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
"""(channels, height, width)."""

Arrays = Sequence[np.ndarray]

Gradients = tuple[Sequence[np.ndarray | None], Sequence[np.ndarray]]
"""Of the loss with respect to a layer's inputs (None: nobody wants it), and to its weights."""

Backward = Callable[[np.ndarray], Gradients]
"""From the gradient with respect to a layer's output to those of what it was computed from."""

Passes = tuple[np.ndarray, Backward]
"""What a layer gives, and the way back."""


class Way(NamedTuple):
    """How floats go through a layer.

    slow: by plain loops, where there are such. wants_dx: whether anybody asks for the gradients
    with respect to the inputs.
    """

    slow: bool = False
    wants_dx: bool = True


FAST = Way()

EXACT_IN_FLOAT32 = 2**24


class Site(NamedTuple):
    """What a layer meets at its place in a quantised network.

    weight: int8; weight_scale: float32 (channels,) or (1,); bias: int32 (channels,); all None where
    it has no weights. inputs: of each of its tensors. output: None where its int32 sums leave.
    shape: of the first input.
    """

    weight: np.ndarray | None = None
    weight_scale: np.ndarray | None = None
    bias: np.ndarray | None = None
    inputs: tuple[Codes, ...] = (Codes(1.0),)
    output: Codes | None = None
    shape: Shape = (1, 1, 1)

    @property
    def zero_point(self) -> int:
        """Of the first input: the code of a real 0, and so of the padding."""
        return self.inputs[0].zero_point

    @property
    def code_bias(self) -> np.ndarray:
        """int64 (channels,): b - zx * sum(w), since w * (x - zx) summed is w * x less that."""
        assert self.weight is not None and self.bias is not None
        sums = self.weight.reshape(len(self.weight), -1).sum(axis=1, dtype=np.int64)
        return self.bias.astype(np.int64) - self.zero_point * sums


class Layer(ABC):
    """An operator of a network, without its weights.

    kind: what `network.json` calls it. stem: of its nodes' names. accumulates: it gives sums, of a
    scale of their own, which are requantised. passes: codes leave that stand for what they stood
    for as they came in. monotone: it may change places with a ReLU and with rounding. trainable:
    `convstream train` takes it.
    """

    kind: ClassVar[str]
    stem: ClassVar[str]
    accumulates: ClassVar[bool] = True
    passes: ClassVar[bool] = False
    monotone: ClassVar[bool] = False
    trainable: ClassVar[bool] = True

    def node_name(self, number: int, total: int) -> str:
        """Name of the `number`-th of `total` nodes with this stem, counted from 1."""
        return f"{self.stem}{number}"

    @abstractmethod
    def out_shape(self, *shapes: Shape) -> Shape:
        """Shape of the output for inputs of `shapes`. Raises `UserError` where they do not fit."""

    def weight_shape(self, shape: Shape) -> tuple[int, ...] | None:
        """Shape of the weights, output channels first; None: it has neither weights nor biases."""
        return None

    def padded_size(self, shape: Shape) -> int:
        """Values of an input image of `shape` with its padding."""
        return math.prod(shape)

    @property
    def sum_exponent(self) -> int | None:
        """Bits by which sums without weights are finer than their input; None: no whole number."""
        return 0

    def sum_scale(self, site: Site) -> np.ndarray:
        """float64 (channels,) or (1,): the scale of its sums."""
        return np.array([site.inputs[0].scale * 2.0 ** -(self.sum_exponent or 0)])

    def rounding(self, site: Site) -> Rounding | None:
        """How its sums become codes of `site.output`; None: it gives codes itself."""
        if not self.accumulates:
            return None
        assert site.output is not None
        return Rounding.real(self.sum_scale(site), site.output)

    def near_ties(self, site: Site) -> int:
        """How many sums lie so close to halfway between two codes that ONNX Runtime may round them
        to either, as it adds rounded floats.
        """
        return 0

    def accumulator_bound(self, site: Site) -> int:
        """Largest |accumulator| of any codes; 255 where it gives codes itself."""
        return 255

    def accumulator_range(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest accumulators of any codes: int64 (channels,) or (1,) each."""
        return np.zeros(1, np.int64), np.full(1, 255)

    def pad_code(self, site: Site) -> int:
        """The code of the padding: that of a real 0."""
        return site.zero_point

    def operands(self, site: Site) -> tuple[np.ndarray, ...]:
        """What `integers` computes with, made once for many batches."""
        return ()

    @abstractmethod
    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        """The reference: exact accumulators, in floats that hold them, or uint8 codes.

        inputs: uint8, N x C x H x W, images innermost in memory. operands: as `operands` made them.
        Returns N x C x OH x OW, a new array.
        """

    @abstractmethod
    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        """The same in floats, N x C x OH x OW, and the way back.

        inputs: N x C x H x W; weights: (weight, bias), or none: all of one float type.
        """

    @abstractmethod
    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """The same in PyTorch."""


def exact_dtype(bound: int) -> type[np.floating]:
    """A float type in which every sum of magnitude `bound` or less is exact."""
    return np.float32 if bound < EXACT_IN_FLOAT32 else np.float64


class Weighted(Layer):
    """A layer whose accumulators are bias + sum of weight * (input - its zero point)."""

    def sum_scale(self, site: Site) -> np.ndarray:
        assert site.weight_scale is not None
        return site.inputs[0].scale * site.weight_scale.astype(np.float64)

    def rounding(self, site: Site) -> Rounding | None:
        assert site.weight_scale is not None and site.output is not None
        return Rounding.scaled(site.inputs[0].scale, site.weight_scale, site.output)

    def accumulator_bound(self, site: Site) -> int:
        """Max over channels of sum|w| * max|x - zx| + |b|."""
        largest = max(site.zero_point, 255 - site.zero_point)
        return _bound(site.weight, site.bias, largest)

    def accumulator_range(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        assert site.weight is not None
        weight = 255 * site.weight.reshape(len(site.weight), -1).astype(np.int64)
        least, most = np.minimum(weight, 0).sum(axis=1), np.maximum(weight, 0).sum(axis=1)
        return site.code_bias + least, site.code_bias + most

    def operands(self, site: Site) -> tuple[np.ndarray, ...]:
        """Weights as a matrix, biases as a column, of a float type that holds every partial sum,
        and the code of the padding.
        """
        bias = site.code_bias
        dtype = exact_dtype(_bound(site.weight, bias, 255))
        assert site.weight is not None
        matrix = site.weight.reshape(len(site.weight), -1).astype(dtype)
        return matrix, bias.astype(dtype)[:, None], np.array(site.zero_point, np.uint8)


def _bound(weight: np.ndarray | None, bias: np.ndarray | None, largest: int) -> int:
    """Max over channels of sum|w| * largest + |b|."""
    assert weight is not None and bias is not None
    magnitudes = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
    return int((largest * magnitudes + np.abs(bias.astype(np.int64))).max())


# Refusals


def check_integers(array: object, dtype: str, ndim: int | None, what: str) -> None:
    """Refuse what is no array of this type, or, unless `ndim` is None, has other dimensions."""
    if not isinstance(array, np.ndarray):
        raise UserError(f"{what}: found {type(array).__name__}, expected a {dtype} array")
    if array.dtype != dtype or ndim not in (None, array.ndim):
        raise UserError(f"{what}: found {array.dtype} {array.shape}, expected {dtype}")


def check_floats(what: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> None:
    """Refuse arrays that are not all of one float type, or biases that do not fit the weights."""
    if x.dtype not in (np.float32, np.float64) or weight.dtype != x.dtype:
        raise UserError(
            f"{what}: input {x.dtype} and weights {weight.dtype}, expected one float type for both"
        )
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        raise UserError(
            f"{what}: biases are {describe(bias)}, expected {x.dtype} {weight.shape[:1]}"
        )


def check_gradient(dy: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse a gradient that is not of its output's shape and type."""
    if dy.shape != shape or dy.dtype != dtype:
        raise UserError(f"gradient {describe(dy)}, expected {dtype} {shape}, as its output")


def int32(acc: np.ndarray) -> np.ndarray:
    """Exact sums as int32. Raises `UserError` where one is beyond that."""
    largest = np.abs(acc).max(initial=0)
    if largest >= 2**31:
        raise UserError(
            f"an accumulator reaches {largest:.0f}, beyond int32; use smaller weights or biases"
        )
    return np.ascontiguousarray(acc, np.int32)


def describe(array: np.ndarray) -> str:
    """Type and shape, for a message."""
    return f"{array.dtype} {array.shape}"
