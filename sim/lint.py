"""Verilator -Wall on every module of rtl/ and fpga/rtl/ alone, at several parameter sets, and on
every network.

python -m sim.lint
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from model import errors, manifest
from model.errors import UserError
from sim import tools
from sim.cluster import cores
from sim.design import HARNESS, MEM, ROOT, Design

Parameters = dict[str, int | str]

RTL = ROOT / "rtl"
FPGA_RTL = ROOT / "fpga" / "rtl"
# The network of the benches of board_core, and the parameters that both have.
STAND_IN = ROOT / "tb" / "stand_in.v"
_STAND_IN: Parameters = {
    "IMAGE_BYTES": 784,
    "BEAT_BYTES": 1,
    "CLASSES": 10,
    "LOGIT_LANES": 1,
    "LAYERS": 1,
}

# Beside each module's defaults: sizes of one, sizes that are no powers of two, folds that do not
# divide, both loop orders, several pixels a beat, logits instead of uint8.
_ROMS: Parameters = {"WEIGHT_FILE": "weight.mem", "BIAS_FILE": "bias.mem"}
PARAMETERS: dict[str, list[Parameters]] = {
    "accumulator": [{"GROUPS": 5, "SUM_WIDTH": 19, "ACC_WIDTH": 23}, {"GROUPS": 2}],
    "argmax": [{"CLASSES": 1}, {"CLASSES": 7, "LANES": 3}, {"CLASSES": 10, "LANES": 10}],
    "avgpool2d": [
        {"CHANNELS": 1, "KERNEL": 1, "STRIDE": 1, "SHIFT": 1},
        {"CHANNELS": 5, "LANES": 2, "KERNEL": 4, "STRIDE": 3, "SHIFT": 5, "FIFO_DEPTH": 7},
        {"HEIGHT": 7, "WIDTH": 7, "KERNEL": 4, "STRIDE": 1, "OUT_WIDTH": 32},
        {"PIXELS": 4, "SHIFT": 12},
    ],
    "bank_address": [
        {"BANKS": 1},
        {"OUT_HEIGHT": 1, "HEIGHT": 3},
        {"HEIGHT": 7, "OUT_HEIGHT": 3, "STRIDE": 3, "PADDING": 3, "ROWS": 10, "BANKS": 5},
    ],
    "beat_gatherer": [
        {"CHANNELS": 5, "LANES": 2},
        {"CHANNELS": 6, "LANES": 3, "PIXELS": 2},
        {"CHANNELS": 3, "PIXELS": 4},
    ],
    "board_core": [
        {"IMAGE_BYTES": 12, "BEAT_BYTES": 3, "CLASSES": 5, "LOGIT_LANES": 2, "LAYERS": 3},
        {"CLASSES": 1, "IDENTITY_FILE": "identity.mem", "BAUD_DIVISOR": 9, "TIMEOUT": 91},
        {"CLASSES": 1000, "LOGIT_LANES": 3, "IDENTITY_BYTES": 1},
    ],
    "axis_fifo": [{"DEPTH": 1}, {"DEPTH": 7, "WIDTH": 3}, {"DEPTH": 16, "WIDTH": 1}],
    "column_reader": [
        {"BANKS": 1},
        {"KERNEL": 1, "BANKS": 1, "ROWS": 2},
        {"HEIGHT": 1, "OUT_HEIGHT": 1, "KERNEL": 3, "PADDING": 1, "GROUPS": 1, "SWEEP": 2},
        {"HEIGHT": 9, "OUT_HEIGHT": 4, "STRIDE": 2, "PADDING": 1, "GROUPS": 5, "SWEEP": 6},
    ],
    "constant_products": [{"COUNT": 5}],
    "conv2d": [
        {"KERNEL": 1, "OUT_CHANNELS": 1},
        {
            "IN_CHANNELS": 3,
            "OUT_CHANNELS": 5,
            "LANES": 2,
            "PE": 2,
            "SIMD": 4,
            "PADDING": 1,
            **_ROMS,
        },
        {"IN_CHANNELS": 3, "OUT_CHANNELS": 5, "STRIDE": 2, "PE": 5, "SIMD": 27, "ACC_WIDTH": 21},
        {"OUT_WIDTH": 32, "KERNEL": 28, "PE": 3, "SIMD": 100, "ACC_WIDTH": 25},
        {"PIXELS": 4, "PADDING": 1, "PE": 3, "SIMD": 9, "SHIFT": 7, **_ROMS},
        {"PIXELS": 2, "STRIDE": 2, "KERNEL": 2, "SHIFT": 1},
    ],
    "dot_product": [
        {"SIMD": 2},
        {"SIMD": 7, "FABRIC": 3},
        {"SIMD": 7, "FABRIC": 3, "CONSTANT": 1},
        {"SIMD": 100},
        {"FABRIC": 1},
    ],
    "fc": [
        {"CHANNELS": 1, "OUT_FEATURES": 1},
        {"POSITIONS": 4, "CHANNELS": 3, "LANES": 2, "PE": 3, "SIMD": 5, **_ROMS},
        {"POSITIONS": 4, "CHANNELS": 3, "LANES": 2, "PE": 3, "SIMD": 5, "INPUT_MAJOR": 1, **_ROMS},
        {"POSITIONS": 4, "CHANNELS": 3, "LANES": 3, "PIXELS": 2, "PE": 10, "SIMD": 12},
        {"OUT_WIDTH": 32, "PE": 4, "SIMD": 3, "ACC_WIDTH": 19, "INPUT_MAJOR": 1},
    ],
    "fold_counter": [{"GROUPS": 3, "CHUNKS": 5}, {"GROUPS": 3, "CHUNKS": 5, "GROUP_INNER": 1}],
    "frame_check": [{"BEATS": 1}, {"BEATS": 5, "WIDTH": 24}],
    "frame_drop": [{"WIDTH": 1}],
    "frame_receive": [{"IMAGE_BYTES": 1}, {"IMAGE_BYTES": 65535}],
    "frame_send": [{"LENGTH_WIDTH": 5}],
    "gated_sum": [{"WIDTH": 1}, {"WIDTH": 7, "SUBTRACT": 1}],
    "image_store": [
        {"IMAGE_BYTES": 4, "BEAT_BYTES": 4, "IDENTITY_FILE": "identity.mem"},
        {"IMAGE_BYTES": 9, "BEAT_BYTES": 3, "IDENTITY_BYTES": 100},
    ],
    "line_buffer": [
        {"GROUPS": 1, "ROWS": 2, "BANKS": 1, "ADDR_WIDTH": 1},
        {"GROUPS": 5, "ROWS": 10, "BANKS": 5, "CHANNELS": 5, "LANES": 2, "ADDR_WIDTH": 4},
        {"GROUPS": 7, "BANKS": 1, "ADDR_WIDTH": 6, "CHANNELS": 2, "PIXELS": 4},
    ],
    "line_memory": [{"DEPTH": 1}, {"DEPTH": 5, "WIDTH": 3}],
    "logit_store": [
        {"CLASSES": 1},
        {"CLASSES": 7, "LOGIT_LANES": 3},
        {"CLASSES": 10, "LOGIT_LANES": 10},
    ],
    "matrix_vector": [
        {"PE": 3, "SIMD": 5, "GROUPS": 4, "CHUNKS": 3, "SHIFT": 4, **_ROMS},
        {"PE": 3, "SIMD": 5, "GROUPS": 4, "CHUNKS": 3, "GROUP_INNER": 1, "OUT_WIDTH": 32},
        {"PIXELS": 2, "PE": 2, "SIMD": 9, "ACC_WIDTH": 22, "SHIFT": 5},
    ],
    "lut_products": [{"COUNT": 5}],
    "maxpool2d": [
        {"CHANNELS": 1, "KERNEL": 1, "STRIDE": 1},
        {"CHANNELS": 5, "LANES": 2, "KERNEL": 3, "STRIDE": 2, "PADDING": 1},
        {"CHANNELS": 5, "KERNEL": 3, "STRIDE": 1, "PADDING": 2},
        {"PIXELS": 4, "FIFO_DEPTH": 7},
    ],
    "pixel_conv2d": [
        {"KERNEL": 1, "OUT_CHANNELS": 1},
        {"IN_CHANNELS": 3, "OUT_CHANNELS": 5, "LANES": 2, "PE": 2, "PADDING": 1, **_ROMS},
        {"IN_CHANNELS": 3, "STRIDE": 2, "OUT_WIDTH": 32, "ACC_WIDTH": 25},
    ],
    "pixel_reader": [
        {"KERNEL": 1},
        {"CHANNELS": 3, "LANES": 2, "KERNEL": 5, "PADDING": 2, "REPEATS": 3},
        {"HEIGHT": 7, "WIDTH": 9, "KERNEL": 7, "STRIDE": 3, "PADDING": 3},
        {"HEIGHT": 1, "WIDTH": 1, "PADDING": 2},
    ],
    "pool_taps": [{"KERNEL": 1}, {"CHANNELS": 5, "LANES": 2, "KERNEL": 3, "PADDING": 1}],
    "pool_tree": [
        {"TAPS": 1},
        {"TAPS": 9, "LANES": 3},
        {"TAPS": 1, "SUM": 1},
        {"TAPS": 16, "LANES": 3, "SUM": 1},
    ],
    "products": [{"COUNT": 5}],
    "requantise": [
        {"SHIFT": 1, "ACC_WIDTH": 9},
        {"SHIFT": 12, "ACC_WIDTH": 20},
        {"SHIFT": 30, "ACC_WIDTH": 16},
        {"ACC_WIDTH": 5},
    ],
    "rom_signature": [{"WIDTH": 16}, {"WIDTH": 24, "DEPTH": 3}, {"WIDTH": 1160, "DEPTH": 9}],
    "running_max": [
        {"KERNEL": 1},
        {"HEIGHT": 7, "WIDTH": 9, "CHANNELS": 5, "LANES": 2},
        {"HEIGHT": 3, "WIDTH": 3, "KERNEL": 3, "CHANNELS": 1, "FIFO_DEPTH": 7},
    ],
    "sliding_window": [
        {"KERNEL": 1},
        {"CHANNELS": 3, "LANES": 2, "KERNEL": 5, "PADDING": 2},
        {"HEIGHT": 7, "WIDTH": 9, "KERNEL": 7, "STRIDE": 3, "PADDING": 3},
        {"PIXELS": 4, "PADDING": 1},
        {"PIXELS": 2, "STRIDE": 2, "KERNEL": 2, "CHANNELS": 4, "LANES": 2},
        {"KERNEL": 5, "CHANNELS": 3, "PACE": 8},
        {"KERNEL": 5, "CHANNELS": 3, "PACE": 28},
        {"KERNEL": 1, "PACE": 4},
        {"KERNEL": 5, "CHANNELS": 3, "PADDING": 2, "LATE": 1},
        {"KERNEL": 5, "CHANNELS": 3, "PACE": 27, "LATE": 1},
    ],
    "sweep_table": [
        {"HEIGHT": 3, "OUT_HEIGHT": 1},
        {"HEIGHT": 7, "OUT_HEIGHT": 3, "KERNEL": 7, "STRIDE": 3, "PADDING": 3, "GROUPS": 9},
    ],
    "timeout": [{"TIMEOUT": 1000}, {"TIMEOUT": 65535}],
    "uart_rx": [{"BAUD_DIVISOR": 9}, {"BAUD_DIVISOR": 1250}],
    "uart_tx": [{"BAUD_DIVISOR": 9}, {"BAUD_DIVISOR": 1250}],
    "vector_buffer": [{"CHUNKS": 5, "REPEATS": 3}, {"CHUNKS": 5}, {"REPEATS": 2, "WIDTH": 24}],
    "weight_rom": [{"FILE": "words.mem"}, {"DEPTH": 1, "FILE": "words.mem"}, {"DEPTH": 5}],
    "window_register": [
        {"LATE": 1},
        {"AHEAD": 0},
        {"AHEAD": 0, "UNIT_BITS": 8, "LATE": 1},
        {"SPAN": 2, "LEFT": 1, "FIRST": 1, "SLIDES": 2, "STEPS": 4, "ROWS": 1},
        {"SPAN": 2, "FIRST": 2, "SLIDE": 3, "SLIDES": 3, "STEPS": 4},
    ],
    "width_converter": [
        {"CHANNELS": 3, "LANES": 2, "SIMD": 5, "POSITIONS": 4},
        {"CHANNELS": 4, "LANES": 2, "PIXELS": 2, "POSITIONS": 4, "SIMD": 3},
        {"CHANNELS": 6, "LANES": 6, "SIMD": 2},
        {"CHANNELS": 6, "LANES": 2, "SIMD": 6},
    ],
}


class Run(NamedTuple):
    """One run of Verilator: what it lints, the top module, its files, other arguments."""

    what: str
    top: str
    sources: list[Path]
    extra: list[str]


def lint(run: Run) -> str:
    """Verilator's complaints; empty where there are none."""
    environment = tools.build_environment("verilator")
    program = shutil.which("verilator", path=environment["PATH"])
    command = [program, "--lint-only", "-Wall", "-Wpedantic", "--language", "1364-2005"]
    # Registers have initial values beside their resets: an FPGA may start without a reset.
    command += ["-Wno-PROCASSINIT"]
    command += [
        "-y",
        str(RTL),
        "-y",
        str(FPGA_RTL),
        "--top-module",
        run.top,
        *run.extra,
        *map(str, run.sources),
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("- ")]
    if done.returncode and not complaints:
        complaints = [f"verilator ended with status {done.returncode}"]
    return "\n".join(complaints)


def _set(parameters: Parameters) -> list[str]:
    return [
        f'-G{name}="{value}"' if isinstance(value, str) else f"-G{name}={value}"
        for name, value in parameters.items()
    ]


def _network(parameters: Parameters) -> list[str]:
    """Arguments that give board_core a stand-in with the same parameters."""
    values = {name: parameters.get(name, default) for name, default in _STAND_IN.items()}
    macros = {f"STAND_IN_{name}": value for name, value in values.items()}
    macros |= {"NETWORK": "stand_in", "STAND_IN_STALL": 0}
    return [str(STAND_IN), *(f"-D{name}={value}" for name, value in macros.items())]


def plan() -> list[Run]:
    """Every module at every set of its parameters, every network, the harness."""
    modules = sorted((*RTL.glob("*.v"), *FPGA_RTL.glob("*.v")), key=lambda path: path.stem)
    unknown = PARAMETERS.keys() - {path.stem for path in modules}
    if unknown:
        raise UserError(
            f"sim/lint.py names modules that are not there: {', '.join(sorted(unknown))}"
        )
    runs = []
    for path in modules:
        for parameters in [{}, *PARAMETERS.get(path.stem, [])]:
            what = " ".join([path.stem, *(f"{k}={v}" for k, v in parameters.items())])
            extra = _network(parameters) if path.stem == "board_core" else []
            runs.append(Run(what, path.stem, [path], [*_set(parameters), *extra]))
    folders = [path.parent for path in sorted(MEM.glob(f"*/{manifest.FILE_NAME}"))]
    for folder in folders:
        name = json.loads((folder / manifest.FILE_NAME).read_text())["name"]
        runs.append(Run(f"network {name}", name, [folder / f"{name}.v"], []))
    # The harness is no synthesisable Verilog: it has delays, files, blocking assignments and a
    # time scale, which rtl/ has not, drops what $fread and $value$plusargs return, and leaves
    # the signature open. It needs a network, whichever.
    for folder in folders[:1]:
        design = Design.read(folder)
        macros = [f"-D{name}={value}" for name, value in design.macros.items()]
        waived = ("BLKSEQ", "PINCONNECTEMPTY", "STMTDLY", "TIMESCALEMOD", "UNUSEDSIGNAL")
        waivers = [f"-Wno-{name}" for name in waived]
        sources = [HARNESS, folder / f"{design.name}.v"]
        runs.append(Run("harness", "harness", sources, ["--timing", *waivers, *macros]))
    return runs


def main() -> int:
    """Lint everything; 1 where anything is complained about."""
    tools.check("verilator")
    runs = plan()
    failures = 0
    with ThreadPoolExecutor(cores()) as executor:
        for run, complaints in zip(runs, executor.map(lint, runs), strict=True):
            if complaints:
                failures += 1
                print(f"{run.what}:\n{complaints}", file=sys.stderr)
    tops = {run.top for run in runs}
    print(f"Verilator -Wall: {len(tops)} modules at {len(runs)} parameter sets, {failures} failed")
    return int(failures > 0)


if __name__ == "__main__":
    os.chdir(ROOT)
    errors.run(main)
