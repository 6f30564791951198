"""Write the top module of a network: the layers of rtl/, connected as in the graph."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from convstream.model.hardware import rom
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.names import check_name
from convstream.model.hardware.schedule import Buffers
from convstream.model.hardware.stage import Setting, Stage, Wiring
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork

Pair = tuple[str, str | int]
CLOCKED: list[Pair] = [("clk", "clk"), ("rst", "rst")]
# Parameters of the stages that read the image, as constants of the top module.
OF_THE_IMAGE = {
    "HEIGHT": "HEIGHT",
    "WIDTH": "WIDTH",
    "POSITIONS": "HEIGHT*WIDTH",
    "CHANNELS": "CHANNELS",
    "IN_CHANNELS": "CHANNELS",
    "PIXELS": "PIXELS",
}


def top(quantised: QuantisedNetwork, folded: FoldedNetwork, buffers: Buffers) -> str:
    """The text of `<net>.v`, Verilog-2005; its header comment describes the ports."""
    network = folded.network
    check_name(network.name)
    weighted = [stage.name for stage in folded.stages if stage.foldable]
    parts = [
        _header(folded, buffers),
        _module(folded, len(weighted)),
        _frame_check(folded, buffers.flag_depth),
    ]
    lanes = {IMAGE: "CHANNELS"}  # by node, the name of the channels in a beat
    for stage in folded.stages:
        (source,) = stage.node.inputs
        lanes[stage.name] = f"{stage.name.upper()}_PE" if stage.foldable else lanes[source]
        wiring = Wiring(
            lanes=lanes[source],
            pad_code=quantised.pad_code(stage.name),
            rounding=quantised.rounding(stage.name),
            acc_width=quantised.accumulator_width(stage.name),
            fifo_depth=buffers.fifo_depths[stage.name],
            roms=rom.names(network.name, stage.name),
        )
        signature: list[Pair] = []
        if stage.foldable:
            low = 32 * weighted.index(stage.name)
            signature = [("signature", f"signature[{low + 31}:{low}]")]
        settings = stage.settings(wiring)
        bits = _product(stage.out_bits, stage.out_pixels, lanes[stage.name])
        parts.append(
            f"    // {_title(stage)}\n"
            + _localparams(stage, settings)
            + _wires(stage.name, bits, stage.logits)
            + _instance(
                stage.module,
                stage.name,
                _connected(stage, settings, source),
                CLOCKED
                + _sink("frame" if source == IMAGE else source, tlast=False)
                + _source(stage.name, stage.logits)
                + signature,
            )
        )
    parts.append(_classify(folded))
    return "\n".join(parts) + "\nendmodule\n\n`default_nettype wire\n"


def _product(bits: int, pixels: int, lanes: str) -> str:
    """The bits of a beat as a Verilog expression."""
    return "*".join([str(bits), *[str(pixels)] * (pixels > 1), lanes])


def _connected(stage: Stage, settings: Sequence[Setting], source: str) -> list[Pair]:
    """Parameters of an instance: named constants where they exist, no defaults."""
    pairs: list[Pair] = []
    for setting in settings:
        if setting.value == setting.default:
            continue
        if setting.named:
            pairs.append((setting.name, f"{stage.name.upper()}_{setting.name}"))
        elif source == IMAGE and setting.name in OF_THE_IMAGE:
            pairs.append((setting.name, OF_THE_IMAGE[setting.name]))
        else:
            pairs.append((setting.name, setting.value))
    return pairs


def _localparams(stage: Stage, settings: Sequence[Setting]) -> str:
    named = [setting for setting in settings if setting.named]
    width = max(len(setting.name) for setting in named)
    lines = [
        f"    localparam {stage.name.upper()}_{setting.name:<{width}} = {setting.value};"
        for setting in named
    ]
    return "\n".join([*lines, "", ""])


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _title(stage: Stage) -> str:
    shapes = f"{_times(stage.in_shape)} -> {_times(stage.out_shape)}"
    return f"{stage.name}: {shapes}, {stage.geometry}"


def _header(folded: FoldedNetwork, buffers: Buffers) -> str:
    network = folded.network
    channels, height, width = network.input_shape
    titles = ("layer", "input", "output", "window or order", "PE", "SIMD", "multipliers", "cycles")
    rows: list[tuple[str, ...]] = [titles]
    for stage in folded.stages:
        pe_simd = ("", "") if stage.folding is None else (stage.folding.pe, stage.folding.simd)
        cells = (
            stage.name,
            _times(stage.in_shape),
            _times(stage.out_shape),
            stage.geometry,
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
            f"{_count(_logit_lanes(folded), 'logit')} a beat, int32, the first in the lowest bits; "
            "tlast on the last beat, where tuser is the class: the index of the largest logit, "
            "the lowest of equals.",
        ),
        *_paragraph(
            "     ",
            "signature: hashes of the weights and biases, 32 bits a layer that has some, the first "
            "layer's lowest; final after the first image. See rom_signature.",
        ),
        "// Equals model.network.reference.predict. The .mem files are looked up in the working "
        "directory.",
        "",
        "`default_nettype none",
        "",
    ]
    return "\n".join(lines)


def _logit_lanes(folded: FoldedNetwork) -> int:
    return folded.output.out_pixels * folded.output.out_lanes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent=f"// {label}", subsequent_indent=f"// {'':<{len(label)}}"
    )


def _module(folded: FoldedNetwork, weighted: int) -> str:
    first = folded.stages[0]
    ports = [
        ("input", 1, "clk"),
        ("input", 1, "rst"),
        ("input", 8 * first.pixels * first.lanes, "s_axis_tdata"),
        ("input", 1, "s_axis_tvalid"),
        ("output", 1, "s_axis_tready"),
        ("input", 1, "s_axis_tlast"),
        ("output", 32 * _logit_lanes(folded), "m_axis_tdata"),
        ("output", 16, "m_axis_tuser"),
        ("output", 1, "m_axis_tvalid"),
        ("input", 1, "m_axis_tready"),
        ("output", 1, "m_axis_tlast"),
        ("output", 1, "frame_error"),
        ("output", 32 * weighted, "signature"),
    ]
    vectors = [f"[{bits - 1}:0]" if bits > 1 else "" for _, bits, _ in ports]
    width = max(map(len, vectors))
    lines = [
        f"    {direction:<6} wire {vector:<{width}} {signal}"
        for (direction, _, signal), vector in zip(ports, vectors, strict=True)
    ]
    return f"module {folded.network.name} (\n" + ",\n".join(lines) + "\n);\n"


def _wires(stream: str, bits: str, tlast: bool = True, tuser: bool = False) -> str:
    vector = f"[{bits}-1:0]"
    signals = [(vector, "tdata"), ("", "tvalid"), ("", "tready")]
    names = [(space, f"{stream}_{signal}") for space, signal in signals]
    names.append(("", _tlast(stream, tlast)))
    if tuser:
        names.append(("[15:0]", f"{stream}_tuser"))
    return "".join(f"    wire {space:<{len(vector)}} {name};\n" for space, name in names) + "\n"


def _tlast(stream: str, used: bool) -> str:
    """The name of a stream's tlast; `unused_` tells lint that nothing reads it."""
    return f"{stream}_tlast" if used else f"unused_{stream}_tlast"


def _sink(stream: str, tlast: bool = True) -> list[Pair]:
    """Connect a module's `s_axis` to a stream; layers count their beats and take no tlast."""
    signals = ("tdata", "tvalid", "tready") + ("tlast",) * tlast
    return [(f"s_axis_{signal}", f"{stream}_{signal}") for signal in signals]


def _source(stream: str, tlast: bool = True) -> list[Pair]:
    """Connect a module's `m_axis` to a stream, which may leave its tlast unused."""
    ports = [(f"m_axis_{signal}", f"{stream}_{signal}") for signal in ("tdata", "tvalid", "tready")]
    return [*ports, ("m_axis_tlast", _tlast(stream, tlast))]


def _instance(module: str, name: str, parameters: Sequence[Pair], ports: Sequence[Pair]) -> str:
    def connections(pairs: Sequence[Pair]) -> str:
        width = max(len(key) for key, _ in pairs)
        return ",\n".join(f"        .{key:<{width}} ({value})" for key, value in pairs)

    text = f"    {module} "
    if parameters:
        text += f"#(\n{connections(parameters)}\n    ) "
    return text + f"{name} (\n{connections(ports)}\n    );\n"


def _frame_check(folded: FoldedNetwork, flag_depth: int) -> str:
    channels, height, width = folded.network.input_shape
    local = (
        f"    localparam HEIGHT   = {height};\n"
        f"    localparam WIDTH    = {width};\n"
        f"    localparam CHANNELS = {channels};\n"
        f"    localparam PIXELS   = {folded.pixels};\n\n"
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


def _classify(folded: FoldedNetwork) -> str:
    bits = "32*LOGIT_LANES"
    wires = (
        "    // The class comes with the last logit; images of a wrong length are dropped.\n"
        f"    localparam CLASSES     = {folded.network.classes};\n"
        f"    localparam LOGIT_LANES = {_logit_lanes(folded)};\n\n"
        f"{_wires('class', bits, tuser=True)}"
    )
    argmax = _instance(
        "argmax",
        "classify",
        [("CLASSES", "CLASSES"), ("LANES", "LOGIT_LANES"), ("WIDTH", 32)],
        [*CLOCKED, *_sink(folded.output.name), *_source("class"), ("m_axis_tuser", "class_tuser")],
    )
    ports: list[Pair] = [
        ("s_axis_tdata", "{class_tuser, class_tdata}"),
        *_sink("class")[1:],
        *((f"s_flag_{signal}", f"flag_fifo_{signal}") for signal in ("tdata", "tvalid", "tready")),
        ("m_axis_tdata", "{m_axis_tuser, m_axis_tdata}"),
        *_source("m_axis")[1:],
    ]
    drop = _instance("frame_drop", "drop", [("WIDTH", f"16 + {bits}")], ports)
    return wires + argmax + "\n" + drop
