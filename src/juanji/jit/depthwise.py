"""The depthwise tile: lanes along the channels, each of which meets a kernel of its own; the input is read where it lies.

A tile is rows × columns of neighbouring outputs of one vector of channels. The window under it is walked row by row and column by
column; each vector of it is loaded once and meets every output of the tile that wants it, so that a 3×3 kernel needs a third of the
loads that outputs one by one would. Weights of small kernels are held in registers. Of large ones kernel rows are a loop; a tile is then
a single row of outputs, and weights come from memory. Where the window reaches outside the array, its vectors there are read from one
that holds the constant.

Groups of a few channels are treated alike, where a vector holds whole groups: of each vector of the input as many are made as a group has
channels, one of which stands in all lanes of its group, and each of these serves every output that wants it. Weights come from memory.

So little is done with each element of a depthwise layer that copying the input into a panel first would take as long as the rest.

The sum of each output runs over outer tap, kernel row, kernel column, channel of the group, in one chain of fused multiply-adds that
starts from the bias, as in the other tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, finish, multiply_add, of_group, read
from juanji.jit.emit import Emitter, Int, Type, Value, Var
from juanji.jit.target import Target
from juanji.jit.zeros import finite, leaving_out

MOST_STRAIGHT = 80  # multiply-adds of a kernel row in one straight piece of code


@dataclass(frozen=True)
class DepthwiseCode:
    """Everything that the code depends on; triples are outer axis, rows and columns."""

    x: str
    total: str
    y: str
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    group: int  # channels that meet each other; of a depthwise layer 1
    padded: bool
    partial: bool  # the last vector of channels is not full
    bias: bool
    activation: str | None
    narrowing: Narrowing
    rows: int
    columns: int
    rolled: bool  # kernel rows in a loop; else the weights of kernel rows and columns are held in registers, if groups have one channel
    clipped: bool  # taps that meet only zeros outside are left out, where that changes nothing
    channels_inside: bool  # all channels at one place before the next: memory is read as it lies; else their weights are read once

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the input under a tile."""
        _, rows, columns = (
            (count - 1) * stride + (kernel - 1) * dilation + 1
            for count, stride, kernel, dilation in zip((1, self.rows, self.columns), self.stride, self.kernel, self.dilation, strict=True)
        )
        return rows, columns

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. band: output rows of an item; share: vectors of channels of an item."""
        return (
            *HEAD, "constants", "outside", "parameter", "size_d", "size_h", "size_w", "low_d", "low_h", "low_w", "out_d", "out_h", "out_w",
            "xs_n", "xs_d", "xs_h", "xs_w", "ys_n", "ys_d", "ys_h", "ys_w", "bands", "band", "shares", "share", "channels", "stream",
        )  # fmt: skip


def emit_depthwise(code: DepthwiseCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    with kernel(e, target, code.names) as a:
        wide = max(Type(SCALARS[code.x]).bytes // total.bytes, 1)  # vectors of sums that as many elements of the input are as long as
        outside = e.stack(vector, wide)
        for i in range(wide):
            e.store(e.splat(e.load(total, a["constants"] + a["outside"]), vector.lanes), outside + i * vector.bytes)
        with each_item(e, a) as item:
            _item(e, code, a, item, outside)
    return e.text()


def _item(e: Emitter, code: DepthwiseCode, a: Arguments, item: Value, outside: Value) -> None:
    """One item of work: image, outer place, band of rows, share of the channels."""
    rest, share = e.divide(item, a["shares"])
    rest, band = e.divide(rest, a["bands"])
    image, d = e.divide(rest, a["out_d"])
    vector = e.vector(SCALARS[code.total])
    h_from = band * a["band"]
    h_to = e.least(h_from + a["band"], a["out_h"])
    first = share * a["share"]
    last = e.least(first + a["share"], (a["channels"] + (vector.lanes - 1)) // vector.lanes)
    channels = (first, last, 1)
    downwards, across = (h_from, h_to, code.rows), (0, a["out_w"], code.columns)
    border = Border(outside, _finite(e, code, a, first, last) if code.clipped else None)
    if code.channels_inside:
        with e.loop(*downwards) as h_next, e.loop(*across) as w_next:
            place = _place(e, code, a, d, h_next, w_next)
            with e.loop(*channels) as v:
                _outputs(e, code, a, _vector(e, code, a, image, v), place, border)
    else:
        with e.loop(*channels) as v:
            own = _vector(e, code, a, image, v)
            with e.loop(*downwards) as h_next, e.loop(*across) as w_next:
                _outputs(e, code, a, own, _place(e, code, a, d, h_next, w_next), border)


class Border(NamedTuple):
    """The vector that is read outside the array, and whether taps there may be left out, in code that may ask."""

    outside: Value
    clipped: Value | None


class Own(NamedTuple):
    """What belongs to a vector of channels: where its input and output begin, its weights, the sums' beginning, its lanes if not all."""

    x: Value
    y: Value
    weights: Value
    held: list[Value] | None
    start: Value
    lanes: Value | None


def _vector(e: Emitter, code: DepthwiseCode, a: Arguments, image: Value, v: Value) -> Own:
    total, (deep, high, wide) = Type(SCALARS[code.total]), code.kernel
    vector = e.vector(total.scalar)
    x, y = (v * (vector.lanes * Type(SCALARS[dtype]).bytes) for dtype in (code.x, code.y))
    weights = a["w"] + v * (deep * high * wide * code.group * vector.bytes)
    held = deep == code.group == 1 and not code.rolled
    return Own(
        a["x"] + image * a["xs_n"] + x,
        a["y"] + image * a["ys_n"] + y,
        weights,
        _held(e, code, vector, weights) if held else None,
        e.load(vector, a["bias"] + v * vector.bytes) if code.bias else e.zero(vector),
        e.least(a["channels"] - v * vector.lanes, vector.lanes) if code.partial else None,
    )


def _held(e: Emitter, code: DepthwiseCode, vector: Type, weights: Value) -> list[Value]:
    """The weights of one outer tap."""
    return [e.load(vector, weights + tap * vector.bytes) for tap in range(code.kernel[1] * code.kernel[2])]


class Place(NamedTuple):
    """Where a tile stands: the first place of its window; bytes to that row and column, and to the first output."""

    deep: Value
    row: Value
    column: Value
    corner: Value
    goal: Value


def _place(e: Emitter, code: DepthwiseCode, a: Arguments, d: Value, h_next: Value, w_next: Value) -> Place:
    h, w = e.least(h_next, a["out_h"] - code.rows), e.least(w_next, a["out_w"] - code.columns)
    deep, row, column = d * code.stride[0] - a["low_d"], h * code.stride[1] - a["low_h"], w * code.stride[2] - a["low_w"]
    goal = d * a["ys_d"] + h * a["ys_h"] + w * a["ys_w"]
    return Place(deep, row, column, row * a["xs_h"] + column * a["xs_w"], goal)


Sums = dict[tuple[int, int], Var]  # by row and column of the tile


def _outputs(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border) -> None:
    """One tile."""
    sums = {(r, c): e.var(own.start.type, own.start) for r in range(code.rows) for c in range(code.columns)}
    (_rolled if code.rolled else _unrolled)(e, code, a, own, place, border, sums)
    _finish(e, code, a, own, own.y + place.goal, sums)


def _between(e: Emitter, place: Value, size: Value) -> Value:
    """0 <= place < size."""
    return e.compare("ult", place, size)


def _met(place: int, count: int, stride: int, kernel: int, dilation: int) -> list[tuple[int, int]]:
    """The outputs that see a place of the window along one axis, each with the tap that it sees it through."""
    taps = [(p, place - p * stride) for p in range(count)]
    return [(p, at // dilation) for p, at in taps if at >= 0 and at % dilation == 0 and at // dilation < kernel]


# Small kernels --------------------------------------------------------------------------------------------------------------


def _unrolled(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums) -> None:
    """acc[row, column] += Σ x[window] · w[tap]; the window is read in one of two ways where it may reach outside."""
    vector, (deep, high, wide), (rows, columns), group = own.start.type, code.kernel, code.window, code.group
    within_h = [_between(e, place.row + j, a["size_h"]) for j in range(rows)]
    within_w = [_between(e, place.column + i, a["size_w"]) for i in range(columns)]
    whole = e.arith("and", e.arith("and", within_h[0], within_h[-1]), e.arith("and", within_w[0], within_w[-1]))
    with e.loop(0, deep) as tap:
        d = place.deep + tap * code.dilation[0]
        corner = own.x + d * a["xs_d"] + place.corner
        within_d = _between(e, d, a["size_d"])
        weights = own.weights + tap * (high * wide * group * vector.bytes)
        held = own.held or (_held(e, code, vector, weights) if group == 1 else None)

        def window(inside: bool) -> None:
            for j in range(rows):
                down = _met(j, code.rows, code.stride[1], high, code.dilation[1])
                for i in range(columns):
                    right = _met(i, code.columns, code.stride[2], wide, code.dilation[2])
                    if not down or not right:
                        continue
                    source = corner + j * a["xs_h"] + i * a["xs_w"]
                    if not inside:
                        within = e.arith("and", within_d, e.arith("and", within_h[j], within_w[i]))
                        source = e.select(within, source, border.outside)
                    x = read(e, source, code.x, vector, own.lanes)
                    near = e.unknown(weights) if held is None else weights  # else weights would be kept, and drive sums out of registers
                    for channel in range(group):
                        one = of_group(e, x, channel, group)
                        for r, kh in down:
                            for c, kw in right:
                                at = (kh * wide + kw) * group + channel
                                weight = e.load(vector, near + at * vector.bytes) if held is None else held[at]
                                sums[r, c].set(multiply_add(e, one, weight, sums[r, c].get()))

        if code.padded:
            inside = e.arith("and", whole, within_d)
            with e.when(inside):
                window(inside=True)
            with e.otherwise(inside):
                window(inside=False)
        else:
            window(inside=True)


# Large kernels --------------------------------------------------------------------------------------------------------------

def _finite(e: Emitter, code: DepthwiseCode, a: Arguments, first: Value, last: Value) -> Value:
    """Whether all weights of the vectors of channels first … last are finite."""
    vector, taps = e.vector(SCALARS[code.total]), code.kernel[0] * code.kernel[1] * code.kernel[2]
    return finite(e, a["w"] + first * (taps * vector.bytes), (last - first) * (taps * vector.lanes), vector)


def _rolled(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums) -> None:
    """acc[column] += Σ x[window] · w[tap], without those outside the array where nobody can tell."""
    leaving_out(e, list(sums.values()), own.start, border.clipped, partial(_rows, e, code, a, own, place, border, sums))


def looped(kernel: int, stride: int, dilation: int, columns: int) -> bool:
    """Whether the columns of a window that meet every output of a tile are a loop."""
    return stride == dilation == 1 and columns < kernel and columns * kernel > MOST_STRAIGHT


def _rows(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums, clipped: bool) -> None:
    """The kernel rows, all or those inside the array."""
    vector, (deep, high, wide) = own.start.type, code.kernel
    with e.loop(0, deep) as kd:
        d = place.deep + kd * code.dilation[0]
        within_d = _between(e, d, a["size_d"])
        corner = own.x + d * a["xs_d"] + place.corner
        low, end = e.integer(0), e.integer(high)
        if clipped:
            low, end = _inside(e, place.row, code.dilation[1], a["size_h"], high)
            end = e.select(within_d, end, e.integer(0))
        with e.loop(low, end) as kh:
            j = kh * code.dilation[1]
            within = None if clipped else e.arith("and", within_d, _between(e, place.row + j, a["size_h"]))
            weights = own.weights + (kd * high + kh) * (wide * vector.bytes)
            line = Line(corner + j * a["xs_h"], weights, within, border.outside)
            _columns(e, code, a, own, place, line, sums)


def _inside(e: Emitter, first: Value, dilation: int, size: Value, kernel: int) -> tuple[Value, Value]:
    """The first tap, and one past the last, whose place first + tap·dilation is inside the array."""
    low = e.most(dilation - 1 - first, 0) // dilation
    return low, e.least(e.most(size - first + (dilation - 1), 0) // dilation, kernel)


class Line(NamedTuple):
    """A row of the window and the kernel row that it meets. within: whether it exists, None if it does; outside: what is read else."""

    source: Value
    weights: Value
    within: Value | None
    outside: Value


def _columns(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, line: Line, sums: Sums) -> None:
    """One kernel row: the columns of the window that meet every output of the tile are a loop where they are many."""
    vector, wide, window = own.start.type, code.kernel[2], code.window[1]
    many = looped(wide, code.stride[2], code.dilation[2], code.columns)
    steady = range(code.columns - 1, wide) if many else range(0)
    clipped = many and line.within is None  # columns outside are left out, else read as zeros

    def meet(i: Int, right: Sequence[tuple[int, Int]]) -> None:
        """One column of the window; right: the outputs that see it, each with its tap."""
        source = line.source + i * a["xs_w"]
        if code.padded and not clipped:
            inside = _between(e, place.column + i, a["size_w"])
            inside = inside if line.within is None else e.arith("and", inside, line.within)
            source = e.select(inside, source, line.outside)
        x = read(e, source, code.x, vector, own.lanes)
        for c, kw in right:
            weight = e.load(vector, line.weights + kw * vector.bytes)
            sums[0, c].set(multiply_add(e, x, weight, sums[0, c].get()))

    for i in range(window):
        if i in steady:
            if i == steady.start:
                low, end = e.integer(steady.start), e.integer(steady.stop)
                if clipped:
                    low, end = e.most(low, 0 - place.column), e.least(end, a["size_w"] - place.column)
                with e.loop(low, end) as middle:
                    meet(middle, [(c, middle - c) for c in range(code.columns)])
            continue
        right = _met(i, code.columns, code.stride[2], wide, code.dilation[2])
        if right and clipped:
            with e.when(_between(e, place.column + i, a["size_w"])):
                meet(i, right)
        elif right:
            meet(i, right)


# Outputs --------------------------------------------------------------------------------------------------------------------


def _finish(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, goal: Value, sums: Sums) -> None:
    """Store the finished sums, past the caches where the output is large."""
    total = Type(SCALARS[code.total])
    parameter = e.load(total, a["constants"] + a["parameter"])
    finished = {key: finish(e, acc.get(), code.y, code.activation, parameter, code.narrowing) for key, acc in sums.items()}
    places = {(r, c): goal + r * a["ys_h"] + c * a["ys_w"] for r, c in sums}
    if own.lanes is not None:
        for key, value in finished.items():
            e.store_first(value, places[key], own.lanes)
        return
    width = Type(SCALARS[code.y]).bytes * e.vector(total.scalar).lanes
    past = e.streamable(width, a["stream"], goal, a["ys_h"], a["ys_w"])
    for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
        with condition:
            for key, value in finished.items():
                put(value, places[key])
