"""running_max against model.network.layers.maxpool.maxpool2d."""

from __future__ import annotations

import random

import pytest
from runner import on_simulators
from test_maxpool2d import TESTS, MaxPool2d


def case(height, width, channels, kernel, **others) -> dict:
    """Parameters of a running_max, the usual ones by position."""
    return (
        dict(HEIGHT=height, WIDTH=width, CHANNELS=channels, KERNEL=kernel, LANES=channels) | others
    )


CASES = {
    "lanes_do_not_divide": case(6, 7, 5, 2, LANES=2),
    "usual": case(6, 8, 3, 2),
    "one_channel": case(6, 8, 1, 2),
    "rows_and_columns_left_over": case(8, 11, 2, 3),
    "one_channel_left_over": case(7, 9, 1, 2),
    "two_lanes_take_turns": case(6, 4, 2, 2, LANES=1),
    "one_lane": case(4, 6, 3, 2, LANES=1),
    "kernel1": case(4, 5, 3, 1, LANES=2),
    "kernel1_one_channel": case(3, 4, 1, 1),
    "one_window_a_row": case(9, 3, 1, 3),
    "whole_image": case(4, 4, 3, 4),
    "whole_image_left_over": case(7, 5, 1, 4),
    "single_pixel": case(1, 1, 5, 1, LANES=2),
    "many_channels": case(4, 4, 33, 2, LANES=8),
    "deep_fifo": case(6, 8, 3, 2, FIFO_DEPTH=9),
    "fifo_of_one": case(6, 8, 3, 2, FIFO_DEPTH=1),
    "rectangular": case(7, 9, 3, 2, KERNEL_H=3, LANES=2),
    "signal": case(1, 14, 1, 1, KERNEL_W=3),
    "column": case(9, 1, 2, 1, KERNEL_H=4),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small running_max."""
    kernel, channels = rng.randint(1, 4), rng.randint(1, 7)
    height, width = rng.randint(kernel, 12), rng.randint(kernel, 12)
    lanes, depth = rng.randint(1, channels), rng.randint(2, 5)
    return case(height, width, channels, kernel, LANES=lanes, FIFO_DEPTH=depth)


class RunningMax(MaxPool2d):
    """A max-pool whose stride is its kernel."""

    module = "running_max"


TRAFFIC = RunningMax


@on_simulators(CASES)
def test_running_max(simulate, simulator, name, parameters):
    simulate("running_max", simulator=simulator, name=name, parameters=parameters, tests=TESTS)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate(
        "running_max",
        simulator="icarus",
        name=f"random{number}",
        parameters=parameters,
        tests=TESTS,
    )
