"""Schedules of the row tile: how many rows of outputs it makes, and how many planes an item has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from juanji.algorithms import costs
from juanji.algorithms.loops import three_axes
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.algorithms.splitting import shared
from juanji.jit.emit import LINE
from juanji.jit.lanes import moves
from juanji.jit.padded_rows import first_of_run
from juanji.jit.program import Program
from juanji.jit.whole_rows import RowsCode, emit_rows
from juanji.spec import WORDS

MOST_VECTORS = 8  # of a row of outputs
MOST_SUMS = 16  # of a tile
MOST_UNROLLED = 800  # multiply-adds of an outer tap, in one straight piece of code
MOST_MASKS, MASKS = 12, 7  # of a tile, and of which there are registers
MOST_HELD = 9  # weights that are held in registers
STRIDES = (1, 2, 4)  # along a row

# Cycles, measured as those of `costs`.
CROSSING = 1.8  # loads that a vector counts for: rows begin anywhere
WEIGHT_LOADS = 0.6  # loads that a weight counts for that is not held: a single number
ROW_CYCLES = 1.0  # to find a row of the window
MASK_CYCLES = 1.5  # per row, for each mask that is not in a register
TILE_CYCLES = 6.0  # to start a tile
LINE_CYCLES = 1.2  # per line of input and output, which come from the second cache
OVERLAP = 2.0  # tiles whose chains of multiply-adds are in flight together


@dataclass(frozen=True)
class Rows:
    """Lanes along the innermost spatial axis; a tile of whole rows of outputs."""

    rows: int
    vectors: int  # of a row
    share: int  # planes of an item

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "rows", self.rows, self.vectors

    def __str__(self) -> str:
        return f"row tile {self.rows} rows of {self.vectors} vectors, read in place, {self.share} planes at a time"


def accepts(problem: Problem) -> bool:
    """Whether filters of one channel each meet planes of short rows, under zeros where anything is beside these."""
    return (
        readable(problem)
        and problem.groups > 1
        and problem.taps is None
        and problem.loops.spatial[-1].step == 1
        and len(_masked(problem)) <= MOST_MASKS
    )


def readable(problem: Problem) -> bool:
    """Whether channels are planes that can be read in place, row by row."""
    axes, wide = problem.loops.spatial, problem.loops.spatial[-1]
    outside = [axis.boundary for axis in axes if axis.padded]
    return (
        problem.channels == 1
        and not problem.last
        and not problem.converted
        and problem.machine.target.masks
        and problem.dtypes.sum not in WORDS
        and len(axes) <= 3
        and wide.stride in STRIDES
        and wide.out <= MOST_VECTORS * problem.lanes
        and (wide.boundary.constant or not wide.padded)
        and all(boundary.value == 0 for boundary in outside if boundary.constant)
    )


def candidates(problem: Problem) -> Iterator[tuple[Rows, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    if not accepts(problem):
        return
    deep, high, wide = three_axes(problem.loops)
    vectors, held, taps = vectors_of_row(problem), _held(problem), high.kernel * wide.kernel
    read = len(places(problem))
    row = ROW_CYCLES + max(len(_masked(problem)) - MASKS, 0) * MASK_CYCLES
    lines = (deep.size * high.size * wide.size + problem.features * problem.loops.pixels) * problem.bytes / LINE
    for rows in range(1, min(MOST_SUMS // vectors, high.out) + 1):
        sums = rows * vectors
        if sums * taps > MOST_UNROLLED:
            break
        met = len({r * high.stride + k * high.dilation for r in range(rows) for k in range(high.kernel)})
        weights = taps * (rows * WEIGHT_LOADS if not held else 1 if deep.kernel > 1 else 0)
        loads = met * read * CROSSING + weights
        arithmetic = sums * taps + (met * read * moves(wide.stride) if wide.stride > 1 else 0)
        step = max(arithmetic / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, taps * costs.FMA_LATENCY / OVERLAP)
        tile = deep.kernel * (step + met * row + costs.LOOP_CYCLES / 2) + sums * costs.STORE_CYCLES + TILE_CYCLES
        tiles = problem.features * deep.out * -(-high.out // rows)
        macs = problem.loops.pixels * problem.kernel * problem.features
        share = min(max(costs.ITEM_MACS // macs, 1), problem.groups)
        yield Rows(rows, vectors, share), problem.batch * problem.groups * (tiles * tile + lines * LINE_CYCLES)


def vectors_of_row(problem: Problem) -> int:
    """Of a row of outputs."""
    return -(-problem.loops.spatial[-1].out // problem.lanes)


def _held(problem: Problem) -> bool:
    """Whether registers hold the weights of an outer tap, beside the sums."""
    _, high, wide = three_axes(problem.loops)
    return high.kernel * wide.kernel <= min(MOST_HELD, problem.machine.registers - MOST_SUMS - 4)


def places(problem: Problem) -> list[tuple[int, int, int]]:
    """The vectors that the tile reads of a padded row: the places of runs, each for every vector of outputs, and the vectors of a run."""
    wide = problem.loops.spatial[-1]
    runs = sorted({first_of_run(column * wide.dilation, wide.stride)[0] for column in range(wide.kernel)})
    return list(itertools.product(runs, range(vectors_of_row(problem)), range(wide.stride)))


def place_of(problem: Problem, place: int, v: int, k: int) -> int:
    """The place of the padded row at which such a vector begins."""
    return place + (v * problem.loops.spatial[-1].stride + k) * problem.lanes


def _masked(problem: Problem) -> tuple[int, ...]:
    """Those places at which vectors begin that are partly outside the array."""
    wide = problem.loops.spatial[-1]
    found = {place_of(problem, *vector) for vector in places(problem)}
    return tuple(sorted(at for at in found if not wide.low <= at <= wide.low + wide.size - problem.lanes))


def line_length(problem: Problem) -> int:
    """Elements of a padded row that are read."""
    return max(place_of(problem, *vector) for vector in places(problem)) + problem.lanes


def finer(problem: Problem, schedule: Rows, items: int) -> Rows:
    """The schedule in about so many items: fewer planes in each."""
    return replace(schedule, share=min(schedule.share, shared(problem.groups, -(-items // problem.batch))))


def program(problem: Problem, schedule: Rows) -> Program:
    """The kernel of a schedule, and its arguments."""
    deep, high, wide = axes = three_axes(problem.loops)
    dtypes, epilogue, size = problem.dtypes, problem.epilogue, problem.bytes
    code = RowsCode(
        total=dtypes.sum,
        y=dtypes.y,
        kernel=(deep.kernel, high.kernel, wide.kernel),
        stride=(deep.stride, high.stride, wide.stride),
        dilation=(deep.dilation, high.dilation, wide.dilation),
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        held=_held(problem),
        rows=schedule.rows,
        vectors=schedule.vectors,
        masked=_masked(problem),
    )
    zeros = aligned(line_length(problem) * size)
    shares = -(-problem.groups // schedule.share)
    ys, channel = problem.y_strides, problem.channel_dimension
    tables = Tables(problem, axes)
    words = {
        "constants": tables.constants, "parameter": size * len(axes), "map_d": tables.maps[0], "map_h": tables.maps[1],
        "size_w": wide.size, "low_w": wide.low, "out_d": deep.out, "out_h": high.out, "out_w": wide.out, "ys_n": ys[0],
        "ys_c": ys[channel], "ys_d": problem.y_step(deep), "ys_h": problem.y_step(high), "zeros": zeros, "shares": shares,
        "share": schedule.share, "planes": problem.groups, "filters": problem.features, "stream": int(problem.stream),
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_rows,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": channel, "xs_d": deep.x, "xs_h": high.x},
        close=problem.close(unit=True),
        items=problem.batch * shares,
        scratch=zeros,
        pack_weights=pack_weights(problem, 1, 1),
        pack_bias=BiasPacking(dtypes.sum, 1, 1),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )
