"""How a fully connected layer is built: `fc`, whose order of loops is a choice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.vectors import vector_processes
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stage import ComputeStage
from convstream.model.hardware.stream_order import arrival_order
from convstream.model.hardware.timing import Edge, Process
from convstream.model.network.graph import Node
from convstream.model.network.layers import Layer, Linear, Shape


class LinearStage(ComputeStage):
    """A fully connected layer."""

    modules = ("fc",)
    ordered = True

    @property
    def converts(self) -> bool:
        return True

    @property
    def takes_all(self) -> bool:
        return True

    @classmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        return 1

    @property
    def geometry(self) -> str:
        return "input-major" if self.folding.input_major else "output-major"

    def settings(self, wiring: Wiring) -> list[Setting]:
        channels, height, width = self.in_shape
        return [
            Setting("POSITIONS", height * width),
            Setting("CHANNELS", channels),
            Setting("LANES", wiring.lanes),
            Setting("PIXELS", self.pixels, default=1),
            Setting("OUT_FEATURES", self.out_shape[0]),
            Setting("PE", self.folding.pe, named=True),
            Setting("SIMD", self.folding.simd, named=True),
            Setting("INPUT_MAJOR", int(self.folding.input_major), default=0),
            *self.compute_settings(wiring),
        ]

    # Order of ROM words

    @property
    def _arrival(self) -> np.ndarray:
        return arrival_order(self.in_shape, self.lanes, self.pixels)

    def weight_matrix(self, weight: np.ndarray) -> np.ndarray:
        """(OUT, IN) to the order in which the input arrives."""
        return weight[:, self._arrival]

    def matrix_weight(self, matrix: np.ndarray) -> np.ndarray:
        weight = np.empty_like(matrix)
        weight[:, self._arrival] = matrix
        return weight

    # Timing

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        _, height, width = self.in_shape
        return vector_processes(self, sources[0], sink, images, height * width // self.pixels)

    # Fuzz

    frequency = 2

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        return Linear(limits.channels(choices, math.prod(shape)))
