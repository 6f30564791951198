"""The int8 reference: what the hardware must compute, exactly.

Integers in, integers out. Each layer's own part, equal to its RTL module, stands in
`model/network/layers/`. Inside, sums of products run as floating-point matrix products, which are
exact as long as no partial sum can reach 2**24 (float32) or 2**53 (float64): the largest possible
sum is known beforehand from the weights, and chooses between the two.

Every array has the shape N x C x H x W, but N is innermost in memory: each step then works on long
contiguous runs, whatever the kernel and the stride.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from convstream.model.base.errors import UserError
from convstream.model.network.graph import IMAGE, Network, Node
from convstream.model.network.layers.base import check_integers
from convstream.model.network.layers.windows import images_innermost
from convstream.model.network.quantised import QuantisedNetwork
from convstream.model.network.rounding import Rounding

CACHED_VALUES = 2**20  # of float32, in the largest array of a batch


def requantise(acc: np.ndarray, shift: int) -> np.ndarray:
    """clamp(round_half_even(acc / 2**shift), 0, 255) as uint8 (`rtl/requantise.v`).

    acc: int32 of any shape; shift >= 0. The lower clamp is the ReLU.
    """
    check_integers(acc, "int32", None, "the accumulators of requantise")
    if shift < 0:
        raise UserError(f"requantise: the shift is {shift}, expected 0 or more")
    factor = np.array([2.0**-shift], np.float64)
    return Rounding(factor).codes(acc.astype(np.float64))


def argmax(logits: np.ndarray) -> np.ndarray:
    """Class of each row of int32 N x classes (`rtl/argmax.v`): int64 N, the lowest index wins."""
    check_integers(logits, "int32", 2, "the logits, N x classes")
    return np.argmax(logits, axis=1)


def predict(
    quantised: QuantisedNetwork, images: np.ndarray, *, threads: int | None = None
) -> np.ndarray:
    """What uint8 `images` N x C x H x W give: int32 N x outputs, flattened from (C, H, W).

    Sums, or, where the last node is quantised, its codes. threads: processors to use, all of them
    if None.
    Raises `UserError` if the images do not fit the network.
    """
    last = quantised.network.output.name
    outputs = _run(quantised, images, [last], threads)[last]
    return outputs.reshape(len(images), quantised.network.classes).astype(np.int32, copy=False)


def features(
    quantised: QuantisedNetwork, images: np.ndarray, *, threads: int | None = None
) -> dict[str, np.ndarray]:
    """What every node gives, by name: uint8 N x C x H x W, int32 where its sums leave.

    images, threads: as in `predict`.
    """
    names = [node.name for node in quantised.network.nodes]
    return _run(quantised, images, names, threads)


def _run(
    quantised: QuantisedNetwork, images: np.ndarray, names: list[str], threads: int | None
) -> dict[str, np.ndarray]:
    """What the nodes `names` give."""
    network = quantised.network
    check_integers(images, "uint8", 4, "images, N x C x H x W")
    if images.shape[1:] != network.input_shape:
        raise UserError(
            f"network {network.name}: images are {_times(images.shape[1:])}, "
            f"expected {_times(network.input_shape)} (C x H x W)"
        )
    steps = [_step(quantised, node) for node in network.nodes]
    outputs = {
        name: np.empty(
            (len(images), *network[name].out_shape),
            np.uint8 if quantised.codes_of(name) else np.int32,
        )
        for name in names
    }
    batch = _batch_size(network)

    def run(start: int) -> None:
        rows = slice(start, start + batch)
        values = _values(steps, images[rows])
        for name, output in outputs.items():
            output[rows] = values[name]

    # The batches are what runs in parallel, so the matrix products keep to one thread each.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(threads or os.cpu_count()) as executor,
    ):
        for _ in executor.map(run, range(0, len(images), batch)):
            pass
    return outputs


class _Step(NamedTuple):
    """A node, what its layer computes with, and how its sums are rounded (None: they are not)."""

    node: Node
    operands: tuple[np.ndarray, ...]
    rounding: Rounding | None


def _step(quantised: QuantisedNetwork, node: Node) -> _Step:
    operands = node.layer.operands(quantised.site(node.name))
    return _Step(node, operands, quantised.rounding(node.name))


def _values(steps: list[_Step], images: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every node for a batch; the last sums are still floats."""
    values = {IMAGE: images_innermost(images)}
    for node, operands, rounding in steps:
        y = node.layer.integers([values[name] for name in node.inputs], operands)
        values[node.name] = y if rounding is None else rounding.codes(y)
    return values


def _batch_size(network: Network) -> int:
    """Images at once: so few that the largest array stays in the cache, whole vectors of them."""
    largest = max(
        max(math.prod((node.weight_shape or (1,))[1:]), node.out_shape[0])
        * math.prod(node.out_shape[1:])
        for node in network.weighted or network.nodes
    )
    images = max(1, CACHED_VALUES // largest)
    return images if images < 16 else images // 16 * 16


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
