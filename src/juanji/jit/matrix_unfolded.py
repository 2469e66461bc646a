"""The panel of a layer with few channels: windows of a row unfolded, so that whatever a tile reads begins at a cache line.

    panel[part][block of 16 outputs][line][word]    that word of the line in the windows of 16 neighbouring outputs

What a row of the kernel meets in a window is a run of numbers: taps, channel by channel. Words hold two or four that follow each other;
past the last number it stands once more. A window is as many lines as the kernel has rows, one behind the other, and those of the
outputs below begin a few lines later: rows of a tile are words, wherever they begin, and one line serves all windows that it lies in.

A line of the input is first laid out channel by channel and phase by phase of the stride, so that one number of the run is, for
neighbouring outputs, a vector that may begin anywhere; floats are cut into parts there, once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from juanji.jit.arguments import Arguments
from juanji.jit.channel import store_squares
from juanji.jit.elements import transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Type, Value
from juanji.jit.lanes import parted
from juanji.jit.matrix_code import MatrixCode
from juanji.jit.panels import Row, copy_run, emit_filler
from juanji.jit.tiles import ROWS
from juanji.jit.words import cut, words


def emit_unfolded(e: Emitter, code: MatrixCode) -> None:
    """Emits unfold_line(row of arguments, destination, source, constant or null, first, count, clear): as `panels.emit_filler` says;
    clear: rows of zeros behind the line."""
    inside = _planes if code.planar_x else partial(_part, channels=code.parted) if code.parted else _turn
    emit_filler(e, code.line, code.names, _fill, _copy, inside)
    with e.function("unfold_line", PTR, PTR, PTR, PTR, I64, I64, I64, internal=True) as (row, goal, source, outside, first, count, clear):
        a = Arguments(e, row, code.names)
        lines = a["scratch"] + a["lines"]
        e.call("fill_line", a.row, lines, source, outside, first, count)
        if code.parts > 1:
            _cut(e, code, a, lines)
        _join(e, code, a, lines, goal)
        empty = e.vector("i32")
        with e.loop(0, clear * LINE, empty.bytes) as at, e.loop(0, a["blocks"]) as block:
            for part in range(code.parts):
                e.store(e.zero(empty), goal + a["words"] * LINE + block * a["panel_b"] + a["part"] * part + at)


def _cut(e: Emitter, code: MatrixCode, a: Arguments, lines: Value) -> None:
    """A line's numbers in parts, the first in their own place."""
    vector = e.vector("f32")
    with e.loop(0, a["line_part"], vector.bytes) as at:
        for part, bits in enumerate(cut(e, e.load(vector, lines + at), code.parts)):
            e.store(bits, lines + a["line_part"] * part + at)


def _join(e: Emitter, code: MatrixCode, a: Arguments, lines: Value, goal: Value) -> None:
    """The words of a line from its numbers."""
    group, number = 4 // code.element.bytes, Type(code.line.total)
    lanes = e.vector("i32").lanes
    with e.loop(0, a["blocks"]) as block, e.loop(0, a["words"]) as word:
        starts = [lines + e.load(I64, a["map_words"] + (word * group + k) * 8, 8) for k in range(group)]
        for part in range(code.parts):
            for lane in range(0, ROWS, lanes):
                at = a["line_part"] * part + (block * ROWS + lane) * number.bytes
                value, *_ = words(e, [e.load(Type(number.scalar, lanes), start + at) for start in starts], 1)
                e.store(value, goal + word * LINE + block * a["panel_b"] + a["part"] * part + lane * 4)


# A line, channel by channel and phase by phase ----------------------------------------------------------------------------------


def _place(row: Row, c: Int, i: Value) -> Value:
    stride = row.line.stride
    return row.goal + row.a["line_c"] * c + i % stride * row.a["phase"] + (i // stride) * row.total.bytes


def _fill(row: Row, i: Value, number: Value) -> None:
    with row.e.loop(0, row.a["channels"]) as c:
        row.e.store(number, _place(row, c, i))


def _copy(row: Row, i: Value, pixel: Value) -> None:
    with row.e.loop(0, row.a["channels"]) as c:
        row.e.store(row.read(pixel + c * row.a["xs_c"], row.total), _place(row, c, i))


def _planes(row: Row, begin: Value, start: Value, stop: Value) -> None:
    """Of planes."""
    a = row.a
    with row.e.loop(0, a["channels"]) as c:
        source, plane = begin + c * a["xs_c"], replace(row, goal=row.goal + c * a["line_c"])
        if row.line.stride == 1:
            copy_run(row, source, plane.goal, start, stop)
        else:
            _part(plane, source, start, stop, 1)


def _part(row: Row, begin: Value, start: Value, stop: Value, channels: int) -> None:
    """Of pixels whose channels lie side by side: vectors of neighbours are parted by phase and channel."""
    e, a, stride, vector = row.e, row.a, row.line.stride, row.vector
    first = e.least((start + (stride - 1)) // stride * stride, stop)
    count, step = (stop - first) // stride * stride, stride * vector.lanes
    many = e.compare("sge", count, e.integer(step))
    with e.when(many), e.loop(first, first + count, step) as next_i:
        i = e.least(next_i, first + count - step)
        at = begin + i * (channels * row.size)
        vectors = [row.read(at + k * vector.lanes * row.size, vector) for k in range(stride * channels)]
        for number, value in enumerate(parted(e, vectors)):
            f, c = divmod(number, channels)
            e.store(value, row.goal + a["line_c"] * c + a["phase"] * f + (i // stride) * row.total.bytes, row.total.bytes)
    for low, high in ((start, first), (e.select(many, first + count, first), stop)):
        with e.loop(low, high) as i:
            for c in range(channels):
                e.store(row.read(begin + (i * channels + c) * row.size, row.total), _place(row, c, i))


def _turn(row: Row, begin: Value, start: Value, stop: Value) -> None:
    """Of any pixels: squares of those of one phase × channels, turned."""
    e, a, stride = row.e, row.a, row.line.stride
    vector = e.vector("f32" if row.total.floating else "i32")
    lanes, number = vector.lanes, Type(row.total.scalar, vector.lanes)
    buffer = e.stack(number, lanes)
    for phase in range(stride):
        low, high = ((at + (stride - 1 - phase)) // stride for at in (start, stop))
        with e.loop(0, a["channels"], lanes) as c, e.loop(low, high, lanes) as place:
            size = e.least(a["channels"] - c, lanes), e.least(high - place, lanes)
            places = [e.least(place + lane, high - 1) for lane in range(lanes)]
            pixels = [row.read(begin + (i * stride + phase) * a["xs_w"] + c * row.size, vector, size[0]) for i in places]
            planes = [plane if vector == number else e.convert("trunc", plane, number.scalar) for plane in transpose(e, pixels)]
            store_squares(e, planes, buffer, row.goal + c * a["line_c"] + a["phase"] * phase + place * row.total.bytes, a["line_c"], size)
