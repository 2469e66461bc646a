"""The channel tile: lanes along the output channels, for dense layers; and its lane-wise kin for depthwise ones.

One chunk is a run of neighbouring output pixels (whole rows, or part of one). For each chunk:

    panel      the part of the input under it, padded, in the sum's type: pixel by pixel in blocks of channels, or plane
               by plane (few channels, channels-first); or the input itself where it needs nothing
    tile       acc[pixel, vector] over `pixels` × `vectors`: x is broadcast from memory at any address, weights are
               loaded as vectors; lane-wise, x is a vector as well and lanes are the channels of a depthwise layer
    blocks     the reduction is cut into blocks of channels so that the weights of one block and one tile stay in the
               L1 cache; a chain of sums is put down in `sums` and taken up again by the next block, never restarted
    packs      weights that come with a single call are put in order here, some blocks just before they are used, or by the
               first tile that uses them (`coming`): they go from memory to the caches and nowhere else
    words      where an instruction sums the products of several channels, words of these are the elements (`word_panels`)
    store      channels-last outputs leave from the tile; channels-first ones are transposed in registers, chunk by chunk

The sum of each output runs over channel block, taps, channel, in this order, in one chain of fused multiply-adds that
starts from the bias. Where a pixel's window lies is a table of offsets, so that kernel sizes, strides, dilations and
channel counts are arguments: one piece of code serves all layers of a network that share a tile shape.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from juanji.exact import Narrowing
from juanji.jit import dot_products
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.chunks import chunk_behind, chunk_of
from juanji.jit.coming import Ask, Behind, Beside, Load, asking, in_order, putting_in_order
from juanji.jit.elements import SCALARS, finish, multiply_add, of_group, plus, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Type, Value, Var
from juanji.jit.pack import BLOCK_ARGUMENTS, PackCode, pack_run
from juanji.jit.panels import LINE_ARGUMENTS, Line, line_filler, outer_step, pixel_filler, transposing_filler
from juanji.jit.target import Target
from juanji.jit.word_panels import Words, word_filler

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
    pitch: int  # bytes between the windows of a tile's pixels, all of one row; 0 where a table says where each begins
    prefetch: bool  # ask for the weights that come next while others are used
    steps: int  # reduction steps of the innermost loop if so few that it is unrolled, else 0
    packs: PackCode | None  # how the kernel puts weights in order; None if they are
    beside: bool  # whether it reads them where they lie side by side, and puts them in order as they are used
    words: Words | None  # what elements are if they hold several channels each, else None

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
            *((*BLOCK_ARGUMENTS, "packed", "packed_f", "packed_c", "packed_runs", "sums_f") if self.packs else ()),
        )  # fmt: skip


def emit_channel(code: ChannelCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    total = SCALARS[code.total]
    with kernel(e, target, code.names) as a:
        held = chunk_behind(e, a, a["splits"])  # whose panel is filled: the shares of the features of one chunk follow each other
        with each_item(e, a) as item:
            _item(e, code, a, item, held)
    if code.panel and code.words:
        word_filler(e, code.x, code.axes, code.names, code.words, code.planar_x, code.planar)
    elif code.panel:
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
            fill_panel(e, code.axes, total, code.planar and not code.words, a, chunk.origin, chunk.extent, chunk.xs)
        held.set(chunk.number)
    else:
        base = chunk.in_place(a)

    w = a["w"] + chunk.group * a["ws_g"] if code.packs else a["w"]
    behind = Behind(e, w) if code.packs and code.prefetch and not code.beside else None
    f_end = e.least((chunk.split + 1) * a["split"], a["blocks_f"])
    step = a["steps"] * (width * total.bytes)  # bytes of weights between blocks of the reduction

    def products(block_f: Value, weights: Value, sums: Value, blocks: tuple[Int, Int]) -> None:
        """Some blocks of the reduction of one block of features."""
        f = block_f * width
        place = chunk.group * a["blocks_f"] + block_f
        starts = [a["bias"] + place * (width * total.bytes)] if code.bias else []
        if code.words and code.words.dot.turned:
            starts.insert(0, weights + a["blocks_c"] * step)
        goal = chunk.ys + f * a["ys_c"]
        at = e.var(PTR, weights)
        with e.loop(*blocks) as block_c:
            first = e.compare("eq", block_c, e.integer(0))
            last = e.compare("eq", block_c + 1, a["blocks_c"])
            source = base + (block_f if code.lanewise else block_c) * a["ps_b"]
            coming = Beside(w + f * a["ws_f"], a["map_runs"] + block_c * a["steps"] * 8) if code.beside else behind
            with e.loop(0, chunk.pixels, code.pixels) as p:
                _tile(e, code, a, (source, at.get(), goal, sums), starts, (p, chunk.pixels, a["count_f"] - f), first, last, coming)
            at.set(at.get() + step)

    def stored(block_f: Value, sums: Value) -> None:
        """Send the sums of one block of features on their way, unless the tiles have done so."""
        if not code.channels_last_y:
            f = block_f * width
            _transposed(e, code, a, (sums, chunk.ys + f * a["ys_c"]), chunk.pixels, a["count_f"] - f)

    if code.packs is None:
        with e.loop(chunk.split * a["split"], f_end) as block_f:
            sums = a["scratch"] + a["sums"]
            products(block_f, w + (chunk.group * a["blocks_f"] + block_f) * a["step"], sums, (0, a["blocks_c"]))
            stored(block_f, sums)
        return
    with e.loop(chunk.split * a["split"], f_end, a["packed_f"]) as begin:
        end = e.least(begin + a["packed_f"], f_end)
        with e.loop(0, a["blocks_c"], a["packed_c"]) as begin_c:
            end_c = begin_c + a["packed_c"]
            if not code.beside:
                _pack(e, code.packs, a, w, (begin, end), begin_c, width)
            if behind is not None:
                behind.follow(w + end * (a["ws_f"] * width), w + a["count_f"] * a["ws_f"])
            with e.loop(begin, end) as block_f:
                packed = a["scratch"] + a["packed"]
                if not code.beside:  # then tiles of all blocks use the same room
                    packed = packed + (block_f - begin) * a["packed_c"] * step
                products(block_f, packed, a["scratch"] + a["sums"] + (block_f - begin) * a["sums_f"], (begin_c, end_c))
        with e.loop(begin, end) as block_f:
            stored(block_f, a["scratch"] + a["sums"] + (block_f - begin) * a["sums_f"])


def _pack(e: Emitter, code: PackCode, a: Arguments, w: Value, features: tuple[Value, Value], begin_c: Value, width: int) -> None:
    """Put weights of some blocks of features in order, from one block of the reduction on."""
    step = a["steps"] * (width * Type(SCALARS[code.total]).bytes)
    begin = begin_c // a["packed_c"] * a["packed_runs"]
    with e.loop(begin, begin + a["packed_runs"]) as run, e.loop(*features) as block_f:
        f = block_f * width
        goal = a["scratch"] + a["packed"] + ((block_f - features[0]) * a["packed_c"] - begin_c) * step
        pack_run(e, code, a, run, (w + f * a["ws_f"], goal), a["count_f"] - f, width)


def fill_panel(
    e: Emitter, axes: int, total: Type, planar: bool, a: Arguments, origin: list[Value], extent: list[Value], xs: Value
) -> None:
    """Fill the panel for one chunk: one line per channel and outer place (planar), or one row of pixels per outer place."""
    starts = [e.integer(place * a[f"stride{axis}"]) for axis, place in enumerate(origin)]
    counts = [e.integer((count - 1) * a[f"stride{axis}"] + a[f"reach{axis}"]) for axis, count in enumerate(extent)]
    outer = [(count, partial(operator.add, start)) for start, count in zip(starts[:-1], counts[:-1], strict=True)]
    fill_lines(e, axes, total, planar, a, outer, (starts[-1], counts[-1]), xs)


def fill_lines(
    e: Emitter,
    axes: int,
    total: Type,
    planar: bool,
    a: Arguments,
    outer: Sequence[tuple[Value, Callable[[Value], Value]]],
    line: tuple[Value, Value],
    xs: Value,
) -> None:
    """The same of any lines. outer: per axis how many there are, and where in the padded extent each lies; line: its first place and
    how many follow."""
    null = Value(e, PTR, "null")

    def walk(axis: int, source: Value, outside: Value, goal: Value) -> None:
        if axis == axes - 1:
            e.call("fill_line", a.row, goal, source, outside, *line)
            return
        count, place = outer[axis]
        with e.loop(0, count) as j:
            constant = a["constants"] + axis * total.bytes
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", place(j), constant, source, outside)
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
    starts: list[Value],
    counts: tuple[Value, Value, Value],
    first: Value,
    last: Value,
    coming: Beside | Behind | None,
) -> None:
    """acc[pixel, vector] over one block of the reduction: from the sum of `starts`, or taken up from `sums`; to `sums` or the output."""
    source, weights, goal, all_sums = pointers
    p, pixels, features = counts
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    width = vector.bytes * code.vectors
    if code.pitch:
        places = [p + i for i in range(code.pixels)]
        corner = source + e.load(I64, a["map_offsets"] + p * 8, 8)
        windows = [corner + i * code.pitch for i in range(code.pixels)]
    else:
        places = [e.least(p + i, pixels - 1) for i in range(code.pixels)]  # past the end of the chunk its last pixel is computed again
        windows = [source + e.load(I64, a["map_offsets"] + place * 8, 8) for place in places]
    sums = all_sums + p * width
    start = e.select(first, starts[0], sums) if starts else sums
    pitch = e.select(first, e.integer(0), e.integer(width)) if starts else e.integer(width)
    acc: list[list[Var]] = []
    for i in range(code.pixels):
        row = []
        for v in range(code.vectors):
            if starts:
                row.append(e.var(vector, e.load(vector, start + i * pitch + v * vector.bytes, total.bytes)))
            else:
                row.append(e.var(vector, e.zero(vector)))
        acc.append(row)
    for more in starts[1:]:
        with e.when(first):
            for v in range(code.vectors):
                added = e.load(vector, more + v * vector.bytes, total.bytes)
                for row in acc:
                    row[v].set(plus(e, row[v].get(), added))
    if not starts:
        with e.otherwise(first):
            for i in range(code.pixels):
                for v in range(code.vectors):
                    acc[i][v].set(e.load(vector, start + (i * width + v * vector.bytes), total.bytes))

    ask = asking(e, a, coming, width, p // code.pixels) if code.prefetch else None
    w = e.var(PTR, weights)
    used = width * max(code.lanewise, 1)  # bytes of weights that a step takes

    def reduce(axis: int, offset: Int, load: Load) -> None:
        if axis < code.axes:
            with e.loop(0, a[f"taps{axis}"]) as tap:
                reduce(axis + 1, offset + tap * a[f"tap{axis}"], load)
            return
        if code.steps:
            for step in range(code.steps):
                at = offset + a["ps_c"] * step if code.planar or code.lanewise else offset + step * total.bytes
                _step(e, code, w.get() + step * used, windows, at, acc, load, ask)
            w.set(w.get() + code.steps * used)
            return
        at_var = e.var(I64, e.integer(offset))
        with e.loop(0, a["inner"]):
            _step(e, code, w.get(), windows, at_var.get(), acc, load, ask)
            w.set(w.get() + used)
            at_var.set(at_var.get() + (a["ps_c"] if code.planar or code.lanewise else total.bytes))

    ordered = in_order(e, vector, code.vectors)
    if code.packs and isinstance(coming, Beside):
        begins = e.compare("eq", p, e.integer(0))
        with e.when(begins):
            reduce(0, 0, putting_in_order(e, code.packs, vector, code.vectors, coming, features))
        with e.otherwise(begins):
            reduce(0, 0, ordered)
    else:
        reduce(0, 0, ordered)

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


def _step(
    e: Emitter, code: ChannelCode, w: Value, windows: list[Value], at: Int, acc: list[list[Var]], load: Load, ask: Ask | None
) -> None:
    """One step of the reduction: `vectors` of weights meet one element, or one vector, of each pixel's window."""
    vector = acc[0][0].type
    element = Type(vector.scalar)
    if ask is not None:
        ask(w)
    if code.lanewise:
        _lanewise_step(e, code, w, windows, at, acc)
        return
    loaded = load(w)
    if code.planar and not code.panel:
        e.prefetch(windows[0] + at + 2 * LINE, 2)  # planes lie too far apart for the processor to foresee the next tiles' lines
    if not code.planar and not code.panel:
        _prefetch_pixels(e, code, windows, e.integer(at) // element.bytes, LINE // element.bytes)
    multiply = partial(dot_products.multiply_add, dot=code.words.dot) if code.words else multiply_add
    for i, window in enumerate(windows):
        x = e.splat(e.load(element, window + at), vector.lanes)
        for v in range(code.vectors):
            acc[i][v].set(multiply(e, x, loaded[v], acc[i][v].get()))


def _prefetch_pixels(e: Emitter, code: ChannelCode, windows: list[Value], place: Value, elements: int) -> None:
    """Ask for a line of a pixel that the next tile reads in place: while the elements of a line pass, for one of each pixel in turn.

    These lines lie too close together for the processor to tell as many runs apart.
    """
    first, second = (e.emit(I64, f"ptrtoint {window} to i64") for window in windows[:2])
    e.prefetch(windows[0] + (place % elements + code.pixels) * (second - first) + place // elements * LINE, 1)


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


def _step_to(e: Emitter, code: ChannelCode, a: Arguments, pixel: Value) -> Value:
    """Bytes from the output of a chunk's first pixel to that of another."""
    return e.load(I64, a["map_goals"] + pixel * 8, 8) if code.gaps else pixel * a["ys_p"]


def _transposed(e: Emitter, code: ChannelCode, a: Arguments, pointers: tuple[Value, Value], pixels: Value, features: Value) -> None:
    """Move the sums of a chunk from pixel-major to feature-major, squares of lanes × lanes at a time, and finish them."""
    sums, goal = pointers
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
        corner = sums + p * width + f * total.bytes
        rows = [e.load(vector, corner + i * width, total.bytes) for i in range(lanes)]
        columns = [finish(e, column, code.y, code.activation, parameter, code.narrowing) for column in transpose(e, rows)]
        start, many = goal + f * a["ys_c"], e.least(f_end - f, lanes)
        if code.gaps:
            places = partial(_place, e, code, a, start, p)
            scatter_squares(e, columns, places, a["ys_c"], (many, count), code.step, rows_from(code.axes, a, p))
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


def rows_from(axes: int, a: Arguments, p: Value) -> tuple[Value, Value]:
    """How many pixels of a chunk, from one on, lie in its row, and how many in each row behind it."""
    length = a[f"box{axes - 1}"]
    return length - p % length, length


def _place(e: Emitter, code: ChannelCode, a: Arguments, start: Value, p: Value, lane: Int) -> Value:
    """Where a pixel of a square goes, counted from its first."""
    return start + _step_to(e, code, a, p + lane)


def scatter_squares(
    e: Emitter,
    columns: list[Value],
    place: Callable[[Int], Value],
    pitch: Value,
    size: tuple[Value, Value],
    step: int,
    rows: tuple[Value, Value],
) -> None:
    """The same where pixels have gaps between them.

    place: where each pixel goes. step: elements from one pixel to the next in a row; what lies in one row is spread over vectors that
    hold nothing else. 0 if too many: then pixels leave one by one. rows: how many pixels lie in the first one's row, and in others.
    """
    many, count = size
    vector = columns[0].type
    out = Type(vector.scalar)
    buffer = e.stack(vector, len(columns) + 1)  # a run of a vector's pixels is loaded as a vector
    for i, column in enumerate(columns):
        e.store(column, buffer + i * vector.bytes)
    if not (e.masks and step):
        with e.loop(0, count) as lane:
            goal = place(lane)
            with e.loop(0, many) as one:
                e.store(e.load(out, buffer + one * vector.bytes + lane * out.bytes), goal + one * pitch)
        return

    def spread(lane: Int, some: Value | None) -> None:
        """A run of pixels of one row."""
        goal, source = place(lane), buffer + lane * out.bytes
        with e.loop(0, many) as one:
            e.store_apart(e.load(vector, source + one * vector.bytes), goal + one * pitch, step, some)

    left, length = rows
    whole = e.compare("sge", e.least(left, count), e.integer(len(columns)))
    with e.when(whole):
        spread(0, None)
    with e.otherwise(whole):
        first, run = e.var(I64, e.integer(0)), e.var(I64, e.least(left, count))
        with e.repeat() as leave:
            spread(first.get(), run.get())
            first.set(first.get() + run.get())
            leave(e.compare("sge", first.get(), count))
            run.set(e.least(length, count - first.get()))
