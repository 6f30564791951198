"""A network in the making, while a file's graph is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import text
from convstream.model.formats.onnx.constants import Constants
from convstream.model.formats.onnx.functions import tabulate
from convstream.model.formats.onnx.limits import MAX_FEATURES, MAX_WEIGHTS
from convstream.model.formats.onnx.tensors import CHANNELS_FIRST, IMAGE, State, Tensor
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network import graph
from convstream.model.network.codes import Codes
from convstream.model.network.graph import Network
from convstream.model.network.layers import Concat, Layer, Shape, Table
from convstream.model.network.layers.base import Site
from convstream.model.network.quantised import Parameters, QuantisedNetwork

UNQUANTISED = (
    "expected QuantizeLinear and DequantizeLinear before it; quantise every tensor, as "
    "onnxruntime.quantization.quantize_static does"
)


class Assembly:
    """Layers, parameters and codes so far, and the tensors by name.

    Operators take their tensors from here, and add their layers: `accumulate` those that give sums,
    `pass_on` those that codes go through, `recode` those that give other codes. A layer is at the
    place where it stands in `layers`. codes: by origin, as soon as they are known. batch: N, 0
    where it is not fixed. end: what a Softmax or ArgMax outside takes, if any.
    """

    def __init__(self, wiring: Wiring, image: Tensor, batch: int) -> None:
        self.wiring = wiring
        self.constants = Constants(wiring)
        self.batch = batch
        self.tensors = {wiring.input: image}
        self.layers: list[tuple[Layer, list[int]]] = []
        self.parameters: dict[int, Parameters] = {}
        self.codes: dict[int, Codes] = {}
        self.end: tuple[str, Tensor] | None = None
        self._image = image
        self._weights = 0
        self._tables: set[int] = set()

    def data(self, node: NodeProto, at: int = 0) -> Tensor:
        """The tensor that a node takes as its input number `at`."""
        if node.input[at] not in self.tensors:
            name = next(name for name in node.input if name in self.tensors)
            raise UserError(f"{text(name)} is not its first input; swap the two")
        return self.tensors[node.input[at]]

    # Layers

    def accumulate(
        self,
        layer: Layer,
        x: Tensor,
        weight: np.ndarray | None = None,
        weight_scale: np.ndarray | None = None,
        bias: np.ndarray | str = "",
        dims: tuple[int, ...] | None = None,
    ) -> Tensor:
        """The sums of a layer from x.

        weight, weight_scale: int8 and float32, if it has any; bias: int32, or the name of its
        biases, "" for zeros. dims: of the sums, where they are not as x's.
        """
        x = self.settled(x)
        shape = self._shape(layer, [x])
        expected = layer.weight_shape(x.shape)
        if weight is not None and weight.shape != expected:
            raise UserError(
                f"weights of shape {weight.shape}, expected {expected}, as its input wants; "
                "transpose or reshape them"
            )
        self._weights += 0 if weight is None else weight.size
        if self._weights > MAX_WEIGHTS:
            raise UserError(
                f"more than {MAX_WEIGHTS} weights up to this node; use a smaller network"
            )
        place = self.append(layer, [x])
        if weight is not None and weight_scale is not None:
            self._check_scale(self.codes[x.origin], weight_scale)
            none = np.zeros(len(weight), np.int32)
            self.parameters[place] = Parameters(weight, weight_scale, none)
        self.set_bias(place, x.origin, bias)
        return Tensor(place, place, shape, State.SUMS, dims or x.dims_of(shape))

    @staticmethod
    def _check_scale(codes: Codes, weight_scale: np.ndarray) -> None:
        with np.errstate(over="ignore", under="ignore"):
            scale = np.float32(codes.scale) * weight_scale
        if not (np.isfinite(scale) & (scale > 0)).all():
            raise UserError(
                f"its sums have the scale {codes.scale:.9g} * {weight_scale.min():.9g}, beyond "
                "float32; rescale the network"
            )

    def set_bias(self, place: int, origin: int, bias: np.ndarray | str) -> None:
        """Give a layer, whose input is of `origin`, int32 biases, or those of a name, if any."""
        codes = self.codes[origin]
        own = self.parameters.get(place)
        site = Site(inputs=(codes,))
        if own is not None:
            if isinstance(bias, str) and bias:
                scale = np.float32(codes.scale) * own.weight_scale
                bias = self.constants.bias(bias, len(own.bias), scale)
            if isinstance(bias, np.ndarray):
                own = replace(own, bias=bias)
                self.parameters[place] = own
            site = Site(own.weight, own.weight_scale, own.bias, (codes,))
        bound = self.layers[place][0].accumulator_bound(site)
        if bound >= 2**31:
            raise UserError(
                f"its sums can reach {bound}, beyond int32; use smaller weights or windows"
            )

    def origin(self, place: int) -> int:
        """That of the output of the layer at `place`, or of IMAGE."""
        while place not in self.codes:
            place = self.layers[place][1][0]
        return place

    def pass_on(self, layer: Layer, x: Tensor) -> Tensor:
        """What a layer that may change places with rounding makes of x, in whatever state."""
        if not x.only_clamps or x.parts:
            raise UserError(f"its input is no codes any more, {UNQUANTISED}")
        shape = self._shape(layer, [x])
        return replace(x, place=self.append(layer, [x]), shape=shape, dims=x.dims_of(shape))

    def recode(
        self, layer: Layer, inputs: Sequence[Tensor], codes: Codes, state: State = State.CODES
    ) -> Tensor:
        """What a layer that gives `codes` makes of codes, as codes or dequantised."""
        place = self.append(layer, inputs)
        self.codes[place] = codes
        shape = self._shape(layer, inputs)
        first = inputs[0]
        return Tensor(place, place, shape, state, first.dims_of(shape), first.order)

    def append(self, layer: Layer, inputs: Sequence[Tensor]) -> int:
        """The place of a further layer."""
        self.layers.append((layer, [x.place for x in inputs]))
        return len(self.layers) - 1

    @staticmethod
    def _shape(layer: Layer, inputs: Sequence[Tensor]) -> Shape:
        """Shape that the layer gives, if it is one that can be computed with."""
        shape = layer.out_shape(*(x.shape for x in inputs))
        padded = layer.padded_size(inputs[0].shape)
        if max(padded, math.prod(shape)) > MAX_FEATURES:
            raise UserError(
                f"its padded input or its output has more than {MAX_FEATURES} values; use smaller "
                "images"
            )
        return shape

    def image_of(self, x: Tensor, shape: Shape) -> Tensor:
        """x, the image as it came, as one of `shape`, of which the file had made something else."""
        names = [name for name, tensor in self.tensors.items() if tensor.place == IMAGE]
        if any(len(self.wiring.readers[name]) > 1 for name in names):
            raise UserError("several nodes take the image; reshape it outside the network")
        self._image = replace(self._image, shape=shape)
        return replace(x, shape=shape)

    # Codes and real values

    def quantised(self, x: Tensor, codes: Codes) -> Tensor:
        """x as `codes`."""
        if x.state is State.PADDED:
            known = self.codes.setdefault(x.origin, codes)
            if not codes.same_values(known) or codes.signed != known.signed:
                raise UserError(
                    "it requantises what is padded; give the padding to the Conv behind"
                )
            return x
        if x.state in (State.CODES, State.TAIL):
            raise UserError("its input is quantised already; remove one of the two")
        if x.parts:
            parts = [self.quantised(part, codes) for part in x.parts]
            return self.concatenated(parts)
        if x.state is State.REAL:
            known = self.codes[x.origin]
            if not x.function and known.same_values(codes) and known.signed == codes.signed:
                return self.narrowed(replace(x, state=State.CODES), codes)
            return self.tabulated(x, x.function, codes)
        codes = codes.clamped(x.low, x.high)
        # The image may be any codes: what its file clips, a table does.
        own = replace(codes, low=0, high=255) if x.state is State.FLOATS else codes
        known = self.codes.setdefault(x.origin, own)
        if own != known:
            raise UserError(
                f"its scale {codes.scale:.9g} and zero point {codes.zero_point} differ from "
                f"{known.scale:.9g} and {known.zero_point}, or its activation from that to which "
                "another QuantizeLinear brings the same values; use one for both"
            )
        made = replace(x, state=State.CODES, low=-math.inf, high=math.inf)
        return self.narrowed(made, codes)

    def narrowed(self, x: Tensor, codes: Codes) -> Tensor:
        """x, codes, with what lies beyond the range of `codes`, which are of its scale, cut off."""
        known = self.codes[x.origin]
        within = x.place == x.origin and codes.low <= known.low and known.high <= codes.high
        if within or (codes.low, codes.high) == (0, 255):
            return x
        values = np.arange(256).clip(codes.low, codes.high).astype(np.uint8)
        return self._table(values, x, codes)

    def _table(self, values: np.ndarray, x: Tensor, codes: Codes) -> Tensor:
        made = self.recode(Table.of(values), [x], codes)
        self._tables.add(made.place)
        return made

    def tabulated(
        self,
        x: Tensor,
        nodes: Sequence[NodeProto],
        codes: Codes,
        *,
        of_codes: bool = False,
        scaled: bool = True,
    ) -> Tensor:
        """`codes` that `nodes` make of x, as in `tabulate`. scaled: their scale is known."""
        source = self.codes[x.origin]
        values = tabulate(self.constants, x, nodes, source, codes, of_codes=of_codes)
        values = values.clip(codes.low, codes.high)
        made = self._table(values, x, codes)
        if not scaled:
            del self.codes[made.origin]
        return replace(made, signed=codes.signed)

    def concatenated(self, parts: Sequence[Tensor]) -> Tensor:
        """Tensors of one scale and zero point, one behind the other."""
        layer = Concat()
        shape = self._shape(layer, parts)
        first = parts[0]
        place = self.append(layer, parts)
        dims = first.dims_of(shape)
        return Tensor(place, first.origin, shape, first.state, dims, first.order)

    def dequantised(self, x: Tensor, codes: Codes) -> Tensor:
        """x, which must be `codes`, as real values."""
        if x.state is State.PADDED and codes.same_values(self.codes[x.origin]):
            return x
        if x.state is not State.CODES:
            raise UserError(
                f"its input is {x.state.value}, expected integers; quantise the network with "
                "onnxruntime.quantization.quantize_static"
            )
        known = self.codes.setdefault(x.origin, codes)
        signed = x.signed if known is codes else known.signed
        if codes.signed != signed:
            raise UserError(
                f"its zero point is {_type(codes.signed)}, its input {_type(signed)}; give both "
                "one type"
            )
        if not codes.same_values(known):
            raise UserError(
                f"its scale {codes.scale:.9g} and zero point {codes.zero_point} differ from those "
                f"of its input, {known.scale:.9g} and {known.zero_point}; give both the same"
            )
        return replace(x, state=State.REAL)

    def settled(self, x: Tensor) -> Tensor:
        """x, real values that a layer takes, as codes whose range is that of its activations."""
        if x.state is State.SUMS:
            raise UserError(f"its input is {x.state.value}, not rounded yet; {UNQUANTISED}")
        if x.state is not State.REAL:
            also = ", or put a QuantIdentity there in Brevitas" if x.state is State.FLOATS else ""
            raise UserError(
                f"its input is {x.state.value}, expected a DequantizeLinear before it; quantise "
                f"the network with onnxruntime.quantization.quantize_static{also}"
            )
        if x.parts or not x.only_clamps:
            odd = x.function[-1].op_type if x.function else "Concat"
            raise UserError(f"its input comes from {text(odd)}, {UNQUANTISED}")
        if not x.function:
            return x
        codes = replace(self.codes[x.origin], low=0, high=255)
        return replace(self.quantised(x, codes), state=State.REAL)

    def network(self, name: str, output: Tensor) -> QuantisedNetwork:
        """The network that gives `output`, or what the tail before it takes."""
        if output.state is State.TAIL and self.end is not None:
            _, output = self.end
        if output.state is State.SUMS:
            if not self.layers[output.origin][0].accumulates:
                raise UserError(
                    "the network's output is a sum of two tensors, but not quantised; expected a "
                    "QuantizeLinear behind it"
                )
            if (output.low, output.high) != (-math.inf, math.inf):
                raise UserError(
                    "the network's output is rectified, but not quantised; expected a "
                    "QuantizeLinear behind it, or no activation"
                )
            if output.place != output.origin:
                raise UserError(
                    "the last layer passes on sums that are not quantised; expected a "
                    "QuantizeLinear before it"
                )
            if output.origin in self.codes:
                raise UserError(
                    "the network's output is quantised as well; expected it to end there"
                )
        elif output.state is State.FLOATS or output.place == IMAGE:
            raise UserError(
                "the network's output is its input; expected layers between the two: quantise it "
                "with onnxruntime.quantization.quantize_static"
            )
        elif output.state is State.REAL:
            output = self.settled(output)
        channels, *size = output.shape
        if output.order != CHANNELS_FIRST and channels > 1 and size != [1, 1]:
            raise UserError(
                "the network's output is N x H x W x C, expected N x C x H x W; remove the "
                "Transpose at its end"
            )
        read = self._read_by(output.place)
        at = {place: number for number, place in enumerate(read)} | {IMAGE: IMAGE}
        layers = [
            (layer, [at[source] for source in sources])
            for layer, sources in (self.layers[place] for place in read)
        ]
        network = Network.graph(name, layers, self._image.shape)
        names = {place: network.nodes[at[place]].name for place in read} | {IMAGE: graph.IMAGE}
        return QuantisedNetwork(
            network,
            {names[place]: own for place, own in self.parameters.items() if place in names},
            {names[place]: self._own(place) for place in self.codes if place in names},
        )

    def _own(self, place: int) -> Codes:
        """The codes of a layer. Those of a table have no range, as its values say that."""
        codes = self.codes[place]
        return replace(codes, low=0, high=255) if place in self._tables else codes

    def _read_by(self, place: int) -> list[int]:
        """The places of the layers that the one at `place` depends on, and itself, in order.

        Tables that have become parts of others are not among them.
        """
        found = {place}
        for at in range(place, -1, -1):
            if at in found:
                found.update(self.layers[at][1])
        return sorted(found - {IMAGE})


def _type(signed: bool) -> str:
    return "int8" if signed else "uint8"
