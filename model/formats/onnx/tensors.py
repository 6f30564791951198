"""The tensors of a file while it is read: what their numbers are, and how they lie."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from onnx import NodeProto

from convstream.model.network.layers import Shape

IMAGE = -1
"""The place of the image, as in `Network.graph`."""

CHANNELS_FIRST = "CHW"
CHANNELS_LAST = "HWC"

CLAMPS = ("Relu", "Clip")


class State(enum.Enum):
    """What the numbers of a tensor are; the value says so in messages."""

    FLOATS = "a float input"  # which QuantizeLinear has to make codes
    CODES = "quantised"
    REAL = "dequantised"  # the same as real values
    INDICES = "cast to indices"
    SUMS = "the sums of a layer"  # as real values
    TAIL = "behind the network's end"  # what Softmax or ArgMax makes of its output


@dataclass(frozen=True)
class Tensor:
    """What goes from node to node of the file.

    place: the layer that gives it, or IMAGE. origin: the layer, or IMAGE, that made these sums or
    codes; only layers that pass codes on stand between the two. shape: (C, H, W), whatever the file
    makes of it. dims: the file's own sizes behind N: C x H x W, C x W where H is 1, H x W x C, or
    all features in a row. order: in which the file has channels, rows and columns. low, high: what
    activations have left of sums. function: the nodes that act on each real value alone, since
    these were codes. parts: of a Concat whose inputs are not codes of one scale. signed: codes that
    the file has as int8, where only that is known of them.
    """

    place: int
    origin: int
    shape: Shape
    state: State
    dims: tuple[int, ...]
    order: str = CHANNELS_FIRST
    low: float = -math.inf
    high: float = math.inf
    function: tuple[NodeProto, ...] = ()
    parts: tuple[Tensor, ...] = ()
    signed: bool = False

    @property
    def flat(self) -> bool:
        """Whether the file has it as N x features."""
        return len(self.dims) == 1

    @property
    def in_order(self) -> tuple[int, ...]:
        """Sizes of channels, rows and columns as the file's `order` has them."""
        return tuple(self.shape[CHANNELS_FIRST.index(axis)] for axis in self.order)

    @property
    def channel_axis(self) -> int | None:
        """Which of `dims` is the channels; None where they share one with rows and columns."""
        if not self.flat:
            return self.order.index("C") if len(self.dims) == 3 else 0
        return 0 if self.shape[1:] == (1, 1) else None

    def dims_of(self, shape: Shape) -> tuple[int, ...]:
        """The file's sizes of an image of `shape`, if it has them as it has this one."""
        return {1: (math.prod(shape),), 2: (shape[0], shape[2]), 3: shape}[len(self.dims)]

    @property
    def only_clamps(self) -> bool:
        """Whether `function` does no more than cut values off."""
        return all(node.op_type in CLAMPS for node in self.function)
