"""Both operands of the gradient of shared weights as the matrix unit reads them: planes of x, words of dy.

    planes     panel[part][channel][place]: the padded input under a chunk, numbers of the unit; a row of a tile is 32 neighbours of a plane
    words      panel[part][block of 16 features][pair of positions][feature][2]: 16 pairs are a tile

Positions of outputs are counted through the rows of a plane, gaps between rows included: there stand zeros in the words, so that a run of
positions goes on from row to row. With a stride the places of one phase lie together, as in `matrix_panels`.

One operand of two has to be turned: of channels-first arrays dy, of channels-last ones x. The other's numbers are cut as they lie. What is
written in squares goes on behind the end of a line: with the line's last pixel, or with zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Type, Value
from juanji.jit.matrix_outer_code import MatrixOuterCode
from juanji.jit.panels import line_filler, outer_step, pixel_filler
from juanji.jit.words import rows, words

PAIR = 2  # positions of a word
PLACE = LINE // PAIR  # bytes of a position in a block of words
AHEAD = 2  # planes


def emit_panels(e: Emitter, code: MatrixOuterCode) -> None:
    """Emits the functions that `fill_planes` and `fill_words` call."""
    if not code.in_place:
        (line_filler if code.planar else pixel_filler)(e, code.line, code.names)
    if code.planar:
        _emit_cut(e, code)
        _emit_turned_words(e, code)
    else:
        _emit_turn(e, code)
        _emit_words(e, code)


# x ----------------------------------------------------------------------------------------------------------------------------


def fill_planes(e: Emitter, code: MatrixOuterCode, a: Arguments, origin: list[Value], extent: list[Value], xs: Value) -> None:
    """The input under a chunk: plane by plane, or line by line of pixels; through lines of float32 where it cannot be read in place."""
    last, planes, waiting = code.axes - 1, a["scratch"] + a["planes"], a["scratch"]
    first = origin[last] * a[f"stride{last}"]
    count = (extent[last] - 1) * a[f"stride{last}"] + a[f"reach{last}"]

    def turn(place: Value, source: Value, outside: Value) -> None:
        goal = planes + place * PAIR
        if code.in_place:
            e.call("turn", a.row, goal, source + first * a["xs_w"], a["xs_w"], count)
            return
        e.call("fill_line", a.row, waiting, source, outside, first, count)
        e.call("turn", a.row, goal, waiting, a["pixel"], count)

    def fill(place: Value, source: Value, outside: Value) -> None:
        e.call("fill_line", a.row, waiting + place * 4, source, outside, first, count)

    if not code.planar:
        _each_line(e, code, a, (origin, extent), xs, turn)
        return
    with e.loop(0, a["channels"]) as c:
        plane, source = planes + c * a["plane"], xs + c * a["xs_c"]
        if code.in_place:
            e.call("cut", a.row, plane, source + first * a["xs_w"], count)
        else:
            _each_line(e, code, a, (origin, extent), source, fill)
            e.call("cut", a.row, plane, waiting, a["run"])


def _each_line(
    e: Emitter,
    code: MatrixOuterCode,
    a: Arguments,
    box: tuple[list[Value], list[Value]],
    xs: Value,
    each: Callable[[Value, Value, Value], None],
) -> None:
    """each(its place in a plane, where the input continues, the constant that it consists of or null) for every line under a chunk."""
    origin, extent = box

    def walk(axis: int, place: Value, source: Value, outside: Value) -> None:
        if axis == code.axes - 1:
            each(place, source, outside)
            return
        stride, reach = a[f"stride{axis}"], (extent[axis] - 1) * a[f"stride{axis}"] + a[f"reach{axis}"]
        with e.loop(0, a[f"phases{axis}"]) as phase, e.loop(0, (reach - phase + stride - 1) // stride) as j:
            at, constant = (origin[axis] + j) * stride + phase, a["constants"] + axis * 4
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
            walk(axis + 1, place + phase * a[f"apart{axis}"] + j * a[f"pitch{axis}"], *inner)

    walk(0, e.integer(0), xs, Value(e, PTR, "null"))


def _emit_cut(e: Emitter, code: MatrixOuterCode) -> None:
    """Emits cut(row of arguments, plane, source, count): neighbours in parts, zeros behind them up to the plane's end."""
    vector = e.vector("f32")
    dtype, size = code.waiting
    step = PAIR * vector.lanes
    with e.function("cut", PTR, PTR, PTR, I64, internal=True) as (row, plane, source, count):
        a = Arguments(e, row, code.names)

        def put(i: Value, left: Value | None) -> None:
            pair = []
            for first in range(0, step, vector.lanes):
                known = None if left is None else e.most(left - first, 0)
                pair.append(read(e, source + (i + first) * size, dtype, vector, known))
            for part, numbers in enumerate(rows(e, pair, code.parts)):
                e.store(numbers, plane + a["part_x"] * part + i * PAIR)

        whole = count // step * step
        with e.loop(0, whole, step) as i:
            if code.in_place:  # planes lie apart: what the next ones are cut from is asked for
                for first in range(0, step * size, LINE):
                    e.prefetch(source + a["xs_c"] * AHEAD + i * size + first, 1)
            put(i, None)
        with e.loop(whole, a["run"], step) as i:
            put(i, count - i)


def _emit_turn(e: Emitter, code: MatrixOuterCode) -> None:
    """Emits turn(row of arguments, place in the first plane, source, pitch, count): a line of pixels, in squares of words."""
    vector = e.vector("f32")
    lanes, last = vector.lanes, code.axes - 1
    dtype, size = code.waiting
    square = lanes * vector.bytes
    with e.function("turn", PTR, PTR, PTR, I64, I64, internal=True) as (row, goal, source, pitch, count):
        a = Arguments(e, row, code.names)
        stride, lying = a[f"stride{last}"], e.stack(vector, code.parts * lanes)
        with e.loop(0, a[f"phases{last}"]) as phase:
            many = (count - phase + stride - 1) // stride
            begin, plane = source + phase * pitch, goal + phase * a[f"apart{last}"] * PAIR
            with e.loop(0, many, PAIR * lanes) as j, e.loop(0, a["channels"], lanes) as c:
                with e.loop(0, lanes) as k:
                    places = [e.least(j + k * PAIR + i, many - 1) * stride * pitch for i in range(PAIR)]
                    pixels = [read(e, begin + place + c * size, dtype, vector, a["channels"] - c) for place in places]
                    for part, value in enumerate(words(e, pixels, code.parts)):
                        e.store(value, lying + part * square + k * vector.bytes)
                _transposed(e, code, lying, plane + c * a["plane"] + j * PAIR, a["plane"], a["part_x"])


def _transposed(e: Emitter, code: MatrixOuterCode, lying: Value, goal: Value, pitch: Value, apart: Value) -> None:
    """Squares of words, one for each part, leave transposed, their rows `pitch` bytes apart."""
    vector = e.vector("i32")
    with e.loop(0, code.parts) as part:
        lines = [e.load(vector, lying + part * (vector.lanes * vector.bytes) + k * vector.bytes) for k in range(vector.lanes)]
        for k, line in enumerate(transpose(e, lines)):
            e.store(line, goal + apart * part + k * pitch)


# dy ---------------------------------------------------------------------------------------------------------------------------


def fill_words(e: Emitter, code: MatrixOuterCode, a: Arguments, extent: list[Value], dys: Value, features: Value) -> None:
    """dy under a chunk, of so many features."""
    lanes, last = e.vector("f32").lanes, code.axes - 1

    def walk(axis: int, source: Value, goal: Value, count: Value) -> None:
        if axis == last:
            e.call("fill_words", a.row, goal, source, extent[last], count)
            return
        with e.loop(0, extent[axis]) as j:
            walk(axis + 1, source + j * a[f"gs{axis}"], goal + j * a[f"pitch{axis}"] * PLACE, count)

    panel = a["scratch"] + a["words"]
    if not code.planar:
        walk(0, dys, panel, features)
        return
    with e.loop(0, features, lanes) as f:
        walk(0, dys + f * a["gs_c"], _block(a, panel, f), features - f)


def _block(a: Arguments, goal: Value, f: Value) -> Value:
    """Where the words of a feature lie."""
    block = LINE // 4
    return goal + f // block * a["words_f"] + f % block * 4


def _emit_words(e: Emitter, code: MatrixOuterCode) -> None:
    """Emits fill_words(row of arguments, goal, source, count, features): a line of positions, channels-last."""
    vector, size, gs = e.vector("f32"), Type(SCALARS[code.dy]).bytes, f"gs{code.axes - 1}"
    step = PAIR * vector.lanes
    with e.function("fill_words", PTR, PTR, PTR, I64, I64, internal=True) as (row, goal, source, count, features):
        a = Arguments(e, row, code.names)
        with e.loop(0, (count + (step - 1)) // step * step, PAIR) as p, e.loop(0, features, vector.lanes) as f:
            pixels = []
            for i in range(PAIR):
                there = e.compare("slt", p + i, count)
                known, at = e.select(there, features - f, e.integer(0)), e.select(there, p + i, e.integer(0))
                pixels.append(read(e, source + at * a[gs] + f * size, code.dy, vector, known))
            for part, value in enumerate(words(e, pixels, code.parts)):
                e.store(value, _block(a, goal, f) + a["part_dy"] * part + p * PLACE)


def _emit_turned_words(e: Emitter, code: MatrixOuterCode) -> None:
    """Emits the same for planes: at most as many features as a vector has lanes, turned in squares of words."""
    vector, size, word = e.vector("f32"), Type(SCALARS[code.dy]).bytes, e.vector("i32")
    lanes = vector.lanes
    square = lanes * vector.bytes
    with e.function("fill_words", PTR, PTR, PTR, I64, I64, internal=True) as (row, goal, source, count, features):
        a = Arguments(e, row, code.names)
        lying = e.stack(vector, code.parts * lanes)
        with e.loop(0, count, PAIR * lanes) as p:
            with e.loop(0, lanes) as k:
                plane = source + e.least(k, features - 1) * a["gs_c"] + p * size
                pair = [read(e, plane + i * size, code.dy, vector, e.most(count - p - i, 0)) for i in (0, lanes)]
                for part, numbers in enumerate(rows(e, pair, code.parts)):
                    e.store(e.emit(word, f"bitcast {numbers} to {word}"), lying + part * square + k * vector.bytes)
            _transposed(e, code, lying, goal + p * PLACE, e.integer(LINE), a["part_dy"])
