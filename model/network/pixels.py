"""Camera pixels, and the values that a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes

PIXELS = Codes(float(np.float32(1 / 255)))
"""Of pixels 0 to 255 that stand for 0 to 1."""


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / std of pixels x, 0 to 255 or 0 to 1, as ToTensor and Normalize do it.

    mean, std: of pixels 0 to 1, one number or one a channel.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @classmethod
    def parse(cls, mean: str, std: str) -> Normalisation:
        """From numbers with commas between them. Raises `UserError` where they are none."""
        return cls(_numbers("mean", mean), _numbers("std", std))

    def values(self, images: np.ndarray) -> np.ndarray:
        """float32 of `images`, N x C x ..., which are uint8 pixels or floats that stand for 0 to 1.

        Raises `UserError` where there is neither one mean nor one a channel.
        """
        channels = images.shape[1]
        x = images.astype(np.float32)
        if images.dtype == np.uint8:
            x /= np.float32(255)
        mean, std = (
            self._by_channel(name, channels).reshape(-1, *[1] * (x.ndim - 2))
            for name in ("mean", "std")
        )
        return (x - mean) / std

    def table(self, codes: Codes, channels: int) -> np.ndarray:
        """uint8 (channels, 256): what QuantizeLinear makes of each pixel; (256,) for all alike."""
        pixels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, axis=1)
        tables = codes.of_real(self.values(pixels)).T
        return np.ascontiguousarray(tables[0] if (tables == tables[0]).all() else tables)

    def _by_channel(self, name: str, channels: int) -> np.ndarray:
        numbers: tuple[float, ...] = getattr(self, name)
        if len(numbers) not in (1, channels):
            given = ",".join(f"{number:g}" for number in numbers)
            raise UserError(f"--{name} {given}: expected one number, or {channels}, one a channel")
        return np.array(numbers, np.float32)


def _numbers(name: str, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        raise UserError(f"--{name} {value}: expected numbers, with commas between them") from None
    least = 1e-6 if name == "std" else -1e6
    if not all(least <= number <= 1e6 for number in numbers):
        raise UserError(f"--{name} {value}: expected numbers from {least:g} to 1e+06")
    return numbers
