"""rom_signature: the hash of model.rom.signature, over the first pass after each reset alone."""

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
    "words7": dict(WIDTH=104, DEPTH=7),
    "one_short_word": dict(WIDTH=8, DEPTH=1),
    "one_slice": dict(WIDTH=16, DEPTH=5),
    "four_slices": dict(WIDTH=64, DEPTH=4),
    "many_slices": dict(WIDTH=1160, DEPTH=3),
}


@cocotb.test()
@cocotb.parametrize(gaps=[False, True])
async def equals_model(dut, gaps: bool) -> None:
    """Every first pass, also after one that a reset cuts; later passes change nothing."""
    case = json.loads(Path("case.json").read_text())
    p = case["parameters"]
    rng = random.Random(case["seed"])
    lanes = p["WIDTH"] // 8
    draw = np.random.default_rng(zlib.crc32(case["seed"].encode()))

    edge = start_clock(dut)
    # Without a reset first: the initial values must do.
    dut.rst.value = 0
    for attempt in range(12):
        words = draw.integers(-128, 128, (p["DEPTH"], lanes), np.int8)
        expected = rom.signature(rom.to_hex(words), "") & 0xFFFF
        count = 3 * p["DEPTH"] if attempt % 2 == 0 else rng.randrange(p["DEPTH"])
        for index in range(count):
            valid = False
            while not valid:
                valid = not gaps or rng.random() < 0.5
                word = words[index % len(words)].tobytes() if valid else rng.randbytes(lanes)
                dut.word.value = int.from_bytes(word, "little")
                dut.valid.value = int(valid)
                await edge
        dut.valid.value = 0
        if attempt % 2 == 0:
            for _ in range(10):
                await edge
            got = dut.signature.value.to_unsigned()
            assert got == expected, f"rom_signature: {got:#06x}, expected {expected:#06x}"
        dut.rst.value = 1
        dut.valid.value = 1
        await edge
        dut.rst.value = 0
        dut.valid.value = 0


def test_known_words() -> None:
    # 0xFFFF shifts to 0xFFFE ^ 0x1021 = 0xEFDF, into which go 0x1234 ^ 0x5; then the same again.
    assert rom.signature("51234\n", "") == 0xFFFFFDEE
    assert rom.signature("", "51234\n0\n") >> 16 == 0xFBDC ^ 0x1021


@on_simulators(CASES)
def test_rom_signature(simulate, simulator, name, parameters):
    simulate(
        "rom_signature",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_rom_signature",
    )
