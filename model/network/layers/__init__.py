"""The layers, a file each: shapes, exact integers, floats with their gradient, and PyTorch.

Whoever adds a layer lists it here; see CONTRIBUTING.
"""

from convstream.model.network.layers.avgpool import AvgPool
from convstream.model.network.layers.base import Layer, Shape
from convstream.model.network.layers.conv import Conv
from convstream.model.network.layers.linear import Linear
from convstream.model.network.layers.maxpool import MaxPool

__all__ = ["AvgPool", "Conv", "Layer", "Linear", "MaxPool", "Shape"]
