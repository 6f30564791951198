"""A network's own file in ONNX Runtime gives the reference's integers, whatever its ends are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from random_networks import generator, random_images
from test_onnx_operators import EXACT, INT8, UINT8, Quantised, tail

from convstream.model.formats.onnx import read_onnx
from convstream.model.formats.onnx.predictor import predictor
from convstream.model.network import reference


def sums_of_channels() -> Quantised:
    g = Quantised(("N", 40)).multiply(7, 40)
    return g.real().op("Gemm", g.weights(5, 7), g.biases(5), transB=1)


def float_image(dtype: type = UINT8) -> Quantised:
    """Its outputs are floats of uint8 codes, or int8 codes."""
    g = Quantised(dtype=dtype)
    g.input.type.tensor_type.elem_type = TensorProto.FLOAT
    g.codes(*g.scaled).convolve(4, 3, 3, 3)
    return g if dtype is INT8 else g.real()


FILES: dict[str, Callable[[], Quantised]] = {
    "codes": EXACT["conv"],
    "int8 codes": lambda: float_image(INT8),
    "channels last": EXACT["channels last"],
    "features in a row": EXACT["image in a row"],
    "signal": EXACT["signal"],
    "batches of one": lambda: Quantised((1, 3, 9, 8)).convolve(4, 3, 3, 3),
    "batches of three": lambda: Quantised((3, 3, 9, 8)).convolve(4, 3, 3, 3).real(),
    "sums of channels": sums_of_channels,
    "float image": float_image,
    "softmax": tail("Softmax"),
    "argmax": tail("Softmax", "ArgMax"),
}


@pytest.mark.parametrize("build", FILES.values(), ids=FILES)
def test_own_file(seed, build, tmp_path):
    path = tmp_path / "graph.onnx"
    onnx.save(build().model(), path)
    quantised = read_onnx(path)
    images = random_images(generator(seed, "own"), quantised, 10)
    found = predictor(path, quantised, threads=1)(images)
    np.testing.assert_array_equal(found, reference.predict(quantised, images))


def test_output_scale(tmp_path):
    """(outputs - zero point) * scale is what the file gives."""
    path = tmp_path / "graph.onnx"
    model = float_image().model()
    onnx.save(model, path)
    quantised = read_onnx(path)
    outputs = reference.predict(quantised, np.arange(216, dtype=np.uint8).reshape(1, 3, 9, 8))
    assert (quantised.output_scale.tolist(), quantised.output_zero_point) == (
        [float(np.float32(0.031))],
        131,
    )
    np.testing.assert_array_equal(
        quantised.real(outputs), (outputs - 131) * float(np.float32(0.031))
    )
