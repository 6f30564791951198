"""Quantise a float ONNX network to int8 on inputs of its own, by ONNX Runtime's quantiser.

    convstream quantise net.onnx --calibrate images.npz
    convstream quantise net.onnx --calibrate images.npz --per-channel --out my.onnx
    convstream quantise net.onnx --calibrate photos/ --mean 0.5 --std 0.5 --power-of-two
    convstream quantise mynet.py:MyNet --weights net.pt --calibrate images.npz

Calibration inputs are what the network sees in use: floats as they are; pixels 0 to 255 are divided
by 255, then normalised by --mean and --std, as torchvision's ToTensor and Normalize do. A .npz
file holds `images` and, if there are some, `labels`; a folder may hold one for each class. With
labels, accuracies are shown, before and after. The table shows how far int8 is from the floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convstream.model import calibrated
from convstream.model.base import files, places
from convstream.model.base.commands import command
from convstream.model.base.errors import UserError, run
from convstream.model.base.patience import patience
from convstream.model.formats.onnx import calibration
from convstream.model.formats.torch import source as torch_source
from convstream.model.learning.image_files import times
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles, Takes, class_names, read, splits
from convstream.model.network.pixels import Normalisation

if TYPE_CHECKING:
    from torch import nn

BRIGHT = 16.0  # inputs beyond this are hardly normalised


@dataclass(frozen=True)
class Options:
    """How a float network becomes int8.

    given: its inputs, none where nothing becomes int8. per_channel, power_of_two, method: see
    `calibration.quantise`. mean, std: of pixels, see `Normalisation.parse`, None for 0 and 1.
    weights, trust_pickle: see `modules.load`; input: the shape of one input. These three are of
    PyTorch.
    """

    given: DataFiles = DataFiles()
    per_channel: bool = False
    power_of_two: bool = False
    method: str = "minmax"
    mean: str | None = None
    std: str | None = None
    weights: Path | None = None
    input: tuple[int, ...] | None = None
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        """Raise `UserError` for a method that is none, and options that exclude each other."""
        if self.method not in calibration.METHODS:
            known = " or ".join(calibration.METHODS)
            raise UserError(f"unknown method {self.method!r}, expected {known}")
        if self.per_channel and self.power_of_two:
            raise UserError("--power-of-two takes one scale a tensor; leave out --per-channel")

    @property
    def normalisation(self) -> Normalisation:
        """Of pixels."""
        return Normalisation.parse(self.mean or "0", self.std or "1")

    @property
    def of_quantiser(self) -> dict[str, Any]:
        """Those of `calibrated.quantise`."""
        return {name: getattr(self, name) for name in ("per_channel", "power_of_two", "method")}


class Shape(click.ParamType):
    """Sizes, with commas or x between them."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Raises click's error where `value` is none."""
        if isinstance(value, str):
            sizes = value.replace("x", ",").split(",")
            if not all(size.isascii() and size.isdecimal() and int(size) for size in sizes):
                self.fail(f"{value} is no shape; type one such as 1,28,28", param, ctx)
            value = tuple(map(int, sizes))
        return value


def options(required: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The options of `Options`, handed on by name. required: whether there must be --calibrate."""
    made: list[Callable[[Callable[..., int]], Callable[..., int]]] = [
        data_options("--calibrate", "--data", "--images", required=required),
        click.option(
            "--per-channel", is_flag=True, help="A scale for each output channel of weights."
        ),
        click.option(
            "--power-of-two", is_flag=True, help="Scales that need no multiplier in hardware."
        ),
        click.option(
            "--method",
            type=click.Choice(calibration.METHODS),
            default="minmax",
            help="How the ranges of activations are chosen.",
        ),
        click.option(
            "--mean", metavar="M[,M...]", help="Of pixels: (pixel / 255 - mean) / std, ..."
        ),
        click.option("--std", metavar="S[,S...]", help="... of one number, or of one a channel."),
        click.option(
            "--weights", type=Path, metavar="FILE", help="Of a PyTorch module: .pt or .safetensors."
        ),
        click.option(
            "--input", type=Shape(), help="Of a PyTorch module, as 1,28,28.  [default: as images]"
        ),
        click.option(
            "--trust-pickle", is_flag=True, help="Run code that a .pt file names to load it."
        ),
    ]

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        for option in reversed(made):
            function = option(function)
        return function

    return decorate


@command("quantise", __doc__)
@click.argument("network", metavar="FILE.onnx|FILE.py:NAME")
@options(required=True)
@click.option("--out", type=Path, metavar="FILE.onnx", help="[default: NAME_int8.onnx, here]")
def main(network: str, out: Path | None, **chosen: Any) -> int:
    """The command line. Returns 0."""
    name = name_of(network)
    out = out or Path(f"{name}_int8.onnx")
    if out.resolve() == Path(network).resolve():
        raise UserError(f"{out} is the network itself; choose another --out")
    made = quantise(network, name, Options(**chosen))
    made.print_report()
    files.write_atomically(out, made.int8.SerializeToString())
    print(f"{out}; next: convstream export {out}")
    return 0


def name_of(source: str) -> str:
    """What the network is called that a command line's word stands for."""
    return torch_source.name_of(source) if torch_source.is_torch(source) else Path(source).stem


def quantise(source: str, name: str, chosen: Options) -> calibrated.Quantised:
    """The float network that a command line's word stands for, in int8.

    source: a float ONNX file, or what `modules.load` takes. name: of the int8 network.
    Raises `UserError` where it or its inputs cannot be used.
    """
    if torch_source.is_torch(source):
        module = load_module(source, chosen)
        images, labels = load(chosen.given, chosen.input, chosen.normalisation)
        from convstream.model.formats.torch.tracing import trace

        with patience(f"{name}: tracing"):
            model = trace(module, images, source)
    else:
        if chosen.weights or chosen.input or chosen.trust_pickle:
            raise UserError(f"{source} is no PyTorch module; leave out the options for one")
        if not source.lower().endswith(".onnx"):
            raise UserError(
                f"{source} is no float network; expected a .onnx file or FILE.py:NAME, or leave "
                "out --calibrate"
            )
        model = calibration.float_model(Path(source))
        shape = calibration.input_shape(model)
        images, labels = load(chosen.given, shape, chosen.normalisation)
    return calibrated.quantise(
        model, images, labels, source=source, name=name, **chosen.of_quantiser
    )


def load_module(source: str, chosen: Options) -> nn.Module:
    """The PyTorch module that a command line's word stands for, with its weights."""
    try:
        from convstream.model.formats.torch import modules
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UserError(
            f"{source} needs PyTorch, which is not installed; {places.extra('train')}"
        ) from None
    return modules.load(source, chosen.weights, chosen.trust_pickle)


def load(
    given: DataFiles, shape: tuple[int, ...] | None, normalisation: Normalisation
) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 (N, *shape) inputs, and int64 (N,) labels or None. shape: None for what they have."""
    given = splits(given).get("train", given)
    found = read(given, class_names(given, Takes()), shape[0] if shape else None)
    return fit(str(given.images), found.images, shape, normalisation), found.labels


def fit(
    source: str, images: np.ndarray, shape: tuple[int, ...] | None, normalisation: Normalisation
) -> np.ndarray:
    """The inputs as the network sees them, float32 (N, *shape).

    images: floats, or uint8 pixels. shape: None for that of the images, of which (N, H, W) are
    grey. source: what messages call them.
    """
    if images.dtype.kind not in "fu" or images.size == 0:
        raise UserError(f"{source}: holds {images.dtype}, expected floats, or uint8 pixels")
    if images.ndim == 3 and (shape is None or (1, *images.shape[1:]) == shape):
        images = images[:, None]
    shape = shape or images.shape[1:]
    if images.ndim < 2 or images.shape[1:] != shape:
        raise UserError(
            f"{source}: inputs of {times(images.shape[1:])}, the network takes {times(shape)}; "
            "bring them to that shape"
        )
    images = normalisation.values(images)
    if not np.isfinite(images).all():
        raise UserError(f"{source}: holds values that are not finite; leave those inputs out")
    largest = float(np.abs(images).max())
    if largest > BRIGHT:
        click.echo(
            f"warning: inputs reach {largest:.4g}; if the network was trained on 0 to 1, divide "
            "them by 255",
            err=True,
        )
    return images


if __name__ == "__main__":
    run(main)
