"""What the 8-bit codes of a tensor stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from convstream.model.base.errors import UserError


@dataclass(frozen=True)
class Codes:
    """real = (code - zero_point) * scale, of uint8 codes from low to high.

    scale: exactly a float32, positive. low, high: what a fused activation leaves of 0..255, as
    low = zero_point does of a ReLU. signed: outside, in the network's own file, the codes are
    int8: code - 128.
    """

    scale: float
    zero_point: int = 0
    low: int = 0
    high: int = 255
    signed: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf or float(np.float32(self.scale)) != self.scale:
            raise UserError(f"scale {self.scale:.9g}: expected a positive float32")
        if not 0 <= self.zero_point <= 255 or not 0 <= self.low <= self.high <= 255:
            raise UserError(
                f"zero point {self.zero_point}, codes {self.low} to {self.high}: "
                "expected them within 0 to 255"
            )

    @classmethod
    def power_of_two(cls, exponent: int) -> Codes:
        """Codes of scale 2**-exponent and zero point 0."""
        return cls(2.0**-exponent)

    @property
    def exponent(self) -> int | None:
        """e of a scale 2**-e; None of another scale."""
        return exponent_of(self.scale)

    def same_values(self, other: Codes) -> bool:
        """Whether a code stands for the same value in both."""
        return self.scale == other.scale and self.zero_point == other.zero_point

    def of_real(self, values: np.ndarray) -> np.ndarray:
        """uint8: the codes that QuantizeLinear makes of float `values`, of any shape."""
        codes = np.rint(values.astype(np.float32) / np.float32(self.scale)) + self.zero_point
        return np.clip(codes, self.low, self.high).astype(np.uint8)

    def clamped(self, low: float, high: float) -> Codes:
        """The same where an activation leaves real values from low to high, which may be infinite.

        It clamps before it rounds; that gives the codes that rounding before clamping gives.
        """
        least, most = self.of_real(np.array([low, high])).tolist()
        return replace(self, low=least, high=most)

    def real(self, codes: np.ndarray) -> np.ndarray:
        """float64 values of `codes`."""
        return (codes.astype(np.float64) - self.zero_point) * self.scale


def exponent_of(scale: float) -> int | None:
    """e of a scale 2**-e; None of another scale."""
    mantissa, exponent = math.frexp(scale)
    return 1 - exponent if mantissa == 0.5 else None
