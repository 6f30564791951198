"""fold_counter: every fold in the order of its header, whenever it steps."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import start_clock


def case(groups, chunks, inner=0) -> dict:
    """Parameters of a fold_counter."""
    return dict(GROUPS=groups, CHUNKS=chunks, GROUP_INNER=inner)


CASES = {
    "group_inner": case(3, 5, 1),
    "chunk_inner": case(3, 5),
    "two_of_each": case(2, 2),
    "two_of_each_group_inner": case(2, 2, 1),
    "one_group": case(1, 7),
    "one_group_group_inner": case(1, 7, 1),
    "one_chunk": case(6, 1),
    "one_chunk_group_inner": case(6, 1, 1),
    "one_fold": case(1, 1),
}


@cocotb.test()
@cocotb.parametrize(stalled=[False, True])
async def walks_all_folds(dut, stalled: bool) -> None:
    """Three rounds without a reset, then resets at any moment, which win over a step."""
    case = json.loads(Path("case.json").read_text())
    p = case["parameters"]
    rng = random.Random(case["seed"])
    groups, chunks = range(p["GROUPS"]), range(p["CHUNKS"])
    if p["GROUP_INNER"]:
        order = [(group, chunk) for chunk in chunks for group in groups]
    else:
        order = [(group, chunk) for group in groups for chunk in chunks]

    dut.rst.value = 1
    dut.step.value = 1
    edge = start_clock(dut)
    for _ in range(2):
        await edge
    index, rst, step = 0, 1, 1
    for count in range(12 * len(order) + 100):
        await edge
        group, chunk = order[index]
        ends = group == groups[-1], chunk == chunks[-1]
        wanted = group, chunk, *ends, all(ends)
        signals = dut.group, dut.chunk, dut.group_last, dut.chunk_last, dut.last
        got = tuple(str(signal.value) for signal in signals)
        assert all(set(bits) <= set("01") for bits in got), f"fold_counter: X in {got}"
        got = tuple(int(bits, 2) for bits in got)
        assert got == wanted, (
            f"fold_counter: fold {index}: (group, chunk, group_last, chunk_last, last) = "
            f"{got}, expected {wanted}"
        )
        index = 0 if rst else (index + step) % len(order)
        rst = int(count > 6 * len(order) and rng.random() < 1 / (1 + len(order)))
        step = int(not stalled or rng.random() < 0.5)
        dut.rst.value = rst
        dut.step.value = step


@on_simulators(CASES)
def test_fold_counter(simulate, simulator, name, parameters):
    simulate(
        "fold_counter",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_fold_counter",
    )
