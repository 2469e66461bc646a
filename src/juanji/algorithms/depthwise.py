"""Schedules of the depthwise tile: how many rows and columns of outputs, and how large the items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from juanji.algorithms import costs
from juanji.algorithms.channel import FAR_MOVE, MOVE
from juanji.algorithms.loops import Spatial, three_axes
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables
from juanji.algorithms.splitting import shared, shorter
from juanji.jit.depthwise import emit_depthwise
from juanji.jit.depthwise_window import DepthwiseCode
from juanji.jit.program import Program
from juanji.spec import WORDS, itemsize

MOST_HELD = 9  # weights that are held in registers
MOST_SUMS, MOST_SUMS_CONVERTED = 6, 4  # of a tile beside them. With more, LLVM moves loads so far ahead that registers run out
MOST_SUMS_GROUPED = 16  # of a tile of groups of several channels, whose weights are not held
MOST_UNROLLED_GROUPED = 1200  # multiply-adds of such a tile in one straight piece of code
MOST_ROWS = 4  # of a tile
MOST_UNROLLED = 450  # multiply-adds of the rows of a window in straight code
SELDOM = 0.75  # of a kernel's columns inside the array, below which it pays to look at each
LINE, SETS = 64, 64  # bytes of a line; sets of the first cache: lines as many lines apart share one

# Cycles, measured as those of `costs`.
NEAR = 0.5  # of the second cache, up to which input and output are there
NEAR_CYCLES, NEAR_APART_CYCLES = 1.0, 1.5  # per vector that comes from there: with neighbours, or alone
LINE_CYCLES = 2.0  # else, or from beyond in the order of memory
AGAIN_CYCLES = 1.5  # of a row that has just been read in the order of memory
APART_CYCLES = 4.0  # read alone: in most arrays a vector lies in two lines
FAR_RUN_CYCLES, FAR_CYCLES = 6.0, 15.0  # per vector that comes from beyond in another order: with neighbours, or alone
OVERLAP, IN_FLIGHT = 2.0, 400.0  # tiles whose chains of multiply-adds are in flight together, if these are no more in all
ROW_CYCLES = 2.0  # to start a kernel row of a loop
COLUMN_CYCLES = 1.0  # likewise, a column
CLIPPING = 1.0  # per sum, to see that nothing shows where taps were left out
BORDER = 0.3  # to find a vector of a window that may be outside


@dataclass(frozen=True)
class Depthwise:
    """Lanes along the channels; a tile of rows × columns of outputs."""

    rows: int
    columns: int
    band: int  # rows of an item
    share: int  # vectors of channels of an item
    channels_inside: bool  # all channels of an item at one place before the next
    down: bool  # a column of tiles before the next, else a row of tiles

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "depthwise", self.rows, self.columns, self.channels_inside, self.down

    def __str__(self) -> str:
        tile = f"{self.rows} rows × {self.columns} columns, bands of {self.band} rows, {self.share} vectors of channels"
        return f"depthwise tile {tile}{'' if self.channels_inside else ', one after the other'}{', downwards' if self.down else ''}"


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
    high, wide = three_axes(problem.loops)[1:]
    count, row_macs = vectors(problem), wide.out * problem.kernel * problem.channels * _channels(problem)
    few = min(max(costs.ITEM_MACS * count // (row_macs * high.out), 1), count)
    for rows, columns in _shapes(problem):
        some = _together(problem, rows, columns)
        orders = [(count, True, False), (count, True, True), *([(some, True, True)] if some < count else []), (few, False, False)]
        for share, inside, down in orders:
            near = share if inside else 1
            cycles = _computing(problem, rows, columns, near) + _reading(problem, rows, columns, near, down)
            yield Depthwise(rows, columns, high.out, share, inside, down), problem.batch * count * cycles


def tiles(problem: Problem) -> Iterator[tuple[int, int, float]]:
    """Rows and columns of every tile that fits the registers, and the cycles in which such tiles make all outputs of a vector of channels
    of an image from what the first cache holds; 0 rows are strips."""
    strips = ((0, columns) for columns in _strips(problem))
    for rows, columns in itertools.chain(_shapes(problem), strips):
        yield rows, columns, _computing(problem, rows, columns, 1)


def _computing(problem: Problem, rows: int, columns: int, share: int) -> float:
    """Cycles of all tiles, or strips, of a vector of channels of an image. share: such vectors at one place before the next."""
    deep, high, wide = three_axes(problem.loops)
    if not rows:
        tile = _strip(problem, columns)
    elif problem.channels > 1:
        tile = _group_tile(problem, rows, columns)
    else:
        tile = (_rolled_tile if _rolled(problem, rows, columns) else _small_tile)(problem, rows, columns)
    count = deep.out * -(-high.out // (rows or high.out)) * -(-wide.out // columns)
    return count * (tile + _weights(problem, share))


def _together(problem: Problem, rows: int, columns: int) -> int:
    """Vectors of channels whose windows the first cache holds beside their weights and outputs."""
    deep, high, wide = three_axes(problem.loops)
    each = deep.kernel * _met(high, rows) * _met(wide, columns) + problem.kernel * problem.channels + rows * columns
    count = vectors(problem)
    return shared(count, -(-count * each // (problem.machine.l1 * 3 // 4 // LINE)))


def _rolled(problem: Problem, rows: int, columns: int) -> bool:
    """Whether rows of the window are a loop: where registers do not hold the weights beside the sums."""
    most = MOST_SUMS_CONVERTED if problem.converted else MOST_SUMS
    held = problem.kernel <= min(MOST_HELD, problem.machine.registers - MOST_SUMS - 2) and rows * columns <= most
    return problem.channels == 1 and not held


def _looped(problem: Problem, rows: int, columns: int) -> bool:
    """Whether the columns of the window that meet every output are a loop: where they are many, or where many are outside."""
    axes = three_axes(problem.loops)
    wide = axes[-1]
    many = columns * wide.kernel > MOST_UNROLLED or (_zeros(axes) and wide.seen < SELDOM)
    return _rolled(problem, rows, columns) and rows == wide.stride == wide.dilation == 1 and columns < wide.kernel and many


def _clipped(problem: Problem, rows: int, columns: int) -> bool:
    """Whether taps outside the array, which add zeros, are left out: where that saves more than it takes to see that it does not show."""
    deep, high, wide = axes = three_axes(problem.loops)
    seen = deep.seen * high.seen * (wide.seen if _looped(problem, rows, columns) else 1.0)
    saved = (1 - seen) * problem.kernel / costs.FMA_PER_CYCLE
    return _rolled(problem, rows, columns) and _zeros(axes) and saved > CLIPPING


def _shapes(problem: Problem) -> Iterator[tuple[int, int]]:
    """Rows and columns of tiles that fit the registers, and whose code is not too long."""
    _, high, wide = three_axes(problem.loops)
    registers, small, far = problem.machine.registers, not _rolled(problem, 1, 1), _far(problem)
    for rows, columns in itertools.product(range(1, MOST_ROWS + 1), range(1, registers)):
        sums = rows * columns
        if problem.channels > 1:
            straight = sums * high.kernel * wide.kernel * problem.channels
            fits = sums <= min(MOST_SUMS_GROUPED, registers - 4) and straight <= MOST_UNROLLED_GROUPED
        elif _rolled(problem, rows, columns):
            neighbours = rows <= high.kernel and high.stride == high.dilation == wide.stride == 1
            short = rows * sums * wide.kernel <= MOST_UNROLLED or _looped(problem, rows, columns)
            wanted = neighbours and not far if small else neighbours or rows == 1  # while memory is waited for, small tiles do as well
            fits = wanted and short and sums + columns + rows + 1 < registers
        else:
            fits = True
        if fits and rows <= high.out and columns <= wide.out:
            yield rows, columns


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


def _strips(problem: Problem) -> Iterable[int]:
    """Columns of strips whose sums fit the registers: for groups of several channels, where taps and outputs are neighbours."""
    deep, high, wide = three_axes(problem.loops)
    if problem.channels == 1 or deep.kernel > 1 or high.kernel == 1 or any(s.stride * s.dilation > 1 for s in (high, wide)):
        return ()
    straight = MOST_UNROLLED_GROUPED // (high.kernel * wide.kernel * problem.channels)
    most = min((problem.machine.registers - 4) // high.kernel, straight, wide.out)
    return range(1, most + 1)


def _strip(problem: Problem, columns: int) -> float:
    """Cycles of a strip."""
    _, high, wide = three_axes(problem.loops)
    met, macs = columns + wide.kernel - 1, columns * problem.kernel * problem.channels
    move = MOVE if problem.channels * problem.bytes <= 16 else FAR_MOVE
    arithmetic = (macs + met * problem.channels * move + met * problem.converted) / costs.FMA_PER_CYCLE
    row = max(arithmetic, (met + macs) / costs.LOADS_PER_CYCLE, wide.kernel * problem.channels * costs.FMA_LATENCY)
    return (high.out + high.kernel - 1) * (row + columns * costs.STORE_CYCLES)


def _rolled_tile(problem: Problem, rows: int, columns: int) -> float:
    """Cycles of a tile whose weights come from memory."""
    deep, high, wide = three_axes(problem.loops)
    clipped, looped = _clipped(problem, rows, columns), _looped(problem, rows, columns)
    met = _met(wide, columns)
    border = 0.0 if looped else (1 - _inner(wide, columns) / -(-wide.out // columns)) * met * BORDER
    overlap = min(max(IN_FLIGHT / (rows * columns * problem.kernel), 1.0), OVERLAP)
    lines = 0.0
    for j in range(high.kernel + rows - 1):
        seeing = min(j + 1, rows, high.kernel + rows - 1 - j)
        macs = seeing * columns * wide.kernel
        arithmetic = (macs + (met if problem.converted else 0)) / costs.FMA_PER_CYCLE
        if looped:
            line = max(arithmetic, (met + macs) / costs.LOADS_PER_CYCLE) + met * COLUMN_CYCLES
            lines += line * (wide.seen if clipped else 1.0)
        else:
            loads = (met + seeing * wide.kernel) / costs.LOADS_PER_CYCLE
            lines += max(arithmetic, loads, wide.kernel * costs.FMA_LATENCY / overlap) + border
        lines += ROW_CYCLES
    lines *= deep.kernel * (deep.seen * high.seen if clipped else 1.0)
    return lines + rows * columns * (costs.STORE_CYCLES + (CLIPPING if clipped else 0.0)) + costs.TILE_CYCLES / 2


def _reading(problem: Problem, rows: int, columns: int, share: int, down: bool) -> float:
    """Cycles to read a vector of all places: once from where it lies, then again for each row or column of tiles and each outer tap,
    unless the first cache has kept it.

    share: vectors at one place before the next. Those at neighbouring places lie as many lines apart as there are vectors; where that is
    even, they share fewer sets.
    """
    deep, high, wide = three_axes(problem.loops)
    count, machine = vectors(problem), problem.machine
    room = (machine.l1 * 3 // 4 // LINE - share * problem.kernel * problem.channels) // max(math.gcd(SETS, count), share)
    length = -(-wide.out // columns) * _met(wide, columns) if down else wide.size
    # a row that comes takes the place of one that goes
    waiting = ((rows - 1) * high.stride + high.reach) * _met(wide, columns) if down else (high.reach - 1) * wide.size
    kept = deep.kernel * waiting <= room
    planes = deep.out * deep.kernel * (deep.seen if _clipped(problem, rows, columns) else 1.0)
    first = deep.size * high.size * wide.size
    again = max(planes * length * (high.size if kept else -(-high.out // rows) * _met(high, rows)) - first, 0.0)
    if _stored(problem) < NEAR * machine.l2:
        return (first + again) * (NEAR_CYCLES if share > 1 else NEAR_APART_CYCLES)
    near = far = LINE_CYCLES if share > 1 else APART_CYCLES
    if _far(problem) and (share < count or down):
        far = FAR_RUN_CYCLES if share > 1 else FAR_CYCLES
    return first * far + again * (AGAIN_CYCLES if share > 1 and not down else near)


def _stored(problem: Problem) -> int:
    """Bytes of input and output."""
    of = problem.dtypes
    return sum(math.prod(shape) * itemsize(dtype) for shape, dtype in ((problem.x_shape, of.x), (problem.y_shape, of.y)))


def _far(problem: Problem) -> bool:
    """Whether these are more than may be expected in the second cache."""
    return _stored(problem) > costs.FAR * problem.machine.l2


def _weights(problem: Problem, share: int) -> float:
    """Cycles of a tile to read weights that the first cache does not hold."""
    taps = problem.kernel * problem.channels
    size = taps * problem.bytes * problem.lanes * share
    return taps * LINE_CYCLES if size > problem.machine.l1 else 0.0


def _channels(problem: Problem) -> int:
    """Of all groups."""
    return problem.groups * problem.channels


def vectors(problem: Problem) -> int:
    """Of channels."""
    return -(-_channels(problem) // problem.lanes)


def _zeros(axes: Sequence[Spatial]) -> bool:
    """Whether taps outside the array, if there are any, add zeros."""
    padded = [axis for axis in axes if axis.padded]
    return bool(padded) and all(axis.boundary.value == 0 for axis in padded)


def _met(axis: Spatial, count: int) -> int:
    """Places of the window of so many outputs that some of them sees."""
    if axis.dilation == 1:
        return (count - 1) * min(axis.stride, axis.kernel) + axis.kernel
    return len({p * axis.stride + k * axis.dilation for p in range(count) for k in range(axis.kernel)})


def _inner(axis: Spatial, count: int) -> int:
    """Tiles along an axis that do not reach outside."""
    high = max((axis.out - 1) * axis.stride + axis.reach - axis.low - axis.size, 0)
    outer = -(-axis.low // (count * axis.stride)) + -(-high // (count * axis.stride))
    return max(-(-axis.out // count) - outer, 0)


def finer(problem: Problem, schedule: Depthwise, items: int) -> Depthwise:
    """The schedule in about so many items: bands of fewer tiles, or fewer vectors of channels."""
    deep, high, _ = three_axes(problem.loops)
    others = problem.batch * deep.out
    if schedule.channels_inside:
        others *= -(-vectors(problem) // schedule.share)
        band = shorter(schedule.band, schedule.rows, high.out, items, others)
        return replace(schedule, band=min(-(-band // schedule.rows) * schedule.rows, schedule.band))
    return replace(schedule, share=min(schedule.share, shared(vectors(problem), -(-items // others))))


def tile_code(problem: Problem, rows: int, columns: int, channels_inside: bool, down: bool = False) -> DepthwiseCode:
    """What the code of a tile depends on."""
    deep, high, wide = axes = three_axes(problem.loops)
    dtypes, epilogue = problem.dtypes, problem.epilogue
    return DepthwiseCode(
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
        rows=rows,
        columns=columns,
        rolled=_rolled(problem, rows, columns),
        looped=_looped(problem, rows, columns),
        clipped=_clipped(problem, rows, columns),
        down=down,
        channels_inside=channels_inside,
    )


def place_words(problem: Problem, tables: Tables) -> dict[str, int]:
    """The arguments that say how long the axes are and what stands outside."""
    axes, size = three_axes(problem.loops), problem.bytes
    outside = next((i for i, axis in enumerate(axes) if axis.padded), 0)
    words = {"constants": tables.constants, "outside": size * outside, "parameter": size * len(axes), "channels": _channels(problem)}
    for name, axis in zip("dhw", axes, strict=True):
        words |= {f"size_{name}": axis.size, f"low_{name}": axis.low, f"out_{name}": axis.out}
    return words


def program(problem: Problem, schedule: Depthwise) -> Program:
    """The kernel of a schedule, and its arguments."""
    deep, high, wide = axes = three_axes(problem.loops)
    code = tile_code(problem, schedule.rows, schedule.columns, schedule.channels_inside, schedule.down)
    count, ys, tables = vectors(problem), problem.y_strides, Tables(problem, axes)
    bands, shares = -(-high.out // schedule.band), -(-count // schedule.share)
    words = {
        **place_words(problem, tables), "ys_n": ys[0], "bands": bands, "band": schedule.band, "shares": shares, "share": schedule.share,
        "stream": int(problem.stream), **{f"ys_{name}": problem.y_step(axis) for name, axis in zip("dhw", axes, strict=True)},
    }  # fmt: skip
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
        pack_bias=BiasPacking(problem.dtypes.sum, 1, problem.lanes),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )
