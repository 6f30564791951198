"""Proves of faults that they change nothing: no bench could find them (see tb/mutate.py).

The sound netlist and the faulty one run side by side, on any inputs; what has no initial value
starts at 0. ABC's IC3 then proves that their outputs never differ, for any number of clocks. What
stands beside a low tvalid is not compared: nobody may look at it.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from fpga import flow
from model.errors import ToolError
from tb.formal.yosys_abc import MODULE

LIMIT_S = 10  # for an attempt; most proofs take a tenth of a second
MOST_LATCHES = 2000  # to look for those of both sides that are always equal

FLATTEN = """
hierarchy -top {module}
flatten
memory_map
opt_clean
rename {module} {name}
"""
# Leaves 1.aig, 2.aig, ... with the one output `differ`.
COMPARE = """
design -reset
read_rtlil sound.il
{mutant}
{flatten}
design -copy-from sound -as sound sound
read_verilog differ.v
hierarchy -top differ
flatten
setundef -undriven -init -zero
setundef -zero
dffunmap
opt -full
techmap
opt -full
dffunmap
simplemap
aigmap
opt_clean
write_aiger -zinit {number}.aig
"""
# Attempts; the second one is for wide data, which takes two ways side by side.
PROVE = """
read_aiger {number}.aig
strash
pdr -T {limit}
write_status {number}.first
"""
PROVE_REDUCED = """
read_aiger {number}.aig
strash
scorr
write_aiger {number}.reduced.aig
pdr -T {limit}
write_status {number}.second
"""


def find(folder: Path, module: str, ports: dict, mutants: dict[int, str]) -> set[int]:
    """Numbers of the `mutants` (commands for Yosys, by number) that are proved to change nothing.

    folder: where sound.il is. ports: those of `module`, as Yosys writes them into JSON.
    """
    if not mutants:
        return set()
    (folder / "differ.v").write_text(_differ(ports))
    (folder / "stand_in.v").write_text(MODULE)
    sound = FLATTEN.format(module=module, name="sound")
    faulty = FLATTEN.format(module=module, name="faulty")
    script = f"read_rtlil sound.il{sound}design -stash sound\n"
    script += "".join(
        COMPARE.format(mutant=mutant, flatten=faulty, number=number)
        for number, mutant in mutants.items()
    )
    (folder / "compare.ys").write_text(script)
    flow.run("yosys", ["-q", "compare.ys"], folder, "compare.log")
    proofs = ""
    for number in mutants:
        latches = int((folder / f"{number}.aig").read_bytes().split(maxsplit=4)[3])
        attempts = PROVE + PROVE_REDUCED if latches <= MOST_LATCHES else PROVE
        proofs += attempts.format(number=number, limit=LIMIT_S)
    (folder / "prove.abc").write_text(proofs)
    # Yosys runs ABC only for a module with logic, and complains that it got none back.
    with contextlib.suppress(ToolError):
        script = "read_verilog stand_in.v; synth -noabc; abc -script prove.abc"
        flow.run("yosys", ["-q", "-p", script], folder, "prove.log")
    return {number for number in mutants if _proved(folder, number)}


def _proved(folder: Path, number: int) -> bool:
    statuses = folder / f"{number}.first", folder / f"{number}.second"
    graphs = folder / f"{number}.aig", folder / f"{number}.reduced.aig"
    return any(
        path.read_text().startswith("snl_UNSAT") for path in statuses if path.exists()
    ) or any(_never(path) for path in graphs if path.exists())


def _never(graph: Path) -> bool:
    """Whether optimising alone has made the output constant: IC3 then says nothing."""
    header, *lines = graph.read_bytes().split(b"\n")
    latches = int(header.split()[3])
    return lines[latches] == b"0"


def _differ(ports: dict) -> str:
    """Verilog: the sound and the faulty module at the same inputs, and whether they differ."""
    widths = {name: len(port["bits"]) for name, port in ports.items()}
    outputs = [name for name, port in ports.items() if port["direction"] == "output"]
    inputs = [name for name in ports if name not in outputs]
    lines = [f"    input [{widths[name] - 1}:0] {name}," for name in inputs]
    lines += ["    output differ", ");"]
    for name in outputs:
        lines.append(f"    wire [{widths[name] - 1}:0] {name}_sound, {name}_faulty;")
    for side in ("sound", "faulty"):
        pins = [f".{name}({name})" for name in inputs]
        pins += [f".{name}({name}_{side})" for name in outputs]
        lines.append(f"    {side} {side} ({', '.join(pins)});")
    terms = []
    for name in outputs:
        valid = re.sub("_t(data|last|user)$", "_tvalid", name)
        beside = f"{valid}_sound && " if valid != name and valid in outputs else ""
        terms.append(f"({beside}{name}_sound != {name}_faulty)")
    lines.append(f"    assign differ = {' || '.join(terms)};")
    return "\n".join(["module differ (", *lines, "endmodule", ""])
