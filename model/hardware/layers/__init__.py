"""How each layer is built: one `Stage` per file. A new layer is listed here."""

from convstream.model.hardware.layers.add import AddStage
from convstream.model.hardware.layers.avgpool import AvgPoolStage
from convstream.model.hardware.layers.concat import ConcatStage
from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.layers.depthwise import DepthwiseStage
from convstream.model.hardware.layers.linear import LinearStage
from convstream.model.hardware.layers.maxpool import MaxPoolStage
from convstream.model.hardware.layers.one_by_one import OneByOneStage
from convstream.model.hardware.layers.table import TableStage
from convstream.model.hardware.layers.upsample import UpsampleStage
from convstream.model.hardware.stage import Stage
from convstream.model.network.graph import Node
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Layer,
    Linear,
    MaxPool,
    Table,
    Upsample,
)

# Where a layer has several, each builds the nodes that the ones behind it do not.
STAGES: dict[type[Layer], tuple[type[Stage], ...]] = {
    Conv: (ConvStage, DepthwiseStage, OneByOneStage),
    Linear: (LinearStage,),
    MaxPool: (MaxPoolStage,),
    AvgPool: (AvgPoolStage,),
    Add: (AddStage,),
    Concat: (ConcatStage,),
    Table: (TableStage,),
    Upsample: (UpsampleStage,),
}


def stage_class(node: Node) -> type[Stage]:
    """The `Stage` that builds a node."""
    return next(stage for stage in reversed(STAGES[type(node.layer)]) if stage.builds(node))
