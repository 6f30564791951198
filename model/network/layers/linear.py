"""Fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.layers import base
from convstream.model.network.layers.base import (
    FAST,
    Arrays,
    Gradients,
    Passes,
    Shape,
    Site,
    Way,
    Weighted,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Linear(Weighted):
    """Fully connected layer on the flattened (channels, height, width) input; with bias."""

    out_features: int

    kind = "fc"
    stem = "fc"

    def node_name(self, number: int, total: int) -> str:
        return "fc" if total == 1 else super().node_name(number, total)

    def out_shape(self, *shapes: Shape) -> Shape:
        (_,) = shapes
        return (self.out_features, 1, 1)

    def weight_shape(self, shape: Shape) -> tuple[int, ...]:
        """(OUT, IN)."""
        return (self.out_features, math.prod(shape))

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        (x,), (weight, bias, _) = inputs, operands
        acc = weight @ x.reshape(len(x), -1).T.astype(weight.dtype)
        acc += bias
        return acc.T[:, :, None, None]

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,), (weight, bias) = inputs, weights
        flat = x.reshape(len(x), -1)

        def backward(dy: np.ndarray) -> Gradients:
            dx, dweight, dbias = fc_backward(
                dy.reshape(len(dy), -1), flat, weight, wants_dx=way.wants_dx
            )
            return (None if dx is None else dx.reshape(x.shape),), (dweight, dbias)

        return fc_forward(flat, weight, bias)[:, :, None, None], backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        from torch.nn import functional

        return functional.linear(inputs[0].flatten(1), *weights)[:, :, None, None]


# Integers


def fc(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Accumulators of a fully connected layer (`rtl/fc.v`, OUT_WIDTH = 32).

    x: uint8 N x IN; weight: int8 OUT x IN; bias: int32 (OUT,).
    Returns int32 N x OUT. Raises `UserError` on another type or shape.
    """
    base.check_integers(x, "uint8", 2, "the input of fc, N x IN")
    base.check_integers(weight, "int8", 2, "the weights of fc, OUT x IN")
    base.check_integers(bias, "int32", 1, "the biases of fc, OUT")
    if weight.shape[1] != x.shape[1] or len(bias) != len(weight):
        raise UserError(
            f"fc: weights {weight.shape} and biases {bias.shape} do not fit "
            f"the input {x.shape}; expected OUT x IN and OUT"
        )
    layer = Linear(len(weight))
    return base.int32(
        layer.integers([x], layer.operands(Site(weight=weight, bias=bias)))[:, :, 0, 0]
    )


# Floats


def fc_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y = x @ weight.T + bias. x: N x IN; weight: OUT x IN; bias: OUT. Returns y: N x OUT."""
    _check(x, weight, bias)
    return (weight @ x.T + bias[:, None]).T


def fc_backward(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, *, wants_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """dx = dy @ weight, dweight = dy.T @ x, dbias = the sums of the columns of dy.

    dy: N x OUT; x: N x IN; weight: OUT x IN. Returns dx (None where it is not wanted), dweight,
    dbias.
    """
    _check(x, weight)
    base.check_gradient(dy, (len(x), len(weight)), x.dtype)
    return (weight.T @ dy.T).T if wants_dx else None, dy.T @ x, dy.sum(axis=0)


def _check(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise UserError(
            f"fc: weights {weight.shape} do not fit the input {x.shape}; "
            "expected OUT x IN and N x IN"
        )
    base.check_floats("fc", x, weight, bias)
