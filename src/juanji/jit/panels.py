"""Line buffers and panels: boundary, element type, stride phases and layout are dealt with here, once per line.

A line is what one row of the input looks like to a tile: `count` elements of the padded extent from coordinate `first`, as
numbers of the sum's type. All fillers share one walk over it (`emit_filler`), the two borders by the border map and the inside by
whatever is fastest; they differ in what an element is and where it goes:

    line_filler         one channel; with a stride s along the line the elements of one residue mod s lie together (phase f of
                        element i is i mod s, at place i // s), so that the lanes of a vector are neighbours in memory again
    pixel_filler        all channels of a channels-last pixel, cut into blocks of `panel_c` channels `ps_b` bytes apart
    transposing_filler  the same panel from channels-first planes: squares of channels × columns are turned in registers

Those of the matrix unit's panels are in `matrix_panels`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I64, PTR, Emitter, Type, Value
from juanji.jit.lanes import parted

LINE_ARGUMENTS = ("constants", "map_w", "size_w", "low_w", "xs_w", "phase", "line", "slack")


@dataclass(frozen=True)
class Line:
    """What the code of a filler depends on."""

    dtype: str  # of the input
    total: str  # scalar type of the sum
    stride: int  # along the line
    unit: bool  # whether neighbours of the input lie together in memory
    axes: int  # spatial axes: the place of the line's own constant among `constants`


@dataclass(frozen=True)
class Row:
    """Inside a filler: the emitter, the arguments and the line being filled."""

    e: Emitter
    line: Line
    a: Arguments
    goal: Value
    source: Value

    @property
    def total(self) -> Type:
        return Type(self.line.total)

    @property
    def vector(self) -> Type:
        return self.e.vector(self.line.total)

    @property
    def size(self) -> int:
        """Bytes of an element of the input."""
        return Type(SCALARS[self.line.dtype]).bytes

    def read(self, pointer: Value, type: Type, count: Value | None = None) -> Value:
        return read(self.e, pointer, self.line.dtype, type, count)


Fill = Callable[[Row, Value, Value], None]  # a number everywhere in element i
Copy = Callable[[Row, Value, Value], None]  # element i from the input's element at a pointer
Inside = Callable[[Row, Value, Value, Value], None]  # elements start … stop, the input's element for i = 0 at a pointer


def emit_filler(e: Emitter, line: Line, names: tuple[str, ...], fill: Fill, copy: Copy, inside: Inside) -> None:
    """Emits fill_line(row of arguments, destination, source, constant or null, first, count).

    source: where element 0 of the input's row lies; constant: points to the number that the whole row consists of when
    an outer axis is outside, else null. What lies left and right of the row comes from the border map of the line's axis.
    """
    total = Type(line.total)
    with e.function("fill_line", PTR, PTR, PTR, PTR, I64, I64, internal=True) as (words, goal, source, constant, first, count):
        a = Arguments(e, words, names)
        row = Row(e, line, a, goal, source)
        here = e.compare("eq", constant, Value(e, PTR, "null"))
        beyond = a["constants"] + (line.axes - 1) * total.bytes
        low, size = a["low_w"], a["size_w"]
        start = e.least(e.most(low - first, e.integer(0)), count)
        stop = e.most(e.least(low + size - first, count), start)
        with e.when(e.compare("ne", a["slack"], e.integer(0))), e.loop(0, a["line"], row.vector.bytes) as at:
            e.store(e.zero(row.vector), goal + at, total.bytes)
        for begin, end, inner in ((e.integer(0), start, e.integer(0)), (stop, count, size)):
            with e.loop(begin, end) as i:
                where = e.load(I64, a["map_w"] + (first + i - inner) * 8, 8)
                known = e.compare("sge", where, e.integer(0))
                with e.otherwise(known):
                    fill(row, i, e.load(total, beyond))
                with e.when(known):
                    with e.when(here):
                        copy(row, i, source + where * a["xs_w"])
                    with e.otherwise(here):
                        fill(row, i, e.load(total, constant))
        with e.otherwise(here):
            number = e.load(total, constant)
            with e.loop(start, stop) as i:
                fill(row, i, number)
        with e.when(here):
            inside(row, source + (first - low) * a["xs_w"], start, stop)


def outer_step(
    e: Emitter, a: Arguments, table: str, stride: str, at: Value, constant: Value, source: Value, outside: Value
) -> tuple[Value, Value]:
    """One outer axis of the way to a row: where the input continues, and the constant that the whole row consists of, or null.

    at: the place in the padded extent, whose table says where in the array it lies; outside it, `constant` takes the place of what
    earlier axes said.
    """
    where = e.load(I64, a[table] + at * 8, 8)
    known = e.compare("sge", where, e.integer(0))
    return source + e.select(known, where, e.integer(0)) * a[stride], e.select(known, outside, constant)


# One channel ------------------------------------------------------------------------------------------------------------


def line_filler(e: Emitter, line: Line, names: tuple[str, ...]) -> None:
    """Emits the filler of one channel's line."""
    emit_filler(e, line, names, _line_fill, _line_copy, _line_inside)


def _line_place(row: Row, i: Value) -> Value:
    element, stride = row.total.bytes, row.line.stride
    if stride == 1:
        return row.goal + i * element
    return row.goal + (i % stride) * row.a["phase"] + (i // stride) * element


def _line_fill(row: Row, i: Value, number: Value) -> None:
    row.e.store(number, _line_place(row, i))


def _line_copy(row: Row, i: Value, pointer: Value) -> None:
    row.e.store(row.read(pointer, row.total), _line_place(row, i))


def _line_inside(row: Row, begin: Value, start: Value, stop: Value) -> None:
    e, line, vector = row.e, row.line, row.vector
    if line.unit and line.stride == 1:
        copy_run(row, begin, row.goal, start, stop)
        return

    def one_by_one(low: Value, high: Value) -> None:
        with e.loop(low, high) as i:
            _line_copy(row, i, begin + i * row.a["xs_w"])

    if not line.unit or line.stride not in (2, 4):
        one_by_one(start, stop)
        return
    step = line.stride * vector.lanes
    even = e.least((start + (line.stride - 1)) // line.stride * line.stride, stop)
    fits = e.compare("sge", stop - even, e.integer(step))
    latest = even + e.most(stop - even - step, 0) // line.stride * line.stride
    end = e.select(fits, latest + step, even)
    one_by_one(start, even)
    with e.loop(even, end, step) as following:  # the last vectors overlap those before
        i = e.least(following, latest)
        at = begin + i * row.size
        vectors = [row.read(at + k * vector.lanes * row.size, vector) for k in range(line.stride)]
        for f, part in enumerate(parted(e, vectors)):
            e.store(part, row.goal + (i // line.stride) * row.total.bytes + row.a["phase"] * f, row.total.bytes)
    one_by_one(end, stop)


def copy_run(row: Row, source: Value, goal: Value, start: Value, stop: Value) -> None:
    """Neighbours to neighbours, a vector at a time; the last vector overlaps the one before."""
    e, vector, element = row.e, row.vector, row.total.bytes
    wide = e.compare("sge", stop - start, e.integer(vector.lanes))
    with e.when(wide), e.loop(start, stop, vector.lanes) as i:
        at = e.least(i, stop - vector.lanes)
        e.store(row.read(source + at * row.size, vector), goal + at * element, element)
    with e.otherwise(wide):
        if e.masks:
            e.store_first(row.read(source + start * row.size, vector, stop - start), goal + start * element, stop - start)
        else:
            with e.loop(start, stop) as i:
                e.store(row.read(source + i * row.size, row.total), goal + i * element)


# All channels of a pixel ------------------------------------------------------------------------------------------------


def pixel_filler(e: Emitter, line: Line, names: tuple[str, ...]) -> None:
    """Emits the filler of a row of channels-last pixels. Where one block holds all channels, the inside is one run of neighbours."""

    def copy(row: Row, i: Value, pixel: Value) -> None:
        a, block = row.a, row.a["panel_c"]
        with e.loop(0, a["panels"]) as b:
            channels = e.least(block, a["channels_all"] - b * block)
            goal = row.goal + b * a["ps_b"] + i * block * row.total.bytes
            copy_run(row, pixel + b * block * row.size, goal, e.integer(0), channels)

    def inside(row: Row, begin: Value, start: Value, stop: Value) -> None:
        run = e.compare("ne", row.a["whole"], e.integer(0))
        with e.when(run):
            copy_run(row, begin, row.goal, start * row.a["panel_c"], stop * row.a["panel_c"])
        with e.otherwise(run), e.loop(start, stop) as i:
            copy(row, i, begin + i * row.a["xs_w"])

    emit_filler(e, line, names, fill_pixel, copy, inside)


def fill_pixel(row: Row, i: Value, number: Value) -> None:
    """The same number throughout a pixel's blocks."""
    e, a, element = row.e, row.a, row.total.bytes
    many = e.splat(number, row.vector.lanes)
    with e.loop(0, a["panels"]) as b:
        start = row.goal + b * a["ps_b"] + i * a["panel_c"] * element
        whole = a["panel_c"] - a["panel_c"] % row.vector.lanes
        with e.loop(0, whole, row.vector.lanes) as c:
            e.store(many, start + c * element, element)
        with e.loop(whole, a["panel_c"]) as c:
            e.store(number, start + c * element)


def transposing_filler(e: Emitter, line: Line, names: tuple[str, ...]) -> None:
    """Emits the filler of a row of pixels out of channels-first planes; `panel_c` is a multiple of the lanes."""
    emit_filler(e, line, names, fill_pixel, _gather_pixel, _turn)


def _pixel_place(row: Row, c: Value, i: Value) -> Value:
    block = row.a["panel_c"]
    return row.goal + (c // block) * row.a["ps_b"] + (i * block + c % block) * row.total.bytes


def _gather_pixel(row: Row, i: Value, pointer: Value) -> None:
    with row.e.loop(0, row.a["channels_all"]) as c:
        row.e.store(row.read(pointer + c * row.a["xs_c"], row.total), _pixel_place(row, c, i))


def _turn(row: Row, begin: Value, start: Value, stop: Value) -> None:
    e, a, vector, element = row.e, row.a, row.vector, row.total.bytes
    lanes = vector.lanes
    wide = e.compare("sge", stop - start, e.integer(lanes))
    if not e.masks:
        with e.otherwise(wide), e.loop(start, stop) as i:
            _gather_pixel(row, i, begin + i * a["xs_w"])
    count, end = (e.least(stop - start, lanes), stop) if e.masks else (None, e.select(wide, stop, start))
    buffer = e.stack(vector, lanes)
    with e.loop(0, a["channels_all"], lanes) as c, e.loop(start, end, lanes) as next_i:
        i = e.most(start, e.least(next_i, stop - lanes))
        planes = [begin + e.least(c + lane, a["channels_all"] - 1) * a["xs_c"] for lane in range(lanes)]  # the last channel once more
        pixels = transpose(e, [row.read(plane + i * row.size, vector, count) for plane in planes])
        goal = _pixel_place(row, c, i)
        with e.when(wide):
            for lane, pixel in enumerate(pixels):
                e.store(pixel, goal + lane * a["panel_c"] * element, element)
        if count is not None:
            with e.otherwise(wide):
                for lane, pixel in enumerate(pixels):
                    e.store(pixel, buffer + lane * vector.bytes)
                with e.loop(0, count) as column:
                    e.store(e.load(vector, buffer + column * vector.bytes), goal + column * a["panel_c"] * element, element)
