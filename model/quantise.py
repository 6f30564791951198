"""Quantise a float ONNX network to int8 on inputs of its own, by ONNX Runtime's quantiser.

    convstream quantise net.onnx --calibrate images.npz
    convstream quantise net.onnx --calibrate images.npz --per-channel --out my.onnx
    convstream quantise net.onnx --calibrate photos/ --mean 0.5 --std 0.5 --power-of-two
    convstream quantise mynet.py:MyNet --weights net.pt --calibrate images.npz

Calibration inputs are what the network sees in use: floats as they are; pixels 0 to 255 are divided
by 255, then normalised by --mean and --std, as torchvision's ToTensor and Normalize do. A .npz
file holds `images` and, if there are some, `labels`: then accuracies are shown, before and after.
Otherwise, and always for each layer, the table shows how far int8 is from the floats.
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
from convstream.model.learning.image_files import read_arrays, times

if TYPE_CHECKING:
    from torch import nn

BRIGHT = 16.0  # inputs beyond this are hardly normalised


@dataclass(frozen=True)
class Options:
    """How a float network becomes int8.

    calibrate: path of its inputs. per_channel, power_of_two, method: see `calibration.quantise`.
    mean, std: of pixels 0 to 1, numbers with commas between them, one or one a channel. weights,
    trust_pickle: see `modules.load`; input: the shape of one input. These three are of PyTorch.
    """

    calibrate: str | None = None
    per_channel: bool = False
    power_of_two: bool = False
    method: str = "minmax"
    mean: str = "0"
    std: str = "1"
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
    made = [
        click.option(
            "--calibrate",
            metavar="PATH",
            required=required,
            help="Inputs of a float network: .npz, .npy, IDX, PNG, or a folder of PNGs.",
        ),
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
        click.option("--mean", default="0", help="Of pixels 0 to 1, one number or one a channel."),
        click.option("--std", default="1", help="The same."),
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
    assert chosen.calibrate is not None
    if torch_source.is_torch(source):
        module = load_module(source, chosen)
        images, labels = load(chosen.calibrate, chosen.input, chosen.mean, chosen.std)
        from convstream.model.formats.torch.tracing import trace

        with patience(f"{name}: tracing"):
            model = trace(module, images, source)
    else:
        if chosen.weights or chosen.input or chosen.trust_pickle:
            raise UserError(f"{source} is no PyTorch module; leave out the options for one")
        model = calibration.float_model(Path(source))
        shape = calibration.input_shape(model)
        images, labels = load(chosen.calibrate, shape, chosen.mean, chosen.std)
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
    source: str, shape: tuple[int, ...] | None, mean: str, std: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 (N, *shape) inputs, and int64 (N,) labels or None. shape: None for what they have."""
    path = Path(source)
    labels = None
    if path.suffix.lower() == ".npz":
        arrays = files.open_npz(path)
        if "images" not in arrays:
            raise UserError(f"{path}: holds {', '.join(arrays) or 'nothing'}, expected images")
        images, labels = arrays["images"], arrays.get("labels")
    else:
        images, _ = read_arrays(source)
    return fit(source, images, labels, shape, mean, std), labels


def fit(
    source: str,
    images: np.ndarray,
    labels: np.ndarray | None,
    shape: tuple[int, ...] | None,
    mean: str,
    std: str,
) -> np.ndarray:
    """The inputs as the network sees them, float32 (N, *shape).

    images: floats, or uint8 pixels. labels: one an image, or None. shape: None for that of the
    images, of which (N, H, W) are grey. source: what messages call them.
    """
    if images.dtype.kind not in "fu" or images.size == 0:
        raise UserError(f"{source}: holds {images.dtype}, expected floats, or uint8 pixels")
    if images.ndim == 3 and (shape is None or (1, *images.shape[1:]) == shape):
        images = images[:, None]
    shape = shape or images.shape[1:]
    if images.shape[1:] != shape:
        raise UserError(
            f"{source}: inputs of {times(images.shape[1:])}, the network takes {times(shape)}; "
            "bring them to that shape"
        )
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise UserError(
            f"{source}: labels are {labels.dtype} {labels.shape}, expected "
            f"{len(images)} integers, one an image"
        )
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    images = (images - _channels("mean", mean, shape)) / _channels("std", std, shape)
    if not np.isfinite(images).all():
        raise UserError(f"{source}: holds values that are not finite; leave those inputs out")
    largest = float(np.abs(images).max())
    if largest > BRIGHT:
        click.echo(
            f"warning: inputs reach {largest:.4g}; if the network was trained on 0 to 1, divide "
            "them by 255",
            err=True,
        )
    return images.astype(np.float32)


def _channels(name: str, value: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 numbers that are added to or divide inputs of `shape`, one or one a channel."""
    try:
        numbers = np.array([float(part) for part in value.split(",")], np.float32)
    except ValueError:
        raise UserError(f"--{name} {value}: expected numbers, with commas between them") from None
    if len(numbers) not in (1, shape[0]) or (name == "std" and (numbers <= 0).any()):
        raise UserError(f"--{name} {value}: expected one number, or {shape[0]}, one a channel")
    return numbers.reshape(-1, *[1] * (len(shape) - 1))


if __name__ == "__main__":
    run(main)
