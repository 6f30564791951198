"""Quantise a float ONNX network to int8 on inputs of its own, by ONNX Runtime's quantiser.

    convstream quantise net.onnx --calibrate images.npz
    convstream quantise net.onnx --calibrate images.npz --per-channel --out my.onnx
    convstream quantise net.onnx --calibrate photos/ --mean 0.5 --std 0.5 --power-of-two

Calibration inputs are what the network sees in use: floats as they are; pixels 0 to 255 are divided
by 255, then normalised by --mean and --std, as torchvision's ToTensor and Normalize do. A .npz
file holds `images` and, if there are some, `labels`; a folder may hold one for each class. With
labels, accuracies are shown, before and after. The table shows how far int8 is from the floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import onnx

from convstream.model.base import files
from convstream.model.base.commands import command
from convstream.model.base.errors import UserError, run
from convstream.model.base.patience import patience
from convstream.model.formats.onnx import calibration, read_onnx
from convstream.model.learning.image_files import times
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles, Takes, class_names, read, splits
from convstream.model.learning.quantiser import best_exponent
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE
from convstream.model.network.pixels import Normalisation
from convstream.model.network.quantised import QuantisedNetwork

COMPARED = 64  # inputs on which the layers' errors are measured
BRIGHT = 16.0  # inputs beyond this are hardly normalised


@command("quantise", __doc__)
@click.argument("network", metavar="FILE.onnx", type=Path)
@data_options("--calibrate", "--data", "--images", required=True)
@click.option("--per-channel", is_flag=True, help="A scale for each output channel of weights.")
@click.option("--power-of-two", is_flag=True, help="Scales that need no multiplier in hardware.")
@click.option(
    "--method",
    type=click.Choice(calibration.METHODS),
    default="minmax",
    help="How the ranges of activations are chosen.",
)
@click.option("--mean", default="0", help="Of pixels 0 to 1, one number or one a channel.")
@click.option("--std", default="1", help="The same.")
@click.option("--out", type=Path, metavar="FILE.onnx", help="[default: FILE_int8.onnx, here]")
def main(
    network: Path,
    given: DataFiles,
    per_channel: bool,
    power_of_two: bool,
    method: str,
    mean: str,
    std: str,
    out: Path | None,
) -> int:
    """The command line. Returns 0."""
    if per_channel and power_of_two:
        raise UserError("--power-of-two takes one scale a tensor; leave out --per-channel")
    out = out or Path(f"{network.stem}_int8.onnx")
    if out.resolve() == network.resolve():
        raise UserError(f"{out} is the network itself; choose another --out")
    model = calibration.float_model(network)
    images, labels = load(given, calibration.input_shape(model), mean, std)
    with patience(f"{network.name}: quantising"):
        made = calibration.quantise(
            model,
            images,
            per_channel=per_channel,
            method=method,
            power_of_two=best_exponent if power_of_two else None,
        )
    files.write_atomically(out, made.SerializeToString())
    quantised = read_onnx(out)
    errors = layer_errors(model, made, images[:COMPARED])
    _print_table(errors)
    if errors:
        worst = max(errors, key=errors.__getitem__)
        print(f"int8 is furthest from the floats at {worst}: {errors[worst]:.2%}")
    if labels is not None:
        before, after = accuracies(model, quantised, images, labels)
        print(f"accuracy on {len(images):,} images: {before:.2%} in floats, {after:.2%} in int8")
    print(f"{out}; next: convstream export {out}")
    return 0


def load(
    given: DataFiles, shape: tuple[int, ...], mean: str, std: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 (N, *shape) inputs, and int64 (N,) labels or None."""
    given = splits(given).get("train", given)
    found = read(given, class_names(given, Takes()), shape[0])
    source, images, labels = given.images, found.images, found.labels
    if images.dtype.kind not in "fu" or images.size == 0:
        raise UserError(f"{source}: holds {images.dtype}, expected floats, or uint8 pixels")
    if images.shape[1:] != shape and images.shape[1:] == shape[1:] and shape[0] == 1:
        images = images[:, None]
    if images.shape[1:] != shape:
        raise UserError(
            f"{source}: inputs of {times(images.shape[1:])}, the network takes {times(shape)}; "
            "bring them to that shape"
        )
    images = Normalisation.parse(mean, std).values(images)
    if not np.isfinite(images).all():
        raise UserError(f"{source}: holds values that are not finite; leave those inputs out")
    largest = float(np.abs(images).max())
    if largest > BRIGHT:
        click.echo(
            f"warning: inputs reach {largest:.4g}; if the network was trained on 0 to 1, divide "
            "them by 255",
            err=True,
        )
    return images, labels


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
    """Shares of images that floats and int8 classify rightly.

    Raises `UserError` where the network has no such labels.
    """
    classes = quantised.network.classes
    if labels.max() >= classes:
        raise UserError(
            f"label {labels.max()} of image {labels.argmax()}, but the network has {classes} "
            f"outputs; expected 0 to {classes - 1}"
        )
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


if __name__ == "__main__":
    run(main)
