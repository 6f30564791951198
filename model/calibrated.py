"""A float network and the same in int8: made, compared, written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from convstream.model.base.errors import UserError
from convstream.model.base.patience import patience
from convstream.model.formats.onnx import calibration, read_onnx
from convstream.model.learning.quantiser import best_exponent
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork

FLOATS = "float.onnx"  # what an exported folder calls the network before it was int8
COMPARED = 64  # inputs on which the layers' errors are measured


@dataclass(frozen=True)
class Quantised:
    """A float model and the same in int8, also as the network that was read from it.

    images: float32 (N, ...), what it was calibrated on. labels: int64 (N,) or None.
    """

    floats: onnx.ModelProto
    int8: onnx.ModelProto
    network: QuantisedNetwork
    images: np.ndarray
    labels: np.ndarray | None

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write network.onnx, and float.onnx beside it; returns their paths."""
        paths = folder / "network.onnx", folder / FLOATS
        for path, model in zip(paths, (self.int8, self.floats), strict=True):
            path.write_bytes(model.SerializeToString())
        return paths

    def print_report(self) -> None:
        """How far int8 is from the floats at each tensor and, with labels, accuracies."""
        errors = layer_errors(self.floats, self.int8, self.images[:COMPARED])
        _print_table(errors)
        if errors:
            worst = max(errors, key=errors.__getitem__)
            print(f"int8 is furthest from the floats at {worst}: {errors[worst]:.2%}")
        if self.labels is not None:
            before, after = accuracies(self.floats, self.network, self.images, self.labels)
            print(
                f"accuracy on {len(self.images):,} images: {before:.2%} in floats, "
                f"{after:.2%} in int8"
            )


def quantise(
    model: onnx.ModelProto,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    source: str,
    name: str,
    per_channel: bool = False,
    method: str = "minmax",
    power_of_two: bool = False,
) -> Quantised:
    """A float model in int8.

    source: what messages call it; name: of the int8 network. images, labels: as in `Quantised`.
    The others: see `calibration.quantise`. Raises `UserError` where int8 cannot be run.
    """
    try:
        if labels is not None:
            _check_labels(model, images, labels)
        with patience(f"{name}: quantising"):
            int8 = calibration.quantise(
                model,
                images,
                per_channel=per_channel,
                method=method,
                power_of_two=best_exponent if power_of_two else None,
            )
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="convstream-") as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(int8.SerializeToString())
        try:
            network = read_onnx(path, name)
        except UserError as error:
            raise UserError(f"{source}: {str(error).removeprefix(f'{path}: ')}") from None
    return Quantised(model, int8, network, images, labels)


def _check_labels(model: onnx.ModelProto, images: np.ndarray, labels: np.ndarray) -> None:
    """Raise `UserError` unless each label is the number of an output."""
    outputs = list(next(calibration.run(model, model, images)).values())[-1]
    classes = outputs[0].size
    if labels.max() >= classes:
        raise UserError(
            f"label {labels.max()} of image {labels.argmax()}, but the network has {classes} "
            f"outputs; expected 0 to {classes - 1}"
        )


def layer_errors(
    model: onnx.ModelProto, made: onnx.ModelProto, images: np.ndarray
) -> dict[str, float]:
    """By tensor, the root mean square of int8's error over that of the floats."""
    floats, rounded = (calibration.observe(one, images) for one in (model, made))
    found = {}
    for name in floats:
        # What an activation is behind its rounding; the Relu before may be part of that.
        other = rounded.get(f"{name}_DequantizeLinear_Output", rounded.get(name))
        if other is None:
            continue
        one = floats[name].astype(np.float64)
        size = np.sqrt(np.square(one).mean())
        if one.shape == other.shape and size > 0:
            found[name] = float(np.sqrt(np.square(one - other).mean()) / size)
    return found


def accuracies(
    model: onnx.ModelProto, quantised: QuantisedNetwork, images: np.ndarray, labels: np.ndarray
) -> tuple[float, float]:
    """Shares of images that floats and int8 classify rightly."""
    outputs = [list(batch.values())[-1] for batch in calibration.run(model, model, images)]
    logits = np.concatenate(outputs).reshape(sum(map(len, outputs)), -1)
    count = len(logits)
    codes = quantised.codes[IMAGE].of_real(images)
    shape = quantised.network.input_shape
    found = reference.predict(quantised, codes.reshape(len(codes), *shape))
    right = quantised.real(found).argmax(axis=1) == labels
    return float((logits.argmax(axis=1) == labels[:count]).mean()), float(right.mean())


def _print_table(errors: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("tensor")
    table.add_column("error of int8", justify="right")
    for name, error in errors.items():
        table.add_row(name, f"{error:.2%}")
    Console().print(table)
