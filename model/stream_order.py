"""The order of a tensor's elements on a stream: the only place that knows it."""

from __future__ import annotations

import numpy as np


def slots(shape: tuple[int, int, int], lanes: int, pixels: int = 1) -> np.ndarray:
    """Which element of a tensor each lane of each of its beats carries.

    shape: (channels, height, width). A beat carries `lanes` channels of each of `pixels` adjacent
    pixels, pixel by pixel, the lowest channel first. The groups of pixels follow each other in
    raster order; all channels of a group come before the next group.

    Returns int64 (beats, pixels * lanes): indices into the flattened tensor, -1 in lanes beyond the
    last channel. The valid ones, `s[s >= 0]`, are the elements in their order of arrival.
    """
    channels, height, width = shape
    folds = -(-channels // lanes)
    index = np.full((folds * lanes, height * width), -1, np.int64)
    index[:channels] = np.arange(channels * height * width).reshape(channels, -1)
    return index.reshape(folds, lanes, -1, pixels).transpose(2, 0, 3, 1).reshape(-1, pixels * lanes)
