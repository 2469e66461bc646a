"""The depthwise tile: lanes along the channels, each of which meets a kernel of its own; the input is read where it lies.

A tile is rows × columns of neighbouring outputs of one vector of channels. The window under it is walked row by row and column by
column; each vector of it is loaded once and meets every output that wants it, so that a 3×3 kernel needs a third of the loads that
outputs one by one would. Where the window reaches outside the array, its vectors there are read from one that holds the constant.

So little is done with each element of a depthwise layer that copying the input into a panel first would take as long as the rest.

The sum of each output runs over kernel row, kernel column, in one chain of fused multiply-adds that starts from the bias, as in the
other tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS, finish, multiply_add
from juanji.jit.emit import PTR, Emitter, Type, Value, Var
from juanji.jit.ieee import ieee_mode
from juanji.jit.target import Target


@dataclass(frozen=True)
class DepthwiseCode:
    """Everything that the code depends on; pairs are rows and columns."""

    total: str
    y: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padded: bool
    bias: bool
    activation: str | None
    narrowing: Narrowing
    held: bool  # the weights of a vector of channels are held in registers
    rows: int
    columns: int
    channels_inside: bool  # all channels at one place before the next: memory is read as it lies; else their weights are read once

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the input under a tile."""
        rows, columns = (
            (count - 1) * stride + (kernel - 1) * dilation + 1
            for count, stride, kernel, dilation in zip((self.rows, self.columns), self.stride, self.kernel, self.dilation, strict=True)
        )
        return rows, columns

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. band: output rows of an item; share: vectors of channels of an item."""
        return (
            *HEAD, "constants", "outside", "parameter", "size_h", "size_w", "low_h", "low_w", "out_h", "out_w",
            "xs_n", "xs_h", "xs_w", "ys_n", "ys_h", "ys_w", "bands", "band", "shares", "share", "vectors", "stream",
        )  # fmt: skip


def emit_depthwise(code: DepthwiseCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        outside = e.stack(vector)
        e.store(e.splat(e.load(total, a["constants"] + a["outside"]), vector.lanes), outside)
        with e.loop(a["begin"], a["end"]) as item:
            _item(e, code, a, item, outside)
        with e.when(e.compare("ne", a["stream"], e.integer(0))):
            e.fence()
    return e.text()


def _item(e: Emitter, code: DepthwiseCode, a: Arguments, item: Value, outside: Value) -> None:
    """One item of work: image, band of rows, share of the channels."""
    rest, share = e.divide(item, a["shares"])
    image, band = e.divide(rest, a["bands"])
    h_from = band * a["band"]
    h_to = e.least(h_from + a["band"], a["out_h"])
    first = share * a["share"]
    channels = (first, e.least(first + a["share"], a["vectors"]), 1)
    downwards, across = (h_from, h_to, code.rows), (0, a["out_w"], code.columns)
    if code.channels_inside:
        with e.loop(*downwards) as h_next, e.loop(*across) as w_next:
            place = _place(e, code, a, h_next, w_next)
            with e.loop(*channels) as v:
                _outputs(e, code, a, _vector(e, code, a, image, v), place, outside)
    else:
        with e.loop(*channels) as v:
            own = _vector(e, code, a, image, v)
            with e.loop(*downwards) as h_next, e.loop(*across) as w_next:
                _outputs(e, code, a, own, _place(e, code, a, h_next, w_next), outside)


class Own(NamedTuple):
    """What belongs to a vector of channels: where its input and output begin, its weights, the sums' beginning."""

    x: Value
    y: Value
    weights: Value
    held: list[Value] | None
    start: Value


def _vector(e: Emitter, code: DepthwiseCode, a: Arguments, image: Value, v: Value) -> Own:
    total, out, taps = Type(SCALARS[code.total]), Type(SCALARS[code.y]), code.kernel[0] * code.kernel[1]
    vector = e.vector(total.scalar)
    weights = a["w"] + v * (taps * vector.bytes)
    return Own(
        a["x"] + image * a["xs_n"] + v * vector.bytes,
        a["y"] + image * a["ys_n"] + v * (vector.lanes * out.bytes),
        weights,
        [e.load(vector, weights + tap * vector.bytes, total.bytes) for tap in range(taps)] if code.held else None,
        e.load(vector, a["bias"] + v * vector.bytes, total.bytes) if code.bias else e.zero(vector),
    )


class Place(NamedTuple):
    """Where a tile stands: bytes to its window's corner and to its first output; which rows and columns of the window exist."""

    corner: Value
    goal: Value
    within_h: list[Value]
    within_w: list[Value]
    whole: Value


def _place(e: Emitter, code: DepthwiseCode, a: Arguments, h_next: Value, w_next: Value) -> Place:
    h, w = e.least(h_next, a["out_h"] - code.rows), e.least(w_next, a["out_w"] - code.columns)
    row, column = h * code.stride[0] - a["low_h"], w * code.stride[1] - a["low_w"]
    rows, columns = code.window
    within_h = [_between(e, row + j, a["size_h"]) for j in range(rows)]
    within_w = [_between(e, column + i, a["size_w"]) for i in range(columns)]
    whole = e.arith("and", e.arith("and", within_h[0], within_h[-1]), e.arith("and", within_w[0], within_w[-1]))
    return Place(row * a["xs_h"] + column * a["xs_w"], h * a["ys_h"] + w * a["ys_w"], within_h, within_w, whole)


Sums = dict[tuple[int, int], Var]  # by row and column of the tile


def _outputs(e: Emitter, code: DepthwiseCode, a: Arguments, own: Own, place: Place, outside: Value) -> None:
    """One tile; its window is read in one of two ways where it may reach outside."""
    goal, corner = own.y + place.goal, own.x + place.corner

    def inside(j: int, i: int) -> Value:
        return corner + j * a["xs_h"] + i * a["xs_w"]

    def bordered(j: int, i: int) -> Value:
        return e.select(e.arith("and", place.within_h[j], place.within_w[i]), inside(j, i), outside)

    sums = {(r, c): e.var(own.start.type, own.start) for r in range(code.rows) for c in range(code.columns)}
    if code.padded:
        with e.when(place.whole):
            _reduce(e, code, own, inside, sums)
        with e.otherwise(place.whole):
            _reduce(e, code, own, bordered, sums)
    else:
        _reduce(e, code, own, inside, sums)
    _finish(e, code, a, goal, sums)


def _between(e: Emitter, place: Value, size: Value) -> Value:
    """0 <= place < size."""
    return e.compare("ult", place, size)


def _reduce(e: Emitter, code: DepthwiseCode, own: Own, place: Callable[[int, int], Value], sums: Sums) -> None:
    """acc[row, column] += Σ x[window] · w[tap], place by place of the window."""
    vector, held, (rows, columns) = own.start.type, own.held, code.window
    size = vector.bytes // vector.lanes
    near = e.unknown(own.weights)  # loaded where they are met; all in registers at once they would drive the sums out
    for j in range(rows):
        down = _met(j, code.rows, code.stride[0], code.kernel[0], code.dilation[0])
        for i in range(columns):
            right = _met(i, code.columns, code.stride[1], code.kernel[1], code.dilation[1])
            if not down or not right:
                continue
            x = e.load(vector, place(j, i), size)
            for r, kh in down:
                for c, kw in right:
                    tap = kh * code.kernel[1] + kw
                    weight = e.load(vector, near + tap * vector.bytes, size) if held is None else held[tap]
                    sums[r, c].set(multiply_add(e, x, weight, sums[r, c].get()))


def _finish(e: Emitter, code: DepthwiseCode, a: Arguments, goal: Value, sums: Sums) -> None:
    """Store the finished sums, past the caches where the output is large."""
    total = Type(SCALARS[code.total])
    parameter = e.load(total, a["constants"] + a["parameter"])
    finished = {key: finish(e, acc.get(), code.y, code.activation, parameter, code.narrowing) for key, acc in sums.items()}
    width = Type(SCALARS[code.y]).bytes * e.vector(total.scalar).lanes
    past = e.streamable(width, a["stream"], goal, a["ys_h"], a["ys_w"])
    for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
        with condition:
            for (r, c), value in finished.items():
                put(value, goal + r * a["ys_h"] + c * a["ys_w"])


def _met(place: int, count: int, stride: int, kernel: int, dilation: int) -> list[tuple[int, int]]:
    """The outputs that see a place of the window along one axis, each with the tap that it sees it through."""
    taps = [(p, place - p * stride) for p in range(count)]
    return [(p, at // dilation) for p, at in taps if at >= 0 and at % dilation == 0 and at // dilation < kernel]
