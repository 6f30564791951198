"""The texts of a bundle, from its templates: in them, @key@ stands for a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from convstream import versions
from convstream.fpga.bundling.vectors import COUNT, Vectors
from convstream.model.hardware import rom
from convstream.sim.design import Design

# By path in the bundle.
FILES = {
    "README.md": "README.md",
    "Makefile": "Makefile",
    "{name}.core": "network.core",
    "{name}_vivado.tcl": "network_vivado.tcl",
    "{name}_quartus.tcl": "network_quartus.tcl",
    "rtl/{name}_axis.v": "network_axis.v",
    "sim/{name}_tb.v": "network_tb.v",
    "example/{name}_example.v": "network_example.v",
}
TEMPLATES = Path(__file__).with_name("templates")


def fill(template: str, values: Mapping[str, str | int]) -> str:
    """The text of a template. Raises `KeyError` where a value is missing."""
    text = (TEMPLATES / f"{template}.in").read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda key: str(values[key[1]]), text)


def table(rows: Sequence[Sequence[str | int]]) -> str:
    """A table in Markdown; its first row holds the titles. Numbers have commas and stand right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    right = [all(isinstance(row[place], int) for row in rows[1:]) for place in range(len(rows[0]))]
    rule = ["--:" if numbers else "---" for numbers in right]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], rule, *cells[1:]])


def names(network: str) -> dict[str, str | int]:
    """What each text needs to name things of a network."""
    macro = network.upper()
    default = f'`ifndef {macro}_ROM_DIR\n`define {macro}_ROM_DIR "./"\n`endif\n'
    return {"name": network, "macro": macro, "default": default}


def values(design: Design, rtl: list[str], mem: list[str], chosen: Vectors) -> dict[str, str | int]:
    """The values of all templates. rtl, mem: file names."""
    manifest = design.manifest
    channels, height, width = design.input_shape
    pixels, bits = manifest["pixels_per_beat"], design.output_bits
    in_bits, out_bits = 8 * design.input_bytes, bits * design.output_lanes
    beats = design.input_beats
    weighted = [layer["name"] for layer in manifest["layers"] if "pe" in layer]
    signature = "".join(f"{_signature(design, layer):08x}" for layer in reversed(weighted))
    kind, what = ("int32", "logit") if bits == 32 else ("uint8", "code")
    codes = design.takes.codes
    assert codes is not None
    version = versions.package("convstream")
    common: dict[str, str | int] = {
        "version": version if version[0].isdigit() else "0",
        "count": COUNT,
        "images": chosen.source,
        "in_bits": in_bits,
        "in_high": in_bits - 1,
        "in_beats": beats,
        "beat_width": max(1, (beats - 1).bit_length()),
        "beat_high": max(1, (beats - 1).bit_length()) - 1,
        "out_bits": out_bits,
        "out_high": out_bits - 1,
        "out_beats": len(design.slots),
        "lane_bits": bits,
        "classes": design.classes,
        "signature_bits": 32 * len(weighted),
        "signature_high": 32 * len(weighted) - 1,
        "signature": f"{32 * len(weighted)}'h{signature}",
        "cycles": manifest["cycles"],
        "latency": manifest["latency"],
        # Twice what an image takes that is alone.
        "watchdog": 2 * (manifest["latency"] + beats) + 1000,
        "shape": f"{height} rows of {width}",
        "scale": repr(codes.scale),
        "zero_point": codes.zero_point,
        "pixels": f"{counted(pixels, 'pixel')} of {counted(channels, 'channel')}",
        "lanes": counted(design.output_lanes, what),
        "kind": kind,
        "title": f"{design.name}: from {channels}x{height}x{width} images to {what}s and a class, "
        f"an image every {manifest['cycles']:,} clocks",
        "ports": table(_ports(in_bits, out_bits, 32 * len(weighted))),
        "resources": table(_resources(design)),
        "core_rtl": "\n".join(f"      - rtl/{path}" for path in rtl),
        "core_mem": "\n".join(f"      - mem/{path}: {{copyto: {path}}}" for path in mem),
        "core_data": "\n".join(
            f"      - sim/{path}: {{copyto: {path}}}"
            for path in (f"{design.name}_tb_{kind}.hex" for kind in chosen.files)
        ),
        "tcl_rtl": " \\\n    ".join(f"$bundle/rtl/{path}" for path in rtl),
        "tcl_mem": " \\\n    ".join(f"$bundle/mem/{path}" for path in mem),
    }
    return common | names(design.name) | _axis(design, in_bits, out_bits)


def _axis(design: Design, in_bits: int, out_bits: int) -> dict[str, str | int]:
    """What the AXI4-Stream wrapper needs: widths of 8 * 2^n bits, and which bytes count."""
    wide_in, wide_out = (8 << (bits // 8 - 1).bit_length() for bits in (in_bits, out_bits))
    layer = design.manifest["layers"][-1]
    folds = -(-layer["out_shape"][0] // layer["out_lanes"])
    spare = wide_out - out_bits
    keeps = [keep(beat >= 0, design.output_bits // 8, wide_out // 8) for beat in design.slots]
    # Beats repeat those of a position, of which the last may have spare lanes.
    groups = folds if keeps[0] != keeps[folds - 1] else 1
    return {
        "axis_in_bytes": wide_in // 8,
        "axis_in_high": wide_in - 1,
        "axis_out_bytes": wide_out // 8,
        "axis_out_high": wide_out - 1,
        "axis_keep_high": wide_out // 8 - 1,
        "in_slice": f"[{in_bits - 1}:0]" if in_bits < wide_in else "",
        "out_padded": f"{{{spare}'d0, outputs}}" if spare else "outputs",
        "groups": groups,
        "group_high": max(1, (groups - 1).bit_length()) - 1,
        "keep_full": keeps[0],
        "keep_last": keeps[folds - 1],
    }


def keep(lanes: np.ndarray, lane_bytes: int, width: int) -> str:
    """A tkeep of `width` bits: those of the `lanes`, bool, that hold something."""
    value = sum(1 << place for place, one in enumerate(lanes.repeat(lane_bytes)) if one)
    return f"{width}'h{value:x}"


def counted(number: int, noun: str) -> str:
    """Such as `1 pixel`, `2 pixels`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _signature(design: Design, layer: str) -> int:
    """The hash of a layer's ROMs; `Design.roms` has them in the order of `rom.signature`."""
    return rom.signature(*(design.files[name].decode() for name in design.roms(layer)))


def _ports(in_bits: int, out_bits: int, signature_bits: int) -> list[list[str | int]]:
    return [
        ["port", "direction", "bits", "what it is"],
        ["clk", "in", 1, "the clock; its rising edge counts"],
        ["rst", "in", 1, "synchronous reset, active high"],
        ["s_axis_tdata", "in", in_bits, "pixels"],
        ["s_axis_tvalid, s_axis_tready", "in, out", 1, "handshake"],
        ["s_axis_tlast", "in", 1, "marks an image's last beat"],
        ["m_axis_tdata", "out", out_bits, "outputs"],
        ["m_axis_tuser", "out", 16, "class, on the last beat"],
        ["m_axis_tvalid, m_axis_tready", "out, in", 1, "handshake"],
        ["m_axis_tlast", "out", 1, "marks the last beat of an image's outputs"],
        ["frame_error", "out", 1, "pulses for an image of a wrong length"],
        ["signature", "out", signature_bits, "hashes of the ROMs, 32 bits a layer with weights"],
    ]


def _resources(design: Design) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for layer in design.manifest["layers"]:
        folding = f"{layer['pe']} x {layer['simd']}" if "pe" in layer else ""
        numbers = (layer[key] for key in ("multipliers", "cycles", "rom_bits", "fifo_bits"))
        rows.append([layer["name"], layer["kind"], folding, *numbers])
    sums = [sum(int(row[place]) for row in rows) for place in (3, 5, 6)]
    total: list[str | int] = ["all", "", "", sums[0], design.cycles, *sums[1:]]
    titles = ["layer", "kind", "PE x SIMD", "multipliers", "clocks", "ROM bits", "FIFO bits"]
    return [[*titles], *rows, total]
