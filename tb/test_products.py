"""The three kinds of products: every weight times every activation, one set every clock."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import cocotb
import numpy as np
import pytest
from runner import on_simulators
from testbench import start_clock

CASES = {"count3": dict(COUNT=3), "one": dict(COUNT=1), "count16": dict(COUNT=16)}
LATENCY = 2


@cocotb.test()
async def multiplies(dut) -> None:
    """Every weight times every activation, exact, two clocks later."""
    case = json.loads(Path("case.json").read_text())
    count = case["parameters"]["COUNT"]
    rng = np.random.default_rng(zlib.crc32(case["seed"].encode()))
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(-128, 128)), -1).reshape(-1, 2)
    pairs = rng.permutation(np.concatenate([pairs, pairs[: -len(pairs) % count]]))
    x = pairs[:, 0].astype(np.uint8).reshape(-1, count)
    w = pairs[:, 1].astype(np.int8).reshape(-1, count)
    expected = x.astype(int) * w

    edge = start_clock(dut)
    await edge
    for index in range(len(x) + LATENCY):
        if index < len(x):
            dut.x.value = int.from_bytes(x[index].tobytes(), "little")
            dut.w.value = int.from_bytes(w[index].tobytes(), "little")
        await edge
        if index >= LATENCY:
            bits = dut.y.value.to_unsigned().to_bytes(2 * count, "little")
            number = index - LATENCY
            got, wanted = np.frombuffer(bits, np.dtype("<i2")), expected[number]
            assert np.array_equal(got, wanted), (
                f"x {x[number]}, w {w[number]}: got {got}, expected {wanted}"
            )


@pytest.mark.parametrize("module", ["products", "lut_products", "constant_products"])
@on_simulators(CASES)
def test_products(simulate, simulator, name, parameters, module):
    simulate(
        module,
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_products",
    )
