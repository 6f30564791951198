"""weight_rom: the words of a file that model.rom.to_hex wrote, at their addresses."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import cocotb
import numpy as np
from runner import on_simulators
from testbench import start_clock

from convstream.model.hardware import rom

CASES = {
    "words11": dict(WIDTH=24, DEPTH=11, FILE="weight.mem"),
    "words17": dict(WIDTH=8, DEPTH=17, FILE="weight.mem"),
    "one_word": dict(WIDTH=40, DEPTH=1, FILE="weight.mem"),
    "biases": dict(WIDTH=96, DEPTH=13, FILE="bias.mem"),
    "no_file": dict(WIDTH=16, DEPTH=3),
}


class Rom:
    """The contents of a ROM with these parameters: int8 weights, or int32 in a file of biases."""

    def __init__(self, parameters: dict, seed: str) -> None:
        self.parameters = parameters
        dtype = np.dtype(np.int32 if parameters.get("FILE") == "bias.mem" else np.int8)
        lanes = parameters["WIDTH"] // (8 * dtype.itemsize)
        limits = np.iinfo(dtype)
        self.words = np.zeros((parameters["DEPTH"], lanes), dtype)
        if "FILE" in parameters:
            rng = np.random.default_rng(zlib.crc32(seed.encode()))
            self.words = rng.integers(limits.min, limits.max + 1, self.words.shape, dtype)

    def write_memories(self, folder: Path) -> None:
        """Write the file that the module reads."""
        if "FILE" in self.parameters:
            (folder / self.parameters["FILE"]).write_text(rom.to_hex(self.words))


TRAFFIC = Rom


@cocotb.test()
async def reads_the_file(dut) -> None:
    """Each word two clocks after its address: in order, then any."""
    case = json.loads(Path("case.json").read_text())
    words = Rom(case["parameters"], case["seed"]).words
    rng = random.Random(case["seed"])

    edge = start_clock(dut)
    read: list[int] = []  # addresses so far
    for count in range(6 * len(words) + 60):
        addr = count if count < len(words) else rng.randrange(len(words))
        dut.addr.value = addr
        await edge
        if len(read) > 1:
            held = read[-2]
            bits = str(dut.data.value)
            assert set(bits) <= set("01"), f"weight_rom: word {held}: data is {bits}"
            wanted = int.from_bytes(words[held].astype(words.dtype.newbyteorder("<")), "little")
            assert int(bits, 2) == wanted, (
                f"weight_rom: word {held}: got {int(bits, 2):#x}, expected {wanted:#x}"
            )
        read.append(addr)


@on_simulators(CASES)
def test_weight_rom(simulate, simulator, name, parameters):
    simulate(
        "weight_rom",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_weight_rom",
    )
