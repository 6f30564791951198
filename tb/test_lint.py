"""`make lint`: what it runs, what it finds, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from random_networks import generator, random_parameters

from model.base.errors import UserError
from model.export import export
from model.network.examples import NETWORKS
from model.network.graph import Network
from model.network.layers import Conv, Linear
from model.network.quantised import QuantisedNetwork
from sim import lint
from sim.design import ROOT

# Sound at 8 bits alone.
ADDER = """
module adder #(parameter WIDTH = 8) (
    input  wire [WIDTH-1:0] a,
    output wire [7:0]       y
);
    assign y = a + 8'd1;
endmodule
"""


@pytest.fixture
def modules(tmp_path, monkeypatch) -> Path:
    """A folder with the module `adder`, in place of rtl/; nothing else is there."""
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "adder.v").write_text(ADDER)
    monkeypatch.setattr(lint, "RTL", tmp_path / "rtl")
    monkeypatch.setattr(lint, "FPGA_RTL", tmp_path / "fpga")
    monkeypatch.setattr(lint, "MEM", tmp_path / "mem")
    monkeypatch.setattr(lint, "PARAMETERS", {"adder": [{"WIDTH": 8}]})
    return tmp_path / "rtl"


def test_a_fault_at_one_parameter_set_is_found(modules, monkeypatch, capsys):
    assert lint.main() == 0
    assert "1 modules at 2 parameter sets, 0 failed" in capsys.readouterr().out
    monkeypatch.setitem(lint.PARAMETERS, "adder", [{"WIDTH": 8}, {"WIDTH": 12}])
    assert lint.main() == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("adder WIDTH=12:\n%Warning-WIDTH")
    assert "3 parameter sets, 1 failed" in shown.out


def test_strings_reach_the_module(modules, monkeypatch, capsys):
    (modules / "adder.v").write_text(
        'module adder #(parameter FILE = "c.mem") (output wire y);\n'
        '    generate if (FILE == "a.mem") begin : gen_named missing_a none(); end endgenerate\n'
        "    assign y = 1'b0;\nendmodule\n"
    )
    monkeypatch.setitem(lint.PARAMETERS, "adder", [{"FILE": "b.mem"}, {"FILE": "a.mem"}])
    assert lint.main() == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("adder FILE=a.mem:\n")
    assert "missing_a" in shown.err
    assert "1 failed" in shown.out


def test_a_module_that_is_gone_is_named(modules):
    (modules / "adder.v").rename(modules / "sum.v")
    with pytest.raises(UserError, match=r"names modules that are not there: adder$"):
        lint.main()


def test_a_verilator_that_says_nothing_has_failed_nonetheless(modules, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "verilator"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(lint.tools, "_verilator_package", lambda: tmp_path)
    assert lint.lint(lint.plan()[0]) == "verilator ended with status 3"


def test_nothing_is_left_out():
    """Every module, also at what is no default, every network, the harness."""
    runs = {run.what: run for run in lint.plan()}
    files = {path.stem for folder in ("rtl", "fpga/rtl") for path in (ROOT / folder).glob("*.v")}
    assert files | {f"network {name}" for name in NETWORKS} | {"harness"} <= runs.keys()
    assert "board_core IMAGE_BYTES=12 BEAT_BYTES=3 CLASSES=5 LOGIT_LANES=2 LAYERS=3" in runs


def test_networks_the_harness_and_boards(tmp_path, seed, monkeypatch):
    """The tops that need more than their own file: all are sound, and a fault in one is found."""
    network = Network("linted", (Conv(2, 3), Linear(3)), (1, 5, 6))
    quantised = QuantisedNetwork(network, random_parameters(generator(seed, "lint"), network))
    export(quantised, tmp_path / "linted")
    monkeypatch.setattr(lint, "MEM", tmp_path)
    tops = {"board_core", "linted", "harness"}
    runs = [run for run in lint.plan() if run.top in tops]
    assert {run.top for run in runs} == tops
    assert [lint.lint(run) for run in runs] == [""] * len(runs)
    top = tmp_path / "linted" / "linted.v"
    top.write_text(top.read_text().replace("endmodule", "    wire nobody;\nendmodule"))
    found = [run.what for run in runs if "nobody" in lint.lint(run)]
    assert found == ["network linted"]


def test_the_command_needs_verilator(tmp_path):
    """From the command line: 2 and one line that says what to install."""
    done = subprocess.run(
        [sys.executable, "-m", "sim.lint"],
        cwd=ROOT,
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: perl is not installed, verilator needs it; install it")
    assert done.stderr.count("\n") == 1
