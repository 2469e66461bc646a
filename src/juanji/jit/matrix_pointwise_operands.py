"""Both operands of the gradient of weights of one tap, on their way from where they lie to tiles of the matrix unit, block by block.

    planes     panel[part][16 channels][step][channel][16 words]
    words      panel[part][16 features][step][word][16 features]

A step is 32 positions, and as no tap moves one operand's positions against the other's, they may stand in any order that both share. A word
joins a position with the one 16 places on: two vectors lane by lane, as they are read, where neighbours would have to change places within
a vector. One operand of two has to be turned: planes of channels-last arrays, words of channels-first ones. It is turned as numbers, before
these are cut into parts, in squares of 16 channels × 16 positions.

The vector instructions are idle while the unit multiplies. So there are two panels of each operand: while products of what is in one are
summed, each step fills a block of the other, 16 channels at 32 positions. Positions behind the last one are zeros in both operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I1, I64, LINE, PTR, Emitter, Type, Value
from juanji.jit.matrix_outer import STEP, Piece
from juanji.jit.matrix_pointwise_code import PointwiseCode
from juanji.jit.tiles import ROWS, TILE
from juanji.jit.words import words

PIECE = 4  # rows that are put one after the other


class Block(NamedTuple):
    """16 channels at the positions of a step: where they lie, where their words go, and how many channels and positions there are."""

    source: Value
    goal: Value
    channels: Value
    positions: Value


class Operand:
    """How one operand becomes a panel: as "planes" or as "words"."""

    def __init__(self, e: Emitter, code: PointwiseCode, a: Arguments, name: str):
        planes = name == "planes"
        self.e, self.code, self.planar = e, code, code.planar
        self.dtype = code.x if planes else code.dy
        self.size = Type(SCALARS[self.dtype]).bytes
        self.pitch = a[("xs" if planes else "gs") + ("_c" if code.planar else "0")]  # from line to line: of positions, or of channels
        self.turned = planes != code.planar
        self.block = a["block"] * TILE if planes else a["words_f"]  # bytes from one block of channels to the next
        self.part = a["part_x" if planes else "part_dy"]
        self.vector = e.vector("f32")
        self.lying = [e.stack(self.vector, ROWS) for _ in range(2 * self.turned)]

    def pieces(self, block: Block, whole: bool) -> Iterator[Piece]:
        """What fills a block, some dozens of instructions each. whole: all of its channels and positions exist."""
        if self.turned:
            for half, lying in enumerate(self.lying):
                yield partial(self._turn, block, whole, half, lying)
        for first in range(0, ROWS, PIECE):
            yield partial(self._put, block, whole, range(first, first + PIECE))

    def _turn(self, block: Block, whole: bool, half: int, lying: Value) -> None:
        for k, line in enumerate(transpose(self.e, [self._line(block, whole, half, k) for k in range(ROWS)])):
            self.e.store(line, lying + k * self.vector.bytes)

    def _put(self, block: Block, whole: bool, rows: range) -> None:
        for k in rows:
            if self.turned:
                pair = [self.e.load(self.vector, lying + k * self.vector.bytes) for lying in self.lying]
            else:
                pair = [self._line(block, whole, half, k) for half in (0, 1)]
            for part, value in enumerate(words(self.e, pair, self.code.parts)):
                self.e.store(value, block.goal + self.part * part + k * LINE)

    def _line(self, block: Block, whole: bool, half: int, k: int) -> Value:
        """A vector of half a block: positions of channel k, or channels of position k."""
        e, first = self.e, half * ROWS
        if self.planar:
            channel = e.integer(k) if whole else e.least(k, block.channels - 1)
            place, count = block.source + channel * self.pitch + first * self.size, block.positions - first  # below 0: none
        else:
            place, there = block.source + self.pitch * (first + k), e.compare("slt", e.integer(first + k), block.positions)
            count = e.select(there, block.channels, e.integer(0))
        return read(e, place, self.dtype, self.vector, None if whole else count)


class Run(NamedTuple):
    """Channels at positions, to be put in order: where they begin, and how many."""

    source: Value
    positions: Value
    channels: Value


class Side:
    """The panels of one operand, of which there are two: one is read while the other is filled, block by block."""

    def __init__(self, e: Emitter, code: PointwiseCode, a: Arguments, name: str):
        self.e, self.operand = e, Operand(e, code, a, name)
        self.panels, self.size = a["scratch"] + a[name], a[f"{name}_size"]
        self.source = e.var(PTR, self.panels)
        self.positions, self.channels, self.c, self.p, self.left, self.half = (e.var(I64, e.integer(0)) for _ in range(6))
        self.ready = e.var(I1, Value(e, I1, "false"))

    def take(self, now: Run, after: Run, there: Value) -> Value:
        """Where the panel of a run lies, now full; that of the run after it, if there is one, is filled from here on."""
        e = self.e
        with e.otherwise(self.ready.get()):  # the first of a call
            self._follow(now)
        with e.loop(0, self.left.get()):  # what no product had time for
            for piece in self.pieces():
                piece()
        panel = self.panels + self.half.get()
        self.half.set(self.size - self.half.get())
        self._follow(Run(after.source, e.select(there, after.positions, e.integer(0)), after.channels))
        self.ready.set(there)
        return panel

    def _follow(self, run: Run) -> None:
        blocks = (run.channels + (ROWS - 1)) // ROWS * ((run.positions + (STEP - 1)) // STEP)
        for var, value in zip((self.source, self.positions, self.channels, self.left), (*run, blocks), strict=True):
            var.set(value)
        self.c.set(self.e.integer(0))
        self.p.set(self.e.integer(0))

    def pieces(self) -> list[Piece]:
        """What fills the next block, if one is left."""
        e, operand = self.e, self.operand
        c, p, left, channels, positions = (var.get() for var in (self.c, self.p, self.left, self.channels, self.positions))
        line, across = (c, p * operand.size) if operand.planar else (p, c * operand.size)
        goal = self.panels + self.half.get() + c // ROWS * operand.block + p // STEP * TILE
        block = Block(self.source.get() + line * operand.pitch + across, goal, channels - c, positions - p)
        there = e.compare("sgt", left, e.integer(0))
        whole = e.arith("and", e.compare("sge", block.channels, e.integer(ROWS)), e.compare("sge", block.positions, e.integer(STEP)))
        part = e.arith("and", there, e.emit(whole.type, f"xor {whole}, true"))
        whole = e.arith("and", there, whole)

        def either(first: Piece, second: Piece) -> None:
            with e.when(whole):
                first()
            with e.when(part):
                second()

        def on() -> None:
            with e.when(there):
                self._on()

        found = zip(operand.pieces(block, True), operand.pieces(block, False), strict=True)
        return [*(partial(either, *pair) for pair in found), on]

    def _on(self) -> None:
        """To the next block: along the lines first."""
        e = self.e
        inner, step, end, outer, hop = (self.p, STEP, self.positions, self.c, ROWS)
        if not self.operand.planar:
            inner, step, end, outer, hop = (self.c, ROWS, self.channels, self.p, STEP)
        following = inner.get() + step
        over = e.compare("sge", following, end.get())
        inner.set(e.select(over, e.integer(0), following))
        outer.set(e.select(over, outer.get() + hop, outer.get()))
        self.left.set(self.left.get() - 1)
