"""The channel tile: lanes along the output channels, for dense layers; and its lane-wise kin for depthwise ones.

One chunk is a run of neighbouring output pixels (whole rows, or part of one). For each chunk:

    panel      the part of the input under it, padded, in the sum's type: pixel by pixel in blocks of channels, or plane
               by plane (few channels, channels-first); or the input itself where it needs nothing
    tile       acc[pixel, vector] over `pixels` × `vectors`: x is broadcast from memory at any address, weights are
               loaded as vectors; lane-wise, x is a vector as well and lanes are the channels of a depthwise layer
    blocks     the reduction is cut into blocks of channels so that the weights of one block and one tile stay in the
               L1 cache; a chain of sums is put down in `sums` and taken up again by the next block, never restarted
    store      channels-last outputs leave from the tile; channels-first ones are transposed in registers, chunk by chunk

The sum of each output runs over channel block, taps, channel, in this order, in one chain of fused multiply-adds that
starts from the bias. Where a pixel's window lies is a table of offsets, so that kernel sizes, strides, dilations and
channel counts are arguments: one piece of code serves all layers of a network that share a tile shape.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.chunks import chunk_of
from juanji.jit.elements import SCALARS, finish, multiply_add, transpose
from juanji.jit.emit import I64, PTR, Emitter, Int, Type, Value, Var
from juanji.jit.ieee import ieee_mode
from juanji.jit.panels import LINE_ARGUMENTS, Line, line_filler, outer_step, pixel_filler, transposing_filler
from juanji.jit.target import Target

MOST_UNROLLED = 320


@dataclass(frozen=True)
class ChannelCode:
    """Everything that the code depends on."""

    x: str
    total: str
    y: str
    axes: int
    planar: bool  # the tile sees x plane by plane, else pixel by pixel
    planar_x: bool  # the input lies plane by plane
    panel: bool  # False: the input is read where it lies
    channels_last_y: bool
    gaps: bool  # outputs do not lie one behind the other: a table says where
    step: int  # elements from one output to the next along the innermost axis, if it is a power of two that a vector spreads over, else 0
    lanewise: int  # channels of a group if lanes are channels of input and output alike, else 0
    bias: bool
    activation: str | None
    narrowing: Narrowing
    pixels: int
    vectors: int
    prefetch: bool  # ask for the next block's weights while this one's are used
    steps: int  # reduction steps of the innermost loop if so few that it is unrolled, else 0

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "taps", "tap", "reach", "stride", "map", "xs", "ps", "ys")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "map_offsets", "map_goals",
            "groups", "channels", "blocks_c", "steps", "panels", "panel_c", "split", "splits", "blocks_f", "count_f",
            "xs_n", "xs_c", "ps_b", "ps_c",
            "ys_n", "ys_c", "ys_p", "sums", "step", "inner", "whole", "channels_all", "stream",
        )  # fmt: skip


def emit_channel(code: ChannelCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    total = SCALARS[code.total]
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        held = e.var(I64, e.integer(-1))  # the chunk whose panel is filled: the shares of the features of one chunk follow each other
        with e.loop(a["begin"], a["end"]) as item:
            _item(e, code, a, item, held)
        with e.when(e.compare("ne", a["stream"], e.integer(0))):
            e.fence()
    if code.panel:
        line = Line(code.x, total, 1, True, code.axes)
        filler = line_filler if code.planar else transposing_filler if code.planar_x else pixel_filler
        filler(e, line, code.names)
    return e.text()


def _item(e: Emitter, code: ChannelCode, a: Arguments, item: Value, held: Var) -> None:
    """One item of work: image, group, chunk of pixels, share of the features."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    width = vector.lanes * code.vectors
    chunk = chunk_of(e, code.axes, a, item)
    if code.panel:
        base = a["scratch"]
        with e.when(e.compare("ne", chunk.number, held.get())):
            fill_panel(e, code.axes, total, code.planar, a, chunk.origin, chunk.extent, chunk.xs)
        held.set(chunk.number)
    else:
        base = chunk.in_place(a)

    f_end = e.least((chunk.split + 1) * a["split"], a["blocks_f"])
    with e.loop(chunk.split * a["split"], f_end) as block_f:
        f = block_f * width
        place = chunk.group * a["blocks_f"] + block_f
        bias = a["bias"] + place * (width * total.bytes)
        weights = e.var(PTR, a["w"] + place * a["step"])
        goal = chunk.ys + f * a["ys_c"]
        features = a["count_f"] - f
        with e.loop(0, a["blocks_c"]) as block_c:
            first = e.compare("eq", block_c, e.integer(0))
            last = e.compare("eq", block_c + 1, a["blocks_c"])
            source = base + (block_f if code.lanewise else block_c) * a["ps_b"]
            with e.loop(0, chunk.pixels, code.pixels) as p:
                _tile(e, code, a, (source, weights.get(), bias, goal), (p, chunk.pixels, features), first, last)
            weights.set(weights.get() + a["steps"] * (width * total.bytes))
        if not code.channels_last_y:
            _transposed(e, code, a, goal, chunk.pixels, features)


def fill_panel(
    e: Emitter, axes: int, total: Type, planar: bool, a: Arguments, origin: list[Value], extent: list[Value], xs: Value
) -> None:
    """Fill the panel for one chunk: one line per channel and outer place (planar), or one row of pixels per outer place."""
    last = axes - 1
    null = Value(e, PTR, "null")
    first = e.integer(origin[last] * a[f"stride{last}"])
    count = e.integer((extent[last] - 1) * a[f"stride{last}"] + a[f"reach{last}"])

    def walk(axis: int, source: Value, outside: Value, goal: Value) -> None:
        if axis == last:
            e.call("fill_line", a.row, goal, source, outside, first, count)
            return
        reach = (extent[axis] - 1) * a[f"stride{axis}"] + a[f"reach{axis}"]
        with e.loop(0, reach) as j:
            at, constant = origin[axis] * a[f"stride{axis}"] + j, a["constants"] + axis * total.bytes
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
            walk(axis + 1, *inner, goal + j * a[f"ps{axis}"])

    if planar:
        with e.loop(0, a["channels"]) as channel:
            walk(0, xs + channel * a["xs_c"], null, a["scratch"] + channel * a["ps_c"])
    else:
        walk(0, xs, null, a["scratch"])


def _tile(
    e: Emitter,
    code: ChannelCode,
    a: Arguments,
    pointers: tuple[Value, Value, Value, Value],
    counts: tuple[Value, Value, Value],
    first: Value,
    last: Value,
) -> None:
    """acc[pixel, vector] over one block of the reduction: taken up from the bias or `sums`, put down in `sums` or the output."""
    source, weights, bias, goal = pointers
    p, pixels, features = counts
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    width = vector.bytes * code.vectors
    windows, places = [], []
    for i in range(code.pixels):
        place = e.least(p + i, pixels - 1)  # past the end of the chunk its last pixel is computed again
        places.append(place)
        windows.append(source + e.load(I64, a["map_offsets"] + place * 8, 8))
    sums = a["scratch"] + a["sums"] + p * width
    start = e.select(first, bias, sums) if code.bias else sums
    pitch = e.select(first, e.integer(0), e.integer(width)) if code.bias else e.integer(width)
    acc: list[list[Var]] = []
    for i in range(code.pixels):
        row = []
        for v in range(code.vectors):
            if code.bias:
                row.append(e.var(vector, e.load(vector, start + i * pitch + v * vector.bytes, total.bytes)))
            else:
                row.append(e.var(vector, e.zero(vector)))
        acc.append(row)
    if not code.bias:
        with e.otherwise(first):
            for i in range(code.pixels):
                for v in range(code.vectors):
                    acc[i][v].set(e.load(vector, start + (i * width + v * vector.bytes), total.bytes))

    # The weights of the next block, one line per step: the first tiles of a chunk together ask for all of them.
    ahead = None
    if code.prefetch:
        turn = (p // code.pixels) % max(width // 64, 1)  # narrow tiles of narrow vectors take less than a line per step
        ahead = a["steps"] * width + turn * 64
    w = e.var(PTR, weights)
    used = width * max(code.lanewise, 1)  # bytes of weights that a step takes

    def reduce(axis: int, offset: Int) -> None:
        if axis < code.axes:
            with e.loop(0, a[f"taps{axis}"]) as tap:
                reduce(axis + 1, offset + tap * a[f"tap{axis}"])
            return
        if code.steps:
            for step in range(code.steps):
                at = offset + a["ps_c"] * step if code.planar or code.lanewise else offset + step * total.bytes
                _step(e, code, w.get() + step * used, windows, at, acc, ahead)
            w.set(w.get() + code.steps * used)
            return
        at_var = e.var(I64, e.integer(offset))
        with e.loop(0, a["inner"]):
            _step(e, code, w.get(), windows, at_var.get(), acc, ahead)
            w.set(w.get() + used)
            at_var.set(at_var.get() + (a["ps_c"] if code.planar or code.lanewise else total.bytes))

    reduce(0, 0)

    finished = [[acc[i][v].get() for v in range(code.vectors)] for i in range(code.pixels)]
    if not code.channels_last_y:
        for i in range(code.pixels):
            for v in range(code.vectors):
                e.store(finished[i][v], sums + (i * width + v * vector.bytes), total.bytes)
        return
    with e.otherwise(last):
        for i in range(code.pixels):
            for v in range(code.vectors):
                e.store(finished[i][v], sums + (i * width + v * vector.bytes), total.bytes)
    with e.when(last):
        out = Type(SCALARS[code.y])
        parameter = e.load(total, a["constants"] + code.axes * total.bytes)
        stored = [[finish(e, value, code.y, code.activation, parameter, code.narrowing) for value in row] for row in finished]
        whole = e.compare("sge", features, e.integer(vector.lanes * code.vectors))
        starts = [goal + _step_to(e, code, a, place) for place in places]
        with e.when(whole):
            past = e.streamable(vector.lanes * code.vectors * out.bytes, a["stream"], goal, a["ys_p"])
            for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
                with condition:
                    for i in range(code.pixels):
                        for v in range(code.vectors):
                            put(stored[i][v], starts[i] + v * vector.lanes * out.bytes)
        with e.otherwise(whole):
            for i in range(code.pixels):
                for v in range(code.vectors):
                    count = e.most(e.least(features - v * vector.lanes, vector.lanes), 0)
                    e.store_first(stored[i][v], starts[i] + v * vector.lanes * out.bytes, count)


def _step(e: Emitter, code: ChannelCode, w: Value, windows: list[Value], at: Int, acc: list[list[Var]], ahead: Value | None) -> None:
    """One step of the reduction: `vectors` of weights meet one element, or one vector, of each pixel's window."""
    vector = acc[0][0].type
    element = Type(vector.scalar)
    if ahead is not None:
        e.prefetch(w + ahead, 2)
    if code.lanewise:
        _lanewise_step(e, code, w, windows, at, acc)
        return
    loaded = [e.load(vector, w + v * vector.bytes, element.bytes) for v in range(code.vectors)]
    if code.planar and not code.panel:
        e.prefetch(windows[0] + at + 64, 1)  # planes lie too far apart for the processor to foresee the next tiles' lines
    for i, window in enumerate(windows):
        x = e.splat(e.load(element, window + at), vector.lanes)
        for v in range(code.vectors):
            acc[i][v].set(multiply_add(e, x, loaded[v], acc[i][v].get()))


def _lanewise_step(e: Emitter, code: ChannelCode, w: Value, windows: list[Value], at: Int, acc: list[list[Var]]) -> None:
    """One tap: each lane meets the channels of its group, one after the other."""
    vector = acc[0][0].type
    element, group = vector.bytes // vector.lanes, code.lanewise
    for v in range(code.vectors):
        xs = [e.load(vector, window + at + v * vector.bytes, element) for window in windows]
        for c in range(group):
            weights = e.load(vector, w + (c * code.vectors + v) * vector.bytes, element)
            for i, x in enumerate(xs):
                acc[i][v].set(multiply_add(e, of_group(e, x, c, group), weights, acc[i][v].get()))


def of_group(e: Emitter, x: Value, channel: int, group: int) -> Value:
    """A channel of its own group in every lane of a vector of groups of channels."""
    return x if group == 1 else e.shuffle(x, x, [lane // group * group + channel for lane in range(x.type.lanes)])


def _step_to(e: Emitter, code: ChannelCode, a: Arguments, pixel: Value) -> Value:
    """Bytes from the output of a chunk's first pixel to that of another."""
    return e.load(I64, a["map_goals"] + pixel * 8, 8) if code.gaps else pixel * a["ys_p"]


def _transposed(e: Emitter, code: ChannelCode, a: Arguments, goal: Value, pixels: Value, features: Value) -> None:
    """Move the sums of a chunk from pixel-major to feature-major, squares of lanes × lanes at a time, and finish them."""
    total = Type(SCALARS[code.total])
    out = Type(SCALARS[code.y])
    vector = e.vector(total.scalar)
    lanes, width = vector.lanes, vector.bytes * code.vectors
    parameter = e.load(total, a["constants"] + code.axes * total.bytes)
    count = e.least(pixels, lanes)
    buffer = e.stack(Type(out.scalar, lanes), lanes)
    f_end = e.least(features, lanes * code.vectors)
    with e.loop(0, f_end, lanes) as f, e.loop(0, pixels, lanes) as next_p:
        p = e.most(e.least(next_p, pixels - lanes), 0)
        corner = a["scratch"] + a["sums"] + p * width + f * total.bytes
        rows = [e.load(vector, corner + i * width, total.bytes) for i in range(lanes)]
        columns = [finish(e, column, code.y, code.activation, parameter, code.narrowing) for column in transpose(e, rows)]
        start, many = goal + f * a["ys_c"], e.least(f_end - f, lanes)
        if code.gaps:
            _scatter(e, code, a, columns, buffer, start, p, (many, count))
        else:
            store_squares(e, columns, buffer, start + p * a["ys_p"], a["ys_c"], (many, count))


def store_squares(e: Emitter, columns: list[Value], buffer: Value, start: Value, pitch: Value, size: tuple[Value, Value]) -> None:
    """Store vectors, `pitch` bytes apart, `size` vectors × lanes of them; `buffer` is room on the stack for all."""
    many, count = size
    square = e.compare("sge", e.least(many, count), e.integer(len(columns)))
    with e.when(square):
        for i, column in enumerate(columns):
            e.store(column, start + i * pitch)
    with e.otherwise(square):
        for i, column in enumerate(columns):
            e.store(column, buffer + i * column.type.bytes)
        with e.loop(0, many) as one:
            column = e.load(columns[0].type, buffer + one * columns[0].type.bytes)
            e.store_first(column, start + one * pitch, count)


def _scatter(
    e: Emitter, code: ChannelCode, a: Arguments, columns: list[Value], buffer: Value, start: Value, p: Value, size: tuple[Value, Value]
) -> None:
    """The same where pixels have gaps between them: one by one."""
    many, count = size
    out = Type(SCALARS[code.y])
    for i, column in enumerate(columns):
        e.store(column, buffer + i * column.type.bytes)

    def one_by_one() -> None:
        with e.loop(0, count) as lane:
            place = start + _step_to(e, code, a, p + lane)
            with e.loop(0, many) as one:
                e.store(e.load(out, buffer + one * columns[0].type.bytes + lane * out.bytes), place + one * a["ys_c"])

    lanes = len(columns)
    if not (e.masks and code.step):
        one_by_one()
        return
    first, last = _step_to(e, code, a, p), _step_to(e, code, a, p + e.most(count - 1, 0))
    row = e.compare("eq", last - first, e.integer((lanes - 1) * code.step * out.bytes))  # all in one row
    row = e.arith("and", row, e.compare("eq", count, e.integer(lanes)))
    with e.when(row), e.loop(0, many) as one:
        e.store_apart(e.load(columns[0].type, buffer + one * columns[0].type.bytes), start + first + one * a["ys_c"], code.step)
    with e.otherwise(row):
        one_by_one()
