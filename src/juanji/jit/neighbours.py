"""Windows of neighbouring sites gathered together, for channels that lie in planes; errors and outputs likewise.

What one site sees lies apart in planes, element by element. What a stretch of sites sees lies together: element r of their windows
is a run of neighbours under a tap. So squares of elements × sites are turned in registers:

    patch    the lines under the taps of all axes but the last, in scratch, as long as the stretch with its last window, in the sum's
             type; the boundary is dealt with here. Under a stride s the elements of one residue modulo s lie together (lanes.parted).
    windows  win[site][row][r] from the patch: element r of all sites begins at map_elements[r]
    errors   dy[site][row][o] from the planes of the output's gradient
    sums     res[site][row][o], turned back, finished and stored as neighbours of the output's planes
    adding   gradients of windows, turned back, are vectors over the sites again: what belongs to s taps that follow each other is mixed
             into s vectors of neighbours under a stride of s, and added to the lines of the input's gradient as one run
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from juanji.jit.elements import plus, read, transpose
from juanji.jit.emit import I64, PTR, Int, Type, Value
from juanji.jit.lanes import interleaved, parted, turned
from juanji.jit.panels import outer_step
from juanji.jit.rows import Counter, Kernel, Part, each_site, put, within
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
    e, a, square, size = k.e, k.a, _square(k), k.total.bytes
    fill_patch(k, positions, image, count, k.code.apart, a["channels"], a["scratch"] + a["patch"])
    with e.loop(0, a["depth"], square.lanes) as r:
        offsets = [e.load(I64, a["map_elements"] + r * 8 + lane * 8, 8) for lane in range(square.lanes)]
        lines = [a["scratch"] + a["patch"] + offset for offset in offsets]
        _store_columns(k, turned(e, square, lambda row, column: lines[row] + column * size), count, goal + r * size, a["site_pitch"])


def _square(k: WindowKernel) -> Type:
    """A row of a square."""
    return Type(k.total.scalar, k.code.square)


def _store_columns(k: WindowKernel, columns: list[Value], count: Value, goal: Value, pitch: Value) -> None:
    """The first `count` columns of a square, `pitch` bytes apart."""
    e = k.e
    for i, column in enumerate(columns):
        with e.when(e.compare("slt", e.integer(i), count)):
            e.store(column, goal + pitch * i, k.total.bytes)


def fill_patch(k: Kernel, positions: list[Value], image: Value, count: Value, apart: int, channels: Value, goal: Value) -> None:
    """The lines that `count` neighbouring windows see, `apart` elements from one to the next, of all channels."""
    e, a, last = k.e, k.a, k.axes - 1
    places = k.places(positions)
    first = positions[last] * apart
    length = (count - 1) * apart + a["reach"]

    def walk(axis: int, tap: Int, source: Value, outside: Value) -> None:
        if axis == last:
            _fill_lines(k, _Lines(source, outside, first, length, apart, channels), goal + a["line"] * tap)
            return
        with e.loop(0, a[f"taps{axis}"]) as j:
            at, constant = places[axis] + j * a[f"step{axis}"], a["constants"] + axis * k.total.bytes
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
            walk(axis + 1, tap * a[f"taps{axis}"] + j, *inner)

    walk(0, e.integer(0), image, Value(e, PTR, "null"))


class _Lines(NamedTuple):
    """The lines of all channels from coordinate `first` of the padded extent on; of a constant, where `outside` points to one."""

    source: Value
    outside: Value
    first: Value
    length: Value
    apart: int
    channels: Value


def _fill_lines(k: Kernel, lines: _Lines, goal: Value) -> None:
    e, a, vector, size = k.e, k.a, k.vector, k.total.bytes
    source, outside, first, length, stride, channels = lines
    here = e.compare("eq", outside, Value(e, PTR, "null"))
    with e.otherwise(here):
        number = e.splat(e.load(k.total, outside), vector.lanes)
        with e.loop(0, channels) as c, e.loop(0, a["line"], vector.bytes) as at:
            e.store(number, goal + c * a["channel_pitch"] + at, size)
    low = a["low_w"]
    start = e.least((e.most(low - first, 0) + (stride - 1)) // stride * stride, length)
    stop = e.most(e.least(low + a["size_w"] - first, length), start)
    with e.when(here):
        inside = source + (first - low) * k.size("x")
        with e.loop(0, channels) as c, e.loop(start, stop, stride * vector.lanes) as i:
            at = inside + c * a["xs_c"] + i * k.size("x")
            e.prefetch(at + (length + a["stretch"] * stride) * k.size("x"), 2)  # of the next windows
            many = range(0, stride * vector.lanes, vector.lanes)
            vectors = [read(e, at + lane * k.size("x"), k.x, vector, stop - i - lane) for lane in many]
            for phase, part in enumerate(parted(e, vectors)):
                place = goal + c * a["channel_pitch"] + a["phase"] * phase + (i // stride) * size
                e.store_first(part, place, (stop - i + (stride - 1 - phase)) // stride)
    for begin, end in ((e.integer(0), start), (stop, length)):
        with e.loop(begin, end) as i:
            _fill_column(k, lines, here, first + i, goal + a["phase"] * (i % stride) + (i // stride) * size)


def _fill_column(k: Kernel, lines: _Lines, here: Value, place: Value, goal: Value) -> None:
    """One element of the lines of all channels, by the border map: the last axis' constant takes the place of what the others said."""
    e, a, last = k.e, k.a, k.axes - 1
    where = e.load(I64, a[f"map{last}"] + place * 8, 8)
    known = e.compare("sge", where, e.integer(0))
    with e.when(e.arith("and", known, here)), e.loop(0, lines.channels) as c:
        e.store(read(e, lines.source + c * a["xs_c"] + where * k.size("x"), k.x, k.total), goal + c * a["channel_pitch"])
    with e.otherwise(known):
        number = e.load(k.total, a["constants"] + last * k.total.bytes)
        with e.loop(0, lines.channels) as c:
            e.store(number, goal + c * a["channel_pitch"])


# Gradients of windows -------------------------------------------------------------------------------------------------------


def add_windows(k: WindowKernel, positions: list[Value], part: Part, image: Value, count: Value, windows: Value) -> None:
    """Add the gradients of `count` neighbouring windows to the elements of the part that these were gathered from.

    Taps of the last axis are outermost: what is added next lies apart from what is being stored.
    """
    e, a, last = k.e, k.a, k.axes - 1
    _turn_gradients(k, part.channels * a["kernel"], count, windows)
    buffer = e.stack(_square(k), 2 * k.code.apart)
    with e.loop(0, a[f"taps{last}"], k.code.apart) as first:
        taps = _Taps.at(k, part, positions[last], first, count)

        def each_line(axis: int, line: Int, goal: Value) -> None:
            if axis == last:
                _add_line(k, part, taps, a["scratch"] + a["patch"] + line * a[f"taps{last}"] * taps.step, goal, buffer)
                return
            place = positions[axis] * a[f"stride{axis}"] + a[f"start{axis}"]
            with e.loop(0, a[f"taps{axis}"]) as j:
                where = e.load(I64, a[f"map{axis}"] + (place + j * a[f"step{axis}"]) * 8, 8)
                known = e.compare("sge", where, e.integer(0)) if axis else within(k, where, part)
                with e.when(known):
                    at = goal + (where - (0 if axis else part.low)) * a[f"xs{axis}"]
                    each_line(axis + 1, line * a[f"taps{axis}"] + j, at)

        each_line(0, e.integer(0), image)


def _turn_gradients(k: WindowKernel, length: Value, count: Value, windows: Value) -> None:
    """The gradients of neighbouring windows as vectors over their sites, in the patch."""
    e, a, square, size = k.e, k.a, _square(k), k.total.bytes
    with e.loop(0, length, square.lanes) as r:
        found = [windows + a["site_pitch"] * e.least(site, count - 1) + r * size for site in range(square.lanes)]
        for i, column in enumerate(turned(e, square, lambda site, element: found[site] + element * size)):
            e.store(column, a["scratch"] + a["patch"] + (r + i) * square.bytes, size)


class _Taps(NamedTuple):
    """Taps of the last axis that follow each other, as many as there are elements from one window to the next, fewer at the end.

    What they belong to in neighbouring windows is a run of neighbours in the padded extent: its first place, its length; from `low`
    to `high` it lies inside the array.
    """

    several: Value
    offsets: list[Value]  # of each tap's vector, from the first tap's of a line on
    step: Value  # from one to the next in the patch
    channel_step: Value
    place: Value
    length: Value
    low: Value
    high: Value

    @classmethod
    def at(cls, k: WindowKernel, part: Part, position: Value, first: Value, count: Value) -> _Taps:
        """The taps from the first on, by their places, over the windows of `count` positions."""
        e, a, apart, last, row = k.e, k.a, k.code.apart, k.axes - 1, _square(k).bytes
        step, channel_step = (part.channels * row, e.integer(row)) if k.code.channel_inner else (e.integer(row), a["kernel"] * row)
        taps, backwards = a[f"taps{last}"], e.compare("slt", a[f"step{last}"], e.integer(0))
        dilation = e.select(backwards, 0 - a[f"step{last}"], a[f"step{last}"])
        several = e.least(taps - first, apart)
        numbers = [e.least(first + i, taps - 1) for i in range(apart)]
        offsets = [e.select(backwards, taps - 1 - number, number) * step for number in numbers]
        place = position * a[f"stride{last}"] + first * dilation
        length = (count - 1) * apart + several
        low = e.least(e.most(a["low_w"] - place, 0), length)
        high = e.most(e.least(a["low_w"] + a["size_w"] - place, length), low)
        return cls(several, offsets, step, channel_step, place, length, low, high)


def _add_line(k: WindowKernel, part: Part, taps: _Taps, line: Value, goal: Value, buffer: Value) -> None:
    """What belongs to some taps of one line: mixed into a run for each channel; what lies outside the array by the border map."""
    e, a, square, size, apart = k.e, k.a, _square(k), k.total.bytes, k.code.apart
    cut = e.compare("ne", taps.low, e.integer(0))
    begin = goal + (taps.place + taps.low - a["low_w"]) * size
    with e.loop(0, part.channels) as c:
        to = begin + c * a["xs_c"]
        e.prefetch(to + (taps.length + a["stretch"] * apart) * size, 3)
        planes = [e.load(square, line + offset + c * taps.channel_step, size) for offset in taps.offsets]
        there = [e.compare("slt", e.integer(i), taps.several) for i in range(apart)]
        mixed = interleaved(e, [e.select(one, plane, e.zero(square)) for one, plane in zip(there, planes, strict=True)])
        with e.when(cut):  # the run begins inside a vector
            for i, more in enumerate(mixed):
                e.store(more, buffer + i * square.bytes)
        for i, more in enumerate(mixed):
            known = e.var(square, more)
            with e.when(cut):
                known.set(e.load(square, buffer + taps.low * size + i * square.bytes, size))
            at, lanes = to + i * square.bytes, taps.high - taps.low - i * square.lanes
            e.store_first(plus(e, e.load_first(square, at, lanes), known.get()), at, lanes)
    for start, end in ((e.integer(0), taps.low), (taps.high, taps.length)):
        with e.loop(start, end) as element:
            _add_column(k, part, taps, line, goal, element)


def _add_column(k: WindowKernel, part: Part, taps: _Taps, line: Value, goal: Value, element: Value) -> None:
    """One element of a run, of all channels, where the border map leads."""
    e, a, size = k.e, k.a, k.total.bytes
    where = e.load(I64, a[f"map{k.axes - 1}"] + (taps.place + element) * 8, 8)
    site, phase = e.divide(element, e.integer(k.code.apart))
    offset = taps.offsets[0]
    for number, other in enumerate(taps.offsets[1:], 1):
        offset = e.select(e.compare("eq", phase, e.integer(number)), other, offset)
    known = e.arith("and", e.compare("sge", where, e.integer(0)), e.compare("slt", phase, taps.several))
    with e.when(known), e.loop(0, part.channels) as c:
        to, source = goal + where * size + c * a["xs_c"], line + offset + c * taps.channel_step + site * size
        e.store(plus(e, e.load(k.total, to, size), e.load(k.total, source, size)), to, size)


# Errors and outputs ---------------------------------------------------------------------------------------------------------


def gather_errors(k: WindowKernel, source: Value, features: Value, count: Value, goal: Value) -> None:
    """Gather neighbouring features of `count` neighbouring output positions."""
    e, a, square = k.e, k.a, _square(k)
    with e.loop(0, features, square.lanes) as f:
        planes = [source + e.least(f + lane, features - 1) * a["ys_c"] for lane in range(square.lanes)]
        for plane in planes:
            e.prefetch(plane + 2 * a["stretch"] * k.size("y"), 2)  # of the next positions
        columns = transpose(e, [read(e, plane, k.code.y, square, count) for plane in planes])
        _store_columns(k, columns, count, goal + f * k.total.bytes, a["above_site"])


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
