"""The separable tile: a pass along each axis, one behind the other, a few rows and a block of columns at a time.

For one band of output rows and one block of columns, `rows` output rows at a time, for each term of the kernel (a vector per axis):

    lines     every input row that these output rows see, where it lies in the input, or in a ring of line buffers: converted, and
              summed over the outer axes, once for all output rows that see it; rows outside the array are a line of their constant
    columns   the vertical pass, from those lines to one staged line for each output row; a loaded vector serves every output row
              that sees it. Only columns of the array are computed: what the horizontal boundary repeats is copied from them
    rows      the horizontal pass, from the staged lines to the output

Each element of a pass is one chain of multiply-adds over the taps, in their order, and the horizontal chains of several terms follow
each other: neither the tile's shape nor its blocks show in the bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.elements import multiply_add, read
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Value, Var
from juanji.jit.passes import PassCode, Strip
from juanji.jit.target import Target

SUMMED = 4  # vectors at a time of a sum over outer axes

Taps = tuple[int, ...] | None  # the taps of an axis that are kept, known when the code is made; None for all, however many


@dataclass(frozen=True)
class SeparableCode(PassCode):
    """Everything that the code depends on; sizes, paddings, boundaries and, where no taps are named, the lengths of the kernel are
    arguments."""

    summed: bool  # whether the outer axes have taps to sum over
    in_place: bool  # whether rows are read where they lie
    high: Taps
    wide: Taps
    window: int  # input rows that `rows` output rows reach over, where `high` is named
    stride_h: int
    dilation_h: int
    rows: int
    vectors: int  # of the vertical pass

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return (*super().names, "terms", "window", "at_planes", "at_constants", "at_converted", "at_ring")


def emit_separable(code: SeparableCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _Passes(e, code, a, item).emit()
    return e.text()


class _Passes(Strip):
    """One item of work."""

    def __init__(self, e: Emitter, code: SeparableCode, a: Arguments, item: Value):
        super().__init__(e, code, a, item)
        self.code = code

    def emit(self) -> None:
        """All rows of the band."""
        e, code, a = self.e, self.code, self.a
        self._constants()
        filled = e.var(I64, e.least(self.h_from, a["out_h"] - code.rows) * code.stride_h)
        with e.loop(self.h_from, self.h_to, code.rows) as h_next:
            h = e.least(h_next, a["out_h"] - code.rows)
            with e.loop(0, a["terms"]) as term:
                weights = a["w"] + term * (a["outer"] + a["taps_h"] + a["taps_w"]) * self.total.bytes
                with e.when(e.compare("eq", term, e.integer(0))):
                    self._lines(h, weights, filled)
                self._columns(weights, term)
            self._rows(h)

    # Lines --------------------------------------------------------------------------------------------------------------------

    @property
    def window(self) -> Int:
        """Input rows of a step."""
        return self.a["window"] if self.code.high is None else self.code.window

    def _outside(self, axis: int) -> Value:
        """The line that consists of an axis' constant."""
        return self.a["scratch"] + self.a["at_constants"] + self.a["line"] * axis

    def _constants(self) -> None:
        """A line of each constant that may stand for a whole row."""
        e, a = self.e, self.a
        for axis in range(self.code.outer + 1):
            many = e.splat(e.load(self.total, self.constant(axis)), self.vector.lanes)
            with e.loop(0, a["line"], self.vector.bytes) as at:
                e.store(many, self._outside(axis) + at, self.total.bytes)

    def _lines(self, h: Value, weights: Value, filled: Var) -> None:
        """Point the table at every line of the window, filling those of the ring that are new."""
        e, code, a = self.e, self.code, self.a
        if code.in_place and not code.summed:
            with e.loop(0, self.window) as j:
                entry = a["scratch"] + j * 8
                self.walk(h * code.stride_h + j, self._outside, lambda row, constant: e.store(self._line(row, constant, entry), entry, 8))
            return
        with e.loop(0, self.window) as j:
            v = h * code.stride_h + j
            slot = a["scratch"] + a["at_ring"] + (v % self.window) * a["line"]
            e.store(slot, a["scratch"] + j * 8, 8)
            with e.when(e.compare("sge", v, filled.get())):
                if code.summed:
                    self._sum(v, slot, weights)
                else:
                    self.walk(v, self._outside, lambda row, constant: self._line(row, constant, slot))
                filled.set(v + 1)

    def _line(self, row: Value, constant: Value, buffer: Value) -> Value:
        """A row as a line of the sum's type: where it lies, or in the buffer."""
        e = self.e
        known = e.compare("eq", constant, Value(e, PTR, "null"))
        if self.code.in_place:
            return e.select(known, row, constant)
        with e.when(known):
            self._copy(row, self.code.x, self.size, buffer)
        with e.otherwise(known):
            self._copy(constant, self.code.total, self.total.bytes, buffer)
        return buffer

    def _copy(self, source: Value, dtype: str, size: int, goal: Value) -> None:
        """A line's elements, converted a vector at a time; the last vector overlaps the one before."""
        e, element, lanes = self.e, self.total.bytes, self.vector.lanes
        wide = e.compare("sge", self.length, e.integer(lanes))
        with e.when(wide), e.loop(0, self.length, lanes) as c_next:
            c = e.least(c_next, self.length - lanes)
            e.store(read(e, source + c * size, dtype, self.vector), goal + c * element, element)
        with e.otherwise(wide), e.loop(0, self.length) as c:
            e.store(read(e, source + c * size, dtype, self.total), goal + c * element)

    def _sum(self, v: Value, slot: Value, weights: Value) -> None:
        """The sum of rows over the taps of the outer axes."""
        e, a, element, lanes = self.e, self.a, self.total.bytes, self.vector.lanes
        planes, tap = a["scratch"] + a["at_planes"], e.var(I64, e.integer(0))

        def note(row: Value, constant: Value) -> None:
            buffer = a["scratch"] + a["at_converted"] + tap.get() * a["line"]
            e.store(self._line(row, constant, buffer), planes + tap.get() * 8, 8)
            tap.set(tap.get() + 1)

        self.walk(v, self._outside, note)
        width = SUMMED * lanes
        with e.loop(0, self.length, width) as c_next:
            c = self._column(c_next, width)
            totals = [e.var(self.vector, e.zero(self.vector)) for _ in range(SUMMED)]
            with e.loop(0, a["outer"]) as t:
                line = e.load(PTR, planes + t * 8, 8) + c * element
                one = e.splat(e.load(self.total, weights + t * element), lanes)
                for i, total in enumerate(totals):
                    total.set(multiply_add(e, e.load(self.vector, line + i * self.vector.bytes, element), one, total.get()))
            for i, total in enumerate(totals):
                e.store(total.get(), slot + c * element + i * self.vector.bytes, element)

    def _column(self, following: Value, width: int) -> Value:
        """Where the next columns of a line begin: the last ones overlap those before."""
        return self.e.most(self.e.least(following, self.length - width), 0)

    # Columns ------------------------------------------------------------------------------------------------------------------

    def _columns(self, weights: Value, term: Value) -> None:
        """The vertical pass of a term, and what the boundary puts beside its result."""
        e, code, a, element = self.e, self.code, self.a, self.total.bytes
        down = weights + a["outer"] * element
        width = code.vectors * self.vector.lanes
        with e.loop(0, self.length, width) as c_next:
            c = self._column(c_next, width)
            sums = [[e.var(self.vector, e.zero(self.vector)) for _ in range(code.vectors)] for _ in range(code.rows)]

            def meet(j: Int, pairs: list[tuple[int, Int]]) -> None:
                """One line of the window; pairs: the output rows that see it, and the taps that they see it through."""
                line = e.load(PTR, a["scratch"] + self.e.integer(j) * 8, 8) + c * element
                xs = [e.load(self.vector, line + i * self.vector.bytes, element) for i in range(code.vectors)]
                near = e.unknown(down)  # loaded anew for each line: kept in registers, weights would drive sums out of theirs
                for r, tap in pairs:
                    one = e.splat(e.load(self.total, near + tap * element), self.vector.lanes)
                    for x, total in zip(xs, sums[r], strict=True):
                        total.set(multiply_add(e, x, one, total.get()))

            self._window(meet)
            for r, row in enumerate(sums):
                for i, total in enumerate(row):
                    e.store(total.get(), self.staged(term * code.rows + r) + c * element + i * self.vector.bytes, element)
        self.border([self.staged(term * code.rows + r) for r in range(code.rows)], lambda number: self._passed(number, weights))

    def _window(self, meet: Callable[[Int, list[tuple[int, Int]]], None]) -> None:
        """Every line of the window with the (output row, tap) pairs that meet in it."""
        e, code, dilation = self.e, self.code, self.code.dilation_h
        if code.high is not None:
            for j in range(code.window):
                pairs = [(r, (j - r * code.stride_h) // dilation) for r in range(code.rows) if (j - r * code.stride_h) % dilation == 0]
                kept = [(r, tap) for r, tap in pairs if tap in code.high]
                if kept:
                    meet(j, list(kept))
            return
        taps = self.a["taps_h"]  # at least as many as there are rows
        for j in range(code.rows - 1):
            meet(j, [(r, j - r) for r in range(j + 1)])
        with e.loop(code.rows - 1, taps) as line:
            meet(line * dilation, [(r, line - r) for r in range(code.rows)])
        for j in range(code.rows - 1):
            meet(taps + j, [(r, taps + (j - r)) for r in range(j + 1, code.rows)])

    def _passed(self, number: Value, weights: Value) -> Value:
        """What the passes before the last make of columns of one number, in the order in which they sum."""
        code, a, element = self.code, self.a, self.total.bytes
        if code.summed:
            number = self._chain(number, weights, None, a["outer"])
        return self._chain(number, weights + a["outer"] * element, code.high, a["taps_h"])

    def _chain(self, number: Value, weights: Value, taps: Taps, count: Value) -> Value:
        """One number under all taps of a pass."""
        e, total = self.e, self.e.var(self.total, self.e.zero(self.total))

        def meet(tap: Int) -> None:
            total.set(multiply_add(e, number, e.load(self.total, weights + tap * self.total.bytes), total.get()))

        if taps is None:
            with e.loop(0, count) as tap:
                meet(tap)
        for named in taps or ():
            meet(named)
        return total.get()

    # Rows ---------------------------------------------------------------------------------------------------------------------

    def _rows(self, h: Value) -> None:
        """The horizontal pass, from the staged lines to the output."""
        e, code, a, element = self.e, self.code, self.a, self.total.bytes
        width = code.across * self.vector.lanes
        bias = e.splat(e.load(self.total, a["bias"]), self.vector.lanes) if code.bias else e.zero(self.vector)
        with e.loop(0, code.rows) as r, e.loop(0, self.columns, width) as c_next:
            c = e.most(e.least(c_next, self.columns - width), 0)
            sums = [e.var(self.vector, bias) for _ in range(code.across)]
            with e.loop(0, a["terms"]) as term:
                line = self.staged(term * code.rows + r) + (c + self.shift) * element
                weights = a["w"] + ((term + 1) * (a["outer"] + a["taps_h"] + a["taps_w"]) - a["taps_w"]) * element
                self._along(line, weights, sums)
            self.store(h + r, c, [total.get() for total in sums])

    def _along(self, line: Value, weights: Value, sums: list[Var]) -> None:
        """One term's taps of a row.

        A vector of a cache line's length that is not aligned is read in two parts, and the processor reads no more often than it
        multiplies. So of two taps the second one's vectors are put together from neighbours of the first one's: done for all taps, that
        would take as long again, for it is done where half of the multiplications are.
        """
        e, code, lanes = self.e, self.code, self.vector.lanes
        paired = self.vector.bytes == LINE and code.dilation < lanes

        def read(tap: Int, i: int) -> Value:
            return e.load(self.vector, line + tap * (code.dilation * self.total.bytes) + i * self.vector.bytes, self.total.bytes)

        def meet(tap: Int, xs: list[Value]) -> None:
            one = e.splat(e.load(self.total, weights + tap * self.total.bytes), lanes)
            for x, total in zip(xs, sums, strict=True):
                total.set(multiply_add(e, x, one, total.get()))

        def single(tap: Int) -> list[Value]:
            xs = [read(tap, i) for i in range(code.across)]
            meet(tap, xs)
            return xs

        def pair(tap: Int) -> None:
            meet(tap + 1, [*e.moved(single(tap), code.dilation), read(tap + 1, code.across - 1)])

        if code.wide is None:
            most = self.a["taps_w"] // 2 * 2 if paired else e.integer(0)
            if paired:
                with e.loop(0, most, 2) as tap:
                    pair(tap)
            with e.loop(most, self.a["taps_w"]) as tap:
                single(tap)
            return
        left = list(code.wide)
        while left:
            two = paired and left[1:2] == [left[0] + 1]
            (pair if two else single)(left[0])
            del left[: 2 if two else 1]
