"""Every network end to end in both simulators, and chains of layers that nobody thought of."""

from __future__ import annotations

import json

import numpy as np
import pytest
from random_networks import generator, random_images, random_network

from convstream.model.export import export
from convstream.model.export import main as export_main
from convstream.model.formats.onnx import write_onnx
from convstream.model.hardware import manifest
from convstream.model.hardware.solver import solve
from convstream.model.learning.data import load_images
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.sim import report, run, shard, tools
from convstream.sim.build import build
from convstream.sim.design import Design
from convstream.sim.shard import Shard

FOREIGN = 6


@pytest.mark.parametrize("simulator", tools.SIMULATORS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_equals_the_reference(name, simulator, monkeypatch, tmp_path):
    """Every logit and class of a few images; the report says so."""
    images = load_images("test", download=False).images[:4]
    np.save(tmp_path / "images.npy", images)
    # Compiled where `make sim` would compile it, but without touching its report.
    shared = run.BUILD
    monkeypatch.setattr(run, "BUILD", tmp_path)
    (tmp_path / name).mkdir()
    (shared / name / simulator).mkdir(parents=True, exist_ok=True)
    (tmp_path / name / simulator).symlink_to(shared / name / simulator)

    arguments = ["--net", name, "--sim", simulator, "--images", str(tmp_path / "images.npy")]
    assert run.main([*arguments, "--workers", "1"]) == 0

    written = json.loads((tmp_path / name / "report.json").read_text())
    design = Design.read(manifest.find(name))
    assert written["logits"] == 4 * design.classes
    assert written["mismatches"] == 0
    assert written["cycles_per_image"] <= 1.01 * design.cycles


@pytest.mark.parametrize("name", NETWORKS)
def test_stalls_cost_no_more_than_themselves(name, seed):
    """A cycle in which a neighbour holds the network up delays it by one cycle at most."""
    design = Design.read(manifest.find(name))
    images = load_images("test", download=False).images[:12, None]
    expected = reference.predict(design.read_network(manifest.find(name)), images)
    root = run.BUILD / name
    build(design, "verilator", False, root)

    def cycles(stall_in: int, stall_out: int) -> tuple[int, int]:
        stalls = {"stall_in": stall_in, "stall_out": stall_out, "seed": int(seed)}
        result = shard.run(design, Shard(images, str(root), **stalls))
        assert not report.complaints(design, [result], expected)
        return result.cycles, result.stalls

    smooth, _ = cycles(0, 0)
    for stall_in, stall_out in ((10, 0), (60, 0), (0, 50), (0, 97), (40, 90)):
        stalled, lost = cycles(stall_in, stall_out)
        print(f"{name}: stalls {stall_in} % and {stall_out} %: {smooth} + {lost} >= {stalled}")
        assert lost > 0
        assert smooth <= stalled <= smooth + lost


@pytest.mark.parametrize("index", range(FOREIGN))
def test_foreign_chain(index, seed, monkeypatch, tmp_path):
    """A QDQ file becomes a network, and its RTL gives the reference's logits, also under stalls."""
    rng = generator(seed, "foreign", index)
    quantised = random_network(rng, "foreign", max_size=14, max_channels=12)
    write_onnx(quantised, tmp_path / "foreign.onnx")
    out = tmp_path / "mem" / "foreign"
    smallest = solve(quantised.network, multipliers=10**9).cycles
    cycles = str(smallest * int(rng.integers(1, 5)))
    assert export_main([str(tmp_path / "foreign.onnx"), "--out", str(out), "--cycles", cycles]) == 0
    images = random_images(rng, quantised, 5)
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")

    simulator = "verilator" if index == 0 else "icarus"
    arguments = ["--net", str(out), "--sim", simulator, "--images", str(tmp_path / "images.npy")]
    assert run.main(arguments) == 0
    assert run.main([*arguments, "--stall-in", "30", "--stall-out", "50", "--seed", seed]) == 0


@pytest.mark.parametrize("pixels", [2, 4])
def test_several_pixels_a_beat(pixels, monkeypatch, tmp_path):
    """The harness packs pixels as the RTL unpacks them."""
    from convstream.model.formats.onnx import read_onnx

    name = next(iter(NETWORKS))
    out = tmp_path / name
    quantised = read_onnx(manifest.find(name) / "network.onnx", name)
    export(quantised, out, pixels=pixels)
    np.save(tmp_path / "images.npy", load_images("test", download=False).images[:5])
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")
    images = str(tmp_path / "images.npy")
    assert run.main(["--net", str(out), "--sim", "icarus", "--images", images]) == 0
    folder = tmp_path / "build" / manifest.label(str(out))
    written = json.loads((folder / "report.json").read_text())
    assert written["cycles_per_image"] <= 1.01 * 784 / pixels
