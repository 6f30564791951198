"""What every layer answers for, so that nobody has to ask which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from convstream.model.base.errors import UserError

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


class Layer(ABC):
    """An operator of a network, without its weights.

    kind: what `network.json` calls it. stem: of its nodes' names. accumulates: it gives sums, of a
    scale of their own, which are requantised; otherwise codes leave at the scale they came in.
    monotone: it may change places with a ReLU and with rounding.
    """

    kind: ClassVar[str]
    stem: ClassVar[str]
    accumulates: ClassVar[bool] = True
    monotone: ClassVar[bool] = False

    def node_name(self, number: int, total: int) -> str:
        """Name of the `number`-th of `total` nodes with this stem, counted from 1."""
        return f"{self.stem}{number}"

    @abstractmethod
    def out_shape(self, *shapes: Shape) -> Shape:
        """Shape of the output for inputs of `shapes`. Raises `UserError` where they do not fit."""

    def weight_shape(self, shape: Shape) -> tuple[int, ...] | None:
        """Shape of the weights, output channels first; None: it has neither weights nor biases."""
        return None

    @property
    def sum_exponent(self) -> int:
        """Bits by which the sums of a layer without weights are finer than its input."""
        return 0

    @abstractmethod
    def accumulator_bound(self, weight: np.ndarray | None, bias: np.ndarray | None) -> int:
        """Largest |accumulator| of any uint8 input; 255 where codes go through."""

    def operands(
        self, weight: np.ndarray | None, bias: np.ndarray | None, pad_code: int = 0
    ) -> tuple[np.ndarray, ...]:
        """What `integers` computes with, made once for many batches.

        pad_code: the code of padding, where a window has any; always 0 in a max-pool.
        """
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
    """A layer whose accumulators are bias + sum of weight * input."""

    def accumulator_bound(self, weight: np.ndarray | None, bias: np.ndarray | None) -> int:
        """Max over channels of 255*sum|w| + |b|."""
        if weight is None or bias is None:
            raise UserError(f"{self}: no weights; give it int8 weights and int32 biases")
        magnitudes = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
        return int((255 * magnitudes + np.abs(bias.astype(np.int64))).max())

    def operands(
        self, weight: np.ndarray | None, bias: np.ndarray | None, pad_code: int = 0
    ) -> tuple[np.ndarray, ...]:
        """Weights as a matrix and biases as a column, of a float type that holds every sum."""
        dtype = exact_dtype(self.accumulator_bound(weight, bias))
        assert weight is not None and bias is not None
        return weight.reshape(len(weight), -1).astype(dtype), bias.astype(dtype)[:, None]


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
