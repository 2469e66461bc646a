"""Sums of equal taps: windows put together from parts of sums that they share, without ever taking anything off a sum.

Rows are cut into runs of as many as the kernel is high. A window that begins q rows into a run is the end of this run, from its row q
on, and the first q rows of the next one (van Herk, 1992; Gil and Werman, 1993, for maxima):

    ends      S[q] = Σ of rows q … last of the run, a line each, summed from the last row on when the run begins
    starts    P = Σ of the rows of the next run up to here, one line, to which each step adds one row
    columns   S[q] + P

Along a line the sum over k columns is put together from sums over powers of two, D₀ the line and D[i] ← D[i] + D[i + 2^m], one for each
binary digit of k: with k = 2^a + 2^b + ... (a < b < ...), D_a[i] + D_b[i + 2^a] + .... The last two lengths meet in the output.

So each output costs four additions for any height and some log₂ k for any width, each sum holds the elements of its window and nothing
else, and errors grow with the logarithm of the width. Integers are summed as they are and multiplied by the weight at the end; floats
are multiplied first, so that no sum exceeds what the terms of the definition add up to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.elements import multiply_add, plus, read
from juanji.jit.emit import PTR, Emitter, Int, Value
from juanji.jit.passes import PassCode, Strip
from juanji.jit.target import Target

VECTORS = 4  # at a time
COLUMNS, PARTS, STARTS = 0, 1, 2  # the staged lines: sums of columns, those that digits of the width have left, and P


@dataclass(frozen=True)
class BoxCode(PassCode):
    """Everything that the code depends on. Of the width k it is the digits at and below the last but one, if it has two or more.

    single: whether k is 1. parts: whether a digit below the last but one is 1; before_last: whether that one is.
    """

    single: bool
    parts: bool
    before_last: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return (*super().names, "doublings", "at_ends")


def emit_box(code: BoxCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _Box(e, code, a, item).emit()
    return e.text()


class _Box(Strip):
    """One item of work; its bands begin where runs do."""

    def __init__(self, e: Emitter, code: BoxCode, a: Arguments, item: Value):
        super().__init__(e, code, a, item)
        self.code = code
        self.first_weight, self.last_weight = (e.load(self.total, a["w"] + i * self.total.bytes) for i in range(2))

    def emit(self) -> None:
        """All rows of the band."""
        e, a = self.e, self.a
        self._clear(self._end(a["taps_h"]))
        with e.loop(self.h_from, self.h_to) as h:
            q = h % a["taps_h"]
            begins = e.compare("eq", q, e.integer(0))
            with e.when(begins):
                with e.loop(0, a["taps_h"]) as i:
                    j = a["taps_h"] - 1 - i
                    self._add(h + j, self._end(j + 1), self._end(j))
                self._clear(self.staged(STARTS))
            with e.otherwise(begins):
                self._add(h + a["taps_h"] - 1, self.staged(STARTS), self.staged(STARTS))
            self._columns(self._end(q))
            self._double()
            self._rows(h)

    def _end(self, q: Int) -> Value:
        """S[q], a line; the one past the last is zero."""
        return self.a["scratch"] + self.a["at_ends"] + self.e.integer(q) * self.a["line"]

    def _each(self, body: Callable[[Value], None]) -> None:
        """The body for every vector of a line in scratch, whose room behind may be written: its bytes from where the line begins."""
        with self.e.loop(0, self.length, VECTORS * self.vector.lanes) as c:
            for i in range(VECTORS):
                body((c + i * self.vector.lanes) * self.total.bytes)

    def _clear(self, line: Value) -> None:
        """Zeros."""
        self._each(lambda at: self.e.store(self.e.zero(self.vector), line + at, self.total.bytes))

    # Columns ------------------------------------------------------------------------------------------------------------------

    def _add(self, v: Value, source: Value, goal: Value) -> None:
        """The line `goal` as the line `source` and a row of the input, or all rows under the taps of the outer axes."""
        e = self.e
        before = e.var(PTR, source)

        def add(row: Value, outside: Value) -> None:
            known = e.compare("eq", outside, Value(e, PTR, "null"))
            with e.when(known):
                self._add_row(row, before.get(), goal)
            with e.otherwise(known):
                many, line = e.splat(e.load(self.total, outside), self.vector.lanes), before.get()
                self._each(lambda at: self._put(many, line + at, goal + at))
            before.set(goal)

        self.walk(v, self.constant, add)

    def _add_row(self, row: Value, source: Value, goal: Value) -> None:
        """The same for one row that lies in the array, beyond whose end nothing may be read."""
        e, lanes = self.e, self.vector.lanes
        width = VECTORS * lanes
        many = self.length // width * width
        whole = self.length // lanes * lanes

        def add(c: Value, count: Value | None = None) -> None:
            at = c * self.total.bytes
            self._put(read(e, row + c * self.size, self.code.x, self.vector, count), source + at, goal + at)

        with e.loop(0, many, width) as c:
            for i in range(VECTORS):
                add(c + i * lanes)
        with e.loop(many, whole, lanes) as c:
            add(c)
        if e.masks:
            with e.when(e.compare("slt", whole, self.length)):
                add(whole, self.length - whole)
            return
        with e.loop(whole, self.length) as c:
            at = c * self.total.bytes
            x = read(e, row + c * self.size, self.code.x, self.total)
            e.store(multiply_add(e, x, self.first_weight, e.load(self.total, source + at)), goal + at)

    def _put(self, x: Value, source: Value, goal: Value) -> None:
        """A vector of a line and of the input's numbers, weighted."""
        e, element = self.e, self.total.bytes
        weight = e.splat(self.first_weight, self.vector.lanes)
        e.store(multiply_add(e, x, weight, e.load(self.vector, source, element)), goal, element)

    def _columns(self, end: Value) -> None:
        """The sums of all columns of the window's rows, and what the boundary puts beside them."""
        e, a, line, starts, element = self.e, self.a, self.staged(COLUMNS), self.staged(STARTS), self.total.bytes

        def add(at: Value) -> None:
            parts = (e.load(self.vector, part + at, element) for part in (end, starts))
            e.store(plus(e, *parts), line + at, element)

        self._each(add)
        height = e.convert("sitofp", a["taps_h"] * a["outer"], self.total.scalar)
        self.border([line], lambda number: e.arith("fmul", e.arith("fmul", number, self.first_weight), height))

    # Rows ---------------------------------------------------------------------------------------------------------------------

    def _double(self) -> None:
        """Sums over ever longer stretches of columns, in place, all but the last; and on the way the parts that digits of 1 ask for."""
        e, a, element, lanes = self.e, self.a, self.total.bytes, self.vector.lanes
        line, parts = self.staged(COLUMNS), self.staged(PARTS)
        begin = e.arith("and", self.shift, e.integer(-lanes))  # aligned, at or before the block's element 0
        with e.loop(0, a["doublings"]) as m:
            length = e.arith("shl", e.integer(1), m)
            below = e.arith("and", a["taps_w"], length - 1)
            digit = e.compare("ne", e.arith("and", a["taps_w"], length), e.integer(0))
            first = e.compare("eq", below, e.integer(0))
            ahead, behind = length * (self.code.dilation * element), below * (-self.code.dilation * element)

            def both(use: Callable[[Value, Value], None] | None) -> None:
                """One doubling. use: what becomes of the shorter sums."""
                with e.loop(begin, self.shift + self.count, VECTORS * lanes) as c:
                    places = [(c + i * lanes) * element for i in range(VECTORS)]
                    near = [e.load(self.vector, line + at, element) for at in places]
                    far = [e.load(self.vector, line + at + ahead, element) for at in places]
                    for at, x, y in zip(places, near, far, strict=True):
                        e.store(plus(e, x, y), line + at, element)
                        if use is not None:
                            use(x, parts + at + behind)

            def begin_parts(x: Value, place: Value) -> None:
                e.store(x, place, element)

            def add_parts(x: Value, place: Value) -> None:
                e.store(plus(e, e.load(self.vector, place, element), x), place, element)

            with e.otherwise(digit):
                both(None)
            with e.when(e.arith("and", digit, first)):
                both(begin_parts)
            with e.when(e.arith("and", digit, e.compare("ne", below, e.integer(0)))):
                both(add_parts)

    def _rows(self, h: Value) -> None:
        """The last doubling, with what the other digits have left, from the staged lines to the output."""
        e, code, a, element = self.e, self.code, self.a, self.total.bytes
        width = code.across * self.vector.lanes
        line, parts, step = self.staged(COLUMNS), self.staged(PARTS), code.dilation * element
        bias = e.splat(e.load(self.total, a["bias"]), self.vector.lanes) if code.bias else e.zero(self.vector)
        weight = e.splat(self.last_weight, self.vector.lanes)
        half = e.arith("shl", e.integer(1), a["doublings"])
        starts: list[Value] = []
        if code.parts:
            starts.append(parts)
        if code.before_last:
            starts.append(line + e.arith("and", a["taps_w"], half - 1) * step)
        if code.single:
            starts.append(line)
        else:
            last = line + e.arith("and", a["taps_w"], half * 2 - 1) * step
            starts += [last, last + half * step]
        with e.loop(0, self.columns, width) as c_next:
            c = e.most(e.least(c_next, self.columns - width), 0)
            at = (c + self.shift) * element
            sums = []
            for i in range(code.across):
                found = [e.load(self.vector, start + at + i * self.vector.bytes, element) for start in starts]
                total = found[0]
                for other in found[1:]:
                    total = plus(e, total, other)
                sums.append(multiply_add(e, total, weight, bias))
            self.store(h, c, sums)
