"""The folding solver against exhaustive search, its figures for the five networks, its refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from random_networks import Choices, random_network
from random_numbers import random_numbers

from convstream.model.base.errors import UserError
from convstream.model.hardware.folding import FoldedNetwork, beat_pixels
from convstream.model.hardware.scaling import scalings
from convstream.model.hardware.schedule import buffers
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stage import Folding
from convstream.model.network.examples import NETWORKS
from convstream.model.network.graph import Network
from convstream.model.network.layers import Add, AvgPool, Concat, Conv, Linear, MaxPool

# What rectangular folding needs at 784 cycles an image; below it lies what splitting products
# freely would need, under which no folding can go.
MOST = {
    "convnet": 37,
    "cnn7x7": 152,
    "cnn5x5": 101,
    "simplecnn": 3436,
    "lenet5": 630,
    "dsnet": 609,
}
LEAST = {
    "convnet": 35,
    "cnn7x7": 152,
    "cnn5x5": 95,
    "simplecnn": 3387,
    "lenet5": 570,
    "dsnet": 521,
}

SMALL = [
    (Network.chain("one_fc", (Linear(5),), (2, 1, 3)), 1),
    (Network.chain("one_conv", (Conv(4, 2),), (2, 4, 4)), 1),
    (Network.chain("conv_fc", (Conv(3, 2), Linear(4)), (1, 4, 4)), 1),
    (
        Network.chain(
            "two_conv", (Conv(3, 2, padding=1), Conv(4, 2, stride=2), Linear(2)), (1, 3, 3)
        ),
        1,
    ),
    # A pool of stride 1 with padding gives more positions than it takes.
    (
        Network.chain("growing_pool", (Conv(3, 1), MaxPool(3, 1, padding=2), Linear(2)), (1, 2, 2)),
        1,
    ),
    (Network.chain("pool_first", (MaxPool(2, 1, padding=1), Conv(3, 2), Linear(2)), (2, 2, 3)), 1),
    (Network.chain("two_pixels", (Conv(4, 2, padding=1, stride=2), Linear(3)), (1, 4, 4)), 2),
    (
        Network.graph(
            "residual",
            [(Conv(2, 1), [-1]), (Conv(2, 1), [0]), (Add(), [0, 1]), (Linear(2), [2])],
            (1, 2, 2),
        ),
        1,
    ),
    (
        Network.graph(
            "concat",
            [(Conv(2, 1), [-1]), (Conv(3, 1), [-1]), (Concat(), [0, 1]), (Linear(2), [2])],
            (2, 1, 2),
        ),
        1,
    ),
    (
        Network.graph(
            "image_again",
            [(Conv(2, 1), [-1]), (Concat(), [0, -1]), (Conv(2, 2), [1]), (Linear(2), [2])],
            (1, 2, 2),
        ),
        1,
    ),
    (Network.chain("four_pixels", (Conv(6, 1), MaxPool(2, 2), Linear(3)), (1, 4, 4)), 4),
]


def every_folding(network: Network, pixels: int) -> list[FoldedNetwork]:
    """All valid foldings, with nothing left out and nothing known about which are good."""
    options = []
    for node in network.weighted:
        channels, *window = node.weight_shape
        sizes = itertools.product(range(1, channels + 1), range(1, math.prod(window) + 1))
        options.append([(node.name, Folding(pe, simd)) for pe, simd in sizes])
    found = []
    for foldings in itertools.product(*options):
        try:
            found.append(FoldedNetwork(network, dict(foldings), pixels))
        except UserError:
            continue
    return found


@pytest.mark.parametrize(("network", "pixels"), SMALL, ids=[n.name for n, _ in SMALL])
def test_solver_is_optimal(network: Network, pixels: int) -> None:
    every = [(f.cycles, f.multipliers) for f in every_folding(network, pixels)]
    for target in sorted({cycles for cycles, _ in every}):
        best = min(multipliers for cycles, multipliers in every if cycles <= target)
        folded = solve(network, cycles=target, pixels=pixels)
        assert folded.cycles <= target
        assert folded.multipliers == best, f"{target} cycles"
    for budget in sorted({multipliers for _, multipliers in every}):
        best = min(cycles for cycles, multipliers in every if multipliers <= budget)
        folded = solve(network, multipliers=budget, pixels=pixels)
        assert folded.multipliers <= budget
        assert folded.cycles == best, f"{budget} multipliers"
    fewest_cycles = min(cycles for cycles, _ in every)
    fewest_multipliers = min(multipliers for _, multipliers in every)
    assert solve(network, pixels=pixels).cycles == fewest_cycles
    with pytest.raises(UserError, match=f"at least {fewest_cycles}"):
        solve(network, cycles=fewest_cycles - 1, pixels=pixels)
    with pytest.raises(UserError, match=f"at least {fewest_multipliers}"):
        solve(network, multipliers=fewest_multipliers - 1, pixels=pixels)


@pytest.mark.parametrize("name", NETWORKS)
def test_full_rate(name: str) -> None:
    folded = solve(NETWORKS[name], cycles=784)
    assert folded.cycles <= 784
    assert LEAST[name] <= folded.multipliers <= MOST[name]
    assert solve(NETWORKS[name]) == folded
    assert solve(NETWORKS[name], multipliers=folded.multipliers).cycles == folded.cycles


@pytest.mark.parametrize(("name", "pixels", "cycles"), [("convnet", 4, 196), ("lenet5", 2, 392)])
def test_beyond_a_pixel_a_clock(name: str, pixels: int, cycles: int) -> None:
    folded = solve(NETWORKS[name], pixels=pixels)
    assert folded.input_beats == folded.cycles == cycles
    assert folded.utilisation > 0.8


@pytest.mark.parametrize("name", NETWORKS)
def test_more_cycles_never_cost_multipliers(name: str) -> None:
    targets = np.unique(np.geomspace(784, 200_000, 12).astype(int)).tolist()
    folded = [solve(NETWORKS[name], cycles=target) for target in targets]
    needed = [f.multipliers for f in folded]
    assert needed == sorted(needed, reverse=True)
    assert all(f.cycles <= target for f, target in zip(folded, targets, strict=True))


def test_random_networks_meet_their_targets(seed: str) -> None:
    rng = np.random.default_rng([int(seed), 31])
    for _ in range(100):
        network = random_network(rng).network
        fastest = solve(network)
        target = int(fastest.cycles * rng.uniform(1, 50))
        folded = solve(network, cycles=target)
        assert fastest.cycles <= folded.cycles <= target
        assert folded.multipliers <= fastest.multipliers
        assert folded.utilisation <= 1
        for before, after in itertools.pairwise(folded.stages):
            assert before.output_beats == after.input_beats
            assert (before.out_lanes, before.out_pixels) == (after.lanes, after.pixels)


def test_predicted_figures_of_a_stage() -> None:
    network = Network.chain("net", (Conv(5, 3, padding=1), MaxPool(2, 2), Linear(7)), (2, 4, 6))
    folded = FoldedNetwork(network, {"conv1": Folding(2, 4), "fc": Folding(3, 4, input_major=True)})
    conv, pool, fc = folded.stages
    assert conv.cycles == 24 * 3 * 5
    assert conv.multipliers == 8
    assert conv.input_beats == 24
    assert conv.output_beats == pool.input_beats == 24 * 3
    assert conv.rom_bits == 15 * 8 * 8 + 3 * 2 * 32
    assert pool.cycles == fc.input_beats == 6 * 3
    assert fc.cycles == 3 * 8
    assert folded.cycles == 360
    assert folded.multipliers == 20
    assert network.macs == 24 * 5 * 18 + 30 * 7


def test_fc_order_alternates_behind_convolutions() -> None:
    layers = (Conv(2, 3), Linear(9), Linear(8), Linear(7), Linear(6))
    folded = solve(Network.chain("net", layers, (1, 6, 6)))
    assert [f.input_major for f in list(folded.foldings.values())[1:]] == [True, False, True, False]


def test_ties_go_to_whole_beats() -> None:
    # 12 products in 3 cycles take 4 multipliers: of 1x4, 2x2 and 4x1 the fc takes what cuts its
    # beats of 2 channels evenly, and PE a divisor of the outputs.
    network = Network.chain("net", (Conv(2, 1), Linear(4)), (1, 1, 3))
    fc = solve(network, cycles=6).foldings["fc"]
    assert fc.pe * fc.simd == 4
    assert fc.simd in (1, 2, 4)
    assert 4 % fc.pe == 0


def test_fifos() -> None:
    folded = solve(NETWORKS["lenet5"])
    depths = buffers(folded).fifo_depths
    assert list(depths) == [stage.name for stage in folded.stages]
    assert min(depths.values()) >= 2
    # Without an fc the logits of a whole image wait until its length is known.
    convolutions = solve(Network.chain("net", (Conv(4, 2), Conv(6, 2)), (1, 5, 5)))
    assert buffers(convolutions).fifo_depths["conv2"] == convolutions.output.output_beats


@pytest.mark.parametrize(
    ("layers", "shape", "pixels", "expected"),
    [
        ((Conv(2, 3, padding=1), MaxPool(2, 2), Linear(3)), (1, 4, 8), 4, (4, 4, 2, 1)),
        ((Conv(2, 4, stride=4), Linear(3)), (1, 8, 8), 2, (2, 1, 1)),
        ((Conv(2, 3, stride=3), Linear(3)), (1, 8, 8), 1, (1, 1, 1)),
    ],
)
def test_pixels_through_the_layers(layers, shape, pixels, expected) -> None:
    assert tuple(beat_pixels(Network.chain("net", layers, shape), pixels).values()) == expected


@pytest.mark.parametrize(
    ("layers", "shape", "pixels", "message"),
    [
        ((Linear(3),), (1, 4, 8), 3, "expected 1, 2 or 4"),
        ((Linear(3),), (1, 4, 6), 4, "6 pixels wide"),
        ((Conv(2, 3), Linear(3)), (1, 8, 8), 4, "conv1 would give 4 .* 6 output columns"),
        ((Conv(2, 3, stride=3), Linear(3)), (1, 8, 8), 2, "conv1 takes 2 .* stride 3"),
    ],
)
def test_pixels_that_do_not_fit(layers, shape, pixels, message) -> None:
    with pytest.raises(UserError, match=message):
        solve(Network.chain("net", layers, shape), pixels=pixels)


@pytest.mark.parametrize(
    ("foldings", "message"),
    [
        ({"conv1": Folding(1, 1)}, "a folding missing, .*: fc"),
        (
            {"conv1": Folding(1, 1), "fc": Folding(1, 1), "pool1": Folding(1, 1)},
            "nothing .*: pool1",
        ),
        ({"conv1": Folding(4, 1), "fc": Folding(1, 1)}, "conv1: PE 4.*PE from 1 to 3"),
        ({"conv1": Folding(1, 5), "fc": Folding(1, 1)}, "conv1: PE 1, SIMD 5.*SIMD from 1 to 4"),
        ({"conv1": Folding(1, 1), "fc": Folding(0, 1)}, "fc: PE 0"),
        ({"conv1": Folding(1, 2, fabric=3), "fc": Folding(1, 1)}, "conv1: 3 of 2 products"),
    ],
)
def test_foldings_that_do_not_fit(foldings, message) -> None:
    with pytest.raises(UserError, match=message):
        FoldedNetwork(
            Network.chain("net", (Conv(3, 2), MaxPool(1, 1), Linear(2)), (1, 4, 4)), foldings
        )


def test_a_network_without_weights() -> None:
    with pytest.raises(UserError, match="net: no layer has weights"):
        solve(Network.chain("net", (AvgPool(2, 2),), (1, 4, 4)))


def test_beats_of_several_pixels_have_whole_channel_groups() -> None:
    network = Network.chain("net", (Conv(3, 1), Linear(2)), (1, 4, 4))
    with pytest.raises(UserError, match="PE 2 does not divide"):
        FoldedNetwork(network, {"conv1": Folding(2, 1), "fc": Folding(1, 1)}, pixels=2)


@pytest.mark.parametrize("target", [{"cycles": 784}, {"latency": 900}])
def test_target_and_budget_at_once(target: dict[str, int]) -> None:
    with pytest.raises(UserError, match="not both"):
        solve(NETWORKS["convnet"], multipliers=100, **target)


@pytest.mark.parametrize("cycles", [1600, 3000, 9000, 40_000])
def test_depthwise_layers_read_their_taps_from_memory(cycles: int) -> None:
    pairs = [layer for _ in range(2) for layer in (Conv(24, 3, padding=1, groups=24), Conv(24, 1))]
    layers = (Conv(24, 3, stride=2, padding=1), *pairs, AvgPool(20, 20), Linear(10))
    folded = solve(Network.chain("separable", layers, (3, 40, 40)), cycles=cycles)
    assert folded.cycles <= cycles
    assert folded.utilisation > 0.7
    for stage in folded.stages:
        if stage.module == "depthwise_conv2d":
            # All channels at once, or one tap of some; and these divide the channels.
            assert stage.folding.pe == 24 or stage.pixelwise
            assert 24 % stage.folding.pe == 24 % stage.lanes == 0


def test_a_convolution_of_one_channel_is_no_depthwise_one() -> None:
    network = Network.chain("net", (Conv(4, 3, groups=1), Linear(3)), (1, 8, 8))
    assert solve(network)["conv1"].module == "constant_conv2d"


def test_a_mean_of_different_numbers_of_pixels_is_refused() -> None:
    network = Network.chain("net", (Conv(2, 1), AvgPool(3, 1, padding=1), Conv(2, 1)), (1, 5, 5))
    quantised = random_numbers(Choices(np.random.default_rng(1)), network, powers=True)
    with pytest.raises(UserError, match="pool1: its windows hold different numbers of pixels"):
        solve(network, scalings=scalings(quantised))
