"""One node of a folded network, with everything that its RTL instance needs.

A layer with weights computes `pe` output channels in parallel and sums `simd` products for each per
cycle. The products of one output cover the flattened window (or input vector) densely: chunk `sf`
holds elements `sf*simd` to `sf*simd + simd - 1`, and only the last chunk can be ragged. With

    NF = ceil(OC / pe)       SF = ceil(window / simd)

a layer takes `positions / out_pixels * NF * SF` cycles an image with `out_pixels * pe * simd`
multipliers. A stage is as slow as the largest of its cycles, its input beats, its output beats and
the columns that it reads.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.scaling import Scaling
from convstream.model.hardware.settings import Setting, Wiring, requantise
from convstream.model.hardware.timing import Compute, Edge, Process
from convstream.model.network.graph import Node
from convstream.model.network.layers import Layer, Shape
from convstream.model.network.layers.base import Site


@dataclass(frozen=True)
class Folding:
    """Output channels in parallel (`pe`), products summed for each (`simd`), and the loop order.

    input_major: an fc consumes inputs as they arrive and keeps every accumulator; otherwise it
    stores the input vector and finishes one group of outputs after another. fabric: how many of the
    `simd` products take lookup tables instead of DSP blocks, or become shared sums: see `sums`.
    """

    pe: int
    simd: int
    input_major: bool = False
    fabric: int = 0


@dataclass(frozen=True)
class Stage(ABC):
    """A node and how it is built. Each layer has its subclass in `model/hardware/layers/`.

    lanes, pixels: channels and pixels in a beat of each input. folding: None if there is nothing to
    fold. whole: its output leads to that of the network, of several positions, which must follow
    each other without a gap. spacing: a lower bound on the clocks between two windows of a pool.
    compact: see `FoldedNetwork`. scaling: how its sums are requantised; None: by a shift, or not.
    """

    node: Node
    lanes: int
    pixels: int
    folding: Folding | None
    whole: bool = False
    spacing: int = 1
    compact: bool = False
    scaling: Scaling | None = None

    modules: ClassVar[tuple[str, ...]]  # of rtl/ that compute such nodes
    # Whether it has a folding, whose PE an output beat then holds; otherwise as many as come in.
    foldable: ClassVar[bool] = False
    # Whether its folding has a loop order to choose.
    ordered: ClassVar[bool] = False
    # Whether it takes the channels of a pixel in parts, and best such as divide them.
    cuts_pixels: ClassVar[bool] = False

    @classmethod
    def builds(cls, node: Node) -> bool:
        """Whether it can build a node, whose layer is one that it is listed for."""
        return True

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def in_shape(self) -> Shape:
        """Shape of the first input."""
        return self.node.in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.node.out_shape

    # Streams

    @classmethod
    @abstractmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        """Pixels in an output beat, given those in an input beat.

        Raises `UserError` if the layer cannot take so many.
        """

    @classmethod
    def multiples(cls, node: Node) -> Sequence[int]:
        """Numbers of channels that the lanes of its inputs must divide."""
        return ()

    @property
    def out_pixels(self) -> int:
        """Pixels in an output beat."""
        return self.pixels_out(self.node, self.pixels)

    @property
    def out_lanes(self) -> int:
        """Channels in an output beat."""
        return self.lanes

    @property
    def input_beats(self) -> int:
        """Beats in an image of the first input."""
        channels, height, width = self.in_shape
        return height * width // self.pixels * math.ceil(channels / self.lanes)

    @property
    def output_groups(self) -> int:
        """Groups of `out_pixels` output positions an image."""
        return self.out_shape[1] * self.out_shape[2] // self.out_pixels

    @property
    def output_beats(self) -> int:
        """Beats in an output image."""
        return self.output_groups * self.channel_folds

    @property
    def stride(self) -> int:
        """Input rows by which an output row moves on."""
        return 1

    @property
    def growth(self) -> Fraction:
        """Output rows for each input row."""
        return Fraction(1, self.stride)

    # Cycles

    @property
    def channel_folds(self) -> int:
        """NF: output beats per position."""
        return math.ceil(self.out_shape[0] / self.out_lanes)

    @property
    def window_folds(self) -> int:
        """SF: chunks of products per output; 1 if there are none."""
        return 1

    @property
    def pace(self) -> int:
        """A lower bound on the clocks between windows: PACE of rtl/sliding_window.v."""
        return max(self.channel_folds * self.window_folds, self.spacing)

    @property
    def cycles(self) -> int:
        """Cycles of computing an image; output beats where nothing is multiplied."""
        return self.output_groups * self.channel_folds * self.window_folds

    @property
    def columns(self) -> int:
        """Columns of windows to read an image, at most one a clock; 0 where it reads none.

        More than it computes or takes in only where padding makes most of the image.
        """
        return 0

    @property
    def interval(self) -> int:
        """Cycles from image to image that this stage alone allows."""
        return max(self.cycles, self.input_beats, self.columns)

    @property
    def takes_all(self) -> bool:
        """Whether its first output can leave only after the whole image has arrived."""
        return False

    def spaced(self, cycles: int) -> int:
        """`spacing` where an image comes every `cycles`."""
        return 1

    @abstractmethod
    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        """Its modules at work on `images` images, to the clock: see model/hardware/timing.py."""

    # Cost

    @property
    def window(self) -> int:
        """Products per output; 0 if there are none."""
        return 0

    @property
    def multipliers(self) -> int:
        """8x8 multipliers."""
        return 0

    @property
    def scale_clocks(self) -> int:
        """Clocks of a product with a scale; 0 where there are none."""
        return int(self.scaling is not None)

    @property
    def scale_multipliers(self) -> int:
        """Products of an accumulator and 17 bits of a scale that take DSP blocks."""
        return 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates an image, including taps in the padding."""
        return self.node.macs

    def roms(self, site: Site) -> dict[str, np.ndarray]:
        """Words of its ROMs beside weights and biases, (words, lanes), by kind."""
        return {}

    @property
    def rom_words(self) -> int:
        """Words of the weight ROM."""
        return 0

    @property
    def rom_bits(self) -> int:
        """Bits of the ROMs of weights, biases and scales, including unused lanes."""
        return 0

    @property
    def sums(self) -> int:
        """Clocks of what takes the place of its multipliers, see hardware/sums.py; 0: nothing."""
        return 0

    # Description

    @property
    def module(self) -> str:
        """The one of `modules` that computes it."""
        return self.modules[0]

    @property
    @abstractmethod
    def geometry(self) -> str:
        """Window or loop order, for a table."""

    @property
    def converts(self) -> bool:
        """Whether it cuts its input beats into chunks of `simd`: see rtl/width_converter.v."""
        return False

    @property
    def attributes(self) -> dict[str, Any]:
        """The layer's own entries in `network.json`."""
        return {}

    @abstractmethod
    def settings(self, wiring: Wiring) -> list[Setting]:
        """Parameters of the instance, in order."""

    # Fuzz: relative frequency of this kind among random layers.
    frequency: ClassVar[int]

    @classmethod
    @abstractmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        """A random layer on inputs of `shape`."""

    def check(self) -> None:
        """Raise `UserError` if the folding does not fit."""
        if self.folding is not None:
            raise UserError(f"{self.name}: a folding, but there is nothing to fold")


@dataclass(frozen=True)
class ComputeStage(Stage):
    """A stage that multiplies by the weights in its ROM."""

    folding: Folding

    foldable = True

    @property
    def out_lanes(self) -> int:
        return self.folding.pe

    @property
    def window(self) -> int:
        return math.prod(self._weight_shape[1:])

    @property
    def _weight_shape(self) -> tuple[int, ...]:
        shape = self.node.weight_shape
        assert shape is not None
        return shape

    @property
    def window_folds(self) -> int:
        return math.ceil(self.window / self.folding.simd)

    @property
    def multipliers(self) -> int:
        return self.out_pixels * self.folding.pe * self.folding.simd

    @property
    def rom_words(self) -> int:
        return self.channel_folds * self.window_folds

    @property
    def rom_bits(self) -> int:
        rows = self.folding.pe * self.channel_folds
        bits = 8 * rows * self.folding.simd * self.window_folds + 32 * rows
        if self.scaling is not None:
            bits += self.scaling.width * (1 if self.scaling.shared else rows)
        return bits

    @property
    def scale_clocks(self) -> int:
        if self.scaling is None:
            return 0
        bursts = self.folding.input_major and self.channel_folds > 1
        most = 1 if bursts else max(1, self.window_folds - 1)
        digit = math.ceil(self.scaling.width / most)
        return math.ceil(self.scaling.width / digit)

    @property
    def scale_multipliers(self) -> int:
        if self.scaling is None or self.scaling.shared or self.channel_folds == 1:
            return 0  # constants take plain logic, and so do short digits
        digit = math.ceil(self.scaling.width / self.scale_clocks)
        if self.scale_clocks > 1 and digit <= 4:
            return 0
        return self.out_pixels * self.folding.pe * math.ceil(digit / 17)

    def compute(self, sink: Edge) -> Compute:
        """Its `matrix_vector`, or `constant_conv2d`."""
        clocks = 2 + self.sums if self.sums else 5 + (self.folding.simd - 1).bit_length()
        return Compute(clocks, self.scale_clocks, sink)

    @property
    def whole_beats(self) -> bool:
        """Whether PE must divide the channels: a beat of several pixels has no ragged group."""
        return self.out_pixels > 1 or self.whole

    @property
    def pays(self) -> bool:
        """Whether its folding is worth trying, as no simpler one is as good."""
        return True

    def check(self) -> None:
        pe, simd = self.folding.pe, self.folding.simd
        if not 1 <= pe <= self.out_shape[0] or not 1 <= simd <= self.window:
            raise UserError(
                f"{self.name}: PE {pe}, SIMD {simd}; expected PE from 1 to "
                f"{self.out_shape[0]} and SIMD from 1 to {self.window}"
            )
        if not 0 <= self.folding.fabric <= simd:
            raise UserError(
                f"{self.name}: {self.folding.fabric} of {simd} products in plain logic; "
                f"expected 0 to {simd}"
            )
        if self.whole_beats and self.out_shape[0] % pe:
            raise UserError(
                f"{self.name}: PE {pe} does not divide its {self.out_shape[0]} channels, "
                "which it must here, where a beat holds several pixels or outputs of several "
                "positions; choose a divisor"
            )

    @abstractmethod
    def weight_matrix(self, weight: np.ndarray) -> np.ndarray:
        """Weights as (OC, window), in the order in which the layer consumes its elements."""

    @abstractmethod
    def matrix_weight(self, matrix: np.ndarray) -> np.ndarray:
        """The inverse of `weight_matrix`."""

    def compute_settings(self, wiring: Wiring) -> list[Setting]:
        """The parameters of all modules built around rtl/matrix_vector.v."""
        weight_file, bias_file, scale_file = wiring.roms
        scales = []
        if self.scaling is not None:
            scales = [Setting("ONE_SCALE", int(self.scaling.shared), default=0)]
            scales.append(Setting("SCALE_FILE", f'"{scale_file}"'))
        return [
            Setting("ACC_WIDTH", wiring.acc_width, named=True),
            *requantise(wiring.rounding, self.scaling),
            Setting("OUT_WIDTH", wiring.out_bits, default=8),
            *([] if self.sums else [Setting("FABRIC", self.folding.fabric, default=0)]),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
            Setting("WEIGHT_FILE", f'"{weight_file}"'),
            Setting("BIAS_FILE", f'"{bias_file}"'),
            *scales,
        ]
