"""Graphs that fork and join: their clocks and outputs in Icarus, FIFOs, foldings, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fuzz
import numpy as np
import pytest
from clocks import check, folded_at_random
from extras import needs_icarus
from random_graphs import graph_case, random_graph
from random_networks import Choices, generator
from random_numbers import random_numbers

from convstream.model.base.errors import UserError
from convstream.model.export import export
from convstream.model.hardware import manifest, overview, schedule, verilog
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.scaling import scalings
from convstream.model.hardware.schedule import buffers, latency, simulate
from convstream.model.hardware.simulation import Simulation
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stage import Folding
from convstream.model.hardware.timing import DeadlockError
from convstream.model.network import reference
from convstream.model.network.graph import Network
from convstream.model.network.layers import Add, Concat, Conv, Linear, MaxPool, Upsample
from convstream.sim.collect import collect, compare
from convstream.sim.design import Design

SAME = dict(kernel=3, padding=1)

GRAPHS = {
    "residual": Network.graph(
        "net",
        [
            (Conv(4, **SAME), [-1]),
            (Conv(4, **SAME), [0]),
            (Conv(4, **SAME), [1]),
            (Add(), [2, 0]),
            (Linear(5), [3]),
        ],
        (1, 10, 9),
    ),
    "projection": Network.graph(
        "net",
        [
            (Conv(6, **SAME), [-1]),
            (Conv(6, **SAME), [0]),
            (Add(), [0, 1]),
            (Conv(8, stride=2, **SAME), [2]),
            (Conv(8, **SAME), [3]),
            (Conv(8, 1, stride=2), [2]),
            (Add(), [5, 4]),
            (Linear(5), [6]),
        ],
        (3, 8, 8),
    ),
    "image": Network.graph(
        "net", [(Conv(2, **SAME), [-1]), (Concat(), [-1, 0]), (Linear(3), [1])], (2, 7, 6)
    ),
    "twice": Network.graph(
        "net", [(Conv(3, **SAME), [-1]), (Concat(), [0, 0]), (Linear(3), [1])], (1, 6, 5)
    ),
    "branches": Network.graph(
        "net",
        [
            (Conv(4, **SAME), [-1]),
            (MaxPool(3, 1, padding=1), [0]),
            (Conv(4, 1), [0]),
            (Conv(2, **SAME), [2]),
            (Concat(), [1, 2, 3]),
            (Conv(3, 2), [4]),
        ],
        (1, 7, 9),
    ),
    "parallel": Network.graph(
        "net",
        [
            (Conv(4, 5, padding=2), [-1]),
            (Conv(4, 1), [-1]),
            (Concat(), [0, 1]),
            (MaxPool(2, 2), [2]),
            (Linear(5), [3]),
        ],
        (3, 10, 10),
    ),
    "up_again": Network.graph(
        "net",
        [
            (Conv(4, **SAME), [-1]),
            (MaxPool(2, 2), [0]),
            (Upsample(2, 2), [1]),
            (Concat(), [0, 2]),
            (Conv(2, 1), [3]),
        ],
        (2, 8, 8),
    ),
    "codes": Network.graph(
        "net", [(Conv(4, **SAME), [-1]), (Conv(4, **SAME), [0]), (Add(), [1, 0])], (2, 6, 5)
    ),
}


def exact(rng: np.random.Generator, network: Network, folder: Path, powers: bool) -> None:
    quantised = random_numbers(Choices(rng), network, powers)
    folded = replace(folded_at_random(rng, network), scalings=scalings(quantised))
    check(rng, quantised, folded, folder / "net")
    found = buffers(folded)
    assert found.interval <= folded.cycles
    assert found.latency == latency(folded)


@needs_icarus
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_takes_what_is_predicted(name: str, seed: str, tmp_path: Path) -> None:
    exact(generator(seed, 61, name), GRAPHS[name], tmp_path, powers=True)


@needs_icarus
@pytest.mark.parametrize("number", range(8))
def test_random_graphs_take_what_is_predicted(number: int, seed: str, tmp_path: Path) -> None:
    rng = generator(seed, 62, number)
    exact(rng, random_graph(Choices(rng)), tmp_path, powers=bool(number % 2))


@needs_icarus
@pytest.mark.parametrize("number", range(8))
def test_random_graphs_under_stalls(number: int, seed: str, tmp_path: Path) -> None:
    """Nothing gets stuck with the depths of the schedule, whoever holds the streams up."""
    case = graph_case(Choices(generator(seed, 64, number)))
    export(case.quantised, tmp_path / "net", folded=case.folded)
    design = Design.read(tmp_path / "net")
    assert fuzz.simulate(design, case, tmp_path) == "stuck 0, frame errors 0", case
    images = case.images
    collected = collect(design, len(images), tmp_path / "logits", tmp_path / "starts")
    assert not collected.problems, case
    expected = reference.predict(case.quantised, images)
    assert not list(compare(design, collected, expected)), case


@pytest.mark.parametrize("number", range(6))
def test_another_fifo_changes_the_times_as_a_new_run_does(number: int, seed: str) -> None:
    rng = generator(seed, 63, number)
    folded = folded_at_random(rng, random_graph(Choices(rng)))
    depths = {
        name: depth + int(rng.integers(0, 12)) * (depth > 0)
        for name, depth in buffers(folded).fifo_depths.items()
    }
    before = Simulation.of(folded.stages, depths, 3)
    for name in depths:
        other = {**depths, name: int(rng.integers(1, depths[name] + 3))}
        found = before.refitted(other, name, 10**9)
        try:
            whole = Simulation.of(folded.stages, other, 3)
        except DeadlockError:
            assert found is None
            continue
        assert found is not None
        assert found.logits == whole.logits
        for stream, edge in whole.edges.items():
            assert found.edges[stream].written == edge.written
            assert found.edges[stream].read == edge.read


def test_the_short_path_holds_what_the_long_one_waits_for() -> None:
    folded = solve(GRAPHS["residual"])
    found = buffers(folded)
    skip, conv = found.fifo_depths["conv1_to_add1"], folded["conv1"]
    # Two rows and two pixels of each convolution's window must come before its first result.
    beats = 2 * (9 + 2) * conv.channel_folds - 2
    assert skip > beats
    assert found.fifo_depths["conv1_to_conv2"] == 0
    simulate(folded, found.fifo_depths, 2)
    with pytest.raises(DeadlockError):
        simulate(folded, {**found.fifo_depths, "conv1_to_add1": beats // 2}, 1)


def test_lanes_that_do_not_agree() -> None:
    network = GRAPHS["residual"]
    foldings = {name: Folding(2, 1) for name in ("conv1", "conv2", "conv3")} | {"fc": Folding(1, 1)}
    FoldedNetwork(network, foldings)
    with pytest.raises(UserError, match="add1: its inputs come 2 and 4 channels a beat; .* one PE"):
        FoldedNetwork(network, {**foldings, "conv3": Folding(4, 1)})
    with pytest.raises(UserError, match="concat1: its inputs come 2 channels .* the 3 of one"):
        FoldedNetwork(GRAPHS["twice"], {"conv1": Folding(2, 1), "fc": Folding(1, 1)})
    layers = [(Conv(3, **SAME), [-1]), (Concat(), [0, -1]), (Linear(2), [1])]
    with pytest.raises(UserError, match="at concat1, the image meets streams .* its 2 channels"):
        solve(Network.graph("net", layers, (2, 4, 4)))


def test_some_rows_of_a_large_graph_tell_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [
        (Conv(3, 3, stride=2, padding=1), [-1]),
        (Conv(3, **SAME), [0]),
        (Add(), [0, 1]),
        (Conv(4, stride=2, **SAME), [2]),
        (Conv(4, 1, stride=2), [2]),
        (Add(), [3, 4]),
        (Linear(5), [5]),
    ]
    folded = solve(Network.graph("net", layers, (1, 480, 17)), cycles=9000)
    whole = buffers(folded)
    monkeypatch.setattr(schedule, "LARGE", 3000)
    rhythm = schedule._rhythm(folded)
    assert rhythm.kept < rhythm.left_out
    assert latency(folded) == whole.latency
    assert buffers(folded) == whole


def test_description_of_a_graph(tmp_path: Path) -> None:
    quantised = random_numbers(Choices(generator("1", "graph")), GRAPHS["codes"], powers=True)
    folded = solve(quantised.network)
    found = buffers(folded)
    described = json.loads(json.dumps(manifest.describe(quantised, folded, found)))
    inputs = [layer.get("inputs") for layer in described["layers"]]
    assert inputs == [None, None, ["conv2", "conv1"]]
    assert described["branch_fifo_depths"] == {
        "conv1_to_conv2": 0,
        "conv1_to_add1": found.fifo_depths["conv1_to_add1"],
    }
    assert described["output_bits"] == 8
    overview.print_table(described)
    text = verilog.top(quantised, folded, found)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("axis_fork") == text.count("axis_fifo #") - 1 == 1
