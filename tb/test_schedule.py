"""The predicted clock of every image's last logits against the Verilog itself, to the clock."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from clocks import check, folded_at_random
from extras import needs_icarus
from random_networks import (
    generator,
    random_network,
    random_parameters,
    random_window,
    rescaled,
)

from convstream.model.base.errors import UserError
from convstream.model.hardware import schedule
from convstream.model.hardware.folding import PIXELS_PER_BEAT, FoldedNetwork, beat_pixels
from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.scaling import scalings
from convstream.model.hardware.schedule import buffers, latency, simulate
from convstream.model.hardware.simulation import Simulation
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stage import Folding
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import AvgPool, Conv, Linear, MaxPool


@needs_icarus
@pytest.mark.parametrize("number", range(12))
def test_model_is_exact(number: int, seed: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([int(seed), 51, number])
    while True:
        quantised = random_network(rng, name="net", max_size=12, max_layers=6)
        folded = folded_at_random(rng, quantised.network)
        if folded.cycles <= 2000:
            break
    check(rng, quantised, folded, tmp_path / "net")


@needs_icarus
@pytest.mark.parametrize("number", range(8))
def test_scales_of_any_value(number: int, seed: str, tmp_path: Path) -> None:
    """Sums that are multiplied, clamped and moved, at once or digit by digit."""
    rng = np.random.default_rng([int(seed), 52, number])
    while True:
        quantised = random_network(rng, name="net", max_size=12, max_layers=5)
        network = quantised.network
        folded = folded_at_random(rng, network)
        if folded.cycles <= 2000 and len(network.weighted) > 1:
            break
    quantised = rescaled(rng, quantised)
    folded = replace(folded, scalings=scalings(quantised))
    check(rng, quantised, folded, tmp_path / "net")


# Where padding is most of what windows see: more columns to read than beats come in, bursts of
# windows that take several columns each.
TINY = {
    "pool_of_one_row": (MaxPool(2, 2, 1), (1, 16)),
    "pool_of_two_rows": (MaxPool(2, 2, 1), (2, 16)),
    "pool_that_ends_in_padding": (MaxPool(5, 2, 4), (2, 13)),
    "conv_of_one_row": (Conv(2, 2, stride=2, padding=1), (1, 16)),
    "conv_that_ends_in_padding": (Conv(2, 5, stride=2, padding=4), (1, 5)),
    "conv_of_stride3": (Conv(2, 5, stride=3, padding=3), (2, 9)),
}


@needs_icarus
@pytest.mark.parametrize("name", [*TINY, *(f"random{number}" for number in range(12))])
def test_tiny_images_take_what_is_predicted(name: str, seed: str, tmp_path: Path) -> None:
    rng = generator(seed, 53, name)
    layer, size = TINY[name] if name in TINY else tiny(rng)
    network = Network.chain("net", (layer, Linear(2)), (1, *size))
    pixels = [pixels for pixels in PIXELS_PER_BEAT if fits(network, pixels)]
    window = layer.window.taps
    simd = int(rng.integers(1, window + 1)) if rng.random() < 0.3 else window
    foldings = {
        node.name: Folding(2, min(8, node.weight_shape[1]), input_major=True)
        if stage_class(node).ordered
        else Folding(2, simd)
        for node in network.weighted
    }
    folded = FoldedNetwork(network, foldings, 1 if name in TINY else int(rng.choice(pixels)))
    quantised = power_of_two(network, random_parameters(rng, network))
    ends = check(rng, quantised, folded, tmp_path / "net", images=16)
    # Images end in a rhythm of several where one of them takes no whole number of clocks.
    assert (ends[-1] - ends[3]) / 12 == folded.cycles


def tiny(rng: np.random.Generator) -> tuple[Conv | MaxPool, tuple[int, int]]:
    """A window on a small image: of any kind, or a square one on a few rows."""
    if rng.random() < 0.6:
        dilated = rng.random() < 0.6
        window, size = random_window(rng, 3 if dilated else 1)
        geometry = window.kernel, window.stride, window.padding
        return Conv(2, *geometry, window.dilation) if dilated else MaxPool(*geometry), size
    while True:
        height, width = int(rng.integers(1, 5)), int(rng.integers(1, 17))
        kernel, stride = int(rng.integers(1, 7)), int(rng.integers(1, 5))
        padding = int(rng.integers(0, kernel))
        if min(height, width) + 2 * padding >= kernel:
            kind = partial(Conv, 2) if rng.random() < 0.5 else MaxPool
            return kind(kernel, stride, padding), (height, width)


def fits(network: Network, pixels: int) -> bool:
    try:
        beat_pixels(network, pixels)
    except UserError:
        return False
    return True


# Windows pixel by pixel, maxima instead of windows.
COMPACT = {
    "usual": (Conv(3, 3), MaxPool(2, 2), Conv(2, 3, padding=1), MaxPool(2, 2), Linear(5)),
    "left_over": (Conv(4, 2, stride=2), MaxPool(3, 3), Conv(3, 2, padding=1), Linear(4)),
    "strides": (Conv(3, 3, stride=2, padding=2), MaxPool(2, 2), Conv(2, 1, stride=3), Linear(3)),
    "pool_first": (MaxPool(2, 2), Conv(4, 3, padding=2), MaxPool(2, 2), Conv(2, 2), Linear(3)),
}


@needs_icarus
@pytest.mark.parametrize("pe", [1, 2])
@pytest.mark.parametrize("name", COMPACT)
def test_model_of_compact_networks_is_exact(name: str, pe: int, seed: str, tmp_path: Path) -> None:
    rng = generator(seed, 52, name, pe)
    network = Network.chain("net", COMPACT[name], (2, 15, 13))
    foldings = {
        node.name: Folding(pe, 1, input_major=True)
        if stage_class(node).ordered
        else Folding(pe, node.in_shape[0])
        for node in network.weighted
    }
    folded = FoldedNetwork(network, foldings, compact=True)
    modules = {stage.module for stage in folded.stages}
    assert {"pixel_conv2d", "running_max"} <= modules
    assert "conv2d" not in modules
    quantised = power_of_two(network, random_parameters(rng, network))
    check(rng, quantised, folded, tmp_path / "net")
    assert buffers(folded).interval <= folded.cycles


# Depthwise convolutions, from memory and from registers, and pools over more than a few pixels.
SEPARABLE = {
    "taps_of_a_word": (10, Conv(4, 3, padding=1, groups=4), Folding(2, 1), AvgPool(8, 8)),
    "taps_of_a_pixel": (19, Conv(4, 3, stride=2, groups=4), Folding(3, 1), AvgPool(4, 4)),
    "taps_for_multiplier": (18, Conv(8, 2, stride=2, groups=4), Folding(1, 1), AvgPool((8, 1), 1)),
    "all_windows": (10, Conv(4, 3, padding=1, groups=4), Folding(4, 9), AvgPool((4, 2), (4, 2))),
    "windows_in_turn": (18, Conv(8, 3, 2, padding=1, groups=4), Folding(3, 5), AvgPool(8, 1)),
}


@needs_icarus
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", SEPARABLE)
def test_model_of_separable_networks_is_exact(
    name: str, scaled: bool, seed: str, tmp_path: Path
) -> None:
    rng = generator(seed, 55, name, scaled)
    size, depthwise, folding, pool = SEPARABLE[name]
    layers = (Conv(4, 3), depthwise, Conv(3, 1), pool, Conv(5, 1), Linear(6))
    network = Network.chain("net", layers, (2, size, size))
    foldings = {"conv1": Folding(2, 6), "conv2": folding, "conv3": Folding(2, 3)}
    foldings |= {"conv4": Folding(2, 1), "fc": Folding(2, 2, input_major=True)}
    folded = FoldedNetwork(network, foldings)
    assert {"depthwise_conv2d", "avgpool2d"} <= {stage.module for stage in folded.stages}
    quantised = power_of_two(network, random_parameters(rng, network))
    if scaled:
        quantised = rescaled(rng, quantised)
        folded = replace(folded, scalings=scalings(quantised))
    check(rng, quantised, folded, tmp_path / "net")
    assert "RUNNING" in (tmp_path / "net" / "net.v").read_text()
    assert buffers(folded).interval <= folded.cycles


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("cycles", [784, 1157, 2524, 8126, 200_000])
def test_fifos_keep_the_pace(name: str, cycles: int) -> None:
    folded = solve(NETWORKS[name], cycles=cycles)
    found = buffers(folded)
    assert found.interval <= folded.cycles
    assert found.latency == latency(folded)
    if not folded.streams.forks:
        bits = [8 * found.fifo_depths[stage.name] * stage.out_lanes for stage in folded.stages]
        assert sum(bits) <= 4096
    # None can be smaller: one beat less, where 2 is the least, costs pace or latency.
    for stage, depth in found.fifo_depths.items():
        if depth > 2:
            depths = {**found.fifo_depths, stage: depth - 1}
            slower = simulate(folded, depths, 12).interval > folded.cycles
            assert slower or simulate(folded, depths, 1).latency > found.latency


def test_a_burst_into_a_slow_reader_gets_a_fifo() -> None:
    # fc1 ends in a burst of 30 beats of 8 bytes; fc2 takes a byte a clock.
    network = Network.chain("net", (Linear(240), Linear(4)), (1, 30, 30))
    folded = FoldedNetwork(network, {"fc1": Folding(8, 30, True), "fc2": Folding(4, 1, False)})
    assert folded.cycles == 900
    assert simulate(folded, {"fc1": 2, "fc2": 2}, 12).interval > 1000
    found = buffers(folded)
    assert found.interval <= 900
    assert found.fifo_depths["fc1"] > 20


@pytest.mark.parametrize(
    ("name", "pixels", "most"),
    [("lenet5", 1, 2000), ("convnet", 1, 900), ("cnn7x7", 1, 970), ("convnet", 4, 250)],
)
def test_latency_at_full_rate(name: str, pixels: int, most: int) -> None:
    assert latency(solve(NETWORKS[name], pixels=pixels)) <= most


def test_multipliers_buy_latency() -> None:
    network = NETWORKS["cnn7x7"]
    assert latency(solve(network)) > 900
    folded = solve(network, cycles=784, latency=900)
    assert latency(folded) <= 900
    assert folded.multipliers == solve(network).multipliers + 1
    assert solve(network, latency=2000) == solve(network)
    with pytest.raises(UserError, match="a latency of 700 cycles; more multipliers do not"):
        solve(network, latency=700)


def test_loop_orders_are_the_best() -> None:
    network = Network.chain("net", (Conv(4, 3), Linear(30), Linear(20), Linear(10)), (1, 12, 12))
    folded = solve(network)
    for number in range(8):
        orders = {
            name: replace(folded.foldings[name], input_major=bool(number >> bit & 1))
            for bit, name in enumerate(("fc1", "fc2", "fc3"))
        }
        other = folded.refolded(orders)
        assert latency(folded) * 0.98 <= latency(other)


def test_logits_of_a_network_without_fc_wait_for_the_whole_image() -> None:
    network = Network.chain("net", (Conv(3, 2), Conv(2, 2)), (1, 6, 6))
    folded = solve(network)
    found = buffers(folded)
    assert found.fifo_depths["conv2"] == folded.output.output_beats
    assert found.interval <= folded.cycles


@pytest.mark.parametrize("number", range(8))
def test_another_fifo_changes_the_times_as_a_new_run_does(number: int, seed: str) -> None:
    rng = generator(seed, 54, number)
    folded = folded_at_random(rng, random_network(rng, max_size=12, max_layers=6).network)
    depths = {stage.name: int(rng.integers(2, 12)) for stage in folded.stages}
    before = Simulation.of(folded.stages, depths, 4)
    for name in depths:
        other = {**depths, name: int(rng.integers(1, 12))}
        whole = Simulation.of(folded.stages, other, 4)
        found = before.refitted(other, name, 10**9)
        assert found is not None
        assert found.logits == whole.logits
        for stream, edge in whole.edges.items():
            assert found.edges[stream].written == edge.written
            assert found.edges[stream].read == edge.read
        latency = before.timing.latency
        if other[name] < depths[name] and before.refitted(other, name, latency) is None:
            assert whole.timing.latency > latency


@pytest.mark.parametrize("cycles", [20_000, 26_000])
def test_some_rows_of_a_large_image_tell_of_all(
    cycles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = (Conv(3, 3, stride=2, padding=1), MaxPool(2, 2), Conv(4, 3, padding=1), Linear(5))
    folded = solve(Network.chain("net", layers, (1, 800, 25)), cycles=cycles)
    whole = buffers(folded)
    monkeypatch.setattr(schedule, "LARGE", 3000)
    assert buffers(folded) == whole
    assert latency(folded) == whole.latency
    rhythm = schedule._rhythm(folded)
    assert rhythm.kept < rhythm.left_out
