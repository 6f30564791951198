"""accumulator: running sums of groups in any order, modulo 2^ACC_WIDTH."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from runner import on_simulators


def case(groups, sum_width, acc_width, **others) -> dict:
    """Parameters of an accumulator."""
    return dict(GROUPS=groups, SUM_WIDTH=sum_width, ACC_WIDTH=acc_width) | others


CASES = {
    "groups5": case(5, 19, 24),
    "one_group": case(1, 16, 32),
    "one_group_of_many_names": case(1, 18, 22, GROUP_WIDTH=3),
    "groups2_same_width": case(2, 20, 20),
    "sum_wider": case(3, 21, 17),
}


def signed(value: int, width: int) -> int:
    """`value` modulo 2**width as a signed number."""
    value &= (1 << width) - 1
    return value - (value >> width - 1 << width)


def draw(rng: random.Random, width: int) -> int:
    """A signed number of `width` bits, often at one of the ends."""
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    return rng.choice([low, high, rng.randint(low, high), rng.randint(low, high)])


@cocotb.test()
@cocotb.parametrize(stalled=[False, True])
async def adds_up(dut, stalled: bool) -> None:
    """acc is right at every clock; a clock without enable leaves every sum as it was."""
    case = json.loads(Path("case.json").read_text())
    p = case["parameters"]
    rng = random.Random(case["seed"])
    names = p["GROUPS"] if "GROUP_WIDTH" not in p else 1 << p["GROUP_WIDTH"]

    dut.enable.value = 0
    Clock(dut.clk, 10, "ns").start()
    edge = RisingEdge(dut.clk)
    await edge
    sums: dict[int, int] = {}
    for count in range(400):
        name = rng.randrange(names)
        group = name % p["GROUPS"]
        enable = not stalled or rng.random() < 0.5
        first = group not in sums or rng.random() < 0.15
        bias, addend = draw(rng, p["ACC_WIDTH"]), draw(rng, p["SUM_WIDTH"])
        dut.enable.value = int(enable)
        dut.first.value = int(first)
        dut.group.value = name
        dut.bias.value = bias
        dut.sum.value = addend
        await edge
        wanted = signed((bias if first else sums[group]) + addend, p["ACC_WIDTH"])
        bits = str(dut.acc.value)
        assert set(bits) <= set("01"), f"accumulator: acc is {bits}"
        got = signed(int(bits, 2), p["ACC_WIDTH"])
        assert got == wanted, (
            f"accumulator: clock {count}, group {group}, first {int(first)}: "
            f"got {got}, expected {wanted}"
        )
        if enable:
            sums[group] = wanted


@on_simulators(CASES)
def test_accumulator(simulate, simulator, name, parameters):
    simulate(
        "accumulator",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_accumulator",
    )
