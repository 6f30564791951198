"""Whatever a file holds, its reader takes it or says in one line what is wrong with it.

Never another error, more than 10 seconds or 1 GiB, or a file where none was asked for.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import bad_files
import numpy as np
import onnx
import pytest
from bad_files import damaged, refuses_or_reads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from random_networks import random_parameters
from test_data import idx

from convstream.fpga import build
from convstream.model.base import errors
from convstream.model.base.errors import UserError
from convstream.model.base.files import read_npz
from convstream.model.export import export
from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.hardware import manifest
from convstream.model.learning.image_files import read_idx
from convstream.model.learning.own_data import DataFiles, Takes, load_own
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import AvgPool, Conv, Linear, MaxPool
from convstream.sim import run
from convstream.sim.design import Design

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = 150
SHAPES = {"fc.weight": (2, 3), "fc.bias": (2,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small exported network, and where damaged copies of its files go."""
    network = Network.chain(
        "tiny", (Conv(2, 3), AvgPool(2, 1), MaxPool(2, 2), Linear(3)), (1, 6, 6)
    )
    parameters = random_parameters(np.random.default_rng(1), network)
    path = tmp_path_factory.mktemp("bad") / "tiny"
    export(power_of_two(network, parameters), path)
    return path


@pytest.fixture(scope="module")
def good(folder: Path) -> dict[str, bytes]:
    """One good file for each reader."""
    images = np.random.default_rng(1).integers(0, 256, (3, 4, 5), np.uint8)
    npy, npz, png = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, images)
    np.savez(npz, **{name: np.ones(shape, np.float32) for name, shape in SHAPES.items()})
    Image.fromarray(images[0]).save(png, "PNG")
    return {
        "images": idx(images),
        "images.gz": gzip.compress(idx(images), mtime=0),
        "images.npy": npy.getvalue(),
        "images.png": png.getvalue(),
        "float.npz": npz.getvalue(),
        "network.onnx": (folder / "network.onnx").read_bytes(),
        "network.json": (folder / "network.json").read_bytes(),
    }


def load_images(path: Path) -> np.ndarray:
    return load_own(DataFiles(str(path)), Takes()).images


READERS: dict[str, Callable[[Path], object]] = {
    "images": read_idx,
    "images.gz": read_idx,
    "images.npy": load_images,
    "images.png": load_images,
    "float.npz": lambda path: read_npz(path, SHAPES),
    "network.onnx": read_onnx,
    "network.json": lambda path: manifest.read(path.parent),
}


def examples(number: int = EXAMPLES) -> settings:
    """Fresh ones in each run; a failure is shrunk and printed with the bytes of its file."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name: str, good: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(good[name])
    assert refuses_or_reads(READERS[name], path) is None
    refused = 0

    @examples()
    @given(damaged(good[name]))
    def check(content: bytes) -> None:
        nonlocal refused
        path.write_bytes(content)
        refused += refuses_or_reads(READERS[name], path) is not None
        assert os.listdir(tmp_path) == [name]

    check()
    assert refused > EXAMPLES // 4


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("images", bad_files.idx_files()),
        ("images.npy", bad_files.npy_files()),
        ("images.png", bad_files.png_files()),
    ],
)
def test_well_formed_nonsense(name: str, files: st.SearchStrategy, tmp_path: Path) -> None:
    path = tmp_path / name

    @examples()
    @given(files)
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refuses_or_reads(READERS[name], path)

    check()


@pytest.mark.parametrize("name", READERS)
def test_no_file_at_all(name: str, good: dict[str, bytes], tmp_path: Path) -> None:
    """Nothing, a folder, an empty pipe, links to itself, to devices, to folders, a long name."""
    path, read = tmp_path / name, READERS[name]
    assert refuses_or_reads(read, path)
    path.touch()
    assert refuses_or_reads(read, path)
    path.unlink()
    path.mkdir()
    assert refuses_or_reads(read, path)
    path.rmdir()
    os.mkfifo(path)
    assert refuses_or_reads(read, path)
    for target in (path, Path("/dev/zero"), Path("/proc/self/mem"), tmp_path):
        path.unlink()
        path.symlink_to(target)
        assert refuses_or_reads(read, path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert refuses_or_reads(read, path)
    path.unlink()
    path.write_bytes(good[name])
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert refuses_or_reads(read, path) is None
    with pytest.raises(UserError):
        read(tmp_path / ("x" * 300) / name)


def test_files_that_would_fill_the_memory(tmp_path: Path) -> None:
    for name, (content, words) in bad_files.bombs().items():
        path = tmp_path / name
        path.write_bytes(content)
        assert words in str(refuses_or_reads(load_images, path)), name
    path = tmp_path / "float.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("fc.weight.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(1200):
            file.write(bytes(1 << 20))
    assert "magic string" in str(refuses_or_reads(READERS["float.npz"], path))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_floats_that_are_not_finite(value: float, tmp_path: Path) -> None:
    arrays = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}
    arrays["fc.bias"][1] = value
    np.savez(tmp_path / "float.npz", **arrays)
    assert "not finite" in str(refuses_or_reads(READERS["float.npz"], tmp_path / "float.npz"))


# ONNX: graphs that parse, but make no sense

NUMBERS = st.sampled_from([0, 1, -1, 2, 7, 255, 2**31, 2**62, -(2**63)])
REALS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.5, 0.3, 1e-45, 3e38])


@st.composite
def altered(draw: Callable, model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with some of its fields changed, messages doubled, moved or left out."""
    model = copy.deepcopy(model)
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    for _ in range(draw(st.integers(1, 3))):
        message = model
        while True:
            fields = message.ListFields()
            if not fields:
                break
            field, value = draw(st.sampled_from(fields))
            repeated = field.is_repeated
            if field.message_type is not None:
                if repeated and draw(st.integers(0, 4)) == 0:
                    _rearrange(draw, value)
                    break
                message = value[draw(st.integers(0, len(value) - 1))] if repeated else value
                continue
            if field.cpp_type == field.CPPTYPE_STRING:
                text = draw(st.sampled_from([*names, "", "../../evil", "\n", "x" * 5000]))
                new = text.encode() if field.type == field.TYPE_BYTES else text
            elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
                new = draw(REALS)
            elif field.cpp_type == field.CPPTYPE_ENUM:
                new = draw(st.sampled_from([v.number for v in field.enum_type.values]))
            else:
                new = draw(NUMBERS)
            if field.cpp_type == field.CPPTYPE_INT32:
                new = max(-(2**31), min(2**31 - 1, new))
            if repeated:
                value[draw(st.integers(0, len(value) - 1))] = new
            else:
                setattr(message, field.name, new)
            break
    return model


def _rearrange(draw: Callable, messages: object) -> None:
    index = draw(st.integers(0, len(messages) - 1))
    kind = draw(st.sampled_from(["leave out", "double", "move"]))
    taken = copy.deepcopy(messages[index])
    if kind != "double":
        del messages[index]
    if kind != "leave out":
        messages.insert(draw(st.integers(0, len(messages))), taken)


def test_altered_graphs(good: dict[str, bytes], tmp_path: Path) -> None:
    """Also what is read is a network that fits together, and can be written again."""
    model = onnx.ModelProto.FromString(good["network.onnx"])
    path = tmp_path / "network.onnx"
    refused = 0

    @examples(3 * EXAMPLES)
    @given(altered(model))
    def check(other: onnx.ModelProto) -> None:
        nonlocal refused
        path.write_bytes(other.SerializeToString())
        if refuses_or_reads(read_onnx, path):
            refused += 1
        else:
            write_onnx(read_onnx(path), tmp_path / "again.onnx")

    check()
    assert refused > EXAMPLES


def test_graphs_that_bite_their_tails(good: dict[str, bytes], tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(good["network.onnx"])
    nodes = model.graph.node
    for first in range(len(nodes)):
        for second in range(first, len(nodes)):
            cyclic = copy.deepcopy(model)
            cyclic.graph.node[first].input[0] = nodes[second].output[0]
            (tmp_path / "network.onnx").write_bytes(cyclic.SerializeToString())
            assert refuses_or_reads(read_onnx, tmp_path / "network.onnx")


@pytest.mark.parametrize(
    "location", ["weights.bin", "../../../../etc/passwd", "/dev/zero", "network.onnx"]
)
def test_weights_in_other_files(location: str, good: dict[str, bytes], tmp_path: Path) -> None:
    """They are never opened, whatever their size or place."""
    model = onnx.ModelProto.FromString(good["network.onnx"])
    tensor = next(t for t in model.graph.initializer if t.name == "fc.weight")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", str(1 << 60))):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "network.onnx").write_bytes(model.SerializeToString())
    error = refuses_or_reads(read_onnx, tmp_path / "network.onnx")
    assert "lies in another file" in str(error)


# Manifests that say that they are right

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), NUMBERS, REALS, st.sampled_from(["", "../evil", "/etc", "\0"])
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("../evil"), inner),
    max_leaves=3,
)


def test_manifests_that_lead_elsewhere(good: dict[str, bytes], tmp_path: Path) -> None:
    """Names are all that could make a path; with a right hash they are still looked at."""
    content = json.loads(good["network.json"])

    @examples()
    @given(st.sampled_from(["name", "files"]), VALUES)
    def check(key: str, value: object) -> None:
        text = manifest.to_text(content | {key: value})
        (tmp_path / "network.json").write_text(text)
        error = refuses_or_reads(READERS["network.json"], tmp_path / "network.json")
        assert error or (key == "files" and value == {})

    check()
    for name in ("../network.onnx", "/etc/passwd", "..", ".", "a/b", ".hidden", "a\0b", ""):
        text = manifest.to_text(content | {"files": content["files"] | {name: "0" * 64}})
        (tmp_path / "network.json").write_text(text)
        assert "outside its folder" in str(
            refuses_or_reads(READERS["network.json"], tmp_path / "network.json")
        )


@pytest.mark.parametrize("depth", [10**3, 10**5])
def test_deep_json(depth: int, tmp_path: Path) -> None:
    (tmp_path / "network.json").write_text("[" * depth)
    assert refuses_or_reads(READERS["network.json"], tmp_path / "network.json")


# Weights


def test_one_flipped_bit_is_found(folder: Path, tmp_path: Path) -> None:
    """In any file of a network that is simulated or synthesised, wherever it lies."""
    names = sorted(path.name for path in folder.iterdir())
    assert {"network.onnx", "network.json", "tiny_conv1_weight.mem", "tiny_fc_bias.mem"} < set(
        names
    )

    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    manifest.verify(tmp_path)

    @examples(100)
    @given(st.sampled_from(names), st.randoms(use_true_random=False))
    def check(name: str, rng: object) -> None:
        content = bytearray((folder / name).read_bytes())
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as error:
            Design.read(tmp_path)
        assert str(error.value).startswith(str(tmp_path / name))
        (tmp_path / name).write_bytes((folder / name).read_bytes())

    check()


@pytest.mark.parametrize("command", [run.main, build.main], ids=["sim", "bitstream"])
@pytest.mark.parametrize(
    "name", ["network.onnx", "tiny_conv1_weight.mem", "tiny_fc_bias.mem", "network.json"]
)
def test_commands_refuse_flipped_bits(
    command: Callable, name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Before anything is compiled: one line, exit code 2."""
    shutil.copytree(folder, tmp_path / "tiny")
    content = bytearray((tmp_path / "tiny" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "tiny" / name).write_bytes(content)
    arguments = ["--net", str(tmp_path / "tiny")]
    if command is build.main:
        arguments += ["--board", "ulx3s"]
    with pytest.raises(SystemExit) as end:
        errors.run(lambda: command(arguments))
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path / 'tiny' / name} is ") and "altered" in line
    assert line.count("\n") == 1
