"""The weights that training starts from."""

from __future__ import annotations

import numpy as np

from convstream.model.network.exponents import parameter_shapes
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network


def initial_network(network: Network, pixels: np.ndarray, rng: np.random.Generator) -> FloatNetwork:
    """Random float32 weights; every layer's outputs have mean 0 and variance 1 on `pixels`.

    pixels: uint8 (N, C, H, W). In a network with few channels, a channel that starts out dead or a
    layer that starts out faint costs whole percents of accuracy.
    """
    parameters = {
        name: (rng.uniform(-1, 1, shape) if len(shape) > 1 else np.zeros(shape)).astype(np.float32)
        for name, shape in parameter_shapes(network).items()
    }
    model = FloatNetwork(network, parameters)
    for node in network.weighted:
        _, steps = model.forward(pixels)
        layers = {step.operation.node: step for step in steps if not step.operation.activation}
        values = np.moveaxis(layers[node].y, 1, 0).reshape(node.out_shape[0], -1)
        spread = np.maximum(values.std(axis=1, ddof=1), 1e-6)
        weight = parameters[f"{node.name}.weight"]
        weight /= spread.reshape(-1, *[1] * (weight.ndim - 1))
        parameters[f"{node.name}.bias"][...] = -values.mean(axis=1) / spread
    return model
