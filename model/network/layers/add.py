"""Sum of two tensors, as of a residual block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes
from convstream.model.network.layers.base import (
    FAST,
    Arrays,
    Gradients,
    Layer,
    Passes,
    Shape,
    Site,
    Way,
)

if TYPE_CHECKING:
    from torch import Tensor

Floats = np.ndarray | np.floating
AS_UINT8 = "onnxruntime, uint8"


@dataclass(frozen=True)
class Add(Layer):
    """y = a + b, from codes to codes.

    rule: whose rounding it has, a key of `RULES`.
    """

    rule: str = "onnxruntime"

    kind = "add"
    stem = "add"
    accumulates = False

    def out_shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            sizes = ", ".join("x".join(map(str, shape)) for shape in shapes)
            raise UserError(f"added tensors of {sizes}, expected two of one shape")
        return shapes[0]

    def table(self, site: Site) -> np.ndarray:
        """uint8 (256, 256): y of each pair of codes."""
        assert site.output is not None
        a, b = np.ogrid[:256, :256]
        codes_a, codes_b = site.inputs
        return add_codes(a, b, codes_a, codes_b, site.output, self.rule)

    def operands(self, site: Site) -> tuple[np.ndarray, ...]:
        return (self.table(site),)

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        a, b = inputs
        (table,) = operands
        return table[a, b]

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        def backward(dy: np.ndarray) -> Gradients:
            return (dy, dy), ()

        return inputs[0] + inputs[1], backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        return inputs[0] + inputs[1]


def add_codes(
    a: np.ndarray, b: np.ndarray, codes_a: Codes, codes_b: Codes, codes_y: Codes, rule: str
) -> np.ndarray:
    """Codes of the sum of what the codes a and b stand for, as the runtime `rule` rounds it.

    a, b: integers 0..255, of shapes that broadcast. Returns uint8. Raises `UserError` where the
    runtime refuses such scales.
    """
    y = RULES[rule](a, b, codes_a, codes_b, codes_y)
    return np.clip(y, codes_y.low, codes_y.high).astype(np.uint8)


def ratios(codes_a: Codes, codes_b: Codes, codes_y: Codes) -> tuple[np.float32, np.float32]:
    """float32 sa / sy and sb / sy."""
    scale = np.float32(codes_y.scale)
    return np.float32(codes_a.scale) / scale, np.float32(codes_b.scale) / scale


def _onnxruntime(
    a: np.ndarray, b: np.ndarray, codes_a: Codes, codes_b: Codes, codes_y: Codes
) -> np.ndarray:
    """QLinearAdd: rint(fma(a, ra, fma(b, rb, zy - fma(ra, za, rb*zb)))), in float32.

    Its codes are those of the file, where int8 ones have a sign.
    """
    offset = 128 if codes_y.signed else 0
    za, zb, zy = (np.float32(codes.zero_point - offset) for codes in (codes_a, codes_b, codes_y))
    ra, rb = ratios(codes_a, codes_b, codes_y)
    x, w = (np.asarray(codes, np.float32) - np.float32(offset) for codes in (a, b))
    return np.rint(fma(x, ra, fma(w, rb, zy - fma(ra, za, rb * zb)))) + offset


def _onnxruntime_uint8(a: np.ndarray, b: np.ndarray, *codes: Codes) -> np.ndarray:
    """The same of int8 codes that ONNX Runtime makes uint8 before it fuses a QDQ file's nodes."""
    return _onnxruntime(a, b, *(replace(own, signed=False) for own in codes))


def fma(a: Floats, b: Floats, c: Floats) -> np.ndarray:
    """float32 a*b + c, rounded once."""
    product = np.asarray(np.multiply(a, b, dtype=np.float64))  # exact
    total = np.asarray(product + c)
    part = total - product
    error = (product - (total - part)) + (c - part)  # of `total`, exact
    # Rounded to odd in float64, it is rounded to nearest in float32 as if from the exact sum.
    odd = total.view(np.int64) & 1 == 1
    other = np.nextafter(total, np.copysign(np.inf, error))
    return np.where(odd | (error == 0), total, other).astype(np.float32)


def _litert(
    a: np.ndarray, b: np.ndarray, codes_a: Codes, codes_b: Codes, codes_y: Codes
) -> np.ndarray:
    """XNNPACK's: both ratios as integers of the larger one's 21 bits, then a shift, halves up."""
    ra, rb = (float(ratio) for ratio in ratios(codes_a, codes_b, codes_y))
    if not 2**-10 <= min(ra, rb) <= max(ra, rb) < 2**8:
        raise UserError(
            f"scales {codes_a.scale:.9g} and {codes_b.scale:.9g} of the tensors added, "
            f"{codes_y.scale:.9g} of the sum: LiteRT's kernel takes quotients from 2^-10 to 2^8; "
            "calibrate the network on other images"
        )
    shift = 21 - math.frexp(max(ra, rb))[1]
    ma, mb = (int(np.rint(math.ldexp(ratio, shift))) for ratio in (ra, rb))
    total = np.asarray(a, np.int64) * ma + np.asarray(b, np.int64) * mb
    total -= codes_a.zero_point * ma + codes_b.zero_point * mb
    return ((total + (1 << shift >> 1)) >> shift) + codes_y.zero_point


RULES: dict[str, Callable[..., np.ndarray]] = {
    "onnxruntime": _onnxruntime,
    AS_UINT8: _onnxruntime_uint8,
    "litert": _litert,
}
