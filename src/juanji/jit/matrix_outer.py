"""The outer tile of the matrix unit: the gradient of shared weights, 16 channels at a tap × 16 features in an accumulator.

    dw[o, i] = Σ_p x[place of (p, i)] · dy[p, o],      i a pair of channel and tap, p an output position of any image

For each chunk of output positions x and dy are brought into panels as numbers of the unit (`matrix_outer_panels`), both with neighbouring
positions side by side. A row of a tile of x is 32 positions as one channel and tap sees them, from wherever the tap's begin; the row of the
next channel lies a plane further on; a tile of dy is as many positions of 16 features. Where one number stands for two or three of the
unit, each step multiplies those pairs of parts that matter, as in `matrix`.

What the unit sums over a block of steps is added to the sums of the blocks before. An item is a segment of the chunks, a group and a share
of the features. Blocks, chunks and segments follow from the description, so that neither threads nor views show in the bits.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple

from juanji.jit import tiles
from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.elements import plus
from juanji.jit.emit import I1, I64, LINE, PTR, Emitter, Int, Type, Value
from juanji.jit.matrix_outer_code import MatrixOuterCode
from juanji.jit.matrix_outer_panels import PAIR, emit_panels, fill_planes, fill_words
from juanji.jit.outer import chunk_place, store_weights
from juanji.jit.target import Target
from juanji.jit.tiles import PRODUCTS

STEP = LINE // PAIR  # positions of a row of a tile
# Parts of x and dy whose products stand for one: as in `matrix`, in an order in which most have a part in common with the one before.
PAIRS = {1: ((0, 0),), 2: ((0, 0), (0, 1), (1, 1), (1, 0)), 3: ((2, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, 2))}


def emit_matrix_outer(code: MatrixOuterCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        tiles.configure(e)
        waiting = Waiting(e, code, a)
        with each_item(e, a) as item:
            _item(e, code, a, item, waiting)
        tiles.release(e)
    emit_panels(e, code)
    return e.text()


def _item(e: Emitter, code: MatrixOuterCode, a: Arguments, item: Value, waiting: Waiting) -> None:
    """One item of work: segment of the chunks, group, share of the features."""
    rest, split = e.divide(item, a["splits"])
    segment, group = e.divide(rest, a["groups"])
    begin, end = segment * a["chunks"] // a["segments"], (segment + 1) * a["chunks"] // a["segments"]
    f_begin = split * a["split"]
    blocks = f_begin, e.least(f_begin + a["split"], a["blocks_f"])
    goal = a["y"] + segment * a["ws_s"] + group * a["ws_g"]
    with e.loop(begin, end) as chunk:
        ends = e.compare("eq", chunk, begin), e.compare("eq", chunk, end - 1)
        _chunk(e, code, a, (chunk, group), blocks, ends, goal, waiting)


def _chunk(
    e: Emitter,
    code: MatrixOuterCode,
    a: Arguments,
    place: tuple[Value, Value],
    blocks: tuple[Value, Value],
    ends: tuple[Value, Value],
    goal: Value,
    waiting: Waiting,
) -> None:
    """The products of one chunk of output positions, added to the sums; the first chunk's begin them, after the last one's they leave."""
    first, last = ends
    steps = _fill(e, code, a, place, blocks, first)
    planes, panel, width = a["scratch"] + a["planes"], a["scratch"] + a["words"], tiles.ROWS * code.columns
    with e.loop(*blocks) as block_f:
        sums = a["scratch"] + a["sums"] + (block_f - blocks[0]) * a["step_f"]
        words = panel + (block_f - blocks[0]) * code.columns * a["words_f"]
        with e.loop(0, a["tiles"], code.rows) as tile, e.loop(0, steps, a["block"]) as step:
            end = e.least(step + a["block"], steps)
            begins = e.arith("and", first, e.compare("eq", step, e.integer(0)))
            _tile(e, code, a, (planes, words), tile, (step, end), waiting)
            waiting.set(sums + tile * (code.columns * tiles.TILE), begins)
        with e.when(last):
            waiting.leave()
            block = e.vector("f32"), width * 4 // e.vector("f32").bytes

            def row(i: Value) -> Value:
                return sums + e.load(I64, a["map_goals"] + i * 8, 8)

            store_weights(e, a, code.turned, block, (goal, block_f * width), row)


def _fill(e: Emitter, code: MatrixOuterCode, a: Arguments, place: tuple[Value, Value], blocks: tuple[Value, Value], first: Value) -> Value:
    """The panels of one chunk, and how many steps its positions are."""
    chunk, group = place
    image, origin, extent = chunk_place(e, code.axes, a, chunk)
    xs = a["x"] + image * a["xs_n"] + group * a["channels"] * a["xs_c"]
    f_begin, f_end = (e.least(block * (tiles.ROWS * code.columns), a["count_f"]) for block in blocks)
    dys = a["w"] + image * a["gs_n"] + (group * a["count_f"] + f_begin) * a["gs_c"]
    fresh, positions = first, e.integer(1)
    for axis, (at, count) in enumerate(zip(origin, extent, strict=True)):
        dys = dys + at * a[f"gs{axis}"]
        fresh = e.arith("or", fresh, e.compare("ne", count, a[f"box{axis}"]))
        positions = positions + (count - 1) * a[f"pitch{axis}"]
    with e.when(fresh), e.loop(0, a["clean"], LINE) as at:  # zeros in gaps, and where only a larger chunk would write
        e.store(e.zero(Type("i64", LINE // 8)), a["scratch"] + at)
    fill_planes(e, code, a, origin, extent, xs)
    fill_words(e, code, a, extent, dys, f_end - f_begin)
    return (positions + (STEP - 1)) // STEP


class Waiting:
    """What the unit has summed waits in one of two buffers until it is added to the sums of blocks before: while it sums the next one, as
    what it stores cannot be loaded at once."""

    def __init__(self, e: Emitter, code: MatrixOuterCode, a: Arguments):
        self.e, self.size = e, code.rows * code.columns * tiles.TILE
        self.buffers, self.half = a["scratch"] + a["waiting"], e.var(I64, e.integer(0))
        self.goal, self.begins = e.var(PTR, a["scratch"]), e.var(I1, Value(e, I1, "false"))
        self.left = e.var(I64, e.integer(self.size))  # bytes of what waits that have left

    @property
    def free(self) -> Value:
        """The buffer in which nothing waits."""
        return self.buffers + (self.size - self.half.get())

    def set(self, goal: Value, begins: Value) -> None:
        """What was put into the free buffer waits now for its sums, or to begin them."""
        self.half.set(self.size - self.half.get())
        self.goal.set(goal)
        self.begins.set(begins)
        self.left.set(self.e.integer(0))

    def leave(self, count: Int | None = None) -> None:
        """So many vectors are added, or all that are left."""
        e, vector = self.e, self.e.vector("f32")
        left = self.left.get()
        end = e.integer(self.size) if count is None else e.least(left + count * vector.bytes, self.size)
        source, goal, begins = self.buffers + self.half.get(), self.goal.get(), self.begins.get()
        with e.loop(left, end, vector.bytes) as at:
            found = e.load(vector, source + at)
            e.store(e.select(begins, found, plus(e, e.load(vector, goal + at), found)), goal + at)
        self.left.set(end)


class Move(NamedTuple):
    """What comes next in a step: a load of a part of a tile of channels ("a") or features ("b"), or a product of both."""

    what: str
    tile: int  # the row or column of the register tile, or the accumulator
    part: int
    name: int  # of the unit's tile into which is loaded, or of the first factor
    other: int = 0  # of the second


@lru_cache(maxsize=32)
def order(parts: int, rows: int, columns: int) -> tuple[Move, ...]:
    """A step for rows × columns accumulators, each of which gets its products in the order of `PAIRS`.

    Where the unit has room for all parts of a step's features, each tile of channels is multiplied by all that it meets as soon as it is
    loaded; else by those of one part, the tiles of all columns.
    """
    sums = rows * columns
    hold = sums + parts * columns < tiles.TILES
    pairs = [(a, [b]) for a, b in PAIRS[parts]]
    if hold:
        pairs = [(a, [b for _, b in group]) for a, group in itertools.groupby(PAIRS[parts], key=lambda pair: pair[0])]
    left = range(sums + (parts if hold else 1) * columns, tiles.TILES)
    turn = itertools.cycle(left)
    held = dict[int, tuple[str, int, int]]()
    found = list[Move]()

    def load(what: str, tile: int, part: int, name: int) -> int:
        if held.get(name) != (what, tile, part):
            held[name] = what, tile, part
            found.append(Move(what, tile, part, name))
        return name

    for part, others in pairs:
        for i in range(rows):
            at = load("a", i, part, next((name for name in left if held.get(name) == ("a", i, part)), None) or next(turn))
            for other, v in itertools.product(others, range(columns)):
                at_b = load("b", v, other, sums + (other if hold else 0) * columns + v)
                found.append(Move("multiply", i * columns + v, part, at, at_b))
    return tuple(found)


def _tile(
    e: Emitter,
    code: MatrixOuterCode,
    a: Arguments,
    pointers: tuple[Value, Value],
    tile: Value,
    steps: tuple[Value, Value],
    waiting: Waiting,
) -> None:
    """`rows` × `columns` accumulators over a block of positions; they go where nothing waits, and what waits leaves meanwhile."""
    planes, words = pointers
    count = code.rows * code.columns
    for total in range(count):
        tiles.zero(e, total)
    rows = [planes + e.load(I64, a["map_tiles"] + (tile + i) * 8, 8) for i in range(code.rows)]
    columns = [words + v * a["words_f"] for v in range(code.columns)]
    product = PRODUCTS["bfloat16", "bfloat16"]
    with e.loop(*steps) as step:
        for move in order(code.parts, code.rows, code.columns):
            match move.what:
                case "a":
                    tiles.load(e, move.name, rows[move.tile] + a["part_x"] * move.part + step * (STEP * PAIR), a["plane"])
                case "b":
                    tiles.load(e, move.name, columns[move.tile] + a["part_dy"] * move.part + step * tiles.TILE, LINE)
                case _:
                    tiles.multiply(e, product, move.tile, move.name, move.other)
        waiting.leave(a["piece"])
    waiting.leave()
    free = waiting.free
    for total in range(count):
        i, v = divmod(total, code.columns)
        tiles.store(e, total, free + i * code.columns * tiles.TILE + v * LINE, code.columns * LINE)
