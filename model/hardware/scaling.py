"""Multipliers that requantise by scales of any value: found narrow, and proved for every sum.

Within the range of a channel's accumulator its code rises in at most 255 steps, and so does what
rtl/scale_requantise.v computes. So the two are equal for every accumulator if they are on both
sides of each step. What that asks of a multiplier is an inequality of integers a step and side:
all together leave an interval of multipliers, or none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.quantised import QuantisedNetwork
from convstream.model.network.rounding import Rounding

# Behind so many bits a code's 8 still fit into int64, and float32's 24 for every scale.
MOST_SHIFT = 53
# The plain form may be so much wider than the exact one, which takes more logic behind it.
PLAIN_BITS = 4


@dataclass(frozen=True, eq=False)
class Scaling:
    """y = clamp(round(acc * multiplier[c] / 2**shift) + zero_point, low, high).

    multiplier: int64, (channels,), or (1,) where all have the same. exact: how round() treats what
    is near a half, EXACT of rtl/scale_round.v.
    """

    multiplier: np.ndarray
    shift: int
    exact: int

    @property
    def width(self) -> int:
        """Bits of the widest multiplier, at least 1."""
        return max(1, int(self.multiplier.max()).bit_length())

    @property
    def shared(self) -> bool:
        """Whether all channels have the same multiplier."""
        return len(self.multiplier) == 1


def scalings(quantised: QuantisedNetwork) -> dict[str, Scaling]:
    """How each node's sums are requantised, by name, but for those that are shifted.

    Raises `UserError` as `find` does.
    """
    found = {}
    for node in quantised.network.nodes:
        rounding = quantised.rounding(node.name)
        if rounding is not None and rounding.shift is None:
            ends = node.layer.accumulator_range(quantised.site(node.name))
            try:
                found[node.name] = find(rounding, *ends)
            except UserError as error:
                raise UserError(f"{node.name}: {error}") from None
    return found


def find(rounding: Rounding, lowest: np.ndarray, highest: np.ndarray) -> Scaling:
    """The narrowest multipliers that equal `rounding` for every accumulator, one shift for all.

    lowest, highest: int64 (channels,), the ends of the range of each channel's accumulator.
    Raises `UserError` if there are none.
    """
    if (rounding.multiplier == rounding.multiplier[0]).all():
        rounding = replace(rounding, multiplier=rounding.multiplier[:1])
        lowest, highest = lowest.min(keepdims=True), highest.max(keepdims=True)
    steps = _Steps.of(rounding, lowest, highest)
    plain, exact = steps.narrowest(0), steps.narrowest(1) or steps.narrowest(2)
    if plain and (exact is None or plain.width <= exact.width + PLAIN_BITS):
        return plain
    if exact is None:
        raise UserError(
            f"no multiplier equals the scales {rounding.multiplier.min():g} to "
            f"{rounding.multiplier.max():g} for every accumulator; quantise the weights with one "
            "scale for all channels"
        )
    return exact


@dataclass(frozen=True, eq=False)
class _Steps:
    """Where the codes of channels rise: int64 (codes, channels), or that broadcast.

    code: relative to the zero point. first: the least accumulator that has it, or a higher one.
    reached: whether there is one in the range. left: whether there is one below it.
    """

    code: np.ndarray
    first: np.ndarray
    reached: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, rounding: Rounding, lowest: np.ndarray, highest: np.ndarray) -> _Steps:
        codes = np.arange(rounding.low + 1, rounding.high + 1)[:, None]
        below = np.repeat(lowest[None] - 1, len(codes), axis=0)
        first = np.repeat(highest[None] + 1, len(codes), axis=0)
        while ((first - below) > 1).any():
            middle = below + first >> 1
            values = middle.astype(np.float64)[..., None, None]
            # At a step that is found, the middle is the accumulator below it.
            has = (rounding.codes(values)[..., 0, 0] >= codes) & (middle > below)
            below, first = np.where(has, below, middle), np.where(has, middle, first)
        return cls(codes - rounding.zero_point, first, first <= highest, first > lowest)

    def narrowest(self, exact: int) -> Scaling | None:
        """The multipliers with the least shift, if there are any."""
        least, most = 1, MOST_SHIFT + 1
        while least < most:
            shift = (least + most) // 2
            if shift > MOST_SHIFT or self._multipliers(shift, exact) is not None:
                most = shift
            else:
                least = shift + 1
        if least > MOST_SHIFT:
            return None
        multiplier = self._multipliers(least, exact)
        assert multiplier is not None
        return Scaling(multiplier, least, exact)

    def _multipliers(self, shift: int, exact: int) -> np.ndarray | None:
        """The least multiplier of each channel: int64 (channels,); None if one has none.

        If there are some at a shift, there are at every larger one.
        """
        product = _first_product(self.code, shift, exact)
        at, before = self.first, self.first - 1
        if exact:  # as rtl/scale_requantise.v does
            at, before = (x.astype(np.float32).astype(np.int64) for x in (at, before))
        # at * m >= product and before * m < product, written as factor * m >= bound.
        factor = np.concatenate([at, -before])
        bound = np.concatenate([product + 0 * at, 1 - product + 0 * before])
        asked = np.concatenate([self.reached, self.left])
        if (asked & (factor == 0) & (bound > 0)).any():
            return None
        size = np.maximum(abs(factor), 1)
        least = np.where(asked & (factor > 0), -(-bound // size), 0).max(axis=0, initial=0)
        most = np.where(asked & (factor < 0), -bound // size, np.iinfo(np.int64).max)
        return least if (least <= most.min(axis=0, initial=np.iinfo(np.int64).max)).all() else None


def _first_product(code: np.ndarray, shift: int, exact: int) -> np.ndarray:
    """The least product that rtl/scale_round.v rounds to `code` (-255..255): int64."""
    half = code - 0.5
    # Half a unit in the last place of float32, for numbers like `half`. Below an odd code is an
    # even one, to which all goes that counts as a half.
    unit = np.spacing(abs(half).astype(np.float32)).astype(np.float64) / 2
    window = np.where(code % 2, unit, -unit) if exact else 0
    least = np.ceil((half + window) * 2.0**shift)
    if exact == 2:
        least = np.where(code % 2, np.floor((half + unit) * 2.0**shift) + 1, least)
    return least.astype(np.int64)
