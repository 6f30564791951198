"""Networks in Icarus, input always valid and output always ready: what leaves them, and when."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
from random_networks import random_images

from convstream.model.base.errors import UserError
from convstream.model.export import export
from convstream.model.hardware import rom
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.schedule import buffers, simulate
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stream_order import arrival_order
from convstream.model.network import reference
from convstream.model.network.graph import Network
from convstream.model.network.quantised import QuantisedNetwork

RTL = Path(__file__).resolve().parents[1] / "rtl"
IMAGES = 8

# Input always valid, output always ready: prints the clock and the logits of every output beat.
BENCH = """
module bench;
    reg clk = 0, rst = 1, valid = 0, last = 0;
    reg [{in_bits}-1:0] data, beats [0:{count}-1];
    wire ready, out_valid, out_last, frame_error;
    wire [{out_bits}-1:0] logits;
    wire [15:0] class;
    integer sent = 0, clock = 0, taken = 0;
    {name} dut (
        .clk(clk), .rst(rst), .s_axis_tdata(data), .s_axis_tvalid(valid), .s_axis_tready(ready),
        .s_axis_tlast(last), .m_axis_tdata(logits), .m_axis_tuser(class),
        .m_axis_tvalid(out_valid), .m_axis_tready(1'b1), .m_axis_tlast(out_last),
        .frame_error(frame_error), .signature()
    );
    always #5 clk = !clk;
    initial begin
        $readmemh("beats.mem", beats);
        repeat (4) @(posedge clk);
        #1 rst = 0;
    end
    always @(posedge clk) if (!rst) begin
        clock <= clock + 1;
        if (valid && ready && sent == 1) $display("first %0d", clock);
        if (out_valid) begin
            $display("out %0d %0d %h", clock, out_last, logits);
            taken = taken + out_last;
        end
        if (taken == {images} || clock == {limit}) $finish;
        if (!valid || ready) begin
            valid <= sent < {count};
            data  <= beats[sent];
            last  <= sent % {image_beats} == {image_beats} - 1;
            sent  = sent + 1;
        end
    end
endmodule
"""


def run(
    quantised: QuantisedNetwork,
    folded: FoldedNetwork,
    images: np.ndarray,
    folder: Path,
) -> tuple[list[int], np.ndarray]:
    """Clocks from the first pixel to each image's last logits in Icarus, and all the logits."""
    export(quantised, folder, folded=folded)
    first, last = folded.stages[0], folded.stages[-1]
    order = arrival_order(first.in_shape, first.lanes, first.pixels)
    beats = images.reshape(len(images), -1)[:, order].reshape(-1, first.lanes * first.pixels)
    (folder / "beats.mem").write_text(rom.to_hex(beats))
    lanes = last.out_lanes * last.out_pixels
    bench = BENCH.format(
        name=quantised.network.name,
        in_bits=8 * beats.shape[1],
        out_bits=quantised.output_bits * lanes,
        count=len(beats),
        image_beats=folded.input_beats,
        images=len(images),
        limit=folded.cycles * (len(images) + 10) + 10_000,
    )
    (folder / "bench.v").write_text(bench)
    build = ["iverilog", "-g2005", "-o", "bench.vvp", "-s", "bench", "-y", str(RTL), "-y", "."]
    subprocess.run([*build, "bench.v"], cwd=folder, check=True, timeout=120)
    command = ["vvp", "-n", "bench.vvp"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=300
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    start = next(int(line[1]) for line in lines if line[0] == "first")
    outputs = [line[1:] for line in lines if line[0] == "out"]
    ends = [int(clock) - start for clock, final, _ in outputs if final == "1"]
    # The lanes of a last beat that hold no logit may be anything.
    words = [text.replace("x", "0").replace("z", "0") for _, _, text in outputs]
    kind = np.int32 if quantised.gives_sums else np.uint8
    logits = rom.from_hex("\n".join(words), kind).reshape(len(ends), -1)
    ordered = np.empty((len(ends), quantised.network.classes), np.int32)
    ordered[:, arrival_order(last.out_shape, last.out_lanes, last.out_pixels)] = logits[
        :, : quantised.network.classes
    ]
    return ends, ordered


def folded_at_random(rng: np.random.Generator, network: Network) -> FoldedNetwork:
    """A folding of any pace, pixels a beat and loop orders, at most 2,000 cycles an image."""
    for pixels in rng.permutation([1, 1, 2, 4]).tolist():
        try:
            fastest = solve(network, pixels=pixels)
        except UserError:
            continue
        cycles = max(fastest.cycles, min(2000, int(fastest.cycles * rng.choice([1, 1.5, 3, 6]))))
        folded = solve(network, cycles=cycles, pixels=pixels)
        if rng.random() < 0.3:
            orders = {
                stage.name: replace(stage.folding, input_major=bool(rng.random() < 0.5))
                for stage in folded.stages
                if stage.ordered
            }
            folded = folded.refolded(orders)
        return folded
    raise AssertionError("one pixel a beat always fits")


def check(
    rng: np.random.Generator,
    quantised: QuantisedNetwork,
    folded: FoldedNetwork,
    folder: Path,
    images: int = IMAGES,
) -> list[int]:
    """Icarus gives the logits of random images, and when the model says; returns those clocks."""
    batch = random_images(rng, quantised, images)
    ends, logits = run(quantised, folded, batch, folder)
    timing = simulate(folded, buffers(folded).fifo_depths, images)
    assert ends == [clock - timing.first_in[0] for clock in timing.last_out]
    assert np.array_equal(logits, reference.predict(quantised, batch))
    return ends
