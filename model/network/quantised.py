"""A network in integers: what a file holds, what is simulated and exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes
from convstream.model.network.graph import IMAGE, Network, Node
from convstream.model.network.layers import Table
from convstream.model.network.layers.base import Site
from convstream.model.network.pixels import PIXELS, Normalisation
from convstream.model.network.rounding import Rounding


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights of a node, as its file has them.

    weight: int8, in the shape of `Node.weight_shape`, output channels first. weight_scale: float32
    (channels,), or (1,) for all of them. bias: int32 (channels,), of scale sx * weight_scale.
    """

    weight: np.ndarray
    weight_scale: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A `Network`, the `Parameters` of every node with weights, and the `Codes` of its tensors.

    codes: by node, or IMAGE, for all tensors but those whose codes are their inputs'. The last
    node has none where its int32 sums leave the network. normalisation: how pixels become what the
    network's own file takes, where the first node is a table that does so.
    Raises `UserError` on a shape, type or scale that does not fit, a negative requantising shift,
    or an accumulator that does not fit into int32.
    """

    network: Network
    parameters: Mapping[str, Parameters]
    codes: Mapping[str, Codes]
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        network = self.network
        self._check_keys("parameters", set(self.parameters), {n.name for n in network.weighted})
        makers = {node.name for node in network.nodes if not node.layer.passes} | {IMAGE}
        if network.output.layer.accumulates and network.output.name not in self.codes:
            makers.remove(network.output.name)
        self._check_keys("codes", set(self.codes), makers)
        for node in network.nodes:
            if node.name in self.parameters:
                self._check_arrays(node, self.parameters[node.name])
            self._check_scales(node)

    def taking_pixels(self, normalisation: Normalisation) -> QuantisedNetwork:
        """The same behind a table from pixels to its codes; itself, where pixels are its codes.

        Raises `UserError` where `normalisation` is of another number of channels.
        """
        network = self.network
        values = normalisation.table(self.codes[IMAGE], network.input_shape[0])
        if np.array_equal(values, np.arange(256)):
            return self
        places = {node.name: place for place, node in enumerate(network.nodes, 1)} | {IMAGE: 0}
        layers = [(node.layer, [places[name] for name in node.inputs]) for node in network.nodes]
        made = Network.graph(network.name, [(Table.of(values), [-1]), *layers], network.input_shape)
        names = {old: made.nodes[place].name for old, place in places.items()}
        codes = {names[name]: own for name, own in self.codes.items()}
        parameters = {names[name]: own for name, own in self.parameters.items()}
        return QuantisedNetwork(made, parameters, codes | {IMAGE: PIXELS}, normalisation)

    def file_inputs(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network's own file takes for uint8 `images`: uint8 codes, or float32 values."""
        if self.normalisation is None:
            return images, self.codes[IMAGE].real(images).astype(np.float32)
        values = self.normalisation.values(images)
        return self.codes[self.network.nodes[0].name].of_real(values), values

    def _check_keys(self, what: str, found: set[str], expected: set[str]) -> None:
        if found != expected:
            odd = ", ".join(sorted(found ^ expected))
            raise UserError(f"network {self.network.name}: {what} missing, or of no layer: {odd}")

    @staticmethod
    def _check_arrays(node: Node, own: Parameters) -> None:
        shape = node.weight_shape
        assert shape is not None
        for what, array, dtype, wanted in (
            ("weights", own.weight, np.int8, (shape,)),
            ("biases", own.bias, np.int32, (shape[:1],)),
            ("scales of the weights", own.weight_scale, np.float32, (shape[:1], (1,))),
        ):
            if array.shape not in wanted or array.dtype != dtype:
                raise UserError(
                    f"{node.name}: {what} are {array.dtype} {array.shape}, "
                    f"expected {np.dtype(dtype)} {wanted[0]}"
                )

    def _check_scales(self, node: Node) -> None:
        inputs = [self._by_tensor[name] for name in node.inputs]
        if node.layer.passes and not all(inputs[0].same_values(codes) for codes in inputs):
            raise UserError(
                f"{node.name}: its inputs have different scales or zero points; requantise them"
            )
        bound = self.accumulator_bound(node.name)
        if bound >= 2**31:
            raise UserError(
                f"{node.name}: accumulators can reach {bound}, beyond int32; "
                "use smaller weights or biases"
            )
        self.rounding(node.name)  # refuses scales that leave float32

    @cached_property
    def _by_tensor(self) -> dict[str, Codes]:
        """Codes of every tensor; none of the last sums."""
        found = dict(self.codes)
        for node in self.network.nodes:
            if node.layer.passes:
                found[node.name] = found[node.inputs[0]]
        return found

    def codes_of(self, name: str) -> Codes | None:
        """What the codes of a node's output, or of IMAGE, stand for; None: they are int32 sums."""
        return self._by_tensor.get(name)

    def site(self, name: str) -> Site:
        """What the layer of a node computes with."""
        own = self.parameters.get(name)
        return Site(
            weight=None if own is None else own.weight,
            weight_scale=None if own is None else own.weight_scale,
            bias=None if own is None else own.bias,
            inputs=tuple(self._by_tensor[source] for source in self.network[name].inputs),
            output=self.codes_of(name),
            shape=self.network[name].in_shape,
        )

    def rounding(self, name: str) -> Rounding | None:
        """How a node's sums become codes; None: they leave as int32, or there are none."""
        site = self.site(name)
        return None if site.output is None else self.network[name].layer.rounding(site)

    def pad_code(self, name: str) -> int:
        """The code of the padding in a node's input."""
        return self.network[name].layer.pad_code(self.site(name))

    def bias(self, name: str) -> np.ndarray:
        """int64 (channels,): b - zx * sum(w), what is added to the sums over codes."""
        return self.site(name).code_bias

    def accumulator_bound(self, name: str) -> int:
        """Largest |accumulator| of a node for any codes."""
        return self.network[name].layer.accumulator_bound(self.site(name))

    def accumulator_width(self, name: str) -> int:
        """Bits of a signed accumulator that holds +-accumulator_bound."""
        return self.accumulator_bound(name).bit_length() + 1

    @property
    def largest_bound(self) -> int:
        """The largest `accumulator_bound` of all nodes."""
        return max(self.accumulator_bound(node.name) for node in self.network.nodes)

    @property
    def gives_sums(self) -> bool:
        """Whether the last node's int32 accumulators leave the network, and not codes."""
        return self.network.output.name not in self._by_tensor

    @property
    def output_bits(self) -> int:
        """Of a value that leaves the network: an int32 sum or a uint8 code."""
        return 32 if self.gives_sums else 8

    @property
    def output_scale(self) -> np.ndarray:
        """float64 (channels,) or (1,): of what leaves the network, real = (y - zero point) * it."""
        name = self.network.output.name
        codes = self.codes_of(name)
        if codes is not None:
            return np.array([codes.scale])
        return self.network[name].layer.sum_scale(self.site(name))

    @property
    def output_zero_point(self) -> int:
        """Of the uint8 codes that leave the network; 0 of sums."""
        codes = self.codes_of(self.network.output.name)
        return 0 if codes is None else codes.zero_point

    def real(self, outputs: np.ndarray) -> np.ndarray:
        """float64 values of int32 N x outputs, as `reference.predict` gives them."""
        shape = self.network.output.out_shape
        scale = np.broadcast_to(self.output_scale[:, None, None], shape).reshape(-1)
        return (outputs.astype(np.float64) - self.output_zero_point) * scale
