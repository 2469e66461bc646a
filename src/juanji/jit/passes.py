"""What kernels have in common that pass over rows and then over columns: a block of columns of a band of rows at a time.

A block's part of the padded row has `count` elements. Elements start … stop of it are columns of the array, the others what the last
axis' boundary puts beside them. Lines hold columns only, in the input or in scratch; they begin at one near the first that is needed.
Lines that are staged for the last pass have room in front and behind for what stands outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS, finish_line
from juanji.jit.emit import I64, PTR, Emitter, Int, Type, Value
from juanji.jit.panels import outer_step


@dataclass(frozen=True)
class PassCode:
    """What the code of all such kernels depends on."""

    x: str
    total: str
    y: str
    outer: int  # spatial axes before the last two
    dilation: int  # along the columns
    bias: bool
    activation: str | None
    narrowing: Narrowing
    across: int  # vectors at a time of the last pass

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        outer = tuple(f"{name}{axis}" for axis in range(self.outer) for name in ("out", "taps", "stride", "dilation", "map", "xs", "ys"))
        return (
            *HEAD, "constants", "map_w", "size_w", "low_w", "map_h", *outer, "xs_n", "xs_h", "ys_n", "ys_h", "bands", "band", "out_h",
            "blocks_w", "block_w", "out_w", "whole", "taps_h", "taps_w", "outer", "line", "stage", "left", "at_stage", "stream",
        )  # fmt: skip


class Strip:
    """One item of work: image, outer output position, band of rows, block of columns. element: of its lines, if that is not the sum's."""

    def __init__(self, e: Emitter, code: PassCode, a: Arguments, item: Value, element: Type | None = None):
        self.e, self.a, self._code = e, a, code
        self.total = Type(SCALARS[code.total])
        self.element = element or self.total
        self.vector = e.vector(self.element.scalar)
        self.size = Type(SCALARS[code.x]).bytes
        self.places: list[Value] = []
        rest = item
        for axis in reversed(range(code.outer)):  # neighbours see the same rows, which are still near
            rest, place = e.divide(rest, a[f"out{axis}"])
            self.places.insert(0, place)
        rest, block = e.divide(rest, a["blocks_w"])
        rest, band = e.divide(rest, a["bands"])
        self.source = a["x"] + rest * a["xs_n"]
        self.first = block * a["block_w"]
        self.columns = e.least(a["block_w"], a["out_w"] - self.first)
        self.goal = a["y"] + rest * a["ys_n"] + self.first * Type(SCALARS[code.y]).bytes
        for axis, place in enumerate(self.places):
            self.goal = self.goal + place * a[f"ys{axis}"]
        self.h_from = band * a["band"]
        self.h_to = e.least(self.h_from + a["band"], a["out_h"])
        self._extent()

    def _extent(self) -> None:
        """The columns of the array that the block sees, or all of them. Lines begin some columns earlier, if there are any, where an
        aligned vector of the input does."""
        e, a = self.e, self.a
        self.count = self.columns + (a["taps_w"] - 1) * self._code.dilation
        most = e.most(self.count, a["whole"])
        self.start = e.least(e.most(a["low_w"] - self.first, 0), most)
        self.stop = e.most(e.least(a["low_w"] + a["size_w"] - self.first, most), self.start)
        begin = self.first + self.start - a["low_w"]  # before the array where the block sees nothing of it
        place = e.emit(I64, f"ptrtoint {self.source + begin * self.size} to i64")
        early = e.arith("and", place, e.integer(self.vector.lanes * self.size - 1)) // self.size
        self.begin = begin - e.least(early, e.most(begin, 0))
        self.length = self.first + self.stop - a["low_w"] - self.begin
        self.shift = self.first - a["low_w"] - self.begin  # of the block's element 0 against the column where lines begin

    def walk(self, v: Value, constant: Callable[[int], Value], use: Callable[[Value, Value], object]) -> None:
        """Every row of the input at a place of the padded rows, under each tap of the outer axes: `use` gets where its line begins, and
        what `constant` gives for the axis outside which it lies, or null."""
        e, a = self.e, self.a

        def walk(axis: int, source: Value, outside: Value) -> None:
            if axis == self._code.outer:
                row, beyond = outer_step(e, a, "map_h", "xs_h", v, constant(axis), source, outside)
                use(row + self.begin * self.size, beyond)
                return
            with e.loop(0, a[f"taps{axis}"]) as tap:
                at = self.places[axis] * a[f"stride{axis}"] + tap * a[f"dilation{axis}"]
                walk(axis + 1, *outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant(axis), source, outside))

        walk(0, self.source, Value(e, PTR, "null"))

    def constant(self, axis: int) -> Value:
        """Where the number lies that stands outside along an axis."""
        return self.a["constants"] + axis * self.total.bytes

    def staged(self, number: Int) -> Value:
        """A staged line, at the column where lines begin."""
        return self.a["scratch"] + self.a["at_stage"] + self.e.integer(number) * self.a["stage"] + self.a["left"]

    def border(self, lines: list[Value], passed: Callable[[Value], Value]) -> None:
        """What stands left and right of some staged lines: columns that they hold, or what `passed` makes of the constant."""
        e, a, element = self.e, self.a, self.element.bytes
        inside = e.compare("eq", self.start + (self.count - e.least(self.stop, self.count)), e.integer(0))
        with e.otherwise(inside):
            beyond = passed(e.load(self.total, self.constant(self._code.outer + 1)))
            for begin, end, inner in ((e.integer(0), self.start, e.integer(0)), (self.stop, self.count, a["size_w"])):
                with e.loop(begin, end) as i:
                    where = e.load(I64, a["map_w"] + (self.first + i - inner) * 8, 8)
                    known = e.compare("sge", where, e.integer(0))
                    column = e.select(known, where - self.begin, e.integer(0))
                    for line in lines:
                        number = e.select(known, e.load(self.element, line + column * element), beyond)
                        e.store(number, line + (i + self.shift) * element)

    def store(self, h: Value, c: Value, sums: list[Value]) -> None:
        """Store the finished sums of a row from a column on."""
        self.put(h, c, self.finished(sums))

    def finished(self, sums: list[Value]) -> list[Value]:
        """Vectors of sums that lie behind each other as the output has them."""
        e, code = self.e, self._code
        parameter = e.load(self.total, self.a["constants"] + (code.outer + 2) * self.total.bytes)
        return finish_line(e, sums, code.y, code.activation, parameter, code.narrowing)

    def put(self, h: Value, c: Value, outputs: list[Value]) -> None:
        """Store vectors of a row's outputs from a column on; where fewer columns than lanes are left, the first ones only. A large
        output goes past the caches."""
        e, a, lanes, size = self.e, self.a, outputs[0].type.lanes, outputs[0].type.bytes
        goal, left = self.goal + h * a["ys_h"] + c * (size // lanes), self.columns - c
        whole = e.compare("sge", left, e.integer(lanes * len(outputs)))
        with e.when(whole):
            past = e.streamable(size * len(outputs), a["stream"], goal)
            for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
                with condition:
                    for i, value in enumerate(outputs):
                        put(value, goal + i * size)
        with e.otherwise(whole):
            for i, value in enumerate(outputs):
                e.store_first(value, goal + i * size, e.most(e.least(left - i * lanes, lanes), 0))
