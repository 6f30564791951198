"""requantise against model.network.reference.requantise: every accumulator where there are few."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import Timer
from runner import on_simulators

from convstream.model.network import reference

CASES = {
    "narrow": dict(ACC_WIDTH=12, SHIFT=3),
    "no_shift": dict(ACC_WIDTH=11, SHIFT=0),
    "shift1": dict(ACC_WIDTH=11, SHIFT=1),
    "shift_all_but_sign": dict(ACC_WIDTH=10, SHIFT=9),
    "shift_all": dict(ACC_WIDTH=10, SHIFT=10),
    "shift_beyond": dict(ACC_WIDTH=9, SHIFT=14),
    "narrower_than_the_output": dict(ACC_WIDTH=5, SHIFT=1),
    "one_bit": dict(ACC_WIDTH=1, SHIFT=0),
    "just_fits": dict(ACC_WIDTH=13, SHIFT=4),
    "usual": dict(ACC_WIDTH=21, SHIFT=9),
    "int32": dict(ACC_WIDTH=32, SHIFT=11),
    "int32_no_shift": dict(ACC_WIDTH=32, SHIFT=0),
    "int32_shift31": dict(ACC_WIDTH=32, SHIFT=31),
}


def accumulators(width: int, shift: int, rng: random.Random) -> list[int]:
    """All of them up to 13 bits; else the ends, powers of 2, random ones, those near halves."""
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    if width <= 13:
        return list(range(low, high + 1))
    values = [rng.randint(low, high) for _ in range(1500)]
    values += [rng.randint(-(1 << shift), 300 << shift) for _ in range(1500)]
    halves = [(2 * rng.randint(-5, 260) + 1 << shift) >> 1 for _ in range(500)]
    values += [half + near for half in (*halves, 255 << shift, 0) for near in (-1, 0, 1)]
    # Just over a half, by each bit below it alone.
    ties = ((1 << shift) >> 1, (3 << shift) >> 1)
    values += [tie + (1 << place) for tie in ties for place in range(shift - 1)]
    values += [low, low + 1, high - 1, high]
    values += [sign << place for place in range(width) for sign in (1, -1)]
    return [value for value in values if low <= value <= high]


@cocotb.test()
async def equals_reference(dut) -> None:
    """Each accumulator gives what the reference makes of it."""
    case = json.loads(Path("case.json").read_text())
    p = case["parameters"]
    values = accumulators(p["ACC_WIDTH"], p["SHIFT"], random.Random(case["seed"]))
    expected = reference.requantise(np.array(values, np.int32), p["SHIFT"])
    for value, wanted in zip(values, expected.tolist(), strict=True):
        dut.acc.value = value & ((1 << p["ACC_WIDTH"]) - 1)
        await Timer(1, "ns")
        got = dut.y.value.to_unsigned()
        assert got == wanted, f"requantise: {value} / 2^{p['SHIFT']} gave {got}, expected {wanted}"


@on_simulators(CASES)
def test_requantise(simulate, simulator, name, parameters):
    simulate(
        "requantise",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_requantise",
    )
