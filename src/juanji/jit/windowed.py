"""What every loop over windows is made of: combining values, walking outputs and taps, storing results.

The order of every reduction follows from the windows alone. Largest: of equals the first in row order, and a NaN before all. Where
elements come in row order, a value wins if it is strictly better than those before it; where parts of a window are joined in another
order, equal values are told apart by their places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.emit import I32, I64, Emitter, Int, Type, Value, Var

SCALARS = {
    "int8": "i8", "uint8": "i8", "int16": "i16", "uint16": "i16", "int32": "i32", "uint32": "i32", "int64": "i64", "uint64": "i64",
    "float16": "f16", "float32": "f32", "float64": "f64",
}  # fmt: skip
PLACES = "w"  # the word of the row that points to places, int64, one for each output or, matched, for each element
BESIDE = "w"  # or to what results are multiplied by, which lies as they do
AHEAD = 4096  # bytes that are asked for beforehand: what the processor expects by itself ends with a page
FAULT = "bias"  # the word that points to what is 1 when a place that was given lies outside its plane


@dataclass(frozen=True)
class PoolingCode:
    """Everything that the code depends on; sizes, strides and windows are arguments and tables."""

    x: str
    y: str
    total: str  # the type in which values are compared or added
    largest: bool  # else the sum
    before: str | None  # of each element: "abs", "square"
    after: str | None  # of each result: "divide" or "scale" by the table of weights, "root", "times" the element beside it
    even: bool  # that table is a single number
    places: str | None  # "i32" or "i64" while they are compared, None where they are not wanted
    matched: bool  # an element counts only for the output that its place, which is read, names
    axes: int
    lanes: str  # "channels", "planes", "whole", "slide", "spread", "run", "steps"
    stride: int  # of a slide or spread
    window: int  # of a slide whose taps are written one after the other, else 0
    phase: int  # of a spread: low padding modulo the stride
    long: bool  # of a run: whether windows fill vectors
    vectors: int  # that go down the outer taps together
    portions: tuple[bool, ...] = ()  # axes along which elements are multiplied by their places' portions, of a table
    far: bool = False  # rows are read from beyond the second cache, so asked for
    together: int = 1  # rows that go down before they are reduced along themselves
    lined: bool = False  # small planes go down into lines before they are turned into pixels

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "step", "lin", "xs", "ys", "map_first", "map_count", "map_weight", "map_portion")
        axes = tuple(f"{field}{axis}" for axis in range(self.axes) for field in fields)
        return (
            *HEAD, *axes, "channels", "xs_n", "xs_c", "pixels", "bands", "band",
            "blocks", "block", "size", "low", "window", "dilation", "meets", "line", "line_all", "steps", "map_ends", "plane",
            "planes", "results", "tags", "lines", "lined",
        )  # fmt: skip


Pair = tuple[Value, Value | None]  # a value and its place


class Output(NamedTuple):
    """An output along some axes: where its first tap lies, that one's flat place, the output's number, the product of the weights, if
    there are any, and along each axis how many taps it has and which element is the first."""

    source: Value
    flat: Value
    number: Value
    weight: Value | None
    counts: list[Value]
    firsts: list[Value]


class Best:
    """What a window has come to so far, lane by lane."""

    def __init__(self, e: Emitter, code: PoolingCode, type: Type, place: Value | None):
        self.e, self.code = e, code
        self.value = Var(e, type, neutral(e, code, type))
        self.place = None if place is None else Var(e, place.type, place)

    def get(self) -> Pair:
        """The value and its place."""
        return self.value.get(), None if self.place is None else self.place.get()

    def set(self, pair: Pair) -> None:
        """Forget what came before."""
        self.value.set(pair[0])
        if self.place is not None and pair[1] is not None:
            self.place.set(pair[1])

    def meet(self, value: Value, place: Value | None, portion: Value | None = None) -> None:
        """Take in an element that comes later in row order; of a sum its portion."""
        e, code = self.e, self.code
        if portion is not None:
            self.value.set(e.fma(value, e.splat(portion, value.type.lanes) if value.type.lanes else portion, self.value.get()))
            return
        if code.before == "abs":
            value = e.intrinsic("fabs", value.type, value)
        best = self.value.get()
        if not code.largest:
            self.value.set(e.fma(value, value, best) if code.before == "square" else e.arith("fadd", best, value))
            return
        if self.place is None or place is None:
            self.value.set(_larger(e, code, value, best))
            return
        take = _wins(e, code, value, best)
        self.value.set(e.select(take, value, best))
        self.place.set(e.select(take, place, self.place.get()))

    def join(self, other: Pair) -> None:
        """Take in another part of the window, whose elements may come earlier or later."""
        self.set(joined(self.e, self.code, self.get(), other))


def greater(e: Emitter, one: Value, other: Value) -> Value:
    """The greater of places, lane by lane; a negative one is greater than all others."""
    return e.select(e.compare("ugt", one, other), one, other)


def strays(e: Emitter, greatest: Value, plane: Value) -> Value:
    """Whether the greatest of some places, or one of its lanes, lies outside a plane of so many elements."""
    lanes = greatest.type.lanes
    outside = e.compare("uge", greatest, e.splat(plane, lanes) if lanes else plane)
    return e.any_lane(outside) if lanes else outside


def tell(e: Emitter, a: Arguments, fault: Value) -> None:
    """Let the caller know of a fault; threads that find one all write the same."""
    with e.when(fault):
        e.store(e.integer(1), a[FAULT])


def neutral(e: Emitter, code: PoolingCode, type: Type) -> Value:
    """What changes no result."""
    if not code.largest or code.x.startswith("uint"):
        return e.zero(type)
    return e.const(type, float("-inf") if type.floating else -(2 ** (8 * Type(type.scalar).bytes - 1)))


def beyond(e: Emitter, type: Type) -> Value:
    """A place after all others."""
    return e.const(type, 2 ** (8 * Type(type.scalar).bytes - 1) - 1)


def _greater(code: PoolingCode, type: Type) -> str:
    """The predicate of "greater", which for floating-point numbers also holds if one is NaN."""
    return "ugt" if type.floating or code.x.startswith("uint") else "sgt"


def _wins(e: Emitter, code: PoolingCode, value: Value, best: Value) -> Value:
    """Where a value is strictly better: greater, or a NaN met by a number."""
    wins = e.compare(_greater(code, value.type), value, best)
    return e.arith("and", wins, e.compare("ord", best, best)) if value.type.floating else wins


def _larger(e: Emitter, code: PoolingCode, value: Value, best: Value) -> Value:
    """The better of two values, the second one of equals; one instruction for the maximum and two for NaN."""
    if not value.type.floating:
        return e.select(e.compare(_greater(code, value.type), value, best), value, best)
    larger = e.select(e.compare("ogt", value, best), value, best)
    return e.select(e.compare("uno", value, value), value, larger)


def joined(e: Emitter, code: PoolingCode, one: Pair, other: Pair) -> Pair:
    """Two parts of a window as one; of equals the one with the smaller place."""
    (best, place), (value, at) = one, other
    if not code.largest:
        return e.arith("fadd", best, value), None
    if place is None or at is None:
        return _larger(e, code, value, best), None
    worse = _wins(e, code, best, value)
    earlier = e.compare("slt", at, place)
    tied = e.select(worse, e.zero(earlier.type), earlier)
    take = e.arith("or", _wins(e, code, value, best), tied)
    return e.select(take, value, best), e.select(take, at, place)


def read(e: Emitter, code: PoolingCode, pointer: Value, type: Type, count: Value | None = None) -> Value:
    """Elements of the input in the type of the sum; the first `count`, zeros in the other lanes."""
    stored = type.of(SCALARS[code.x])
    value = e.load(stored, pointer) if count is None else e.load_first(stored, pointer, count)
    if stored == type:
        return value
    if stored.floating:
        return e.convert("fpext", value, type.scalar)
    return e.convert("uitofp" if code.x.startswith("uint") else "sitofp", value, type.scalar)


class WindowLoop:
    """What both loops share: types, tables, taps."""

    def __init__(self, e: Emitter, code: PoolingCode, a: Arguments):
        self.e, self.code, self.a = e, code, a
        self.total = Type(code.total)
        self.vector = e.vector(code.total)
        self.lanes = self.vector.lanes
        self.x_bytes, self.y_bytes = Type(SCALARS[code.x]).bytes, Type(SCALARS[code.y]).bytes
        self.factor = e.load(self.total, a["map_weight0"]) if code.even else None

    @property
    def weighted(self) -> bool:
        """Whether each output has a factor of its own."""
        return self.code.after in ("divide", "scale") and not self.code.even

    def finish(self, value: Value, weight: Value | None) -> Value:
        """The stored form of a result. weight: its own factor."""
        e, code = self.e, self.code
        if self.factor is not None:
            weight = e.splat(self.factor, value.type.lanes) if value.type.lanes else self.factor
        if code.after == "root":
            value = e.intrinsic("sqrt", value.type, value)
        elif weight is not None:
            value = e.arith("fdiv" if code.after == "divide" else "fmul", value, weight)
        out = SCALARS[code.y]
        return value if value.type.scalar == out else e.convert("fptrunc", value, out)

    def times(self, value: Value, number: Value, count: Value | None = None) -> Value:
        """A result by the elements beside it, of which the first `count` may be looked at, if that is wanted of results."""
        if self.code.after != "times":
            return value
        e, pointer = self.e, self.a[BESIDE] + number * self.total.bytes
        if count is None:
            return e.arith("fmul", value, e.load(value.type, pointer))
        if e.masks:
            return e.arith("fmul", value, e.load_first(value.type, pointer, count))
        room = e.stack(value.type)
        e.store(e.zero(value.type), room)
        with e.loop(0, e.least(count, value.type.lanes)) as lane:
            e.store(e.load(self.total, pointer + lane * self.total.bytes), room + lane * self.total.bytes)
        return e.arith("fmul", value, e.load(value.type, room))

    def place(self, flat: Value, lanes: int) -> Value | None:
        """A flat place in every lane."""
        if self.code.places is None:
            return None
        scalar = flat if self.code.places == "i64" else self.e.emit(I32, f"trunc {flat} to i32")
        return self.e.splat(scalar, lanes) if lanes else scalar

    def first(self, source: Value) -> Output:
        """Where walks begin."""
        e = self.e
        return Output(source, e.integer(0), e.integer(0), e.const(self.total, 1.0) if self.weighted else None, [], [])

    def ends(self, axis: int, band: Value) -> tuple[Value, Value]:
        """The outputs along an axis; of the first one those of a band."""
        a, low = self.a, band * self.a["band"]
        return (self.e.integer(0), a[f"out{axis}"]) if axis else (low, self.e.least(low + a["band"], a["out0"]))

    def entered(self, axis: int, p: Value, at: Output) -> Output:
        """Output p along an axis, of those that begin with `at`."""
        e, a = self.e, self.a
        first, count = (e.load(I64, a[f"map_{table}{axis}"] + p * 8) for table in ("first", "count"))
        weight = at.weight
        if weight is not None:
            weight = e.arith("fmul", weight, e.load(self.total, a[f"map_weight{axis}"] + p * self.total.bytes))
        source, flat = at.source + first * a[f"xs{axis}"], at.flat + first * a[f"lin{axis}"]
        return Output(source, flat, at.number + p * a[f"ys{axis}"], weight, [*at.counts, count], [*at.firsts, first])

    def walk(self, axes: int, band: Value, at: Output, visit: Callable[[Output], None]) -> None:
        """Visit the outputs of a band along the first of some axes."""

        def along(axis: int, at: Output) -> None:
            if axis == axes:
                visit(at)
                return
            with self.e.loop(*self.ends(axis, band)) as p:
                along(axis + 1, self.entered(axis, p, at))

        along(0, at)

    def taps(self, at: Output, visit: Callable[[Value, Value, Value | None], None]) -> None:
        """Visit the taps of a window in row order: where they lie, their flat places, the product of their portions if there are any."""
        e, a = self.e, self.a

        def along(axis: int, source: Value, flat: Value, portion: Value | None) -> None:
            if axis == len(at.counts):
                visit(source, flat, portion)
                return
            hop, turn = a[f"step{axis}"] * a[f"xs{axis}"], a[f"step{axis}"] * a[f"lin{axis}"]
            with e.loop(0, at.counts[axis]) as tap:
                own = self.portion(axis, at.firsts[axis] + tap * a[f"step{axis}"], self.total)
                product = portion if own is None else own if portion is None else e.arith("fmul", portion, own)
                along(axis + 1, source + tap * hop, flat + tap * turn, product)

        along(0, at.source, at.flat, None)

    def portion(self, axis: int, element: Value, type: Type, count: Value | None = None) -> Value | None:
        """What elements from one on along an axis are multiplied by, if there is a table of that; of the first `count`."""
        if not any(self.code.portions[axis : axis + 1]):
            return None
        pointer = self.a[f"map_portion{axis}"] + element * self.total.bytes
        return self.e.load(type, pointer) if count is None else self.e.load_first(type, pointer, count)

    def down(
        self,
        at: Output,
        start: Value,
        stop: Value,
        values_at: Callable[[Value], Value],
        places_at: Callable[[Value], Value] | None = None,
        origin: Int = 0,
    ) -> None:
        """The outer taps at columns i of a row, for start <= i < stop, at values_at(i) and places_at(i); `at` is the output at column 0,
        which is the row's element `origin`."""
        e, code = self.e, self.code

        def tile(columns: list[Value], type: Type, count: Value | None = None) -> None:
            bests = [Best(e, code, type, self.place(at.flat, type.lanes)) for _ in columns]

            def meet(tap: Value, flat: Value, portion: Value | None) -> None:
                place = self.place(flat, type.lanes)
                for i, best in zip(columns, bests, strict=True):
                    if code.far:
                        e.prefetch(tap + i * self.x_bytes + AHEAD, 1)
                    best.meet(read(e, code, tap + i * self.x_bytes, type, count), place, portion)

            self.taps(at, meet)
            for i, best in zip(columns, bests, strict=True):
                value, place = best.get()
                own = self.portion(code.axes - 1, origin + i, type, count)
                value = value if own is None else e.arith("fmul", value, own)
                goals = [(value, values_at(i))]
                column = self.place(i, type.lanes)
                if place is not None and column is not None and places_at is not None:
                    if type.lanes:
                        column = column + e.lane_numbers(column.type)
                    goals.append((place + column, places_at(i)))
                for stored, goal in goals:
                    if count is None:
                        e.store(stored, goal)
                    else:
                        e.store_first(stored, goal, count)

        narrow = e.compare("slt", stop - start, e.integer(self.lanes))
        with e.otherwise(narrow), e.loop(start, stop, self.lanes * code.vectors) as i:
            tile([e.least(i + v * self.lanes, stop - self.lanes) for v in range(code.vectors)], self.vector)  # the last ones overlap
        with e.when(narrow):
            if e.masks:
                tile([start], self.vector, stop - start)
            else:
                with e.loop(start, stop) as i:
                    tile([i], self.total)

    def put(self, pair: Pair, weight: Value | None, number: Value, count: Value | None = None) -> None:
        """Store results from the output's element `number` on; the first `count` lanes."""
        e, a = self.e, self.a
        value = self.times(self.finish(pair[0], weight), number, count)
        goals = [(value, a["y"] + number * self.y_bytes)]
        if pair[1] is not None:
            place = pair[1] if self.code.places == "i64" else e.convert("sext", pair[1], "i64")
            goals.append((place, a[PLACES] + number * 8))
        for stored, goal in goals:
            if count is None:
                e.store(stored, goal)
            else:
                e.store_first(stored, goal, count)
