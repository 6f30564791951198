"""The table of networks: the example networks, which nothing else knows by name.

How each of them is trained stands in `model/learning/recipes.py`.
"""

from __future__ import annotations

from convstream.model.network.graph import Network
from convstream.model.network.layers import Add, AvgPool, Conv, Linear, MaxPool

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network.chain("convnet", (Conv(3, 3, padding=1), MaxPool(2, 2), Linear(10))),
        Network.chain("cnn7x7", (Conv(3, 7), MaxPool(2, 2), Linear(10))),
        Network.chain(
            "simplecnn",
            (
                Conv(32, 3, stride=2, padding=1),
                Conv(64, 3, stride=2, padding=1),
                Conv(128, 3, stride=2, padding=1),
                Linear(250),
                Linear(10),
            ),
        ),
        Network.chain("cnn5x5", (Conv(3, 5), MaxPool(2, 2), Conv(3, 5), MaxPool(2, 2), Linear(10))),
        Network.chain(
            "lenet5",
            (
                Conv(6, 5, padding=2),
                MaxPool(2, 2),
                Conv(16, 5),
                MaxPool(2, 2),
                Linear(120),
                Linear(84),
                Linear(10),
            ),
        ),
        # Depthwise-separable convolutions, the last of them beside a residual connection.
        Network.graph(
            "dsnet",
            (
                (Conv(8, 5), [-1]),
                (MaxPool(2, 2), [0]),
                (Conv(8, 3, groups=8), [1]),
                (Conv(24, 1), [2]),
                (Conv(24, 3, groups=24), [3]),
                (Conv(48, 1), [4]),
                (Conv(48, 3, padding=1, groups=48), [5]),
                (Conv(48, 1), [6]),
                (Add(), [5, 7]),
                (AvgPool(8, 8), [8]),
                (Linear(10), [9]),
            ),
        ),
    )
}
