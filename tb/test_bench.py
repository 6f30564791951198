"""`make bench`: which foldings it measures, what it writes, when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_networks import generator, random_images, random_parameters

from convstream.model.base.errors import ToolError, UserError
from convstream.model.base.places import PACKAGE
from convstream.model.export import export
from convstream.model.hardware import manifest
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import bench

LITTLE = Network.chain("little", (Conv(2, 3), MaxPool(2, 2), Linear(3)), (1, 6, 8))
# Its width is no multiple of 2, so there is but one pixel a beat.
ODD = Network.chain("odd", (Conv(2, 2), Linear(3)), (1, 4, 7))


def quantised(network: Network, seed: str) -> QuantisedNetwork:
    return power_of_two(network, random_parameters(generator(seed, network.name), network))


@pytest.fixture
def little(seed, tmp_path, monkeypatch) -> QuantisedNetwork:
    """A small network, exported to `tmp_path`; only a few images race."""
    network = quantised(LITTLE, seed)
    export(network, tmp_path / "little")
    # Compiled once, for later runs as well, and with what test_compare.py compiles.
    monkeypatch.setattr(bench, "BUILD", PACKAGE / "build" / "tb" / "compare")
    monkeypatch.setattr(bench, "REFERENCE_IMAGES", 100)
    monkeypatch.setenv("MNIST_DOWNLOAD", "0")
    return network


@pytest.mark.parametrize("targets", [1, 5])
def test_foldings_reach_from_full_rate_to_one_multiplier(seed, targets):
    cases = bench.cases(quantised(NETWORKS["cnn5x5"], seed), targets)
    single = [case.folded for case in cases if case.folded.pixels == 1]
    cycles = [folded.cycles for folded in single]
    assert cycles[0] == 784
    assert len(set(cycles)) == targets
    assert cycles == sorted(cycles)
    if targets > 1:
        # One multiplier for the first convolution.
        assert cycles[-1] == 24 * 24 * 3 * 25
        # Spread evenly on a logarithmic scale.
        assert np.median(cycles) ** 2 < cycles[0] * cycles[-1]
    several = [case.folded for case in cases if case.folded.pixels > 1]
    assert [(folded.pixels, folded.cycles) for folded in several] == [(4, 196), (2, 392)]
    assert len({case.folder for case in cases}) == len(cases)


def test_foldings_of_a_width_that_is_odd(seed):
    cases = bench.cases(quantised(ODD, seed), 5)
    assert {case.folded.pixels for case in cases} == {1}
    assert cases[0].folded.cycles == 28
    assert len(cases) > 1


def test_report_table_and_picture(little, tmp_path, capsys):
    """A network given by its folder, at one and at two pixels a beat, as predicted."""
    written = [bench.BUILD / name for name in ("report.json", "bench.png")]
    for path in written:
        path.unlink(missing_ok=True)
    assert bench.main(["--net", str(tmp_path / "little"), "--targets", "1"]) == 0
    content = json.loads(written[0].read_text())
    rows = content["rows"]
    assert [row["pixels_per_beat"] for row in rows] == [2, 1]
    for row, cycles in zip(rows, (24, 48), strict=True):
        assert row["cycles_predicted"] == row["cycles_measured"] == cycles
        assert row["ratio"] == 1
        assert row["latency_cycles"] == row["latency_predicted"] > cycles
        assert row["images_per_second"] == round(1e8 / cycles, 1)
        used = LITTLE.macs / (row["multipliers"] * cycles)
        assert row["utilisation"] == pytest.approx(used, abs=1e-4) and used <= 1
        assert row["fifo_bits"] > 0 and row["simulated_cycles_per_second"] > 0
    races = content["reference"]
    assert [row["threads"] for row in races] == sorted({1, bench.cores()})
    for row in races:
        assert row["images"] == 100
        assert row["reference_s"] > 0 and row["onnxruntime_s"] > 0
    with Image.open(written[1]) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    shown = capsys.readouterr().out
    assert "little" in shown and "2,083,333" in shown and "4,166,667" in shown
    assert "Seconds for 100 images in software" in shown


def test_a_wrong_logit_is_an_error(little, seed, monkeypatch):
    """Nothing is measured of what computes something else; image and logit are named."""

    def damage(network: QuantisedNetwork, folder: Path, **options) -> None:
        export(network, folder, **options)
        path = folder / "little_fc_bias.mem"
        first, *others = path.read_text().split()
        path.write_text("\n".join([f"{int(first, 16) ^ 1:0{len(first)}x}", *others, ""]))
        content = json.loads((folder / manifest.FILE_NAME).read_text())
        content["files"][path.name] = manifest.sha256(path)
        (folder / manifest.FILE_NAME).write_text(manifest.to_text(content))

    monkeypatch.setattr(bench, "export", damage)
    case = bench.cases(little, 1)[-1]
    words = r"little.*image 0: logit of class 0: RTL -?\d+, reference -?\d+; .*and \d+ more"
    with pytest.raises(ToolError, match=words):
        bench.measure(case, random_images(generator(seed), little, 8))


def test_a_slow_pipeline_fails(little, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BUILD", tmp_path / "build")

    def slow(case: bench.Case, images: np.ndarray) -> dict:
        assert images.shape[1:] == LITTLE.input_shape
        predicted = case.folded.cycles
        measured = predicted * (1.25 if case.folded.pixels == 1 else 1)
        return {
            "network": "little",
            "pixels_per_beat": case.folded.pixels,
            "cycles_predicted": predicted,
            "cycles_measured": measured,
            "ratio": measured / predicted,
            "multipliers": 10,
            "utilisation": 0.5,
            "latency_cycles": 100,
            "fifo_bits": 0,
            "images_per_second": 1e8 / measured,
            "simulated_cycles_per_second": 1e6,
        }

    monkeypatch.setattr(bench, "measure", slow)
    assert bench.main(["--net", str(tmp_path / "little"), "--targets", "1"]) == 1
    shown = capsys.readouterr()
    words = "little: 60.0 cycles an image, predicted 48: 1.25 times as many\n"
    assert shown.err.endswith(words)  # without MNIST, after a remark on what stands in for it
    assert shown.out.count("1.2500 !") == 1
    assert shown.out.count("1.0000 ") == 1


def test_images_are_the_test_images_where_they_fit(seed, monkeypatch):
    monkeypatch.setenv("MNIST_DOWNLOAD", "0")
    images = bench._images(quantised(NETWORKS["convnet"], seed))
    np.testing.assert_array_equal(
        images, bench.data.load_images("test").images[: len(images), None]
    )
    assert len(images) == bench.MOST_IMAGES
    noise = bench._images(quantised(LITTLE, seed))
    assert noise.shape == (bench.MOST_IMAGES, *LITTLE.input_shape)
    assert noise.min() == 0 and noise.max() == 255


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--targets", "0"], "'--targets': 0 is not in the range x>=1"),
        (["--net", "nonesuch"], "unknown network 'nonesuch'"),
        (["--net", ","], "no network given"),
    ],
)
def test_refuses_in_one_line(arguments, words):
    with pytest.raises(UserError, match=words):
        bench.main(arguments)


def test_the_command_ends_with_2_on_a_mistake():
    command = [sys.executable, "-m", "convstream.sim.bench", "--targets", "-1"]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: Invalid value for '--targets': -1 is not in the range x>=1\n"
