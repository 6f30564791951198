"""line_memory: what was written is read a clock later, and holds until the next read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import start_clock

CASES = {
    "words10": dict(WIDTH=24, DEPTH=10),
    "one_word": dict(WIDTH=8, DEPTH=1),
    "two_words": dict(WIDTH=8, DEPTH=2),
    "words33": dict(WIDTH=1, DEPTH=33),
    "words16": dict(WIDTH=72, DEPTH=16),
}


@cocotb.test()
async def reads_what_was_written(dut) -> None:
    """Random writes and reads, never of one address in one clock; idle ports carry garbage."""
    case = json.loads(Path("case.json").read_text())
    width, depth = case["parameters"]["WIDTH"], case["parameters"]["DEPTH"]
    rng = random.Random(case["seed"])
    address_bits = len(dut.read_addr)

    dut.write.value = dut.read.value = 0
    edge = start_clock(dut)
    await edge
    words: dict[int, int] = {}
    data: int | None = None  # what read_data must hold
    for count in range(20 * depth + 200):
        write_addr, read_addr = rng.randrange(depth), rng.randrange(depth)
        write = rng.random() < 0.6
        read = rng.random() < 0.6 and read_addr in words and not (write and read_addr == write_addr)
        word = rng.getrandbits(width)
        dut.write.value = int(write)
        dut.write_addr.value = write_addr if write else rng.getrandbits(address_bits)
        dut.write_data.value = word
        dut.read.value = int(read)
        dut.read_addr.value = read_addr if read else rng.getrandbits(address_bits)
        await edge
        if data is not None:
            bits = str(dut.read_data.value)
            assert set(bits) <= set("01"), f"line_memory: clock {count}: read_data is {bits}"
            assert int(bits, 2) == data, (
                f"line_memory: clock {count}: got {int(bits, 2):#x}, expected {data:#x}"
            )
        if read:
            data = words[read_addr]
        if write:
            words[write_addr] = word


@on_simulators(CASES)
def test_line_memory(simulate, simulator, name, parameters):
    simulate(
        "line_memory",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_line_memory",
    )
