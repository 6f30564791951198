"""Plant faults in each module's netlist and see whether its own bench finds them: `make mutate`.

python tb/mutate.py
python tb/mutate.py --module axis_fifo,conv2d --n 300 --seed 7,8

Yosys turns a module with the parameters of a case of its bench into a netlist, and plants single
faults in the module's own cells: an input or output bit that is inverted, stuck, or disturbed by
another one. The cells of a part that has no bench of its own count as those of the modules that
instantiate it. An input `mutant` selects the fault, so that one compilation serves all of them.
The tests of that case then run on each fault until one fails. A fault that none of them notices
survives. Either it is proved to change nothing (tb/equivalent.py), or it needs a test, or a reason
in tb/mutants.toml why it changes nothing that matters.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import subprocess
import time
import tomllib
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

# One core a simulator: more threads would only fight each other. Inherited by the simulators.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import benches
import equivalent
from benches import Bench
from runner import FPGA_RTL, QUICK_START, RTL, prepare, source, spread, traffic_of

from convstream.fpga import flow
from convstream.model.base import errors
from convstream.model.base.errors import ToolError, UserError
from convstream.sim import report, tools
from convstream.sim.cluster import cores

TB = Path(__file__).resolve().parent

BUILD = TB.parent / "build" / "mutate"
REASONS = TB / "mutants.toml"
LEAST_KILLED = 95.0
PROVED = "proved to change nothing"

MUTANTS = 40  # a module
MOST_CASES = 8  # of a bench

# Cases in which most of a module is constant, a ROM's only word for example, so that most faults
# change nothing, and those that take ten times as long as others.
LEFT_OUT = {
    "argmax": ("one_class", "one_beat", "lanes_beyond_the_classes"),
    "clamp_code": ("one_code",),
    "conv2d": ("all_at_once", "many_channels"),
    "fc": tuple(
        f"{name}{major}"
        for name in ("one_input_one_output", "all_at_once")
        for major in ("", "_input_major")
    ),
    "matrix_vector": ("one_of_each", "one_fold", "one_group", "one_group_group_inner"),
    "requantise": ("shift_all", "shift_beyond", "one_bit", "narrower_than_the_output"),
    "rom_signature": ("one_short_word",),
    "scale_round": ("half_up", "half_up_narrow"),
    "uart_rx": ("divisor104",),
    "uart_tx": ("divisor104",),
    "weight_rom": ("one_word", "no_file"),
    "width_converter": ("one_byte", "one_byte_wide_lanes"),
}

# The optimisations take out what nobody can see: bits that are constant, and cells that nothing
# reads. A fault there would survive any test. A $pmux has no meaning where a fault sets two of its
# selecting bits, a tree of multiplexers has.
LIST = """
read_verilog {macros} {sources}
{chparams}
hierarchy -check -top {top} -libdir {rtl} -libdir {fpga_rtl}
rename -top {top}
proc
{parts}
flatten -noscopeinfo
setattr -mod -unset keep_hierarchy *
opt -full
pmuxtree
wreduce
opt -full
opt_clean -purge
write_rtlil sound.il
write_json sound.json
"""
CHOOSE = "mutate -list {count} -seed {number} -module {module} -o {seed}.txt\n"
PLANT = """
read_rtlil sound.il
{mutants}
write_verilog -noattr netlist.v
"""


@dataclass(frozen=True)
class Mutant:
    """A fault, and what became of it.

    fault: kind, cell type, port and bit, as `const0 $mux S 0`. where, code: the source of the cell.
    killer: the test that noticed it, or `time` or `crash`; empty where it survived.
    reason: why it changes nothing, where it survived. command: plants it, in Yosys. seeds: those
    that chose it.
    """

    module: str
    case: str
    fault: str
    wire: str
    where: str
    code: str
    command: str
    seeds: tuple[str, ...]
    killer: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """A case of a module's bench, and how many mutants it gets for each of the seeds.

    tested: the modules that have a bench.
    """

    bench: Bench
    count: int
    seeds: tuple[str, ...]
    tested: frozenset[str]


def jobs(module: str, found: list[Bench], count: int, seeds: tuple[str, ...]) -> list[Job]:
    """Several cases of a module's bench, which share its `count` mutants."""
    own = [bench for bench in found if bench.top == module]
    tested = frozenset(bench.top for bench in found)
    left_out = LEFT_OUT.get(module, ())
    cases = {bench.name: bench for bench in own if bench.name not in left_out}
    chosen = list(spread(cases, MOST_CASES).values())
    shares = [(count + index) // len(chosen) for index in range(len(chosen))]
    return [
        Job(bench, share, seeds, tested)
        for bench, share in zip(chosen, reversed(shares), strict=True)
        if share
    ]


def run(job: Job, reasons: dict[str, list[dict]]) -> list[Mutant]:
    """Make the netlist, plant its faults, run the bench on each, explain what survives."""
    bench = job.bench
    folder = BUILD / bench.top / bench.name
    parameters = prepare(folder, bench.case, bench.files)
    traffic = traffic_of(bench.case)
    module = _synthesise(bench, folder, parameters, job.tested)
    mutants = _plant(job, folder, module["cells"])
    if not mutants:
        return []  # with these parameters the module has no cells
    (folder / "mutants.json").write_text(json.dumps(len(mutants)))
    _simulate(bench, folder)
    baseline = _killer(folder, 0)
    if baseline:
        raise ToolError(f"{baseline} fails without any fault")
    mutants = [
        replace(mutant, killer=_killer(folder, number)) for number, mutant in enumerate(mutants, 1)
    ]
    mutants = explain(mutants, reasons)
    unexplained = {
        number: mutant.command
        for number, mutant in enumerate(mutants, 1)
        if not mutant.killer and not mutant.reason
    }
    beats = traffic.source.beats if traffic and "s_axis_tlast" in module["ports"] else 0
    proved = equivalent.find(folder, bench.top, module, unexplained, beats)
    return [
        replace(mutant, reason=PROVED) if number in proved else mutant
        for number, mutant in enumerate(mutants, 1)
    ]


def _synthesise(bench: Bench, folder: Path, parameters: dict, tested: frozenset[str]) -> dict:
    """Write sound.il; returns what Yosys' JSON says of the module."""
    script = LIST.format(
        top=bench.top,
        macros=" ".join(f"-D{key}={value}" for key, value in bench.macros.items()),
        sources=" ".join(
            flow.relative(path, folder) for path in (*bench.sources, *source(bench.top))
        ),
        rtl=flow.relative(RTL, folder),
        fpga_rtl=flow.relative(FPGA_RTL, folder),
        parts="\n".join(
            f"setattr -mod -set keep_hierarchy 1 A:src=*{path.name}:*"
            if path.stem in tested
            # A cell's source is its own line, not that of the instance that it is in.
            else f"setattr -unset src t:*{path.stem}*"
            for folder in (RTL, FPGA_RTL)
            for path in sorted(folder.glob("*.v"))
        ),
        chparams="\n".join(
            f"chparam -set {key} {value} {bench.top}" for key, value in parameters.items()
        ),
    )
    _yosys(script, folder)
    return json.loads((folder / "sound.json").read_text())["modules"][bench.top]


def _plant(job: Job, folder: Path, cells: dict) -> list[Mutant]:
    """Write netlist.v with `job.count` faults at most for a seed, numbered from 1; returns them."""
    top = job.bench.top
    script = "read_rtlil sound.il\n"
    for seed in job.seeds:
        number = zlib.crc32(f"{seed}/{top}/{job.bench.name}".encode()) % 2**31
        # Some are left out.
        count = 2 * job.count + 20
        script += CHOOSE.format(count=count, number=number, module=top, seed=seed)
    _yosys(script, folder)
    chosen: dict[str, list[str]] = {}
    for seed in job.seeds:
        lines = (folder / f"{seed}.txt").read_text().splitlines()
        fit = [line for line in lines if _fits(line, cells)]
        for line in fit[: job.count]:
            chosen.setdefault(line, []).append(seed)
    found = [_mutant(job, folder, line, cells, seeds) for line, seeds in chosen.items()]
    numbered = [
        f"{mutant.command} -ctrl mutant 16 {number}" for number, mutant in enumerate(found, 1)
    ]
    _yosys(PLANT.format(mutants="\n".join(numbered)), folder)
    return found


def _options(line: str) -> dict[str, str]:
    """What a line of Yosys' list says of a fault."""
    return dict(re.findall(r"-(mode|cell|port|portbit|ctrlbit|wire) (\S+)", line))


def _mutant(job: Job, folder: Path, line: str, cells: dict, seeds: list[str]) -> Mutant:
    """The fault that a line of Yosys' list plants."""
    options = _options(line)
    cell = cells[options["cell"].removeprefix("\\")]
    mode, port, bit = options["mode"], options["port"].removeprefix("\\"), options["portbit"]
    by = [f"by {options['ctrlbit']}"] if "ctrlbit" in options else []
    where = code = ""
    # The last -src is that of the cell, or else of its wire; what the optimiser made has none.
    sources = re.findall(r"-src (\S+?):(\d+)\.(\d+)-(\d+)\.(\d+)", line)
    if sources:
        path, *span = sources[-1]
        row, start, end_row, end = map(int, span)
        text = (folder / path).read_text().splitlines()[row - 1]
        where = f"{Path(path).name}:{row}"
        code = text[start - 1 : end - 1 if row == end_row else None].strip()
    return Mutant(
        job.bench.top,
        job.bench.name,
        " ".join([mode, cell["type"], port, bit, *by]),
        options.get("wire", "").removeprefix("\\"),
        where,
        code,
        line,
        tuple(seeds),
    )


def _fits(line: str, cells: dict) -> bool:
    """Whether the fault of a line can be planted, and makes another function of the cell."""
    options = _options(line)
    cell = cells[options["cell"].removeprefix("\\")]
    bit = int(options["portbit"])
    control = int(options.get("ctrlbit", bit))
    return _fit(cell, options["mode"], options["port"].removeprefix("\\"), bit, control)


def _fit(cell: dict, mode: str, port: str, bit: int, control: int) -> bool:
    """Whether a fault can be planted, and makes another function of the cell."""
    kind, bits = cell["type"], cell["connections"][port]
    constant = isinstance(bits[bit], str)
    # What selects a fault would delay a clock, and so upset the order of events, or stand between a
    # register and its initial value. What a memory starts with must be constant, and so must the
    # enable of one that reads without a clock.
    if port.upper().endswith("CLK") or kind.startswith("$meminit"):
        return False
    if kind == "$memrd" and constant:
        return False
    if port == "Q" and "dff" in kind:
        return False
    if bits[bit] == mode.removeprefix("const"):
        return False
    if not mode.startswith("cnot"):
        return True
    # The bit is inverted where the controlling bit is `level`.
    level = mode.removeprefix("cnot")
    if isinstance(bits[control], str):
        return bits[control] == level
    # There the controlling bit may settle the result alone.
    if kind in ("$reduce_or", "$reduce_bool", "$logic_not", "$logic_and", "$logic_or"):
        return level == "0" or port == "Y"
    if kind == "$reduce_and":
        return level == "1" or port == "Y"
    if kind in ("$eq", "$ne") and port in "AB":
        other = cell["connections"]["B" if port == "A" else "A"]
        return control >= len(other) or other[control] not in ("0", "1") or other[control] == level
    return True


def _yosys(script: str, folder: Path) -> None:
    (folder / "script.ys").write_text(script)
    flow.run("yosys", ["-q", "script.ys"], folder, "yosys.log")


def _simulate(bench: Bench, folder: Path) -> None:
    """Run the bench on the netlist; the result on mutant n is in <n>.xml."""
    from cocotb_tools import config

    netlist = folder / "netlist.v"
    netlist.write_text("`timescale 1ns / 1ps\n" + netlist.read_text())
    environment = tools.cocotb_environment(
        f"mutants,{bench.tests}", bench.top, folder / "results.xml"
    )
    if all(bench.chosen):
        environment["COCOTB_TEST_FILTER"] = "|".join(bench.chosen)
    environment["PYTHONPATH"] = f"{TB}{os.pathsep}{environment['PYTHONPATH']}"
    environment |= {"COCOTB_MAX_FAILURES": "1", **QUICK_START}
    library = str(config.lib_name_path("vpi", "icarus"))
    with (folder / "icarus.log").open("wb") as log:
        for command in (
            ["iverilog", "-g2005", "-s", bench.top, "-o", "netlist.vvp", "netlist.v"],
            ["vvp", "-n", "-m", library, "netlist.vvp", "-none"],
        ):
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode:
                raise ToolError(f"{command[0]} failed (log: {log.name})")


def _killer(folder: Path, number: int) -> str:
    """The test that failed on a mutant; empty if all passed."""
    results = folder / f"{number}.xml"
    if not results.exists():
        return "crash"
    if not results.stat().st_size:
        return "time"
    tests = list(ElementTree.parse(results).iter("testcase"))
    failed = [
        test.get("name") for test in tests if len([*test.iter("failure"), *test.iter("error")])
    ]
    return failed[0] if failed else "" if tests else "crash"


def explain(mutants: list[Mutant], reasons: dict[str, list[dict]]) -> list[Mutant]:
    """Add the reasons to the survivors. Raises `UserError` where a mutant with one was killed."""
    explained = []
    for mutant in mutants:
        found = [
            reason["reason"]
            for reason in reasons.get(mutant.module, ())
            if reason.get("case", mutant.case) == mutant.case
            and mutant.code == reason["code"]
            and any(fnmatch.fnmatchcase(mutant.fault, fault) for fault in reason["faults"])
        ]
        if found and mutant.killer:
            raise UserError(
                f"{REASONS.name} says of {mutant.where} ({mutant.fault}) that it changes nothing, "
                f"but {mutant.killer} failed [{mutant.case}]; mend the entry: {found[0]}"
            )
        explained.append(replace(mutant, reason=found[0] if found else ""))
    return explained


def summarise(mutants: list[Mutant]) -> list[dict]:
    """A row a module; `killed_percent` is of the mutants that change anything."""
    rows = []
    for module in dict.fromkeys(mutant.module for mutant in mutants):
        own = [mutant for mutant in mutants if mutant.module == module]
        killed = sum(bool(mutant.killer) for mutant in own)
        equivalent = sum(bool(mutant.reason) for mutant in own)
        rows.append(
            {
                "module": module,
                "mutants": len(own),
                "killed": killed,
                "equivalent": equivalent,
                "survived": len(own) - killed - equivalent,
                "killed_percent": 100 * killed / max(1, len(own) - equivalent),
            }
        )
    return rows


def print_table(rows: list[dict], mutants: list[Mutant]) -> None:
    """Survivors one by one, then a row a module."""
    from rich.table import Table

    console = report.console()
    for mutant in mutants:
        if not mutant.killer:
            console.print(
                f"survived: {mutant.where} [{mutant.case}]: {mutant.fault} ({mutant.wire}): "
                f"{mutant.code}: {mutant.reason or 'NO REASON'}",
                markup=False,
                highlight=False,
            )
    table = Table(title="single faults in the netlist of each module, against its own bench")
    table.add_column("module")
    for title in ("mutants", "killed", "equivalent", "survived", "killed of those that matter"):
        table.add_column(title, justify="right")
    for row in rows:
        colour = "green" if row["killed_percent"] >= LEAST_KILLED else "bold red"
        table.add_row(
            row["module"],
            *(str(row[key]) for key in ("mutants", "killed", "equivalent", "survived")),
            f"[{colour}]{row['killed_percent']:.1f} %[/]",
        )
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    """Run; 1 where too many mutants of a module survive."""
    modules = sorted(path.stem for folder in (RTL, FPGA_RTL) for path in folder.glob("*.v"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", default="all", help="comma-separated (default: all)")
    parser.add_argument("--n", type=int, default=MUTANTS, help="mutants a module")
    parser.add_argument("--seed", default="1", help="which faults; comma-separated (default: 1)")
    parser.add_argument("--workers", type=int, default=cores(), help="simulators at once")
    options = parser.parse_args(argv)
    chosen = modules if options.module == "all" else options.module.split(",")
    unknown = [name for name in chosen if name not in modules]
    if unknown:
        raise UserError(f"no module {unknown[0]!r}; expected one of {', '.join(modules)}")
    if not 1 <= options.n <= 10_000:
        raise UserError(f"{options.n} mutants; expected 1 to 10000")
    seeds = tuple(dict.fromkeys(options.seed.split(",")))
    tools.check("icarus")
    flow.check_tools()
    print(f"{options.n} mutants a module and seed, seed {options.seed}", flush=True)

    found_benches = benches.find()
    tops = {bench.top for bench in found_benches}
    untested = [module for module in chosen if module not in tops]
    if untested:
        print(f"without a bench, so parts of what instantiates them: {', '.join(untested)}")
    todo = [
        job
        for module in chosen
        if module not in untested
        for job in jobs(module, found_benches, options.n, seeds)
    ]
    reasons = tomllib.loads(REASONS.read_text())
    mutants: list[Mutant] = []
    problems = []
    started = time.monotonic()
    with ThreadPoolExecutor(options.workers) as executor:
        futures = [executor.submit(run, job, reasons) for job in todo]
        for number, (job, future) in enumerate(zip(todo, futures, strict=True), 1):
            try:
                found = future.result()
                said = f"{sum(bool(mutant.killer) for mutant in found)} of {len(found)} killed"
                mutants += found
            except (ToolError, UserError) as error:
                said = f"{error}"
                problems.append(said)
            print(
                f"{time.monotonic() - started:6.0f} s  {number}/{len(todo)}  {job.bench.top} "
                f"[{job.bench.name}]: {said}",
                flush=True,
            )
    rows = summarise(mutants)
    report.write_json(
        BUILD / "report.json",
        {"seed": options.seed, "modules": rows, "mutants": [asdict(mutant) for mutant in mutants]},
    )
    print_table(rows, mutants)
    return int(bool(problems) or any(row["killed_percent"] < LEAST_KILLED for row in rows))


if __name__ == "__main__":
    errors.run(main)
