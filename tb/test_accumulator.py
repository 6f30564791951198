"""accumulator: running sums of groups that take turns, modulo 2^ACC_WIDTH."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import start_clock


def case(groups, sum_width, acc_width, **others) -> dict:
    """Parameters of an accumulator."""
    return dict(GROUPS=groups, SUM_WIDTH=sum_width, ACC_WIDTH=acc_width) | others


CASES = {
    "groups5": case(5, 19, 24),
    "one_group": case(1, 16, 32),
    "one_group_of_many_names": case(1, 18, 22, GROUP_WIDTH=3),
    "groups2_same_width": case(2, 20, 20),
    "groups4": case(4, 18, 20),
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
@cocotb.parametrize(gaps=[False, True])
async def adds_up(dut, gaps: bool) -> None:
    """acc is right a clock after each sum; what stands there between sums changes nothing."""
    case = json.loads(Path("case.json").read_text())
    p = case["parameters"]
    rng = random.Random(case["seed"])
    names = p["GROUPS"] if "GROUP_WIDTH" not in p else 1 << p["GROUP_WIDTH"]

    # Clocks with a sum (its group) and without (None); a group is named two clocks ahead.
    groups: list[int | None] = []
    turn = itertools.cycle(range(p["GROUPS"]))
    while len(groups) < 600:
        groups.append(None if gaps and rng.random() < 0.5 else next(turn))

    dut.enable.value = 0
    edge = start_clock(dut)
    sums: dict[int, int] = {}
    wanted: int | None = None
    for count in range(-2, len(groups) - 2):
        group = groups[count] if count >= 0 else None
        ahead = groups[count + 2]
        first = group not in sums or rng.random() < 0.15
        bias, addend = draw(rng, p["ACC_WIDTH"]), draw(rng, p["SUM_WIDTH"])
        dut.enable.value = int(group is not None)
        dut.first.value = int(first)
        dut.next_group.value = rng.randrange(names) if ahead is None else ahead
        dut.bias.value = bias
        dut.sum.value = addend
        await edge
        if wanted is not None:
            bits = str(dut.acc.value)
            assert set(bits) <= set("01"), f"accumulator: acc is {bits}"
            got = signed(int(bits, 2), p["ACC_WIDTH"])
            assert got == wanted, f"accumulator: clock {count}: got {got}, expected {wanted}"
        wanted = None
        if group is not None:
            wanted = signed((bias if first else sums[group]) + addend, p["ACC_WIDTH"])
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
