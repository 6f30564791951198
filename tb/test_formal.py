"""Proofs that take seconds, each with its planted bug; `make formal` runs them all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model.errors import UserError
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


@pytest.mark.parametrize("proof", PROOFS, ids=_name)
def test_bug_still_fits(proof: Proof, tmp_path: Path) -> None:
    text = run.plant(proof.bug, tmp_path).read_text()
    assert text != (run.RTL / proof.bug.file).read_text()


def test_bug_that_fits_no_more(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"skid_buffer.v holds 0 times, not once: nonsense"):
        run.plant(Bug("skid_buffer.v", "nonsense", ""), tmp_path)


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
    monkeypatch.setattr(run, "PROOFS", [Proof("frame_drop", bug)])
    assert run.main() == 1
    monkeypatch.setattr("sys.argv", ["run", "fifo"])
    with pytest.raises(UserError, match="no proof of 'fifo'; there are: frame_drop"):
        run.main()
