"""Windows of neighbouring sites gathered together, for channels that lie in planes; errors and outputs likewise.

What one site sees lies apart in planes, element by element. What a stretch of sites sees lies together: element r of their windows
is a run of neighbours under a tap. So squares of elements × sites are turned in registers:

    patch    the lines under the taps of all axes but the last, in scratch, as long as the stretch with its last window, in the sum's
             type; the boundary is dealt with here. Under a stride s the elements of one residue modulo s lie together (lanes.parted).
    windows  win[site][row][r] from the patch: element r of all sites begins at map_elements[r]
    errors   dy[site][row][o] from the planes of the output's gradient
    sums     res[site][row][o], turned back, finished and stored as neighbours of the output's planes
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from juanji.jit.elements import read, transpose
from juanji.jit.emit import I64, PTR, Int, Type, Value
from juanji.jit.lanes import parted
from juanji.jit.panels import outer_step
from juanji.jit.rows import Counter, each_site, put
from juanji.jit.windows import WindowKernel


@contextmanager
def each_stretch(k: WindowKernel, first: Value, end: Value) -> Iterator[tuple[Value, list[Value], Value]]:
    """Stretches of neighbouring sites by number: the first site's number and place, and how many there are; or single sites."""
    e, a = k.e, k.a
    if not k.code.square:
        with each_site(k, k.grid, first, end) as (site, t):
            yield site, t, e.integer(1)
        return
    *outer, last = k.grid
    walk = Counter(e, [*outer, a["stretches"]])
    walk.start(first)
    with e.loop(first, end):
        *t, stretch = (place.get() for place in walk.places)
        number, begin = e.integer(0), stretch * a["stretch"]
        for place, extent in zip(t, outer, strict=True):
            number = number * extent + place
        yield number * last + begin, [*t, begin], e.least(last - begin, a["stretch"])
        walk.advance()


# Windows --------------------------------------------------------------------------------------------------------------------


def gather_windows(k: WindowKernel, positions: list[Value], image: Value, count: Value, goal: Value) -> None:
    """Gather the windows of `count` neighbouring output positions out of an image's group of channels."""
    _fill_patch(k, positions, image, count)
    e, a, square, size = k.e, k.a, _square(k), k.total.bytes
    with e.loop(0, a["depth"], square.lanes) as r:
        offsets = [e.load(I64, a["map_elements"] + r * 8 + lane * 8, 8) for lane in range(square.lanes)]
        rows = [e.load(square, a["scratch"] + a["patch"] + offset, size) for offset in offsets]
        _store_columns(k, rows, count, goal + r * size, a["site_pitch"])


def _square(k: WindowKernel) -> Type:
    """A row of a square."""
    return Type(k.total.scalar, k.code.square)


def _store_columns(k: WindowKernel, rows: list[Value], count: Value, goal: Value, pitch: Value) -> None:
    """The first `count` columns of a square, `pitch` bytes apart."""
    e = k.e
    for i, column in enumerate(transpose(e, rows)):
        with e.when(e.compare("slt", e.integer(i), count)):
            e.store(column, goal + pitch * i, k.total.bytes)


def _fill_patch(k: WindowKernel, positions: list[Value], image: Value, count: Value) -> None:
    """The lines that `count` neighbouring windows see, of all channels."""
    e, a, last = k.e, k.a, k.axes - 1
    places = k.places(positions)
    first = positions[last] * k.code.apart
    length = (count - 1) * k.code.apart + a["reach"]

    def walk(axis: int, tap: Int, source: Value, outside: Value) -> None:
        if axis == last:
            _fill_lines(k, source, outside, first, length, a["scratch"] + a["patch"] + a["line"] * tap)
            return
        with e.loop(0, a[f"taps{axis}"]) as j:
            at, constant = places[axis] + j * a[f"step{axis}"], a["constants"] + axis * k.total.bytes
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
            walk(axis + 1, tap * a[f"taps{axis}"] + j, *inner)

    walk(0, e.integer(0), image, Value(e, PTR, "null"))


def _fill_lines(k: WindowKernel, source: Value, outside: Value, first: Value, length: Value, goal: Value) -> None:
    """The lines of all channels from coordinate `first` of the padded extent on; of a constant, where `outside` points to one."""
    e, a, vector, size = k.e, k.a, k.vector, k.total.bytes
    here = e.compare("eq", outside, Value(e, PTR, "null"))
    with e.otherwise(here):
        number = e.splat(e.load(k.total, outside), vector.lanes)
        with e.loop(0, a["channels"]) as c, e.loop(0, a["line"], vector.bytes) as at:
            e.store(number, goal + c * a["channel_pitch"] + at, size)
    low, stride = a["low_w"], k.code.apart
    start = e.least((e.most(low - first, 0) + (stride - 1)) // stride * stride, length)
    stop = e.most(e.least(low + a["size_w"] - first, length), start)
    with e.when(here):
        inside = source + (first - low) * k.size("x")
        with e.loop(0, a["channels"]) as c, e.loop(start, stop, stride * vector.lanes) as i:
            at = inside + c * a["xs_c"] + i * k.size("x")
            many = range(0, stride * vector.lanes, vector.lanes)
            vectors = [read(e, at + lane * k.size("x"), k.code.x, vector, stop - i - lane) for lane in many]
            for phase, part in enumerate(parted(e, vectors)):
                place = goal + c * a["channel_pitch"] + a["phase"] * phase + (i // stride) * size
                e.store_first(part, place, (stop - i + (stride - 1 - phase)) // stride)
    for begin, end in ((e.integer(0), start), (stop, length)):
        with e.loop(begin, end) as i:
            _fill_column(k, source, here, first + i, goal + a["phase"] * (i % stride) + (i // stride) * size)


def _fill_column(k: WindowKernel, source: Value, here: Value, place: Value, goal: Value) -> None:
    """One element of the lines of all channels, by the border map: the last axis' constant takes the place of what the others said."""
    e, a, last = k.e, k.a, k.axes - 1
    where = e.load(I64, a[f"map{last}"] + place * 8, 8)
    known = e.compare("sge", where, e.integer(0))
    with e.when(e.arith("and", known, here)), e.loop(0, a["channels"]) as c:
        e.store(read(e, source + c * a["xs_c"] + where * k.size("x"), k.code.x, k.total), goal + c * a["channel_pitch"])
    with e.otherwise(known):
        number = e.load(k.total, a["constants"] + last * k.total.bytes)
        with e.loop(0, a["channels"]) as c:
            e.store(number, goal + c * a["channel_pitch"])


# Errors and outputs ---------------------------------------------------------------------------------------------------------


def gather_errors(k: WindowKernel, source: Value, features: Value, count: Value, goal: Value) -> None:
    """Gather neighbouring features of `count` neighbouring output positions."""
    e, a, square = k.e, k.a, _square(k)
    with e.loop(0, features, square.lanes) as f:
        planes = [source + e.least(f + lane, features - 1) * a["ys_c"] for lane in range(square.lanes)]
        _store_columns(k, [read(e, plane, k.code.y, square, count) for plane in planes], count, goal + f * k.total.bytes, a["above_site"])


def await_outputs(k: WindowKernel, count: Value, goal: Value) -> None:
    """Ask for the lines that `store_outputs` will write: planes lie too far apart for the processor to foresee them."""
    e, a = k.e, k.a
    with e.loop(0, a["features"]) as f:
        e.prefetch(goal + f * a["ys_c"] + (count - 1) * k.size("y"), 2)


def store_outputs(k: WindowKernel, sums: Value, count: Value, goal: Value) -> None:
    """Finish and store all features of `count` neighbouring output positions."""
    e, a, square, size = k.e, k.a, _square(k), k.total.bytes
    with e.loop(0, a["features"], square.lanes) as f:
        sites = [e.load(square, sums + a["sums_site"] * e.least(site, count - 1) + f * size, size) for site in range(square.lanes)]
        for lane, column in enumerate(transpose(e, sites)):
            with e.when(e.compare("slt", f + lane, a["features"])):
                put(k, k.finish(column, "y", k.code.activation), goal + (f + lane) * a["ys_c"], None, count)
