"""Line buffers: boundary, element type, stride phases and foreign strides are dealt with here, once per line.

A line is what one row of the input looks like to a tile: `count` elements of the padded extent from coordinate `first`,
as numbers of the sum's type. With a stride s along the line, the elements of one residue mod s lie together
(phase f of element i is i mod s, at place i // s), so that the lanes of a vector are neighbours in memory again.
"""

from dataclasses import dataclass

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I64, PTR, Emitter, Type, Value

LINE_ARGUMENTS = ("constants", "map_w", "size_w", "low_w", "xs_w", "phase", "line", "slack")


@dataclass(frozen=True)
class Line:
    """What the code of a line filler depends on."""

    dtype: str  # of the input
    total: str  # scalar type of the sum
    stride: int  # along the line
    unit: bool  # whether neighbours of the input lie together in memory
    axes: int  # spatial axes: the place of the line's own constant among `constants`


def line_filler(e: Emitter, line: Line, names: tuple[str, ...], name: str = "fill_line") -> None:
    """Emits fill_line(row of arguments, destination, source, constant or null, first, count).

    source: where element 0 of the input's row lies; constant: points to the number that the whole row consists of when
    an outer axis is outside, else null. What lies left and right of the row comes from the border map of the line's axis.
    """
    total = Type(line.total)
    vector = e.vector(line.total)
    element = total.bytes
    with e.function(name, PTR, PTR, PTR, PTR, I64, I64, internal=True) as (row, goal, source, constant, first, count):
        a = Arguments(e, row, names)
        inside = e.compare("eq", constant, Value(e, PTR, "null"))
        beyond = a["constants"] + (line.axes - 1) * element
        low, size = a["low_w"], a["size_w"]
        start = e.least(e.most(low - first, e.integer(0)), count)
        stop = e.most(e.least(low + size - first, count), start)

        def place(i: Value) -> Value:
            if line.stride == 1:
                return goal + i * element
            return goal + (i % line.stride) * a["phase"] + (i // line.stride) * element

        with e.when(e.compare("ne", a["slack"], e.integer(0))), e.loop(0, a["line"], vector.bytes) as at:
            e.store(e.zero(vector), goal + at, element)
        for begin, end, inner in ((e.integer(0), start, e.integer(0)), (stop, count, a["size_w"])):
            with e.loop(begin, end) as i:
                where = e.load(I64, a["map_w"] + (first + i - inner) * 8, 8)
                known = e.compare("sge", where, e.integer(0))
                with e.otherwise(known):
                    e.store(e.load(total, beyond), place(i))
                with e.when(known):
                    with e.when(inside):
                        e.store(read(e, source + where * a["xs_w"], line.dtype, total), place(i))
                    with e.otherwise(inside):
                        e.store(e.load(total, constant), place(i))
        with e.otherwise(inside):
            number = e.load(total, constant)
            with e.loop(start, stop) as i:
                e.store(number, place(i))
        with e.when(inside):
            begin = source + (first - low) * a["xs_w"]
            if line.unit and line.stride == 1:
                _copy(e, begin, goal, start, stop, line.dtype, vector)
                return

            def one_by_one(begins: Value, ends: Value) -> None:
                with e.loop(begins, ends) as i:
                    e.store(read(e, begin + i * a["xs_w"], line.dtype, total), place(i))

            if not line.unit or line.stride not in (2, 4):
                one_by_one(start, stop)
                return
            step = line.stride * vector.lanes
            even = e.least((start + (line.stride - 1)) // line.stride * line.stride, stop)
            whole = even + (stop - even) // step * step
            one_by_one(start, even)
            with e.loop(even, whole, step) as i:
                at = begin + i * a["xs_w"]
                width = vector.lanes * Type(SCALARS[line.dtype]).bytes
                vectors = [read(e, at + k * width, line.dtype, vector) for k in range(line.stride)]
                for f, part in enumerate(_phases(e, vectors)):
                    e.store(part, goal + (i // line.stride) * element + a["phase"] * f, element)
            one_by_one(whole, stop)


def _phases(e: Emitter, vectors: list[Value]) -> list[Value]:
    """Neighbouring elements apart by their number modulo a power of two: evens and odds, and each of these again."""
    if len(vectors) == 1:
        return vectors
    lanes = vectors[0].type.lanes
    pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
    even = _phases(e, [e.shuffle(a, b, range(0, 2 * lanes, 2)) for a, b in pairs])
    odd = _phases(e, [e.shuffle(a, b, range(1, 2 * lanes, 2)) for a, b in pairs])
    return [part for both in zip(even, odd, strict=True) for part in both]


def _copy(e: Emitter, source: Value, goal: Value, start: Value, stop: Value, dtype: str, vector: Type) -> None:
    """Neighbours to neighbours, a vector at a time; the last vector overlaps the one before."""
    size = Type(SCALARS[dtype]).bytes
    element = Type(vector.scalar).bytes
    lanes = vector.lanes
    wide = e.compare("sge", stop - start, e.integer(lanes))
    with e.when(wide), e.loop(start, stop, lanes) as i:
        at = e.least(i, stop - lanes)
        e.store(read(e, source + at * size, dtype, vector), goal + at * element)
    with e.otherwise(wide), e.loop(start, stop) as i:
        e.store(read(e, source + i * size, dtype, Type(vector.scalar)), goal + i * element)


def pixel_filler(e: Emitter, line: Line, names: tuple[str, ...], name: str = "fill_line") -> None:
    """Emits fill_line for channels-last input: a row of pixels, cut into blocks of `panel_c` channels `ps_b` bytes apart.

    Same arguments as `line_filler`'s. A block holds its pixels one after the other, `panel_c` elements each; where one
    block holds all channels of the array, the inside of a row is one run of neighbours.
    """
    total = Type(line.total)
    vector = e.vector(line.total)
    element, size = total.bytes, Type(SCALARS[line.dtype]).bytes
    with e.function(name, PTR, PTR, PTR, PTR, I64, I64, internal=True) as (row, goal, source, constant, first, count):
        a = Arguments(e, row, names)
        inside = e.compare("eq", constant, Value(e, PTR, "null"))
        beyond = a["constants"] + (line.axes - 1) * element
        low = a["low_w"]
        start = e.least(e.most(low - first, e.integer(0)), count)
        stop = e.most(e.least(low + a["size_w"] - first, count), start)
        block = a["panel_c"]

        def fill(i: Value, number: Value) -> None:
            _fill_pixel(e, a, goal + i * block * element, number)

        def copy(i: Value, pixel: Value) -> None:
            with e.loop(0, a["panels"]) as b:
                channels = e.least(block, a["channels_all"] - b * block)
                _copy(e, pixel + b * block * size, goal + b * a["ps_b"] + i * block * element, e.integer(0), channels, line.dtype, vector)

        for begin, end, inner in ((e.integer(0), start, e.integer(0)), (stop, count, a["size_w"])):
            with e.loop(begin, end) as i:
                where = e.load(I64, a["map_w"] + (first + i - inner) * 8, 8)
                known = e.compare("sge", where, e.integer(0))
                with e.otherwise(known):
                    fill(i, e.load(total, beyond))
                with e.when(known):
                    with e.when(inside):
                        copy(i, source + where * a["xs_w"])
                    with e.otherwise(inside):
                        fill(i, e.load(total, constant))
        with e.otherwise(inside):
            number = e.load(total, constant)
            with e.loop(start, stop) as i:
                fill(i, number)
        with e.when(inside):
            begin = source + (first - low) * a["xs_w"]
            run = e.compare("ne", a["whole"], e.integer(0))
            with e.when(run):
                _copy(e, begin, goal, start * block, stop * block, line.dtype, vector)
            with e.otherwise(run), e.loop(start, stop) as i:
                copy(i, begin + i * a["xs_w"])


def transposing_filler(e: Emitter, line: Line, names: tuple[str, ...], name: str = "fill_line") -> None:
    """Emits fill_line for channels-first input that a tile wants pixel by pixel: squares of channels × columns are turned.

    Same arguments as `line_filler`'s, and the same panel as `pixel_filler`'s; `panel_c` is a multiple of the lanes.
    """
    total = Type(line.total)
    vector = e.vector(line.total)
    lanes, element = vector.lanes, total.bytes
    size = Type(SCALARS[line.dtype]).bytes
    with e.function(name, PTR, PTR, PTR, PTR, I64, I64, internal=True) as (row, goal, source, constant, first, count):
        a = Arguments(e, row, names)
        inside = e.compare("eq", constant, Value(e, PTR, "null"))
        beyond = a["constants"] + (line.axes - 1) * element
        low = a["low_w"]
        start = e.least(e.most(low - first, e.integer(0)), count)
        stop = e.most(e.least(low + a["size_w"] - first, count), start)
        block = a["panel_c"]

        def place(c: Value, i: Value) -> Value:
            return goal + (c // block) * a["ps_b"] + (i * block + c % block) * element

        def one(i: Value, where: Value) -> None:
            with e.loop(0, a["channels_all"]) as c:
                e.store(read(e, source + c * a["xs_c"] + where, line.dtype, total), place(c, i))

        for begin, end, inner in ((e.integer(0), start, e.integer(0)), (stop, count, a["size_w"])):
            with e.loop(begin, end) as i:
                where = e.load(I64, a["map_w"] + (first + i - inner) * 8, 8)
                known = e.compare("sge", where, e.integer(0))
                with e.otherwise(known):
                    _fill_pixel(e, a, goal + i * block * element, e.load(total, beyond))
                with e.when(known):
                    with e.when(inside):
                        one(i, where * a["xs_w"])
                    with e.otherwise(inside):
                        _fill_pixel(e, a, goal + i * block * element, e.load(total, constant))
        with e.otherwise(inside):
            number = e.load(total, constant)
            with e.loop(start, stop) as i:
                _fill_pixel(e, a, goal + i * block * element, number)
        with e.when(inside):
            begin = source + (first - low) * a["xs_w"]
            wide = e.compare("sge", stop - start, e.integer(lanes))
            with e.when(wide), e.loop(0, a["channels_all"], lanes) as c, e.loop(start, stop, lanes) as next_i:
                i = e.least(next_i, stop - lanes)
                rows = [read(e, begin + (c + lane) * a["xs_c"] + i * size, line.dtype, vector) for lane in range(lanes)]
                for lane, pixel in enumerate(transpose(e, rows)):
                    e.store(pixel, place(c, i) + lane * block * element, element)
            with e.otherwise(wide):
                if e.masks:
                    buffer = e.stack(vector, lanes)
                    with e.loop(0, a["channels_all"], lanes) as c:
                        left = stop - start
                        rows = [read(e, begin + (c + lane) * a["xs_c"] + start * size, line.dtype, vector, left) for lane in range(lanes)]
                        for lane, pixel in enumerate(transpose(e, rows)):
                            e.store(pixel, buffer + lane * vector.bytes)
                        with e.loop(0, left) as i:
                            e.store(e.load(vector, buffer + i * vector.bytes), place(c, start + i), element)
                else:
                    with e.loop(start, stop) as i:
                        one(i, (first - low + i) * a["xs_w"])


def _fill_pixel(e: Emitter, a: Arguments, pixel: Value, number: Value) -> None:
    """The same number in every channel of one pixel of a panel."""
    element = number.type.bytes
    vector = e.vector(number.type.scalar)
    many = e.splat(number, vector.lanes)
    with e.loop(0, a["panels"]) as b:
        start = pixel + b * a["ps_b"]
        whole = a["panel_c"] - a["panel_c"] % vector.lanes
        with e.loop(0, whole, vector.lanes) as c:
            e.store(many, start + c * element, element)
        with e.loop(whole, a["panel_c"]) as c:
            e.store(number, start + c * element)
