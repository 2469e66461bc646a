"""Schedules of the plane tile: how many rows and vectors of outputs, and how many planes an item has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from juanji.algorithms import costs
from juanji.algorithms.loops import Spatial, three_axes
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.algorithms.splitting import shared
from juanji.jit.planes import MOST_UNROLLED, PARTED, PlaneCode, emit_planes
from juanji.jit.program import Program
from juanji.spec import WORDS

MOST_HELD = 9  # weights that are held in registers
MOST_SUMS = 16  # of a tile
MOST_SUMS_HELD = 8  # beside weights that are held all along. With more, LLVM moves loads so far ahead that registers run out
MOST_LINES = 64  # rows of the panel under a tile that are written one after the other, where strides or dilations keep them from a loop
LARGE, CLIPPED = 64, 0.8  # taps of a kernel, and their part inside the array, from which on asking which are outside pays
PANEL = 0.85  # of the first cache that a panel may take

# Cycles, measured as those of `costs`.
ROW_CYCLES = 5.0  # to start a row that is copied
COLUMN_CYCLES = 0.5  # per column of a row of the window, where these are a loop
WEIGHT_LOADS = 0.6  # loads that a weight counts for that is not held: a single number
COPY_CYCLES = 2.0  # per vector that is copied
PARTED_CYCLES = 4.0  # per vector that is cut into phases
APART_CYCLES = 0.5  # per vector that is stored, for each further row of a tile narrower than rows: memory is written in several places


@dataclass(frozen=True)
class Plane:
    """Lanes along the innermost spatial axis; a tile of rows × vectors."""

    rows: int
    vectors: int
    band: int  # output rows of an item
    share: int  # planes of an item

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "plane", self.rows, self.vectors

    def __str__(self) -> str:
        return f"plane tile {self.rows} rows × {self.vectors} vectors, bands of {self.band} rows, {self.share} planes at a time"


def accepts(problem: Problem) -> bool:
    """Whether filters of one channel each meet planes whose rows are runs of neighbours, in input and output."""
    axes = problem.loops.spatial
    outside = [s.boundary for s in axes if s.padded and s.boundary.constant]
    return (
        problem.channels == 1
        and problem.groups > 1
        and problem.taps is None
        and not problem.last
        and (axes[-1].step == 1 or (axes[-1].step <= costs.MOST_STEP and problem.machine.target.masks))
        and len(axes) <= 3
        and problem.dtypes.sum not in WORDS
        and all(b == outside[0] for b in outside)
    )


def candidates(problem: Problem) -> Iterator[tuple[Plane, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    if not accepts(problem):
        return
    deep, high, wide = three_axes(problem.loops)
    line = _line(problem)[1]
    longest = (int(PANEL * problem.machine.l1) // (line * deep.extent) - high.reach) // high.stride + 1
    if longest < 1:
        return
    bands = -(-high.out // longest)
    band = -(-high.out // bands)
    panel_rows = deep.extent * ((band - 1) * high.stride + high.reach)
    fill = panel_rows * (ROW_CYCLES + _copying(problem, wide))
    held = _held(problem)
    most_sums = MOST_SUMS_HELD if held and deep.kernel == 1 else min(MOST_SUMS, problem.machine.registers - 6)
    taps, plane_taps = problem.kernel, high.kernel * wide.kernel
    done = high.seen if _clipped(problem) else 1.0
    for rows, vectors in itertools.product(range(1, 9), range(1, 5)):
        sums = rows * vectors
        if rows > band or sums > most_sums or (vectors - 1) * problem.lanes >= wide.out:
            continue
        met = len({r * high.stride + k * high.dilation for r in range(rows) for k in range(high.kernel)})
        if met > MOST_LINES and not high.stride == high.dilation == 1:
            continue
        weights = plane_taps * (rows * WEIGHT_LOADS if not held else 1 if deep.kernel > 1 else 0)
        loads = deep.kernel * (met * wide.kernel * vectors * costs.CROSSING + weights)
        columns = deep.kernel * met * wide.kernel * COLUMN_CYCLES if sums * plane_taps > MOST_UNROLLED else 0.0
        tile = done * (max(sums * taps / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, taps * costs.FMA_LATENCY) + columns)
        apart = 0 if vectors * problem.lanes >= wide.out else rows - 1
        tile += sums * (costs.STORE_CYCLES * wide.step + apart * APART_CYCLES)
        tile += costs.TILE_CYCLES / 2 + deep.kernel * costs.LOOP_CYCLES / 2
        tiles = deep.out * -(-band // rows) * -(-wide.out // (vectors * problem.lanes))
        planes = problem.batch * problem.groups
        cycles = planes * bands * (fill + problem.features * tiles * tile)
        macs = band * wide.out * deep.out * taps * problem.features
        share = min(max(costs.ITEM_MACS // macs, 1), problem.groups)
        yield Plane(rows, vectors, band, share), cycles


def _clipped(problem: Problem) -> bool:
    """Whether many taps meet only rows of zeros outside the array."""
    _, high, _ = axes = three_axes(problem.loops)
    zeros = all(axis.boundary.constant and axis.boundary.value == 0 for axis in axes if axis.padded)
    return zeros and problem.kernel >= LARGE and high.seen < CLIPPED


def _reached(wide: Spatial) -> int:
    """Elements of a row that some window reaches."""
    return max(min(wide.size, wide.extent - wide.low), 0)


def _copying(problem: Problem, wide: Spatial) -> float:
    """Cycles to copy one row."""
    if wide.stride not in PARTED:
        return _reached(wide) * costs.SCALAR_CYCLES
    vectors = -(-_reached(wide) // (problem.lanes * wide.stride)) * wide.stride
    return vectors * (COPY_CYCLES if wide.stride == 1 else PARTED_CYCLES)


def _held(problem: Problem) -> bool:
    """Whether registers hold the weights of an outer tap, beside the sums."""
    _, high, wide = three_axes(problem.loops)
    return high.kernel * wide.kernel <= min(MOST_HELD, problem.machine.registers - MOST_SUMS - 4)


def finer(problem: Problem, schedule: Plane, items: int) -> Plane:
    """The schedule in about so many items: fewer planes in each."""
    others = problem.batch * -(-three_axes(problem.loops)[1].out // schedule.band)
    return replace(schedule, share=min(schedule.share, shared(problem.groups, -(-items // others))))


def program(problem: Problem, schedule: Plane) -> Program:
    """The kernel of a schedule, and its arguments."""
    deep, high, wide = axes = three_axes(problem.loops)
    dtypes, epilogue, size = problem.dtypes, problem.epilogue, problem.bytes
    code = PlaneCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        kernel=(deep.kernel, high.kernel, wide.kernel),
        stride=(deep.stride, high.stride, wide.stride),
        dilation=(deep.dilation, high.dilation, wide.dilation),
        copied=wide.padded and not wide.boundary.constant,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        clipped=_clipped(problem),
        held=_held(problem),
        rows=schedule.rows,
        vectors=schedule.vectors,
        step=wide.step,
    )
    phase, line = _line(problem)
    panel_high = (schedule.band - 1) * high.stride + high.reach
    start = -wide.low * size % 64 if wide.stride == 1 else 0  # so that rows lie in lines as in an input that begins at one
    beyond = (schedule.vectors * problem.lanes + wide.reach) * size  # a tile may be wider than its rows
    panel = aligned(start + deep.extent * panel_high * line + beyond)
    bands, shares = -(-high.out // schedule.band), -(-problem.groups // schedule.share)
    ys, channel = problem.y_strides, problem.channel_dimension
    tables = Tables(problem, axes)
    constant = next((i for i, axis in enumerate(axes) if axis.padded and axis.boundary.constant), 0)
    words = {
        "constants": tables.constants, "outside": size * constant, "parameter": size * len(axes), "map_d": tables.maps[0],
        "map_h": tables.maps[1], "map_w": tables.maps[2], "deep": deep.extent, "high": panel_high, "size_h": high.size,
        "size_w": _reached(wide), "low_h": high.low, "low_w": wide.low, "extent_w": wide.extent, "out_d": deep.out, "out_h": high.out,
        "out_w": wide.out, "ys_n": ys[0], "ys_c": ys[channel], "ys_d": problem.y_step(deep), "ys_h": problem.y_step(high),
        "phase": phase, "line": line, "start": start, "panel": panel, "bands": bands, "band": schedule.band, "shares": shares,
        "share": schedule.share, "planes": problem.groups, "filters": problem.features, "stream": int(problem.stream),
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_planes,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": channel, "xs_d": deep.x, "xs_h": high.x},
        close=problem.close(unit=True),
        items=problem.batch * bands * shares,
        scratch=panel,
        pack_weights=pack_weights(problem, 1, 1),
        pack_bias=BiasPacking(dtypes.sum, 1, 1),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


def _line(problem: Problem) -> tuple[int, int]:
    """Bytes of one phase of a row of the panel, and of a row."""
    wide = problem.loops.spatial[-1]
    phase = aligned(-(-wide.extent // wide.stride) * problem.bytes)
    return phase, phase * wide.stride
