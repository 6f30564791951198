"""gated_sum against Python's integers."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import Timer
from runner import on_simulators

CASES = {
    "sum": dict(WIDTH=10, SUBTRACT=0),
    "difference": dict(WIDTH=10, SUBTRACT=1),
    "two_bits": dict(WIDTH=2, SUBTRACT=0),
    "odd": dict(WIDTH=13, SUBTRACT=1),
}


@cocotb.test()
async def adds(dut) -> None:
    """Random numbers, all four ways of taking them."""
    case = json.loads(Path("case.json").read_text())
    size = 1 << case["parameters"]["WIDTH"]
    sign = -1 if case["parameters"]["SUBTRACT"] else 1
    rng = np.random.default_rng(zlib.crc32(case["seed"].encode()))
    for a, b in [(0, 0), (size - 1, size - 1), *rng.integers(0, size, (200, 2)).tolist()]:
        for take_a in (0, 1):
            for take_b in (0, 1):
                dut.a.value, dut.b.value = a, b
                dut.take_a.value, dut.take_b.value = take_a, take_b
                await Timer(1, "ns")
                got, expected = dut.sum.value.to_unsigned(), (take_a * a + sign * take_b * b) % size
                assert got == expected, f"{take_a}*{a}, {take_b}*{b}: got {got}, not {expected}"


@on_simulators(CASES)
def test_gated_sum(simulate, simulator, name, parameters):
    simulate(
        "gated_sum",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_gated_sum",
    )
