"""Verilator -Wall on every module alone, with the parameters of its bench, and on every network.

python tb/lint.py
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

import benches
import runner
from benches import Bench
from runner import FPGA_RTL, RTL, spread

from convstream.model.base import errors
from convstream.model.base.places import MEM, PACKAGE
from convstream.model.hardware import manifest
from convstream.sim import tools
from convstream.sim.cluster import cores
from convstream.sim.design import HARNESS, Design

TB = Path(__file__).resolve().parent

MOST_SETS = 8  # of a module, beside its defaults


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


def _arguments(bench: Bench) -> list[str]:
    """Arguments that give a module what it has in a bench: parameters, macros, other files."""
    parameters = runner.verilog_parameters(bench.case)
    return [
        *(f"-G{name}={value}" for name, value in parameters.items()),
        *(f"-D{name}={value}" for name, value in bench.macros.items()),
        *map(str, bench.sources),
    ]


def plan() -> list[Run]:
    """Every module at its defaults and at its bench's parameters, every network, the harness."""
    modules = sorted((*RTL.glob("*.v"), *FPGA_RTL.glob("*.v")), key=lambda path: path.stem)
    found = benches.find()
    runs = []
    for path in modules:
        own = {bench.name: bench for bench in found if bench.top == path.stem}
        # What takes macros of a bench has no defaults for these.
        if not any(bench.macros for bench in own.values()):
            runs.append(Run(path.stem, path.stem, [path], []))
        for name, bench in spread(own, MOST_SETS).items():
            runs.append(Run(f"{path.stem} [{name}]", path.stem, [path], _arguments(bench)))
    folders = [path.parent for path in sorted(MEM.glob(f"*/{manifest.FILE_NAME}"))]
    for folder in folders:
        described = json.loads((folder / manifest.FILE_NAME).read_text())
        name, own = described["name"], manifest.modules(described)
        runs.append(Run(f"network {name}", name, [folder / file for file in own], []))
    # The harness is no synthesisable Verilog: it has delays, files, blocking assignments and a
    # time scale, which rtl/ has not, drops what $fread and $value$plusargs return, and leaves
    # the signature open. It needs a network, whichever.
    for folder in folders[:1]:
        design = Design.read(folder)
        macros = [f"-D{name}={value}" for name, value in design.macros.items()]
        waived = ("BLKSEQ", "PINCONNECTEMPTY", "STMTDLY", "TIMESCALEMOD", "UNUSEDSIGNAL")
        waivers = [f"-Wno-{name}" for name in waived]
        sources = [HARNESS, *(folder / file for file in manifest.modules(design.manifest))]
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
    os.chdir(PACKAGE)
    errors.run(main)
