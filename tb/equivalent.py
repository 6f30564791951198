"""Proves of faults that they change nothing: no bench could find them (see tb/mutate.py).

The sound netlist and the faulty one run side by side, on any inputs; what has no initial value
starts at 0. ABC's IC3 then proves that their outputs never differ, for any number of clocks. What
stands beside a low tvalid is not compared: nobody may look at it. Nor is what follows an image of
another length than those of the module's bench, where the module has a tlast for images, or what
comes before a `restart` and after the module has `expired`, where it has these.

The first attempt takes the module without those inside it that have registers: they may answer
anything, the same on both sides, and what they are given is compared as well. That is more than
needed, but small.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from convstream.fpga import flow
from convstream.model.base.errors import ToolError
from tb.formal.yosys_abc import MODULE

LIMIT_S = 30  # for an attempt; most proofs take a tenth of a second of an idle core
MOST_LATCHES = 2000  # to look for those of both sides that are always equal

FLATTEN = """
{cut}
hierarchy -top {module}
flatten
memory_map
opt_clean
rename {module} {name}
"""
# Ports of what is inside become ports of the module; not of what has no registers.
CUT = "expose -evert {module}/c:*{but}"
# Leaves {attempt}.aig with the one output `differ`.
COMPARE = """
design -reset
read_rtlil sound.il
{mutant}
{flatten}
design -copy-from sound -as sound sound
read_verilog differ.v
hierarchy -top differ
proc
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
write_aiger -zinit {attempt}.aig
"""
# Attempts; the second one is for wide data, which takes two ways side by side.
PROVE = """
read_aiger {attempt}.aig
strash
pdr -T {limit}
write_status {attempt}.first
"""
PROVE_REDUCED = """
read_aiger {attempt}.aig
strash
scorr
write_aiger {attempt}.reduced.aig
pdr -T {limit}
write_status {attempt}.second
"""


# Set from the clock on in which an image is found to have another length.
IMAGES = """
    reg [31:0] count = 0;
    reg        seen = 1'b0;
    wire       move = s_axis_tvalid && \\s_axis_tready.sound ;
    wire       wrong = seen || (move && s_axis_tlast != (count == {last}));
    always @(posedge clk) begin
        seen <= wrong;
        if (move)
            count <= s_axis_tlast ? 0 : count + 1;
        if (rst)
            count <= 0;
    end
"""

# In a module that has no reset but this, nobody looks before, nor once the time is up.
RESTART = """
    reg  restarted = 1'b0;
    wire wrong = !restarted;
    always @(posedge clk)
        restarted <= restart || (restarted && !\\expired.sound );
"""


def find(
    folder: Path, name: str, module: dict, mutants: dict[int, str], beats: int = 0
) -> set[int]:
    """Numbers of the `mutants` (commands for Yosys, by number) that are proved to change nothing.

    folder: where sound.il is. module: what Yosys' JSON says of the module `name`. beats: of every
    image on s_axis; 0 where they may have any number.
    """
    (folder / "stand_in.v").write_text(MODULE)
    proved: set[int] = set()
    inside = {name: cell for name, cell in module["cells"].items() if not name.startswith("$")}
    if any("clk" in cell["connections"] for cell in inside.values()):
        proved = _prove(folder, name, module["ports"], inside, mutants, beats)
    left = {number: mutant for number, mutant in mutants.items() if number not in proved}
    return proved | _prove(folder, name, module["ports"], {}, left, beats)


def _prove(
    folder: Path, module: str, ports: dict, inside: dict, mutants: dict[int, str], beats: int
) -> set[int]:
    """Those of the `mutants` that are proved; with the instances `inside` cut out, if any."""
    if not mutants:
        return set()
    attempts = {number: f"{'alone' if inside else 'whole'}{number}" for number in mutants}
    cut = ""
    if inside:
        plain = {
            cell["type"].split("\\")[-1]
            for cell in inside.values()
            if "clk" not in cell["connections"]
        }
        but = "".join(f" {module}/t:*{kind} %d" for kind in sorted(plain))
        cut = CUT.format(module=module, but=but)
        inside = {name: cell for name, cell in inside.items() if "clk" in cell["connections"]}
    (folder / "differ.v").write_text(_differ(ports, inside, beats))
    sound = FLATTEN.format(cut=cut, module=module, name="sound")
    faulty = FLATTEN.format(cut=cut, module=module, name="faulty")
    script = f"read_rtlil sound.il{sound}design -stash sound\n"
    script += "".join(
        COMPARE.format(mutant=mutants[number], flatten=faulty, attempt=attempt)
        for number, attempt in attempts.items()
    )
    (folder / "compare.ys").write_text(script)
    flow.run("yosys", ["-q", "compare.ys"], folder, "compare.log")
    proofs = ""
    for attempt in attempts.values():
        latches = int((folder / f"{attempt}.aig").read_bytes().split(maxsplit=4)[3])
        ways = PROVE + PROVE_REDUCED if latches <= MOST_LATCHES else PROVE
        proofs += ways.format(attempt=attempt, limit=LIMIT_S)
    (folder / "prove.abc").write_text(proofs)
    # Yosys runs ABC only for a module with logic, and complains that it got none back.
    with contextlib.suppress(ToolError):
        script = "read_verilog stand_in.v; synth -noabc; abc -script prove.abc"
        flow.run("yosys", ["-q", "-p", script], folder, "prove.log")
    return {number for number, attempt in attempts.items() if _proved(folder, attempt)}


def _proved(folder: Path, attempt: str) -> bool:
    statuses = folder / f"{attempt}.first", folder / f"{attempt}.second"
    graphs = folder / f"{attempt}.aig", folder / f"{attempt}.reduced.aig"
    return any(
        path.read_text().startswith("snl_UNSAT") for path in statuses if path.exists()
    ) or any(_never(path) for path in graphs if path.exists())


def _never(graph: Path) -> bool:
    """Whether optimising alone has made the output constant: IC3 then says nothing."""
    header, *lines = graph.read_bytes().split(b"\n")
    latches = int(header.split()[3])
    return lines[latches] == b"0"


def _differ(ports: dict, inside: dict, beats: int) -> str:
    """Verilog: the sound and the faulty module at the same inputs, and whether they differ.

    inside: instances whose ports are ports of the module, named `instance.port`.
    """
    opposite = {"input": "output", "output": "input"}
    directions = {name: port["direction"] for name, port in ports.items()}
    widths = {name: len(port["bits"]) for name, port in ports.items()}
    for instance, cell in inside.items():
        for port, bits in cell["connections"].items():
            directions[f"{instance}.{port}"] = opposite[cell["port_directions"][port]]
            widths[f"{instance}.{port}"] = len(bits)
    outputs = [name for name, direction in directions.items() if direction == "output"]
    inputs = [name for name in directions if name not in outputs]
    lines = [f"    input [{widths[name] - 1}:0] \\{name} ," for name in inputs]
    lines += ["    output differ", ");"]
    for name in outputs:
        lines.append(f"    wire [{widths[name] - 1}:0] \\{name}.sound , \\{name}.faulty ;")
    for side in ("sound", "faulty"):
        pins = [f".\\{name} (\\{name} )" for name in inputs]
        pins += [f".\\{name} (\\{name}.{side} )" for name in outputs]
        lines.append(f"    {side} {side} ({', '.join(pins)});")
    terms = []
    for name in outputs:
        valid = re.sub("_t(data|last|user)$", "_tvalid", name)
        # What is inside may look at more.
        beside = f"\\{valid}.sound && " if valid != name and valid in ports else ""
        terms.append(f"({beside}\\{name}.sound != \\{name}.faulty )")
    if beats:
        lines.append(IMAGES.format(last=beats - 1))
    else:
        lines.append(RESTART if "restart" in ports else "    wire wrong = 1'b0;")
    lines.append(f"    assign differ = !wrong && ({' || '.join(terms)});")
    return "\n".join(["module differ (", *lines, "endmodule", ""])
