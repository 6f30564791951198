"""What the layers of a network give inside the simulated RTL, not only its logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from sim import run, shard
from sim.collect import UNKNOWN
from sim.design import Design

# A probe writes down each beat that a layer hands on, from the harness, by hierarchical name.
_PROBE = """
    integer probe_{name};
    initial probe_{name} = $fopen("{path}", "w");
    always @(posedge clk) begin
        if (!rst && dut.{name}_tvalid !== 1'b0 && dut.{name}_tready !== 1'b0) begin
            $fwrite(probe_{name}, "%h\\n", dut.{name}_tdata);
        end
    end
    always @(posedge done) $fclose(probe_{name});
"""


def layer_outputs(
    design: Design, image: np.ndarray, root: Path, simulator: str = "verilator", console: Any = None
) -> list[np.ndarray]:
    """The output of every layer for one image, uint8 (C, H, W), taken from the RTL.

    int64 (C, H, W) each: uint8 of the hidden layers, int32 logits of the last, UNKNOWN where a bit
    is X or a beat never came. root: folder for the build and for what the probes write.
    Raises `ToolError` where the simulator fails.
    """
    layers = design.manifest["layers"]
    root.mkdir(parents=True, exist_ok=True)
    paths = {layer["name"]: root.resolve() / f"{layer['name']}.beats" for layer in layers}
    harness, end, rest = design.sources["harness.v"].rpartition("endmodule")
    for name, path in paths.items():
        path.unlink(missing_ok=True)
        text = str(path).replace("\\", "\\\\").replace('"', '\\"')
        harness += _PROBE.format(name=name, path=text)
    probed = dataclasses.replace(
        design, sources=design.sources | {"harness.v": harness + end + rest}
    )
    options = shard.Options(simulator)
    run.compile_one(probed, options, root, console or run.report.console())
    shard.run(probed, shard.Shard(0, 0, image[None], options, str(root)))
    outputs = []
    for index, layer in enumerate(layers):
        words = paths[layer["name"]].read_text().split()
        outputs.append(unpack(layer, words, 8 if index < len(layers) - 1 else 32))
    return outputs


def unpack(layer: dict[str, Any], words: list[str], bits: int) -> np.ndarray:
    """int64 (C, H, W) of a layer's first beats, hexadecimal `words` of unsigned bytes or of int32.

    Groups of pixels come in raster order; within one, beats of `out_lanes` channels each, for all
    its pixels, the lowest in the lowest bits.
    """
    channels, height, width = layer["out_shape"]
    lanes, pixels = layer["out_lanes"], layer["out_pixels"]
    folds = -(-channels // lanes)
    digits = bits // 4
    values = np.full((height * width // pixels * folds, pixels * lanes), UNKNOWN, np.int64)
    for beat, word in zip(values, words, strict=False):
        for lane in range(pixels * lanes):
            stop = len(word) - lane * digits
            beat[lane] = _integer(word[max(0, stop - digits) : stop], bits)
    values = values.reshape(-1, folds, pixels, lanes).transpose(0, 2, 1, 3)
    return values.reshape(height * width, -1)[:, :channels].T.reshape(channels, height, width)


def _integer(digits: str, bits: int) -> int:
    try:
        value = int(digits, 16)
    except ValueError:
        return int(UNKNOWN)
    return value - (1 << bits) if bits == 32 and value >> 31 else value
