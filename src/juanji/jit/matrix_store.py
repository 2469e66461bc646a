"""How the matrix tile's sums leave: row by row as pixels or planes, or plane by plane from squares that are transposed."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from juanji.jit import tiles
from juanji.jit.activations import activate
from juanji.jit.arguments import Arguments
from juanji.jit.channel import in_one_row, scatter_squares, store_squares
from juanji.jit.elements import SCALARS, finish, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Type, Value
from juanji.jit.matrix_code import MatrixCode


class Sums(NamedTuple):
    """Where a tile's sums wait; its pixels, counted in the chunk; where the chunk's first one goes, and how many features there are."""

    at: Value
    first: Value
    end: Value
    goal: Value
    features: Value


class Leaving:
    """The sums that wait, none at first, and how many of their rows have left: pixels or features, or all in one."""

    def __init__(self, e: Emitter, code: MatrixCode, a: Arguments):
        self.e, self.code, self.a = e, code, a
        nothing, nowhere = e.integer(0), Value(e, PTR, "null")
        self.sums = [e.var(value.type, value) for value in (nowhere, nothing, nothing, nowhere, nothing)]
        self.left, self.all = e.var(I64, nothing), e.var(I64, nothing)

    def set(self, sums: Sums, there: Value) -> None:
        """Others wait now, if there are any."""
        e, code = self.e, self.code
        for var, value in zip(self.sums, sums, strict=True):
            var.set(value)
        count = sums.features if code.planar else e.integer(1) if code.turned_out else sums.end - sums.first
        self.left.set(e.integer(0))
        self.all.set(e.select(there, count, e.integer(0)))

    def leave(self, count: Value | None = None) -> None:
        """So many rows leave, or all that are left."""
        e, code, left, end = self.e, self.code, self.left.get(), self.all.get()
        with e.when(e.compare("slt", left, end)):
            to = end if count is None else e.least(left + count, end)
            sums = Sums(*(var.get() for var in self.sums))
            if code.planar:
                _store_rows(e, code, self.a, sums, (left, to))
            elif code.channels_last_y:
                _store_pixels(e, code, self.a, sums, (sums.first + left, sums.first + to))
            else:
                _store_planes(e, code, self.a, sums)
            self.left.set(to)


def _step_to(e: Emitter, code: MatrixCode, a: Arguments, pixel: Value) -> Value:
    """Bytes from the output of a chunk's first pixel to that of another."""
    return e.load(I64, a["map_goals"] + pixel * 8, 8) if code.gaps else pixel * a["ys_p"]


def _sums_of(e: Emitter, a: Arguments, sums: Sums, pixel: Value) -> Value:
    return sums.at + e.load(I64, a["map_sums"] + pixel * 8, 8)


def _parameter(e: Emitter, code: MatrixCode, a: Arguments) -> Value:
    return e.load(Type(SCALARS[code.total]), a["constants"] + code.axes * 8)


def _finish(e: Emitter, code: MatrixCode, total: Value, parameter: Value) -> Value:
    """A vector of sums as it is stored."""
    if code.y == "bfloat16":
        return tiles.bfloat16(e, activate(e, total, code.activation, parameter))
    return finish(e, total, code.y, code.activation, parameter, code.narrowing)


def _finish_row(e: Emitter, code: MatrixCode, sums: list[Value], parameter: Value) -> list[Value]:
    """Neighbouring vectors of sums as they are stored."""
    if code.y != "bfloat16" or len(sums) % 2:
        return [_finish(e, code, value, parameter) for value in sums]
    active = [activate(e, value, code.activation, parameter) for value in sums]
    return [tiles.bfloat16_pair(e, low, high) for low, high in zip(active[::2], active[1::2], strict=True)]


def _load_row(e: Emitter, code: MatrixCode, at: Value, count: int) -> list[Value]:
    vector = e.vector(SCALARS[code.total])
    return [e.load(vector, at + place) for place in range(0, count * tiles.ROWS * 4, vector.bytes)]


def _store_first(e: Emitter, values: list[Value], goal: Value, count: Value) -> None:
    """The first numbers of a row."""
    for number, value in enumerate(values):
        lanes = value.type.lanes
        e.store_first(value, goal + number * value.type.bytes, e.most(e.least(count - number * lanes, lanes), 0))


def _store_pixels(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, pixels: tuple[Value, Value]) -> None:
    """Finished sums, each pixel's features where they belong."""
    out, parameter, width, goal = Type(SCALARS[code.y]), _parameter(e, code, a), tiles.ROWS * code.columns, sums.goal
    whole = e.compare("eq", sums.features, e.integer(width))

    def finished(pixel: Value) -> list[Value]:
        return _finish_row(e, code, _load_row(e, code, _sums_of(e, a, sums, pixel), code.columns), parameter)

    with e.when(whole):
        past = e.streamable(width * out.bytes, a["stream"], goal, a["ys_p"])
        for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
            with condition, e.loop(*pixels) as pixel:
                place = goal + _step_to(e, code, a, pixel)
                for number, value in enumerate(finished(pixel)):
                    put(value, place + number * value.type.bytes)
    with e.otherwise(whole), e.loop(*pixels) as pixel:
        _store_first(e, finished(pixel), goal + _step_to(e, code, a, pixel), sums.features)


def _store_rows(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, features: tuple[Value, Value]) -> None:
    """The same where a row of sums is a feature's pixels, which lie side by side in the output."""
    parameter, count = _parameter(e, code, a), sums.end - sums.first
    goal = sums.goal + sums.first * a["ys_p"]

    def finished(feature: Value) -> list[Value]:
        return _finish_row(e, code, _load_row(e, code, sums.at + feature * (code.rows * LINE), code.rows), parameter)

    whole = e.compare("eq", count, e.integer(tiles.ROWS * code.rows))
    with e.when(whole), e.loop(*features) as feature:
        for number, value in enumerate(finished(feature)):
            e.store(value, goal + feature * a["ys_c"] + number * value.type.bytes)
    with e.otherwise(whole), e.loop(*features) as feature:
        _store_first(e, finished(feature), goal + feature * a["ys_c"], count)


def _store_planes(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums) -> None:
    """The same plane by plane: squares of pixels × features are transposed."""
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes, end, features = vector.lanes, sums.end, sums.features
    parameter, buffer = _parameter(e, code, a), e.stack(Type(out.scalar, lanes), lanes)
    with e.loop(sums.first, end, lanes) as p:
        sources = [_sums_of(e, a, sums, e.least(p + i, end - 1)) for i in range(lanes)]
        count = e.least(end - p, lanes)
        with e.loop(0, features, lanes) as f:
            columns = transpose(e, [e.load(vector, source + f * 4) for source in sources])
            stored = [_finish(e, code, column, parameter) for column in columns]
            start, size = sums.goal + f * a["ys_c"], (e.least(features - f, lanes), count)
            if code.gaps:
                places = partial(_place, e, code, a, start, p)
                scatter_squares(e, stored, (buffer, places), a["ys_c"], size, code.step, in_one_row(e, code.axes, a, p, count))
            else:
                store_squares(e, stored, buffer, start + p * a["ys_p"], a["ys_c"], size)


def _place(e: Emitter, code: MatrixCode, a: Arguments, start: Value, p: Value, lane: Int) -> Value:
    """Where a pixel of a square goes, counted from its first."""
    return start + _step_to(e, code, a, p + lane)
