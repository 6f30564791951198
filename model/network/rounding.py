"""From exact sums to codes: the rule of ONNX Runtime's and LiteRT's integer kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes, exponent_of


@dataclass(frozen=True, eq=False)
class Rounding:
    """y = clamp(rint(acc * multiplier[c] / divisor) + zero_point, low, high), rint half to even.

    multiplier: (channels,) or (1,). float32: the accumulator and the product are rounded to
    float32, as the kernels of convolutions do; float64: real arithmetic, exact but for one rounding
    of the quotient, as the average pools do. divisor: of the latter, for all or float64 (OH, OW).
    zero_point, low, high: of the uint8 codes. half_away: halves are rounded away from 0.
    zero_first: the zero point is added before rounding, so that halves go to the even code.
    """

    multiplier: np.ndarray
    zero_point: int = 0
    low: int = 0
    high: int = 255
    divisor: np.ndarray | float = 1.0
    half_away: bool = False
    zero_first: bool = False

    @classmethod
    def scaled(cls, input_scale: float, weight_scale: np.ndarray, output: Codes) -> Rounding:
        """S = fl32(fl32(sx * sw[c]) / sy) for sums of products.

        weight_scale: float32 (channels,) or (1,). Raises `UserError` where S leaves float32.
        """
        with np.errstate(over="ignore", under="ignore"):
            multiplier = np.float32(input_scale) * weight_scale / np.float32(output.scale)
        if not (np.isfinite(multiplier) & (multiplier > 0)).all():
            raise UserError(
                f"scales {input_scale:.9g} of the input, {weight_scale.min():.9g} to "
                f"{weight_scale.max():.9g} of the weights and {output.scale:.9g} of the output: "
                "their quotient is beyond float32"
            )
        return cls(multiplier, output.zero_point, output.low, output.high)

    @classmethod
    def real(
        cls,
        scale: np.ndarray,
        output: Codes,
        count: np.ndarray | int = 1,
        half_away: bool = False,
        zero_first: bool = False,
    ) -> Rounding:
        """sum * scale / (count * sy), for sums of float64 scales, of which the mean is taken."""
        divisor = np.multiply(count, output.scale, dtype=np.float64)
        zero = output.zero_point
        return cls(scale, zero, output.low, output.high, divisor, half_away, zero_first)

    @property
    def shift(self) -> int | None:
        """s >= 0 where every factor is 2**-s: then the exact sum is shifted, however large."""
        factors = np.unique(np.divide.outer(self.multiplier, self.divisor))
        odd = self.zero_first and self.zero_point % 2 == 1
        if len(factors) > 1 or self.half_away or odd:
            return None
        exponent = exponent_of(float(factors[0]))
        return exponent if exponent is not None and exponent >= 0 else None

    def codes(self, acc: np.ndarray) -> np.ndarray:
        """uint8 of exact sums in floats, N x C x H x W, which it may overwrite."""
        acc = self.unclamped(acc)
        np.clip(acc, self.low, self.high, out=acc)
        return acc.astype(np.uint8)

    def unclamped(self, acc: np.ndarray) -> np.ndarray:
        """The same as floats, before the clamp."""
        shift = self.shift
        if shift is not None:
            acc *= acc.dtype.type(2.0**-shift)
        elif self.multiplier.dtype == np.float32:
            acc = acc.astype(np.float32, copy=False)
            acc *= self.multiplier[:, None, None]
        else:
            acc = acc.astype(np.float64) * self.multiplier[:, None, None] / self.divisor
        if self.zero_first:
            acc += acc.dtype.type(self.zero_point)
            return np.rint(acc, out=acc)
        if self.half_away:
            acc = np.copysign(np.floor(np.abs(acc) + 0.5), acc)
        else:
            np.rint(acc, out=acc)
        if self.zero_point:
            acc += acc.dtype.type(self.zero_point)
        return acc
