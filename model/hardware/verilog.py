"""Write the top module of a network: the layers of rtl/, connected as in the graph.

Beside it stand the modules that are made of weights: see model/hardware/sums_verilog.py.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from convstream.model.hardware import rom, sums_verilog
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.instances import (
    CLOCKED,
    SIGNALS,
    Pair,
    declared,
    instance,
    localparams,
    product,
    sink,
    source,
    tlast_of,
)
from convstream.model.hardware.names import check_name
from convstream.model.hardware.schedule import Buffers
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.sharing import share
from convstream.model.hardware.stage import ComputeStage, Stage
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork

# Parameters of the stages that read the image, as constants of the top module.
OF_THE_IMAGE = {
    "HEIGHT": "HEIGHT",
    "WIDTH": "WIDTH",
    "POSITIONS": "HEIGHT*WIDTH",
    "CHANNELS": "CHANNELS",
    "IN_CHANNELS": "CHANNELS",
    "PIXELS": "PIXELS",
}


def sources(quantised: QuantisedNetwork, folded: FoldedNetwork, buffers: Buffers) -> dict[str, str]:
    """The Verilog of a network: file name to text."""
    network = folded.network
    files = {f"{network.name}.v": top(quantised, folded, buffers)}
    for stage in folded.stages:
        if stage.sums and isinstance(stage, ComputeStage):
            name = sums_verilog.name_of(network.name, stage.name)
            sums = share(stage.weight_matrix(quantised.parameters[stage.name].weight))
            width = quantised.accumulator_width(stage.name)
            owner = f"{stage.name} of {network.name}"
            files[f"{name}.v"] = sums_verilog.module(name, sums, width, owner)
    return files


def top(quantised: QuantisedNetwork, folded: FoldedNetwork, buffers: Buffers) -> str:
    """The text of `<net>.v`, Verilog-2005; its header comment describes the ports."""
    network = folded.network
    check_name(network.name)
    weighted = [stage.name for stage in folded.stages if stage.foldable]
    parts = [
        _header(quantised, folded, buffers),
        _module(quantised, folded, len(weighted)),
        _frame_check(folded, buffers.flag_depth),
    ]
    lanes = {IMAGE: "CHANNELS"}  # by node, the name of the channels in a beat
    parts += _fork(folded, buffers, IMAGE, "8*PIXELS*CHANNELS")
    for stage in folded.stages:
        first = stage.node.inputs[0]
        last = stage is folded.output
        lanes[stage.name] = f"{stage.name.upper()}_PE" if stage.foldable else lanes[first]
        wiring = Wiring(
            lanes=lanes[first],
            pad_code=quantised.pad_code(stage.name),
            rounding=quantised.rounding(stage.name),
            acc_width=quantised.accumulator_width(stage.name),
            out_bits=quantised.output_bits if last else 8,
            fifo_depth=buffers.fifo_depths[stage.name],
            roms=rom.names(network.name, stage.name),
            site=quantised.site(stage.name),
            prefix=rom.prefix(network.name, stage.name),
        )
        others: list[Pair] = []
        if stage.sums:
            others = [(port, f"{stage.name}_{port}") for port in ("window", "sums")]
        if stage.foldable:
            low = 32 * weighted.index(stage.name)
            others.append(("signature", f"signature[{low + 31}:{low}]"))
        settings = stage.settings(wiring)
        bits = product(wiring.out_bits, stage.out_pixels, lanes[stage.name])
        taken = [_arriving(folded, buffers, name) for name in folded.streams.taken[stage.name]]
        parts.append(
            f"    // {_title(stage)}\n"
            + localparams(stage.name, [(s.name, s.value) for s in settings if s.named])
            + declared(stage.name, bits, last)
            + (_sums(network.name, stage) if stage.sums else "")
            + instance(
                stage.module,
                stage.name,
                _connected(stage, settings),
                CLOCKED + sink(*taken) + source(stage.name, tlast=last) + others,
            )
        )
        parts += _fork(folded, buffers, stage.name, bits)
    parts.append(_classify(quantised, folded))
    return "\n".join(parts) + "\nendmodule\n\n`default_nettype wire\n"


def _sums(network: str, stage: Stage) -> str:
    """The sums of a stage, once for each pixel of an output beat."""
    window = f"{stage.name}_window"
    sums = f"{stage.name}_sums"
    lanes = f"{stage.name.upper()}_ACC_WIDTH*{stage.name.upper()}_PE"
    text = (
        f"    wire [{product(8 * stage.window, stage.out_pixels)}-1:0] {window};\n"
        f"    wire [{product(lanes, stage.out_pixels)}-1:0] {sums};\n\n"
    )
    several = stage.out_pixels > 1
    for pixel in range(stage.out_pixels):
        parts = [f"[{pixel}*{bits} +: {bits}]" * several for bits in (8 * stage.window, lanes)]
        ports: list[Pair] = [("clk", "clk"), ("x", window + parts[0]), ("sum", sums + parts[1])]
        name = f"{stage.name}_adders" + f"{pixel}" * several
        text += instance(sums_verilog.name_of(network, stage.name), name, [], ports) + "\n"
    return text


def _fork(folded: FoldedNetwork, buffers: Buffers, name: str, bits: str) -> list[str]:
    """The fork behind a node or the image, and the FIFOs of its branches; none for one reader."""
    branches = folded.streams.forks.get(name, ())
    if not branches:
        return []
    fork = instance(
        "axis_fork",
        f"{name}_fork",
        [("WIDTH", bits), ("READERS", len(branches))],
        [
            *CLOCKED,
            *sink(_arriving(folded, buffers, name)),
            ("s_axis_tlast", "1'b0"),
            *source(*branches, tlast=False),
        ],
    )
    wires = "\n".join(declared(branch, bits, tlast=False).rstrip("\n") for branch in branches)
    readers = [node.name for node in folded.network.readers(name)]
    parts = [f"    // {name} goes to {', '.join(readers)}\n{wires}\n\n{fork}"]
    for branch in branches:
        if depth := buffers.fifo_depths[branch]:
            fifo = _arriving(folded, buffers, branch)
            parts.append(
                localparams(fifo, [("DEPTH", depth)])
                + declared(fifo, bits, tlast=False)
                + instance(
                    "axis_fifo",
                    fifo,
                    [("WIDTH", bits), ("DEPTH", f"{fifo.upper()}_DEPTH")],
                    [
                        *CLOCKED,
                        *sink(branch),
                        ("s_axis_tlast", "1'b0"),
                        *source(fifo, tlast=False),
                    ],
                )
            )
    return parts


def _arriving(folded: FoldedNetwork, buffers: Buffers, stream: str) -> str:
    """The wires by which a stream comes to whoever takes it."""
    if stream == IMAGE:
        return "frame"
    # A node's own FIFO is inside its module.
    outside = stream not in folded.network and buffers.fifo_depths[stream] > 0
    return f"{stream}_fifo" if outside else stream


def _connected(stage: Stage, settings: Sequence[Setting]) -> list[Pair]:
    """Parameters of an instance: named constants where they exist, no defaults."""
    pairs: list[Pair] = []
    for setting in settings:
        if setting.value == setting.default:
            continue
        if setting.named:
            pairs.append((setting.name, f"{stage.name.upper()}_{setting.name}"))
        elif stage.node.inputs == (IMAGE,) and setting.name in OF_THE_IMAGE:
            pairs.append((setting.name, OF_THE_IMAGE[setting.name]))
        else:
            pairs.append((setting.name, setting.value))
    return pairs


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _title(stage: Stage) -> str:
    shapes = f"{_times(stage.in_shape)} -> {_times(stage.out_shape)}"
    inputs = f" of {', '.join(stage.node.inputs)}" * (len(stage.node.inputs) > 1)
    return f"{stage.name}: {shapes}, {stage.geometry}{inputs}"


def _header(quantised: QuantisedNetwork, folded: FoldedNetwork, buffers: Buffers) -> str:
    network = folded.network
    channels, height, width = network.input_shape
    what, kind = ("logit", "int32") if quantised.gives_sums else ("code", "uint8")
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
        f"// {network.name}: from {_times(network.input_shape)} images to {what}s and a class.",
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
            f"{_count(_logit_lanes(folded), what)} a beat, {kind}, the first in the lowest bits; "
            f"tlast on the last beat, where tuser is the class: the index of the largest {what}, "
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


def _module(quantised: QuantisedNetwork, folded: FoldedNetwork, weighted: int) -> str:
    first = folded.stages[0]
    ports = [
        ("input", 1, "clk"),
        ("input", 1, "rst"),
        ("input", 8 * first.pixels * first.lanes, "s_axis_tdata"),
        ("input", 1, "s_axis_tvalid"),
        ("output", 1, "s_axis_tready"),
        ("input", 1, "s_axis_tlast"),
        ("output", quantised.output_bits * _logit_lanes(folded), "m_axis_tdata"),
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
    check = instance(
        "frame_check",
        "check",
        [("BEATS", "HEIGHT*WIDTH/PIXELS"), ("WIDTH", "8*PIXELS*CHANNELS")],
        [
            *CLOCKED,
            *sink("s_axis", tlast=True),
            *source("frame", tlast=False),
            *((f"m_flag_{signal}", f"flag_{signal}") for signal in SIGNALS),
            ("frame_error", "frame_error"),
        ],
    )
    fifo = (
        "    wire flag_fifo_tdata;\n    wire flag_fifo_tvalid;\n    wire flag_fifo_tready;\n"
        f"    wire {tlast_of('flag_fifo', used=False)};\n\n"
    ) + instance(
        "axis_fifo",
        "flag_fifo",
        [("WIDTH", 1), ("DEPTH", flag_depth)],
        [
            *CLOCKED,
            *sink("flag"),
            ("s_axis_tlast", "1'b1"),
            *source("flag_fifo", tlast=False),
        ],
    )
    note = "    // The layers count their beats themselves: no tlast goes into them.\n"
    wires = declared("frame", "8*PIXELS*CHANNELS", tlast=False)
    return local + note + wires + flag + check + "\n" + fifo


def _classify(quantised: QuantisedNetwork, folded: FoldedNetwork) -> str:
    width = quantised.output_bits
    bits = f"{width}*LOGIT_LANES"
    wires = (
        "    // The class comes with the last logit; images of a wrong length are dropped.\n"
        f"    localparam CLASSES     = {folded.network.classes};\n"
        f"    localparam LOGIT_LANES = {_logit_lanes(folded)};\n\n"
        f"{declared('class', bits, tuser=True)}"
    )
    argmax = instance(
        "argmax",
        "classify",
        [
            ("CLASSES", "CLASSES"),
            ("LANES", "LOGIT_LANES"),
            ("WIDTH", width),
            *[("SIGNED", 0)] * (not quantised.gives_sums),
        ],
        [
            *CLOCKED,
            *sink(folded.output.name, tlast=True),
            *source("class"),
            ("m_axis_tuser", "class_tuser"),
        ],
    )
    ports: list[Pair] = [
        ("s_axis_tdata", "{class_tuser, class_tdata}"),
        *sink("class", tlast=True)[1:],
        *((f"s_flag_{signal}", f"flag_fifo_{signal}") for signal in SIGNALS),
        ("m_axis_tdata", "{m_axis_tuser, m_axis_tdata}"),
        *source("m_axis")[1:],
    ]
    drop = instance("frame_drop", "drop", [("WIDTH", f"16 + {bits}")], ports)
    return wires + argmax + "\n" + drop
