"""Where ONNX Runtime computes something else than the integers of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convstream.model.formats.onnx.checks import text
from convstream.model.formats.onnx.constants import Constants
from convstream.model.formats.onnx.parse import parse
from convstream.model.formats.onnx.runtime import in_floats, saturates
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network.exponents import shifts_of
from convstream.model.network.layers import AvgPool
from convstream.model.network.layers.base import EXACT_IN_FLOAT32
from convstream.model.network.quantised import QuantisedNetwork

WITHOUT_VNNI = 64  # two products of such a weight and 255 fit into int16


def notes(path: Path, quantised: QuantisedNetwork) -> Iterator[str]:
    """A line for each reason why ONNX Runtime may give other outputs for the file than we do."""
    largest = max(
        (np.abs(own.weight.astype(int)).max() for own in quantised.parameters.values()), default=0
    )
    if largest > WITHOUT_VNNI and saturates():
        yield (
            "this processor has no VNNI, and ONNX Runtime's sums saturate on it; compare on "
            "another one, or quantise with reduce_range=True"
        )
    if shifts_of(quantised) is not None and quantised.largest_bound < EXACT_IN_FLOAT32:
        return  # floats are exact
    floats = in_floats(path)
    if floats:
        yield (
            f"ONNX Runtime computes {', '.join(floats[:4])}{' ...' * (len(floats) > 4)} in floats, "
            "as it finds no integer kernel for them; its codes may differ by 1"
        )
    for node in quantised.network.nodes:
        if not isinstance(node.layer, AvgPool):
            continue
        near = node.layer.near_ties(quantised.site(node.name))
        if near:
            yield (
                f"{node.name}: ONNX Runtime adds rounded floats, which decide {near} sums whose "
                "mean lies halfway between two codes; its codes may differ by 1 there, unless the "
                "window has an odd number of taps, or is the whole image"
            )
    yield from _merged(path)


def _merged(path: Path) -> Iterator[str]:
    """Pairs of QuantizeLinear and DequantizeLinear that ONNX Runtime makes one of."""
    wiring = Wiring(parse(path))
    constants = Constants(wiring)
    for last in wiring.nodes:
        chain = [last]
        for op_type in ("QuantizeLinear", "DequantizeLinear", "QuantizeLinear"):
            maker = wiring.makers.get(chain[-1].input[0])
            single = maker is not None and len(wiring.readers[maker.output[0]]) == 1
            if maker is None or maker.op_type != op_type or not single:
                break
            chain.append(maker)
        if last.op_type == "DequantizeLinear" and len(chain) == 4:
            _, second, _, first = chain
            scales = [constants.scale(node) for node in (first, second)]
            if any((a != b).any() for a, b in zip(scales[0][:2], scales[1][:2], strict=True)):
                yield (
                    f"ONNX Runtime makes one of the QuantizeLinear nodes {text(first.name)} and "
                    f"{text(second.name)}, with another scale; remove one of them"
                )
