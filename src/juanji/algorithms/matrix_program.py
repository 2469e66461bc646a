"""The kernel of the matrix unit: which numbers stand for which, its schedule, its tables and scratch memory, its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms.channel import offsets
from juanji.algorithms.packing import BiasPacking, Packing, TransformedPacking
from juanji.algorithms.problem import Problem, aligned, contiguous_strides
from juanji.jit.emit import LINE
from juanji.jit.matrix import emit_matrix
from juanji.jit.matrix_code import MatrixCode
from juanji.jit.matrix_weights import MatrixWeightsCode, emit_matrix_weights
from juanji.jit.program import Program
from juanji.jit.tiles import PRODUCTS, ROWS, TILE

Array = npt.NDArray[Any]
Table = npt.NDArray[np.int64]

WORD = 4  # bytes that hold neighbours of the reduction
GAP = 2 * LINE  # behind the last line of a phase: zeros that its last windows read


class Numbers(NamedTuple):
    """What stands for the numbers of x and w: a product of the unit, how many numbers for one, the type of sums, bytes of each."""

    product: str
    parts: int
    total: str
    size: int

    @property
    def row(self) -> int:
        """Numbers in a row of a tile, which is a step of the reduction."""
        return LINE // self.size


def numbers(x: str, w: str) -> Numbers | None:
    """The numbers for two element types, if there are such."""
    if (x, w) in PRODUCTS:
        return Numbers(PRODUCTS[x, w], 1, "float32", 2) if x == "bfloat16" else Numbers(PRODUCTS[x, w], 1, "int32", 1)
    parts = {"float16": 2, "float32": 3}.get(x)
    return Numbers(PRODUCTS["bfloat16", "bfloat16"], parts, "float32", 2) if parts and x == w else None


@dataclass(frozen=True)
class Matrix:
    """A register tile of rows × columns accumulators; chunks of `box` output positions; items of `share` blocks of features."""

    rows: int
    columns: int
    box: tuple[int, ...]
    share: int
    panel: bool

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code."""
        return "matrix", self.rows, self.columns, self.panel

    def __str__(self) -> str:
        source = "through a panel" if self.panel else "read in place"
        return (
            f"matrix unit, {self.rows * ROWS} pixels × {self.columns * ROWS} features, "
            f"chunks of {'×'.join(map(str, self.box))} pixels {source}, {self.share} blocks of features"
        )


class Layout:
    """Where the numbers of a chunk lie that the tiles read, in bytes.

    joined: pixel behind pixel, and a step of the reduction is any row of the run of numbers under a row of the kernel; otherwise in
    blocks of channels, each of which is a step. Which one follows from the description of one image alone, as it shows in the bits.

    axes: from a place to the next within a phase of the stride, outer: from an output's window to the next output's, apart: from one
        phase to the next. block, blocks: channels of a block, and how many blocks, `between` apart. line: of one block of channels.
    """

    def __init__(self, problem: Problem, of: Numbers, box: Sequence[int], panel: bool):
        self.problem, self.of, self.box, self.panel = problem, of, box, panel
        spatial, channels = problem.loops.spatial, problem.channels
        self.planar, self.every = planar(problem), every(problem) if panel else 1
        self.joined = joined(problem, of)
        self.block = channels if self.joined else of.row
        self.blocks = 1 if self.joined else -(-channels // of.row)
        self.phases = [min(s.stride, s.reach) for s in spatial]
        if not panel:
            strides = contiguous_strides(problem.x_shape, of.size)
            self.axes = [strides[s.x] for s in spatial]
            self.apart, self.line, self.between, self.bytes = self.axes, 0, LINE, 0
            self.outer = [s.stride * step for s, step in zip(spatial, self.axes, strict=True)]
            return
        wide = spatial[-1]
        pixel = WORD if self.planar else self.block * of.size
        stride = wide.stride // self.every
        pixels = -(-((box[-1] - 1) * stride + wide.reach) // stride) * stride
        self.line = step = pixels * pixel
        self.axes, self.apart, self.outer = [pixel], [0], [stride * pixel]
        for b, s, phases in reversed(list(zip(box[:-1], spatial[:-1], self.phases[:-1], strict=True))):
            self.axes.insert(0, step)
            self.outer.insert(0, step)
            self.apart.insert(0, -(-((b - 1) * s.stride + s.reach) // s.stride) * step + (GAP if self.joined else 0))
            step = phases * self.apart[0]
        # Planes an odd number of cache lines apart meet in no set of a cache.
        self.between = ROWS * (aligned(step) | LINE) if self.planar else aligned(step + GAP)
        self.bytes = self.between * self.blocks

    @property
    def pitch(self) -> int:
        """From a pixel of a tile to the next."""
        return self.outer[-1]

    @property
    def row_pitch(self) -> int:
        """From a row of a tile of pixels to the next."""
        return self.between // ROWS if self.planar else self.pitch

    @property
    def windows(self) -> Table:
        """From the chunk's beginning to the window of each of its outputs."""
        return offsets(self.box, self.outer)

    @property
    def taps(self) -> Table:
        """From a window's beginning to each tap in row order."""
        places = np.zeros((), np.int64)
        for axis, s in enumerate(self.problem.loops.spatial):
            at = np.arange(s.kernel, dtype=np.int64) * s.dilation
            if self.panel and axis < len(self.axes) - 1:
                step = at % s.stride * self.apart[axis] + at // s.stride * self.axes[axis]
            else:
                step = at * self.axes[axis]
            places = places[..., None] + step
        return places.reshape(-1)

    @property
    def steps(self) -> Table:
        """From a window's beginning to each step of the reduction."""
        if not self.joined:
            return (np.arange(self.blocks, dtype=np.int64)[:, None] * self.between + self.taps).reshape(-1)
        wide = self.problem.loops.spatial[-1]
        rows = -(-wide.kernel * self.block // self.of.row)
        return (self.taps[:: wide.kernel, None] + np.arange(rows, dtype=np.int64) * LINE).reshape(-1)

    @property
    def reduction(self) -> Table:
        """Of each number of each step its place in (tap, channel) order, or -1 where there is none."""
        row, channels, kernel = self.of.row, self.problem.channels, self.problem.kernel
        if not self.joined:
            order = np.arange(row).reshape(2, -1).T.reshape(-1) if self.of.parts > 1 else np.arange(row)  # of a word: half a block apart
            channel = np.arange(self.blocks, dtype=np.int64)[:, None, None] * row + order
            return np.where(channel < channels, np.arange(kernel)[:, None] * channels + channel, -1).reshape(-1, row)
        run = self.problem.loops.spatial[-1].kernel * channels
        place = np.arange(-(-run // row) * row, dtype=np.int64)
        lines = np.arange(kernel * channels // run)[:, None] * run
        return np.where(place < run, lines + place, -1).reshape(-1, row)


def joined(problem: Problem, of: Numbers) -> bool:
    """Whether steps of the reduction run over taps as well, because there are few channels."""
    wide = problem.loops.spatial[-1]
    return problem.channels < of.row and wide.kernel > 1 and wide.dilation == 1


def planar(problem: Problem) -> bool:
    """Whether pixels are the tiles' columns: they lie side by side, and no tap begins between two cache lines."""
    wide = problem.loops.spatial[-1]
    return not problem.last and not problem.gaps and wide.kernel == 1 and wide.stride <= 2


def every(problem: Problem) -> int:
    """Of a line's pixels those so many apart are wanted alone."""
    wide = problem.loops.spatial[-1]
    return wide.stride if wide.kernel == 1 and (problem.last or planar(problem)) else 1


class Cover:
    """Tiles of `width` windows `pitch` bytes apart that cover a chunk's.

    starts: where each begins. firsts: the number of the first window that none before has. rows: in which row of all tiles each window
    lies. limit: no tile begins later; windows must then all be multiples of `pitch` apart.
    close: whether nothing may lie between a tile's windows.
    """

    def __init__(self, windows: Table, pitch: int, limit: int | None = None, width: int = ROWS, close: bool = False):
        starts, firsts, rows = list[int](), list[int](), np.empty(len(windows), np.int64)
        done = 0
        while done < len(windows):
            start = int(windows[done])
            if limit is not None:
                start = min(start, limit)
            end = int(np.searchsorted(windows, start + width * pitch))
            steps, odd = np.divmod(windows[done:end] - start, pitch)
            apart = np.flatnonzero(steps != np.arange(len(steps)) if close else odd)
            end = done + int(apart[0]) if apart.size else end
            rows[done:end] = len(starts) * width + steps[: end - done]
            starts.append(start)
            firsts.append(done)
            done = end
        self.starts, self.firsts, self.rows = np.array(starts), np.array(firsts), rows


class WeightsPacking(TransformedPacking):
    """packed[group, block, step, part, column] = the tile b of the unit."""

    def __init__(self, problem: Problem, layout: Layout, columns: int):
        contraction = problem.contraction
        taps = [(contraction.extent(f"k{i}"), contraction.w.stride(f"k{i}")) for i in range(contraction.n)]
        inner = [*taps, (problem.channels, contraction.w.stride("c"))]
        packing = Packing(problem, columns * ROWS, inner, across=False, overlap=False)
        of = layout.of
        code = MatrixWeightsCode(of.parts if of.size == 2 else 0, columns, layout.planar)
        width = columns * ROWS * 4
        reduction = layout.reduction
        in_place = packing.beside
        places = packing.places * 4 if in_place else np.arange(problem.kernel * problem.channels) * width
        rows = np.where(reduction < 0, -1, places[reduction]).reshape(-1)
        item = width if in_place else len(places) * width
        self.step = len(reduction) * of.parts * columns * TILE
        words = {"map_rows": rows.ctypes.data, "steps": len(reduction), "item": item}
        super().__init__(packing, code, emit_matrix_weights, words, (self.step,), np.uint8, (rows,), in_place)


class RowsOfBias(BiasPacking):
    """packed[group, feature] = a row of a tile that holds the feature's bias throughout."""

    def __call__(self, bias: Array) -> Array:
        """The packed biases, a new array."""
        return np.repeat(super().__call__(bias), ROWS, axis=-1)


class Tiles:
    """The register tiles of a chunk: `rows` tiles of 16 windows each.

    starts: where each tile of windows begins. firsts: of each register tile the first window that none before has; behind the last one,
    how many windows there are. sums: where each window's sums lie in its own.
    """

    def __init__(self, layout: Layout, rows: int, columns: int):
        windows = layout.windows
        if layout.planar:
            cover = Cover(windows, layout.pitch, width=rows * ROWS, close=True)
            self.starts: Table = (cover.starts[:, None] + np.arange(rows) * (ROWS * layout.pitch)).reshape(-1)
            firsts = cover.firsts
        else:
            cover = Cover(windows, layout.pitch, None if layout.panel else int(windows[-1]) - (ROWS - 1) * layout.pitch)
            self.starts = np.pad(cover.starts, (0, -len(cover.starts) % rows), "edge")
            firsts = cover.firsts[::rows]
        self.firsts = np.append(firsts, len(windows))
        self.sums = cover.rows % (rows * ROWS) * (columns * LINE)
        self.count = len(firsts)


def program(problem: Problem, of: Numbers, schedule: Matrix) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue, spatial = problem.dtypes, problem.epilogue, problem.loops.spatial
    rows, columns, box = schedule.rows, schedule.columns, schedule.box
    layout = Layout(problem, of, box, schedule.panel)
    code = MatrixCode(
        x=dtypes.x,
        product=of.product,
        parts=of.parts,
        total=of.total,
        y=dtypes.y,
        axes=len(spatial),
        planar_x=not problem.last,
        planar=layout.planar,
        joined=layout.joined,
        few=problem.channels if layout.joined and not problem.last and 2 <= problem.channels <= 4 else 0,
        even=problem.channels % of.row == 0,
        every=layout.every,
        panel=schedule.panel,
        channels_last_y=problem.last,
        gaps=problem.gaps,
        step=problem.apart,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        rows=rows,
        columns=columns,
    )
    width = columns * ROWS
    tiles = Tiles(layout, rows, columns)
    goals = offsets(box, [problem.y_step(s) for s in spatial]) if code.gaps else np.zeros(0, np.int64)
    maps = [s.table for s in spatial[:-1]] + [spatial[-1].border]
    constants = _constants(problem, code)
    tables = (constants, *maps, tiles.starts, tiles.firsts, tiles.sums, goals, layout.steps)
    at = [table.ctypes.data for table in tables]

    # Scratch: the panel, once for each part, and room for a tile that begins at its last window; lines of float32; sums.
    wide, size = spatial[-1], of.size
    part = layout.bytes + (ROWS * layout.pitch + TILE if schedule.panel else 0)
    lines = aligned(part * of.parts)
    filled = aligned(layout.line + LINE)  # with what the last window reads beyond its line
    run = filled // size  # numbers of a line that are cut
    sums = aligned(lines + (run * 4 if code.cut else 0))
    blocks_f = -(-problem.features // width)
    whole = problem.last and layout.joined and problem.groups == 1
    packing = WeightsPacking(problem, layout, columns)
    ys = problem.y_strides
    words = {
        "constants": at[0], "map_w": at[len(spatial)], "size_w": wide.size, "low_w": wide.low, "phase": 0, "line": 0, "slack": 0,
        "groups": problem.groups, "channels": problem.channels, "channels_all": problem.channels, "panel_c": layout.block,
        "panels": layout.blocks, "ps_b": 0, "whole": int(whole), "empty": run * 4 if code.cut else filled, "run": run,
        "panel_b": layout.between, "part": part, "piece": -(-(width if layout.planar else rows * ROWS) // len(layout.steps)),
        "map_tiles": at[-5], "map_firsts": at[-4], "map_sums": at[-3], "map_goals": at[-2],
        "map_steps": at[-1], "tiles": tiles.count, "steps": len(layout.steps), "pitch": layout.row_pitch, "split": schedule.share,
        "splits": -(-blocks_f // schedule.share), "blocks_f": blocks_f, "count_f": problem.features, "step": packing.step,
        "ys_n": ys[0], "ys_c": ys[problem.channel_dimension], "ys_p": ys[wide.y], "lines": lines, "sums": sums,
        "stream": int(problem.stream),
    }  # fmt: skip
    for i, s in enumerate(spatial):
        words |= {f"out{i}": s.out, f"box{i}": box[i], f"stride{i}": s.stride, f"reach{i}": s.reach, f"map{i}": at[1 + i]}
        words |= {f"ps{i}": layout.axes[i], f"apart{i}": layout.apart[i], f"phases{i}": layout.phases[i], f"ys{i}": problem.y_step(s)}
    chunks = math.prod(-(-s.out // b) for s, b in zip(spatial, box, strict=True))
    return Program(
        code=code,
        emit=emit_matrix,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": problem.channel_dimension, "xs_w": wide.x, **{f"xs{i}": s.x for i, s in enumerate(spatial)}},
        close=problem.close_in_chunks(bool(schedule.panel and not whole)),
        items=problem.batch * problem.groups * chunks * words["splits"],
        scratch=sums + 2 * rows * columns * TILE,
        pack_weights=packing,
        pack_bias=RowsOfBias(of.total, problem.groups, width) if layout.planar else BiasPacking(of.total, problem.groups, width),
        tables=tables,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


def _constants(problem: Problem, code: MatrixCode) -> Array:
    """What stands outside each axis, as the panel's lines hold it, and behind that, in a word of its own, the activation's parameter."""
    outside = np.array([s.boundary.value if s.boundary.constant else 0.0 for s in problem.loops.spatial])
    if code.parts > 1:
        with np.errstate(over="ignore"):  # a constant too large for float32 is infinity there
            numbers: Array = outside.astype(np.float32)
    elif code.total == "float32":
        numbers = (outside.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    else:
        numbers = outside.astype(np.int64).astype(np.uint8)
    constants = np.zeros(8 * (len(outside) + 1), np.uint8)
    constants[: numbers.nbytes] = numbers.view(np.uint8)
    parameter: Array = np.array([problem.epilogue.parameter]).astype(code.total)
    constants[8 * len(outside) :][: parameter.nbytes] = parameter.view(np.uint8)
    return constants
