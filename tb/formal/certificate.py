"""Checks with z3, from scratch, the inductive invariant by which ABC proved a design.

Neither ABC nor what drives it has to be trusted then: an invariant that holds initially, that every
clock keeps, and that no violated assertion satisfies is a proof by induction.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Aiger:
    """An and-inverter graph whose latches start at 0.

    The variables are: constant 0, the inputs, the latches, the ands. Literal 2*v is variable v,
    2*v + 1 its inverse.
    """

    inputs: int
    nexts: list[int]  # literal that each latch takes
    bads: list[int]  # violated assertions
    constraints: list[int]  # assumptions
    ands: list[tuple[int, int]]

    @classmethod
    def read(cls, path: Path) -> Aiger:
        """Read a binary AIGER 1.9 file without outputs. Raises `ValueError` for any other."""
        data = path.read_bytes()
        position = data.index(b"\n") + 1
        magic, *header = data[:position].split()
        _, inputs, latches, outputs, ands, bads, constraints, *liveness = map(int, header)
        if magic != b"aig" or outputs or any(liveness):
            raise ValueError(f"{path}: not what write_aiger -B writes")
        lines = []
        for _ in range(latches + bads + constraints):
            end = data.index(b"\n", position)
            lines.append([int(word) for word in data[position:end].split()])
            position = end + 1
        if any(len(line) > 1 for line in lines):
            raise ValueError(f"{path}: a latch does not start at 0")
        literals = [line[0] for line in lines]

        def number() -> int:
            nonlocal position
            value = shift = 0
            while True:
                byte = data[position]
                position += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        gates = []
        for index in range(ands):
            left = 2 * (inputs + latches + 1 + index) - number()
            gates.append((left, left - number()))
        return cls(
            inputs,
            literals[:latches],
            literals[latches : latches + bads],
            literals[latches + bads :],
            gates,
        )


def _read_cubes(path: Path) -> list[dict[int, bool]]:
    """States that the invariant excludes, as ABC writes them: {latch: value}."""
    cubes, latches = [], []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == [".ilb"]:  # the latches that occur, lo<number>
            latches = [int(word.removeprefix("lo")) for word in words[1:]]
        elif words and not words[0].startswith((".", "#")):
            bits = zip(latches, words[0], strict=True)
            cubes.append({latch: bit == "1" for latch, bit in bits if bit != "-"})
    return cubes


def clauses(design: Aiger, cubes: list[dict[int, bool]]) -> list[list[int]]:
    """DIMACS clauses that are satisfiable unless the invariant is inductive and implies every
    assertion.

    Beside the latches of the design there may be one more, last: an assumption has been broken.
    """
    first_and = design.inputs + len(design.nexts) + 1
    variables = first_and + len(design.ands)

    def literal(aiger: int) -> int:
        # DIMACS has no variable 0: variable v is v + 1 there.
        return -(aiger // 2 + 1) if aiger % 2 else aiger // 2 + 1

    def new() -> int:
        nonlocal variables
        variables += 1
        return variables

    result = [[-literal(0)]]
    for index, (left, right) in enumerate(design.ands):
        gate = literal(2 * (first_and + index))
        result += [[-gate, literal(left)], [-gate, literal(right)]]
        result.append([gate, -literal(left), -literal(right)])

    now = [literal(2 * (design.inputs + 1 + latch)) for latch in range(len(design.nexts))]
    then = [literal(lit) for lit in design.nexts]
    broken, breaks = new(), new()
    result += [[breaks, -broken], *([breaks, literal(lit)] for lit in design.constraints)]
    result.append([-breaks, broken, *(-literal(lit) for lit in design.constraints)])
    now.append(broken)
    then.append(breaks)

    # Either an excluded state is reached from a state that is not, or an assertion is violated.
    reached = [new() for _ in cubes]
    for cube, state in zip(cubes, reached, strict=True):
        result.append([-now[latch] if value else now[latch] for latch, value in cube.items()])
        result += [[-state, then[i] if value else -then[i]] for i, value in cube.items()]
    violated = new()
    result += [[-violated, -breaks], [-violated, *map(literal, design.bads)]]
    result.append([violated, *reached])
    return result


def check(folder: Path, environment: dict[str, str]) -> bool:
    """Whether a task of sby (`abc pdr -d`) has left a proof by induction in `folder`."""
    design = Aiger.read(folder / "model" / "design_aiger.aig")
    cubes = _read_cubes(folder / "engine_0" / "invariants.pla")
    if not all(any(cube.values()) for cube in cubes):
        return False  # excludes the initial state
    cnf = clauses(design, cubes)
    top = max(abs(lit) for clause in cnf for lit in clause)
    path = folder / "certificate.cnf"
    text = "".join(" ".join(map(str, [*clause, 0])) + "\n" for clause in cnf)
    path.write_text(f"p cnf {top} {len(cnf)}\n{text}")
    command = ["z3", "-dimacs", path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "s UNSATISFIABLE" in done.stdout.splitlines()
