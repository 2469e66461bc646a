"""Schedules of the depthwise tile: how many rows and columns of outputs, and how large the items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from juanji.algorithms import costs
from juanji.algorithms.channel import FAR_MOVE, MOVE
from juanji.algorithms.loops import Spatial, three_axes
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables
from juanji.algorithms.splitting import shared, shorter
from juanji.jit.depthwise import DepthwiseCode, emit_depthwise, looped
from juanji.jit.program import Program
from juanji.spec import WORDS

MOST_HELD = 9  # weights that are held in registers
MOST_SUMS, MOST_SUMS_CONVERTED = 6, 4  # of a tile beside them. With more, LLVM moves loads so far ahead that registers run out
MOST_SUMS_GROUPED = 16  # of a tile of groups of several channels, whose weights are not held
MOST_UNROLLED_GROUPED = 1200  # multiply-adds of such a tile in one straight piece of code
MOST_COLUMNS = 14  # of a tile whose weights are not held
MOST_UNROLLED = 320  # multiply-adds of a kernel row in one straight piece of code, which only strides and dilations make so long
LINE, SETS = 64, 64  # bytes of a line; sets of the first cache: lines as many lines apart share one

# Cycles, measured as those of `costs`.
LINE_CYCLES = 2.0  # per vector that comes from the second cache, or from beyond in the order of memory
AGAIN_CYCLES = 1.0  # per vector of a row that has just been read in the order of memory
FAR_CYCLES = 15.0  # per vector that comes from beyond in another order
OVERLAP = 2.0  # tiles whose chains of multiply-adds are in flight together
ROW_CYCLES = 2.0  # to start a kernel row of a loop
COLUMN_CYCLES = 1.0  # likewise, a column
BORDER = 0.3  # to find a vector of a window that may be outside


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
        tile = f"{self.rows} rows × {self.columns} columns, bands of {self.band} rows, {self.share} vectors of channels"
        return f"depthwise tile {tile}{'' if self.channels_inside else ', one after the other'}"


def accepts(problem: Problem) -> bool:
    """Whether channels lie side by side, each with one filter, under a border of one number, the same in the input's type and the sum's."""
    axes, outside = problem.loops.spatial, [s.boundary for s in problem.loops.spatial if s.padded]
    converted = problem.dtypes.x != problem.dtypes.sum
    return (
        problem.last
        and problem.lanewise > 0
        and (_channels(problem) % problem.lanes == 0 or problem.machine.target.masks)
        and problem.taps is None
        and problem.dtypes.sum not in WORDS
        and len(axes) <= 3
        and not problem.loops.merged
        and all(b.constant and b == outside[0] and (b.value == 0 or not converted) for b in outside)
    )


def candidates(problem: Problem) -> Iterator[tuple[Depthwise, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    if not accepts(problem):
        return
    deep, high, wide = three_axes(problem.loops)
    vectors, row_macs = _vectors(problem), wide.out * problem.kernel * problem.channels * _channels(problem)
    for rows, columns in _shapes(problem):
        if rows > high.out or columns > wide.out:
            continue
        if problem.channels > 1:
            tile = _group_tile(problem, rows, columns)
        else:
            tile = _large_tile(problem, columns) if _rolled(problem) else _small_tile(problem, rows, columns)
        tiles = deep.out * -(-high.out // rows) * -(-wide.out // columns)
        for inside in (True, False):
            band, share = high.out, max(costs.ITEM_MACS * vectors // (row_macs * high.out), 1)
            if inside:
                band, share = min(-(-costs.ITEM_MACS // row_macs // rows) * rows, high.out), vectors
            cycles = problem.batch * vectors * (tiles * (tile + _weights(problem, inside)) + _reading(problem, rows, inside))
            yield Depthwise(rows, columns, band, min(share, vectors), inside), cycles


def _rolled(problem: Problem) -> bool:
    """Whether kernel rows are a loop: where registers do not hold the weights beside the sums."""
    _, high, wide = three_axes(problem.loops)
    return problem.channels == 1 and high.kernel * wide.kernel > min(MOST_HELD, problem.machine.registers - MOST_SUMS - 2)


def _shapes(problem: Problem) -> Iterable[tuple[int, int]]:
    """Rows and columns of tiles."""
    if problem.channels > 1:
        _, high, wide = three_axes(problem.loops)
        straight = MOST_UNROLLED_GROUPED // (high.kernel * wide.kernel * problem.channels)
        most = min(MOST_SUMS_GROUPED, problem.machine.registers - 4, straight)
        return [(rows, columns) for rows in range(1, 5) for columns in range(1, most // rows + 1)]
    if _rolled(problem):
        wide = problem.loops.spatial[-1]
        counts = range(1, min(MOST_COLUMNS, problem.machine.registers - 4) + 1)
        short = [n for n in counts if n * wide.kernel <= MOST_UNROLLED or looped(wide.kernel, wide.stride, wide.dilation, n)]
        return [(1, columns) for columns in short]
    most = MOST_SUMS if problem.dtypes.x == problem.dtypes.sum else MOST_SUMS_CONVERTED
    return [(rows, columns) for rows in range(1, 5) for columns in range(1, most // rows + 1)]


def _small_tile(problem: Problem, rows: int, columns: int) -> float:
    """Cycles of a tile whose weights are held."""
    deep, high, wide = three_axes(problem.loops)
    sums, taps = rows * columns, problem.kernel
    met = deep.kernel * _met(high, rows) * _met(wide, columns)
    converting = met if problem.dtypes.x != problem.dtypes.sum else 0
    arithmetic = (sums * taps + converting) / costs.FMA_PER_CYCLE
    tile = max(arithmetic, (met + taps) / costs.LOADS_PER_CYCLE, taps * costs.FMA_LATENCY / OVERLAP)
    inner = _inner(deep, 1) * _inner(high, rows) * _inner(wide, columns)
    edges = 1 - inner / (deep.out * -(-high.out // rows) * -(-wide.out // columns))
    return tile + edges * met * BORDER + sums * costs.STORE_CYCLES + costs.TILE_CYCLES / 2


def _group_tile(problem: Problem, rows: int, columns: int) -> float:
    """Cycles of a tile of groups of several channels, whose weights come from the first cache."""
    deep, high, wide = three_axes(problem.loops)
    met, macs = deep.kernel * _met(high, rows) * _met(wide, columns), rows * columns * problem.kernel * problem.channels
    move = MOVE if problem.channels * problem.bytes <= 16 else FAR_MOVE
    converting = met if problem.dtypes.x != problem.dtypes.sum else 0
    arithmetic = (macs + met * problem.channels * move + converting) / costs.FMA_PER_CYCLE
    tile = max(arithmetic, (met + macs) / costs.LOADS_PER_CYCLE, macs / (rows * columns) * costs.FMA_LATENCY)
    return tile + rows * columns * costs.STORE_CYCLES + costs.TILE_CYCLES


def _large_tile(problem: Problem, columns: int) -> float:
    """Cycles of a tile whose weights come from memory."""
    deep, high, wide = axes = three_axes(problem.loops)
    met, macs = _met(wide, columns), columns * wide.kernel
    converting = met if problem.dtypes.x != problem.dtypes.sum else 0
    arithmetic = (macs + converting) / costs.FMA_PER_CYCLE
    clipped = _clipped(axes)
    if looped(wide.kernel, wide.stride, wide.dilation, columns):
        row = max(arithmetic, (met + macs) / costs.LOADS_PER_CYCLE) + met * COLUMN_CYCLES
        row *= wide.seen if clipped else 1.0
    else:
        row = max(arithmetic, (met + wide.kernel) / costs.LOADS_PER_CYCLE, wide.kernel * costs.FMA_LATENCY / OVERLAP) + met * BORDER
    rows = deep.kernel * high.kernel * (deep.seen * high.seen if clipped else 1.0)
    return rows * (row + ROW_CYCLES) + columns * costs.STORE_CYCLES + costs.TILE_CYCLES / 2


def _reading(problem: Problem, rows: int, inside: bool) -> float:
    """Cycles to read a vector of all places: once from where it lies, then again for each row of tiles, unless the first cache has kept it.

    Neighbours in a vector of channels lie as many lines apart as there are vectors; where that is even, they share fewer sets.
    """
    deep, high, wide = axes = three_axes(problem.loops)
    vectors, machine = _vectors(problem), problem.machine
    first = deep.size * high.size * wide.size
    seen = deep.seen * high.seen if _clipped(axes) else 1.0
    again = max(deep.out * -(-high.out // rows) * deep.kernel * _met(high, rows) * wide.size * seen - first, 0.0)
    window = (high.reach - 1) * wide.size * (vectors if inside else 1)  # a row that comes takes the place of one that goes
    kept = window <= machine.l1 // LINE // (1 if inside else math.gcd(SETS, vectors))
    line = FAR_CYCLES if problem.far and not inside else LINE_CYCLES
    return first * line + (0.0 if kept else again * (AGAIN_CYCLES if inside else line))


def _weights(problem: Problem, inside: bool) -> float:
    """Cycles of a tile to read weights that the first cache does not hold."""
    taps = problem.kernel * problem.channels
    size = taps * problem.bytes * problem.lanes * (_vectors(problem) if inside else 1)
    return taps * LINE_CYCLES if size > problem.machine.l1 else 0.0


def _channels(problem: Problem) -> int:
    """Of all groups."""
    return problem.groups * problem.channels


def _vectors(problem: Problem) -> int:
    """Of channels."""
    return -(-_channels(problem) // problem.lanes)


def _clipped(axes: Sequence[Spatial]) -> bool:
    """Whether taps outside the array add zeros."""
    padded = [axis for axis in axes if axis.padded]
    return bool(padded) and all(axis.boundary.value == 0 for axis in padded)


def _met(axis: Spatial, count: int) -> int:
    """Places of the window of so many outputs that some of them sees."""
    return len({p * axis.stride + k * axis.dilation for p in range(count) for k in range(axis.kernel)})


def _inner(axis: Spatial, count: int) -> int:
    """Tiles along an axis that do not reach outside."""
    high = max((axis.out - 1) * axis.stride + axis.reach - axis.low - axis.size, 0)
    outer = -(-axis.low // (count * axis.stride)) + -(-high // (count * axis.stride))
    return max(-(-axis.out // count) - outer, 0)


def finer(problem: Problem, schedule: Depthwise, items: int) -> Depthwise:
    """The schedule in about so many items: bands of fewer tiles, or fewer vectors of channels."""
    deep, high, _ = three_axes(problem.loops)
    others, vectors = problem.batch * deep.out, _vectors(problem)
    if schedule.channels_inside:
        band = shorter(schedule.band, schedule.rows, high.out, items, others)
        return replace(schedule, band=min(-(-band // schedule.rows) * schedule.rows, schedule.band))
    return replace(schedule, share=min(schedule.share, shared(vectors, -(-items // others))))


def program(problem: Problem, schedule: Depthwise) -> Program:
    """The kernel of a schedule, and its arguments."""
    deep, high, wide = axes = three_axes(problem.loops)
    dtypes, epilogue, size = problem.dtypes, problem.epilogue, problem.bytes
    code = DepthwiseCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        kernel=(deep.kernel, high.kernel, wide.kernel),
        stride=(deep.stride, high.stride, wide.stride),
        dilation=(deep.dilation, high.dilation, wide.dilation),
        group=problem.channels,
        padded=any(axis.padded for axis in axes),
        partial=_channels(problem) % problem.lanes != 0,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        rows=schedule.rows,
        columns=schedule.columns,
        rolled=_rolled(problem),
        clipped=_rolled(problem) and _clipped(axes),
        channels_inside=schedule.channels_inside,
    )
    vectors, ys = _vectors(problem), problem.y_strides
    bands, shares = -(-high.out // schedule.band), -(-vectors // schedule.share)
    tables = Tables(problem, axes)
    outside = next((i for i, axis in enumerate(axes) if axis.padded), 0)
    words = {
        "constants": tables.constants, "outside": size * outside, "parameter": size * len(axes), "ys_n": ys[0], "bands": bands,
        "band": schedule.band, "shares": shares, "share": schedule.share, "channels": _channels(problem), "stream": int(problem.stream),
    }  # fmt: skip
    for name, axis in zip("dhw", axes, strict=True):
        words |= {f"size_{name}": axis.size, f"low_{name}": axis.low, f"out_{name}": axis.out, f"ys_{name}": problem.y_step(axis)}
    return Program(
        code=code,
        emit=emit_depthwise,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_d": deep.x, "xs_h": high.x, "xs_w": wide.x},
        close=(problem.channel_dimension,),
        items=problem.batch * deep.out * bands * shares,
        scratch=0,
        pack_weights=pack_weights(problem, problem.lanes, problem.channels, across=True),
        pack_bias=BiasPacking(dtypes.sum, 1, problem.lanes),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )
