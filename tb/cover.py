"""Measure what the tests reach, in Verilog and in Python: `make coverage`.

python tb/cover.py
python tb/cover.py -k axis_fifo

Runs pytest once, but for the tests of boards and the slow ones. The benches of modules then run in
Verilator, which counts lines, branches and toggles of bits; coverage.py counts the branches of
model/ and sim/ in every process that is started. What cannot be reached is left out with its
reason: in CONSTANT below, or in the source. The figures that count are those of rtl/, model/, sim/.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from convstream.model.base import errors
from convstream.model.base.errors import UserError
from convstream.sim import report, tools
from convstream.sim.cluster import cores

TB = Path(__file__).resolve().parent
ROOT = TB.parent

BUILD = ROOT / "build" / "coverage"
COUNTS = BUILD / "verilator"  # one file a simulation
LEAST = {"lines": 99.0, "toggles": 95.0, "python": 95.0}

# Functions that give sizes and tables work while a design is elaborated, never in a simulation.
CONSTANT = re.compile(r"^ *function (integer|.*\b(sweep_word|line_word);)")

_POINT = re.compile(r"C '(.*)' (\d+)$")


@dataclass
class File:
    """What was counted in a Verilog file, over all simulations.

    A line has run if any of its points has. branches and toggles: the arm of a condition, or the
    bit and direction, by line, column and name. constant: lines that are left out.
    """

    constant: set[int]

    lines: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    branches: dict[tuple[int, int, str], int] = field(default_factory=lambda: defaultdict(int))
    toggles: dict[tuple[int, int, str], int] = field(default_factory=lambda: defaultdict(int))

    def figures(self) -> dict[str, tuple[int, int]]:
        """(reached, all) of each kind."""
        kinds = {
            "lines": self.lines.values(),
            "branches": self.branches.values(),
            "toggles": self.toggles.values(),
        }
        return {kind: (sum(map(bool, counts)), len(counts)) for kind, counts in kinds.items()}


def merge(counts: list[Path], sources: list[Path]) -> dict[Path, File]:
    """Add up the files that Verilator wrote, for those of the `sources`.

    A point is a place in the source, whatever the parameters and the instance: it counts as
    reached if any simulation has reached it.
    """
    files = {path: File(_constant(path)) for path in sources}
    for path in counts:
        for line in path.read_text().splitlines():
            match = _POINT.match(line)
            if match:
                _add(files, match[1], int(match[2]))
    return files


def _constant(path: Path) -> set[int]:
    """The lines of constant functions."""
    found: set[int] = set()
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        inside |= bool(CONSTANT.match(line))
        if inside:
            found.add(number)
        inside &= "endfunction" not in line
    return found


def _add(files: dict[Path, File], key: str, count: int) -> None:
    values = dict(part.split("\2", 1) for part in key.split("\1") if part)
    file = files.get(Path(values["f"]))
    if file is None or int(values["l"]) in file.constant:
        return
    point = int(values["l"]), int(values["n"]), values["o"]
    if values["t"] == "toggle":
        file.toggles[point] += count
        return
    if values["t"] == "branch":
        file.branches[point] += count
    for span in filter(None, values.get("S", "").split(",")):
        first, _, last = span.partition("-")
        for line in range(int(first), int(last or first) + 1):
            file.lines[line] += count


def percent(reached: int, size: int) -> float:
    """Of nothing, all is reached."""
    return 100 * reached / size if size else 100.0


def total(files: dict[Path, File]) -> dict[str, tuple[int, int]]:
    """(reached, all) of each kind, over all files."""
    figures = [file.figures() for file in files.values()]
    return {
        kind: tuple(map(sum, zip(*(figure[kind] for figure in figures), strict=True)))
        for kind in ("lines", "branches", "toggles")
    }


def library(files: dict[Path, File]) -> dict[Path, File]:
    """Those of rtl/."""
    return {path: file for path, file in files.items() if path.parent == ROOT / "rtl"}


def page(files: dict[Path, File]) -> str:
    """The sources with their counts, as one HTML page."""
    parts = [
        "<!doctype html><meta charset=utf-8><title>RTL coverage</title>"
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:0 .6em;text-align:right}"
        "td:first-child,th:first-child{text-align:left}pre{line-height:1.3}"
        ".no{background:#fbb}.part{background:#fea}i{color:#888;font-style:normal}</style>"
        "<h1>RTL coverage</h1><table><tr><th>file<th>lines<th>branches<th>toggles"
    ]
    for path, file in files.items():
        cells = "".join(
            f"<td>{percent(*figure):.1f} % <i>of {figure[1]}</i>"
            for figure in file.figures().values()
        )
        parts.append(f"<tr><td><a href='#{path.stem}'>{path.name}</a>{cells}")
    parts.append("</table>")
    for path, file in files.items():
        missed: dict[int, list[str]] = defaultdict(list)
        for points in (file.branches, file.toggles):
            for (line, _, name), count in points.items():
                if not count:
                    missed[line].append(name)
        parts.append(f"<h2 id='{path.stem}'>{path.relative_to(ROOT)}</h2><pre>")
        for number, text in enumerate(path.read_text().splitlines(), 1):
            count = file.lines.get(number)
            kind = "no" if count == 0 else "part" if number in missed else ""
            shown = "" if count is None else f"{count:,}"
            names = ", ".join(missed[number][:20]) + (" ..." if len(missed[number]) > 20 else "")
            note = f"   <i>never: {html.escape(names)}</i>" if names else ""
            parts.append(
                f"<span class='{kind}'><i>{number:4} {shown:>13}</i> {html.escape(text)}</span>"
                f"{note}\n"
            )
        parts.append("</pre>")
    return "".join(parts)


def run_tests(arguments: list[str]) -> int:
    """Run pytest with both kinds of counting; returns its exit status."""
    environment = dict(os.environ, CONVSTREAM_COVERAGE=str(COUNTS))
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest"]
    command += ["-n", "auto", "--dist", "worksteal", "-m", "not slow and not board", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def python_figures() -> dict[str, tuple[int, int]]:
    """(reached, all) lines and branches of each Python package; writes the HTML pages."""
    coverage = [sys.executable, "-m", "coverage"]
    written = BUILD / "python.json"
    for arguments in (["combine", "-q"], ["html", "-q"], ["json", "-q", "-o", str(written)]):
        subprocess.run([*coverage, *arguments], cwd=ROOT, check=True)
    figures: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in json.loads(written.read_text())["files"].items():
        summary = file["summary"]
        own = figures[Path(name).parts[0]]
        own[0] += summary["covered_lines"] + summary["covered_branches"]
        own[1] += summary["num_statements"] + summary["num_branches"]
    return {package: tuple(own) for package, own in sorted(figures.items())}


def print_tables(files: dict[Path, File], python: dict[str, tuple[int, int]]) -> None:
    """A row a Verilog file, and one a Python package."""
    from rich.table import Table

    console = report.console()
    table = Table(title="Verilog, in Verilator")
    table.add_column("file")
    for title in ("lines", "branches", "toggles"):
        table.add_column(title, justify="right")
    rows = [(path.name, file.figures()) for path, file in files.items()]
    for name, figures in [*rows, ("rtl/", total(library(files)))]:
        if any(size for _, size in figures.values()):
            cells = [f"{percent(*figure):.1f} % of {figure[1]}" for figure in figures.values()]
        else:
            cells = ["never simulated", "", ""]
        table.add_row(name, *cells)
    console.print(table)
    table = Table(title="Python, lines and branches")
    table.add_column("package")
    table.add_column("reached", justify="right")
    for name, figure in python.items():
        table.add_row(name, f"{percent(*figure):.1f} % of {figure[1]}")
    console.print(table)


def main() -> int:
    """Run, tell and write; 1 where a test fails, or too little is reached."""
    tools.check("verilator")
    try:
        import coverage  # noqa: F401
    except ImportError:
        raise UserError("coverage is not installed; install it with: make coverage") from None
    shutil.rmtree(BUILD, ignore_errors=True)
    COUNTS.mkdir(parents=True)
    started = time.monotonic()
    failed = run_tests(sys.argv[1:])
    if failed in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        words = " ".join(sys.argv[1:])
        raise UserError(f"pytest found no tests for {words!r}; expected its options, as -k conv2d")
    sources = sorted([*(ROOT / "rtl").glob("*.v"), *(ROOT / "fpga" / "rtl").glob("*.v")])
    files = merge(sorted(COUNTS.glob("*.dat")), sources)
    python = python_figures()
    (BUILD / "rtl.html").write_text(page(files), encoding="utf-8")
    figures = total(library(files))
    report.write_json(
        BUILD / "report.json",
        {
            "chosen": sys.argv[1:],
            "rtl": figures,
            "python": python,
            "seconds": round(time.monotonic() - started, 1),
            "cores": cores(),
        },
    )
    print_tables(files, python)
    print(f"see {BUILD / 'rtl.html'} and {BUILD / 'python' / 'index.html'}")
    enough = all(percent(*figures[kind]) >= LEAST[kind] for kind in ("lines", "toggles"))
    enough &= all(file.lines or file.toggles for file in library(files).values())
    enough &= all(percent(*figure) >= LEAST["python"] for figure in python.values())
    return int(bool(failed) or not enough)


if __name__ == "__main__":
    errors.run(main)
