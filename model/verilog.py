"""Writes the top module of a network: a chain of the layers in rtl/."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from model.errors import UserError
from model.folding import FoldedNetwork, Stage
from model.quantised import QuantisedNetwork
from model.schedule import Buffers

# Verilog-2005 and SystemVerilog: some tools read a .v file as either.
KEYWORDS = frozenset(
    """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
    before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
    checker class clocking cmos config const constraint context continue cover covergroup
    coverpoint cross deassign default defparam design disable dist do edge else end endcase
    endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface
    endmodule endpackage endprimitive endprogram endproperty endsequence endspecify endtable
    endtask enum event eventually expect export extends extern final first_match for force foreach
    forever fork forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins
    illegal_bins implements implies import incdir include initial inout input inside instance int
    integer interconnect interface intersect join join_any join_none large let liblist library
    local localparam logic longint macromodule matches medium modport module nand negedge nettype
    new nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter
    pmos posedge primitive priority program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real
    realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1
    s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
    showcancelled signed small soft solve specify specparam static string strong strong0 strong1
    struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout
    time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef
    union unique unique0 unsigned until until_with untyped use uwire var vectored virtual void wait
    wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """.split()
)


def check_name(name: str, taken: frozenset[str] = frozenset()) -> None:
    """Raise `UserError` where `name` is no identifier, is a keyword, or is in `taken`."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UserError(
            f"network name {name!r} is no Verilog identifier; use letters, digits and _, a letter "
            "first"
        )
    if name in KEYWORDS:
        raise UserError(f"network name {name!r} is a Verilog keyword; choose another")
    if name in taken:
        raise UserError(f"network name {name!r} is a module in rtl/; choose another")


def top(quantised: QuantisedNetwork, folded: FoldedNetwork, buffers: Buffers) -> str:
    """Text of `<net>.v`: Verilog-2005, ports as in the module's header comment."""
    network = quantised.network
    first, last = folded.stages[0], folded.stages[-1]
    in_bits = 8 * first.pixels * first.lanes
    logit_lanes = last.out_pixels * last.out_lanes
    weighted = [stage for stage in folded.stages if stage.folding is not None]
    check_name(network.name)

    parts = [
        _header(folded, buffers, logit_lanes),
        _module(network.name, in_bits, logit_lanes, len(weighted)),
        _frame_check(first, buffers.flag_depth),
    ]
    stream = "frame"
    lanes = "CHANNELS"
    for stage, parameters, depth in zip(
        folded.stages, quantised.parameters, buffers.fifo_depths, strict=True
    ):
        prefix = stage.name.upper()
        out_lanes = lanes if stage.folding is None else f"{prefix}_PE"
        logits = stage is last
        bits = "*".join(
            ["32" if logits else "8"]
            + [str(stage.out_pixels)] * (stage.out_pixels > 1)
            + [out_lanes]
        )
        local = _localparams(stage, parameters, depth)
        signature: Connections = []
        if stage.folding is not None:
            low = 32 * weighted.index(stage)
            signature = [("signature", f"signature[{low + 31}:{low}]")]
        parts.append(
            f"    // {_title(stage)}\n"
            + local
            + _wires(stage.name, bits, tlast=logits)
            + _instance(
                _layer_module(stage),
                stage.name,
                _layer_parameters(stage, lanes, logits),
                CLOCKED + _sink(stream, tlast=False) + _source(stage.name, logits) + signature,
            )
        )
        stream, lanes = stage.name, out_lanes
    parts.append(_classify(stream, network.classes, logit_lanes))
    return "\n".join(parts) + "\nendmodule\n\n`default_nettype wire\n"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _geometry(stage: Stage) -> str:
    if stage.kind == "fc":
        return "input-major" if stage.folding.input_major else "output-major"
    layer = stage.layer
    text = f"{layer.kernel}x{layer.kernel}"
    if layer.stride > 1:
        text += f" stride {layer.stride}"
    if layer.padding:
        text += f" pad {layer.padding}"
    return text


def _title(stage: Stage) -> str:
    shapes = f"{_times(stage.in_shape)} -> {_times(stage.out_shape)}"
    return f"{stage.name}: {shapes}, {_geometry(stage)}"


def _header(folded: FoldedNetwork, buffers: Buffers, logit_lanes: int) -> str:
    network = folded.network
    channels, height, width = network.input_shape
    rows = [("layer", "input", "output", "window or order", "PE", "SIMD", "multipliers", "cycles")]
    for stage in folded.stages:
        pe_simd = ("", "") if stage.folding is None else (stage.folding.pe, stage.folding.simd)
        cells = (
            stage.name,
            _times(stage.in_shape),
            _times(stage.out_shape),
            _geometry(stage),
            *pe_simd,
            stage.multipliers or "",
            stage.cycles,
        )
        rows.append(tuple(map(str, cells)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = []
    for row in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=False))
        text += "".join(
            "  " + cell.rjust(width) for cell, width in zip(row[4:], widths[4:], strict=True)
        )
        table.append(f"//   {text}".rstrip())
    lines = [
        "// SPDX-License-Identifier: Apache-2.0",
        "//",
        f"// {network.name}: from {_times(network.input_shape)} images to logits and a class.",
        f"// A new image every {folded.cycles} cycles with {folded.multipliers} multipliers; "
        f"latency {buffers.latency} cycles.",
        "//",
        "// Written by model/export.py from network.onnx: change the folding there, not here.",
        "//",
        *table,
        "//",
        *_paragraph(
            "In:  ",
            f"{_count(folded.pixels, 'pixel')} of {_count(channels, 'channel')} a beat, in raster "
            f"order over {_count(height, 'row')} of {width}; tlast on an image's last beat. An "
            "image that ends early or late is dropped whole, and frame_error pulses once for it.",
        ),
        *_paragraph(
            "Out: ",
            f"{_count(logit_lanes, 'logit')} a beat, int32, the first in the lowest bits; tlast on "
            "the last beat, where tuser is the class: the index of the largest logit, the lowest "
            "of equals.",
        ),
        *_paragraph(
            "     ",
            "signature: hashes of the weights and biases, 32 bits a layer that has some, the first "
            "layer's lowest; final after the first image. See rom_signature.",
        ),
        "// Equals model.reference.predict. The .mem files are looked up in the working directory.",
        "",
        "`default_nettype none",
        "",
    ]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent=f"// {label}", subsequent_indent=f"// {'':<{len(label)}}"
    )


def _module(name: str, in_bits: int, logit_lanes: int, weighted: int) -> str:
    def port(direction: str, bits: int, signal: str) -> str:
        vector = f"[{bits - 1}:0]" if bits > 1 else ""
        return f"    {direction:<6} wire {vector:<8} {signal}".rstrip()

    ports = [
        port("input", 1, "clk"),
        port("input", 1, "rst"),
        port("input", in_bits, "s_axis_tdata"),
        port("input", 1, "s_axis_tvalid"),
        port("output", 1, "s_axis_tready"),
        port("input", 1, "s_axis_tlast"),
        port("output", 32 * logit_lanes, "m_axis_tdata"),
        port("output", 16, "m_axis_tuser"),
        port("output", 1, "m_axis_tvalid"),
        port("input", 1, "m_axis_tready"),
        port("output", 1, "m_axis_tlast"),
        port("output", 1, "frame_error"),
        port("output", 32 * weighted, "signature"),
    ]
    return f"module {name} (\n" + ",\n".join(ports) + "\n);\n"


def _wires(stream: str, bits: str, tlast: bool = True) -> str:
    vector = f"[{bits}-1:0]"
    lines = [f"    wire {vector} {stream}_tdata;"]
    for signal in (f"{stream}_tvalid", f"{stream}_tready", _tlast(stream, tlast)):
        lines.append(f"    wire {'':<{len(vector)}} {signal};")
    return "\n".join(lines) + "\n\n"


def _tlast(stream: str, used: bool) -> str:
    """The name of a stream's tlast; lint knows by it where nothing needs it."""
    return f"{stream}_tlast" if used else f"unused_{stream}_tlast"


Connections = list[tuple[str, str]]
CLOCKED: Connections = [("clk", "clk"), ("rst", "rst")]


def _sink(stream: str, tlast: bool = True) -> Connections:
    """Connections of a module's `s_axis` to a stream; layers count for themselves: no tlast."""
    signals = ("tdata", "tvalid", "tready") + ("tlast",) * tlast
    return [(f"s_axis_{signal}", f"{stream}_{signal}") for signal in signals]


def _source(stream: str, tlast: bool = True) -> Connections:
    """Connections of a module's `m_axis` to a stream, which may have no use for its tlast."""
    ports = [(f"m_axis_{signal}", f"{stream}_{signal}") for signal in ("tdata", "tvalid", "tready")]
    return [*ports, ("m_axis_tlast", _tlast(stream, tlast))]


def _instance(
    module: str, name: str, parameters: list[tuple[str, str | int]], ports: list[tuple[str, str]]
) -> str:
    def connections(pairs: list[tuple[str, str | int]]) -> str:
        width = max(len(key) for key, _ in pairs)
        return ",\n".join(f"        .{key:<{width}} ({value})" for key, value in pairs)

    text = f"    {module} "
    if parameters:
        text += f"#(\n{connections(parameters)}\n    ) "
    return text + f"{name} (\n{connections(ports)}\n    );\n"


def _localparams(stage: Stage, parameters: object, depth: int) -> str:
    values: list[tuple[str, int]] = []
    if stage.folding is not None:
        values += [
            ("PE", stage.folding.pe),
            ("SIMD", stage.folding.simd),
            ("ACC_WIDTH", parameters.accumulator_width),
        ]
        if parameters.shift is not None:
            values.append(("SHIFT", parameters.shift))
    values.append(("FIFO_DEPTH", depth))
    values = _wanted(stage, values)
    width = max(len(key) for key, _ in values)
    lines = [f"    localparam {stage.name.upper()}_{key:<{width}} = {n};" for key, n in values]
    return "\n".join([*lines, "", ""])


def _layer_module(stage: Stage) -> str:
    if stage.pixelwise:
        return "pixel_conv2d"
    if stage.running:
        return "running_max"
    return {"conv": "conv2d", "maxpool": "maxpool2d", "fc": "fc"}[stage.kind]


# What the modules for special cases take for granted.
ASSUMED = {
    "pixel_conv2d": ("PIXELS", "SIMD"),
    "running_max": ("STRIDE", "PADDING", "PIXELS", "PACE"),
}


def _layer_parameters(stage: Stage, lanes: str, logits: bool) -> list[tuple[str, str | int]]:
    channels, height, width = stage.in_shape
    prefix = stage.name.upper()
    if stage.kind == "fc":
        pairs: list[tuple[str, str | int]] = [("POSITIONS", height * width), ("CHANNELS", channels)]
    else:
        pairs = [("HEIGHT", height), ("WIDTH", width)]
        if stage.kind == "conv":
            pairs += [("IN_CHANNELS", channels), ("OUT_CHANNELS", stage.out_shape[0])]
        else:
            pairs.append(("CHANNELS", channels))
        layer = stage.layer
        pairs += [("KERNEL", layer.kernel), ("STRIDE", layer.stride), ("PADDING", layer.padding)]
    pairs += [("LANES", lanes), ("PIXELS", stage.pixels)]
    if stage.kind == "maxpool":
        pairs += [("PACE", stage.pace), ("FIFO_DEPTH", f"{prefix}_FIFO_DEPTH")]
    if stage.kind == "fc":
        pairs.append(("OUT_FEATURES", stage.out_shape[0]))
    if stage.folding is not None:
        pairs += [("PE", f"{prefix}_PE"), ("SIMD", f"{prefix}_SIMD")]
        if stage.kind == "fc":
            pairs.append(("INPUT_MAJOR", int(stage.folding.input_major)))
        pairs += [
            ("ACC_WIDTH", f"{prefix}_ACC_WIDTH"),
            ("SHIFT", 0 if logits else f"{prefix}_SHIFT"),
            ("OUT_WIDTH", 32 if logits else 8),
            ("FABRIC", stage.folding.fabric),
            ("FIFO_DEPTH", f"{prefix}_FIFO_DEPTH"),
            ("WEIGHT_FILE", f'"{stage.name}_weight.mem"'),
            ("BIAS_FILE", f'"{stage.name}_bias.mem"'),
        ]
    return _wanted(stage, pairs)


def _wanted(stage: Stage, pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Of names and values those that the layer's module has as parameters."""
    assumed = ASSUMED.get(_layer_module(stage), ())
    return [(name, value) for name, value in pairs if name not in assumed]


def _frame_check(first: Stage, flag_depth: int) -> str:
    channels, height, width = first.in_shape
    local = (
        f"    localparam HEIGHT   = {height};\n"
        f"    localparam WIDTH    = {width};\n"
        f"    localparam CHANNELS = {channels};\n"
        f"    localparam PIXELS   = {first.pixels};\n\n"
    )
    flag = (
        "    // Each image has a flag, 1 where its length was wrong, which waits for its logits.\n"
        "    wire flag_tdata;\n    wire flag_tvalid;\n    wire flag_tready;\n\n"
    )
    check = _instance(
        "frame_check",
        "check",
        [("BEATS", "HEIGHT*WIDTH/PIXELS"), ("WIDTH", "8*PIXELS*CHANNELS")],
        [
            *CLOCKED,
            *_sink("s_axis"),
            *_source("frame", tlast=False),
            *((f"m_flag_{signal}", f"flag_{signal}") for signal in ("tdata", "tvalid", "tready")),
            ("frame_error", "frame_error"),
        ],
    )
    fifo = (
        "    wire flag_fifo_tdata;\n    wire flag_fifo_tvalid;\n    wire flag_fifo_tready;\n"
        f"    wire {_tlast('flag_fifo', used=False)};\n\n"
    ) + _instance(
        "axis_fifo",
        "flag_fifo",
        [("WIDTH", 1), ("DEPTH", flag_depth)],
        [
            *CLOCKED,
            *_sink("flag", tlast=False),
            ("s_axis_tlast", "1'b1"),
            *_source("flag_fifo", tlast=False),
        ],
    )
    note = "    // The layers count their beats themselves: no tlast goes into them.\n"
    wires = _wires("frame", "8*PIXELS*CHANNELS", tlast=False)
    return local + note + wires + flag + check + "\n" + fifo


def _classify(stream: str, classes: int, logit_lanes: int) -> str:
    bits = "32*LOGIT_LANES"
    wires = (
        "    // The class comes with the last logit; images of a wrong length are dropped.\n"
        f"    localparam LOGIT_LANES = {logit_lanes};\n\n"
        f"{_wires('class', bits).rstrip()}\n"
        f"    wire {'[15:0]':<{len(bits) + 4}} class_tuser;\n\n"
    )
    argmax = _instance(
        "argmax",
        "classify",
        [("CLASSES", classes), ("LANES", "LOGIT_LANES"), ("WIDTH", 32)],
        [*CLOCKED, *_sink(stream), *_source("class"), ("m_axis_tuser", "class_tuser")],
    )
    ports = [
        ("s_axis_tdata", "{class_tuser, class_tdata}"),
        *_sink("class")[1:],
        *((f"s_flag_{signal}", f"flag_fifo_{signal}") for signal in ("tdata", "tvalid", "tready")),
        ("m_axis_tdata", "{m_axis_tuser, m_axis_tdata}"),
        *_source("m_axis")[1:],
    ]
    drop = _instance("frame_drop", "drop", [("WIDTH", f"16 + {bits}")], ports)
    return wires + argmax + "\n" + drop
