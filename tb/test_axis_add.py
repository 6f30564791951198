"""axis_add against model.network.layers.add.add_codes."""

from __future__ import annotations

import numpy as np
from runner import on_simulators
from testbench import Layout
from traffic import Join

from convstream.model.hardware import adding, rom
from convstream.model.network.codes import Codes
from convstream.model.network.layers import Add
from convstream.model.network.layers.add import ratios
from convstream.model.network.layers.base import Site

# Scale and zero point of a, b and y: whose adder has no tie, ties, and ties that float32 misses.
PLAIN = (0.021, 117, 0.034, 98, 0.029, 103)
EQUAL = (0.1, 0, 0.1, 0, 0.1, 0)
HALVES = (0.5, 128, 0.25, 3, 1.0, 91)
TENTHS = (0.1, 31, 0.7, 12, 1.0, 140)


def case(positions, channels, lanes, codes, pixels=1, **others) -> dict:
    """Parameters of an axis_add, and the codes from which the others follow; low: those of y."""
    sizes = dict(POSITIONS=positions, CHANNELS=channels, LANES=lanes, PIXELS=pixels)
    return sizes | dict(codes=codes) | others


CASES = {
    "lanes_do_not_divide": case(13, 5, 2, PLAIN),
    "equal_scales": case(20, 3, 3, EQUAL),
    "ties": case(40, 2, 2, HALVES, FIFO_DEPTH=5),
    "missed_ties": case(40, 3, 1, TENTHS),
    "relu": case(15, 4, 4, PLAIN, low=103),
    "one_code": case(1, 1, 1, PLAIN, FIFO_DEPTH=1),
    "pixels": case(12, 4, 2, HALVES, 4, low=91),
    "pixels_missed_ties": case(12, 1, 1, TENTHS, 2),
}


class AxisAdd(Join):
    """Expected values from the reference."""

    module = "axis_add"
    zero_lanes = drops_lanes = False

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = self.parameters
        numbers, low = p.pop("codes"), p.pop("low", 0)
        *operands, y = (
            Codes(float(np.float32(scale)), zero_point)
            for scale, zero_point in zip(numbers[::2], numbers[1::2], strict=True)
        )
        y = Codes(y.scale, y.zero_point, low)
        self.layer, self.site = Add(), Site(inputs=(*operands,), output=y)
        adder = adding.fit(self.layer.table(self.site), *map(float, ratios(*operands, y)))
        p |= dict(
            SUM_WIDTH=adder.sum_width,
            FACTOR_A=adder.factor_a,
            FACTOR_B=adder.factor_b,
            OFFSET=adder.offset,
            SHIFT=adder.shift,
            TIE=adder.tie,
            LOW=adder.low,
            HIGH=adder.high,
        )
        if adder.patch is not None:
            self.memories = {"patch.mem": rom.to_hex(adder.patch_words)}
            p["PATCH_FILE"] = "patch.mem"
        self.sink = Layout(p["CHANNELS"], 1, p["POSITIONS"], p["LANES"], p["PIXELS"])
        self.sources = [self.sink] * 2
        self.interval = self.sink.beats

    def compute(self, *images: np.ndarray) -> np.ndarray:
        return self.layer.integers(images, self.layer.operands(self.site))


TRAFFIC = AxisAdd


@on_simulators(CASES)
def test_axis_add(simulate, simulator, name, parameters):
    simulate(
        "axis_add",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,bench_pool",
    )
