"""What each layer of a network gives inside the simulated RTL, not only the logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from convstream.sim import report, run, shard
from convstream.sim.collect import unpack
from convstream.sim.design import Design, layer_slots
from convstream.sim.shard import Shard

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
    design: Design, image: np.ndarray, root: Path, simulator: str = "verilator"
) -> dict[str, np.ndarray]:
    """The output of every layer for one image, uint8 (C, H, W), taken from the RTL.

    Each, by name, is int64 (C, H, W): the uint8 values of a hidden layer or the int32 logits of the
    last, `collect.UNKNOWN` where a bit is X or a beat never came. root: folder for the build and
    for what the probes write. Raises `ToolError` where the simulator fails.
    """
    layers = design.manifest["layers"]
    root.mkdir(parents=True, exist_ok=True)
    paths = {layer["name"]: root / f"{layer['name']}{shard.BEATS}" for layer in layers}
    harness, end, rest = design.sources["harness.v"].rpartition("endmodule")
    for name, path in paths.items():
        path.unlink(missing_ok=True)
        harness += _PROBE.format(name=name, path=path.name)
    probed = dataclasses.replace(
        design, sources=design.sources | {"harness.v": harness + end + rest}
    )
    part = Shard(image[None], str(root), simulator=simulator)
    run.compile_one(probed, part, report.console())
    shard.run(probed, part)
    outputs = {}
    for layer in layers:
        words = paths[layer["name"]].read_text().split()
        values = unpack(words, layer_slots(layer), 32 if layer is layers[-1] else 8)
        outputs[layer["name"]] = values.reshape(layer["out_shape"])
    return outputs
