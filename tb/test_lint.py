"""`make lint`: what it runs, what it finds, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lint
import pytest
from benches import Bench
from random_networks import generator, random_parameters

from convstream.model.base.places import PACKAGE
from convstream.model.export import export
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear

# Sound at 8 bits alone.
ADDER = """
module adder #(parameter WIDTH = 8) (
    input  wire [WIDTH-1:0] a,
    output wire [7:0]       y
);
    assign y = a + 8'd1;
endmodule
"""


def bench(name: str, **parameters) -> Bench:
    """A case of the bench of `adder`."""
    return Bench(__name__, "adder", name, parameters, {}, (), {}, "", ())


@pytest.fixture
def modules(tmp_path, monkeypatch) -> Path:
    """A folder with the module `adder`, in place of rtl/; nothing else is there."""
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "adder.v").write_text(ADDER)
    monkeypatch.setattr(lint, "RTL", tmp_path / "rtl")
    monkeypatch.setattr(lint, "FPGA_RTL", tmp_path / "fpga")
    monkeypatch.setattr(lint, "MEM", tmp_path / "mem")
    monkeypatch.setattr(lint.benches, "find", lambda: [bench("byte", WIDTH=8)])
    return tmp_path / "rtl"


def test_a_fault_at_one_parameter_set_is_found(modules, monkeypatch, capsys):
    assert lint.main() == 0
    assert "1 modules at 2 parameter sets, 0 failed" in capsys.readouterr().out
    both = [bench("byte", WIDTH=8), bench("wide", WIDTH=12)]
    monkeypatch.setattr(lint.benches, "find", lambda: both)
    assert lint.main() == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("adder [wide]:\n%Warning-WIDTH")
    assert "3 parameter sets, 1 failed" in shown.out


def test_strings_reach_the_module(modules, monkeypatch, capsys):
    (modules / "adder.v").write_text(
        'module adder #(parameter FILE = "c.mem") (output wire y);\n'
        '    generate if (FILE == "a.mem") begin : gen_named missing_a none(); end endgenerate\n'
        "    assign y = 1'b0;\nendmodule\n"
    )
    both = [bench("sound", FILE="b.mem"), bench("faulty", FILE="a.mem")]
    monkeypatch.setattr(lint.benches, "find", lambda: both)
    assert lint.main() == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("adder [faulty]:\n")
    assert "missing_a" in shown.err
    assert "1 failed" in shown.out


def test_a_verilator_that_says_nothing_has_failed_nonetheless(modules, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "verilator"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(lint.tools, "verilator_package", lambda: tmp_path)
    assert lint.lint(lint.plan()[0]) == "verilator ended with status 3"


def test_nothing_is_left_out():
    """Every module, also with its bench's parameters, every network, the harness."""
    runs = {run.what: run for run in lint.plan()}
    files = {path.stem for folder in ("rtl", "fpga/rtl") for path in (PACKAGE / folder).glob("*.v")}
    assert files == {run.top for run in runs.values()} - {*NETWORKS, "harness"}
    assert {f"network {name}" for name in NETWORKS} | {"harness", "conv2d"} <= runs.keys()
    assert "-DNETWORK=stand_in" in runs["board_core [small]"].extra
    # What the bench's TRAFFIC adds.
    assert {"-GSIMD=4", '-GWEIGHT_FILE="weight.mem"'} <= {*runs["conv2d [nothing_divides]"].extra}


def test_networks_the_harness_and_boards(tmp_path, seed, monkeypatch):
    """The tops that need more than their own file: all are sound, and a fault in one is found."""
    network = Network.chain("linted", (Conv(2, 3), Linear(3)), (1, 5, 6))
    quantised = power_of_two(network, random_parameters(generator(seed, "lint"), network))
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
        [sys.executable, "tb/lint.py"],
        cwd=PACKAGE,
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: perl is not installed, verilator needs it; install it")
    assert done.stderr.count("\n") == 1
