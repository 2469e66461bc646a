"""The plane tile, for depthwise layers with channels first: one small plane at a time, in a panel that stays in the first cache.

Channels that meet a filter each have little to share but the plane itself. So a whole plane (or volume; of a large one a band of rows)
is copied into a panel once, where rows begin at cache lines, elements have the sum's type, stride phases lie apart and the border
stands around them; then all its outputs are computed from there, a tile of rows × vectors of neighbouring columns at a time. A loaded
vector meets every output row that wants it. All planes of an item have the same border: a constant one is written once for all.

The sum of each output runs over outer tap, kernel row, kernel column, in one chain of fused multiply-adds that starts from the bias,
as in the other tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, finish, multiply_add, read
from juanji.jit.emit import I64, Emitter, Int, Type, Value, Var
from juanji.jit.lanes import parted
from juanji.jit.target import Target
from juanji.jit.zeros import finite, leaving_out

MOST_UNROLLED = 320  # multiply-adds in one straight piece of code
PARTED = (1, 2, 4)  # strides along a row whose phases are taken apart vector by vector


@dataclass(frozen=True)
class PlaneCode:
    """Everything that the code depends on; triples are outer axis, rows and columns."""

    x: str
    total: str
    y: str
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    copied: bool  # the border of a row is made of its own elements
    bias: bool
    activation: str | None
    narrowing: Narrowing
    clipped: bool  # panel rows outside the array, of zeros, are left out, where that changes nothing
    held: bool  # the weights of an outer tap are held in registers
    rows: int
    vectors: int  # all but the last are full, also where a row is shorter than the tile
    step: int  # elements from one output of a row to the next

    @property
    def window(self) -> int:
        """Rows of the panel under a tile."""
        return (self.rows - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. band: output rows of an item; share: planes of an item; deep, high: of the panel."""
        return (
            *HEAD, "constants", "outside", "parameter", "map_d", "map_h", "map_w", "deep", "high", "size_h", "size_w", "low_h", "low_w",
            "extent_w", "out_d", "out_h", "out_w", "xs_n", "xs_c", "xs_d", "xs_h", "ys_n", "ys_c", "ys_d", "ys_h", "phase", "line",
            "start", "panel", "bands", "band", "shares", "share", "planes", "filters", "stream",
        )  # fmt: skip


def emit_planes(code: PlaneCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _item(e, code, a, item)
    return e.text()


def _item(e: Emitter, code: PlaneCode, a: Arguments, item: Value) -> None:
    """One item of work: image, band of rows, share of the planes."""
    rest, share = e.divide(item, a["shares"])
    image, band = e.divide(rest, a["bands"])
    h = e.least(band * a["band"], a["out_h"] - a["band"])
    first = share * a["share"]
    clear_panel(e, code, a)
    with e.loop(first, e.least(first + a["share"], a["planes"])) as plane:
        fill_panel(e, code, a, a["x"] + image * a["xs_n"] + plane * a["xs_c"], h * code.stride[1])
        with e.loop(plane * a["filters"], (plane + 1) * a["filters"]) as feature:
            goal = a["y"] + image * a["ys_n"] + feature * a["ys_c"] + h * a["ys_h"]
            _outputs(e, code, a, feature, h * code.stride[1] - a["low_h"], goal)


# The panel ------------------------------------------------------------------------------------------------------------------


class Copied(Protocol):
    """What the code of a panel depends on."""

    @property
    def x(self) -> str:
        """The input's type."""

    @property
    def total(self) -> str:
        """The sum's."""

    @property
    def stride(self) -> tuple[int, int, int]:
        """Of outer axis, rows and columns; phases of columns lie apart."""

    @property
    def copied(self) -> bool:
        """Whether the border of a row is made of its own elements."""


def clear_panel(e: Emitter, code: Copied, a: Arguments) -> None:
    """The number outside, everywhere."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    outside = e.splat(e.load(total, a["constants"] + a["outside"]), vector.lanes)
    with e.loop(0, a["panel"], vector.bytes) as at:
        e.store(outside, a["scratch"] + at)


def fill_panel(e: Emitter, code: Copied, a: Arguments, x: Value, first: Value) -> None:
    """The rows of one plane from padded row `first` on; those outside stay as they are."""

    def known(table: str, place: Value) -> tuple[Value, Value]:
        where = e.load(I64, a[table] + place * 8, 8)
        return where, e.compare("sge", where, e.integer(0))

    with e.loop(0, a["deep"]) as d:
        where_d, inside_d = known("map_d", d)
        with e.when(inside_d), e.loop(0, a["high"]) as j:
            where_h, inside_h = known("map_h", first + j)
            with e.when(inside_h):
                _fill_row(e, code, a, x + where_d * a["xs_d"] + where_h * a["xs_h"], panel_row(a, d, j))


def panel_row(a: Arguments, d: Value, j: Value) -> Value:
    """Where a row of the panel begins."""
    return a["scratch"] + a["start"] + (d * a["high"] + j) * a["line"]


def _fill_row(e: Emitter, code: Copied, a: Arguments, source: Value, goal: Value) -> None:
    total, stride = Type(SCALARS[code.total]), code.stride[2]
    vector, size = e.vector(total.scalar), Type(SCALARS[code.x]).bytes

    def place(i: Value) -> Value:
        """Of an element of the padded row."""
        return goal + (i % stride) * a["phase"] + (i // stride) * total.bytes

    def one_by_one(begin: Value, end: Value) -> None:
        with e.loop(begin, end) as i:
            e.store(read(e, source + i * size, code.x, total), place(a["low_w"] + i))

    ways = [place(a["low_w"] + phase) for phase in range(stride)]  # the first of every so many elements, the second ...

    def several(i: Value, rest: Value | None = None) -> None:
        """A vector for each phase, of neighbours from element i on; the first `rest` of these."""
        at = source + i * size
        counts = [None if rest is None else e.most(e.least(rest - k * vector.lanes, vector.lanes), 0) for k in range(stride)]
        found = parted(e, [read(e, at + k * vector.lanes * size, code.x, vector, count) for k, count in enumerate(counts)])
        for phase, (part, way) in enumerate(zip(found, ways, strict=True)):
            to = way + (i // stride) * total.bytes
            if rest is None:
                e.store(part, to)
            else:
                e.store_first(part, to, (rest + (stride - 1 - phase)) // stride)

    if stride in PARTED:
        step = stride * vector.lanes
        whole = a["size_w"] // step * step
        with e.loop(0, whole, step) as i:
            several(i)
        if e.masks:
            with e.when(e.compare("ne", whole, a["size_w"])):
                several(whole, a["size_w"] - whole)
        else:
            one_by_one(whole, a["size_w"])
    else:
        one_by_one(e.integer(0), a["size_w"])
    if code.copied:
        end = a["low_w"] + a["size_w"]
        low = e.least(a["low_w"], a["extent_w"])
        for begin, stop, inner in ((e.integer(0), low, e.integer(0)), (end, a["extent_w"], a["size_w"])):
            with e.loop(begin, stop) as i:
                where = e.load(I64, a["map_w"] + (i - inner) * 8, 8)
                e.store(read(e, source + where * size, code.x, total), place(i))


# The outputs ----------------------------------------------------------------------------------------------------------------

Sums = dict[tuple[int, int], Var]  # by row and vector of the tile
Pairs = list[tuple[int, Int]]  # row of the tile, kernel row


def _outputs(e: Emitter, code: PlaneCode, a: Arguments, feature: Value, first: Value, goal: Value) -> None:
    """All outputs of the panel for one filter. first: the row of the array that the panel begins with."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    deep, high, wide = code.kernel
    weights = a["w"] + feature * (deep * high * wide * total.bytes)

    def splats(taps: Value) -> list[Value]:
        """The weights of an outer tap."""
        return [e.splat(e.load(total, taps + tap * total.bytes), vector.lanes) for tap in range(high * wide)]

    held = splats(weights) if code.held and deep == 1 else None
    bias = e.splat(e.load(total, a["bias"] + feature * total.bytes), vector.lanes) if code.bias else e.zero(vector)
    width = vector.lanes * code.vectors
    allowed = finite(e, weights, deep * high * wide, vector) if code.clipped else None
    with e.loop(0, a["out_d"]) as d, e.loop(0, a["band"], code.rows) as h_next, e.loop(0, a["out_w"], width) as w_next:
        h = e.least(h_next, a["band"] - code.rows)
        w = e.most(e.least(w_next, a["out_w"] - width), 0)
        sums = {(r, v): e.var(vector, bias) for r in range(code.rows) for v in range(code.vectors)}
        corner = panel_row(a, d * code.stride[0], h * code.stride[1]) + w * total.bytes
        row = first + h * code.stride[1]

        def reduce(clipped: bool) -> None:
            with e.loop(0, deep) as tap:
                near = e.unknown(weights + tap * (high * wide * total.bytes))
                here = corner + tap * (code.dilation[0] * a["high"] * a["line"])
                own = splats(near) if code.held and held is None else held
                _reduce(e, code, a, Tile(here, near, own, row if clipped else None), sums)

        leaving_out(e, list(sums.values()), bias, allowed, reduce)
        store_rows(e, code, a, goal + d * a["ys_d"] + h * a["ys_h"] + w * (code.step * Type(SCALARS[code.y]).bytes), sums)


class Tile(NamedTuple):
    """Where a tile's window begins in the panel, its weights, in memory and in registers; and the row of the array that its window begins
    with, if rows outside are to be left out."""

    corner: Value
    weights: Value
    held: list[Value] | None
    row: Value | None


def _reduce(e: Emitter, code: PlaneCode, a: Arguments, tile: Tile, sums: Sums) -> None:
    """acc[row, vector] += Σ x[panel row, column] · w[kernel row, kernel column], row by row of the panel."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    _, high, wide = code.kernel
    stride, dilation = code.stride[1:], code.dilation[1:]

    def meet(line: Value, column: Int, pairs: Pairs, weights: Value) -> None:
        at = column * dilation[1]
        start = line + (at % stride[1]) * a["phase"] + (at // stride[1]) * total.bytes
        xs = [e.load(vector, start + v * vector.bytes) for v in range(code.vectors)]
        for r, kh in pairs:
            tap = kh * wide + column
            if tile.held is not None and isinstance(tap, int):
                one = tile.held[tap]
            else:
                one = e.splat(e.load(total, weights + tap * total.bytes), vector.lanes)
            for v, x in enumerate(xs):
                sums[r, v].set(multiply_add(e, x, one, sums[r, v].get()))

    unrolled = code.rows * code.vectors * high * wide <= MOST_UNROLLED

    def columns(line: Value, pairs: Pairs) -> None:
        """A row of the panel meets the output rows that see it, each through a kernel row."""
        near = e.unknown(tile.weights)  # else weights would stay in registers for the next row and drive sums out of theirs
        if unrolled or len(pairs) * code.vectors * wide <= MOST_UNROLLED // 8:
            for column in range(wide):
                meet(line, column, pairs, near)
        else:
            with e.loop(0, wide) as each:
                meet(line, each, pairs, near)

    steady = range(code.rows - 1, high) if stride[0] == dilation[0] == 1 and not unrolled and high > code.rows else range(0)
    for j in range(code.window):
        if j in steady:
            if j == steady.start:
                low, end = e.integer(steady.start), e.integer(steady.stop)
                if tile.row is not None:
                    low, end = e.most(low, 0 - tile.row), e.least(end, a["size_h"] - tile.row)
                with e.loop(low, end) as middle:
                    columns(tile.corner + middle * a["line"], [(r, middle - r) for r in range(code.rows)])
            continue
        pairs: Pairs = [
            (r, (j - r * stride[0]) // dilation[0])
            for r in range(code.rows)
            if (j - r * stride[0]) % dilation[0] == 0 and 0 <= (j - r * stride[0]) // dilation[0] < high
        ]
        if pairs and tile.row is not None:
            with e.when(e.compare("ult", tile.row + j, a["size_h"])):
                columns(tile.corner + j * a["line"], pairs)
        elif pairs:
            columns(tile.corner + j * a["line"], pairs)


class Stored(Protocol):
    """What the code of storing a tile depends on."""

    @property
    def total(self) -> str:
        """The sum's type."""

    @property
    def y(self) -> str:
        """The output's."""

    @property
    def vectors(self) -> int:
        """Of a row of the tile."""

    @property
    def step(self) -> int:
        """Elements from one output of a row to the next."""

    @property
    def activation(self) -> str | None:
        """What becomes of finished sums."""

    @property
    def narrowing(self) -> Narrowing:
        """What becomes of those that do not fit."""


def store_rows(e: Emitter, code: Stored, a: Arguments, goal: Value, sums: Sums) -> None:
    """Store the finished sums, past the caches where the output is large. Of a row shorter than the tile the last vector is not full."""
    total, out = Type(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes = e.vector(total.scalar).lanes
    width = lanes * code.vectors
    parameter = e.load(total, a["constants"] + a["parameter"])
    finished = {key: finish(e, acc.get(), code.y, code.activation, parameter, code.narrowing) for key, acc in sums.items()}

    def place(r: int, v: int) -> Value:
        return goal + r * a["ys_h"] + v * lanes * code.step * out.bytes

    if code.step > 1:
        left = e.least(a["out_w"], width)
        for (r, v), value in finished.items():
            e.store_apart(value, place(r, v), code.step, left - v * lanes)
        return
    whole = e.compare("sge", a["out_w"], e.integer(width))
    with e.when(whole):
        past = e.streamable(width * out.bytes, a["stream"], goal, a["ys_h"])
        for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
            with condition:
                for key, value in finished.items():
                    put(value, place(*key))
    with e.otherwise(whole):
        for (r, v), value in finished.items():
            if v < code.vectors - 1:
                e.store(value, place(r, v))
            else:
                e.store_first(value, place(r, v), a["out_w"] - v * lanes)
