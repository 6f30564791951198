"""dot_product against model.network.layers.linear.fc with a single output."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import cocotb
import numpy as np
from runner import on_simulators
from testbench import start_clock

from convstream.model.network.layers.linear import fc

CASES = {f"simd{simd}": dict(SIMD=simd) for simd in (3, 1, 2, 4, 5, 7, 9, 16, 25, 33)}
CASES |= {
    f"simd{simd}_fabric{fabric}": dict(SIMD=simd, FABRIC=fabric)
    for simd, fabric in ((6, 2), (1, 1), (5, 5))
}
CASES["constant"] = dict(SIMD=4, FABRIC=3, CONSTANT=1)


@cocotb.test()
async def equals_reference(dut) -> None:
    """Sums come out in order, 2 + ceil(log2(SIMD)) clocks after their operands."""
    case = json.loads(Path("case.json").read_text())
    simd = case["parameters"]["SIMD"]
    rng = np.random.default_rng(zlib.crc32(case["seed"].encode()))
    x = rng.integers(0, 256, (60, simd), np.uint8)
    w = rng.integers(-128, 128, (60, simd), np.int8)
    x[:8] = 255
    w[:4], w[4:8], w[8:16:2] = -128, 127, -128
    bias = np.zeros(1, np.int32)
    expected = [int(fc(x[i : i + 1], w[i : i + 1], bias)[0, 0]) for i in range(len(x))]

    edge = start_clock(dut)
    await edge
    latency = 2 + math.ceil(math.log2(simd))
    for index in range(len(x) + latency):
        if index < len(x):
            dut.x.value = int.from_bytes(x[index].tobytes(), "little")
            dut.w.value = int.from_bytes(w[index].tobytes(), "little")
        await edge
        if index >= latency:
            number = index - latency
            got, wanted = dut.sum.value.to_signed(), expected[number]
            assert got == wanted, f"dot_product: sum {number}: got {got}, expected {wanted}"


@on_simulators(CASES)
def test_dot_product(simulate, simulator, name, parameters):
    simulate(
        "dot_product",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_dot_product",
    )
