"""A constant matrix times a vector of bytes as a graph of additions in clocks, and its proof.

model/hardware/sharing.py finds such graphs, model/hardware/sums_verilog.py writes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

LEVELS = 3  # additions in a row between two registers
BYTE = 255  # the greatest input


class Term(NamedTuple):
    """Node `node` times 2**shift, or minus that."""

    node: int
    shift: int
    negative: bool = False


class Adder(NamedTuple):
    """The sum of two terms, of which at most one is shifted and at most one is negative."""

    first: Term
    second: Term


def depth(terms: int) -> int:
    """Additions in a row of a tree of so many terms."""
    return (terms - 1).bit_length()


def deepest(window: int, bits: int = 8) -> int:
    """Additions in a row that suffice for `window` inputs with int weights of so many bits.

    Such a weight has at most (bits + 1) // 2 digits; there is one more where all are negative.
    """
    return depth(window * ((bits + 1) // 2) + 1)


def latency(window: int, bits: int = 8) -> int:
    """Clocks from inputs to sums of `window` products."""
    return math.ceil(deepest(window, bits) / LEVELS)


@dataclass(frozen=True)
class Sums:
    """A graph of adders. Its nodes are the inputs, 0 to inputs - 1, and then the adders.

    outputs: the term that each is, which is not negative; None: 0. latency: clocks from inputs to
    outputs. levels: of each node, 0 for an input; an adder's is higher than its operands'. After
    every LEVELS of them there is a register.
    """

    inputs: int
    adders: tuple[Adder, ...]
    outputs: tuple[Term | None, ...]
    latency: int
    levels: tuple[int, ...]

    @cached_property
    def coefficients(self) -> list[np.ndarray]:
        """Of each node, those of the inputs: int64 (inputs,)."""
        found = list(np.eye(self.inputs, dtype=np.int64))
        for first, second in self.adders:
            found.append(times(found, first) + times(found, second))
        return found

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """Of each node, its least and greatest value."""
        return [span(coefficients) for coefficients in self.coefficients]

    @cached_property
    def widths(self) -> list[int]:
        """Of each node, the bits that its values need."""
        return [width(*ends) for ends in self.ranges]

    def signed(self, node: int) -> bool:
        """Whether a node has negative values."""
        return self.ranges[node][0] < 0

    def clock(self, node: int) -> int:
        """Registers before a node."""
        return max(0, self.levels[node] - 1) // LEVELS

    @cached_property
    def ends(self) -> list[int]:
        """Of each node, the registers before its last use."""
        found = [self.clock(node) for node in range(len(self.levels))]
        for node, adder in enumerate(self.adders, self.inputs):
            for term in adder:
                found[term.node] = max(found[term.node], self.clock(node))
        for output in self.outputs:
            if output is not None:
                found[output.node] = self.latency
        return found

    @property
    def flip_flops(self) -> int:
        """Bits of all registers."""
        return sum(
            (end - self.clock(node)) * bits
            for node, (end, bits) in enumerate(zip(self.ends, self.widths, strict=True))
        )

    @property
    def luts(self) -> int:
        """Lookup tables of an ECP5, where a carry cell takes two of them for two bits."""
        return sum(
            luts(adder, self.widths[node]) for node, adder in enumerate(self.adders, self.inputs)
        )

    def prove(self, matrix: np.ndarray) -> None:
        """Prove that the outputs are `matrix`, int (outputs, inputs), times the inputs.

        All nodes are linear, so equality on the unit vectors is equality, in the integers. It is
        equality in hardware too, as no node overflows: with each input at 0 or 255, by the sign of
        its coefficient, a node is at an end of its range. And each operand is there in time.
        Raises `ArithmeticError`.
        """
        for node, (low, high) in enumerate(self.ranges):
            bits = self.widths[node] - self.signed(node)
            _demand(-(1 << bits) <= low and high < 1 << bits, f"node {node} overflows")
        for node, adder in enumerate(self.adders, self.inputs):
            for term in adder:
                ordered = self.levels[term.node] < self.levels[node] <= self.latency * LEVELS
                _demand(ordered and term.node < node, f"node {node} has an operand too late")
        for index, (row, output) in enumerate(zip(matrix, self.outputs, strict=True)):
            _demand(output is None or not output.negative, f"output {index} is negative")
            found = np.zeros_like(row) if output is None else times(self.coefficients, output)
            _demand(np.array_equal(found, row), f"output {index} has weights {found}, not {row}")


def _demand(condition: bool, complaint: str) -> None:
    if not condition:
        raise ArithmeticError(complaint)


def times(coefficients: Sequence[np.ndarray], term: Term) -> np.ndarray:
    """The coefficients of a term, given those of the nodes."""
    found = coefficients[term.node] << term.shift
    return -found if term.negative else found


def span(coefficients: np.ndarray) -> tuple[int, int]:
    """The least and greatest sum of inputs from 0 to 255 with these coefficients."""
    low, high = np.minimum(coefficients, 0).sum(), np.maximum(coefficients, 0).sum()
    return BYTE * int(low), BYTE * int(high)


def width(low: int, high: int) -> int:
    """Bits of numbers from `low` to `high`; signed where some are negative."""
    return high.bit_length() if low >= 0 else max(high.bit_length(), (~low).bit_length()) + 1


def luts(adder: Adder, bits: int) -> int:
    """Those of an adder of so many bits. Below the lowest bit of a term the other passes it by."""
    first, second = adder
    passed = max(0 if second.negative else first.shift, 0 if first.negative else second.shift)
    return 2 * math.ceil((bits - passed) / 2)
