"""From a float ONNX file to a QDQ one, by ONNX Runtime's own quantiser."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import load_external_data_for_model

from convstream.model.base.errors import UserError
from convstream.model.base.files import one_line
from convstream.model.formats.onnx.checks import text, type_name
from convstream.model.formats.onnx.limits import MAX_FILE_BYTES
from convstream.model.formats.onnx.parse import parse
from convstream.model.formats.onnx.runtime import session

METHODS = ("minmax", "entropy", "percentile")
OBSERVED = 64  # inputs whose activations choose the exponents of powers of two
BATCH = 16
SEARCH = Callable[[np.ndarray, int, int], int]
"""From values, and the least and the largest integer, to the best exponent of their scale."""


def float_model(path: Path) -> onnx.ModelProto:
    """The model in a float ONNX file with one input.

    Raises `UserError` for what is none, or is quantised already.
    """
    try:
        model = parse(path)
        quantised = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "QLinearConv")]
        if quantised:
            raise UserError(
                "it is quantised already; hand it to convstream export, without --calibrate"
            )
        entry, shape = _entry(model)
        if entry.type.tensor_type.elem_type != TensorProto.FLOAT:
            kind = type_name(entry.type.tensor_type.elem_type)
            raise UserError(f"its input {text(entry.name)} is {kind}, expected float")
        if len(shape) < 2 or min(shape[1:]) < 1:
            raise UserError(
                f"its input {text(entry.name)} has shape {shape} (0: not fixed), expected fixed "
                "sizes but for the batch; export it again with dynamic_axes for that alone"
            )
        _fetch_weights(model, path.resolve().parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return model


def _fetch_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Read the weights that PyTorch's exporter leaves in a file beside the model's."""
    size = 0
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        name = next((pair.value for pair in tensor.external_data if pair.key == "location"), "")
        beside = folder / name
        if Path(name).name != name or not beside.is_file():
            raise UserError(
                f"its weights lie in {text(name)}, which is not beside it; put it there, or export "
                "with external_data=False"
            )
        size = max(size, beside.stat().st_size)
    if size > MAX_FILE_BYTES:
        raise UserError(f"its weights take {size >> 20} MiB; use a smaller network")
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as error:  # of onnx: several
        raise UserError(
            f"its weights cannot be read ({one_line(error)}); export with external_data=False"
        ) from None


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """That of one input, without the batch."""
    return tuple(_entry(model)[1][1:])


def _entry(model: onnx.ModelProto) -> tuple[onnx.ValueInfoProto, list[int]]:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise UserError(
            f"the graph has {len(inputs)} inputs and {len(model.graph.output)} outputs, expected "
            "one of each"
        )
    return inputs[0], [size.dim_value for size in inputs[0].type.tensor_type.shape.dim]


def quantise(
    model: onnx.ModelProto,
    images: np.ndarray,
    *,
    per_channel: bool = False,
    method: str = "minmax",
    power_of_two: SEARCH | None = None,
) -> onnx.ModelProto:
    """The QDQ model: weights int8 and symmetric, activations uint8, biases int32.

    images: float32 (N, ...), what the network sees in use. per_channel: a scale for each output
    channel of the weights. method: how the ranges of activations are chosen, one of `METHODS`.
    power_of_two: chooses exponents; then every scale is a power of two, one a tensor, and every
    zero point 0, or 128 where values have both signs.
    Raises `UserError` where ONNX Runtime cannot do it.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    with tempfile.TemporaryDirectory(prefix="convstream-") as scratch, _silence():
        source, ready, target = (Path(scratch) / f"{name}.onnx" for name in ("f", "r", "q"))
        onnx.save(model, source)
        try:
            # Folds BatchNormalization into the layers before it.
            shape_inference.quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
            extra: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": False}
            if power_of_two is not None:
                extra["TensorQuantOverrides"] = _powers(onnx.load(ready), images, power_of_two)
            quantization.quantize_static(
                str(ready),
                str(target),
                _reader(model, images),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=per_channel and power_of_two is None,
                calibrate_method={
                    "minmax": quantization.CalibrationMethod.MinMax,
                    "entropy": quantization.CalibrationMethod.Entropy,
                    "percentile": quantization.CalibrationMethod.Percentile,
                }[method],
                extra_options=extra,
            )
        except UserError:
            raise
        except Exception as error:  # of any kind: it is a large library
            raise UserError(
                f"ONNX Runtime cannot quantise it ({one_line(error)}); export it again, for "
                "example with torch.onnx.export(module, example, file, dynamo=False)"
            ) from None
        return onnx.load(target)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without the advice that the quantiser prints."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _batches(model: onnx.ModelProto, images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """The inputs in batches of the size that the model takes."""
    entry, shape = _entry(model)
    if len(images) < shape[0]:
        raise UserError(f"{len(images)} inputs, expected a batch of {shape[0]} at least")
    # Where any size will do, one that leaves none over: some methods want all of one size.
    divisors = (size for size in range(BATCH, 0, -1) if len(images) % size == 0)
    size = shape[0] or next(divisors)
    for start in range(0, len(images) - size + 1, size):
        yield {entry.name: images[start : start + size].astype(np.float32)}


def _reader(model: onnx.ModelProto, images: np.ndarray) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Hands out the batches."""

        def __init__(self) -> None:
            self.batches = _batches(model, images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next one, None at the end."""
            return next(self.batches, None)

    return Reader()


def _powers(
    model: onnx.ModelProto, images: np.ndarray, search: SEARCH
) -> dict[str, list[dict[str, Any]]]:
    """By tensor, the power-of-two scale and the zero point of least error."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, values in observe(model, images[:OBSERVED]).items():
        signed = bool((values < 0).any())
        exponent = search(values, -128, 127) if signed else search(values, 0, 255)
        found[name] = [
            {
                "scale": np.array(2.0**-exponent, np.float32),
                "zero_point": np.array(128 if signed else 0, np.uint8),
            }
        ]
    for tensor in model.graph.initializer:
        weight = onnx.numpy_helper.to_array(tensor)
        if weight.ndim > 1 and weight.dtype == np.float32:
            scale = np.array(2.0 ** -search(weight, -128, 127), np.float32)
            found[tensor.name] = [{"scale": scale, "zero_point": np.array(0, np.int8)}]
    return found


def observe(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of `images` in every float tensor, the input among them, by name."""
    entry, _ = _entry(model)
    known = onnx.shape_inference.infer_shapes(model)
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*known.graph.value_info, *known.graph.output)
    }
    names = [
        name
        for node in known.graph.node
        for name in node.output
        if types.get(name) == TensorProto.FLOAT
    ]
    changed = onnx.ModelProto()
    changed.CopyFrom(known)
    del changed.graph.output[:]
    changed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (entry.name, *names)}
    for batch in run(changed, model, images):
        for name, values in batch.items():
            parts[name].append(values)
    return {name: np.concatenate(found) for name, found in parts.items() if found}


def run(
    changed: onnx.ModelProto, model: onnx.ModelProto, images: np.ndarray
) -> Iterator[Mapping[str, np.ndarray]]:
    """All outputs of `changed`, and the input, a batch at a time."""
    runtime = session(changed.SerializeToString(), intra_op_num_threads=0)
    names = [output.name for output in runtime.get_outputs()]
    for batch in _batches(model, images):
        yield {**batch, **dict(zip(names, runtime.run(names, batch), strict=True))}
