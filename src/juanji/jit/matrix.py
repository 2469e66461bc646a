"""The matrix tile: 16 output pixels × 16 features in an accumulator of the matrix unit, `rows` × `columns` of them at a time.

One chunk is a run of neighbouring output pixels, as in `channel`. For it

    panel      the part of the input under it, padded, as numbers of the unit, in blocks of channels that fill a tile's row; where
               channels are few, unfolded along a row of the kernel (`matrix_unfolded`); or the input itself where it lies so
    tile       a = 16 pixels that lie `pitch` bytes apart, from wherever the first one's window begins; b = weights
    store      accumulators wait in `sums`; their pixels leave from there, transposed in squares where they lie the other way

A row of a tile is a pixel only because it lies `pitch` bytes after the one before, so a tile may run past the end of a row of pixels
into the padding and the row behind it. What such pixels sum is left in `sums`. Tables say where each tile begins, which pixels are the
first time in it, and in which row of `sums` each lies. Rows of one phase of the stride lie together in the panel, so that with a stride,
too, a row of outputs continues in the next.

In a planar tile, of channels-first layers with one tap along a line and of unfolded windows, the operands change roles: a = 16 features
of the weights; b = 16 words of 16 pixels side by side, each word `pitch` bytes after the one before. Rows of its sums are planes.

With `phases` (of a stride whose gradient this is, `phases.py`) one panel serves many sums, each with steps of its own. Those of planes
are put together as they leave: the phases of a line of outputs are summed one behind the other, then those of the next line.

The steps of the reduction are a table of places relative to a window: channel block, taps, channel. Where one number stands for two or
three of the unit (`parts`), the panel exists as often, and each step multiplies those pairs of parts that matter, the large ones first.
Between the steps the tile before leaves, a few rows at a time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from juanji.jit import tiles
from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.chunks import chunk_behind, chunk_of
from juanji.jit.emit import I64, LINE, PTR, Emitter, Value, Var
from juanji.jit.matrix_code import PAIRS, MatrixCode
from juanji.jit.matrix_panels import emit_panel, fill_panel
from juanji.jit.matrix_store import Leaving, Sums
from juanji.jit.target import Target


def emit_matrix(code: MatrixCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        tiles.configure(e)
        held = chunk_behind(e, a, a["splits"])  # whose panel is filled: the shares of the features of one chunk follow each other
        with each_item(e, a) as item:
            _item(e, code, a, item, held)
        tiles.release(e)
    if code.panel:
        emit_panel(e, code)
    return e.text()


def _item(e: Emitter, code: MatrixCode, a: Arguments, item: Value, held: Var) -> None:
    """One item of work: image, group, chunk of pixels, share of the features."""
    chunk = chunk_of(e, code.axes, a, item)
    if code.panel:
        base = a["scratch"]
        with e.when(e.compare("ne", chunk.number, held.get())):
            fill_panel(e, code, a, chunk.origin, chunk.extent, chunk.xs)
        held.set(chunk.number)
    else:
        base = chunk.in_place(a)

    width = tiles.ROWS * code.columns
    first_block = chunk.split * a["split"]
    blocks = e.least(a["split"], a["blocks_f"] - first_block)
    blocks = blocks * a["others"] if code.phases else blocks
    # A tile's sums leave while the next one's are computed: what the unit stores cannot be loaded at once.
    before = Leaving(e, code, a)
    with e.loop(0, a["tiles"] * blocks + 1) as number:
        block, tile = e.divide(number, a["tiles"])
        phase, goal = None, chunk.ys
        if code.phases:
            block, other = e.divide(block, a["others"])
            phase = a["map_phases"] + other * (code.phases * PHASE)
            goal = goal + e.load(I64, phase + 32, 8)
        block = first_block + block
        place = chunk.group * a["blocks_f"] + block
        sums = Sums(
            at=a["scratch"] + a["sums"] + number % 2 * (max(code.phases, 1) * code.sums),
            tile=tile,
            pixels=chunk.pixels,
            goal=goal + block * width * a["ys_c"],
            features=e.least(a["count_f"] - block * width, width),
        )
        there = e.arith("and", e.compare("slt", number, a["tiles"] * blocks), sums.there(e, code, a))
        bias = a["bias"] + place * (width * code.bias_bytes)
        with e.when(there):
            if phase is None:
                _sum(e, code, a, tile, sums.at, Steps(a["map_steps"], a["steps"], a["w"] + place * a["step"]), (base, bias), before)
            else:
                with e.loop(0, code.phases) as turn:
                    steps = _steps_of(e, a, phase + turn * PHASE, place)
                    _sum(e, code, a, tile, sums.at + turn * code.sums, steps, (base, bias), before)
        before.leave()
        before.set(sums, there)


class Steps(NamedTuple):
    """Those of a sum: the places relative to a window, how many, and the weights."""

    places: Value
    number: Value
    weights: Value


PHASE = 40  # bytes that a table has of each phase: its steps, how many, its weights, those of a block, where its outputs begin


def _steps_of(e: Emitter, a: Arguments, phase: Value, place: Value) -> Steps:
    """The steps of a phase, for a block of features."""
    number, first, step = (e.load(I64, phase + at, 8) for at in (8, 16, 24))
    return Steps(e.load(PTR, phase, 8), number, a["w"] + first + place * step)


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


def _sum(
    e: Emitter, code: MatrixCode, a: Arguments, tile: Value, sums: Value, steps: Steps, pointers: tuple[Value, Value], before: Leaving
) -> None:
    """All steps of `rows` × `columns` accumulators, from the bias to where sums wait; between the steps others leave."""
    base, bias = pointers
    acc = [[i * code.columns + v for v in range(code.columns)] for i in range(code.rows)]
    for row in acc:
        for v, total in enumerate(row):
            if code.bias:
                tiles.load(e, total, bias + v * (tiles.ROWS * code.bias_bytes), LINE if code.planar else 0)
            else:
                tiles.zero(e, total)
    windows = [base + e.load(I64, a["map_tiles"] + (tile * code.rows + i) * 8, 8) for i in range(code.rows)]
    w = e.var(PTR, steps.weights)
    with e.loop(0, steps.number) as step:
        at = e.load(I64, steps.places + step * 8, 8)
        for move in moves(code.parts, code.rows, code.columns):
            match move.what:
                case "a":
                    tiles.load(e, move.in_a, windows[move.a] + at + (a["part"] * move.part if move.part else 0), a["pitch"])
                case "b":
                    tiles.load(e, move.in_b, w.get() + (move.part * code.columns + move.b) * tiles.TILE, LINE)
                case _:
                    _multiply(e, code, acc[move.a][move.b], move)
        w.set(w.get() + code.parts * code.columns * tiles.TILE)
        before.leave(a["piece"])
    down, right = (LINE, tiles.ROWS * code.rows * LINE) if code.planar else (tiles.ROWS * code.columns * LINE, LINE)
    for i, row in enumerate(acc):
        for v, total in enumerate(row):
            tiles.store(e, total, sums + i * down + v * right, (code.rows if code.planar else code.columns) * LINE)


def _multiply(e: Emitter, code: MatrixCode, acc: int, move: Move) -> None:
    """A product of a tile of pixels and one of weights."""
    if code.planar:
        x, w = tiles.operands(code.product)
        tiles.multiply(e, tiles.PRODUCTS[w, x], acc, move.in_b, move.in_a)
    else:
        tiles.multiply(e, code.product, acc, move.in_a, move.in_b)
