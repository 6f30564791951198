"""The order in which a tensor is streamed: the only place that derives it."""

from __future__ import annotations

import numpy as np

from model.network.layers import Shape


def slots(shape: Shape, lanes: int, pixels: int = 1) -> np.ndarray:
    """Which element of the flattened (channels, height, width) tensor stands in which lane.

    Groups of `pixels` come in raster order; in each, beats of `lanes` channels, lowest channels
    first; in a beat pixel by pixel, channel fastest. Returns int64 (beats, pixels * lanes), -1
    where a lane is beyond the last channel.
    """
    channels, height, width = shape
    folds = -(-channels // lanes)
    index = np.full((folds * lanes, height * width), -1)
    index[:channels] = np.arange(channels * height * width).reshape(channels, -1)
    return index.reshape(folds, lanes, -1, pixels).transpose(2, 0, 3, 1).reshape(-1, pixels * lanes)


def arrival_order(shape: Shape, lanes: int, pixels: int = 1) -> np.ndarray:
    """Indices into the flattened (channels, height, width) tensor as they arrive: int64."""
    order = slots(shape, lanes, pixels)
    return order[order >= 0]
