"""A network's own file, whichever its format: read, and run in the runtime that it is made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.pixels import Normalisation
from convstream.model.network.quantised import QuantisedNetwork

SUFFIXES = (".onnx", ".tflite")
"""What a network's file may end in; in an exported folder it is called `network` and that."""


def read(
    path: Path, name: str | None = None, normalisation: Normalisation | None = None
) -> QuantisedNetwork:
    """The network in a file. name: of the network; by default the file's own.

    normalisation: of the pixels that the network is to take, instead of the file's codes.
    Raises `UserError` where it is none that can be run.
    """
    quantised = _read(path, name)
    return quantised if normalisation is None else quantised.taking_pixels(normalisation)


def _read(path: Path, name: str | None) -> QuantisedNetwork:
    if path.suffix.lower() == ".tflite":
        from convstream.model.formats.tflite import read_tflite

        return read_tflite(path, name)
    from convstream.model.formats.onnx import read_onnx

    return read_onnx(path, name)


def present(folder: Path) -> Path | None:
    """The network's own file in an exported folder, if there is one."""
    paths = (folder / f"network{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def own(folder: Path) -> Path:
    """The same. Raises `UserError` where there is none."""
    found = present(folder)
    if found is None:
        raise UserError(
            f"{folder} holds no network.onnx and no network.tflite; run convstream export"
        )
    return found


def runtime_of(path: Path) -> str:
    """Who runs such a file."""
    return "LiteRT" if path.suffix == ".tflite" else "ONNX Runtime"


def predictor(
    path: Path, quantised: QuantisedNetwork, threads: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """What the runtime gives for uint8 images N x C x H x W: float64 N x outputs.

    As `reference.predict` numbers and scales them. threads: 0 for as many as there are processors.
    """
    if path.suffix.lower() == ".tflite":
        from convstream.model.formats.tflite.predictor import predictor as litert

        return litert(path, quantised, threads)
    from convstream.model.formats.onnx.predictor import predictor as onnxruntime

    return onnxruntime(path, quantised, threads)


def notes(path: Path, quantised: QuantisedNetwork) -> list[str]:
    """Where the runtime may give other numbers than the network, a line each."""
    if path.suffix.lower() == ".tflite":
        return []
    from convstream.model.formats.onnx.notes import notes as onnxruntime

    return list(onnxruntime(path, quantised))
