"""Graphs of shared sums against NumPy, and their Verilog in a simulator, through lint, mutated."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import lint
import numpy as np
import pytest
from random_networks import generator

from convstream.model.hardware import sums, sums_verilog
from convstream.model.hardware.sharing import share
from convstream.model.hardware.sums import Adder, Term

WIDTH = 32
ROWS = 40  # of inputs
CASES = {
    "int8": (3, 9, 8),
    "one": (1, 1, 8),
    "wide": (4, 25, 8),
    "many_rows": (12, 5, 8),
    "four_bits": (5, 16, 4),
    "twelve_bits": (2, 7, 12),
}


def draw(rng: np.random.Generator, name: str) -> np.ndarray:
    """Weights of full range, with a row of extremes, a zero, repeated, doubled or negative one."""
    outputs, inputs, bits = CASES[name]
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    matrix = rng.integers(low, high + 1, (outputs, inputs))
    for row in range(1, outputs):
        kind = rng.integers(7)
        if kind == 0:
            matrix[row] = rng.choice([low, high, 0], inputs)
        elif kind in (1, 2):
            matrix[row] = (kind - 1) * matrix[row - 1]
        elif kind == 3:
            matrix[row] = -(abs(matrix[row]) | 85)
    matrix[:, rng.random(inputs) < 0.1] = 0
    return matrix


def simulate(folder: Path, module: str, matrix: np.ndarray, latency: int, x: np.ndarray) -> str:
    """What a module puts out, a line for each row of x, which come one a clock."""
    outputs, inputs = matrix.shape
    folder.joinpath("x.mem").write_text("".join(f"{bytes(row)[::-1].hex()}\n" for row in x))
    folder.joinpath("bench.v").write_text(f"""
module bench;
    reg clk = 0;
    reg [{8 * inputs - 1}:0] x, rows [0:{len(x) - 1}];
    wire [{WIDTH * outputs - 1}:0] sum;
    integer i;
    generated dut (.clk(clk), .x(x), .sum(sum));
    initial begin
        $readmemh("x.mem", rows);
        for (i = 0; i < {len(x) + latency}; i = i + 1) begin
            x = rows[i % {len(x)}];
            #1;
            if (i >= {latency}) $display("%h", sum);
            clk = 1; #1; clk = 0; #1;
        end
    end
endmodule
""")
    folder.joinpath("generated.v").write_text(module)
    for command in (
        ["iverilog", "-g2005", "-Wall", "-o", "bench.vvp", "bench.v", "generated.v"],
        ["vvp", "-n", "bench.vvp"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        warnings = [line for line in done.stderr.splitlines() if "timescale" not in line]
        assert not warnings, warnings
    return done.stdout


def expected(matrix: np.ndarray, x: np.ndarray) -> str:
    found = (x.astype(int) @ matrix.T)[:, ::-1] % (1 << WIDTH)
    return "".join("".join(f"{value:08x}" for value in row) + "\n" for row in found)


@pytest.mark.parametrize("name", CASES)
def test_verilog(seed, name, tmp_path):
    """Every sum, each clock, and no complaint of any tool."""
    rng = generator(seed, "sums", name)
    for number in range(4):
        matrix = draw(rng, name)
        graph = share(matrix)
        text = sums_verilog.module("generated", graph, WIDTH, "a matrix")
        x = rng.choice([0, 1, 128, 255, 77], (ROWS, matrix.shape[1])).astype(np.uint8)
        x[:2] = np.array([[0], [255]])
        assert simulate(tmp_path, text, matrix, graph.latency, x) == expected(matrix, x), matrix
        if number == 0:
            run = lint.Run("sums", "generated", [tmp_path / "generated.v"], [])
            assert lint.lint(run) == ""


def test_latency_is_that_of_the_window(seed):
    """The schedule knows it without weights, however many digits these have."""
    rng = generator(seed, "latency")
    for inputs in (1, 2, 4, 9, 16, 25, 64):
        for matrix in (np.full((2, inputs), -85), rng.integers(-128, 128, (3, inputs))):
            graph = share(matrix)
            assert graph.latency == sums.latency(inputs)
            assert max(graph.levels) <= sums.LEVELS * graph.latency


def test_what_costs_nothing(seed):
    """Zeros, and rows that are another one times a power of two."""
    matrix = generator(seed, "free").integers(-128, 128, (3, 9))
    single = share(matrix)
    again = share(np.concatenate([matrix, matrix, 2 * matrix, 0 * matrix]))
    assert again.luts == single.luts
    padded = share(np.hstack([matrix, np.zeros((3, 1), int)]))
    assert padded.luts == single.luts


@pytest.mark.parametrize("shape", [(3, 9), (6, 25)])
def test_shares(seed, shape):
    """Fewer adders than digits less one a row, by a third at least."""
    matrix = generator(seed, "share", str(shape)).integers(-128, 128, shape)
    digits = sum(bin(abs(int(w)) ^ 3 * abs(int(w))).count("1") for w in matrix.flat)
    assert len(share(matrix).adders) < 0.67 * (digits - shape[0])


def test_proof_finds_faults(seed):
    """An adder, an output, a register or a bound that is not as it must be."""
    matrix = generator(seed, "faults").integers(-128, 128, (3, 9))
    graph = share(matrix)
    for index, adder in enumerate(graph.adders):
        first, second = adder
        for wrong in (
            Adder(first, second._replace(shift=second.shift + 1)),
            Adder(first, second._replace(negative=not second.negative)),
            Adder(first, second._replace(node=(second.node + 1) % graph.inputs)),
        ):
            adders = (*graph.adders[:index], wrong, *graph.adders[index + 1 :])
            if wrong != adder:
                with pytest.raises(ArithmeticError, match="has weights"):
                    replace(graph, adders=adders).prove(matrix)
    with pytest.raises(ArithmeticError, match="output 1 has weights"):
        outputs = (graph.outputs[0], None, graph.outputs[2])
        replace(graph, outputs=outputs).prove(matrix)
    with pytest.raises(ArithmeticError, match="too late"):
        replace(graph, latency=graph.latency - 1).prove(matrix)
    narrow = replace(graph)
    narrow.__dict__["widths"] = [width - 1 for width in graph.widths]
    with pytest.raises(ArithmeticError, match="overflows"):
        narrow.prove(matrix)
    negative = Term(graph.outputs[0].node, graph.outputs[0].shift, True)
    with pytest.raises(ArithmeticError, match="output 0 is negative"):
        replace(graph, outputs=(negative, *graph.outputs[1:])).prove(-matrix)


def test_mutants_of_the_text_are_seen(seed, tmp_path):
    """Each adder that subtracts, or the other way about; and sums that come a clock too late."""
    rng = generator(seed, "mutants")
    matrix = rng.integers(-128, 128, (2, 5))
    graph = share(matrix)
    text = sums_verilog.module("generated", graph, WIDTH, "a matrix")
    x = rng.integers(0, 256, (ROWS, 5)).astype(np.uint8)
    wanted = expected(matrix, x)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        swapped = line.replace(" + ", " - ") if " + " in line else line.replace(" - ", " + ")
        if "assign n" in line and swapped != line:
            mutant = "\n".join([*lines[:number], swapped, *lines[number + 1 :], ""])
            assert simulate(tmp_path, mutant, matrix, graph.latency, x) != wanted, line
    assert simulate(tmp_path, text, matrix, graph.latency, x) == wanted
    assert simulate(tmp_path, text, matrix, graph.latency - 1, x) != wanted
