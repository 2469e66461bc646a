"""The matrix unit's outer tile for kernels of one tap: positions may be summed in any order, so that nothing moves within a vector.

    dw[o, i] = Σ_p x[p, i] · dy[p, o]

The operand with fewer channels, here called dy, becomes words: a panel for each chunk of positions, in the second cache. The other one is
cut just before it is multiplied: `rows` × 16 channels at the positions of a block of steps, which then meet all features. The next panel
and the next block are filled while products of those before them are summed (`matrix_pointwise_operands`).

Sums of blocks, chunks and segments are added as by `matrix_outer`.
"""

from __future__ import annotations

from juanji.jit import tiles
from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.emit import LINE, Emitter, Int, Value
from juanji.jit.matrix_outer import STEP, Move, Piece, Share, Waiting, share_of, sum_products
from juanji.jit.matrix_pointwise_code import PointwiseCode
from juanji.jit.matrix_pointwise_operands import Run, Side
from juanji.jit.outer import chunk_place, store_weights
from juanji.jit.target import Target


def emit_pointwise(code: PointwiseCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        tiles.configure(e)
        waiting = Waiting(e, code.rows * code.columns, a)
        planes, words = Side(e, code, a, "planes"), Side(e, code, a, "words")
        with each_item(e, a) as item:
            share = share_of(e, code.columns, a, item)
            with e.loop(share.begin, share.end) as chunk:
                _chunk(e, code, a, chunk, share, planes, words, waiting)
        tiles.release(e)
    return e.text()


def _chunk(e: Emitter, code: PointwiseCode, a: Arguments, chunk: Value, share: Share, planes: Side, words: Side, waiting: Waiting) -> None:
    """The products of one chunk of positions, added to the sums; the first chunk's begin them, after the last one's they leave."""
    first, last = e.compare("eq", chunk, share.begin), e.compare("eq", chunk, share.end - 1)
    following = share_of(e, code.columns, a, e.select(last, share.item + 1, share.item))
    there = e.compare("slt", following.item, a["end"])
    (x, dy), (next_x, next_dy) = _runs(e, code, a, chunk, share), _runs(e, code, a, e.select(last, following.begin, chunk + 1), following)
    panel = words.take(dy, next_dy, there)
    steps = (x.positions + (STEP - 1)) // STEP
    block_c, zero = code.rows * tiles.ROWS, e.integer(0)

    def unit(run: Run, tile: Value, step: Value) -> Run:
        """The channels of a row of tiles at the positions of a block of steps."""
        source = run.source + tile * tiles.ROWS * a["xs_c"] + step * STEP * a["xs0"]
        positions = e.least(a["block"] * STEP, run.positions - step * STEP)
        return Run(source, positions, e.least(block_c, run.channels - tile * tiles.ROWS))

    with e.loop(0, a["tiles"], code.rows) as tile:
        sums = a["scratch"] + a["sums"] + tile * a["step_i"]
        with e.loop(0, steps, a["block"]) as step:
            end = e.least(step + a["block"], steps)
            inside = e.compare("slt", end, steps)
            more = e.arith("or", inside, e.compare("slt", tile + code.rows, a["tiles"]))
            here = unit(x, e.select(inside, tile, tile + code.rows), e.select(inside, end, zero))
            after = Run(*(e.select(more, one, other) for one, other in zip(here, unit(next_x, zero, zero), strict=True)))
            rows = planes.take(unit(x, tile, step), after, e.arith("or", more, there))
            with e.loop(*share.blocks) as block_f:
                number = block_f - share.blocks[0]
                columns = panel + number * code.columns * a["words_f"] + step * tiles.TILE

                def find(move: Move, at: Value) -> tuple[Value, Int]:
                    if move.what == "a":
                        return rows + a["part_x"] * move.part + a["block"] * move.tile * tiles.TILE + at * tiles.TILE, LINE
                    return columns + a["words_f"] * move.tile + a["part_dy"] * move.part + at * tiles.TILE, LINE

                def meanwhile() -> list[Piece]:
                    return [lambda: waiting.leave(a["piece"]), *planes.pieces(), *words.pieces()]

                sum_products(e, (code.parts, code.rows, code.columns), find, (zero, end - step), waiting, meanwhile)
                waiting.set(sums + number * a["step_f"], e.arith("and", first, e.compare("eq", step, zero)))
        with e.when(last):
            _leave(e, code, a, share, tile, sums, waiting)


def _runs(e: Emitter, code: PointwiseCode, a: Arguments, chunk: Value, share: Share) -> tuple[Run, Run]:
    """Both operands of a chunk, where they lie."""
    image, (at,), (positions,) = chunk_place(e, 1, a, chunk)
    x, dy = (a["w"], a["x"]) if code.exchanged else (a["x"], a["w"])
    low, high = share.features
    xs = x + image * a["xs_n"] + share.group * a["channels"] * a["xs_c"] + at * a["xs0"]
    dys = dy + image * a["gs_n"] + (share.group * a["count_f"] + low) * a["gs_c"] + at * a["gs0"]
    return Run(xs, positions, a["channels"]), Run(dys, positions, high - low)


def _leave(e: Emitter, code: PointwiseCode, a: Arguments, share: Share, tile: Value, sums: Value, waiting: Waiting) -> None:
    """The sums of a row of tiles to where their weights lie."""
    waiting.leave()
    vector, width, first = e.vector("f32"), tiles.ROWS * code.columns, tile * tiles.ROWS
    goal = a["y"] + share.segment * a["ws_s"] + share.group * a["ws_g"] + first * a["ws_i"]
    rows = e.least(a["count_i"] - first, code.rows * tiles.ROWS)
    with e.loop(*share.blocks) as block_f:
        start = sums + (block_f - share.blocks[0]) * a["step_f"]

        def row(i: Value) -> Value:
            return start + i * (width * 4)

        store_weights(e, a, code.turned, (vector, width // vector.lanes), (goal, block_f * width), row, rows)
