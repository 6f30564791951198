"""The table of networks: the example networks, which nothing else knows by name.

Each is described in the file of its name, see `description.read`, with the recipe of its training.
"""

from __future__ import annotations

from pathlib import Path

from convstream.model.network import description
from convstream.model.network.description import Description
from convstream.model.network.graph import Network

NAMES = ("convnet", "cnn7x7", "simplecnn", "cnn5x5", "lenet5", "dsnet")

DESCRIPTIONS: dict[str, Description] = {
    name: description.read(Path(__file__).with_name(f"{name}.toml")) for name in NAMES
}
NETWORKS: dict[str, Network] = {name: one.network() for name, one in DESCRIPTIONS.items()}
