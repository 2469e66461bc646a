"""The gradient of weights of one tap by the matrix unit: how its sum is cut, schedules and costs.

Numbers are cut into the unit's as in `matrix_outer`, and sums into chunks and blocks of steps. These are longer, as a whole panel is
needed of one operand only. The root mean square error of float32 sums is 0.4 to 0.9 of that of the direct sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from juanji.algorithms.direct import Job
from juanji.algorithms.matrix_layout import Numbers
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shared
from juanji.algorithms.weights import Weights, aligned_to
from juanji.jit.emit import LINE
from juanji.jit.matrix_outer import PAIRS, STEP, order
from juanji.jit.matrix_pointwise import emit_pointwise
from juanji.jit.matrix_pointwise_code import PointwiseCode
from juanji.jit.program import Program
from juanji.jit.tiles import ROWS, TILE
from juanji.spec import itemsize

REGISTER_TILES = ((2, 2), (4, 1), (1, 2), (1, 1))  # rows × columns of accumulators
NUMBER, SUM = 2, 4  # bytes
BLOCK = 10  # steps whose products the unit adds to one another, at most
PANEL, LONG_PANEL = 1 / 8, 3 / 8  # of the second cache that a panel of words may take: there are two
MANY = 1 / 4  # of the second cache that sums may fill before fewer chunks matter more than shorter panels

# Cycles, measured as those of `matrix_outer`.
PRODUCT, LOAD = 23.0, 5.0  # of two tiles, at the processor's clock when its unit is busy; of a tile, beside its products
UNIT = 150.0  # to begin a row of tiles at a block of steps
PLANES, TURNED_PLANES, WORDS = 0.62, 0.8, 0.45  # per number of each operand, beside the products
FIRST = 1.5  # per number of the first panel, which no products hide
STORE = 12.0  # per vector of weights
LEAVE = 30.0  # per accumulator of a unit, where there are so many sums


@dataclass(frozen=True)
class Pointwise:
    """A register tile of rows × columns accumulators; the features, or what takes their place, in `splits` shares."""

    rows: int
    columns: int
    splits: int

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code."""
        return "matrix pointwise", self.rows, self.columns

    def __str__(self) -> str:
        return f"matrix unit, {self.rows * ROWS} × {self.columns * ROWS} channels and features as they lie, {self.splits} shares"


def accepts(problem: Problem) -> bool:
    """Whether every output sees one place of the input, and both lie in one run."""
    axis, *more = problem.loops.spatial
    return problem.kernel == axis.stride == axis.step == 1 and not more and not axis.padded and problem.lanes == ROWS


class Operands(Weights):
    """The sum's chunks and blocks, and which operand is which.

    The one with fewer channels becomes words, `across`; the other one planes, `down`. exchanged: those are x and dy. block: steps.
    """

    def __init__(self, problem: Problem, weight_layout: str, of: Numbers):
        self.of, self.exchanged = of, problem.channels < problem.features
        self.across, self.down = sorted((problem.channels, problem.features))
        super().__init__(problem, weight_layout)
        steps = self.steps
        self.block = -(-steps // -(-steps // BLOCK))

    def _lanewise(self, across: int) -> int:
        return 0

    def _dot(self) -> bool:
        return False

    def _box(self) -> tuple[int, ...]:
        """Equal shares of the positions, in whole steps, whose words have room."""
        (axis,), l2 = self.spatial, self.problem.machine.l2
        panel = LONG_PANEL if self.many else PANEL
        most = int(l2 * panel) // (NUMBER * self.of.parts * aligned_to(self.across, ROWS) * STEP)
        return (min(aligned_to(-(-axis.out // -(-axis.out // max(most * STEP, STEP))), STEP), axis.out),)

    @property
    def many(self) -> bool:
        """Whether sums fill so much of the second cache that it matters how often they are taken up."""
        return self.down * self.across * SUM > self.problem.machine.l2 * MANY

    @property
    def steps(self) -> int:
        """Of a chunk."""
        return -(-self.box[0] // STEP)

    @property
    def once(self) -> bool:
        """Whether all that a segment sums is one block, so that a row of tiles is done before the next one is begun."""
        return self.segments == self.chunks * self.images and self.steps <= self.block


def job(problem: Problem, weight_layout: str, of: Numbers) -> tuple[Weights, Job]:
    """How the sum is cut, and what computes it."""
    operands = Operands(problem, weight_layout, of)
    return operands, Job(partial(_candidates, operands), partial(_program, operands), partial(_finer, operands))


def _candidates(operands: Operands) -> Iterator[tuple[Pointwise, float]]:
    """Register tiles and their expected cycles."""
    for rows, columns in REGISTER_TILES:
        if (columns == 1 or operands.across > ROWS) and (rows == 1 or operands.down > ROWS):
            yield Pointwise(rows, columns, 1), _cycles(operands, rows, columns)


def _cycles(operands: Operands, rows: int, columns: int) -> float:
    problem, parts = operands.problem, operands.of.parts
    loads = sum(move.what != "multiply" for move in order(parts, rows, columns))
    step = PRODUCT * rows * columns * len(PAIRS[parts]) + LOAD * loads
    groups, blocks = -(-operands.down // (rows * ROWS)), -(-operands.across // (columns * ROWS))
    units = groups * -(-operands.steps // operands.block)
    filling = operands.down * (TURNED_PLANES if problem.last else PLANES) + operands.across * WORDS
    unit = UNIT + (LEAVE * rows * columns * blocks if operands.many else 0)
    chunk = operands.steps * (groups * blocks * step + STEP * filling) + units * unit
    stored = operands.segments * operands.down * -(-operands.across // problem.lanes) * STORE
    return problem.groups * (operands.images * operands.chunks * chunk + stored) + FIRST * operands.across * operands.box[0]


def _finer(operands: Operands, schedule: Pointwise, items: int) -> Pointwise:
    """The schedule in about so many items."""
    blocks = -(-operands.across // (schedule.columns * ROWS))
    share = shared(blocks, -(-items // (operands.segments * operands.groups)))
    return replace(schedule, splits=-(-blocks // share))


def _program(operands: Operands, schedule: Pointwise) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, parts, exchanged = operands.problem, operands.of.parts, operands.exchanged
    dtypes, rows, columns = problem.dtypes, schedule.rows, schedule.columns
    code = PointwiseCode(
        x=dtypes.y if exchanged else dtypes.x,
        dy=dtypes.x if exchanged else dtypes.y,
        parts=parts,
        planar=not problem.last,
        exchanged=exchanged,
        turned=operands.turned != exchanged,
        rows=rows,
        columns=columns,
    )
    blocks = -(-operands.across // (columns * ROWS))
    share = -(-blocks // schedule.splits)
    tiles = -(-operands.down // ROWS)

    # Scratch: two units of planes and two panels of words, once for each part; sums, and what waits for them.
    part_x, words_f = rows * operands.block * TILE, operands.steps * TILE
    part_dy = share * columns * words_f
    words = 2 * parts * part_x
    sums = words + 2 * parts * part_dy
    kept_c = rows if operands.once else aligned_to(tiles, rows)
    step_f = kept_c * columns * TILE
    waiting = sums + share * step_f + LINE  # the last square of sums is read whole

    given = operands.words
    fixed, moving = ("xs", "gs") if exchanged else ("gs", "xs")
    ws_f, ws_i = (given[name] for name in (("ws_i", "ws_f") if exchanged else ("ws_f", "ws_i")))
    kept = ("out0", "box0", "groups", "chunks", "chunks_n", "segments", "ws_g", "ws_s")
    return Program(
        code=code,
        emit=emit_pointwise,
        names=code.names,
        words={
            **{name: given[name] for name in kept}, **{fixed + end: given["gs" + end] for end in ("_n", "_c", "0")},
            "channels": operands.down, "count_i": operands.down, "tiles": tiles, "count_f": operands.across, "blocks_f": blocks,
            "split": share, "splits": -(-blocks // share), "ws_f": ws_f, "ws_i": ws_i, "block": operands.block, "planes": 0,
            "part_x": part_x, "planes_size": parts * part_x, "words": words, "words_f": words_f, "part_dy": part_dy,
            "words_size": parts * part_dy, "sums": sums, "step_i": 0 if operands.once else columns * TILE, "step_f": step_f,
            "waiting": waiting,
            "piece": -(-rows * columns * TILE // (LINE * operands.block)),
            "stream": int(math.prod(problem.contraction.w.shape) * itemsize(dtypes.sum) > problem.machine.l2),
        },
        x_axes={f"{moving}_n": 0, f"{moving}_c": problem.channel_dimension, f"{moving}0": operands.spatial[0].x},
        close=problem.close_in_chunks(True),
        items=operands.segments * operands.groups * -(-blocks // share),
        scratch=waiting + 2 * rows * columns * TILE,
        pack_weights=operands.errors,
        pack_bias=np.ascontiguousarray,
        x_skipped=problem.loops.skipped,
        goal=problem.goal,
    )  # fmt: skip
