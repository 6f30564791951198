"""How a function of a code is built: `lookup`."""

from __future__ import annotations

from typing import cast

import numpy as np

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.pointwise import PointwiseStage
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stream_order import pack_table
from convstream.model.network.layers import Layer, Shape, Table
from convstream.model.network.layers.base import Site


class TableStage(PointwiseStage):
    """A table for all channels, or for each."""

    modules = ("lookup",)
    registers = 1

    @property
    def geometry(self) -> str:
        return "table a channel" if len(self._values) > 1 else "table"

    @property
    def _values(self) -> np.ndarray:
        return cast(Table, self.node.layer).values

    def roms(self, site: Site) -> dict[str, np.ndarray]:
        return {"table": pack_table(self._values, self.lanes)}

    def settings(self, wiring: Wiring) -> list[Setting]:
        return [
            *self.size_settings(wiring),
            Setting("PER_CHANNEL", int(len(self._values) > 1), default=0),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
            Setting("TABLE_FILE", wiring.file("table")),
        ]

    frequency = 1

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        count = shape[0] if choices.now_and_then(3) else 1
        slopes = np.array([choices.integer(-3, 3) for _ in range(count)])
        return Table.of((np.arange(256) * slopes[:, None] % 256).astype(np.uint8))
