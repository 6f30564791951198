"""constant_conv2d, beside which the bench adds up, against conv2d and requantise."""

from __future__ import annotations

import random

import numpy as np
import pytest
import test_conv2d
from cocotb.triggers import RisingEdge
from runner import on_simulators
from test_conv2d import Conv2d

from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.sums import latency


def case(height, width, ic, oc, kernel, **others) -> dict:
    """Parameters of a constant_conv2d, the usual ones by position."""
    parameters = test_conv2d.case(height, width, ic, oc, kernel, oc, **others)
    del parameters["SIMD"], parameters["OUT_CHANNELS"]
    return parameters


CASES = {
    "a_window_a_clock": case(6, 7, 1, 3, 3, PADDING=1),
    "channels_in_parts": case(5, 6, 5, 2, 3, LANES=2, STRIDE=2),
    "kernel1": case(4, 5, 1, 3, 1),
    "raw_accumulators": case(5, 5, 3, 7, 3, OUT_WIDTH=32),
    "scales": case(5, 6, 2, 3, 2, SCALE_EXACT=0, ZERO_POINT=3),
    "one_exact_scale": case(5, 6, 2, 3, 2, SCALE_EXACT=1, ONE_SCALE=1),
    "rectangular": case(6, 7, 2, 3, 2, KERNEL_W=3, STRIDE_H=2, PAD_LEFT=1, PAD_CODE=130),
    "pixels2": case(5, 8, 2, 4, 3, PIXELS=2, PADDING=1),
    "pixels4_stride2": case(7, 16, 1, 2, 3, PIXELS=4, STRIDE=2, PADDING=1),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small constant_conv2d that obey its rules."""
    while True:
        parameters = test_conv2d.draw(rng)
        taps = parameters["KERNEL"] ** 2 * parameters["IN_CHANNELS"]
        if taps <= 30:
            parameters["PE"] = parameters.pop("OUT_CHANNELS")
            del parameters["SIMD"]
            return parameters


class ConstantConv2d(Conv2d):
    """A conv2d of all channels and taps at once, whose sums the bench adds up."""

    module = "constant_conv2d"
    kind = ConvStage

    def __init__(self, parameters: dict, seed: str) -> None:
        taps = parameters.get("KERNEL_H", parameters["KERNEL"]) * parameters["IN_CHANNELS"]
        taps *= parameters.get("KERNEL_W", parameters["KERNEL"])
        folding = {"OUT_CHANNELS": parameters["PE"], "SIMD": taps, "FABRIC": taps}
        super().__init__(parameters | folding, seed)
        for name in folding:
            del self.parameters[name]
        self.parameters["LATENCY"] = latency(taps)
        self.matrix = self.stage.weight_matrix(self.weight).astype(int)

    async def surround(self, dut) -> None:
        """The sums of each window, as many clocks later as a module of sums takes."""
        bits, taps = self.parameters["ACC_WIDTH"], self.matrix.shape[1]
        delayed = [None] * (self.parameters["LATENCY"] - 1)
        while True:
            await RisingEdge(dut.clk)
            delayed.append(dut.window.value)
            window = delayed.pop(0)
            if window is None or not window.is_resolvable:
                continue
            codes = np.frombuffer(window.to_unsigned().to_bytes(len(window) // 8, "little"), "u1")
            sums = codes.reshape(-1, taps).astype(int) @ self.matrix.T
            lanes = (int(value) % (1 << bits) << bits * i for i, value in enumerate(sums.flat))
            dut.sums.value = sum(lanes)


TRAFFIC = ConstantConv2d


@on_simulators(CASES)
def test_constant_conv2d(simulate, simulator, name, parameters):
    simulate("constant_conv2d", simulator=simulator, name=name, parameters=parameters)


@pytest.mark.parametrize("number", range(2))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate("constant_conv2d", simulator="icarus", name=f"random{number}", parameters=parameters)
