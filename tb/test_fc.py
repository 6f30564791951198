"""fc against model.network.layers.linear.fc and requantise, weights in the order of arrival.

With several vectors an image it is a 1x1 convolution, and checked against conv2d.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from runner import on_simulators, refuse
from stages import lone_stage
from testbench import Layout
from traffic import Weighted

from convstream.model.hardware.stage import Folding
from convstream.model.network.layers import Conv, Linear
from convstream.model.network.layers.conv import conv2d
from convstream.model.network.layers.linear import fc


def case(positions, channels, out, pe=1, simd=1, **others) -> dict:
    """Parameters of an fc, the usual ones by position."""
    sizes = dict(POSITIONS=positions, CHANNELS=channels, OUT_FEATURES=out)
    return dict(LANES=channels) | sizes | dict(PE=pe, SIMD=simd) | others


SHAPES = {
    "nothing_divides": case(6, 5, 10, 3, 4, LANES=2),
    "one_at_a_time": case(3, 2, 3, 1, 1, LANES=1),
    "one_input_one_output": case(1, 1, 1, 1, 1),
    "all_at_once": case(2, 3, 4, 4, 6),
    "vector_in_narrow_beats": case(1, 11, 4, 2, 5, LANES=3),
    "simd_narrower_than_lanes": case(3, 7, 5, 2, 3),
    "simd_wider_than_a_pixel": case(7, 2, 5, 5, 9),
    "simd_of_one_input": case(4, 3, 5, 2, 1),
    "pe_of_one_output": case(4, 3, 5, 1, 5, LANES=2),
    "one_output": case(5, 3, 1, 1, 2),
    "many_inputs": case(25, 16, 12, 4, 20, LANES=16),
    "logits": case(6, 3, 10, 2, 3, OUT_WIDTH=32),
    "pixels2": case(6, 4, 5, 2, 3, PIXELS=2, LANES=2),
    "pixels2_whole": case(8, 3, 4, 4, 6, PIXELS=2),
    "pixels4": case(8, 1, 3, 2, 3, PIXELS=4),
    "vectors": case(1, 6, 5, 2, 4, LANES=3, VECTORS=7),
    "vectors_in_narrow_beats": case(1, 11, 4, 4, 3, LANES=2, VECTORS=5),
    "vectors_at_full_rate": case(1, 5, 3, 3, 5, VECTORS=12),
    "vectors_of_logits": case(1, 3, 10, 5, 2, LANES=1, VECTORS=3, OUT_WIDTH=32),
    "pixels4_channels_split": case(4, 6, 3, 3, 5, PIXELS=4, LANES=3),
}
CASES = {
    f"{name}{'_input_major' * major}": shape | dict(INPUT_MAJOR=major)
    for name, shape in SHAPES.items()
    for major in (0, 1)
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small fc that obey its rules."""
    pixels = rng.choice([1, 1, 2, 4])
    positions, channels = pixels * rng.randint(1, 12 // pixels), rng.randint(1, 12)
    out = rng.randint(1, 12)
    lanes = [n for n in range(1, channels + 1) if pixels == 1 or channels % n == 0]
    pe, simd = rng.randint(1, out), rng.randint(1, min(24, positions * channels))
    return case(positions, channels, out, pe, simd) | dict(
        PIXELS=pixels,
        LANES=rng.choice(lanes),
        INPUT_MAJOR=rng.getrandbits(1),
        VECTORS=rng.randint(1, 9) if positions == 1 else 1,
    )


class Fc(Weighted):
    """Random weights; expected values from the reference."""

    module = "fc"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(PIXELS=1, VECTORS=1) | self.parameters
        layer = Linear(p["OUT_FEATURES"]) if p["VECTORS"] == 1 else Conv(p["OUT_FEATURES"], 1)
        in_shape = (p["CHANNELS"], 1, p["VECTORS"] * p["POSITIONS"])
        out_shape = layer.out_shape(in_shape)
        folding = Folding(p["PE"], p["SIMD"], bool(p["INPUT_MAJOR"]))
        self.stage = lone_stage(layer, in_shape, folding, p["LANES"], p["PIXELS"])
        self.source = Layout(*in_shape, p["LANES"], p["PIXELS"])
        self.make_weights()
        self.sink = Layout(*out_shape, p["PE"], bits=self.parameters["OUT_WIDTH"])
        self.interval = max(self.stage.cycles, self.source.beats)

    def accumulators(self, images: np.ndarray) -> np.ndarray:
        if self.weight.ndim == 4:
            return conv2d(images, self.weight, self.bias)
        acc = fc(images.reshape(len(images), -1), self.weight, self.bias)
        return acc.reshape(*acc.shape, 1, 1)


TRAFFIC = Fc

REFUSED = {
    "error_SIMD_must_be_at_most": case(2, 3, 3, 2, 7),
    "error_PE_must_be_at_most": case(2, 3, 3, 4, 2),
}


@on_simulators(CASES)
def test_fc(simulate, simulator, name, parameters):
    simulate("fc", simulator=simulator, name=name, parameters=parameters)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate("fc", simulator="icarus", name=f"random{number}", parameters=parameters)


@pytest.mark.parametrize(("error", "parameters"), REFUSED.items(), ids=list(REFUSED))
def test_refused_parameters(error, parameters):
    refuse("fc", parameters, error)
