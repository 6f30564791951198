"""axis_add against model.network.layers.add.add_codes."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
import numpy as np
from runner import on_simulators
from stages import lone_stage
from testbench import Layout, Stream, Testbench
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
    "every_pair": case(3, 16, 16, PLAIN),
    "every_pair_ties": case(3, 16, 16, HALVES),
    "every_pair_missed_ties": case(4, 8, 8, TENTHS, 2),
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
            OFFSET=f"32'h{adder.offset % 2**32:x}",
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
        shape = (p["CHANNELS"], 1, p["POSITIONS"])
        self.stage = lone_stage(self.layer, [shape] * 2, None, p["LANES"], p["PIXELS"])
        self.interval = self.sink.beats

    def compute(self, *images: np.ndarray) -> np.ndarray:
        return self.layer.integers(images, self.layer.operands(self.site))


TRAFFIC = AxisAdd


@cocotb.test()
async def every_pair(dut) -> None:
    """All 65,536 pairs of codes, where there are lanes enough for it to be quick."""
    case = json.loads(Path("case.json").read_text())
    traffic = AxisAdd(case["parameters"], case["seed"])
    lanes = traffic.sink.lanes * traffic.sink.pixels
    if lanes < 16:
        return
    bench = Testbench(dut, case["seed"])
    sources = [bench.source(stream) for stream in Stream.packed(dut, "s_axis", 2)]
    sink = bench.sink(Stream.axis(dut, "m_axis"))
    await bench.reset()
    pairs = np.mgrid[:256, :256].astype(np.uint8).reshape(2, -1, lanes)
    for source, codes in zip(sources, pairs, strict=True):
        source.send([int.from_bytes(beat.tobytes(), "little") for beat in codes])
    await bench.until(lambda: len(sink.beats) == len(pairs[0]), 100)
    got = b"".join(beat.data.to_bytes(lanes, "little") for beat in sink.beats)
    wrong = np.flatnonzero(np.frombuffer(got, np.uint8) != traffic.compute(*pairs).ravel())
    assert not len(wrong), (
        f"axis_add: {len(wrong)} pairs differ, the first is {divmod(wrong[0], 256)}"
    )


@on_simulators(CASES)
def test_axis_add(simulate, simulator, name, parameters):
    simulate(
        "axis_add",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,bench_pool,test_axis_add",
    )
