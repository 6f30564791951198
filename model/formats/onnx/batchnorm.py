"""BatchNormalization: of sums, folded into their layer; of codes, a table a channel."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.checks import attributes, inputs
from convstream.model.formats.onnx.tensors import Tensor

REMEDY = "fold it before quantising, as torch.onnx.export does of a model in eval()"


def fold(assembly: Assembly, node: NodeProto, x: Tensor) -> Tensor:
    """x, the sums of a layer with weights, as that layer gives them with other scales and biases.

    Each channel's scale of weights is multiplied by its gain; where that is negative, so are the
    weights and the bias.
    """
    names = inputs(node, 5, 5)[1:]
    found = attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    own = assembly.parameters.get(x.place)
    limits = (x.low, x.high) == (-math.inf, math.inf)
    if own is None or not limits or len(assembly.wiring.readers[node.input[0]]) > 1:
        raise UserError(f"expected it right behind a layer with weights; {REMEDY}")
    scale, bias, mean, variance = (
        assembly.constants.values(name, TensorProto.FLOAT).astype(np.float64) for name in names
    )
    gain = scale / np.sqrt(variance + found["epsilon"])
    if gain.shape != own.bias.shape or not np.isfinite(gain).all() or not gain.all():
        raise UserError(f"its scales do not fit the {len(own.bias)} channels, or are 0; {REMEDY}")
    sign = np.where(gain < 0, -1, 1)
    rows = sign.reshape(-1, *[1] * (own.weight.ndim - 1))
    if (own.weight[gain < 0] == -128).any():
        raise UserError(f"it makes weights of -128 positive, beyond int8; {REMEDY}")
    weight_scale = (own.weight_scale * np.abs(gain)).astype(np.float32)
    (source,) = assembly.layers[x.place][1]
    origin = assembly.origin(source)
    sums = np.float32(assembly.codes[origin].scale) * weight_scale
    biases = np.rint(own.bias * sign + (bias - mean * gain) / sums)
    if not (np.abs(biases) < 2**31).all():
        raise UserError(f"it makes biases beyond int32; {REMEDY}")
    weight = (own.weight * rows).astype(np.int8)
    assembly.parameters[x.place] = replace(own, weight=weight, weight_scale=weight_scale)
    assembly.set_bias(x.place, origin, biases.astype(np.int32))
    return x
