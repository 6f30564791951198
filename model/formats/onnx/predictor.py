"""A network's own file in ONNX Runtime, fed with codes, and its outputs as integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from convstream.model.formats.onnx.parse import parse
from convstream.model.formats.onnx.reader import output_name
from convstream.model.formats.onnx.runtime import session
from convstream.model.network.codes import exponent_of
from convstream.model.network.quantised import QuantisedNetwork


def predictor(
    path: Path, quantised: QuantisedNetwork, threads: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """What ONNX Runtime gives for uint8 images N x C x H x W: float64 N x outputs.

    As `reference.predict` numbers and scales them: sums, or codes. The file runs as it is, but for
    what stands behind the network's end, such as a Softmax. A float input is fed with what codes
    stand for, or with normalised pixels. threads: 0 for as many as there are processors.
    """
    model = parse(path)
    end = output_name(path)
    if model.graph.output[0].name != end:
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=end))
    runtime = session(model.SerializeToString(), intra_op_num_threads=threads)
    given = runtime.get_inputs()[0]
    batch, *dims = given.shape

    def run(images: np.ndarray) -> np.ndarray:
        return runtime.run(None, {given.name: images})[0]

    def predict(images: np.ndarray) -> np.ndarray:
        count = len(images)
        fed = _fed(images, dims, given.type, quantised)
        if not isinstance(batch, int) or batch < 1:
            found = run(fed)
        else:
            # The file's batches are all of one size.
            fed = np.concatenate([fed, np.repeat(fed[-1:], -count % batch, axis=0)])
            found = np.concatenate([run(part) for part in np.split(fed, len(fed) // batch)])
        return _integers(found.reshape(len(fed), -1)[:count], quantised)

    return predict


def _fed(images: np.ndarray, dims: list[int], kind: str, quantised: QuantisedNetwork) -> np.ndarray:
    """Images in the type and shape of the file's input."""
    channels, height, width = quantised.network.input_shape
    codes, values = quantised.file_inputs(images)
    x: np.ndarray = codes
    if kind == "tensor(float)":
        x = values
    elif kind == "tensor(int8)":
        x = (codes.astype(np.int16) - 128).astype(np.int8)
    if dims == [height, width, channels] != [channels, height, width]:
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x).reshape(len(x), *dims)


def _integers(found: np.ndarray, quantised: QuantisedNetwork) -> np.ndarray:
    """The file's outputs in units of their scale."""
    if found.dtype == np.int8:
        return found.astype(np.float64) + 128
    if found.dtype == np.uint8:
        return found.astype(np.float64)
    shape = quantised.network.output.out_shape
    scale = np.broadcast_to(quantised.output_scale[:, None, None], shape).reshape(-1)
    units = found.astype(np.float64) / scale
    if any(exponent_of(value) is None for value in scale):
        units = np.rint(units)  # a float32 product is no whole multiple of its factor
    return units + quantised.output_zero_point
