"""Proofs that take seconds, each with its planted bug; `make formal` runs them all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from convstream.model.base.errors import UserError
from tb.formal import certificate, run
from tb.formal.proofs import PROOFS, Bug, Proof


def _name(proof: Proof) -> str:
    return proof.slug


@pytest.mark.parametrize("proof", [proof for proof in PROOFS if proof.quick], ids=_name)
def test_proof(proof: Proof) -> None:
    assert run.run(proof, planted=False).status == "PASS"
    twin = run.run(proof, planted=True)
    assert twin.status == "FAIL"
    assert twin.detail, "no assertion is named"


def test_every_module_has_a_quick_proof() -> None:
    assert {p.module for p in PROOFS} == {p.module for p in PROOFS if p.quick}


@pytest.mark.parametrize("bug", dict.fromkeys(proof.bug for proof in PROOFS))
def test_bug_still_fits(bug: Bug, tmp_path: Path) -> None:
    text = run.plant(bug, tmp_path).read_text()
    assert text != (run.RTL / bug.file).read_text()


def test_methods_agree() -> None:
    """What IC3 proves, a visit to all states proves too, and finds the same bug."""
    proof = next(proof for proof in PROOFS if proof.module == "axis_fifo")
    assert proof.method == "IC3"
    proof = replace(proof, method="states", parameters=proof.parameters | {"WIDTH": 1})
    right, wrong = run.run(proof, planted=False), run.run(proof, planted=True)
    assert right.status == "PASS"
    assert right.detail.endswith(" states")
    assert wrong.status == "FAIL"
    assert wrong.detail == run.run(replace(proof, method="IC3"), planted=True).detail


def test_bug_that_fits_no_more(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"axis_fifo.v holds 0 times, not once: nonsense"):
        run.plant(Bug("axis_fifo.v", "nonsense", ""), tmp_path)


def test_certificate_of_less(tmp_path: Path) -> None:
    """The assertions alone are no invariant, nor is one that excludes the start."""
    proof = next(p for p in PROOFS if p.module == "axis_fifo")
    assert run.run(proof, planted=False).status == "PASS"
    folder = tmp_path / "proof"
    shutil.copytree(run.BUILD / proof.slug / "proof", folder)
    path = folder / "engine_0" / "invariants.pla"
    lines = path.read_text().splitlines()
    cubes = [i for i, line in enumerate(lines) if line.startswith(tuple("01-"))]
    assert certificate.check(folder, run.environment())

    path.write_text("\n".join(line for i, line in enumerate(lines) if i not in cubes))
    assert not certificate.check(folder, run.environment())

    path.write_text("\n".join([*lines, lines[cubes[0]].replace("1", "0")[:-1] + "1"]))
    assert not certificate.check(folder, run.environment())


@pytest.mark.parametrize("content", [b"aag 0 0 0 0 0\n", b"aig 1 0 1 0 0 1 0 0 0\n0 1\n0\n"])
def test_unexpected_aiger(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "design.aig"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        certificate.Aiger.read(path)


@pytest.mark.parametrize(
    ("body", "verdict", "way"),
    [
        ("reg [1:0] n = 0; always @(posedge clk) n <= n + go; assert (n != 3);", "FAIL", "1110"),
        (
            "reg [1:0] n = 0; always @(posedge clk) n <= n + (go && !n[1]); assert (n != 3);",
            "3",
            "",
        ),
        ("reg [5:0] n = 0; always @(posedge clk) n <= n + go; assert (n != 63);", "UNKNOWN", ""),
        # What nobody sets may be anything, at power-up and from outside.
        ("reg a = 0; always @(posedge clk) a <= a; assert (!a);", "1", ""),
        ("reg a; always @(posedge clk) a <= a; assert (!a);", "FAIL", ""),
        ("reg a; always @(posedge clk) a <= go; assert (!a);", "FAIL", ""),
        ("reg a = 0; always @(posedge clk) a <= unknown; assert (!a);", "FAIL", ""),
        ("reg a = 0; always @(posedge clk) a <= go; assume (!go); assert (!a);", "1", ""),
        # Unknowns that differ are not known to: it errs on the safe side.
        ("reg a = 0, b = 1; always @(posedge clk) {a, b} <= {go, !go}; assert (a != b);", "2", ""),
        (
            "reg a = 0, b = 1; always @(posedge clk) {a, b} <= {unknown, !unknown};"
            "assert (a != b);",
            "FAIL",
            "",
        ),
        # A reset may come at any time, and leaves what it does not set unknown.
        ("reg a = 0; always @(posedge clk) a <= a || rst; assert (!a);", "FAIL", ""),
        ("reg a = 0; always @(posedge clk) a <= go && !rst; assert (!a);", "FAIL", "10"),
        ("reg a = 1; always @(posedge clk) a <= a || rst; assert (a);", "1", ""),
        ("reg a = 0; always @(posedge clk) a <= a && !rst; assert (!a);", "1", ""),
        ("reg [1:0] a = 0; always @(posedge clk) a <= {a[1], rst}; assert (!a[1]);", "FAIL", ""),
        ("assert (!rst);", "ERROR", ""),
    ],
)
def test_visit(body: str, verdict: str, way: str, tmp_path: Path) -> None:
    registers, *properties = body.partition("assume" if "assume" in body else "assert")
    (tmp_path / "top.v").write_text(
        f"module top(input clk, input go{', input rst' * ('rst' in body)});\n"
        f"(* anyseq *) wire unknown;\n{registers}\n"
        f"always @* begin {''.join(properties)} end\nendmodule\n"
    )
    design = "read_verilog -formal ../top.v\nprep -flatten -top top\n"
    status, detail = run.visit(design, tmp_path / "visit", {}, most=20)
    if verdict.isdecimal():
        assert (status, detail) == ("PASS", f"{verdict} states")
    else:
        assert status == verdict
    if status == "FAIL":
        assert detail == "top.v:4"
    if way:
        clocks = (tmp_path / "visit" / "states.txt").read_text().splitlines()[1:]
        assert clocks == [f"go={value}" for value in way]


def test_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PROGRAMS", ("no-such-program",))
    with pytest.raises(UserError, match="no-such-program is not installed; install it with: pip"):
        run.environment()


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["run", "frame_drop"])
    assert run.main() == 0
    assert "1 proofs and their twins, 0 failed" in capsys.readouterr().out
    # A twin that proves is as wrong as a proof that does not.
    bug = Bug("frame_drop.v", "// SPDX", "// spdx")
    monkeypatch.setattr(run, "PROOFS", [Proof("frame_drop", "IC3", bug)])
    assert run.main() == 1
    monkeypatch.setattr("sys.argv", ["run", "fifo"])
    with pytest.raises(UserError, match="no proof of 'fifo'; there are: frame_drop"):
        run.main()
