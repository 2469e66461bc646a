"""Schedules of the phased plane tile: the phases of a depthwise gradient that are computed together, and how they are cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.packing import BiasPacking
from juanji.algorithms.planes import COPY_CYCLES, MOST_HELD, PANEL, ROW_CYCLES
from juanji.algorithms.problem import Problem, aligned, as_sums
from juanji.algorithms.splitting import shared
from juanji.jit.lanes import moves
from juanji.jit.phased import PhasedCode, Places, emit_phased
from juanji.jit.program import Program
from juanji.spec import WORDS

MOST_UNROLLED = 320  # multiply-adds in one straight piece of code
MOST_SUMS = 16  # of a tile

# Cycles, measured as those of `costs`.
WEIGHT_LOADS = 1.2  # loads that a weight counts for that is not held
MOVE_CYCLES = 1.0  # per vector that is interleaved with others, for each move

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Phased:
    """Lanes along the places of the innermost spatial axis; a tile of rows × vectors places, of all phases each."""

    rows: int
    vectors: int
    band: int  # places of rows of an item
    share: int  # planes of an item

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "phased", self.rows, self.vectors

    def __str__(self) -> str:
        return (
            f"plane tile of all phases, {self.rows} rows × {self.vectors} vectors of each, "
            f"bands of {self.band} rows, {self.share} planes at a time"
        )


class Axis(NamedTuple):
    """A spatial axis under all phases. size: of the errors; out: places; base: the first that any phase sees, from its own place on;
    places: of each phase, from base on; length: elements of the result; x, y: the dimensions."""

    size: int
    out: int
    base: int
    places: Places
    length: int
    x: int
    y: int

    @property
    def extent(self) -> int:
        """Places of the errors that are seen."""
        return self.out + max(map(max, self.places))

    @property
    def table(self) -> Array:
        """Where each of these lies, -1 outside."""
        at = np.arange(self.base, self.base + self.extent, dtype=np.int64)
        return np.where((at >= 0) & (at < self.size), at, -1)


NO_AXIS = Axis(1, 1, 0, ((0,),), 1, -1, -1)


class Phases(NamedTuple):
    """Phases of one region that differ in rows and columns only: their problems, and the axes."""

    problems: Sequence[Problem]
    deep: Axis
    high: Axis
    wide: Axis

    @property
    def one(self) -> Problem:
        """The first phase."""
        return self.problems[0]

    @property
    def taps(self) -> int:
        """Of a filter."""
        return sum(problem.kernel for problem in self.problems)


def groups(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Phases that differ in rows and columns only."""

    def outer(problem: Problem) -> tuple[int, tuple[int, ...]]:
        y = problem.contraction.y
        return problem.goal, tuple(y.along(f"q{i}").offset for i in range(problem.contraction.n - 2))

    return [list(found) for _, found in itertools.groupby(problems, outer)]


def together(problems: Sequence[Problem]) -> Phases | None:
    """The phases as one problem, if this tile computes it: filters of one channel each, channels first, all phases of the columns."""
    one = problems[0]
    n = one.contraction.n
    if one.channels > 1 or one.groups == 1 or one.taps is not None or one.last or n > 3 or one.dtypes.sum in WORDS:
        return None
    axes = [_axis(problems, i) for i in range(n)]
    deep, high, wide = (*[NO_AXIS] * (3 - n), *axes)
    step = one.contraction.y.along(f"q{n - 1}").coefficient(f"q{n - 1}")
    whole = len(problems) == len(high.places) * len(wide.places) and len(wide.places) == step
    if not whole or not 1 < step <= costs.MOST_STEP or wide.base > 0 or (n > 1 and len(high.places) != _step(one, n - 2)):
        return None
    return Phases(problems, deep, high, wide)


def _step(problem: Problem, i: int) -> int:
    return problem.contraction.y.along(f"q{i}").coefficient(f"q{i}")


def _axis(problems: Sequence[Problem], i: int) -> Axis:
    """What all phases see along one axis."""
    seen: dict[int, list[int]] = {}
    for problem in problems:
        c = problem.contraction
        x, y = c.x.along(f"q{i}"), c.y.along(f"q{i}")
        seen[y.offset] = [x.offset + x.coefficient(f"k{i}") * tap for tap in range(c.extent(f"k{i}"))]
    base = min(map(min, seen.values()))
    c = problems[0].contraction
    x, y = c.x.along(f"q{i}"), c.y.along(f"q{i}")
    places = tuple(tuple(place - base for place in seen[phase]) for phase in sorted(seen))
    out = max(problem.contraction.extent(f"q{i}") for problem in problems)
    return Axis(x.size, out, base, places, y.size, c.x.dimensions.index(x), c.y.dimensions.index(y))


def candidates(phases: Phases) -> Iterator[tuple[Phased, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    problem, deep, high, wide = phases.one, phases.deep, phases.high, phases.wide
    line, lanes = _line(phases), problem.lanes
    reach = max(map(max, high.places)) + 1
    longest = int(PANEL * problem.machine.l1) // (line * deep.extent) - reach + 1
    if longest < 1:
        return
    bands = -(-high.out // longest)
    band = -(-high.out // bands)
    vectors_of_line = -(-min(wide.size, wide.extent) // lanes)
    fill = deep.extent * (band + reach - 1) * (ROW_CYCLES + vectors_of_line * COPY_CYCLES)
    held = _held(phases)
    columns = len({place for places in wide.places for place in places})
    count = len(high.places) * len(wide.places)
    for rows, vectors in itertools.product(range(1, 9), range(1, 5)):
        sums = rows * vectors * count
        straight = rows * vectors * phases.taps // len(deep.places[0])
        if rows > band or sums > MOST_SUMS or (vectors - 1) * lanes >= wide.out or straight > MOST_UNROLLED:
            continue
        loads = (rows + reach - 1) * columns * vectors * costs.CROSSING + (0 if held else rows * phases.taps * WEIGHT_LOADS)
        multiplied = rows * vectors * phases.taps / costs.FMA_PER_CYCLE
        latency = max(p.kernel for p in phases.problems) * costs.FMA_LATENCY
        tile = max(multiplied, loads * len(deep.places[0]) / costs.LOADS_PER_CYCLE, latency)
        tile += sums * (costs.STORE_CYCLES + moves(len(wide.places)) * MOVE_CYCLES) + costs.TILE_CYCLES / 2
        tiles = deep.out * -(-band // rows) * -(-wide.out // (vectors * lanes))
        cycles = problem.batch * problem.groups * bands * (fill + problem.features * tiles * tile)
        macs = band * wide.out * deep.out * phases.taps * problem.features
        share = min(max(costs.ITEM_MACS // macs, 1), problem.groups)
        yield Phased(rows, vectors, band, share), cycles


def _held(phases: Phases) -> bool:
    """Whether registers hold the weights of a filter, beside the sums."""
    return len(phases.deep.places[0]) == 1 and phases.taps <= min(MOST_HELD, phases.one.machine.registers - MOST_SUMS - 3)


def finer(phases: Phases, schedule: Phased, items: int) -> Phased:
    """The schedule in about so many items: fewer planes in each."""
    others = phases.one.batch * -(-phases.high.out // schedule.band)
    return replace(schedule, share=min(schedule.share, shared(phases.one.groups, -(-items // others))))


def program(phases: Phases, schedule: Phased) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, deep, high, wide = phases.one, phases.deep, phases.high, phases.wide
    dtypes, epilogue, size = problem.dtypes, problem.epilogue, problem.bytes
    (taps,) = deep.places
    code = PhasedCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        deep=(len(taps), taps[1] - taps[0] if len(taps) > 1 else 1),
        high=high.places,
        wide=wide.places,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        held=_held(phases),
        uneven=high.length % len(high.places) > 0,
        rows=schedule.rows,
        vectors=schedule.vectors,
    )
    line = _line(phases)
    panel_high = schedule.band + max(map(max, high.places))
    start = wide.base * size % 64  # so that rows lie in lines as in an input that begins at one
    beyond = (schedule.vectors * problem.lanes + wide.extent - wide.out + 1) * size  # a tile may be wider than its rows
    panel = aligned(start + deep.extent * panel_high * line + beyond)
    bands, shares = -(-high.out // schedule.band), -(-problem.groups // schedule.share)
    ys, channel = problem.y_strides, problem.channel_dimension
    constants = as_sums(np.array([0.0, epilogue.parameter]), dtypes.sum)
    tables = (constants, deep.table, high.table, np.zeros(1, np.int64))
    at = [table.ctypes.data for table in tables]
    bytes_y = problem.batch * ys[0]
    words = {
        "constants": at[0], "outside": 0, "parameter": size, "map_d": at[1], "map_h": at[2], "map_w": at[3], "deep": deep.extent,
        "high": panel_high, "size_w": min(wide.size, wide.extent + wide.base), "low_w": -wide.base, "extent_w": wide.extent,
        "out_d": deep.out, "out_h": high.out, "out_w": wide.out, "rows": high.length, "columns": wide.length, "ys_n": ys[0],
        "ys_c": ys[channel], "ys_d": ys[deep.y] * _step(problem, 0) if deep.y >= 0 else 0, "ys_h": ys[high.y] if high.y >= 0 else 0,
        "phase": line, "line": line, "start": start, "panel": panel, "bands": bands, "band": schedule.band, "shares": shares,
        "share": schedule.share, "planes": problem.groups, "filters": problem.features,
        "stream": int(bytes_y > 2 * problem.machine.l2),
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_phased,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": channel, "xs_d": deep.x, "xs_h": high.x},
        close=problem.close(unit=True),
        items=problem.batch * bands * shares,
        scratch=panel,
        pack_weights=partial(_pack, _places(phases), dtypes.sum),
        pack_bias=BiasPacking(dtypes.sum, 1, 1),
        tables=tables,
        y_start=_y_start(phases),
        goal=problem.goal,
    )


def _line(phases: Phases) -> int:
    """Bytes of a row of the panel."""
    return aligned(phases.wide.extent * phases.one.bytes)


def _y_start(phases: Phases) -> int:
    """Bytes before the first output: those of the outer axis' phase."""
    problem, deep = phases.one, phases.deep
    return problem.contraction.y.dimensions[deep.y].offset * problem.y_strides[deep.y] if deep.y >= 0 else 0


def _places(phases: Phases) -> npt.NDArray[np.intp]:
    """Of each filter, where its taps lie in w: those of each phase in the order of the sum, one phase after the other."""
    found = []
    for problem in phases.problems:
        c = problem.contraction
        places = np.full((), c.w.offset, np.intp)
        axes = [("g", problem.groups), ("o", problem.features), *((f"k{i}", c.extent(f"k{i}")) for i in range(c.n))]
        for axis, extent in axes:
            places = places[..., None] + np.arange(extent) * c.w.stride(axis)
        found.append(places.reshape(problem.groups * problem.features, -1))
    return np.concatenate(found, axis=1)


def _pack(places: npt.NDArray[np.intp], dtype: str, w: Array) -> Array:
    """The filters as the kernel reads them."""
    return np.ascontiguousarray(w).reshape(-1)[places].astype(dtype, copy=False)
