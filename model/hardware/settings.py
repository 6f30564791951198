"""Parameters of the instances in a network's top module."""

from __future__ import annotations

from typing import NamedTuple

from convstream.model.hardware.scaling import Scaling
from convstream.model.network.layers.base import Site
from convstream.model.network.rounding import Rounding


class Setting(NamedTuple):
    """A parameter of a module's instance.

    named: the top module declares it as `<STAGE>_<name>`. default: the module's own; a parameter
    equal to it is left out.
    """

    name: str
    value: int | str
    named: bool = False
    default: int | None = None


class Wiring(NamedTuple):
    """What an instance needs beside its folding.

    lanes: the top module's name for the channels of an input beat. pad_code: that of a real 0.
    rounding: from sums to codes; None: there is none. acc_width, out_bits: bits of an accumulator
    and of an output value. fifo_depth: beats of its output FIFO. roms: file names of weights,
    biases and scales. site: what it meets in the network. prefix: of the names of its files.
    """

    lanes: str
    pad_code: int
    rounding: Rounding | None
    acc_width: int
    out_bits: int
    fifo_depth: int
    roms: tuple[str, str, str]
    site: Site
    prefix: str

    def file(self, kind: str) -> str:
        """The name of a ROM's file, as a Verilog string."""
        return f'"{self.prefix}_{kind}.mem"'


def requantise(rounding: Rounding | None, scaling: Scaling | None = None) -> list[Setting]:
    """What rtl/requantise.v and rtl/scale_requantise.v need; nothing where sums leave as they are.

    scaling: None where there is a shift.
    """
    if rounding is None:
        return []
    shift = rounding.shift if scaling is None else scaling.shift
    assert shift is not None
    settings = [
        Setting("SHIFT", shift, named=True),
        Setting("ZERO_POINT", rounding.zero_point, default=0),
        Setting("LOW", rounding.low, default=0),
        Setting("HIGH", rounding.high, default=255),
    ]
    if scaling is not None:
        settings.append(Setting("SCALE_WIDTH", scaling.width, named=True))
        settings.append(Setting("SCALE_EXACT", scaling.exact, default=0))
    return settings
