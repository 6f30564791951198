"""The tools that judge the tests: planted faults (mutate.py) and coverage (cover.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import benches
import cover
import equivalent
import mutate
import pytest

from convstream.fpga import flow
from convstream.model.base.errors import UserError


@pytest.fixture
def bench() -> benches.Bench:
    """The bench of the smallest module, as benches.find gives it."""
    import test_axis_fifo

    file = test_axis_fifo.__name__
    parameters = test_axis_fifo.CASES["depth5"]
    return benches.Bench(file, "axis_fifo", "depth5", parameters, {}, (), {}, "bench_stream", ("",))


@pytest.mark.parametrize("weak", [False, True])
def test_a_weak_bench_lets_faults_live(bench, weak, monkeypatch, tmp_path, capsys):
    """Without a look at the data, faults in it survive, and the run fails."""
    if weak:
        bench = replace(bench, chosen=("nothing_to_see",), tests="test_mutate_weak")
        (tmp_path / "test_mutate_weak.py").write_text(
            "import cocotb\n@cocotb.test()\nasync def nothing_to_see(dut): pass\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(mutate, "BUILD", Path(mutate.BUILD) / f"test-{int(weak)}")
    monkeypatch.setattr(benches, "find", lambda: [bench])
    status = mutate.main(["--module", "axis_fifo", "--n", "10", "--workers", "1"])
    report = json.loads((mutate.BUILD / "report.json").read_text())
    (row,) = report["modules"]
    assert row["mutants"] == 10
    assert status == int(weak)
    assert row["killed"] == (0 if weak else 10 - row["equivalent"]) and row["equivalent"] < 3
    assert ("NO REASON" in capsys.readouterr().out) == weak


def test_benches_are_found():
    """With parameters, and with the tests of one netlist brought together."""
    found = benches.find()
    cores = [bench for bench in found if bench.top == "board_core"]
    assert {"axis_fifo", "conv2d", "uart_rx"} <= {bench.top for bench in found}
    assert len(cores) == len({bench.name for bench in cores}) and len(cores[0].chosen) > 1


MUTANT = mutate.Mutant("m", "c", "const0 $mux A 3", "w", "m.v:7", "a ? b : c", "mutate", ("1",))
REASON = {"case": "c", "code": "a ? b : c", "faults": ["inv $mux A 1", "const? $mux A *"]}
REASONS = {"m": [REASON | {"reason": "nobody looks"}]}


def test_a_reason_explains_a_survivor():
    others = [
        replace(MUTANT, fault="inv $mux A 3"),
        replace(MUTANT, code="a"),
        replace(MUTANT, case="d"),
    ]
    found = mutate.explain([MUTANT, *others, replace(MUTANT, fault="inv", killer="t")], REASONS)
    assert [mutant.reason for mutant in found] == ["nobody looks", "", "", "", ""]
    (row,) = mutate.summarise(found)
    assert (row["killed"], row["equivalent"], row["survived"]) == (1, 1, 3)
    assert row["killed_percent"] == 25


def test_a_reason_must_not_be_refuted():
    with pytest.raises(UserError, match="changes nothing, but t failed"):
        mutate.explain([replace(MUTANT, killer="t")], REASONS)


@pytest.mark.parametrize(
    ("kind", "mode", "control", "fits"),
    [
        ("$reduce_or", "cnot1", 1, False),  # where it inverts, the other bit is 1 already
        ("$reduce_or", "cnot0", 1, True),
        ("$reduce_and", "cnot0", 1, False),
        ("$add", "cnot1", 1, True),
        ("$add", "cnot1", 2, False),  # the controlling bit is 0 for ever
        ("$add", "const0", 0, True),
        ("$dff", "inv", 0, True),
    ],
)
def test_faults_that_change_nothing_are_not_planted(kind, mode, control, fits):
    cell = {"type": kind, "connections": {"A": [2, 3, "0"]}}
    assert mutate._fit(cell, mode, "A", 0, control) == fits


def test_what_changes_nothing_is_proved():
    """`never` stays 0 for ever; nobody looks at the data beside a low tvalid; a || a is a.

    Whatever is inside the module, `idle` stays 0 as well, and what data_and is given matters.
    """
    folder = mutate.BUILD / "test-proof"  # YoWASP's programs do not see /tmp
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.v").write_text("""
        module both (input clk, input a, input b, output y);
            assign y = a && b;
        endmodule
        module m (input clk, input a, output reg m_axis_tvalid, output m_axis_tdata);
            reg never = 1'b0;
            initial m_axis_tvalid = 1'b0;
            reg idle = 1'b0;
            wire still, a_again, idle_still;
            both a_and (.clk(clk), .a(a), .b(a), .y(a_again));
            both never_and (.clk(clk), .a(never), .b(a), .y(still));
            both idle_and (.clk(clk), .a(idle), .b(a), .y(idle_still));
            both data_and (.clk(clk), .a(m_axis_tvalid), .b(a), .y(m_axis_tdata));
            always @(posedge clk) begin
                idle <= idle && a;
                never <= still || idle_still;
                m_axis_tvalid <= a_again || never;
            end
        endmodule
    """)
    script = "read_verilog m.v; hierarchy -top m; proc; write_rtlil sound.il; write_json sound.json"
    flow.run("yosys", ["-q", "-p", script], folder, "yosys.log")
    module = json.loads((folder / "sound.json").read_text())["modules"]["m"]
    nothing = ["const0 never_and b", "const1 never_and b", "const1 data_and a", "const1 a_and a"]
    nothing += ["const0 idle_and a"]
    mutants = {}
    for number, fault in enumerate([*nothing, "const0 data_and a"], 1):
        mode, cell, port = fault.split()
        mutants[number] = f"mutate -mode {mode} -module m -cell {cell} -port {port} -portbit 0"
    assert equivalent.find(folder, "m", module, mutants) == {1, 2, 3, 4, 5}
    inside = {name: cell for name, cell in module["cells"].items() if name.endswith("_and")}
    assert equivalent._prove(folder, "m", module["ports"], inside, mutants, 0) == {5}


def test_nobody_looks_once_the_time_is_up():
    """Whether `count` stops there or goes on changes nothing; that it never starts does."""
    folder = mutate.BUILD / "test-restart"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.v").write_text("""
        module same (input a, output y);
            assign y = a;
        endmodule
        module m (input clk, input restart, output expired);
            reg [1:0] count;
            wire stop;
            assign expired = count[1];
            same up (.a(count[1]), .y(stop));
            always @(posedge clk)
                count <= restart ? 2'd0 : stop ? count : count + 2'd1;
        endmodule
    """)
    script = "read_verilog m.v; hierarchy -top m; proc; write_rtlil sound.il; write_json sound.json"
    flow.run("yosys", ["-q", "-p", script], folder, "yosys.log")
    module = json.loads((folder / "sound.json").read_text())["modules"]["m"]
    mutants = {
        number: f"mutate -mode const{number} -module m -cell up -port a -portbit 0"
        for number in (0, 1)
    }
    assert equivalent.find(folder, "m", module, mutants) == {0}


def test_coverage_adds_up(tmp_path):
    """Over simulations and instances; constant functions are left out."""
    source = tmp_path / "m.v"
    source.write_text("module m;\n    function integer f;\n    endfunction\n    x\n    y\n    z\n")

    def point(line: int, kind: str, name: str, lines: str, count: int, instance: str) -> str:
        values = {"f": source, "l": line, "n": 5, "t": kind, "o": name, "S": lines, "h": instance}
        parts = "".join(f"\1{name}\2{value}" for name, value in values.items())
        return f"C '{parts}' {count}\n"

    (tmp_path / "1.dat").write_text(
        point(2, "line", "block", "2-3", 0, "a")
        + point(4, "line", "block", "4,6", 0, "a")
        + point(5, "branch", "if", "5", 0, "a")
        + point(6, "toggle", "z:0->1", "", 0, "a")
    )
    (tmp_path / "2.dat").write_text(
        point(4, "line", "block", "4,6", 3, "b") + point(6, "toggle", "z:0->1", "", 1, "b")
    )
    files = cover.merge([tmp_path / "1.dat", tmp_path / "2.dat"], [source])
    assert files[source].lines == {4: 3, 6: 3, 5: 0}
    assert cover.total(files) == {"lines": (2, 3), "branches": (0, 1), "toggles": (1, 1)}


@pytest.mark.parametrize("arguments", [["tb/no_such_file.py"], ["--no-such-option"]])
def test_coverage_of_no_tests(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(cover, "BUILD", tmp_path)
    monkeypatch.setattr(cover, "COUNTS", tmp_path / "verilator")
    monkeypatch.setattr("sys.argv", ["cover.py", *arguments])
    with pytest.raises(UserError, match=f"pytest found no tests for '{arguments[0]}'; expected"):
        cover.main()
