"""What is proved, at which parameters, and the bug that each proof must find."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bug:
    """A change of a module's source."""

    file: str
    old: str  # found exactly once
    new: str


@dataclass(frozen=True)
class Proof:
    """The assertions of tb/formal/<module>_formal.v hold at any time, whatever the inputs do."""

    module: str
    bug: Bug
    parameters: dict[str, int] = field(default_factory=dict, hash=False)
    combinational: bool = False
    quick: bool = False  # part of `make test`
    depth: int = 20  # clocks in which the bug must show

    @property
    def slug(self) -> str:
        """A name for files."""
        return "_".join([self.module, *(f"{k}{v}" for k, v in self.parameters.items())])

    @property
    def engine(self) -> str:
        """How sby is to prove it."""
        return "smtbmc z3" if self.combinational else "abc pdr -d"

    @property
    def certified(self) -> bool:
        """Whether the engine leaves an inductive invariant to check."""
        return not self.combinational

    @property
    def method(self) -> str:
        """The same in words."""
        return "z3" if self.combinational else "IC3, z3"


def _each(
    module: str,
    bug: Bug,
    *parameters: dict[str, int],
    combinational: bool = False,
    quick: int = 1,
) -> list[Proof]:
    """A proof for each set of parameters, the first `quick` of them part of `make test`."""
    return [Proof(module, bug, p, combinational, i < quick) for i, p in enumerate(parameters)]


PROOFS = [
    *_each(
        "skid_buffer",
        Bug(
            "skid_buffer.v",
            "out_reg        <= skid_valid_reg ? skid_reg :",
            "out_reg        <= s_axis_tvalid ? skid_reg :",
        ),
        {"WIDTH": 1},
        {"WIDTH": 4},
    ),
    *_each(
        "axis_fifo",
        Bug("axis_fifo.v", "count_next == COUNT_FULL", "count_reg == COUNT_FULL"),
        *({"DEPTH": depth} for depth in range(1, 10)),
        {"DEPTH": 3, "WIDTH": 8},
        quick=4,
    ),
    *_each(
        "frame_check",
        Bug("frame_check.v", "!(last_reg && flag_valid_reg && !m_flag_tready)", "1'b1"),
        *({"BEATS": beats} for beats in range(1, 10)),
        quick=3,
    ),
    *_each("frame_drop", Bug("frame_drop.v", "&& s_axis_tlast;", ";"), {"WIDTH": 2}),
    # An accumulator of one bit is 0 or -1: rounding always gives 0.
    *_each(
        "requantise",
        Bug("requantise.v", "negative ? 8'd0 : above", "above"),
        {"ACC_WIDTH": 1},
        combinational=True,
    ),
    *_each(
        "requantise",
        Bug("requantise.v", "extended[0] && quotient[0]", "extended[0]"),
        *({"ACC_WIDTH": width} for width in range(2, 33)),
        combinational=True,
        quick=4,
    ),
]
