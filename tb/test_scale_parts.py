"""The parts of scale_requantise, each number by number: what shows in a code now and then alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import Timer
from runner import on_simulators
from testbench import start_clock

from convstream.model.hardware import scaling


def _case() -> tuple[dict, random.Random]:
    case = json.loads(Path("case.json").read_text())
    return case["parameters"], random.Random(case["seed"])


def _any(rng: random.Random, low: int, high: int) -> int:
    """An integer from `low` to `high`, often one of these, or of one or few bits."""
    few = rng.choice([1, -1]) * (rng.getrandbits(3) << rng.randrange(high.bit_length()))
    return rng.choice([low, high, min(high, max(low, few)), *(rng.randint(low, high),) * 3])


@cocotb.test()
async def multiplies(dut) -> None:
    """Every bit of a product is right, CLOCKS + 1 clocks after its start, also where it stops."""
    p, rng = _case()
    bits, clocks = p["ACC_WIDTH"], p["CLOCKS"]
    most = (1 << p["SCALE_WIDTH"]) - 1
    edge = start_clock(dut)
    due: dict[int, int] = {}  # clocks that moved, to products
    moved = wait = count = 0
    while count < 300:
        enable, start = rng.random() < 0.8, wait <= 0 and rng.random() < 0.7
        acc = _any(rng, -(1 << bits - 1), (1 << bits - 1) - 1)
        scale = _any(rng, 0, most)
        dut.enable.value, dut.start.value = int(enable), int(start)
        dut.acc.value, dut.scale.value = acc, scale
        await edge
        if moved in due:
            got, wanted = dut.product.value.to_signed(), due[moved]
            assert got == wanted, f"scale_product: {got:#x}, expected {wanted:#x}"
        if enable:
            count += due.pop(moved, None) is not None
            if start:
                due[moved + clocks + 1] = acc * scale
                wait = 1 if clocks == 1 else clocks + 1
            moved, wait = moved + 1, wait - 1


@cocotb.test()
async def rounds_products(dut) -> None:
    """On both sides of each step, and where a single bit sets a product off a half or a step."""
    p, rng = _case()
    shift, width = p["SHIFT"], p["WIDTH"]
    codes = np.arange(-255, 257)
    first = scaling._first_product(codes, shift, p["EXACT"])
    steps = [*first, *((2 * codes - 1) << shift - 1)]
    products = {int(step) + side for step in steps for side in (-1, 0, 1)}
    for bit in range(shift):
        for step in rng.sample(steps, 24):
            off = rng.choice([1, -1]) << bit
            products |= {int(step) + off + side for side in (-1, 0, 1)}
    lowest, highest = -(256 << shift), (256 << shift) - 1
    for product in products | {rng.randint(lowest, highest) for _ in range(500)}:
        product = max(lowest, -(1 << width - 1), min(highest, (1 << width - 1) - 1, product))
        dut.product.value = product
        await Timer(1, "ns")
        got = dut.quotient.value.to_signed(), int(dut.round_up.value)
        code = -256 + int(np.searchsorted(first, product, side="right"))
        wanted = product >> shift, code - (product >> shift)
        assert got == wanted, f"scale_round: {product:#x}: {got}, expected {wanted}"


@cocotb.test()
async def rounds_to_float32(dut) -> None:
    """Integers of every size: random ones, halves and what is beside them, and the ends."""
    p, rng = _case()
    end = 1 << p["WIDTH"] - 1
    values = [0, 1, -1, end - 1, -end]
    for size in range(24, p["WIDTH"] - 1):
        unit = 1 << size - 23  # in which float32 counts there
        for _ in range(40):
            place = rng.choice([0, 1, (1 << 23) - 1, rng.randrange(1 << 23)])
            half = (1 << size) + place * unit + unit // 2
            for number in (half - 1, half, half + (unit > 2), half + rng.randrange(unit // 2)):
                values.append(rng.choice([number, -number]))
    for value in values:
        dut.x.value = value
        await Timer(1, "ns")
        got, wanted = dut.y.value.to_signed(), int(np.float32(value))
        assert got == wanted, f"float_integer: {value:#x}: {got:#x}, expected {wanted:#x}"


@cocotb.test()
async def clamps(dut) -> None:
    """Every quotient, or those about the codes and of single bits where there are very many."""
    p, rng = _case()
    end = 1 << p["WIDTH"] - 1
    about = range(max(-end, -300), min(end, 300))
    for quotient in [*about, *(_any(rng, -end, end - 1) for _ in range(200))]:
        for round_up in (0, 1):
            dut.quotient.value, dut.round_up.value = quotient, round_up
            await Timer(1, "ns")
            wanted = min(p["HIGH"], max(p["LOW"], quotient + round_up + p["ZERO_POINT"]))
            got = dut.y.value.to_unsigned()
            assert got == wanted, f"clamp_code: {quotient} + {round_up}: {got}, expected {wanted}"


@on_simulators(
    {
        "digits": dict(ACC_WIDTH=13, SCALE_WIDTH=23, CLOCKS=6),
        "at_once": dict(ACC_WIDTH=20, SCALE_WIDTH=16, CLOCKS=1),
        "two_parts": dict(ACC_WIDTH=15, SCALE_WIDTH=25, CLOCKS=1),
        "three_parts": dict(ACC_WIDTH=9, SCALE_WIDTH=51, CLOCKS=1),
        "bit_by_bit": dict(ACC_WIDTH=17, SCALE_WIDTH=11, CLOCKS=11),
        "in_blocks": dict(ACC_WIDTH=14, SCALE_WIDTH=20, CLOCKS=3),
        "constant": dict(ACC_WIDTH=12, SCALE_WIDTH=18, CLOCKS=1, CONSTANT=1),
        "constant_digits": dict(ACC_WIDTH=11, SCALE_WIDTH=10, CLOCKS=4, CONSTANT=1),
    }
)
def test_scale_product(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("scale_product", tests="test_scale_parts", only="multiplies", **case)


@on_simulators(
    {
        "window": dict(WIDTH=37, SHIFT=27, EXACT=1),
        "half_up": dict(WIDTH=30, SHIFT=9, EXACT=0),
        "half_up_narrow": dict(WIDTH=12, SHIFT=11, EXACT=0),
        "window_closed": dict(WIDTH=46, SHIFT=34, EXACT=2),
        "window_finer": dict(WIDTH=23, SHIFT=12, EXACT=1),
        "window_finer_closed": dict(WIDTH=27, SHIFT=19, EXACT=2),
        "window_wide": dict(WIDTH=60, SHIFT=44, EXACT=1),
    }
)
def test_scale_round(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("scale_round", tests="test_scale_parts", only="rounds_products", **case)


@on_simulators({f"bits{bits}": dict(WIDTH=bits) for bits in (32, 28, 26)})
def test_float_integer(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("float_integer", tests="test_scale_parts", only="rounds_to_float32", **case)


@on_simulators(
    {
        "usual": dict(WIDTH=12, ZERO_POINT=77, LOW=20, HIGH=201),
        "least": dict(WIDTH=9, ZERO_POINT=0, LOW=0, HIGH=255),
        "relu": dict(WIDTH=20, ZERO_POINT=9, LOW=9, HIGH=255),
        "all_negative": dict(WIDTH=10, ZERO_POINT=255, LOW=0, HIGH=255),
        "one_code": dict(WIDTH=11, ZERO_POINT=128, LOW=100, HIGH=100),
    }
)
def test_clamp_code(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("clamp_code", tests="test_scale_parts", only="clamps", **case)
