"""The kernel of the matrix unit: its schedule, its tables and scratch memory, its weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms.channel import offsets
from juanji.algorithms.dealing import Dealing
from juanji.algorithms.matrix_layout import WORD, Blocks, Layout, Numbers, Table, Unfolded, layout
from juanji.algorithms.matrix_phases import Phases
from juanji.algorithms.packing import BiasPacking, Packing, TransformedPacking
from juanji.algorithms.problem import Problem, aligned
from juanji.jit.emit import LINE, Type
from juanji.jit.matrix import emit_matrix
from juanji.jit.matrix_code import MatrixCode
from juanji.jit.matrix_weights import MatrixWeightsCode, emit_matrix_weights
from juanji.jit.memory import empty_aligned
from juanji.jit.program import Program
from juanji.jit.tiles import ROWS, TILE
from juanji.kept import kept

Array = npt.NDArray[Any]

MOST_PARTED = 16  # vectors that are parted at once


@dataclass(frozen=True)
class Matrix:
    """A register tile of rows × columns accumulators; chunks of `box` output positions; items of `share` blocks of features."""

    rows: int
    columns: int
    box: tuple[int, ...]
    share: int
    panel: bool
    phases: int = 0  # of a line that are put together; 0 where there are none

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code."""
        return "matrix", self.rows, self.columns, self.panel, self.phases

    def __str__(self) -> str:
        source = "through a panel" if self.panel else "read in place"
        phases = "of all phases, " if self.phases else ""
        return (
            f"matrix unit, {self.rows * ROWS} pixels × {self.columns * ROWS} features, {phases}"
            f"chunks of {'×'.join(map(str, self.box))} pixels {source}, {self.share} blocks of features"
        )


class WeightsPacking(TransformedPacking):
    """packed[group, block, step, part, column] = the tile b of the unit."""

    def __init__(self, problem: Problem, where: Layout, columns: int):
        contraction = problem.contraction
        taps = [(contraction.extent(f"k{i}"), contraction.w.stride(f"k{i}")) for i in range(contraction.n)]
        inner = [*taps, (problem.channels, contraction.w.stride("c"))]
        packing = Packing(problem, columns * ROWS, inner, across=False, overlap=False)
        of, reduction = where.of, where.reduction
        along = _along(packing, of, reduction)
        code = MatrixWeightsCode(of.parts if of.size == 2 else 0, columns, where.planar, along)
        width = columns * ROWS * 4
        in_place = packing.beside or along
        places = packing.places * 4 if in_place else np.arange(problem.kernel * problem.channels) * width
        rows = places[reduction[:, 0]] if along else np.where(reduction < 0, -1, places[reduction]).reshape(-1)
        item = columns * ROWS * packing.feature_stride * 4 if in_place else len(places) * width
        self.step = len(reduction) * of.parts * columns * TILE
        words = {"map_rows": rows.ctypes.data, "steps": len(reduction), "item": item, "feature": packing.feature_stride * 4}
        super().__init__(packing, code, emit_matrix_weights, words, (self.step,), np.uint8, (rows,), in_place)


def _along(packing: Packing, of: Numbers, reduction: Table) -> bool:
    """Whether the numbers of each step lie side by side in w for each feature, so that they need not be put in order before."""
    if not packing.alone or of.parts == 1 or (reduction < 0).any():
        return False
    places = packing.places[reduction]
    order = np.arange(of.row).reshape(2, -1).T.reshape(-1)  # the neighbours of a word are half a step apart
    return np.array_equal(places, places[:, :1] + order)


class PhasesPacking:
    """The packed weights of several phases, one behind the other. starts: the bytes at which those of each begin, and the end."""

    def __init__(self, packs: Sequence[WeightsPacking]):
        self.packs = packs
        self.starts = [0, *itertools.accumulate(math.prod(pack.shape) for pack in packs)]

    def __call__(self, w: Array) -> Array:
        """The packed weights, a new array."""
        found = empty_aligned((self.starts[-1],), np.uint8)
        parts = [found[start:end] for start, end in itertools.pairwise(self.starts)]
        if self._dealing:
            self._dealing(w, parts)
        else:
            for pack, part in zip(self.packs, parts, strict=True):
                pack(w, part)
        return found

    @kept
    def _dealing(self) -> Dealing | None:
        """What puts the weights of all phases in order, if one pass does."""
        return Dealing.of(self.packs)


class RowsOfBias(BiasPacking):
    """packed[group, feature] = a row of a tile that holds the feature's bias throughout."""

    def __call__(self, bias: Array) -> Array:
        """The packed biases, a new array."""
        return np.repeat(super().__call__(bias), ROWS, axis=-1)


def program(problem: Problem, of: Numbers, schedule: Matrix, phases: Phases | None = None) -> Program:
    """The kernel of a schedule, and its arguments; phases: of which the problem is the whole."""
    dtypes, epilogue, spatial = problem.dtypes, problem.epilogue, problem.loops.spatial
    rows, columns, box, wide = schedule.rows, schedule.columns, schedule.box, spatial[-1]
    where = phases.layout(of, box) if phases else layout(problem, of, box, schedule.panel)
    few = isinstance(where, Unfolded)
    parted = problem.last and few and problem.groups == 1 and problem.channels * wide.stride <= MOST_PARTED
    code = MatrixCode(
        x=dtypes.x,
        product=of.product,
        parts=of.parts,
        total=of.total,
        y=dtypes.y,
        axes=len(spatial),
        planar_x=not problem.last,
        planar=where.planar,
        unfolded=few,
        stride=wide.stride if few else 1,
        parted=problem.channels if parted else 0,
        even=problem.channels % of.row == 0,
        every=where.every,
        panel=schedule.panel,
        channels_last_y=problem.last,
        gaps=problem.gaps,
        step=problem.apart,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        rows=rows,
        columns=columns,
        phases=schedule.phases,
    )
    width = columns * ROWS
    tiles = where.tiles(rows)
    goals = offsets(box, [problem.y_step(s) for s in spatial]) if code.gaps else np.zeros(0, np.int64)
    maps = [s.table for s in spatial[:-1]] + [wide.border]
    constants = _constants(problem, code)
    sums_at = tiles.rows % (rows * ROWS) * (columns * LINE)
    tables: tuple[Array, ...] = (constants, *maps, tiles.starts, tiles.firsts, sums_at, goals)
    at = [table.ctypes.data for table in tables]

    # Scratch: the panel, once for each part; lines that are unfolded; sums.
    part = where.bytes + where.room
    lines = aligned(part * of.parts)
    sums, unfolding = lines, dict[str, int]()
    if isinstance(where, Unfolded):
        line, numbers_at = _lines(where, Type(code.line.total).bytes)
        tables = (*tables, numbers_at)
        sums += line["line_part"] * of.parts
        unfolding = {"map_words": numbers_at.ctypes.data, "words": where.words, "blocks": where.blocks, "clear": where.behind, **line}
    blocks_f = -(-problem.features // width)
    order = _steps_of_phases(phases, of, box, columns) if phases else _steps(problem, where, columns)
    ys = problem.y_strides
    words = {
        "constants": at[0], "map_w": at[len(spatial)], "size_w": wide.size, "low_w": wide.low, "phase": 0, "line": 0, "slack": 0,
        "groups": problem.groups, "channels": problem.channels, "panels": where.blocks,
        "panel_b": where.between, "part": part, "piece": -(-_pieces(problem, code) // order.least),
        "map_tiles": at[-4], "map_firsts": at[-3], "map_sums": at[-2], "map_goals": at[-1],
        "tiles": tiles.registers, "pitch": where.pitch, "split": schedule.share,
        "splits": -(-blocks_f // schedule.share), "blocks_f": blocks_f, "count_f": problem.features, **order.words,
        "ys_n": ys[0], "ys_c": ys[problem.channel_dimension], "ys_p": ys[wide.y], "lines": lines, "sums": sums,
        "stream": int(problem.stream), **unfolding,
    }  # fmt: skip
    for i, s in enumerate(spatial):
        words |= {f"out{i}": s.out, f"box{i}": box[i], f"stride{i}": s.stride, f"reach{i}": s.reach, f"map{i}": at[1 + i]}
        words |= {f"ps{i}": where.axes[i], f"parts{i}": where.parts[i], f"apart{i}": where.apart[i], f"phases{i}": where.phases[i]}
        words[f"ys{i}"] = problem.y_step(s)
    chunks = math.prod(-(-s.out // b) for s, b in zip(spatial, box, strict=True))
    return Program(
        code=code,
        emit=emit_matrix,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": problem.channel_dimension, "xs_w": wide.x, **{f"xs{i}": s.x for i, s in enumerate(spatial)}},
        close=problem.close_in_chunks(bool(schedule.panel and not parted)),
        items=problem.batch * problem.groups * chunks * words["splits"],
        scratch=sums + 2 * max(code.phases, 1) * code.sums,
        pack_weights=order.packing,
        pack_bias=RowsOfBias(of.total, problem.groups, width) if where.planar else BiasPacking(of.total, problem.groups, width),
        tables=(*tables, *order.tables),
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


class Steps(NamedTuple):
    """The steps of all sums of a register tile, as arguments and tables; the least number of steps of one; their weights."""

    words: dict[str, int]
    tables: tuple[Array, ...]
    least: int
    packing: WeightsPacking | PhasesPacking


def _steps(problem: Problem, where: Layout, columns: int) -> Steps:
    places, packing = where.steps, WeightsPacking(problem, where, columns)
    return Steps({"map_steps": places.ctypes.data, "steps": len(places), "step": packing.step}, (places,), len(places), packing)


def _steps_of_phases(phases: Phases, of: Numbers, box: Sequence[int], columns: int) -> Steps:
    where = phases.layout(of, box)
    packs = [WeightsPacking(problem, Blocks(problem, of, box, True, lines=where.lines), columns) for problem in phases.problems]
    packing = PhasesPacking(packs)
    places = [where.steps_of(taps) for taps in phases.taps]
    goals = np.repeat(phases.goals, phases.line)
    rows = zip(places, packs, packing.starts, goals, strict=False)
    table = np.array([(at.ctypes.data, len(at), start, pack.step, goal) for at, pack, start, goal in rows], np.int64)
    counts = table[:, 1].reshape(-1, phases.line).sum(axis=1)
    words = {"map_phases": table.ctypes.data, "others": len(counts)}
    return Steps(words, (table, *places), int(counts.min()), packing)


def _lines(where: Unfolded, size: int) -> tuple[dict[str, int], Table]:
    """How a line lies that is unfolded, numbers of `size` bytes channel by channel, phase by phase; and where those of its words begin."""
    wide = where.problem.loops.spatial[-1]
    phase = -(-(where.blocks * ROWS + (wide.reach - 1) // wide.stride) * size // WORD) * WORD
    channel = wide.stride * phase
    number, tap = where.numbers
    at = number * channel + tap % wide.stride * phase + tap // wide.stride * size
    return {"phase": phase, "line_c": channel, "line_part": aligned(where.problem.channels * channel)}, at


def _pieces(problem: Problem, code: MatrixCode) -> int:
    """In how many pieces the sums of a register tile leave."""
    rows = (code.columns if code.planar else code.rows) * ROWS
    return -(-rows * 4 // (problem.machine.vector_bits // 8)) if code.squares else rows


def _constants(problem: Problem, code: MatrixCode) -> Array:
    """What stands outside each axis, as the panel's lines hold it, and behind that, in a word of its own, the activation's parameter."""
    outside = np.array([s.boundary.value if s.boundary.constant else 0.0 for s in problem.loops.spatial])
    match Type(code.line.total).scalar:
        case "f32":
            with np.errstate(over="ignore"):  # a constant too large for float32 is infinity there
                numbers: Array = outside.astype(np.float32)
        case "i16":
            numbers = (outside.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        case _:
            numbers = outside.astype(np.int64).astype(np.uint8)
    constants = np.zeros(8 * (len(outside) + 1), np.uint8)
    constants[: numbers.nbytes] = numbers.view(np.uint8)
    parameter: Array = np.array([problem.epilogue.parameter]).astype(code.total)
    constants[8 * len(outside) :][: parameter.nbytes] = parameter.view(np.uint8)
    return constants
