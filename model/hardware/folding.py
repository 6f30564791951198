"""A network and the folding of each node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from convstream.model.base.errors import UserError
from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.scaling import Scaling
from convstream.model.hardware.stage import Folding, Stage
from convstream.model.network.graph import IMAGE, Network, Node

PIXELS_PER_BEAT = (1, 2, 4)


@dataclass(frozen=True)
class FoldedNetwork:
    """A `Network` with the `Folding` of each foldable node, by name.

    pixels: in an input beat. compact: build pools as small as possible instead of as fast as
    possible. scalings: of the nodes that have one.
    Raises `UserError` on a folding that does not fit its layer, pixels that do not divide a row, or
    a graph that is not a chain.
    """

    network: Network
    foldings: Mapping[str, Folding]
    pixels: int = 1
    compact: bool = False
    scalings: Mapping[str, Scaling] = field(default_factory=dict)

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
        """The stages by node, before the network's pace is known."""
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
                scaling=self.scalings.get(node.name),
            )
            lanes[node.name] = stage.out_lanes
        return stages

    def __getitem__(self, name: str) -> Stage:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    def refolded(self, changes: Mapping[str, Folding]) -> FoldedNetwork:
        """A copy with other foldings for some nodes."""
        return replace(self, foldings={**self.foldings, **changes})

    @property
    def output(self) -> Stage:
        """The stage that produces the logits."""
        return self.stages[-1]

    @property
    def input_beats(self) -> int:
        """Beats in an input image."""
        return self.stages[0].input_beats

    @property
    def cycles(self) -> int:
        """Predicted initiation interval: cycles from image to image."""
        return max(stage.interval for stage in self.stages)

    @property
    def multipliers(self) -> int:
        """8x8 multipliers of all layers."""
        return sum(stage.multipliers for stage in self.stages)

    @property
    def utilisation(self) -> float:
        """Share of multiplier cycles that perform a multiply-accumulate of the network, 0 to 1."""
        return self.network.macs / (self.multipliers * self.cycles) if self.multipliers else 0.0

    def utilisation_of(self, stage: Stage) -> float:
        """The same for the multipliers of one stage, at the network's pace."""
        return stage.macs / (stage.multipliers * self.cycles) if stage.multipliers else 0.0


def beat_pixels(network: Network, pixels: int) -> dict[str, int]:
    """Pixels in a beat of the image (IMAGE) and of each node's output, by name.

    A stride drops pixels of a row, so a layer's output beat holds max(1, pixels / stride).
    Raises `UserError` if `pixels` is not 1, 2 or 4, does not fit a row or a stride, or the graph is
    not a chain.
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
    """Whether the PE of `node` must divide its channels.

    It must where its output leads to logits of several positions, which follow each other without a
    gap. Nodes that are not folded pass beats on unchanged.
    """
    while node is not network.output:
        (node,) = network.readers(node.name)
        if stage_class(node).foldable:
            return False
    return math.prod(node.out_shape[1:]) > 1
