"""scale_requantise against the rule in float32, with the scales that export would give it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import NamedTuple

import cocotb
import numpy as np
import pytest
from runner import on_simulators, refuse
from testbench import start_clock

from convstream.model.base.errors import UserError
from convstream.model.hardware import scaling
from convstream.model.hardware.scaling import Scaling
from convstream.model.network.rounding import Rounding

CHANNELS = 12
BENCH = np.random.default_rng(20)  # of the scales of all cases


class Layer(NamedTuple):
    """Scales of channels, and the ends of their accumulators."""

    rounding: Rounding
    lowest: np.ndarray
    highest: np.ndarray

    @property
    def scaling(self) -> Scaling:
        return scaling.find(*self)

    def codes(self, acc: np.ndarray) -> np.ndarray:
        """uint8 (N, channels) of int64 (N, channels)."""
        own = self.rounding
        y = np.rint(acc.astype(np.float32) * own.multiplier) + np.float32(own.zero_point)
        return np.clip(y, own.low, own.high).astype(np.uint8)

    def accumulators(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """int64 (count, channels): most are at a step, or beside it."""
        shape = count, len(self.lowest)
        acc = rng.integers(self.lowest, self.highest + 1, shape)
        step = np.rint((rng.integers(-256, 256, shape) + 0.5) / self.rounding.multiplier)
        acc = np.where(rng.random(shape) < 0.8, step + rng.integers(-1, 2, shape), acc)
        acc[:2] = self.lowest, self.highest
        return np.clip(acc, self.lowest, self.highest).astype(np.int64)


def layer(scale, width, *, zero_point=0, low=0, high=255, spread=2.0) -> Layer:
    """CHANNELS scales from `scale` on, of full mantissas; `width` bits of their accumulators."""
    if np.isscalar(scale):
        scale = scale * spread ** BENCH.uniform(0, 1, CHANNELS)
    ends = np.full(CHANNELS, 2 ** (width - 1) - 1)
    rounding = Rounding(np.asarray(scale, np.float32), zero_point, low, high)
    return Layer(rounding, -BENCH.integers(ends // 2, ends + 1), ends)


def odd_over(places: int, bits: int) -> np.ndarray:
    """Scales of few bits, whose products often are exactly where rounding changes."""
    return (2 * BENCH.integers(1, 1 << bits, CHANNELS) + 1) * 2.0**-places


LAYERS = {
    "plain": layer(2**-5, 16),
    "window": layer(2**-11, 20),
    "window_negative": layer(2**-12, 22, zero_point=200, low=10, high=249),
    "ends_inside": layer(odd_over(19, 6), 23, zero_point=130),
    "powers_of_two": layer(2.0 ** -BENCH.integers(3, 9, CHANNELS), 15, zero_point=3, low=3),
    "beyond_float": layer(2**-20, 28, zero_point=120),
    "equal": layer(1.3 * 2**-9, 18, zero_point=17, low=17, high=180, spread=1.0),
    "large": layer(1.1, 12, zero_point=128),
    "wide": layer(2**-14, 25, spread=2**9, zero_point=90),
}


def case(name: str, clocks: int, pe: int = 1, pixels: int = 1, **others) -> dict:
    """Parameters for one of LAYERS; a product takes `clocks` clocks, or fewer if these do."""
    own = LAYERS[name]
    found = own.scaling
    digit = -(-found.width // clocks)
    bound = max(abs(own.lowest).max(), own.highest.max())
    return dict(
        PIXELS=pixels,
        PE=pe,
        ACC_WIDTH=int(bound).bit_length() + 1,
        SCALE_WIDTH=found.width,
        SHIFT=found.shift,
        EXACT=found.exact,
        CLOCKS=-(-found.width // digit),
        ZERO_POINT=own.rounding.zero_point,
        LOW=own.rounding.low,
        HIGH=own.rounding.high,
        **others,
    )


CASES = {
    "plain": case("plain", 1, pe=3, pixels=2),
    "plain_serial": case("plain", 8, pe=2, pixels=2),
    "window": case("window", 1, pe=2),
    "window_serial": case("window", 8),
    "window_bit_by_bit": case("window", 99),
    "window_negative": case("window_negative", 12, pe=2),
    "window_negative_in_blocks": case("window_negative", 3),
    "ends_inside": case("ends_inside", 1),
    "powers_of_two": case("powers_of_two", 2, pe=4),
    "beyond_float": case("beyond_float", 1),
    "beyond_float_serial": case("beyond_float", 6),
    "equal": case("equal", 1, CONSTANT=1),
    "equal_serial": case("equal", 5, CONSTANT=1, pixels=3),
    "large": case("large", 4, pe=3),
    "wide": case("wide", 9),
    "wide_at_once": case("wide", 1),
}


def test_forms() -> None:
    """The layers need every form of rounding, from one word for all to products of 48 bits."""
    found = {name: own.scaling for name, own in LAYERS.items()}
    assert {s.exact for s in found.values()} == {0, 1, 2}
    assert len(found["equal"].multiplier) == 1
    assert max(s.width for s in found.values()) > 30


@pytest.mark.parametrize("name", LAYERS)
def test_narrowest(name: str) -> None:
    """A shift less, and some channel's code is wrong for every multiplier."""
    own = LAYERS[name]
    found = own.scaling
    steps = scaling._Steps.of(own.rounding, own.lowest, own.highest)
    if len(found.multiplier) > 1:
        assert steps._multipliers(found.shift - 1, found.exact) is None


class HalfToOdd(Rounding):
    """Rounds as no form does."""

    def codes(self, acc: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(acc * self.multiplier[0] + 1) - 1, self.low, self.high)


def test_refuses() -> None:
    """A rule that no multiplier gives is refused, not approximated."""
    with pytest.raises(UserError, match="no multiplier equals the scales 0.375 to 0.375"):
        scaling.find(HalfToOdd(np.array([0.375])), np.zeros(1, np.int64), np.array([600]))


class Beats(NamedTuple):
    """Scales (beats, channels), accumulators and codes (beats, pixels, channels)."""

    scales: np.ndarray
    acc: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, own: Layer, count: int, pixels: int, numbers: np.random.Generator) -> Beats:
        """With the scales of a layer."""
        acc = own.accumulators(count * pixels, numbers)
        scales = np.broadcast_to(own.scaling.multiplier, (count, CHANNELS))
        return cls(scales, *(x.reshape(count, pixels, -1) for x in (acc, own.codes(acc))))

    @classmethod
    def nearest(cls, p: dict, count: int, numbers: np.random.Generator) -> Beats:
        """With any scales: products come nearer to a step, or to a bit off it, than a layer's."""
        steps = scaling._first_product(np.arange(-255, 257), p["SHIFT"], p["EXACT"])
        most = 2 ** (p["ACC_WIDTH"] - 1) - 1
        step = numbers.choice(steps, (count, p["PIXELS"], CHANNELS))
        step += numbers.integers(-1, 2, step.shape) << numbers.integers(0, p["SHIFT"], step.shape)
        some = numbers.integers(1, 2 ** p["SCALE_WIDTH"], (200, count, CHANNELS))
        near = step[np.arange(count), np.arange(count) % p["PIXELS"]]
        off = abs(np.clip(np.rint(near / some), -most, most) * some - near)
        scales = np.take_along_axis(some, off.argmin(axis=0)[None], axis=0)[0]
        acc = np.clip(np.rint(step / scales[:, None]), -most, most).astype(np.int64)
        factor = acc.astype(np.float32).astype(np.int64) if p["EXACT"] else acc
        codes = np.searchsorted(steps, factor * scales[:, None], side="right") - 256
        return cls(scales, acc, np.clip(codes + p["ZERO_POINT"], p["LOW"], p["HIGH"]))


@cocotb.test()
@cocotb.parametrize(gaps=[False, True])
async def equals_float32(dut, gaps: bool) -> None:
    """Codes, `last` and latency are right, also where it stops now and then, and after resets.

    The first run comes without a reset.
    """
    case = json.loads(Path("case.json").read_text())
    p = case["parameters"]
    rng = random.Random(case["seed"])
    numbers = np.random.default_rng(rng.getrandbits(32))
    name = next(n for n in CASES if CASES[n] == p)
    own = LAYERS[max((n for n in LAYERS if name.startswith(n)), key=len)]
    pe, pixels, width = p["PE"], p["PIXELS"], p["ACC_WIDTH"]
    apart = 1 if p["CLOCKS"] == 1 else p["CLOCKS"] + 1
    latency = p["CLOCKS"] + 2
    count = 40 + 800 // (apart * pixels)
    parts = Beats.of(own, count, pixels, numbers), Beats.nearest(p, count, numbers)
    beats = Beats(*map(np.concatenate, zip(*parts, strict=True)))

    def packed(values, bits: int) -> int:
        return sum((int(v) & (1 << bits) - 1) << bits * i for i, v in enumerate(values))

    edge = start_clock(dut)
    runs = 8
    for run in range(runs):
        if run:
            # What stands at the inputs during a reset must leave no trace.
            dut.rst.value = 1
            dut.s_valid.value, dut.enable.value = rng.getrandbits(1), rng.getrandbits(1)
            await edge
        dut.rst.value = 0
        left = list(numbers.permutation(2 * count))
        due: dict[int, tuple[int, int]] = {}  # clocks that moved, to codes and last
        moved = 0
        wait = rng.choice([0, 2 * latency])  # or what was begun before a reset would come now
        for _ in range(rng.randrange(5, 8 * latency) if run < runs - 1 else 10**6):
            if not left and not due:
                break
            go = not gaps or rng.random() < 0.7
            valid = wait <= 0 and left and (not gaps or rng.random() < 0.7)
            first = rng.randrange(CHANNELS // pe) * pe
            columns = slice(first, first + pe)
            beat = left[-1] if left else 0
            last = rng.randrange(2)
            dut.enable.value, dut.s_valid.value, dut.s_last.value = int(go), int(bool(valid)), last
            dut.s_accs.value = (
                packed(beats.acc[beat][:, columns].reshape(-1), width)
                if valid
                else rng.getrandbits(width * pe * pixels)
            )
            dut.s_scales.value = packed(beats.scales[beat, columns], p["SCALE_WIDTH"])
            await edge
            wanted = due.get(moved)
            got = dut.m_valid.value
            assert got == (wanted is not None), f"scale_requantise: valid {got}, due {wanted}"
            if wanted is not None:
                found = dut.m_codes.value.to_unsigned(), int(dut.m_last.value)
                assert found == wanted, f"scale_requantise: {found}, expected {wanted}"
            if go:
                due.pop(moved, None)
                if valid:
                    codes = beats.codes[beat][:, columns]
                    due[moved + latency] = packed(codes.reshape(-1), 8), last
                    left.pop()
                    wait = apart
                moved, wait = moved + 1, wait - 1


@on_simulators(CASES)
def test_scale_requantise(simulate, simulator, name, parameters):
    simulate(
        "scale_requantise",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_scale_requantise",
    )


def test_bad_parameters() -> None:
    """Codes out of their order are refused."""
    refuse("clamp_code", {"LOW": 9, "HIGH": 8}, "error_LOW_and_HIGH_must_be_0_to_255")
    refuse("clamp_code", {"ZERO_POINT": 256}, "error_ZERO_POINT_must_be_0_to_255")
