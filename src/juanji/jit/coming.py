"""Weights of the channel tile while they are on their way: what comes next is asked for, what lies side by side is put in order.

Weights that many tiles use are packed once, and the block after the one in use follows it in memory. Of weights that come with a single
call two things are known beforehand:

    Beside     features lie side by side: a step's weights are read where they lie by the first tile of a chunk, which leaves them in
               order for the others, so that they go from memory to registers and to the first cache, and nowhere else
    Behind     the weights of a feature lie together, and features one behind the other: what is put in order next is one run of lines
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, read
from juanji.jit.emit import I64, LINE, PTR, Emitter, Type, Value
from juanji.jit.pack import PackCode

Ask = Callable[[Value], None]  # once in a step, with where its own weights lie: ask for a line of what comes next
Load = Callable[[Value], list[Value]]  # the vectors of weights of a step, whose place in order is given

SECOND = 2  # the cache that weights are asked into


class Beside(NamedTuple):
    """A block of features that lie side by side. start: where the first one's weights begin; steps: a table of bytes from there to those
    of each step of this block of the reduction, and behind them of the one that comes next."""

    start: Value
    steps: Value


class Behind:
    """Lines that come next, one behind the other: where the next one to ask for lies, and where they end."""

    def __init__(self, e: Emitter, nowhere: Value):
        self.e = e
        self.at, self.end = e.var(PTR, nowhere), e.var(PTR, nowhere)

    def follow(self, begin: Value, end: Value) -> None:
        """These come next."""
        self.at.set(begin)
        self.end.set(end)

    def take(self, count: Value) -> Value:
        """The first of so many lines; after the last, some that have been asked for."""
        e, at = self.e, self.at.get()
        self.at.set(e.select(e.compare("ult", at, self.end.get()), at + count * LINE, at))
        return at


def asking(e: Emitter, a: Arguments, coming: Beside | Behind | None, width: int, tile: Value) -> Ask:
    """What a tile asks for, a line in each step: the first tiles of a chunk together ask for all of a block. width: bytes of a step."""
    turn = tile % max(width // LINE, 1) * LINE  # narrow tiles of narrow vectors take less than a line per step
    if coming is None:
        ahead = a["steps"] * width + turn
        return lambda own: e.prefetch(own + ahead, SECOND)
    if isinstance(coming, Behind):
        line = e.var(PTR, coming.take(a["steps"]))

        def ask_behind(own: Value) -> None:
            e.prefetch(line.get(), SECOND)
            line.set(line.get() + LINE)

        return ask_behind
    start, step = coming.start + turn, e.var(PTR, coming.steps + a["steps"] * 8)

    def ask_beside(own: Value) -> None:
        e.prefetch(start + e.load(I64, step.get(), 8), SECOND)
        step.set(step.get() + 8)

    return ask_beside


def in_order(e: Emitter, vector: Type, vectors: int) -> Load:
    """Weights that lie in order."""
    element = vector.bytes // vector.lanes
    return lambda own: [e.load(vector, own + v * vector.bytes, element) for v in range(vectors)]


def putting_in_order(e: Emitter, code: PackCode, vector: Type, vectors: int, beside: Beside, features: Value) -> Load:
    """Weights that lie side by side, of so many features; they are left in order. Without masks all of a block's features exist."""
    element, size = vector.bytes // vector.lanes, Type(SCALARS[code.w]).bytes
    step = e.var(PTR, beside.steps)

    def load(own: Value) -> list[Value]:
        start = beside.start + e.load(I64, step.get(), 8)
        step.set(step.get() + 8)
        found = []
        for v in range(vectors):
            count = features - v * vector.lanes if e.masks else None
            found.append(read(e, start + v * vector.lanes * size, code.w, vector, count))
            e.store(found[-1], own + v * vector.bytes, element)
        return found

    return load
