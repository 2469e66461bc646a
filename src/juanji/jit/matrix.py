"""The matrix tile: 16 output pixels × 16 features in an accumulator of the matrix unit, `rows` × `columns` of them at a time.

One chunk is a run of neighbouring output pixels, as in `channel`. For it

    panel      the part of the input under it, padded, as numbers of the unit: in blocks of channels that fill a tile's row, or
               pixel behind pixel where all taps of a row of the kernel fill a few rows; or the input itself where it lies so
    tile       a = 16 pixels that lie `pitch` bytes apart, from wherever the first one's window begins; b = weights
    store      accumulators wait in `sums`; their pixels leave from there, channels-first ones transposed in squares

A row of a tile is a pixel only because it lies `pitch` bytes after the one before, so a tile may run past the end of a row of pixels
into the padding and the row behind it. What such pixels sum is left in `sums`. Tables say where each tile begins, which pixels are the
first time in it, and in which row of `sums` each lies. Rows of one phase of the stride lie together in the panel, so that with a stride,
too, a row of outputs continues in the next.

The steps of the reduction are a table of places relative to a window: channel block, taps, channel. Where one number stands for two or
three of the unit (`parts`), the panel exists as often, and each step multiplies those pairs of parts that matter, the large ones first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from juanji.exact import Narrowing
from juanji.jit import tiles
from juanji.jit.activations import activate
from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.channel import store_squares
from juanji.jit.chunks import chunk_of
from juanji.jit.elements import SCALARS, finish, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Type, Value, Var
from juanji.jit.ieee import ieee_mode
from juanji.jit.panels import (
    LINE_ARGUMENTS,
    Line,
    block_filler,
    gathering_filler,
    outer_step,
    pixel_filler,
    transposing_filler,
    word_filler,
)
from juanji.jit.target import Target

PAIRS = {1: ((0, 0),), 2: ((0, 0), (0, 1), (1, 1), (1, 0)), 3: ((0, 0), (0, 1), (0, 2), (1, 1), (1, 0), (2, 0))}  # parts of x and w


@dataclass(frozen=True)
class MatrixCode:
    """Everything that the code depends on."""

    x: str
    product: str  # one of the unit's
    parts: int  # numbers of the unit that stand for one
    total: str
    y: str
    axes: int
    planar_x: bool  # the input lies plane by plane
    joined: bool  # pixels of a panel lie one behind the other
    few: int  # channels, where they are few planes that are joined, else 0
    even: bool  # channels fill the rows of tiles
    panel: bool  # False: the input is read where it lies, channels-last
    channels_last_y: bool
    gaps: bool  # outputs do not lie one behind the other: a table says where
    bias: bool
    activation: str | None
    narrowing: Narrowing
    rows: int  # tiles of pixels
    columns: int  # tiles of features

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "stride", "reach", "map", "xs", "ps", "apart", "phases", "ys")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "groups", "channels", "channels_all", "panel_c", "panels", "ps_b", "whole",
            "empty_at", "empty", "run", "runs", "panel_b", "part",
            "map_tiles", "map_firsts", "map_sums", "map_goals", "map_steps", "tiles", "steps", "pitch",
            "split", "splits", "blocks_f", "count_f", "step", "xs_n", "xs_c", "ys_n", "ys_c", "ys_p", "lines", "sums", "stream",
        )  # fmt: skip

    @property
    def element(self) -> Type:
        """A number of the unit, as a bag of bits."""
        return Type("i16" if "bfloat16" in tiles.operands(self.product) else "i8")

    @property
    def line(self) -> Line:
        """What fills a panel's lines: the numbers as they are, or as float32 that are cut into parts."""
        if self.parts > 1:
            return Line(self.x, "f32", 1, True, self.axes)
        return Line({"i16": "int16", "i8": "int8"}[self.element.scalar], self.element.scalar, 1, True, self.axes)


def emit_matrix(code: MatrixCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        tiles.configure(e)
        held = e.var(I64, e.integer(-1))  # the chunk whose panel is filled: the shares of the features of one chunk follow each other
        with e.loop(a["begin"], a["end"]) as item:
            _item(e, code, a, item, held)
        tiles.release(e)
        with e.when(e.compare("ne", a["stream"], e.integer(0))):
            e.fence()
    if code.panel:
        _emit_fill(e, code)
    if code.parts > 1:
        _emit_cut(e, code)
    return e.text()


def _item(e: Emitter, code: MatrixCode, a: Arguments, item: Value, held: Var) -> None:
    """One item of work: image, group, chunk of pixels, share of the features."""
    chunk = chunk_of(e, code.axes, a, item)
    if code.panel:
        base = a["scratch"]
        with e.when(e.compare("ne", chunk.number, held.get())):
            _fill(e, code, a, chunk.origin, chunk.extent, chunk.xs)
        held.set(chunk.number)
    else:
        base = chunk.in_place(a)

    width = tiles.ROWS * code.columns
    with e.loop(chunk.split * a["split"], e.least((chunk.split + 1) * a["split"], a["blocks_f"])) as block:
        place = chunk.group * a["blocks_f"] + block
        weights, bias = a["w"] + place * a["step"], a["bias"] + place * (width * 4)
        goal, features = chunk.ys + block * width * a["ys_c"], e.least(a["count_f"] - block * width, width)
        # A tile's sums leave while the next one's are computed: what the unit stores cannot be loaded at once.
        with e.loop(0, a["tiles"] + 1) as tile:
            first = e.load(I64, a["map_firsts"] + tile * 8, 8)
            with e.when(e.compare("slt", first, chunk.pixels)):
                _sum(e, code, a, tile, (base, weights, bias))
            with e.when(e.compare("sgt", tile, e.integer(0))):
                before = e.load(I64, a["map_firsts"] + (tile - 1) * 8, 8)
                store = _store_pixels if code.channels_last_y else _store_planes
                store(e, code, a, (before, e.least(first, chunk.pixels)), goal, features)


# The panel ------------------------------------------------------------------------------------------------------------------


def _fill(e: Emitter, code: MatrixCode, a: Arguments, origin: list[Value], extent: list[Value], xs: Value) -> None:
    """The panel of one chunk, line by line. Lines of one phase of a stride lie together; phases that no tap meets are left out."""
    last = code.axes - 1
    size = Type(code.line.total).bytes
    first = e.integer(origin[last] * a[f"stride{last}"])
    count = e.integer((extent[last] - 1) * a[f"stride{last}"] + a[f"reach{last}"])

    def walk(axis: int, source: Value, outside: Value, goal: Value) -> None:
        if axis == last:
            line = a["scratch"] + a["lines"] if code.parts > 1 else goal
            empty = e.vector(code.line.total)
            with e.loop(0, a["empty"], empty.bytes) as at:
                e.store(e.zero(empty), line + a["empty_at"] + at)
            e.call("fill_line", a.row, line, source, outside, first, count)
            if code.parts > 1:
                e.call("cut_line", a.row, goal, line)
            return
        stride, reach = a[f"stride{axis}"], (extent[axis] - 1) * a[f"stride{axis}"] + a[f"reach{axis}"]
        with e.loop(0, a[f"phases{axis}"]) as phase, e.loop(0, (reach - phase + stride - 1) // stride) as j:
            at, constant = origin[axis] * stride + j * stride + phase, a["constants"] + axis * size
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
            walk(axis + 1, *inner, goal + phase * a[f"apart{axis}"] + j * a[f"ps{axis}"])

    walk(0, xs, Value(e, PTR, "null"), a["scratch"])


def _emit_fill(e: Emitter, code: MatrixCode) -> None:
    """Emits the filler of a line."""
    block = LINE // code.element.bytes
    if code.joined:
        if code.planar_x:
            gathering_filler(e, code.line, code.names, code.few)
        else:
            pixel_filler(e, code.line, code.names)
    elif not code.planar_x:
        block_filler(e, code.line, code.names, block) if code.even else pixel_filler(e, code.line, code.names)
    elif code.parts > 1:
        transposing_filler(e, code.line, code.names)
    else:
        word_filler(e, code.line, code.names, block, code.even)


def _emit_cut(e: Emitter, code: MatrixCode) -> None:
    """Emits cut_line(row of arguments, goal, source): float32 numbers as two or three of bfloat16 that sum up to them."""
    vector = e.vector("f32")
    with e.function("cut_line", PTR, PTR, PTR, internal=True) as (words, goal, source):
        a = Arguments(e, words, code.names)
        with e.loop(0, a["runs"]) as run:
            start, end = source + run * a["ps_b"], goal + run * a["panel_b"]
            with e.loop(0, a["run"], 2 * vector.lanes) as i:
                low, high = (e.load(vector, start + i * 4 + half * vector.bytes) for half in range(2))
                for part in range(code.parts):
                    near_low, near_high = low, high
                    if part < code.parts - 1:
                        near_low, near_high = near_bfloat16(e, low), near_bfloat16(e, high)
                        low, high = e.arith("fsub", low, near_low), e.arith("fsub", high, near_high)
                    e.store(tiles.bfloat16_pair(e, near_low, near_high), end + a["part"] * part + i * 2)


def near_bfloat16(e: Emitter, number: Value) -> Value:
    """The float32 nearest to a number whose lower half is zero."""
    bits = e.convert("bitcast", number, "i32")
    near = e.arith("and", e.arith("add", bits, e.const(bits.type, 0x8000)), e.const(bits.type, -0x10000))
    return e.convert("bitcast", near, "f32")


# The tile -------------------------------------------------------------------------------------------------------------------


class Move(NamedTuple):
    """What comes next in a step of the reduction: a load of a part of a tile of pixels ("a") or weights ("b"), or a product of both."""

    what: str
    a: int  # which tile of pixels, and in which of the unit's it is
    in_a: int
    b: int
    in_b: int
    part: int = 0


@lru_cache(maxsize=32)
def moves(parts: int, rows: int, columns: int) -> tuple[Move, ...]:
    """A step of the reduction for rows × columns accumulators: products in order of their parts, each tile loaded when it is first wanted.

    Weights have as many tiles of the unit as there are columns, pixels those that are left; each is loaded anew only where another took
    its place.
    """
    found = list[Move]()
    right = range(rows * columns, (rows + 1) * columns)
    left = range(right.stop, tiles.TILES)
    held: dict[int, tuple[str, int, int]] = {}
    turn = 0
    for part_a, part_b in PAIRS[parts]:
        for v, name in enumerate(right):
            if held.get(name) != ("b", part_b, v):
                held[name] = "b", part_b, v
                found.append(Move("b", 0, 0, v, name, part_b))
        for i in range(rows):
            at = next((name for name in left if held.get(name) == ("a", part_a, i)), None)
            if at is None:
                at = left[turn % len(left)]
                turn += 1
                held[at] = "a", part_a, i
                found.append(Move("a", i, at, 0, 0, part_a))
            found += (Move("multiply", i, at, v, name) for v, name in enumerate(right))
    return tuple(found)


def _sum(e: Emitter, code: MatrixCode, a: Arguments, tile: Value, pointers: tuple[Value, Value, Value]) -> None:
    """All steps of `rows` × `columns` accumulators, from the bias to `sums`."""
    base, weights, bias = pointers
    acc = [[i * code.columns + v for v in range(code.columns)] for i in range(code.rows)]
    for row in acc:
        for v, total in enumerate(row):
            if code.bias:
                tiles.load(e, total, bias + v * LINE, 0)
            else:
                tiles.zero(e, total)
    windows = [base + e.load(I64, a["map_tiles"] + (tile * code.rows + i) * 8, 8) for i in range(code.rows)]
    w = e.var(PTR, weights)
    with e.loop(0, a["steps"]) as step:
        at = e.load(I64, a["map_steps"] + step * 8, 8)
        for move in moves(code.parts, code.rows, code.columns):
            match move.what:
                case "a":
                    tiles.load(e, move.in_a, windows[move.a] + at + (a["part"] * move.part if move.part else 0), a["pitch"])
                case "b":
                    tiles.load(e, move.in_b, w.get() + (move.part * code.columns + move.b) * tiles.TILE, LINE)
                case _:
                    tiles.multiply(e, code.product, acc[move.a][move.b], move.in_a, move.in_b)
        w.set(w.get() + code.parts * code.columns * tiles.TILE)
    sums = a["scratch"] + a["sums"] + tile % 2 * (code.rows * code.columns * tiles.TILE)
    for i, row in enumerate(acc):
        for v, total in enumerate(row):
            place = sums + (i * tiles.ROWS * code.columns + v) * LINE
            tiles.store(e, total, place, code.columns * LINE)


# Store ----------------------------------------------------------------------------------------------------------------------


def _step_to(e: Emitter, code: MatrixCode, a: Arguments, pixel: Value) -> Value:
    """Bytes from the output of a chunk's first pixel to that of another."""
    return e.load(I64, a["map_goals"] + pixel * 8, 8) if code.gaps else pixel * a["ys_p"]


def _sums_of(e: Emitter, a: Arguments, pixel: Value) -> Value:
    return a["scratch"] + a["sums"] + e.load(I64, a["map_sums"] + pixel * 8, 8)


def _parameter(e: Emitter, code: MatrixCode, a: Arguments) -> Value:
    return e.load(Type(SCALARS[code.total]), a["constants"] + code.axes * 8)


def _finish(e: Emitter, code: MatrixCode, total: Value, parameter: Value) -> Value:
    """A vector of sums as it is stored."""
    if code.y == "bfloat16":
        return tiles.bfloat16(e, activate(e, total, code.activation, parameter))
    return finish(e, total, code.y, code.activation, parameter, code.narrowing)


def _store_pixels(e: Emitter, code: MatrixCode, a: Arguments, pixels: tuple[Value, Value], goal: Value, features: Value) -> None:
    """Finished sums, each pixel's features where they belong."""
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    parameter, width = _parameter(e, code, a), tiles.ROWS * code.columns
    whole = e.compare("eq", features, e.integer(width))

    def finished(pixel: Value) -> list[Value]:
        source = _sums_of(e, a, pixel)
        sums = [e.load(vector, source + at) for at in range(0, width * 4, vector.bytes)]
        if code.y != "bfloat16" or len(sums) % 2:
            return [_finish(e, code, value, parameter) for value in sums]
        active = [activate(e, value, code.activation, parameter) for value in sums]
        return [tiles.bfloat16_pair(e, low, high) for low, high in zip(active[::2], active[1::2], strict=True)]

    with e.when(whole):
        past = e.streamable(width * out.bytes, a["stream"], goal, a["ys_p"])
        for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
            with condition, e.loop(*pixels) as pixel:
                place = goal + _step_to(e, code, a, pixel)
                for number, value in enumerate(finished(pixel)):
                    put(value, place + number * value.type.bytes)
    with e.otherwise(whole), e.loop(*pixels) as pixel:
        place = goal + _step_to(e, code, a, pixel)
        for number, value in enumerate(finished(pixel)):
            lanes = value.type.lanes
            e.store_first(value, place + number * value.type.bytes, e.most(e.least(features - number * lanes, lanes), 0))


def _store_planes(e: Emitter, code: MatrixCode, a: Arguments, pixels: tuple[Value, Value], goal: Value, features: Value) -> None:
    """The same plane by plane: squares of pixels × features are transposed."""
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes, (first, end) = vector.lanes, pixels
    parameter, buffer = _parameter(e, code, a), e.stack(Type(out.scalar, lanes), lanes)
    with e.loop(first, end, lanes) as p:
        sources = [_sums_of(e, a, e.least(p + i, end - 1)) for i in range(lanes)]
        count = e.least(end - p, lanes)
        with e.loop(0, features, lanes) as f:
            columns = transpose(e, [e.load(vector, source + f * 4) for source in sources])
            stored = [_finish(e, code, column, parameter) for column in columns]
            start, size = goal + f * a["ys_c"], (e.least(features - f, lanes), count)
            if code.gaps:
                _scatter(e, code, a, stored, (buffer, start), p, size)
            else:
                store_squares(e, stored, buffer, start + p * a["ys_p"], a["ys_c"], size)


def _scatter(
    e: Emitter, code: MatrixCode, a: Arguments, columns: list[Value], pointers: tuple[Value, Value], p: Value, size: tuple[Value, Value]
) -> None:
    """The same where pixels have gaps between them: one by one."""
    (buffer, start), (many, count) = pointers, size
    out, pitch = Type(SCALARS[code.y]), columns[0].type.bytes
    for i, column in enumerate(columns):
        e.store(column, buffer + i * pitch)
    with e.loop(0, count) as lane:
        place = start + _step_to(e, code, a, p + lane)
        with e.loop(0, many) as one:
            e.store(e.load(out, buffer + one * pitch + lane * out.bytes), place + one * a["ys_c"])
