"""Export: the order of ROM words, the generated folder, and what must never happen to it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_network

from convstream.model import export
from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.hardware import manifest, rom
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.settings import Wiring
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stage import Stage
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import Shifts, power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork

ROOT = Path(__file__).resolve().parents[1]


def quantised_of(network: Network, seed: int = 1, magnitude: int = 127) -> QuantisedNetwork:
    """A network with random weights of up to `magnitude`."""
    rng = np.random.default_rng(seed)
    parameters: dict[str, Shifts] = {}
    exponent = 8
    for node in network.weighted:
        weight = rng.integers(-magnitude, magnitude + 1, node.weight_shape).astype(np.int8)
        bias = rng.integers(-5000, 5001, len(weight)).astype(np.int32)
        output = None if node is network.output else 3
        parameters[node.name] = Shifts(weight, bias, exponent, 7, output)
        exponent = output
    return power_of_two(network, parameters)


LITTLE = Network.chain("little", (Conv(3, 3), MaxPool(2, 2), Linear(5), Linear(4)), (2, 8, 6))


def folded_at_random(rng: np.random.Generator, network: Network) -> FoldedNetwork:
    """Any folding the solver gives, at one, two or four pixels a beat where these fit."""
    for pixels in rng.permutation([1, 2, 4]).tolist():
        try:
            fastest = solve(network, pixels=pixels)
        except UserError:
            continue
        target = int(fastest.cycles * rng.choice([1, 1, rng.uniform(1, 30)]))
        return solve(network, cycles=target, pixels=pixels)
    raise AssertionError("one pixel a beat always fits")


# The layout once more, as slow loops straight from its description.


def slow_arrival(stage: Stage) -> list[tuple[int, int, int]]:
    """(channel, row, column) of each element in the order in which beats bring them."""
    channels, height, width = stage.in_shape
    order = []
    for row in range(height):
        for first in range(0, width, stage.pixels):
            for lowest in range(0, channels, stage.lanes):
                for column in range(first, first + stage.pixels):
                    for channel in range(lowest, min(lowest + stage.lanes, channels)):
                        order.append((channel, row, column))
    return order


def slow_window(channels: int, oc: int, weight: np.ndarray) -> list[int]:
    """What output channel `oc` multiplies a window by: row, column, then channel.

    Depthwise, it reads a single channel; else all of them, those of other groups times zero.
    """
    group, height, width = weight.shape[1:]
    first = oc // (len(weight) // (channels // group)) * group
    read = range(first, first + 1) if group == 1 else range(channels)
    return [
        int(weight[oc, channel - first, row, column]) if 0 <= channel - first < group else 0
        for row in range(height)
        for column in range(width)
        for channel in read
    ]


def slow_words(stage: Stage, weight: np.ndarray) -> list[int]:
    """Each ROM word as an integer."""
    pe_count, simd_count = stage.folding.pe, stage.folding.simd
    if weight.ndim == 4:
        rows = [slow_window(stage.in_shape[0], oc, weight) for oc in range(len(weight))]
    else:
        _, height, width = stage.in_shape
        places = [(c * height + y) * width + x for c, y, x in slow_arrival(stage)]
        rows = [[int(weight[oc, place]) for place in places] for oc in range(len(weight))]
    groups = -(-len(rows) // pe_count)
    chunks = -(-len(rows[0]) // simd_count)
    words = [0] * (groups * chunks)
    for nf in range(groups):
        for sf in range(chunks):
            address = sf * groups + nf if stage.folding.input_major else nf * chunks + sf
            for pe in range(pe_count):
                for simd in range(simd_count):
                    oc, i = nf * pe_count + pe, sf * simd_count + simd
                    if oc < len(rows) and i < len(rows[0]):
                        lane = 8 * (pe * simd_count + simd)
                        words[address] |= (rows[oc][i] & 0xFF) << lane
    return words


def slow_bias(stage: Stage, bias: np.ndarray) -> list[int]:
    words = [0] * -(-len(bias) // stage.folding.pe)
    for oc, value in enumerate(bias.tolist()):
        words[oc // stage.folding.pe] |= (value & 0xFFFFFFFF) << 32 * (oc % stage.folding.pe)
    return words


def test_rom_words_are_those_of_the_description(seed: str) -> None:
    rng = np.random.default_rng([int(seed), 41])
    kinds = set()
    for _ in range(150):
        quantised = random_network(rng, max_size=9, max_layers=4)
        folded = folded_at_random(rng, quantised.network)
        files = rom.rom_files(quantised, folded)
        for stage in folded.stages:
            if not stage.foldable:
                continue
            parameters = quantised.parameters[stage.name]
            kinds.add((stage.node.layer.kind, stage.folding.input_major, stage.pixels > 1))
            lines = files[f"random_{stage.name}_weight.mem"].splitlines()
            assert [int(line, 16) for line in lines] == slow_words(stage, parameters.weight)
            assert len(lines) == stage.rom_words
            assert {len(line) for line in lines} == {2 * stage.folding.pe * stage.folding.simd}
            lines = files[f"random_{stage.name}_bias.mem"].splitlines()
            assert [int(line, 16) for line in lines] == slow_bias(stage, parameters.bias)
            assert {len(line) for line in lines} == {8 * stage.folding.pe}
    assert {("conv", False, False), ("conv", False, True), ("fc", True, False)} <= kinds


def test_unpacking_is_the_inverse_of_packing(seed: str) -> None:
    rng = np.random.default_rng([int(seed), 42])
    for _ in range(60):
        quantised = random_network(rng)
        folded = folded_at_random(rng, quantised.network)
        for stage in folded.stages:
            if not stage.foldable:
                continue
            parameters = quantised.parameters[stage.name]
            words = rom.pack_weights(parameters.weight, stage)
            assert np.array_equal(rom.unpack_weights(words, stage), parameters.weight)
            assert np.array_equal(rom.from_hex(rom.to_hex(words), np.int8), words)
            words = rom.pack_bias(parameters.bias, stage)
            assert np.array_equal(rom.unpack_bias(words, stage), parameters.bias)
            assert np.array_equal(rom.from_hex(rom.to_hex(words), np.int32), words)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip(tmp_path: Path) -> None:
    quantised = quantised_of(LITTLE)
    written = export.export(quantised, tmp_path / "little", multipliers=30)
    folder = tmp_path / "little"
    described = manifest.verify(folder)
    assert described == written
    assert set(contents(folder)) == {*described["files"], "network.json"}
    assert described["multipliers"] <= 30
    again = read_onnx(folder / "network.onnx", "little")
    folded = solve(again.network, multipliers=30)
    assert described["cycles"] == folded.cycles
    assert [layer["name"] for layer in described["layers"]] == ["conv1", "pool1", "fc1", "fc2"]
    for stage, layer in zip(folded.stages, described["layers"], strict=True):
        if not stage.foldable:
            continue
        parameters = quantised.parameters[stage.name]
        assert (layer["pe"], layer["simd"]) == (stage.folding.pe, stage.folding.simd)
        words = rom.from_hex((folder / f"little_{stage.name}_weight.mem").read_text(), np.int8)
        assert np.array_equal(rom.unpack_weights(words, stage), parameters.weight)
        words = rom.from_hex((folder / f"little_{stage.name}_bias.mem").read_text(), np.int32)
        assert np.array_equal(rom.unpack_bias(words, stage), parameters.bias)


def test_a_second_export_touches_nothing(tmp_path: Path) -> None:
    quantised = quantised_of(LITTLE)
    export.export(quantised, tmp_path / "little")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "little").iterdir()}
    export.export(quantised, tmp_path / "little")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "little").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["little"]


def test_training_metrics_stay_with_their_weights(tmp_path: Path) -> None:
    folder = tmp_path / "little"
    export.export(quantised_of(LITTLE), folder, training={"accuracy": 0.5})
    assert export.export(quantised_of(LITTLE), folder, cycles=500)["training"] == {"accuracy": 0.5}
    assert "training" not in export.export(quantised_of(LITTLE, seed=2), folder)


def test_another_folding_of_a_trained_network_is_trained_too(tmp_path: Path) -> None:
    """Elsewhere, with the metrics of the file that it is made of; not with those of another."""
    training = {"accuracy": 0.5, "classes": ["ant", "bee"]}
    export.export(quantised_of(LITTLE), tmp_path / "first", training=training)
    source = tmp_path / "first" / "network.onnx"
    other = tmp_path / "hw" / LITTLE.name
    assert export.main([str(source), "--out", str(other), "--cycles", "500"]) == 0
    assert manifest.read(other)["training"] == training
    write_onnx(quantised_of(LITTLE, seed=2), source)
    assert export.main([str(source), "--out", str(other), "--force"]) == 0
    assert "training" not in manifest.read(other)


def test_other_weights_replace_the_old_ones_everywhere(tmp_path: Path) -> None:
    wanted = tmp_path / "fresh" / "little"
    export.export(quantised_of(LITTLE, seed=2), wanted)
    for seed in (1, 2):
        export.export(quantised_of(LITTLE, seed=seed), tmp_path / "little")
    assert contents(tmp_path / "little") == contents(wanted)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("calls", [1, 4, 6])
@pytest.mark.parametrize("fresh", [True, False])
def test_an_interrupt_leaves_the_old_files(tmp_path, monkeypatch, error, calls, fresh) -> None:
    folder = tmp_path / "little"
    if not fresh:
        export.export(quantised_of(LITTLE), folder)
    before = None if fresh else contents(folder)
    left = [calls]
    replace = Path.replace

    def interrupted(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises((KeyboardInterrupt, UserError)):
        export.export(quantised_of(LITTLE, seed=2), folder, cycles=700)
    assert (contents(folder) if folder.exists() else None) == before
    assert [path.name for path in tmp_path.iterdir()] == ([] if fresh else ["little"])


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
@pytest.mark.parametrize(
    "file", ["little_conv1_weight.mem", "little_fc2_bias.mem", "little.v", "network.onnx"]
)
def test_damaged_files_are_named(tmp_path: Path, damage: str, file: str) -> None:
    folder = tmp_path / "little"
    export.export(quantised_of(LITTLE), folder)
    path = folder / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-3])
    else:
        path.write_bytes(content[:5] + bytes([content[5] ^ 1]) + content[6:])
    with pytest.raises(UserError, match=re.escape(str(path)) + " is (missing|truncated or alt)"):
        manifest.verify(folder)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"name": "little"}', '{"files": 3}'])
def test_damaged_manifest(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "network.json").write_text(text)
    with pytest.raises(UserError, match=r"network\.json"):
        manifest.verify(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "module",
        "logic",
        "my-net",
        "1net",
        "conv2d",
        "",
        "a b",
        "harness",
        "std",
        "board_core",
        "top",
    ],
)
def test_names_that_no_module_can_have(tmp_path: Path, name: str) -> None:
    network = Network.chain(name, LITTLE.layers, LITTLE.input_shape)
    with pytest.raises(UserError, match="network name"):
        export.export(quantised_of(network), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_another_network(tmp_path: Path) -> None:
    export.export(quantised_of(LITTLE), tmp_path / "net")
    before = contents(tmp_path / "net")
    other = Network.chain("other", LITTLE.layers, LITTLE.input_shape)
    with pytest.raises(UserError, match="another network, little"):
        export.export(quantised_of(other), tmp_path / "net")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder"):
        export.export(quantised_of(other), tmp_path / "file")
    assert contents(tmp_path / "net") == before


def test_a_file_of_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_onnx(quantised_of(LITTLE), tmp_path / "some file.onnx")
    command = [str(tmp_path / "some file.onnx"), "--out", str(tmp_path / "mine")]
    export.main([*command, "--cycles", "100"])
    described = manifest.verify(tmp_path / "mine")
    assert described["name"] == "mine"
    assert described["cycles"] <= 100
    assert "module mine (" in (tmp_path / "mine" / "mine.v").read_text()
    export.main([*command, "--multipliers", "9", "--pixels-per-beat", "2"])
    assert manifest.verify(tmp_path / "mine")["pixels_per_beat"] == 2
    assert "conv1" in capsys.readouterr().out

    # A newer file of the same name replaces what was made of the older one, training included.
    (tmp_path / "mine" / "float.npz").write_bytes(b"of the old network")
    (tmp_path / "mine" / "notes.txt").write_text("of the user")
    write_onnx(quantised_of(LITTLE, seed=2), tmp_path / "some file.onnx")
    export.main(command)
    manifest.verify(tmp_path / "mine")
    new = (tmp_path / "mine" / "network.onnx").read_bytes()
    assert new == (tmp_path / "some file.onnx").read_bytes()
    assert not (tmp_path / "mine" / "float.npz").exists()
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_only_force_replaces_another_network(tmp_path: Path) -> None:
    """One of another name, or a file that no export has put there."""
    write_onnx(quantised_of(LITTLE), tmp_path / "mine.onnx")
    command = [str(tmp_path / "mine.onnx"), "--out", str(tmp_path / "mine")]
    export.export(quantised_of(LITTLE), tmp_path / "mine")
    before = contents(tmp_path / "mine")
    with pytest.raises(UserError, match="another network, little; .*--force"):
        export.main(command)
    assert contents(tmp_path / "mine") == before
    export.main([*command, "--force"])
    assert manifest.verify(tmp_path / "mine")["name"] == "mine"
    assert not [name for name in contents(tmp_path / "mine") if name.startswith("little")]

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "network.onnx").write_bytes(b"the user's")
    command = [str(tmp_path / "mine.onnx"), "--out", str(tmp_path / "other")]
    with pytest.raises(UserError, match=r"another network\.onnx than .*--force"):
        export.main(command)
    assert contents(tmp_path / "other") == {"network.onnx": b"the user's"}
    export.main([*command, "--force"])
    assert manifest.verify(tmp_path / "other")["name"] == "other"


def test_a_download_does_not_fill_its_folder(tmp_path: Path, monkeypatch) -> None:
    """Without --out, only a folder that an export made is written to."""
    monkeypatch.setattr(places, "MEM", tmp_path / "mem")
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    write_onnx(quantised_of(LITTLE), downloads / "network.onnx")
    export.main([str(downloads / "network.onnx")])
    assert [path.name for path in downloads.iterdir()] == ["network.onnx"]
    made = tmp_path / "mem" / "network"
    assert manifest.verify(made)["name"] == "network"
    export.main([str(made / "network.onnx"), "--cycles", "100"])
    assert manifest.verify(made)["cycles"] <= 100
    assert [path.name for path in (tmp_path / "mem").iterdir()] == ["network"]


def test_dry_run_writes_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(places, "MEM", tmp_path / "mem")
    monkeypatch.setattr(export, "BUILD", tmp_path / "build")
    (tmp_path / "mem" / "lenet5").mkdir(parents=True)
    write_onnx(quantised_of(NETWORKS["lenet5"]), tmp_path / "mem" / "lenet5" / "network.onnx")
    export.main(["lenet5", "--cycles", "784", "--dry-run"])
    shown = capsys.readouterr().out
    for word in (
        "layer",
        "PE",
        "SIMD",
        "multipliers",
        "cycles",
        "utilisation",
        "ROM bits",
        "conv2",
    ):
        assert word in shown
    assert "FIFO depth" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["mem"]
    assert [path.name for path in (tmp_path / "mem" / "lenet5").iterdir()] == ["network.onnx"]


def test_hex_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BUILD", tmp_path / "build")
    network = Network.chain("net", (Conv(3, 3), Conv(2, 2), Linear(4)), (1, 6, 6))
    quantised = quantised_of(network)
    write_onnx(quantised, tmp_path / "net.onnx")
    export.main([str(tmp_path / "net.onnx"), "--format", "hex"])
    folder = tmp_path / "build" / "net" / "hex"
    assert sorted(path.name for path in folder.iterdir()) == [
        "conv1_bias.mem",
        *(f"conv1_weight_{number}.mem" for number in (1, 2, 3)),
        "conv2_bias.mem",
        *(f"conv2_weight_{number}.mem" for number in (1, 2)),
        "fc_bias.mem",
        "fc_weight.mem",
    ]

    def values(name: str, digits: int) -> list[int]:
        words = (folder / name).read_text().split()
        assert {len(word) for word in words} == {digits}
        half = 1 << 4 * digits - 1
        return [(int(word, 16) ^ half) - half for word in words]

    conv2, fc = quantised.parameters["conv2"], quantised.parameters["fc"]
    assert values("conv2_weight_2.mem", 2) == conv2.weight[1].reshape(-1).tolist()
    assert values("fc_weight.mem", 2) == fc.weight.reshape(-1).tolist()
    assert values("fc_bias.mem", 8) == fc.bias.tolist()
    export.main([str(tmp_path / "net.onnx"), "--format", "hex", "--out", str(tmp_path / "hex")])
    assert contents(tmp_path / "hex") == contents(folder)
    export.export(quantised, tmp_path / "net")
    with pytest.raises(UserError, match="holds an exported network"):
        export.main([str(tmp_path / "net.onnx"), "--format", "hex", "--out", str(tmp_path / "net")])


@pytest.mark.parametrize("trained", [True, False])
def test_c_rows(tmp_path: Path, capsys: pytest.CaptureFixture, trained: bool) -> None:
    network = Network.chain("net", (Conv(3, 2), Linear(4)), (2, 3, 3))
    quantised = quantised_of(network)
    write_onnx(quantised, tmp_path / "network.onnx")
    tensors = {}
    for name, parameters in quantised.parameters.items():
        scale = parameters.weight_scale
        tensors[f"{name}.weight"] = np.float32(parameters.weight) * scale
        scale = scale * np.float32(quantised.site(name).inputs[0].scale)
        tensors[f"{name}.bias"] = np.float32(parameters.bias) * scale
    if trained:
        tensors = {name: tensor + np.float32(0.1) for name, tensor in tensors.items()}
        np.savez(tmp_path / "float.npz", **tensors)
    out = tmp_path / "c"
    export.main([str(tmp_path / "network.onnx"), "--format", "c", "--out", str(out)])
    assert ("no float.npz" in capsys.readouterr().err) is not trained
    lines = iter((out / "weights.txt").read_text().splitlines())
    for name, tensor in tensors.items():
        assert next(lines) == f"{name}, shape: {tensor.shape}"
        for row in tensor.reshape(len(tensor) if tensor.ndim > 1 else 1, -1):
            text = next(lines)
            assert text.startswith("{")
            assert text.endswith("},")
            assert np.array_equal(np.array(text[1:-2].split(", "), np.float32), row)
    assert next(lines, None) is None


def test_logits_beyond_float32_are_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    network = Network.chain("net", (Linear(2),), (8, 10, 10))
    export.export(quantised_of(network, magnitude=10), tmp_path / "net")
    assert capsys.readouterr().err == ""
    wide = quantised_of(network).parameters["fc"]
    weight = np.full_like(wide.weight, 127)
    heavy = power_of_two(network, {"fc": Shifts(weight, wide.bias, 8, 7, None)})
    export.export(heavy, tmp_path / "heavy")
    assert capsys.readouterr().err.startswith("warning: fc: logits can reach")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonesuch"], "error: unknown network 'nonesuch'; expected "),
        (["nonesuch.onnx"], "error: nonesuch.onnx: no such file"),
        (["{onnx}", "--cycles", "3"], "at least 48"),
        (["{onnx}", "--multipliers", "2"], "at least 3"),
        (["{onnx}", "--cycles", "0"], "'--cycles': 0 is not in the range x>=1"),
        (["{onnx}", "--cycles", "9", "--multipliers", "9"], "exclude each other"),
        (["{onnx}", "--pixels-per-beat", "4"], "6 pixels wide"),
        (["{onnx}", "--pixels-per-beat", "3"], "is not one of"),
        (["{onnx}", "--out", "{here}/while"], "is a Verilog keyword"),
        ([__file__], "error: "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    onnx = tmp_path / "little.onnx"
    write_onnx(quantised_of(LITTLE), onnx)
    arguments = [text.format(onnx=onnx, here=tmp_path) for text in arguments]
    if "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "model" / "export.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["little.onnx"]


def test_generated_verilog(tmp_path: Path, seed: str) -> None:
    """It is as legible as a file written by hand, and Icarus takes it without a warning."""
    rng = np.random.default_rng([int(seed), 43])
    networks = [read_onnx(places.MEM / name / "network.onnx") for name in NETWORKS]
    networks += [random_network(rng, name=f"random{i}", max_size=10) for i in range(5)]
    for quantised in networks:
        name = quantised.network.name
        # Icarus takes minutes to read the multipliers that a large network may have.
        small = quantised.network.macs < 1e6
        folded = folded_at_random(rng, quantised.network) if small else solve(quantised.network)
        described = export.export(quantised, tmp_path / name, folded=folded)
        text = (tmp_path / name / f"{name}.v").read_text()
        assert text.startswith("// SPDX-License-Identifier: Apache-2.0\n")
        assert max(map(len, text.splitlines())) <= 100
        assert not re.search(r"[ \t]$", text, re.MULTILINE)
        for layer in described["layers"]:
            assert f") {layer['name']} (" in text
        for file in re.findall(r'"(.*?)"', text):
            assert (tmp_path / name / file).is_file()
        if shutil.which("iverilog"):
            sources = [str(tmp_path / name / file) for file in manifest.modules(described)]
            command = ["iverilog", "-g2005", "-Wall", "-tnull", "-s", name, "-y", str(ROOT / "rtl")]
            done = subprocess.run([*command, *sources], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_defaults_left_out_are_those_of_the_modules(seed: str) -> None:
    rng = np.random.default_rng([int(seed), 44])
    checked = set()
    for _ in range(60):
        quantised = random_network(rng, max_size=12)
        for stage in folded_at_random(rng, quantised.network).stages:
            rounding = quantised.rounding(stage.name)
            source = (ROOT / "rtl" / f"{stage.module}.v").read_text()
            declared = dict(re.findall(r"parameter (\w+) *= *([^,/\n]+)", source))
            for setting in stage.settings(
                Wiring(
                    "LANES",
                    0,
                    rounding,
                    20,
                    8,
                    2,
                    ("w", "b", "s"),
                    quantised.site(stage.name),
                    "net",
                )
            ):
                assert setting.name in declared, f"{stage.module} has no {setting.name}"
                if setting.default is not None:
                    value = declared[setting.name].strip()
                    value = declared.get(value, value).strip()  # that of another parameter
                    assert value == str(setting.default), setting.name
                    checked.add((stage.module, setting.name))
    assert {("conv2d", "STRIDE"), ("maxpool2d", "PADDING"), ("fc", "INPUT_MAJOR")} <= checked


def test_committed_networks_are_whole() -> None:
    """Every network in mem/ is what export makes of its network.onnx."""
    for path in (ROOT / "mem").glob("*/network.json"):
        described = manifest.verify(path.parent)
        assert json.loads(path.read_text())["name"] == path.parent.name
        quantised = read_onnx(path.parent / "network.onnx", described["name"])
        folded = solve(quantised.network, cycles=described["cycles"])
        if described["pixels_per_beat"] == 1 and described["multipliers"] == folded.multipliers:
            for name, text in rom.rom_files(quantised, folded).items():
                assert (path.parent / name).read_text() == text, name
