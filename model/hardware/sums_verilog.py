"""Write a graph of sums as a Verilog module."""

from __future__ import annotations

import textwrap

from convstream.model.hardware.instances import WIDTH
from convstream.model.hardware.sums import Adder, Sums, Term


def name_of(network: str, layer: str) -> str:
    """What a layer's module is called, unique across networks."""
    return f"{network}_{layer}_sums"


def module(name: str, sums: Sums, sum_width: int, weights: str) -> str:
    """The text of a module, Verilog-2005. weights: whose they are.

    sum_width: bits of an output, at least as many as its values need.
    """
    return _Writer(sums, sum_width).module(name, weights)


class _Writer:
    """Text of a graph, part by part."""

    def __init__(self, sums: Sums, sum_width: int) -> None:
        self.sums = sums
        self.sum_width = sum_width
        self.used = [0] * len(sums.widths)  # bits of each node that something reads

    def module(self, name: str, weights: str) -> str:
        sums = self.sums
        clocks = [line for clock in range(sums.latency) for line in self._clock(clock)]
        outputs = [
            f"    assign sum[{self.sum_width * index} +: {self.sum_width}] = {value};"
            for index, value in enumerate(map(self._output, sums.outputs))
        ]
        inputs = [
            f"    wire [7:0] n{node} = x[{8 * node} +: 8];"
            for node in range(sums.inputs)
            if self.used[node]
        ]
        lines = [
            "// SPDX-License-Identifier: Apache-2.0",
            "//",
            *_wrapped(
                f"The weights of {weights}, times bytes: "
                f"{len(sums.outputs)} sums of {sums.inputs} products as {len(sums.adders)} "
                f"additions, some of which several sums share. {sums.flip_flops} bits of registers."
            ),
            "//",
            "//   sum[i] = w[i][0]*x[0] + w[i][1]*x[1] + ..., exact",
            "//",
            "// n0, n1, ... are x[0], x[1], ..., and then the results of adders; nJ_regK is nJ, K",
            "// clocks later. Where Yosys may not `keep` an adder, it makes several a tree of full",
            "// adders, which take more lookup tables than carry chains.",
            "// Written by model/export.py, which has proven it.",
            f"// Latency: {sums.latency} {'clock' if sums.latency == 1 else 'clocks'}.",
            "",
            "`default_nettype none",
            "",
            f"module {name} (",
            "    input  wire clk,",
            f"    input  wire [{8 * sums.inputs - 1}:0] x,  // uint8, element j at bits 8*j",
            f"    output wire [{self.sum_width * len(sums.outputs) - 1}:0] sum"
            f"  // signed, sum i at bits {self.sum_width}*i",
            ");",
            "",
            *inputs,
            *clocks,
            "",
            *outputs,
            *self._unused(),
            "",
            "endmodule",
            "",
            "`default_nettype wire",
            "",
        ]
        return "\n".join(lines)

    def _clock(self, clock: int) -> list[str]:
        """The adders of a clock, and the registers behind it."""
        sums = self.sums
        lines = ["", f"    // Clock {clock + 1}"]
        added = {
            node: adder
            for node, adder in enumerate(sums.adders, sums.inputs)
            if sums.clock(node) == clock
        }
        lines += [f"    (* keep *) wire {_vector(sums.widths[node])} n{node};" for node in added]
        lines += [
            f"    assign n{node} = {self._sum(adder, node)};" for node, adder in added.items()
        ]
        held = [n for n in range(len(sums.widths)) if sums.clock(n) <= clock < sums.ends[n]]
        if held:
            lines += [f"    reg  {_vector(sums.widths[n])} {self._at(n, clock + 1)};" for n in held]
            lines.append("    always @(posedge clk) begin")
            lines += [f"        {self._at(n, clock + 1)} <= {self._at(n, clock)};" for n in held]
            lines.append("    end")
        return lines

    def _sum(self, adder: Adder, node: int) -> str:
        first, second = sorted(adder, key=lambda term: term.negative)
        bits, clock = self.sums.widths[node], self.sums.clock(node)
        sign = "-" if second.negative else "+"
        return f"{self._sized(first, bits, clock)} {sign} {self._sized(second, bits, clock)}"

    def _output(self, output: Term | None) -> str:
        if output is None:
            return f"{self.sum_width}'d0"
        return self._sized(output, self.sum_width, self.sums.latency)

    def _at(self, node: int, clock: int) -> str:
        """The name of a node's value before register `clock`."""
        since = clock - self.sums.clock(node)
        return f"n{node}_reg{since}" if since else f"n{node}"

    def _sized(self, term: Term, bits: int, clock: int) -> str:
        """A term without its sign, of so many bits."""
        name, width = self._at(term.node, clock), self.sums.widths[term.node]
        missing = bits - width - term.shift
        used = width + min(0, missing)
        self.used[term.node] = max(self.used[term.node], used)
        parts = []
        if missing > 0 and self.sums.signed(term.node):
            parts.append(f"{{{missing}{{{name}[{width - 1}]}}}}")
        elif missing > 0:
            parts.append(f"{missing}'d0")
        parts.append(name if missing >= 0 else f"{name}[{used - 1}:0]")
        if term.shift:
            parts.append(f"{term.shift}'d0")
        return parts[0] if len(parts) == 1 else f"{{{', '.join(parts)}}}"

    def _unused(self) -> list[str]:
        """Tells lint which bits nothing reads."""
        sums = self.sums
        unread = [
            f"x[{8 * node} +: 8]" if node < sums.inputs else f"n{node}[{bits - 1}:{used}]"
            for node, (bits, used) in enumerate(zip(sums.widths, self.used, strict=True))
            if used < bits
        ]
        return ["", f"    wire unused = &{{1'b0, {', '.join(unread)}}};"] if unread else []


def _vector(bits: int) -> str:
    return f"[{bits - 1}:0]"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="// ", subsequent_indent="// ")
