"""What benches add to bench_stream whose TRAFFIC has a `stage`: its timing model, to the clock."""

from __future__ import annotations

import itertools

import cocotb
from bench_stream import TRAFFIC, Bench
from testbench import Stall

from convstream.model.hardware.timing import Edge, Process, run


@cocotb.test()
@cocotb.parametrize(stall=list(Stall))
async def moves_as_predicted(dut, stall: Stall) -> None:
    """Every beat moves when the model says, whatever the stalls outside."""
    bench = Bench(dut, stall)
    await bench.start()
    count = max(3, min(40, 300 // TRAFFIC.interval))
    offers: list[list[int]] = [[] for _ in bench.inputs]
    takes: list[list[int]] = [[] for _ in bench.inputs]
    ready: list[int] = []  # clocks in which the output would have been taken

    def look() -> None:
        # Monitors see a clock after the streams have moved in it.
        for source, offered, taken in zip(bench.inputs, offers, takes, strict=True):
            valid = source.stream.read("valid")
            if valid and len(offered) == len(taken):
                offered.append(bench.cycle)
            if valid and source.stream.read("ready"):
                taken.append(bench.cycle)
        if bench.output.stream.read("ready"):
            ready.append(bench.cycle)

    bench.monitors.append(look)
    bench.send(count)
    await bench.finish()

    sources = [Edge(None, written=[clock - 1 for clock in offered]) for offered in offers]
    sink = Edge(TRAFFIC.parameters.get("FIFO_DEPTH", 2))
    total = count * TRAFFIC.sink.beats
    processes = [*TRAFFIC.stage.processes(sources, sink, count), _take(sink, ready, total)]
    run(processes, [*sources, sink])
    for number, (source, taken) in enumerate(zip(sources, takes, strict=True)):
        _compare(f"input {number}", taken, source.read)
    _compare("output", [beat.cycle for beat in bench.output.beats], sink.read)


def _take(sink: Edge, ready: list[int], beats: int) -> Process:
    """Whoever reads the output, in the clocks in which it was ready."""
    clocks = iter(ready)
    for _ in range(beats):
        while sink.empty:
            yield
        there = sink.written[len(sink.read)] + 1
        sink.read.append(next(clock for clock in clocks if clock >= there))


def _compare(what: str, clocks: list[int], expected: list[int]) -> None:
    for number, (clock, wanted) in enumerate(itertools.zip_longest(clocks, expected)):
        assert clock == wanted, (
            f"{TRAFFIC.module}: beat {number} of the {what} moved in clock {clock}, "
            f"predicted {wanted}"
        )
