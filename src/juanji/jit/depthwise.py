"""The depthwise tile: lanes along the channels, each of which meets a kernel of its own; the input is read where it lies.

A tile is rows × columns of neighbouring outputs of one vector of channels. The window under it is walked row by row and column by
column; each vector of it is loaded once and meets every output of the tile that wants it, so that a 3×3 kernel needs a third of the
loads that outputs one by one would. Weights of small kernels are held in registers beside a few sums; those of large ones, and of tiles
of more outputs, come from memory (`depthwise_rows`). Where the window reaches outside the array, its vectors there are read from one that
holds the constant.

Tiles follow each other along rows or down columns, with some vectors of channels at each place before the next. Downwards the first cache
keeps what the next tile reads again, of as many vectors as it has room for.

Groups of a few channels are treated alike, where a vector holds whole groups: of each vector of the input as many are made as a group has
channels, one of which stands in all lanes of its group, and each of these serves every output that wants it. Weights come from memory.
Where taps and outputs are neighbours and all of a plane is near (`turned_planes`), strips of columns do so once for each row (`strips`).

So little is done with each element of a depthwise layer that copying the input into a panel first would take as long as the rest.

The sum of each output runs over outer tap, kernel row, kernel column, channel of the group, in one chain of fused multiply-adds that
starts from the bias, as in the other tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.depthwise_rows import all_finite, rolled
from juanji.jit.depthwise_window import Border, DepthwiseCode, Own, Place, Sums, between, met_at
from juanji.jit.elements import SCALARS, finish, multiply_add, of_group, read
from juanji.jit.emit import Emitter, Int, Type, Value, Var
from juanji.jit.strips import Strip, emit_strip
from juanji.jit.target import Target


def emit_depthwise(code: DepthwiseCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        outside = vector_outside(e, code, a)
        with each_item(e, a) as item:
            _item(e, code, a, item, outside)
    return e.text()


def vector_outside(e: Emitter, code: DepthwiseCode, a: Arguments) -> Value:
    """Where a vector of the input's that lies outside the array is read."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    wide = max(Type(SCALARS[code.x]).bytes // total.bytes, 1)  # vectors of sums that as many elements of the input are as long as
    outside = e.stack(vector, wide)
    for i in range(wide):
        e.store(e.splat(e.load(total, a["constants"] + a["outside"]), vector.lanes), outside + i * vector.bytes)
    return outside


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
    border = border_of(e, code, a, outside, first, last)
    if code.channels_inside:
        with _tiles(e, code, a, h_from, h_to) as (h, w):
            place = _place(e, code, a, d, h, w)
            with e.loop(first, last) as v:
                _outputs(e, code, a, _vector(e, code, a, image, v), place, border)
    else:
        with e.loop(first, last) as v:
            emit_tiles(e, code, a, _vector(e, code, a, image, v), d, (h_from, h_to), border)


@contextmanager
def _tiles(e: Emitter, code: DepthwiseCode, a: Arguments, low: Int, end: Int) -> Iterator[tuple[Value, Value]]:
    """The rows and columns at which the tiles of some rows of outputs begin, but for the last ones, which may have to stand back."""
    downwards, across = (low, end, code.rows), (0, a["out_w"], code.columns)
    outer, inner = (across, downwards) if code.down else (downwards, across)
    with e.loop(*outer) as one, e.loop(*inner) as other:
        yield (other, one) if code.down else (one, other)


def emit_tiles(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, d: Value, rows: tuple[Int, Int], border: Border) -> None:
    """All tiles of some rows of outputs of a vector of channels."""
    if not code.rows:
        with e.loop(0, a["out_w"], code.columns) as w:
            _strip(e, code, a, own, _place(e, code, a, d, e.integer(rows[0]), w), rows, border)
        return
    with _tiles(e, code, a, *rows) as (h, w):
        _outputs(e, code, a, own, _place(e, code, a, d, h, w), border)


def border_of(e: Emitter, code: DepthwiseCode, a: Arguments, outside: Value, first: Value, last: Value) -> Border:
    """The border of the vectors of channels first … last, whose weights say what may be left out."""
    return Border(outside, all_finite(e, code, a, first, last) if code.clipped else None)


def _vector(e: Emitter, code: DepthwiseCode, a: Arguments, image: Value, v: Value) -> Own:
    lanes = e.vector(SCALARS[code.total]).lanes
    x, y = (v * (lanes * Type(SCALARS[dtype]).bytes) for dtype in (code.x, code.y))
    count = e.least(a["channels"] - v * lanes, lanes) if code.partial else None
    return own_of(e, code, a, v, a["x"] + image * a["xs_n"] + x, a["y"] + image * a["ys_n"] + y, count)


def own_of(e: Emitter, code: DepthwiseCode, a: Arguments, v: Value, x: Value, y: Value, lanes: Value | None) -> Own:
    """What belongs to vector v, whose input and output begin at x and y."""
    vector, (deep, high, wide) = e.vector(SCALARS[code.total]), code.kernel
    weights = a["w"] + v * (deep * high * wide * code.group * vector.bytes)
    held = _held(e, code, vector, weights) if deep == code.group == 1 and not code.rolled else None
    start = e.load(vector, a["bias"] + v * vector.bytes) if code.bias else e.zero(vector)
    return Own(x, y, weights, held, start, lanes)


def _held(e: Emitter, code: DepthwiseCode, vector: Type, weights: Value) -> list[Value]:
    """The weights of one outer tap."""
    return [e.load(vector, weights + tap * vector.bytes) for tap in range(code.kernel[1] * code.kernel[2])]


def _place(e: Emitter, code: DepthwiseCode, a: Arguments, d: Value, h_next: Value, w_next: Value) -> Place:
    h, w = e.least(h_next, a["out_h"] - max(code.rows, 1)), e.least(w_next, a["out_w"] - code.columns)
    deep, row, column = d * code.stride[0] - a["low_d"], h * code.stride[1] - a["low_h"], w * code.stride[2] - a["low_w"]
    goal = d * a["ys_d"] + h * a["ys_h"] + w * a["ys_w"]
    return Place(deep, row, column, row * a["xs_h"] + column * a["xs_w"], goal)


def _outputs(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border) -> None:
    """One tile."""
    sums = {(r, c): e.var(own.start.type, own.start) for r in range(code.rows) for c in range(code.columns)}
    (rolled if code.rolled else _unrolled)(e, code, a, own, place, border, sums)
    _finish(e, code, a, own, own.y + place.goal, sums)


def _unrolled(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, border: Border, sums: Sums) -> None:
    """acc[row, column] += Σ x[window] · w[tap]; the window is read in one of two ways where it may reach outside."""
    vector, (deep, high, wide), (rows, columns), group = own.start.type, code.kernel, code.window, code.group
    within_h = [between(e, place.row + j, a["size_h"]) for j in range(rows)]
    within_w = [between(e, place.column + i, a["size_w"]) for i in range(columns)]
    whole = e.arith("and", e.arith("and", within_h[0], within_h[-1]), e.arith("and", within_w[0], within_w[-1]))
    with e.loop(0, deep) as tap:
        d = place.deep + tap * code.dilation[0]
        corner = own.x + d * a["xs_d"] + place.corner
        within_d = between(e, d, a["size_d"])
        weights = own.weights + tap * (high * wide * group * vector.bytes)
        held = own.held or (_held(e, code, vector, weights) if group == 1 else None)

        def window(inside: bool) -> None:
            for j in range(rows):
                down = met_at(j, code.rows, code.stride[1], high, code.dilation[1])
                for i in range(columns):
                    right = met_at(i, code.columns, code.stride[2], wide, code.dilation[2])
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


def _strip(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, rows: tuple[Int, Int], border: Border) -> None:
    """Some rows of a strip of columns, which begins at a place."""
    strip = Strip(code.kernel[1], code.kernel[2], code.group, code.columns)
    within_d = between(e, place.deep, a["size_d"])
    within_w = [between(e, place.column + i, a["size_w"]) for i in range(code.columns + strip.wide - 1)]
    first, end = (e.integer(row) for row in rows)
    plane = own.x + place.deep * a["xs_d"] + place.corner

    def pixels(row: Value, inside: bool) -> Callable[[int], Value]:
        source, step = plane + (row - first) * a["xs_h"], a["xs_w"]
        if code.padded:  # a row outside is one vector again and again
            within = e.arith("and", within_d, between(e, place.row + (row - first), a["size_h"]))
            source, step = e.select(within, source, border.outside), e.select(within, step, e.integer(0))

        def pixel(i: int) -> Value:
            at = source + i * step
            return read(e, at if inside else e.select(within_w[i], at, border.outside), code.x, own.start.type, own.lanes)

        return pixel

    def put(row: Value, sums: list[Var]) -> None:
        goal = own.y + place.goal + (row - first) * a["ys_h"]
        _finish(e, code, a, own, goal, {(0, c): total for c, total in enumerate(sums)})

    def made(inside: bool) -> None:
        emit_strip(e, strip, (first, end), own.start, partial(pixels, inside=inside), own.weights, put)

    if not code.padded:
        made(inside=True)
        return
    whole = e.arith("and", within_w[0], within_w[-1])
    with e.when(whole):
        made(inside=True)
    with e.otherwise(whole):
        made(inside=False)


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
