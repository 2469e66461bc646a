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
from collections.abc import Callable, Sequence
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
Piece = Callable[[], None]  # of what else is done in a step
# Parts of x and dy whose products stand for one: as in `matrix`, in an order in which most have a part in common with the one before.
PAIRS = {1: ((0, 0),), 2: ((0, 0), (0, 1), (1, 1), (1, 0)), 3: ((2, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, 2))}


def emit_matrix_outer(code: MatrixOuterCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        tiles.configure(e)
        waiting = Waiting(e, code.rows * code.columns, a)
        with each_item(e, a) as item:
            share = share_of(e, code.columns, a, item)
            with e.loop(share.begin, share.end) as chunk:
                _chunk(e, code, a, chunk, share, waiting)
        tiles.release(e)
    emit_panels(e, code)
    return e.text()


class Share(NamedTuple):
    """An item of work: a segment of the chunks, a group and a share of the features."""

    item: Value
    segment: Value
    group: Value
    begin: Value  # of the chunks
    end: Value
    blocks: tuple[Value, Value]  # of features
    features: tuple[Value, Value]


def share_of(e: Emitter, columns: int, a: Arguments, item: Value) -> Share:
    """What an item is, where blocks have so many tiles of features."""
    rest, split = e.divide(item, a["splits"])
    segment, group = e.divide(rest, a["groups"])
    begin, end = segment * a["chunks"] // a["segments"], (segment + 1) * a["chunks"] // a["segments"]
    first = split * a["split"]
    blocks = first, e.least(first + a["split"], a["blocks_f"])
    low, high = (e.least(block * (tiles.ROWS * columns), a["count_f"]) for block in blocks)
    return Share(item, segment, group, begin, end, blocks, (low, high))


def _chunk(e: Emitter, code: MatrixOuterCode, a: Arguments, chunk: Value, share: Share, waiting: Waiting) -> None:
    """The products of one chunk of output positions, added to the sums; the first chunk's begin them, after the last one's they leave."""
    first, last = e.compare("eq", chunk, share.begin), e.compare("eq", chunk, share.end - 1)
    steps = _fill(e, code, a, chunk, share, first)
    planes, panel, width = a["scratch"] + a["planes"], a["scratch"] + a["words"], tiles.ROWS * code.columns
    goal = a["y"] + share.segment * a["ws_s"] + share.group * a["ws_g"]
    with e.loop(*share.blocks) as block_f:
        number = block_f - share.blocks[0]
        sums = a["scratch"] + a["sums"] + number * a["step_f"]
        words = panel + number * code.columns * a["words_f"]
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

            store_weights(e, a, code.turned, block, (goal, block_f * width), row, a["count_i"])


def _fill(e: Emitter, code: MatrixOuterCode, a: Arguments, chunk: Value, share: Share, first: Value) -> Value:
    """The panels of one chunk, and how many steps its positions are."""
    image, origin, extent = chunk_place(e, code.axes, a, chunk)
    xs = a["x"] + image * a["xs_n"] + share.group * a["channels"] * a["xs_c"]
    low, high = share.features
    dys = a["w"] + image * a["gs_n"] + (share.group * a["count_f"] + low) * a["gs_c"]
    fresh, positions = first, e.integer(1)
    for axis, (at, count) in enumerate(zip(origin, extent, strict=True)):
        dys = dys + at * a[f"gs{axis}"]
        fresh = e.arith("or", fresh, e.compare("ne", count, a[f"box{axis}"]))
        positions = positions + (count - 1) * a[f"pitch{axis}"]
    with e.when(fresh), e.loop(0, a["clean"], LINE) as at:  # zeros in gaps, and where only a larger chunk would write
        e.store(e.zero(Type("i64", LINE // 8)), a["scratch"] + at)
    fill_planes(e, code, a, origin, extent, xs)
    fill_words(e, code, a, extent, dys, high - low)
    return (positions + (STEP - 1)) // STEP


class Waiting:
    """What the unit has summed waits in one of two buffers until it is added to the sums of blocks before: while it sums the next one, as
    what it stores cannot be loaded at once."""

    def __init__(self, e: Emitter, accumulators: int, a: Arguments):
        self.e, self.size = e, accumulators * tiles.TILE
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
    """`rows` × `columns` accumulators over a block of positions."""
    planes, words = pointers
    rows = [planes + e.load(I64, a["map_tiles"] + (tile + i) * 8, 8) for i in range(code.rows)]
    columns = [words + v * a["words_f"] for v in range(code.columns)]

    def find(move: Move, step: Value) -> tuple[Value, Int]:
        if move.what == "a":
            return rows[move.tile] + a["part_x"] * move.part + step * (STEP * PAIR), a["plane"]
        return columns[move.tile] + a["part_dy"] * move.part + step * tiles.TILE, LINE

    sum_products(e, (code.parts, code.rows, code.columns), find, steps, waiting, lambda: [lambda: waiting.leave(a["piece"])])


def sum_products(
    e: Emitter,
    register: tuple[int, int, int],
    find: Callable[[Move, Value], tuple[Value, Int]],
    steps: tuple[Value, Value],
    waiting: Waiting,
    meanwhile: Callable[[], Sequence[Piece]],
) -> None:
    """The accumulators of parts, rows and columns over a block of steps; they go where nothing waits, and what waits leaves meanwhile.

    find: where a tile lies at a step, and how far apart its rows. meanwhile: what else is to be done in a step, piece by piece.
    """
    parts, rows, columns = register
    for total in range(rows * columns):
        tiles.zero(e, total)
    product, moves = PRODUCTS["bfloat16", "bfloat16"], order(parts, rows, columns)
    with e.loop(*steps) as step:
        pieces = meanwhile()
        for number, move in enumerate(moves):
            if move.what == "multiply":
                tiles.multiply(e, product, move.tile, move.name, move.other)
            else:
                tiles.load(e, move.name, *find(move, step))
            for piece in pieces[number * len(pieces) // len(moves) : (number + 1) * len(pieces) // len(moves)]:
                piece()
    waiting.leave()
    free = waiting.free
    for total in range(rows * columns):
        i, v = divmod(total, columns)
        tiles.store(e, total, free + i * columns * tiles.TILE + v * LINE, columns * LINE)
