"""matrix_vector against the reference of fc, requantised, chunks in the order of its folds."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cocotb
import numpy as np
from outlet import Outlet
from runner import on_simulators
from stages import lone_stage
from testbench import Layout, Stall, Stream, Testbench
from traffic import Weighted

from convstream.model.hardware.stage import Folding
from convstream.model.hardware.timing import Edge, Process
from convstream.model.network.layers import Linear
from convstream.model.network.layers.linear import fc


def case(pe, simd, groups, chunks, inner=0, **others) -> dict:
    """Parameters of a matrix_vector, the usual ones by position."""
    sizes = dict(PE=pe, SIMD=simd, GROUPS=groups, CHUNKS=chunks)
    return sizes | dict(GROUP_INNER=inner) | others


CASES = {
    "pixels2_group_inner": case(3, 5, 3, 7, 1, PIXELS=2),
    "pixels2": case(3, 5, 3, 7, PIXELS=2),
    "one_of_each": case(1, 1, 1, 1),
    "one_group": case(5, 3, 1, 6),
    "one_group_group_inner": case(1, 2, 1, 5, 1),
    "one_chunk": case(1, 7, 5, 1),
    "one_chunk_group_inner": case(2, 1, 6, 1, 1),
    "one_fold": case(3, 9, 1, 1, PIXELS=2),
    "fabric": case(3, 5, 3, 4, FABRIC=2),
    "little_credit": case(2, 5, 4, 1, FIFO_DEPTH=1),
    "little_credit_group_inner": case(2, 3, 5, 2, 1, FIFO_DEPTH=2),
    "many_words": case(1, 1, 5, 7, 1),
    "logits": case(2, 1, 3, 5, OUT_WIDTH=32),
    "logits_group_inner": case(4, 3, 5, 3, 1, OUT_WIDTH=32),
    "codes_of_their_own": case(2, 3, 3, 2, ZERO_POINT=77, LOW=20, HIGH=201),
    "scales": case(3, 5, 3, 9, SCALE_EXACT=0, PIXELS=2),
    "scales_exact": case(2, 4, 5, 9, SCALE_EXACT=1, ZERO_POINT=128),
    "scales_group_inner": case(2, 3, 5, 4, 1, SCALE_EXACT=1, PIXELS=2),
    "scales_one_group_inner": case(3, 3, 1, 5, 1, SCALE_EXACT=0, ZERO_POINT=9, LOW=9),
    "scales_one_chunk": case(2, 7, 5, 1, SCALE_EXACT=0),
    "scales_two_chunks": case(2, 5, 3, 2, SCALE_EXACT=1),
    "scales_three_chunks": case(1, 5, 4, 3, SCALE_EXACT=1),
    "scales_bit_by_bit": case(1, 2, 3, 30, SCALE_EXACT=0),
    "scales_one_fold": case(3, 9, 1, 1, SCALE_EXACT=0),
    "scales_all_the_same": case(2, 5, 3, 4, SCALE_EXACT=0, ONE_SCALE=1, HIGH=200),
    "scales_same_group_inner": case(2, 5, 4, 2, 1, SCALE_EXACT=1, ONE_SCALE=1),
    "scales_little_credit": case(2, 5, 4, 1, SCALE_EXACT=0, FIFO_DEPTH=2),
}
VECTORS = 2  # transfers of PIXELS vectors an image


@dataclass(frozen=True)
class Folds(Layout):
    """Pixels as vectors, each chunk of `lanes` elements given again for every group of rows.

    order: the chunks of a vector as they are wanted.
    """

    order: tuple[int, ...] = ()

    @property
    def beats(self) -> int:
        return self.height * self.width // self.pixels * len(self.order)

    def _elements(self, index: int) -> Iterator[tuple[int, int, int, int]]:
        vector, fold = divmod(index, len(self.order))
        return super()._elements(vector * self.groups + self.order[fold])


class MatrixVector(Weighted):
    """Random weights; the last group and the last chunk lack a lane where they have several."""

    module = "matrix_vector"
    drops_lanes = False  # weights of zero take them out, which no X survives

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(PIXELS=1) | self.parameters
        pe, simd, groups, chunks, inner = (
            p[key] for key in ("PE", "SIMD", "GROUPS", "CHUNKS", "GROUP_INNER")
        )
        rows = groups * pe - (pe > 1 and groups > 1)
        columns = chunks * simd - (simd > 1 and chunks > 1)
        layer, in_shape = Linear(rows), (columns, 1, 1)
        self.stage = lone_stage(layer, in_shape, Folding(pe, simd, bool(inner)), columns, 1)
        once = range(chunks)
        order = [c for c in once for _ in range(groups)] if inner else [*once] * groups
        width = VECTORS * p["PIXELS"]
        self.source = Folds(columns, 1, width, simd, p["PIXELS"], order=tuple(order))
        self.make_weights()
        out_width = self.parameters["OUT_WIDTH"]
        self.sink = Layout(rows, 1, width, pe, p["PIXELS"], out_width)
        self.interval = self.source.beats
        if "FIFO_DEPTH" in p:
            # At least that many results go round in the time that one's credit takes.
            credit = self.latency + 1
            self.interval += -(-self.sink.beats * credit // p["FIFO_DEPTH"])

    @property
    def latency(self) -> int:
        """From a group's last chunk to its result, as the module's header has it."""
        p = self.parameters
        latency = 6 + math.ceil(math.log2(p["SIMD"]))
        if "SCALE_WIDTH" not in p:
            return latency
        apart = 1 if p["GROUP_INNER"] and p["GROUPS"] > 1 else p["CHUNKS"]
        digit = -(-p["SCALE_WIDTH"] // max(1, apart - 1))
        return latency + -(-p["SCALE_WIDTH"] // digit) + 2

    def streams(self, dut) -> tuple[Stream, Stream]:
        return Stream.axis(dut, "s_axis", late=True), Stream.axis(dut, "m_axis")

    def processes(self, sources: Sequence[Edge], sink: Outlet, images: int) -> Iterable[Process]:
        return [self._beats(*sources, sink, images)]

    def _beats(self, source: Edge, sink: Outlet, images: int) -> Process:
        """Takes beat by beat, while there is credit."""
        compute = self.stage.compute(sink)
        for chunk in self.source.order * (VECTORS * images):
            while source.empty or sink.full:
                yield
            compute.enter(source.written[len(source.read)] + 1)
            source.read.append(compute.entered)
            if chunk == self.parameters["CHUNKS"] - 1:
                compute.leave()

    def accumulators(self, images: np.ndarray) -> np.ndarray:
        vectors = images.transpose(0, 2, 3, 1)
        acc = fc(vectors.reshape(-1, vectors.shape[-1]).copy(), self.weight, self.bias).reshape(
            *vectors.shape[:-1], -1
        )
        return acc.transpose(0, 3, 1, 2)


TRAFFIC = MatrixVector


class Bench(Testbench):
    """A testbench that compares the names of each beat with the chunk that the source gives."""

    def __init__(self, dut, stall: Stall) -> None:
        case = json.loads(Path("case.json").read_text())
        super().__init__(dut, case["seed"], stall)
        self.traffic = MatrixVector(case["parameters"], case["seed"])
        source, sink = self.traffic.streams(dut)
        self.input, self.output = self.source(source), self.sink(sink)
        self.monitors.append(self._compare_names)

    async def start(self) -> None:
        """Reset; the next beat is a vector's first."""
        await self.reset(1)
        self.next = 0
        self.due: int | None = None  # chunk that the data of the beat just taken must be
        self.completed: list[int] = []  # when each group took its last chunk

    def _compare_names(self) -> None:
        p, order = self.traffic.parameters, self.traffic.source.order
        fold = self.next % len(order)
        chunk = order[fold]
        # Where the vector runs through for every group, each beat serves one group alone.
        done = not p["GROUP_INNER"] or chunk not in order[fold + 1 :]
        wanted = self.due, int(done), int(fold == len(order) - 1)
        signals = self.dut.s_chunk, self.dut.s_chunk_done, self.dut.s_vector_done
        got = tuple(str(signal.value) for signal in signals)
        assert all(set(bits) <= set("01") for bits in got), f"matrix_vector: X in {got}"
        late, *names = (int(bits, 2) for bits in got)
        got = (None if self.due is None else late, *names)
        assert got == wanted, (
            f"matrix_vector: beat {self.next}: (s_chunk, s_chunk_done, s_vector_done) = {got}, "
            f"expected {wanted}"
        )
        self.due = None
        if self.input.taken > self.next:
            self.due = chunk
            if chunk == p["CHUNKS"] - 1:
                self.completed.append(self.cycle)
        self.next = self.input.taken


@cocotb.test()
@cocotb.parametrize(stall=[Stall.NONE, Stall.BOTH])
async def names_its_folds(dut, stall: Stall) -> None:
    """Outputs for the source are right at every clock, also after resets in mid-vector.

    Here tlast goes with every beat of the last vector, elsewhere with the very last beat alone.
    """
    bench = Bench(dut, stall)
    traffic = bench.traffic
    size = traffic.source.beats
    for whole in (False, False, True):
        await bench.start()
        images = traffic.images(2, traffic.rng)
        for image in images:
            beats = traffic.source.pack(image, bench.rng)
            start = size - len(traffic.source.order)
            bench.input.queue.extend((data, index >= start) for index, data in enumerate(beats))
        if whole:
            wanted = len(images) * traffic.sink.beats
            await bench.until(lambda end=wanted: len(bench.output.beats) == end, 8 * size + 100)
            assert len(bench.output.beats) == wanted, "matrix_vector: nothing moves any more"
        else:
            for _ in range(bench.rng.randrange(1, 2 * size + 10)):
                await bench.step()
        traffic.check(bench.output.beats, traffic.compute(images))
    if stall is Stall.NONE:
        # The header's latency, from a group's last chunk to its result.
        latency = traffic.latency
        ends = [beat.cycle for beat in bench.output.beats]
        found = {end - start for end, start in zip(ends, bench.completed, strict=True)}
        assert found == {latency}, f"matrix_vector: latency {found}, expected {latency}"


@cocotb.test()
async def stops_without_credit(dut) -> None:
    """While the output stalls FIFO_DEPTH results begin and no more; none is lost, each time."""
    bench = Bench(dut, Stall.NONE)
    traffic = bench.traffic
    p, order = traffic.parameters, traffic.source.order
    depth = p.get("FIFO_DEPTH", 16)
    room = begun = 0
    while begun < depth:
        begun += order[room % len(order)] == p["CHUNKS"] - 1
        room += 1
    await bench.start()
    images = traffic.images(3 * (depth // traffic.sink.beats + 2), traffic.rng)
    for number, some in enumerate(np.split(images, 3), 1):
        bench.output._go = itertools.repeat(False)
        before = bench.input.taken
        for image in some:
            bench.input.send(traffic.source.pack(image, bench.rng))
        for _ in range(room + 40):
            await bench.step()
        taken = bench.input.taken - before
        assert taken == room, f"matrix_vector: {taken} beats while stalled, expected {room}"
        bench.output._go = itertools.repeat(True)
        wanted = number * len(some) * traffic.sink.beats
        await bench.until(lambda end=wanted: len(bench.output.beats) == end, 300)
        assert len(bench.output.beats) == wanted, "matrix_vector: nothing moves any more"
        traffic.check(bench.output.beats, traffic.compute(images))


@on_simulators(CASES)
def test_matrix_vector(simulate, simulator, name, parameters):
    simulate(
        "matrix_vector",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,test_matrix_vector",
    )
