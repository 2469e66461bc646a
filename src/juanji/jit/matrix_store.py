"""How the matrix tile's sums leave: row by row as pixels or planes, or plane by plane from squares that are transposed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from juanji.jit import tiles
from juanji.jit.activations import activate
from juanji.jit.arguments import Arguments
from juanji.jit.channel import rows_from, scatter_squares, store_squares
from juanji.jit.elements import SCALARS, finish, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Type, Value
from juanji.jit.lanes import interleaved
from juanji.jit.matrix_code import MatrixCode


class Sums(NamedTuple):
    """Where a register tile's sums wait; its number, pixels of its chunk; where the chunk's first one goes, how many features there are."""

    at: Value
    tile: Value
    pixels: Value
    goal: Value
    features: Value

    def runs(self, e: Emitter, code: MatrixCode, a: Arguments) -> list[Run]:
        """Its pixels, counted in the chunk."""
        count = code.rows if code.lines else 1
        table = a["map_firsts"] + self.tile * (count * (16 if code.lines else 8))
        found = list[Run]()
        for i in range(count):
            first, end = (e.load(I64, table + (2 * i + k) * 8, 8) for k in range(2))
            found.append(Run(first, e.most(e.least(end, self.pixels) - first, 0), i, code.rows // count))
        return found

    def there(self, e: Emitter, code: MatrixCode, a: Arguments) -> Value:
        """Whether it has any."""
        first, *others = self.runs(e, code, a)
        count = first.length
        for run in others:
            count = count + run.length
        return e.compare("sgt", count, e.integer(0))


class Run(NamedTuple):
    """Pixels that follow each other in the output: the first, how many; in which row of accumulators they begin, in how many they lie."""

    first: Value
    length: Value
    row: int
    rows: int


class Leaving:
    """The sums that wait, none at first, and how many of their pieces have left: pixels or features, or squares of both."""

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
        count = sums.features if code.planar else sums.runs(e, code, self.a)[0].length
        if code.squares:
            lanes = e.vector(SCALARS[code.total]).lanes
            count = (count + (lanes - 1)) // lanes
        self.left.set(e.integer(0))
        self.all.set(e.select(there, count, e.integer(0)))

    def leave(self, count: Value | None = None) -> None:
        """So many pieces leave, or all that are left."""
        e, code, left, end = self.e, self.code, self.left.get(), self.all.get()
        with e.when(e.compare("slt", left, end)):
            to = end if count is None else e.least(left + count, end)
            _store(code)(e, code, self.a, Sums(*(var.get() for var in self.sums)), (left, to))
            self.left.set(to)


def _store(code: MatrixCode) -> Callable[[Emitter, MatrixCode, Arguments, Sums, tuple[Value, Value]], None]:
    """What stores pieces of sums."""
    if code.phases > 1:
        return _store_phases
    if code.planar:
        return _store_squares if code.squares else _store_rows
    return _store_planes if code.squares else _store_pixels


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


def _store_pixels(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, pieces: tuple[Value, Value]) -> None:
    """Finished sums, each pixel's features where they belong."""
    [run] = sums.runs(e, code, a)
    pixels = run.first + pieces[0], run.first + pieces[1]
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


def _store_rows(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, pieces: tuple[Value, Value]) -> None:
    """The same where a row of sums is a feature's pixels, which lie side by side in the output."""
    parameter, runs = _parameter(e, code, a), sums.runs(e, code, a)
    goals = [sums.goal + run.first * a["ys_p"] for run in runs]

    def finished(feature: Value, run: Run) -> list[Value]:
        return _finish_row(e, code, _load_row(e, code, sums.at + (feature * code.rows + run.row) * LINE, run.rows), parameter)

    missing = e.integer(tiles.ROWS * code.rows)
    for run in runs:
        missing = missing - run.length
    whole = e.compare("eq", missing, e.integer(0))
    with e.when(whole), e.loop(*pieces) as feature:
        for run, goal in zip(runs, goals, strict=True):
            for number, value in enumerate(finished(feature, run)):
                e.store(value, goal + feature * a["ys_c"] + number * value.type.bytes)
    with e.otherwise(whole), e.loop(*pieces) as feature:
        for run, goal in zip(runs, goals, strict=True):
            _store_first(e, finished(feature, run), goal + feature * a["ys_c"], run.length)


def _store_phases(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, pieces: tuple[Value, Value]) -> None:
    """The same of several phases of a line, whose pixels take turns in the output."""
    parameter, runs = _parameter(e, code, a), sums.runs(e, code, a)
    goals = [sums.goal + _step_to(e, code, a, run.first) for run in runs]

    def finished(feature: Value, run: Run) -> list[Value]:
        at = sums.at + (feature * code.rows + run.row) * LINE
        planes = [_load_row(e, code, at + phase * code.sums, 1) for phase in range(code.phases)]
        together = zip(*([_finish(e, code, value, parameter) for value in plane] for plane in planes), strict=True)
        return [value for vectors in together for value in interleaved(e, list(vectors))]

    for run, goal in zip(runs, goals, strict=True):
        whole = e.compare("eq", run.length, e.integer(tiles.ROWS))
        with e.when(whole), e.loop(*pieces) as feature:
            for number, value in enumerate(finished(feature, run)):
                e.store(value, goal + feature * a["ys_c"] + number * value.type.bytes)
        with e.otherwise(whole), e.when(e.compare("sgt", run.length, e.integer(0))), e.loop(*pieces) as feature:
            _store_first(e, finished(feature, run), goal + feature * a["ys_c"], run.length * code.phases)


def _store_squares(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, pieces: tuple[Value, Value]) -> None:
    """The same where they do not: squares of features × pixels are scattered over planes, or transposed to pixels."""
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes, parameter = vector.lanes, _parameter(e, code, a)
    buffer, pitch = e.stack(Type(out.scalar, lanes), lanes), a[f"ys{code.axes - 1}"]
    with e.loop(*pieces) as piece:
        f = piece * lanes
        features, start = e.least(sums.features - f, lanes), sums.goal + f * a["ys_c"]
        for run in sums.runs(e, code, a):
            for first in range(0, tiles.ROWS, lanes):
                p, count = run.first + first, e.least(run.length - first, lanes)
                corner = sums.at + (f * code.rows + run.row) * LINE + first * 4
                rows = [e.load(vector, corner + i * (code.rows * LINE)) for i in range(lanes)]
                with e.when(e.compare("sgt", count, e.integer(0))):
                    if code.channels_last_y:
                        stored = [_finish(e, code, row, parameter) for row in transpose(e, rows)]
                        store_squares(e, stored, buffer, start + _step_to(e, code, a, p), pitch, (count, features))
                    else:
                        stored = [_finish(e, code, row, parameter) for row in rows]
                        places = partial(_place, e, code, a, start, p)
                        scatter_squares(e, stored, places, a["ys_c"], (features, count), code.step, (count, count))


def _store_planes(e: Emitter, code: MatrixCode, a: Arguments, sums: Sums, pieces: tuple[Value, Value]) -> None:
    """The same plane by plane where a row of sums is a pixel's features: squares are transposed."""
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes, features = vector.lanes, sums.features
    parameter, buffer = _parameter(e, code, a), e.stack(Type(out.scalar, lanes), lanes)
    [run] = sums.runs(e, code, a)
    end = run.first + run.length
    with e.loop(*pieces) as piece:
        p = run.first + piece * lanes
        sources = [_sums_of(e, a, sums, e.least(p + i, end - 1)) for i in range(lanes)]
        count = e.least(end - p, lanes)
        with e.loop(0, features, lanes) as f:
            columns = transpose(e, [e.load(vector, source + f * 4) for source in sources])
            stored = [_finish(e, code, column, parameter) for column in columns]
            start, size = sums.goal + f * a["ys_c"], (e.least(features - f, lanes), count)
            if code.gaps:
                places = partial(_place, e, code, a, start, p)
                scatter_squares(e, stored, places, a["ys_c"], size, code.step, rows_from(code.axes, a, p))
            else:
                store_squares(e, stored, buffer, start + p * a["ys_p"], a["ys_c"], size)


def _place(e: Emitter, code: MatrixCode, a: Arguments, start: Value, p: Value, lane: Int) -> Value:
    """Where a pixel of a square goes, counted from its first."""
    return start + _step_to(e, code, a, p + lane)
