"""Lines of all channels at once, out of channels-last pixels: one run of neighbours in memory becomes as many as there are channels.

Of many channels, squares of channels × pixels are turned in registers; the pixels of a square lie a stride apart, so that the phases of a
line come for nothing. A few channels are taken apart as they lie, vectors of whole pixels at a time.

Channel c's line begins at goal + c · line_c; inside it elements lie as `panels.line_filler` puts them.
"""

from __future__ import annotations

from functools import partial

from juanji.jit.elements import transpose
from juanji.jit.emit import Emitter, Value
from juanji.jit.lanes import parted
from juanji.jit.panels import Line, Row, emit_filler

TURNED_ARGUMENTS = ("line_c",)


def turned_filler(e: Emitter, line: Line, names: tuple[str, ...], few: int) -> None:
    """Emits the filler of a row's lines. few: how many channels, if so few that they are taken apart as they lie, else 0."""
    emit_filler(e, line, names, _fill, _copy, partial(_apart, few=few) if few else _turned)


def _place(row: Row, channel: Value, i: Value) -> Value:
    stride = row.line.stride
    return row.goal + channel * row.a["line_c"] + (i % stride) * row.a["phase"] + (i // stride) * row.total.bytes


def _fill(row: Row, i: Value, number: Value) -> None:
    with row.e.loop(0, row.a["channels"]) as channel:
        row.e.store(number, _place(row, channel, i))


def _copy(row: Row, i: Value, pixel: Value) -> None:
    with row.e.loop(0, row.a["channels"]) as channel:
        row.e.store(row.read(pixel + channel * row.size, row.total), _place(row, channel, i))


def _apart(row: Row, begin: Value, start: Value, stop: Value, few: int) -> None:
    """Vectors of whole pixels, by channel and phase at once; the last of them overlap those before."""
    e, a, vector, stride = row.e, row.a, row.vector, row.line.stride
    first, last, step = (start + (stride - 1)) // stride * stride, stop // stride * stride, stride * vector.lanes
    wide = e.compare("sge", last - first, e.integer(step))

    def one_by_one(low: Value, high: Value) -> None:
        with e.loop(low, high) as i:
            _copy(row, i, begin + i * a["xs_w"])

    with e.when(wide):
        one_by_one(start, first)
        with e.loop(first, last, step) as next_i:
            i = e.least(next_i, last - step)
            source = begin + i * (few * row.size)
            found = parted(e, [row.read(source + k * vector.lanes * row.size, vector) for k in range(few * stride)])
            for number, part in enumerate(found):
                phase, channel = divmod(number, few)
                goal = row.goal + (a["line_c"] * channel + a["phase"] * phase)
                e.store(part, goal + (i // stride) * row.total.bytes, row.total.bytes)
        one_by_one(last, stop)
    with e.otherwise(wide):
        one_by_one(start, stop)


def _turned(row: Row, begin: Value, start: Value, stop: Value) -> None:
    """Squares of one phase after the other; the last of a line and of a pixel overlap those before."""
    e, lanes, stride = row.e, row.vector.lanes, row.line.stride
    with e.loop(0, stride) as phase:
        first, end = (e.integer((place + (stride - 1) - phase) // stride) for place in (start, stop))
        wide = e.compare("sge", end - first, e.integer(lanes))
        with e.when(wide), e.loop(first, end, lanes) as next_k:
            _squares(row, begin, phase, e.least(next_k, end - lanes))
        with e.otherwise(wide), e.loop(first, end) as k:
            _copy(row, k * stride + phase, begin + (k * stride + phase) * row.a["xs_w"])


def _squares(row: Row, begin: Value, phase: Value, k: Value) -> None:
    """As many elements of a phase as a vector has lanes, from the k-th on, of all channels."""
    e, a, vector, stride = row.e, row.a, row.vector, row.line.stride
    pixels = [begin + ((k + lane) * stride + phase) * a["xs_w"] for lane in range(vector.lanes)]
    goal = row.goal + phase * a["phase"] + k * row.total.bytes
    with e.loop(0, a["channels"], vector.lanes) as next_c:
        c = e.least(next_c, a["channels"] - vector.lanes)
        lines = transpose(e, [row.read(pixel + c * row.size, vector) for pixel in pixels])
        for lane, line in enumerate(lines):
            e.store(line, goal + (c + lane) * a["line_c"], row.total.bytes)
