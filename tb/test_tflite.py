"""TFLite files against LiteRT: MLPerf Tiny's four models, every code of every layer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from random_networks import generator

from convstream.model.base.errors import UserError
from convstream.model.formats.tflite import read_tflite
from convstream.model.formats.tflite.file import File
from convstream.model.formats.tflite.operators import TAILS
from convstream.model.network import reference

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")

FOLDER = Path(os.environ.get("MLPERF_TINY", ""))
MODELS = {
    "ad": "ad01_int8.tflite",
    "kws": "kws_ref_model.tflite",
    "resnet8": "pretrainedResnet_quant.tflite",
    "vww": "vww_96_int8.tflite",
}
pytestmark = [
    pytest.mark.skipif(
        not (FOLDER / MODELS["kws"]).is_file(),
        reason="needs MLPerf Tiny's models: set MLPERF_TINY to their folder",
    ),
    # Keeping every tensor is what this is about, and LiteRT warns of the memory that it takes.
    pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors"),
]


def natural(name: str) -> np.ndarray:
    """int8 inputs that the model was made for, N x H x W x C or N x features."""
    if name == "kws":
        return np.load(FOLDER / "kws_input.npy")
    if name == "resnet8":
        images = np.load(FOLDER / "ic_images.npy")[:100]
        return (images.astype(np.int16) - 128).astype(np.int8)
    if name == "ad":
        frames = np.load(FOLDER / "ad_spectrogram.npy")
        inputs = np.stack([frames[at : at + 5].reshape(-1) for at in range(len(frames) - 4)])
        (number,) = File.read(FOLDER / MODELS["ad"]).inputs
        tensor = File.read(FOLDER / MODELS["ad"]).tensors[number]
        codes = np.rint(inputs / tensor.scale[0]) + tensor.zero[0]
        return np.clip(codes, -128, 127).astype(np.int8)
    from sklearn.datasets import load_sample_images

    crops = [
        image[top : top + 96, left : left + 96]
        for image in load_sample_images().images
        for top in range(0, 330, 96)
        for left in range(0, 540, 96)
    ]
    return (np.stack(crops).astype(np.int16) - 128).astype(np.int8)


def litert_codes(path: Path, inputs: np.ndarray, tensors: list[int]) -> list[np.ndarray]:
    """int8 codes of `tensors`, each N x ..., as LiteRT with its default kernels gives them."""
    interpreter = litert.Interpreter(str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    found: list[list[np.ndarray]] = [[] for _ in tensors]
    for one in inputs:
        interpreter.set_tensor(entry["index"], one[None])
        interpreter.invoke()
        for values, number in zip(found, tensors, strict=True):
            values.append(interpreter.get_tensor(number)[0].copy())
    return [np.stack(values) for values in found]


def to_codes(inputs: np.ndarray) -> np.ndarray:
    """uint8 N x C x H x W of int8 N x H x W x C, or of N x features."""
    codes = (inputs.astype(np.int16) + 128).astype(np.uint8)
    if codes.ndim == 2:
        return codes[:, :, None, None]
    return np.ascontiguousarray(codes.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", MODELS)
def test_every_code_of_every_layer(seed: str, name: str) -> None:
    path = FOLDER / MODELS[name]
    quantised = read_tflite(path, name)
    file = File.read(path)
    layers = [o for o in file.operators if o.kind not in (*TAILS, "RESHAPE")]
    shape = file.tensors[file.inputs[0]].shape[1:]
    drawn = generator(seed, name).integers(-128, 128, (40, *shape), np.int8)
    inputs = np.concatenate([drawn, natural(name)])
    codes = litert_codes(path, inputs, [operator.outputs[0] for operator in layers])
    features = reference.features(quantised, to_codes(inputs))
    assert len(layers) == len(quantised.network.nodes)
    for node, expected in zip(quantised.network.nodes, codes, strict=True):
        np.testing.assert_array_equal(features[node.name], to_codes(expected), err_msg=node.name)


def test_damaged_files_are_refused_in_one_line(seed: str, tmp_path: Path) -> None:
    """Cut short, or with bits that have changed: a network, or one line that says what is wrong."""
    content = (FOLDER / MODELS["kws"]).read_bytes()
    rng = generator(seed, "damaged")
    path = tmp_path / "damaged.tflite"
    refused = 0
    for number in range(120):
        changed = bytearray(content)
        if number % 4 == 0:
            del changed[int(rng.integers(len(content))) :]
        else:
            # The structure stands at the ends; what is between is weights.
            at = int(rng.integers(3000))
            changed[at if number % 2 else -1 - at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            read_tflite(path)
        except UserError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert refused > 30


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.tflite"
    with pytest.raises(UserError, match="no such file; expected a .tflite file"):
        read_tflite(path)
    path.write_bytes(b"\x08\x07PK\x03\x04" * 9)
    with pytest.raises(UserError, match="not a TFLite file, or a damaged one"):
        read_tflite(path)
