"""From a PyTorch module to the float ONNX model of its inference."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.runtime import session
from convstream.model.formats.torch.modules import blame

TRACED = 2  # inputs: with one, a batch could be taken for a size
COMPARED = 16  # inputs on which the trace must do what the module does
TOLERANCE = 1e-3  # of the largest output
INPUT = "image"


def trace(module: nn.Module, images: np.ndarray, source: str) -> onnx.ModelProto:
    """The model, of float32 inputs N x the shape of one image.

    images: float32 (at least one, ...). source: what messages call the module, which is left as it
    was. Raises `UserError` where it cannot be traced, or its trace does not do what it does.
    """
    parameter = next(module.parameters(), torch.zeros(0))
    if parameter.dtype != torch.float32:
        raise UserError(f"{source} computes in {parameter.dtype}; give module.float()")
    inputs = torch.from_numpy(np.resize(images, (TRACED, *images.shape[1:]))).to(parameter.device)
    size = "x".join(map(str, images.shape[1:]))
    with _inferring(module):
        with blame(
            f"{source} cannot take inputs of {size}", "give the shape of one: --input 1,28,28"
        ):
            found = module(inputs)
        if not isinstance(found, Tensor) or found.shape[:1] != (TRACED,):
            kind = type(found).__name__
            if isinstance(found, Tensor):
                kind += f" of shape {tuple(found.shape)} for {TRACED} inputs"
            raise UserError(
                f"{source} returns a {kind}, expected one tensor, N x ...; wrap it in a module "
                "that returns one"
            )
        with blame(f"{source} cannot be traced", "see torch.onnx.export(..., dynamo=False)"):
            model = _export(module, inputs)
        expected = (
            torch.cat(
                [
                    module(torch.from_numpy(image[None]).to(parameter.device))
                    for image in images[:COMPARED]
                ]
            )
            .cpu()
            .numpy()
        )
    runtime = session(model.SerializeToString())
    (found,) = runtime.run(None, {INPUT: images[:COMPARED]})
    if found.shape != expected.shape or not np.allclose(
        found, expected, TOLERANCE, TOLERANCE * np.abs(expected).max()
    ):
        raise UserError(
            f"{source}: its trace gives other outputs than it does; leave out what is random or "
            "depends on values, such as dropout without training=self.training"
        )
    return model


@contextmanager
def _inferring(module: nn.Module) -> Iterator[None]:
    """Inference, without gradients; each part is then put back into the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def _export(module: nn.Module, inputs: Tensor) -> onnx.ModelProto:
    """By the exporter that traces: it needs no further package and folds batch normalisation."""
    with tempfile.TemporaryDirectory(prefix="convstream-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age, and of what is constant in a trace
        path = Path(folder) / "float.onnx"
        torch.onnx.export(
            module,
            (inputs,),
            path,
            dynamo=False,
            input_names=[INPUT],
            output_names=["output"],
            dynamic_axes={INPUT: {0: "N"}, "output": {0: "N"}},
        )
        return onnx.load(path)
