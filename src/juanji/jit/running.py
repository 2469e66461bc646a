"""Sums of equal taps over bytes and short integers: what enters a window is added, what leaves it is taken off.

Sums of integers modulo a power of two are exact wherever the sum that is wanted fits, whatever the ones on the way to it do. So a
window's sum may be the difference of two others, which sums of floats may not (jit/box.py):

    columns   C += row that enters − row that leaves, one line for a whole band
    windows   narrow ones, each tap of the kernel added: Σ C[i + k]; wide ones from running sums R[i] = C[i] + R[i − dilation], which
              are made a vector at a time by doubling, as the difference R[i + (taps − 1)·dilation] − R[i − dilation]

Lines have the shortest integers that the sums of columns, and those of windows, fit into: bytes under up to 257 taps are summed as 16-bit
words, twice as many in a vector as there are floats. A finished sum is a float, multiplied by the weight as the definition rounds it;
or, where that is to be a byte again, the quotient by 1/weight, which a product of 16-bit words gives: algorithms/running.py proves for
which weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from juanji.exact import SIGNED
from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, joined, multiply_add, resized, to_float
from juanji.jit.emit import PTR, Emitter, Int, Type, Value
from juanji.jit.passes import PassCode, Strip
from juanji.jit.target import Target

VECTORS = 4  # of columns at a time


@dataclass(frozen=True)
class RunningCode(PassCode):
    """Everything that the code depends on.

    column, window: scalar types of their sums. narrow: the taps of a row where each is added, else 0. divides: whether a quotient of
    16-bit words may be what is stored.
    """

    column: str
    window: str
    narrow: int
    divides: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return (*super().names, "at_constants", "at_rows", "at_running")


def emit_running(code: RunningCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _Running(e, code, a, item).emit()
    return e.text()


class _Running(Strip):
    """One item of work."""

    def __init__(self, e: Emitter, code: RunningCode, a: Arguments, item: Value):
        super().__init__(e, code, a, item, Type(code.column))
        self.code, self.signed = code, code.x in SIGNED
        self.windows = e.vector(code.window)
        self.columns_of = Type(code.column, self.windows.lanes)

    def emit(self) -> None:
        """All rows of the band, after those that its first windows begin with."""
        e, a, line = self.e, self.a, self.staged(0)
        self._constants()
        with e.loop(0, self.length, self.vector.lanes) as c:
            e.store(e.zero(self.vector), line + c * self.element.bytes, self.element.bytes)
        if not self.code.narrow:
            e.store(e.zero(self.windows), self._place(-self.windows.lanes))
        more = a["taps_h"] - 1
        with e.loop(self.h_from - more, self.h_to) as h:
            self._note(h + more, 0)
            leaving = e.compare("sgt", h, self.h_from)
            with e.when(leaving):
                self._note(h - 1, 1)
            with e.otherwise(leaving), e.loop(0, a["outer"]) as tap:
                e.store(self._outside(self.code.outer + 1), self._row(1, tap), 8)
            with e.loop(0, a["outer"]) as tap:
                self._update(*(e.load(PTR, self._row(part, tap), 8) for part in range(2)))
            with e.when(e.compare("sge", h, self.h_from)):
                self.border([line], self._column_of)
                if not self.code.narrow:
                    self._run()
                self._rows(h)

    # Columns ------------------------------------------------------------------------------------------------------------------

    def _outside(self, axis: int) -> Value:
        """The line that consists of an axis' constant; the last one, of zeros."""
        return self.a["scratch"] + self.a["at_constants"] + self.a["line"] * axis

    def _constants(self) -> None:
        """A line of each constant that may stand for a whole row, as the input would have it."""
        e, a, kind = self.e, self.a, self.e.vector(SCALARS[self.code.x])
        for axis in range(self.code.outer + 2):
            number = e.zero(Type(kind.scalar)) if axis > self.code.outer else self._whole(axis, kind.scalar)
            with e.loop(0, a["line"], kind.bytes) as at:
                e.store(e.splat(number, kind.lanes), self._outside(axis) + at, kind.bytes)

    def _whole(self, axis: int, scalar: str) -> Value:
        """The constant outside along an axis, which is an integer."""
        return resized(self.e, self.e.convert("fptosi", self.e.load(self.total, self.constant(axis)), "i64"), scalar)

    def _column_of(self, _: Value) -> Value:
        """The sum of a column that lies outside."""
        e, a, code = self.e, self.a, self.code
        return resized(e, e.arith("mul", self._whole(code.outer + 1, "i64"), a["taps_h"] * a["outer"]), code.column)

    def _row(self, part: int, tap: Value) -> Value:
        """Where it is noted which row enters (0) or leaves (1) under a tap of the outer axes."""
        return self.a["scratch"] + self.a["at_rows"] + (self.a["outer"] * part + tap) * 8

    def _note(self, v: Value, part: int) -> None:
        """The rows at a place of the padded ones."""
        e, tap = self.e, self.e.var(v.type, self.e.integer(0))

        def note(row: Value, constant: Value) -> None:
            known = e.compare("eq", constant, Value(e, PTR, "null"))
            e.store(e.select(known, row, constant), self._row(part, tap.get()), 8)
            tap.set(tap.get() + 1)

        self.walk(v, self._outside, note)

    def _update(self, enters: Value, leaves: Value) -> None:
        """Every column moved on by a row, beyond whose end nothing may be read."""
        e, lanes, line = self.e, self.vector.lanes, self.staged(0)
        many = self.length // (VECTORS * lanes) * (VECTORS * lanes)
        whole = self.length // lanes * lanes

        def move(c: Value, vector: Type, count: Value | None = None) -> None:
            """Some columns, or as many as there are."""
            kind, at = vector.of(SCALARS[self.code.x]), c * self.size
            rows = (row + at for row in (enters, leaves))
            stored = (e.load(kind, row) if count is None else e.load_first(kind, row, count) for row in rows)
            new, old = (resized(e, row, vector.scalar, self.signed) for row in stored)
            place = line + c * self.element.bytes
            e.store(e.arith("sub", e.arith("add", e.load(vector, place), new), old), place)

        with e.loop(0, many, VECTORS * lanes) as c:
            for i in range(VECTORS):
                move(c + i * lanes, self.vector)
        with e.loop(many, whole, lanes) as c:
            move(c, self.vector)
        if e.masks:
            with e.when(e.compare("slt", whole, self.length)):
                move(whole, self.vector, self.length - whole)
            return
        with e.loop(whole, self.length) as c:
            move(c, self.element)

    # Rows ---------------------------------------------------------------------------------------------------------------------

    def _place(self, c: Int) -> Value:
        """The running sum at a place of the block, an aligned vector at multiples of its lanes; there is room for one in front."""
        at = self.e.integer(c) * Type(self.code.window).bytes
        return self.a["scratch"] + self.a["at_running"] + self.windows.bytes + at

    def _run(self) -> None:
        """Running sums of the block's columns."""
        e, lanes, dilation = self.e, self.windows.lanes, self.code.dilation
        line = self.staged(0) + self.shift * self.element.bytes
        before = e.var(self.windows, e.zero(self.windows))
        with e.loop(0, self.count, lanes) as c:
            total = resized(e, e.load(self.columns_of, line + c * self.element.bytes), self.code.window, self.signed)
            step = dilation
            while step < lanes:
                total = e.arith("add", total, e.shuffle(e.zero(self.windows), total, range(lanes - step, 2 * lanes - step)))
                step *= 2
            total = e.arith("add", total, before.get())
            e.store(total, self._place(c))
            before.set(e.shuffle(total, total, [lanes - dilation + lane % dilation for lane in range(lanes)]))

    def _sum(self, c: Value) -> Value:
        """The sums of a vector of windows."""
        e, code, element = self.e, self.code, self.element.bytes
        if not code.narrow:
            reach = (self.a["taps_w"] - 1) * code.dilation
            far, near = (e.load(self.windows, self._place(place)) for place in (c + reach, c - code.dilation))
            return e.arith("sub", far, near)
        line = self.staged(0) + (c + self.shift) * element
        total = e.load(self.windows, line)
        for tap in range(1, code.narrow):
            total = e.arith("add", total, e.load(self.windows, line + tap * code.dilation * element))
        return total

    def _rows(self, h: Value) -> None:
        """The windows of a row, to the output."""
        e = self.e
        if not self.code.divides:
            self._tiles(h, self._weighted)
            return
        divides = e.compare("ne", self._factor(0), e.zero(self._factor(0).type))
        with e.when(divides):
            self._tiles(h, self._divided)
        with e.otherwise(divides):
            self._tiles(h, self._weighted)

    def _tiles(self, h: Value, finished: Callable[[list[Value]], list[Value]]) -> None:
        """The row, some vectors at a time, the last ones over those before. finished: what is stored of sums."""
        e, lanes = self.e, self.windows.lanes
        width = self.code.across * lanes
        with e.loop(0, self.columns, width) as c_next:
            c = e.most(e.least(c_next, self.columns - width), 0)
            self.put(h, c, finished([self._sum(c + i * lanes) for i in range(self.code.across)]))

    def _factor(self, number: int) -> Value:
        """Of a quotient: what it is multiplied by, what is added before, by how many bits it is shifted."""
        return self.e.load(Type("i16"), self.a["w"] + 8 + 2 * number)

    def _divided(self, sums: list[Value]) -> list[Value]:
        """Quotients, which fit into bytes."""
        e, kind = self.e, self.windows
        times, more, bits = (e.splat(self._factor(i), kind.lanes) for i in range(3))
        wide = e.convert("zext", times, "i32")
        found = []
        for total in sums:
            product = e.arith("mul", e.convert("zext", e.arith("add", total, more), "i32"), wide)
            upper = e.convert("trunc", e.arith("lshr", product, e.const(product.type, 16)), "i16")
            found.append(e.arith("lshr", upper, bits))
        return joined(e, found, SCALARS[self.code.y])

    def _weighted(self, sums: list[Value]) -> list[Value]:
        """Sums times the weight, as what the output has."""
        e, a, vector = self.e, self.a, self.e.vector(self.total.scalar)
        weight = e.splat(e.load(self.total, a["w"]), vector.lanes)
        bias = e.splat(e.load(self.total, a["bias"]), vector.lanes) if self.code.bias else e.zero(vector)
        floats = []
        for total in sums:
            number = to_float(e, total, self.signed, vector.scalar)
            for first in range(0, number.type.lanes, vector.lanes):
                part = e.shuffle(number, number, range(first, first + vector.lanes))
                floats.append(multiply_add(e, part, weight, bias))
        return self.finished(floats)
