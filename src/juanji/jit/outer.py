"""The outer tile: the gradient of the weights, lanes along the output channels; and its lane-wise kin for depthwise layers.

    dw[o, i] = Σ_p x[place of (p, i)] · dy[p, o],      i a pair of channel and tap, p an output position of any image

is a sum of outer products of a column of x and a row of dy. For each chunk of output positions:

    panel      the part of the input under it, padded, in the sum's type; or the input itself where it needs nothing
    errors     dy pixel by pixel, features side by side; or dy itself where it lies so
    tile       acc[i, vector] over `rows` × `vectors`: x is broadcast from memory at any address, dy is loaded as vectors;
               lane-wise, x is a vector as well, lanes are the channels of a depthwise layer and i is a tap
    sums       what a chunk gave is added to the sums of the chunks before: one chain of sums of blocks, each a chain itself

An item is a segment of the chunks and a share of the features. Chunks and segments follow from the description, so that neither
threads nor views show in the bits. Several segments leave several arrays, which are added in order afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.channel import fill_panel, store_squares
from juanji.jit.elements import SCALARS, multiply_add, of_group, plus, read, transpose
from juanji.jit.emit import I64, PTR, Emitter, Type, Value
from juanji.jit.panels import LINE_ARGUMENTS, Line, line_filler, pixel_filler, transposing_filler
from juanji.jit.target import Target


@dataclass(frozen=True)
class OuterCode:
    """Everything that the code depends on."""

    x: str
    dy: str
    total: str
    axes: int
    planar: bool  # the tile sees x plane by plane, else pixel by pixel
    planar_x: bool  # x and dy lie plane by plane
    panel: bool  # False: the input is read where it lies
    errors: bool  # False: dy is read where it lies
    step: int  # elements from one position of a plane of dy to the next
    turned: bool  # the features of dw do not lie side by side
    lanewise: int  # channels of a group if lanes are channels of x and dy alike, else 0
    rows: int
    vectors: int
    ahead: bool  # ask for what the next chunk reads of x and dy while this one's is used

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "reach", "stride", "map", "xs", "ps", "gs", "gp")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "map_rows", "map_goals", "count_i", "groups", "channels", "chunks", "chunks_n", "segments",
            "blocks_f", "count_f", "split", "splits", "xs_n", "xs_c", "gs_n", "gs_c", "gs_p", "ws_g", "ws_f", "ws_i", "ws_s",
            "errors", "sums", "stream", "step_f", "ps_c", "ps_b", "panels", "panel_c", "channels_all", "whole",
            "ahead_x", "ahead_dy",
        )  # fmt: skip


def emit_outer(code: OuterCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _item(e, code, a, item)
    if code.panel:
        line = Line(code.x, SCALARS[code.total], 1, True, code.axes)
        filler = line_filler if code.planar else transposing_filler if code.planar_x else pixel_filler
        filler(e, line, code.names)
    return e.text()


def _item(e: Emitter, code: OuterCode, a: Arguments, item: Value) -> None:
    """One item of work: segment of the chunks, group, share of the features."""
    rest, split = e.divide(item, a["splits"])
    segment, group = e.divide(rest, a["groups"])
    begin, end = segment * a["chunks"] // a["segments"], (segment + 1) * a["chunks"] // a["segments"]
    f_begin = split * a["split"]
    f_end = e.least(f_begin + a["split"], a["blocks_f"])
    with e.loop(begin, end) as chunk:
        _chunk(e, code, a, (chunk, group), (f_begin, f_end), e.compare("eq", chunk, begin))
    goal = a["y"] + segment * a["ws_s"] + group * a["ws_g"]
    with e.loop(f_begin, f_end) as block_f:
        _store(e, code, a, goal, block_f, a["scratch"] + a["sums"] + (block_f - f_begin) * a["step_f"])


def _chunk(
    e: Emitter, code: OuterCode, a: Arguments, place: tuple[Value, Value], blocks: tuple[Value, Value], first: Value
) -> None:
    """The products of one chunk of output positions, added to the sums; the first chunk's begin them."""
    chunk, group = place
    image, origin, extent = chunk_place(e, code.axes, a, chunk)
    total = Type(SCALARS[code.total])
    width = e.vector(total.scalar).bytes * code.vectors
    xs = a["x"] + image * a["xs_n"] + group * a["channels"] * a["xs_c"]
    dys = a["w"] + image * a["gs_n"] + group * a["count_f"] * a["gs_c"]
    for axis, at in enumerate(origin):
        dys = dys + at * a[f"gs{axis}"]
    if code.panel:
        base = a["scratch"]
        fill_panel(e, code.axes, total, code.planar, a, origin, extent, xs)
    else:
        base = xs
        for axis, at in enumerate(origin):
            base = base + at * a[f"stride{axis}"] * a[f"xs{axis}"]

    with e.loop(*blocks) as block_f:
        f = block_f * (width // total.bytes)
        errors = dys + f * a["gs_c"]
        if code.errors:
            _errors(e, code, a, errors, a["count_f"] - f, extent)
            errors = a["scratch"] + a["errors"]
        source = base + block_f * a["ps_b"] if code.lanewise else base
        sums = a["scratch"] + a["sums"] + (block_f - blocks[0]) * a["step_f"]
        with e.loop(0, a["count_i"], code.rows) as i:
            line = i // code.rows % code.vectors * e.vector(total.scalar).bytes  # each of the first tiles asks for one of each pixel
            ahead = dys + f * a["gs_c"] + a["ahead_dy"] + line
            _tile(e, code, a, (source, errors, ahead, sums + i * width), i, extent, first)


def chunk_place(e: Emitter, axes: int, a: Arguments, chunk: Value) -> tuple[Value, list[Value], list[Value]]:
    """The image of a chunk, and per axis its first output position and how many."""
    image, rest = e.divide(chunk, a["chunks_n"])
    origin: list[Value] = []
    for axis in reversed(range(axes)):
        rest, at = e.divide(rest, (a[f"out{axis}"] + a[f"box{axis}"] - 1) // a[f"box{axis}"])
        origin.insert(0, at * a[f"box{axis}"])
    return image, origin, [e.least(a[f"box{axis}"], a[f"out{axis}"] - origin[axis]) for axis in range(axes)]


def _errors(e: Emitter, code: OuterCode, a: Arguments, source: Value, features: Value, extent: list[Value]) -> None:
    """Put dy under one chunk and one block of features pixel by pixel; features beyond the last hold anything."""
    last = code.axes - 1

    def walk(axis: int, row: Value, goal: Value) -> None:
        if axis < last:
            with e.loop(0, extent[axis]) as j:
                walk(axis + 1, row + j * a[f"gs{axis}"], goal + j * a[f"gp{axis}"])
        elif code.planar_x:
            _turn_errors(e, code, a, row, goal, features, extent[last])
        else:
            _copy_errors(e, code, a, row, goal, features, extent[last])

    walk(0, source, a["scratch"] + a["errors"])


def _copy_errors(e: Emitter, code: OuterCode, a: Arguments, row: Value, goal: Value, features: Value, columns: Value) -> None:
    """One row of pixels whose features lie side by side."""
    total = Type(SCALARS[code.total])
    vector, size = e.vector(total.scalar), Type(SCALARS[code.dy]).bytes
    width = vector.lanes * code.vectors
    whole = e.compare("sge", features, e.integer(width))
    with e.loop(0, columns) as p:
        pixel, place = row + p * a["gs_p"], goal + p * (width * total.bytes)
        with e.when(whole):
            for v in range(code.vectors):
                e.store(read(e, pixel + v * vector.lanes * size, code.dy, vector), place + v * vector.bytes, total.bytes)
        with e.otherwise(whole), e.loop(0, features) as f:
            e.store(read(e, pixel + f * size, code.dy, total), place + f * total.bytes)


def _turn_errors(e: Emitter, code: OuterCode, a: Arguments, row: Value, goal: Value, features: Value, columns: Value) -> None:
    """One row of pixels out of planes: squares of features × columns, turned in registers."""
    total = Type(SCALARS[code.total])
    vector, size = e.vector(total.scalar), Type(SCALARS[code.dy]).bytes
    lanes, width, hop = vector.lanes, vector.bytes * code.vectors, size * code.step

    def plane(f: Value) -> Value:
        return row + e.least(f, features - 1) * a["gs_c"]

    def square(f: Value, p: Value, count: Value | None = None) -> list[Value]:
        """The pixels of `lanes` features × `lanes` columns."""
        if code.step > 1:
            return transpose(e, [_every(e, plane(f + lane) + p * hop, code, vector) for lane in range(lanes)])
        return transpose(e, [read(e, plane(f + lane) + p * size, code.dy, vector, count) for lane in range(lanes)])

    blocks = e.least((features + (lanes - 1)) // lanes * lanes, code.vectors * lanes)
    wide = e.compare("sge", columns, e.integer(lanes))
    with e.when(wide), e.loop(0, blocks, lanes) as f, e.loop(0, columns, lanes) as next_p:
        p = e.least(next_p, columns - lanes)
        for lane, pixel in enumerate(square(f, p)):
            e.store(pixel, goal + (p + lane) * width + f * total.bytes, total.bytes)
    with e.otherwise(wide):
        if not e.masks or code.step > 1:
            with e.loop(0, blocks) as f, e.loop(0, columns) as p:
                e.store(read(e, plane(f) + p * hop, code.dy, total), goal + p * width + f * total.bytes)
            return
        buffer = e.stack(vector, lanes)
        with e.loop(0, blocks, lanes) as f:
            for lane, pixel in enumerate(square(f, e.integer(0), columns)):
                e.store(pixel, buffer + lane * vector.bytes)
            with e.loop(0, columns) as p:
                e.store(e.load(vector, buffer + p * vector.bytes), goal + p * width + f * total.bytes, total.bytes)


def _every(e: Emitter, pointer: Value, code: OuterCode, vector: Type) -> Value:
    """A vector of every `step`-th element: as many vectors of neighbours, of which the last one ends with the last that is wanted."""
    step, lanes, size = code.step, vector.lanes, Type(SCALARS[code.dy]).bytes
    chosen = read(e, pointer, code.dy, vector)
    picked = [min(lane * step, lanes - 1) for lane in range(lanes)]
    for v in range(1, step):
        start = v * lanes if v < step - 1 else v * (lanes - 1)
        for lane in range(-(-start // step), lanes):
            picked[lane] = lanes + min(lane * step - start, lanes - 1)
        chosen = e.shuffle(chosen, read(e, pointer + start * size, code.dy, vector), picked)
        picked = list(range(lanes))
    return chosen


def _tile(
    e: Emitter, code: OuterCode, a: Arguments, pointers: tuple[Value, Value, Value, Value], i: Value, extent: list[Value], first: Value
) -> None:
    """acc[row, vector] over all positions of the chunk."""
    source, errors, ahead, sums = pointers
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    width = vector.bytes * code.vectors
    group = max(code.lanewise, 1)  # rows that see the same place
    windows = [source + e.load(I64, a["map_rows"] + (i + r) * 8, 8) for r in range(0, code.rows, group)]
    acc = [[e.var(vector, e.zero(vector)) for _ in range(code.vectors)] for _ in range(code.rows)]
    last = code.axes - 1

    def walk(axis: int, at: Value, error: Value, following: Value) -> None:
        if axis < last:
            with e.loop(0, extent[axis]) as j:
                step = j * (a[f"stride{axis}"] * a[f"ps{axis}"])
                walk(axis + 1, at + step, error + j * a[f"gp{axis}"], following + j * a[f"gs{axis}"])
            return
        x_at, dy_at, dy_ahead = e.var(I64, at), e.var(PTR, error), e.var(PTR, following)
        with e.loop(0, extent[last]):
            if code.ahead:
                if not code.panel:
                    e.prefetch(windows[0] + x_at.get() + a["ahead_x"], 2)
                e.prefetch(dy_ahead.get(), 2)
                dy_ahead.set(dy_ahead.get() + a[f"gs{last}"])
            loaded = [e.load(vector, dy_at.get() + v * vector.bytes, total.bytes) for v in range(code.vectors)]
            for r, window in enumerate(windows):
                if code.lanewise:
                    for v in range(code.vectors):
                        x = e.load(vector, window + x_at.get() + v * vector.bytes, total.bytes)
                        for c in range(group):
                            acc[r * group + c][v].set(multiply_add(e, of_group(e, x, c, group), loaded[v], acc[r * group + c][v].get()))
                    continue
                one = e.splat(e.load(total, window + x_at.get()), vector.lanes)
                for v in range(code.vectors):
                    acc[r][v].set(multiply_add(e, one, loaded[v], acc[r][v].get()))
            x_at.set(x_at.get() + a[f"stride{last}"] * a[f"ps{last}"])
            dy_at.set(dy_at.get() + a[f"gp{last}"])

    walk(0, e.integer(0), errors, ahead)
    for condition, begins in ((e.when(first), True), (e.otherwise(first), False)):
        with condition:
            for r in range(code.rows):
                for v in range(code.vectors):
                    place, value = sums + (r * width + v * vector.bytes), acc[r][v].get()
                    e.store(value if begins else plus(e, e.load(vector, place, total.bytes), value), place, total.bytes)


def _store(e: Emitter, code: OuterCode, a: Arguments, goal: Value, block_f: Value, sums: Value) -> None:
    """Move the sums of one block of features to where the weights lie."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    lanes, width = vector.lanes, vector.bytes * code.vectors
    f = block_f * (lanes * code.vectors)
    if code.lanewise > 1:
        with e.loop(0, a["count_i"]) as i, e.loop(0, lanes * code.vectors) as lane:
            group, feature = e.divide(f + lane, e.integer(code.lanewise))
            place = goal + group * a["ws_g"] + feature * a["ws_f"] + e.load(I64, a["map_goals"] + i * 8, 8)
            e.store(e.load(total, sums + i * width + lane * total.bytes), place)
        return
    store_weights(e, a, code.turned, (vector, code.vectors), (goal, f), lambda i: sums + i * width, a["count_i"])


def store_weights(
    e: Emitter, a: Arguments, turned: bool, block: tuple[Type, int], at: tuple[Value, Value], row: Callable[[Value], Value], rows: Value
) -> None:
    """Move the sums of a block of features to where the weights lie.

    turned: whether neighbours among the weights are not features. block: so many vectors; at: where the
    group's weights lie, and the first feature. row: where the sums of each i lie, feature by feature, for so many `rows`.
    """
    (vector, vectors), (goal, f) = block, at
    total, lanes = Type(vector.scalar), vector.lanes
    start, features = goal + f * a["ws_f"], e.least(a["count_f"] - f, lanes * vectors)
    if not turned:
        whole = e.compare("eq", features, e.integer(lanes * vectors))
        with e.when(whole), e.loop(0, rows) as i:
            place = start + i * a["ws_i"]
            past = e.streamable(vector.bytes * vectors, a["stream"], place)
            for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
                with condition:
                    for v in range(vectors):
                        put(e.load(vector, row(i) + v * vector.bytes, total.bytes), place + v * vector.bytes)
        with e.otherwise(whole), e.loop(0, rows) as i:
            for v in range(vectors):
                value = e.load(vector, row(i) + v * vector.bytes, total.bytes)
                e.store_first(value, start + i * a["ws_i"] + v * vector.bytes, e.most(features - v * lanes, 0))
        return
    count = e.least(rows, lanes)
    buffer = e.stack(vector, lanes)
    with e.loop(0, features, lanes) as first, e.loop(0, rows, lanes) as next_i:
        i = e.most(e.least(next_i, rows - lanes), 0)
        columns = transpose(e, [e.load(vector, row(i + r) + first * total.bytes, total.bytes) for r in range(lanes)])
        goal, many = start + first * a["ws_f"] + i * a["ws_i"], e.least(features - first, lanes)
        past = e.streamable(vector.bytes, a["stream"], goal, a["ws_f"])
        past = e.arith("and", past, e.compare("eq", e.least(many, count), e.integer(lanes)))
        with e.when(past):
            for number, column in enumerate(columns):
                e.stream(column, goal + number * a["ws_f"])
        with e.otherwise(past):
            store_squares(e, columns, buffer, goal, a["ws_f"], (many, count))
