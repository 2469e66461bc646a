"""The depthwise tile whose weights come from memory: large kernels, and tiles of more outputs than leave registers for weights.

Rows of the window are read one after the other. Those that every row of outputs sees, each by another kernel row, are a loop; above and
below are some that only a few see. A row is walked tap after tap (`_taps`): a tap is one weight for a whole row of outputs, whose sums do
not wait for each other, and of the columns that lie under these all but one are in registers since the tap before. Where outputs step by
more than 1 they share too few, and it is walked column after column (`_columns`); so are rows of very large kernels, in a loop (`_looped`).

LLVM's schedulers are kept from mixing the steps: they would load so far ahead that sums had to leave their registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from juanji.jit.arguments import Arguments
from juanji.jit.depthwise_window import Border, DepthwiseCode, Own, Place, Sums, between, met_at
from juanji.jit.elements import SCALARS, multiply_add, read
from juanji.jit.emit import Emitter, Int, Value
from juanji.jit.zeros import finite, leaving_out


def all_finite(e: Emitter, code: DepthwiseCode, a: Arguments, first: Value, last: Value) -> Value:
    """Whether all weights of the vectors of channels first … last are finite."""
    vector, taps = e.vector(SCALARS[code.total]), code.kernel[0] * code.kernel[1] * code.kernel[2]
    return finite(e, a["w"] + first * (taps * vector.bytes), (last - first) * (taps * vector.lanes), vector)


def rolled(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums) -> None:
    """acc[row, column] += Σ x[window] · w[tap], without those outside the array where nobody can tell."""
    leaving_out(e, list(sums.values()), own.start, border.clipped, partial(_rows, e, code, a, own, place, border, sums))


def _rows(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums, clipped: bool) -> None:
    """The rows of the window, all or those inside the array; they are read in one of two ways where columns may be outside."""
    rows = partial(_window, e, code, a, own, place, border, sums, clipped)
    if not code.padded or code.looped or clipped < code.clipped:  # the last is rare, and not worth its code
        rows(not code.padded)
        return
    whole = e.arith("and", *(between(e, place.column + i, a["size_w"]) for i in (0, code.window[1] - 1)))
    with e.when(whole):
        rows(True)
    with e.otherwise(whole):
        rows(False)


def _window(
    e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums, clipped: bool, whole: bool
) -> None:
    """Row by row: those that every row of outputs sees in a loop, those above and below one by one. whole: all columns are inside."""
    vector, (deep, high, wide), last = own.start.type, code.kernel, code.rows - 1
    with e.loop(0, deep) as kd:
        d = place.deep + kd * code.dilation[0]
        within_d = between(e, d, a["size_d"])
        corner = own.x + d * a["xs_d"] + place.corner
        low, end = e.integer(0), e.integer(high + last)
        if clipped:
            low, end = _inside(e, place.row, code.dilation[1], a["size_h"], high + last)
            end = e.select(within_d, end, e.integer(0))

        def row(j: Int, met: Sequence[tuple[int, Int]]) -> None:
            """One row of the window; met: the rows of outputs that see it, each with its kernel row."""
            at = j * code.dilation[1]
            weights = [(r, own.weights + (kd * high + kh) * (wide * vector.bytes)) for r, kh in met]
            line = Line(corner + at * a["xs_h"], weights, None if whole else border.outside, clipped)
            walk = _looped if code.looped else _taps if code.stride[2] == 1 else _columns
            reduce = partial(walk, e, code, a, own, place, line, sums)
            if clipped or not code.padded:
                reduce()
                return
            within = e.arith("and", within_d, between(e, place.row + at, a["size_h"]))
            with e.when(within):
                reduce()
            with e.otherwise(within):
                _constant(e, code, own, weights, read(e, border.outside, code.x, vector), sums)

        def alone(j: int) -> None:
            met = [(r, j - r) for r in range(code.rows) if 0 <= j - r < high]
            if clipped:
                with e.when(e.arith("and", e.compare("sle", low, e.integer(j)), e.compare("sgt", end, e.integer(j)))):
                    row(j, met)
            else:
                row(j, met)

        for j in range(last):
            alone(j)
        with e.loop(e.most(low, last), e.least(end, high)) as middle:
            row(middle, [(r, middle - r) for r in range(code.rows)])
        for j in range(high, high + last):
            alone(j)


def _inside(e: Emitter, first: Value, dilation: int, size: Value, count: int) -> tuple[Value, Value]:
    """Of so many places first + i·dilation the first i, and one past the last, that are inside the array."""
    low = e.most(dilation - 1 - first, 0) // dilation
    return low, e.least(e.most(size - first + (dilation - 1), 0) // dilation, count)


Weights = Sequence[tuple[int, Value]]  # rows of outputs, and a kernel row of each


def _constant(e: Emitter, code: DepthwiseCode, own: Own, weights: Weights, x: Value, sums: Sums) -> None:
    """A row outside the array."""
    with e.loop(0, code.kernel[2]) as kw:
        for r, first in weights:
            weight = e.load(own.start.type, first + kw * own.start.type.bytes)
            for c in range(code.columns):
                sums[r, c].set(multiply_add(e, x, weight, sums[r, c].get()))


class Line(NamedTuple):
    """A row of the window: where it begins, and the weights of the rows of outputs that see it.

    outside: what is read where columns are outside; None if none are. clipped: those may be left out.
    """

    source: Value
    weights: Weights
    outside: Value | None
    clipped: bool


def _taps(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, line: Line, sums: Sums) -> None:
    """A row of the window, tap after tap: each is a weight for all outputs, and the columns that outputs share stay in registers."""
    vector = own.start.type
    columns: dict[int, Value] = {}
    for kw in range(code.kernel[2]):
        e.no_crossing()
        for r, weights in line.weights:
            weight = e.load(vector, weights + kw * vector.bytes)
            for c in range(code.columns):
                i = c + kw * code.dilation[2]
                if i not in columns:
                    columns[i] = _column(e, code, a, own, place, line, i)
                sums[r, c].set(multiply_add(e, columns[i], weight, sums[r, c].get()))


def _column(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, line: Line, i: Int) -> Value:
    """One column of a row of the window."""
    source = line.source + i * a["xs_w"]
    if line.outside is not None:
        source = e.select(between(e, place.column + i, a["size_w"]), source, line.outside)
    return read(e, source, code.x, own.start.type, own.lanes)


def _columns(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, line: Line, sums: Sums) -> None:
    """A row of the window that one row of outputs sees, column after column; the weights of the row stay in registers."""
    vector, wide = own.start.type, code.kernel[2]
    ((_, first),) = line.weights
    weights = [e.load(vector, first + kw * vector.bytes) for kw in range(wide)]
    for i in range(code.window[1]):
        right = met_at(i, code.columns, code.stride[2], wide, code.dilation[2])
        if right:
            e.no_crossing()
            x = _column(e, code, a, own, place, line, i)
        for c, kw in right:
            sums[0, c].set(multiply_add(e, x, weights[kw], sums[0, c].get()))


def _looped(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, line: Line, sums: Sums) -> None:
    """The same of a long row with steps of 1: columns that meet every output are a loop, and those outside may be left out."""
    vector, wide = own.start.type, code.kernel[2]
    ((_, weights),) = line.weights
    near = line._replace(outside=None) if line.clipped else line

    def meet(i: Int, right: Sequence[tuple[int, Int]]) -> None:
        """One column of the window; right: the outputs that see it, each with its tap."""
        x = _column(e, code, a, own, place, near, i)
        for c, kw in right:
            weight = e.load(vector, weights + kw * vector.bytes)
            sums[0, c].set(multiply_add(e, x, weight, sums[0, c].get()))

    def alone(columns: range) -> None:
        for i in columns:
            right = met_at(i, code.columns, 1, wide, 1)
            if line.clipped:
                with e.when(between(e, place.column + i, a["size_w"])):
                    meet(i, right)
            else:
                meet(i, right)

    alone(range(code.columns - 1))
    low, end = e.integer(code.columns - 1), e.integer(wide)
    if line.clipped:
        low, end = e.most(low, 0 - place.column), e.least(end, a["size_w"] - place.column)
    with e.loop(low, end) as middle:
        meet(middle, [(c, middle - c) for c in range(code.columns)])
    alone(range(wide, code.window[1]))
