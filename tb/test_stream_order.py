"""The order of elements on a stream, spelt out and against a loop over beats and lanes."""

from __future__ import annotations

import numpy as np
import pytest

from convstream.model.hardware.stream_order import slots


def test_one_channel_a_beat_is_position_major():
    """Every channel of a pixel before the next pixel, whatever the lanes."""
    found = slots((2, 1, 3), 1)
    assert found.dtype == np.int64
    assert found.tolist() == [[0], [3], [1], [4], [2], [5]]
    assert slots((2, 1, 3), 2).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_lanes_beyond_the_last_channel_are_empty():
    """Each pixel begins a new beat, so the last beat of each may be ragged."""
    assert slots((3, 1, 2), 2).tolist() == [[0, 2], [4, -1], [1, 3], [5, -1]]
    assert slots((1, 1, 2), 4).tolist() == [[0, -1, -1, -1], [1, -1, -1, -1]]


def test_several_pixels_share_a_beat():
    """Pixel by pixel, the channel fastest; the second beat has the same pixels' other channels."""
    assert slots((4, 1, 4), 2, 2).tolist() == [
        [0, 4, 1, 5],
        [8, 12, 9, 13],
        [2, 6, 3, 7],
        [10, 14, 11, 15],
    ]


def test_a_vector_comes_in_its_own_order():
    """A fully connected layer's outputs are channels of a single pixel."""
    assert slots((5, 1, 1), 2).tolist() == [[0, 1], [2, 3], [4, -1]]


@pytest.mark.parametrize(
    ("shape", "lanes", "pixels"),
    [
        ((1, 1, 1), 1, 1),
        ((3, 4, 5), 1, 1),
        ((3, 4, 5), 2, 1),
        ((7, 2, 3), 3, 1),
        ((7, 3, 2), 9, 1),
        ((6, 3, 4), 3, 2),
        ((2, 2, 8), 2, 4),
        ((1, 5, 4), 1, 4),
    ],
)
def test_every_element_is_where_a_loop_puts_it(shape, lanes, pixels):
    channels, height, width = shape
    beats = []
    for group in range(height * width // pixels):
        for first in range(0, channels, lanes):
            beat = []
            for pixel in range(group * pixels, (group + 1) * pixels):
                for channel in range(first, first + lanes):
                    beat.append(channel * height * width + pixel if channel < channels else -1)
            beats.append(beat)
    found = slots(shape, lanes, pixels)
    assert found.tolist() == beats
    assert sorted(found[found >= 0].tolist()) == list(range(channels * height * width))
