"""The order in which a tensor is streamed, defined here and nowhere else."""

from __future__ import annotations

import numpy as np

from convstream.model.network.layers import Shape


def slots(shape: Shape, lanes: int, pixels: int = 1) -> np.ndarray:
    """The element of the flattened (channels, height, width) tensor in each lane of each beat.

    Groups of `pixels` follow in raster order. Each takes beats of `lanes` channels, lowest channels
    first; within a beat, the channel varies fastest. Returns int64 (beats, pixels * lanes), -1 in
    lanes beyond the last channel.
    """
    channels, height, width = shape
    folds = -(-channels // lanes)
    index = np.full((folds * lanes, height * width), -1)
    index[:channels] = np.arange(channels * height * width).reshape(channels, -1)
    return index.reshape(folds, lanes, -1, pixels).transpose(2, 0, 3, 1).reshape(-1, pixels * lanes)


def arrival_order(shape: Shape, lanes: int, pixels: int = 1) -> np.ndarray:
    """Indices into the flattened (channels, height, width) tensor, in order of arrival: int64."""
    order = slots(shape, lanes, pixels)
    return order[order >= 0]


def pack_table(values: np.ndarray, lanes: int) -> np.ndarray:
    """Pack a table of codes into ROM words of rtl/lookup.v.

    values: uint8 (1, 256), whose words are a byte each, or (channels, 256), whose words hold the
    same code of `lanes` channels: uint8 (groups * 256, lanes), lane 0 first.
    """
    if len(values) == 1:
        return values.reshape(256, 1)
    groups = -(-len(values) // lanes)
    padded = np.zeros((groups * lanes, 256), np.uint8)
    padded[: len(values)] = values
    words = padded.reshape(groups, lanes, 256).transpose(0, 2, 1)
    return np.ascontiguousarray(words).reshape(groups * 256, lanes)
