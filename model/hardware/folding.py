"""A network with the folding of each of its nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from model.base.errors import UserError
from model.hardware.layers import stage_class
from model.hardware.stage import Folding, Stage
from model.network.graph import IMAGE, Network, Node

PIXELS_PER_BEAT = (1, 2, 4)


@dataclass(frozen=True)
class FoldedNetwork:
    """A `Network`, by node the `Folding` of each that has one, and the pixels in an input beat.

    compact: pools are to be as small as they can be, not as fast.
    Raises `UserError` on a folding that does not fit its layer, pixels that do not divide a row, or
    a graph that is no chain.
    """

    network: Network
    foldings: Mapping[str, Folding]
    pixels: int = 1
    compact: bool = False

    def __post_init__(self) -> None:
        if not self.network.weighted:
            raise UserError(
                f"{self.network.name}: no layer has weights, which leaves nothing to fold; add a "
                "convolution or a fully connected layer"
            )
        names = {node.name for node in self.network.nodes if stage_class(node).foldable}
        if self.foldings.keys() != names:
            odd = ", ".join(sorted(self.foldings.keys() ^ names))
            raise UserError(
                f"{self.network.name}: a folding missing, or of nothing that has one: {odd}"
            )
        for stage in self._alone.values():
            stage.check()

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """One `Stage` a node, in the nodes' order."""
        cycles = max(stage.interval for stage in self._alone.values())
        return tuple(
            replace(stage, spacing=stage.spaced(cycles), compact=self.compact)
            for stage in self._alone.values()
        )

    @cached_property
    def _alone(self) -> dict[str, Stage]:
        """The stages, as if each were alone, by node."""
        pixels = beat_pixels(self.network, self.pixels)
        stages: dict[str, Stage] = {}
        lanes = {IMAGE: self.network.input_shape[0]}
        for node in self.network.nodes:
            (source,) = node.inputs
            stages[node.name] = stage = stage_class(node)(
                node=node,
                lanes=lanes[source],
                pixels=pixels[source],
                folding=self.foldings.get(node.name),
                logits=node is self.network.output,
                whole=whole_channels(self.network, node),
            )
            lanes[node.name] = stage.out_lanes
        return stages

    def __getitem__(self, name: str) -> Stage:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    def refolded(self, changes: Mapping[str, Folding]) -> FoldedNetwork:
        """The same with other foldings of some nodes."""
        return replace(self, foldings={**self.foldings, **changes})

    @property
    def output(self) -> Stage:
        """The stage that gives the logits."""
        return self.stages[-1]

    @property
    def input_beats(self) -> int:
        """Beats in an input image."""
        return self.stages[0].input_beats

    @property
    def cycles(self) -> int:
        """Predicted cycles from image to image."""
        return max(stage.interval for stage in self.stages)

    @property
    def multipliers(self) -> int:
        """8x8 multipliers of all layers."""
        return sum(stage.multipliers for stage in self.stages)

    @property
    def utilisation(self) -> float:
        """Share of the multipliers' cycles that does a multiply-accumulate of the network."""
        return self.network.macs / (self.multipliers * self.cycles) if self.multipliers else 0.0

    def utilisation_of(self, stage: Stage) -> float:
        """The same of one stage's multipliers, at the network's pace."""
        return stage.macs / (stage.multipliers * self.cycles) if stage.multipliers else 0.0


def beat_pixels(network: Network, pixels: int) -> dict[str, int]:
    """Pixels in a beat of the image (IMAGE) and of each node's output, by name.

    A stride takes pixels out of a row, so max(1, pixels / stride) leave the layer in a beat.
    Raises `UserError` where `pixels` is not 1, 2 or 4, or a row or a stride cannot be divided so,
    or where the graph is no chain.
    """
    if pixels not in PIXELS_PER_BEAT:
        raise UserError(f"{pixels} pixels per beat: expected 1, 2 or 4")
    width = network.input_shape[2]
    if width % pixels:
        raise UserError(
            f"{pixels} pixels per beat: the input is {width} pixels wide, which {pixels} does not "
            "divide; use fewer"
        )
    beat = {IMAGE: pixels}
    for node in network.nodes:
        if len(node.inputs) > 1 or len(network.readers(node.inputs[0])) > 1:
            raise UserError(
                f"network {network.name}: {node.name} is where the graph forks or joins; the "
                "hardware takes a chain of layers"
            )
        try:
            beat[node.name] = stage_class(node).pixels_out(node, beat[node.inputs[0]])
        except UserError as error:
            raise UserError(f"{pixels} pixels per beat: {error}; use fewer") from None
    return beat


def whole_channels(network: Network, node: Node) -> bool:
    """Whether a beat of `node` may hold no ragged group of channels.

    The logits of several positions follow each other without a gap, and a node that is not folded
    passes beats on as they come.
    """
    while node is not network.output:
        (node,) = network.readers(node.name)
        if stage_class(node).foldable:
            return False
    return math.prod(node.out_shape[1:]) > 1
