"""timeout, status_leds and power_on_reset: the small parts of a board's top, clock by clock."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import bursts, start_clock


def _case() -> tuple[dict, random.Random]:
    case = json.loads(Path("case.json").read_text())
    return case["parameters"], random.Random(case["seed"])


@cocotb.test()
async def expires(dut) -> None:
    """Once more than TIMEOUT clocks lie between the last restart and now, and not before."""
    parameters, rng = _case()
    limit = parameters["TIMEOUT"]
    dut.restart.value = 1
    edge = start_clock(dut)
    await edge
    gaps = [1, 2, limit, limit + 1, *(rng.randrange(1, 2 * limit + 1) for _ in range(30))]
    for gap in gaps:
        for clocks in range(1, gap + 1):
            dut.restart.value = int(clocks == gap)
            await edge
            got = str(dut.expired.value)
            assert got == str(int(clocks > limit)), f"timeout: {got} after {clocks} clocks"


@cocotb.test()
async def shows_activity(dut) -> None:
    """alive has half of the time; busy lasts a sixteenth, whatever was active in the one before."""
    parameters, rng = _case()
    period = 1 << parameters["WIDTH"]
    part = period // 16
    active = [0] * (3 * part) + [1] + [0] * (3 * part)  # for one clock, the first of a sixteenth
    go = bursts(rng, part)
    while len(active) < 4 * period:
        active.append(int(next(go)))
    edge = start_clock(dut)
    for clock, value in enumerate(active):
        dut.active.value = value
        await edge
        # The register of busy is a clock late.
        end = max(0, clock - 1) // part * part
        alive = clock // (period // 2) % 2
        busy = int(any(active[max(0, end - part) : end]))
        got, wanted = f"{dut.alive.value}{dut.busy.value}", f"{alive}{busy}"
        assert got == wanted, f"status_leds: clock {clock}: {got}, expected {wanted}"


@cocotb.test()
async def waits_for_the_clock(dut) -> None:
    """Reset ends when `locked` has been high for CLOCKS clocks without a break, 3 clocks later."""
    parameters, rng = _case()
    clocks = parameters["CLOCKS"]
    locked = [0, 1, 1, 0]
    for high in (clocks - 1, clocks, clocks + 1, 3 * clocks):
        locked += [1] * high + [0] * rng.choice([1, 2, clocks])
    for _ in range(10):
        locked += [1] * rng.randrange(2 * clocks) + [0]
    locked += [1] * (clocks + 5)
    edge = start_clock(dut)
    for clock, value in enumerate(locked):
        dut.locked.value = value
        await edge
        end = max(0, clock - 2)
        wanted = str(int(locked[max(0, end - clocks) : end] != [1] * clocks))
        got = str(dut.rst.value)
        assert got == wanted, f"power_on_reset: clock {clock}: {got}, expected {wanted}"


@on_simulators({f"clocks{clocks}": dict(TIMEOUT=clocks) for clocks in (21, 16, 37)})
def test_timeout(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("timeout", tests="test_board_parts", only="expires", **case)


@on_simulators({f"bits{bits}": dict(WIDTH=bits) for bits in (7, 5)})
def test_status_leds(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("status_leds", tests="test_board_parts", only="shows_activity", **case)


@on_simulators({f"clocks{clocks}": dict(CLOCKS=clocks) for clocks in (37, 32, 2)})
def test_power_on_reset(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("power_on_reset", tests="test_board_parts", only="waits_for_the_clock", **case)
