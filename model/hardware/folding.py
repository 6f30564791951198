"""A network and the folding of each node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from convstream.model.base.errors import UserError
from convstream.model.hardware.lanes import lane_groups
from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.scaling import Scaling
from convstream.model.hardware.stage import Folding, Stage
from convstream.model.hardware.streams import Streams
from convstream.model.network.graph import IMAGE, Network, Node

PIXELS_PER_BEAT = (1, 2, 4)


@dataclass(frozen=True)
class FoldedNetwork:
    """A `Network` with the `Folding` of each foldable node, by name.

    pixels: in an input beat. compact: build pools as small as possible instead of as fast as
    possible. scalings: of the nodes that have one.
    Raises `UserError` on a folding that does not fit its layer, pixels that do not divide a row, or
    streams that meet with other lanes or pixels a beat.
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
        groups = lane_groups(self.network)
        stages: dict[str, Stage] = {}
        lanes = {IMAGE: self.network.input_shape[0]}
        for node in self.network.nodes:
            stages[node.name] = stage = stage_class(node)(
                node=node,
                lanes=self._lanes(node, [lanes[name] for name in node.inputs]),
                pixels=pixels[node.inputs[0]],
                folding=self.foldings.get(node.name),
                whole=groups[node.name].whole,
                scaling=self.scalings.get(node.name),
            )
            lanes[node.name] = stage.out_lanes
        return stages

    def _lanes(self, node: Node, lanes: Sequence[int]) -> int:
        """Channels in a beat of each input of `node`."""
        if len(set(lanes)) > 1:
            raise UserError(
                f"{node.name}: its inputs come {_listed(set(lanes))} channels a beat; fold what "
                f"leads to {', '.join(node.inputs)} with one PE"
            )
        for channels in stage_class(node).multiples(node):
            if channels % lanes[0]:
                raise UserError(
                    f"{node.name}: its inputs come {lanes[0]} channels a beat, which must divide "
                    f"the {channels} of one of them; choose another PE"
                )
        return lanes[0]

    @cached_property
    def streams(self) -> Streams:
        """Between the stages."""
        return Streams.of(self.network.nodes)

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
        """The last stage."""
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
    Raises `UserError` if `pixels` is not 1, 2 or 4, does not fit a row or a stride, or streams of
    other pixels a beat would meet.
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
        try:
            ways = {beat[name] for name in node.inputs}
            if len(ways) > 1:
                raise UserError(f"{node.name} would take {_listed(ways)} of them from its inputs")
            beat[node.name] = stage_class(node).pixels_out(node, ways.pop())
        except UserError as error:
            raise UserError(f"{pixels} pixels per beat: {error}; use fewer") from None
    return beat


def _listed(numbers: Iterable[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))
