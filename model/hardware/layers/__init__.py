"""How each layer is built: one `Stage` per file. A new layer is listed here."""

from model.hardware.layers.avgpool import AvgPoolStage
from model.hardware.layers.conv import ConvStage
from model.hardware.layers.linear import LinearStage
from model.hardware.layers.maxpool import MaxPoolStage
from model.hardware.stage import Stage
from model.network.graph import Node
from model.network.layers import AvgPool, Conv, Layer, Linear, MaxPool

STAGES: dict[type[Layer], type[Stage]] = {
    Conv: ConvStage,
    Linear: LinearStage,
    MaxPool: MaxPoolStage,
    AvgPool: AvgPoolStage,
}


def stage_class(node: Node) -> type[Stage]:
    """The `Stage` that builds a node."""
    return STAGES[type(node.layer)]
