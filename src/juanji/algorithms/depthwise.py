"""Schedules of the depthwise tile: how many rows and columns of outputs, and how large the items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from juanji.algorithms import costs
from juanji.algorithms.loops import NO_AXIS, Spatial
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables
from juanji.jit.depthwise import DepthwiseCode, emit_depthwise
from juanji.jit.program import Program
from juanji.spec import WORDS

MOST_UNROLLED = 320  # multiply-adds in one straight piece of code
MOST_HELD = 9  # vectors of weights that are held in registers
MOST_SUMS, MOST_SUMS_APART = 6, 4  # of a tile; where weights are not held. With more, LLVM moves loads so far ahead that registers run out
WEIGHT_LOADS = 0.5  # per multiply-add, of weights that the registers cannot hold: neighbouring outputs share some
WEIGHTS = 1 / 2  # of the first cache, that weights may take which are read anew for every tile

# Cycles, measured as those of `costs`.
LINE_CYCLES = 2.0  # per vector of the input that comes from the second cache
OVERLAP = 2.0  # tiles whose chains of multiply-adds are in flight together
BORDER = 0.5  # to find a vector of a window that may be outside
OTHER_ORDER = 1.3  # times what the other order of the loops takes


@dataclass(frozen=True)
class Depthwise:
    """Lanes along the channels; a tile of rows × columns of outputs."""

    rows: int
    columns: int
    band: int  # rows of an item
    share: int  # vectors of channels of an item
    channels_inside: bool  # all channels at one place before the next

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "depthwise", self.rows, self.columns, self.channels_inside

    def __str__(self) -> str:
        return f"depthwise tile {self.rows} rows × {self.columns} columns, bands of {self.band} rows, {self.share} vectors of channels"


def accepts(problem: Problem) -> bool:
    """Whether whole vectors of channels lie side by side, each with one filter, under a border of one number."""
    axes, outside = problem.loops.spatial, [s.boundary for s in problem.loops.spatial if s.padded]
    return (
        problem.last
        and problem.lanewise == 1
        and problem.groups % problem.lanes == 0
        and problem.taps is None
        and problem.dtypes.x == problem.dtypes.sum not in WORDS
        and len(axes) <= 2
        and not problem.loops.merged
        and all(b.constant and b == outside[0] for b in outside)
        and problem.kernel <= MOST_UNROLLED // 4
    )


def candidates(problem: Problem) -> Iterator[tuple[Depthwise, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    if not accepts(problem):
        return
    high, wide = _axes(problem)
    taps, vectors = problem.kernel, problem.groups // problem.lanes
    held = _held(problem)
    most = MOST_SUMS if held else MOST_SUMS_APART
    near = taps * vectors * problem.lanes * problem.bytes <= WEIGHTS * problem.machine.l1
    for rows, columns in itertools.product(range(1, 5), range(1, 9)):
        sums = rows * columns
        if sums > most or rows > high.out or columns > wide.out or sums * taps > MOST_UNROLLED:
            continue
        met = _met(high, rows) * _met(wide, columns)
        loads = met + (taps if held else sums * taps * WEIGHT_LOADS)
        tile = max(sums * taps / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, taps * costs.FMA_LATENCY / OVERLAP)
        tile += sums * costs.STORE_CYCLES + costs.TILE_CYCLES / 2
        down, across = -(-high.out // rows), -(-wide.out // columns)
        edges = down * across - _inner(high, rows) * _inner(wide, columns)
        lines = down * _met(high, rows) * wide.out * wide.stride * LINE_CYCLES
        cycles = problem.batch * vectors * (down * across * tile + edges * met * BORDER + lines)
        row_macs = wide.out * taps * problem.groups
        band = min(-(-costs.ITEM_MACS // row_macs // rows) * rows, high.out)
        share = vectors if band < high.out else max(costs.ITEM_MACS * vectors // (row_macs * high.out), 1)
        for inside in (True, False):
            yield Depthwise(rows, columns, band, min(share, vectors), inside), cycles * (1.0 if inside == near else OTHER_ORDER)


def _held(problem: Problem) -> bool:
    """Whether registers hold the weights of a vector of channels, beside the sums."""
    return problem.kernel <= min(MOST_HELD, problem.machine.registers - MOST_SUMS - 2)


def _met(axis: Spatial, count: int) -> int:
    """Places of the window of so many outputs that some of them sees."""
    return len({p * axis.stride + k * axis.dilation for p in range(count) for k in range(axis.kernel)})


def _inner(axis: Spatial, count: int) -> int:
    """Tiles along an axis that do not reach outside."""
    high = max((axis.out - 1) * axis.stride + axis.reach - axis.low - axis.size, 0)
    outer = -(-axis.low // (count * axis.stride)) + -(-high // (count * axis.stride))
    return max(-(-axis.out // count) - outer, 0)


def program(problem: Problem, schedule: Depthwise) -> Program:
    """The kernel of a schedule, and its arguments."""
    high, wide = axes = _axes(problem)
    dtypes, epilogue, size = problem.dtypes, problem.epilogue, problem.bytes
    code = DepthwiseCode(
        total=dtypes.sum,
        y=dtypes.y,
        kernel=(high.kernel, wide.kernel),
        stride=(high.stride, wide.stride),
        dilation=(high.dilation, wide.dilation),
        padded=high.padded or wide.padded,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        held=_held(problem),
        rows=schedule.rows,
        columns=schedule.columns,
        channels_inside=schedule.channels_inside,
    )
    vectors, ys = problem.groups // problem.lanes, problem.y_strides
    bands, shares = -(-high.out // schedule.band), -(-vectors // schedule.share)
    tables = Tables(problem, axes)
    words = {
        "constants": tables.constants, "outside": size * int(not high.padded), "parameter": size * len(axes),
        "size_h": high.size, "size_w": wide.size, "low_h": high.low, "low_w": wide.low, "out_h": high.out, "out_w": wide.out,
        "ys_n": ys[0], "ys_h": problem.y_step(high), "ys_w": problem.y_step(wide), "bands": bands, "band": schedule.band,
        "shares": shares, "share": schedule.share, "vectors": vectors, "stream": int(problem.stream),
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_depthwise,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_h": high.x, "xs_w": wide.x},
        close=(problem.channel_dimension,),
        items=problem.batch * bands * shares,
        scratch=0,
        pack_weights=pack_weights(problem, problem.lanes, 1, across=True),
        pack_bias=BiasPacking(dtypes.sum, 1, problem.lanes),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


def _axes(problem: Problem) -> tuple[Spatial, Spatial]:
    """Rows and columns."""
    *outer, wide = problem.loops.spatial
    return (outer[0] if outer else NO_AXIS), wide
