"""The numbers of rtl/axis_add.v: shown for every pair of codes, not sampled.

    y = clamp(floor((factor_a*a + factor_b*b + offset) / 2**shift) - less, low, high)

A rule that rounds real numbers halfway between two codes to the even one needs `less`. Where such
ties are exact, a window below which a remainder counts as one does; where float32 makes some of
them and misses others, a bit for each pair of codes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

MOST_SHIFT = 22
LIMIT = 2**31  # of an offset in Verilog
NONE = 2**60  # a bound that bounds nothing


@dataclass(frozen=True, eq=False)
class Adder:
    """Parameters of rtl/axis_add.v; y as above.

    tie: less is 1 where the quotient is odd and the remainder below 2**tie; 0: never. patch: bool
    (256, 256), where `less` is 1; None: `tie` says it.
    """

    factor_a: int
    factor_b: int
    offset: int
    shift: int
    tie: int
    low: int
    high: int
    patch: np.ndarray | None = None

    @property
    def sum_width(self) -> int:
        """Bits of a signed number that hold every sum, and a quotient of 9 bits."""
        ends = [
            a * self.factor_a + b * self.factor_b + self.offset for a in (0, 255) for b in (0, 255)
        ]
        bits = max((end if end >= 0 else ~end).bit_length() for end in ends) + 1
        return max(bits, self.shift + 9)

    def table(self) -> np.ndarray:
        """uint8 (256, 256): y of each pair of codes."""
        a, b = np.ogrid[:256, :256]
        total = a * self.factor_a + b * self.factor_b + self.offset
        quotient = total >> self.shift
        less = self.patch
        if less is None:
            rest = total & ((1 << self.shift) - 1)
            less = (quotient & 1 == 1) & (rest < 1 << self.tie) & (self.tie > 0)
        return np.clip(quotient - less, self.low, self.high).astype(np.uint8)

    @property
    def patch_words(self) -> np.ndarray:
        """uint8 (8192, 1): the ROM of the patch."""
        assert self.patch is not None
        return np.packbits(self.patch, bitorder="little")[:, None]


class _Room(NamedTuple):
    """Bounds of the offset, those of even codes first, then those of odd ones."""

    least: tuple[int, int]
    most: tuple[int, int]


def fit(table: np.ndarray, ratio_a: float, ratio_b: float) -> Adder:
    """The adder of the smallest shift whose `table()` is `table`.

    table: uint8 (256, 256). ratio_a, ratio_b: by how much y grows with a and with b; 0 or more.
    """
    codes = _Codes(table)
    if codes.low == codes.high:
        return _shown(Adder(1, 1, 0, 0, 0, codes.low, codes.high), table)
    for shift, fa, fb in _factors(ratio_a, ratio_b):
        room = codes.room(fa, fb, shift)
        for tie in range(max(1, shift)):
            window = 1 << tie if tie else 0
            least = max(room.least[0], room.least[1] + window)
            most = min(room.most[0] + window, room.most[1])
            if least <= most and -LIMIT <= least < LIMIT:
                return _shown(Adder(fa, fb, least, shift, tie, codes.low, codes.high), table)
    for shift, fa, fb in _factors(ratio_a, ratio_b):
        room = codes.room(fa, fb, shift)
        least = max(room.least)
        if least <= min(room.most) + (1 << shift):
            # Never too low, nor by more than 1 too high.
            adder = Adder(fa, fb, least, shift, 0, codes.low, codes.high)
            return _shown(replace(adder, patch=adder.table() > table), table)
    raise AssertionError("codes of no sum")


def _shown(adder: Adder, table: np.ndarray) -> Adder:
    """The adder, which gives what the table says for all 65,536 pairs of codes."""
    assert np.array_equal(adder.table(), table)
    return adder


def _factors(ratio_a: float, ratio_b: float) -> Iterator[tuple[int, int, int]]:
    """Shifts, and factors near those of the ratios."""
    for shift in range(MOST_SHIFT + 1):
        near_a, near_b = (round(ratio * 2**shift) for ratio in (ratio_a, ratio_b))
        for by_a, by_b in itertools.product((0, -1, 1), repeat=2):
            if near_a + by_a >= 0 <= near_b + by_b:
                yield shift, near_a + by_a, near_b + by_b


class _Codes:
    """The pairs that bound the offset: of those with one code, the lowest and the highest ones."""

    def __init__(self, table: np.ndarray) -> None:
        y = table.astype(np.int64)
        self.low, self.high = int(y.min()), int(y.max())
        steps_a, steps_b = np.diff(y, axis=0) != 0, np.diff(y, axis=1) != 0
        first = np.pad(steps_a, ((1, 0), (0, 0)), constant_values=True)
        first &= np.pad(steps_b, ((0, 0), (1, 0)), constant_values=True)
        last = np.pad(steps_a, ((0, 1), (0, 0)), constant_values=True)
        last &= np.pad(steps_b, ((0, 0), (0, 1)), constant_values=True)
        odd = y % 2 == 1
        # Clamped codes may come of anything beyond.
        self.lowest = [
            (*np.nonzero(s), y[s]) for s in (first & (y > self.low) & p for p in (~odd, odd))
        ]
        self.highest = [
            (*np.nonzero(s), y[s]) for s in (last & (y < self.high) & p for p in (~odd, odd))
        ]

    def room(self, factor_a: int, factor_b: int, shift: int) -> _Room:
        """Where the offset must be if the quotients are to be the codes."""
        least, most = (
            [((code + up) << shift) - factor_a * a - factor_b * b for a, b, code in pairs]
            for up, pairs in ((0, self.lowest), (1, self.highest))
        )
        lowest, highest = (int(bounds.max(initial=-NONE)) for bounds in least)
        below, above = (int(bounds.min(initial=NONE)) - 1 for bounds in most)
        return _Room((lowest, highest), (below, above))
