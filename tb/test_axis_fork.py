"""axis_fork: every reader gets every beat once, in order, whatever the others do."""

from __future__ import annotations

import itertools

import cocotb
from runner import on_simulators
from testbench import Stream
from traffic import Passage

CASES = {
    "three": dict(WIDTH=5, READERS=3),
    "two": dict(WIDTH=8, READERS=2),
    "two_of_one_bit": dict(WIDTH=1, READERS=2),
    "four_wide": dict(WIDTH=40, READERS=4),
}


class Fork(Passage):
    module = "axis_fork"

    def all_streams(self, dut) -> tuple[list[Stream], list[Stream]]:
        readers = self.parameters["READERS"]
        return [Stream.axis(dut, "s_axis")], Stream.packed(dut, "m_axis", readers)


TRAFFIC = Fork
INTERVAL = 37  # of every Passage


@cocotb.test()
async def waits_for_the_last(dut) -> None:
    """A reader that stands still gets its beat late, the others get theirs, and no second one."""
    from bench_stream import Bench

    bench = Bench(dut)
    await bench.start()
    for number, late in enumerate(bench.outputs):
        late.go(itertools.repeat(False))
        await bench.step()
        bench.send(1)
        for _ in range(5):
            await bench.step()
        counts = [len(sink.beats) - number * INTERVAL for sink in bench.outputs]
        assert counts == [int(sink is not late) for sink in bench.outputs], (
            f"axis_fork: the readers have {counts} beats where one stands still"
        )
        late.go(itertools.repeat(True))
        await bench.finish()


@on_simulators(CASES)
def test_axis_fork(simulate, simulator, name, parameters):
    simulate(
        "axis_fork",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,test_axis_fork",
    )
