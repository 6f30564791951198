"""PyTorch's random numbers without PyTorch: both backends then draw the same from the same seed.

PyTorch's generator for the processor is the Mersenne twister MT19937, as is that of NumPy's
`RandomState`; the rest is how numbers of each kind are made of its 32-bit words.
"""

from __future__ import annotations

import math

import numpy as np

from model.network.graph import Network


class Mersenne:
    """What `torch.manual_seed(seed)` starts, on a CPU."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed & 0xFFFFFFFF)
        self._second_normal: float | None = None

    def words(self, count: int) -> np.ndarray:
        """uint32 (count,): the raw output."""
        return self._state.randint(0, 2**32, count, dtype=np.uint32)

    def rand(self, count: int) -> np.ndarray:
        """float32 (count,), uniform in [0, 1): `torch.rand`."""
        return (self.words(count) & np.uint32(2**24 - 1)).astype(np.float32) * np.float32(2**-24)

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        """float32, uniform in [low, high): `Tensor.uniform_`."""
        low, high = np.float32(low), np.float32(high)
        # float64, then rounded once: PyTorch multiplies and adds in one instruction.
        values = self.rand(math.prod(shape)).astype(np.float64) * (high - low) + low
        return values.astype(np.float32).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 of mean 0 and variance 1: `normal_` of a tensor that is not contiguous."""
        count = math.prod(shape)
        values = np.empty(count + count % 2 + 2)
        start = 0
        if self._second_normal is not None:
            values[0], start = self._second_normal, 1
            self._second_normal = None
        pairs = max(0, -(-(count - start) // 2))
        high, low = self.words(4 * pairs).astype(np.uint64).reshape(2 * pairs, 2).T
        doubles = (((high << np.uint64(32)) | low) & np.uint64(2**53 - 1)) * 2.0**-53
        radius = np.sqrt(-2 * np.log1p(-doubles[1::2]))
        angle = 2 * math.pi * doubles[0::2]
        end = start + 2 * pairs
        values[start:end:2] = radius * np.cos(angle)
        values[start + 1 : end : 2] = radius * np.sin(angle)
        if end > count:
            self._second_normal = float(values[count])
        return values[:count].astype(np.float32).reshape(shape)

    def permutation(self, count: int) -> np.ndarray:
        """int64 (count,), 0 to count - 1 in random order: `torch.randperm`."""
        order = list(range(count))
        words = self.words(max(0, count - 1)).tolist()
        for index, word in enumerate(words):
            other = index + word % (count - index)
            order[index], order[other] = order[other], order[index]
        return np.array(order, np.int64)

    def initialise(self, network: Network) -> dict[str, np.ndarray]:
        """float32 weights and biases by name, as `torch.nn.Conv2d` and `Linear` start out.

        Both are uniform between +-1 / sqrt(inputs of an output).
        """
        parameters = {}
        for layer, name, shape in zip(
            network.layers, network.layer_names, network.shapes, strict=False
        ):
            if layer.kind == "maxpool":
                continue
            size = layer.weight_shape(shape)
            inputs = math.prod(size[1:])
            # The ways by which PyTorch comes to the two bounds differ in the last bit.
            bound = math.sqrt(3) * (math.sqrt(2 / (1 + math.sqrt(5) ** 2)) / math.sqrt(inputs))
            parameters[f"{name}.weight"] = self.uniform(-bound, bound, size)
            bound = 1 / math.sqrt(inputs)
            parameters[f"{name}.bias"] = self.uniform(-bound, bound, size[:1])
        return parameters
