"""What Python calls: `convstream.export`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convstream.model import calibrated, quantise
from convstream.model.base.errors import UserError
from convstream.model.export import check_folder, check_name
from convstream.model.export import export as write
from convstream.model.formats import files as formats
from convstream.model.learning.own_data import DataFiles

if TYPE_CHECKING:
    from torch import nn

MOST = 1000  # inputs of a data set that calibrate


def export(
    module: nn.Module,
    example: Any = None,
    *,
    calibrate: Any,
    out: str | os.PathLike,
    per_channel: bool = False,
    power_of_two: bool = False,
    method: str = "minmax",
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    cycles: int | None = None,
    multipliers: int | None = None,
    latency: int | None = None,
    pixels_per_beat: int = 1,
    force: bool = False,
) -> Path:
    """Quantise a PyTorch module to int8 and write what hardware needs; returns the folder.

    Parameters
    ----------
    module:
        a `torch.nn.Module`, or TorchScript, in float32, of one input and one output, that
        `torch.onnx.export` can trace. It is traced for inference and left as it was.
    example:
        an input, N x ..., of which the shape counts; by default that of the inputs to calibrate on.
    calibrate:
        inputs as the network sees them in use: an array or tensor, N x C x H x W, N x H x W or N x
        ..., float, or uint8 pixels 0 to 255; a data set or a loader of PyTorch, of such tensors or
        of pairs with a label, from which 1,000 are taken; or a path, as of `convstream quantise`.
    out:
        the folder to write; its name becomes that of the network. Its `network.onnx` is the network
        in int8, and `float.onnx` the one before that.
    mean, std:
        where they are given, inputs are pixels, and so are those that the hardware takes.
    per_channel, power_of_two, method, cycles, multipliers, latency, pixels_per_beat, force:
        as the options of `convstream export`.

    Raises
    ------
    convstream.UserError
        in one line, where the module cannot be traced, quantised or built, or an input does not
        fit; `out` is then what it was.
    """
    from torch import nn

    from convstream.model.formats.torch.tracing import trace

    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise UserError(
            f"module is of type {kind}, expected a torch.nn.Module; for files there is the command "
            "convstream export"
        )
    out = Path(out)
    name = out.resolve().name
    check_name(name)
    if not force:
        check_folder(out, name)
    chosen = quantise.Options(
        per_channel=per_channel,
        power_of_two=power_of_two,
        method=method,
        mean=_numbers(mean),
        std=_numbers(std),
    )
    pixels = None if mean is None and std is None else chosen.normalisation
    shape = None if example is None else tuple(example.shape[1:])
    if isinstance(calibrate, (str, os.PathLike)):
        images, _ = quantise.load(DataFiles(str(calibrate)), shape, chosen.normalisation)
    else:
        images = quantise.fit("calibrate", inputs(calibrate), shape, chosen.normalisation)
    kind = type(module).__name__
    model = trace(module, images, kind)
    made = calibrated.quantise(model, images, source=kind, name=name, **chosen.of_quantiser)
    with tempfile.TemporaryDirectory(prefix="convstream-") as scratch:
        path, *beside = made.write(Path(scratch))
        write(
            formats.read(path, name, pixels),
            out,
            cycles=cycles,
            multipliers=multipliers,
            latency=latency,
            pixels=pixels_per_beat,
            source=path,
            extra=beside,
            force=force,
        )
    return out


def inputs(source: Any) -> np.ndarray:
    """The inputs in an array, a tensor, or a data set or loader of PyTorch, of which `MOST`."""
    from torch.utils.data import DataLoader

    if hasattr(source, "shape"):
        return _array(source)
    if isinstance(source, DataLoader):
        batches: list[np.ndarray] = []
        for batch in source:
            batches.append(_array(batch))
            if sum(map(len, batches)) >= MOST:
                break
        return _joined(np.concatenate, batches)[:MOST]
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        # From all over it: folders of classes come one class after the other.
        count = min(len(source), MOST)
        items: Iterable[Any] = (source[len(source) * i // count] for i in range(count))
    elif isinstance(source, Iterable):
        items = islice(source, MOST)
    else:
        raise UserError(f"calibrate is of type {type(source).__name__}; give an array of inputs")
    return _joined(np.stack, [_array(item) for item in items])


def _array(item: Any) -> np.ndarray:
    """An array or tensor, perhaps with a label behind it."""
    if isinstance(item, (tuple, list)) and item:
        item = item[0]
    if hasattr(item, "detach"):
        item = item.detach().cpu().numpy()
    if not isinstance(item, np.ndarray):
        raise UserError(
            f"calibrate holds items of type {type(item).__name__}, expected tensors; give the data "
            "set transform=ToTensor()"
        )
    return item


def _joined(join: Callable[[list[np.ndarray]], np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    """The parts in one array. Raises `UserError` where there is none, or shapes differ."""
    if not parts:
        raise UserError("calibrate holds no inputs; give at least one")
    try:
        return join(parts)
    except ValueError:
        raise UserError("calibrate holds inputs of several shapes; bring them to one") from None


def _numbers(value: float | Sequence[float] | None) -> str | None:
    if value is None:
        return None
    return ",".join(map(repr, np.atleast_1d(value).astype(float).tolist()))
