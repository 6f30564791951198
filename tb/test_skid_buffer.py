"""skid_buffer: every beat comes out once, in order, one a clock."""

from __future__ import annotations

from runner import on_simulators
from traffic import Passage

CASES = {
    "byte": dict(WIDTH=8),
    "one_bit": dict(WIDTH=1),
    "wide": dict(WIDTH=173),
}


class SkidBuffer(Passage):
    module = "skid_buffer"


TRAFFIC = SkidBuffer


@on_simulators(CASES)
def test_skid_buffer(simulate, simulator, name, parameters):
    simulate("skid_buffer", simulator=simulator, name=name, parameters=parameters)
