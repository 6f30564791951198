"""How the sum of two tensors is built: `axis_add`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from convstream.model.hardware import adding
from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.pointwise import PointwiseStage
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.network.layers import Add, Layer, Shape
from convstream.model.network.layers.add import ratios
from convstream.model.network.layers.base import Site


class AddStage(PointwiseStage):
    """A sum of two tensors, beat by beat."""

    modules = ("axis_add",)
    registers = 3

    @property
    def geometry(self) -> str:
        return "add"

    @property
    def attributes(self) -> dict[str, Any]:
        return {"rule": self._layer.rule}

    @property
    def _layer(self) -> Add:
        return cast(Add, self.node.layer)

    def adder(self, site: Site) -> adding.Adder:
        """The numbers by which it equals its runtime's rule for all pairs of codes."""
        assert site.output is not None
        codes_a, codes_b = site.inputs
        ratio_a, ratio_b = ratios(codes_a, codes_b, site.output)
        return adding.fit(self._layer.table(site), float(ratio_a), float(ratio_b))

    def roms(self, site: Site) -> dict[str, np.ndarray]:
        adder = self.adder(site)
        return {} if adder.patch is None else {"patch": adder.patch_words}

    def settings(self, wiring: Wiring) -> list[Setting]:
        adder = self.adder(wiring.site)
        patch = [] if adder.patch is None else [Setting("PATCH_FILE", wiring.file("patch"))]
        return [
            *self.size_settings(wiring),
            Setting("SUM_WIDTH", adder.sum_width),
            Setting("FACTOR_A", adder.factor_a),
            Setting("FACTOR_B", adder.factor_b),
            Setting("OFFSET", adder.offset),
            Setting("SHIFT", adder.shift),
            Setting("TIE", adder.tie, default=0),
            Setting("LOW", adder.low, default=0),
            Setting("HIGH", adder.high, default=255),
            *patch,
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
        ]

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        return Add()
