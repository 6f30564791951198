"""Find a graph of few additions for a constant matrix: see `share`.

Each weight is a sum of signed powers of two, as few as there can be and no two of them neighbours:
canonical signed digits (Reitwieser, "Binary Arithmetic", 1960). So a row of the matrix is a sum of
shifted inputs. Pairs of terms that stand in several places, at one distance and with equal or with
opposite signs, become a node of their own, the most frequent pair first (Potkonjak, Srivastava and
Chandrakasan, "Multiple Constant Multiplications", IEEE TCAD 15(2), 1996; Hartley, "Subexpression
Sharing in Filters Using Canonic Signed Digit Multipliers", IEEE TCAS-II 43(10), 1996). A place is
passed over where the row would become deeper than it may be: a tree of terms of depths d has depth
log2(sum of 2**d), rounded up (Kraft, 1949). What is left of a row becomes a tree, the cheapest
adder first.

Then each adder moves between those before and behind it to where the fewest bits cross registers
(after Leiserson and Saxe, "Retiming Synchronous Circuitry", Algorithmica 6, 1991).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from convstream.model.hardware import sums
from convstream.model.hardware.sums import LEVELS, Adder, Sums, Term


class Pair(NamedTuple):
    """Node `low` plus or minus node `high` times 2**distance."""

    low: int
    high: int
    distance: int
    minus: bool

    @property
    def adder(self) -> Adder:
        return Adder(Term(self.low, 0), Term(self.high, self.distance, self.minus))


Place = tuple[int, int]  # a node and its shift
Row = dict[Place, bool]  # the terms of an output that are still to be added: whether negative


def share(matrix: np.ndarray) -> Sums:
    """The graph of `matrix`, int (outputs, inputs), proven.

    A row that is another one times a power of two is the same node.
    """
    shifts = [_shift(row) for row in matrix]
    rows = [tuple(row >> shift) for row, shift in zip(matrix, shifts, strict=True)]
    distinct = list(dict.fromkeys(rows))
    graph = _Graph(np.array(distinct, np.int64))
    graph.share()
    terms = dict(zip(distinct, map(graph.tree, graph.rows), strict=True))
    outputs = tuple(
        term and term._replace(shift=term.shift + shift)
        for term, shift in zip(map(terms.__getitem__, rows), shifts, strict=True)
    )
    adders = tuple(graph.nodes)
    found = Sums(graph.inputs, adders, outputs, graph.latency, tuple(graph.depths))
    found = replace(found, levels=_retimed(found))
    found.prove(matrix)
    return found


def _shift(row: np.ndarray) -> int:
    """Of the greatest power of two that divides a row."""
    bits = int(np.bitwise_or.reduce(row))
    return (bits & -bits).bit_length() - 1 if bits else 0


def digits(weight: int) -> Iterator[tuple[int, bool]]:
    """The canonical signed digits of a number: place, and whether it is negative."""
    place = 0
    while weight:
        if weight & 1:
            digit = 2 - weight % 4
            weight -= digit
            yield place, digit < 0
        weight >>= 1
        place += 1


def _terms(weights: np.ndarray) -> Row:
    """An output's terms, of which one at least is positive: -1 is 1 - 2."""
    row = {(i, place): sign for i, w in enumerate(weights) for place, sign in digits(int(w))}
    if row and all(row.values()):
        node, place = next(iter(row))
        row[node, place + 1] = True
        row[node, place] = False
    return row


def _pair(one: Place, other: Place, minus: bool) -> Pair:
    """The pair that two terms are; minus: their signs differ."""
    if one[::-1] > other[::-1]:
        one, other = other, one
    (low, shift), (high, above) = one, other
    return Pair(low, high, above - shift, minus)


class _Graph:
    """A graph in the making."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.inputs = matrix.shape[1]
        bits = max(8, 1 + int(np.abs(matrix).max(initial=0)).bit_length())
        self.latency = sums.latency(self.inputs, bits)
        self.deepest = sums.deepest(self.inputs, bits)
        self.coefficients = list(np.eye(self.inputs, dtype=np.int64))
        self.depths = [0] * self.inputs
        self.nodes: dict[Adder, int] = {}
        self.costs: dict[Adder, int] = {}
        self.rows = [_terms(row) for row in matrix]
        self.weights = [len(row) for row in self.rows]  # of each row, the sum of 2**depth
        self.places: Counter[Pair] = Counter()
        for row in self.rows:
            for (one, sign), (other, opposite) in combinations(row.items(), 2):
                self.places[_pair(one, other, sign != opposite)] += 1
        self.waiting: list[tuple[int, int, Pair]] = []
        for pair in self.places:
            self._wait(pair)

    def cost(self, adder: Adder) -> int:
        """The lookup tables of an adder."""
        if adder not in self.costs:
            first, second = (sums.times(self.coefficients, term) for term in adder)
            self.costs[adder] = sums.luts(adder, sums.width(*sums.span(first + second)))
        return self.costs[adder]

    def node(self, adder: Adder) -> int:
        """The node of an adder."""
        if adder not in self.nodes:
            self.nodes[adder] = len(self.depths)
            first, second = (sums.times(self.coefficients, term) for term in adder)
            self.coefficients.append(first + second)
            self.depths.append(1 + max(self.depths[term.node] for term in adder))
        return self.nodes[adder]

    def _growth(self, one: int, other: int) -> int:
        """By how much a row's sum of 2**depth grows where two of its nodes become one."""
        depths = self.depths[one], self.depths[other]
        return (2 << max(depths)) - (1 << depths[0]) - (1 << depths[1])

    def _wait(self, pair: Pair) -> None:
        count = self.places[pair]
        if count > 1:
            heapq.heappush(self.waiting, (-count, self.cost(pair.adder), pair))

    def share(self) -> None:
        """Make nodes of pairs until none can be one in two places."""
        while self.waiting:
            count, _, pair = heapq.heappop(self.waiting)
            if -count != self.places[pair]:
                self._wait(pair)  # other pairs have taken some of its places
                continue
            places = list(self._free(pair))
            if len(places) > 1:
                node = self.node(pair.adder)
                for index, shift in places:
                    self._replace(index, shift, pair, node)

    def _free(self, pair: Pair) -> Iterator[tuple[int, int]]:
        """Rows and shifts where a pair can become a node; no two of them have a term in common."""
        growth = self._growth(pair.low, pair.high)
        for index, row in enumerate(self.rows):
            weight = self.weights[index]
            positive = len(row) - sum(row.values())
            taken: set[Place] = set()
            for low in sorted(place for place in row if place[0] == pair.low):
                high = pair.high, low[1] + pair.distance
                if high not in row or (row[low] != row[high]) != pair.minus:
                    continue
                if low in taken or weight + growth > 1 << self.deepest:
                    continue
                lost = not row[low] or not row[high]  # positive terms
                if pair.minus and row[low] and positive == 1:
                    continue
                positive -= lost and (not pair.minus or row[low])
                weight += growth
                taken.add(high)
                yield index, low[1]

    def _replace(self, index: int, shift: int, pair: Pair, node: int) -> None:
        """Make a pair at one place a node."""
        row = self.rows[index]
        self.weights[index] += self._growth(pair.low, pair.high)
        sign = row[pair.low, shift]
        for place in ((pair.low, shift), (pair.high, shift + pair.distance)):
            gone = row.pop(place)
            for other, opposite in row.items():
                self.places[_pair(place, other, gone != opposite)] -= 1
        for other, opposite in row.items():
            formed = _pair((node, shift), other, sign != opposite)
            self.places[formed] += 1
            self._wait(formed)
        row[node, shift] = sign

    def tree(self, row: Row) -> Term | None:
        """Add what is left of a row, the cheapest adder first; None where nothing is."""
        weight = sum(1 << self.depths[node] for node, _ in row)
        waiting = [self._candidate(*pair) for pair in combinations(_listed(row), 2)]
        heapq.heapify(waiting)
        terms = set(_listed(row))
        while len(terms) > 1:
            *_, one, other = heapq.heappop(waiting)
            growth = self._growth(one.node, other.node)
            # What is too deep now stays so.
            if one not in terms or other not in terms or weight + growth > 1 << self.deepest:
                continue
            weight += growth
            last = sum(not term.negative for term in terms) == 1
            adder, shift, negative = _added(one, other, last)
            terms -= {one, other}
            formed = Term(self.node(adder), shift, negative)
            for term in sorted(terms):
                heapq.heappush(waiting, self._candidate(term, formed))
            terms.add(formed)
        return terms.pop() if terms else None

    def _candidate(self, one: Term, other: Term) -> tuple[int, int, Term, Term]:
        """Two terms behind what it costs to add them, and how much deeper the row becomes."""
        adder, *_ = _added(one, other, False)
        cost = 0 if adder in self.nodes else self.cost(adder)
        return cost, self._growth(one.node, other.node), one, other


def _listed(row: Row) -> list[Term]:
    return [Term(node, shift, negative) for (node, shift), negative in sorted(row.items())]


def _added(one: Term, other: Term, last: bool) -> tuple[Adder, int, bool]:
    """The adder of two terms, and the shift and sign of its node; last: it must be positive."""
    low, high = sorted((one, other), key=lambda term: (term.shift, term.negative, term.node))
    minus = low.negative != high.negative
    turned = minus and low.negative and last
    adder = Adder(
        Term(low.node, 0, turned),
        Term(high.node, high.shift - low.shift, minus and not turned),
    )
    return adder, low.shift, low.negative and not turned


def _retimed(found: Sums) -> tuple[int, ...]:
    """Levels with which the fewest bits are in registers, as far as moving one adder helps."""
    levels = list(found.levels)
    top = found.latency * LEVELS
    users: list[list[int]] = [[] for _ in levels]
    for node, adder in enumerate(found.adders, found.inputs):
        for term in adder:
            users[term.node].append(node)
    given = {output.node for output in found.outputs if output is not None}

    def bits(node: int) -> int:
        """Those of a node's registers."""
        end = max((levels[user] - 1 for user in users[node]), default=0) // LEVELS
        end = found.latency if node in given else end
        return found.widths[node] * (end - max(0, levels[node] - 1) // LEVELS)

    moved = True
    while moved:
        moved = False
        for node, adder in enumerate(found.adders, found.inputs):
            first = max(levels[term.node] for term in adder) + 1
            last = min((levels[user] - 1 for user in users[node]), default=top)
            around = {node, *(term.node for term in adder)}
            costs = {}
            before = levels[node]
            for levels[node] in range(first, last + 1):
                costs[levels[node]] = sum(map(bits, around)), levels[node] != before
            levels[node] = min(costs, key=costs.__getitem__)
            moved = moved or levels[node] != before
    return tuple(levels)
