"""The layers, a file each: shapes, exact integers, floats with their gradient, and PyTorch.

Whoever adds a layer lists it here; see CONTRIBUTING.
"""

from convstream.model.network.layers.add import Add
from convstream.model.network.layers.avgpool import AvgPool
from convstream.model.network.layers.base import Layer, Shape
from convstream.model.network.layers.concat import Concat
from convstream.model.network.layers.conv import Conv
from convstream.model.network.layers.linear import Linear
from convstream.model.network.layers.maxpool import MaxPool
from convstream.model.network.layers.table import Table
from convstream.model.network.layers.upsample import Upsample

__all__ = [
    "Add",
    "AvgPool",
    "Concat",
    "Conv",
    "Layer",
    "Linear",
    "MaxPool",
    "Shape",
    "Table",
    "Upsample",
]
