"""Where the matrix unit's numbers lie: which stand for which, in which order they are summed, where a chunk's windows begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms.channel import offsets
from juanji.algorithms.problem import Problem, aligned, contiguous_strides
from juanji.jit.emit import LINE
from juanji.jit.tiles import PRODUCTS, ROWS, TILE
from juanji.spec import itemsize

Table = npt.NDArray[np.int64]

WORD = 4  # bytes that hold neighbours of the reduction
GAP = 2 * LINE


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


class Tiles(NamedTuple):
    """The register tiles of a chunk: `rows` tiles of 16 windows each.

    starts: where each tile of windows begins. firsts: the first window of each register tile that none before has, behind the last one how
    many windows there are; or of each tile of unfolded windows the first, and the one behind its last. rows: of all tiles of windows,
    where each window lies. registers: how many register tiles.
    """

    starts: Table
    firsts: Table
    rows: Table
    registers: int


class Blocks:
    """Pixels, or planes of words, in blocks of channels, each of which is a step of the reduction under one tap.

    lines: each tile of pixels lies in one line of outputs, which begin at cache lines. planar: pixels are the tiles' columns. every: of a
        line's pixels those so many apart are wanted alone. outer: from an output's window to the next output's.
    parts, phases: per axis, by what places are parted, and how many of these parts some tap meets. axes: from a place to the next of its
        part, apart: from one part to the next. blocks, between: of channels, and from one to the next. bytes: of a chunk; room: that a
        tile may read behind. pitch: from a row of a tile of pixels to the next.
    """

    def __init__(self, problem: Problem, of: Numbers, box: Sequence[int], panel: bool, lines: bool = False):
        self.problem, self.of, self.box, self.panel, self.lines = problem, of, box, panel, lines
        spatial = problem.loops.spatial
        self.planar, self.every = lines or planar(problem), every(problem) if panel else 1
        self.blocks = -(-problem.channels // of.row)
        self.parts, self.phases = [s.stride for s in spatial], [min(s.stride, s.reach) for s in spatial]
        if not panel:
            strides = contiguous_strides(problem.x_shape, of.size)
            self.axes = [strides[s.x] for s in spatial]
            self.apart, self.between, self.bytes, self.room = self.axes, LINE, 0, 0
            self.outer = [s.stride * step for s, step in zip(spatial, self.axes, strict=True)]
            self.pitch = self.outer[-1]
            return
        wide = spatial[-1]
        pixel = WORD if self.planar else LINE
        stride = wide.stride // self.every
        step = -(-((box[-1] - 1) * stride + wide.reach) // stride) * stride * pixel
        step = aligned(step) if lines else step
        self.axes, self.apart, self.outer = [pixel], [0], [stride * pixel]
        for b, s, phases in reversed(list(zip(box[:-1], spatial[:-1], self.phases[:-1], strict=True))):
            self.axes.insert(0, step)
            self.outer.insert(0, step)
            self.apart.insert(0, -(-((b - 1) * s.stride + s.reach) // s.stride) * step)
            step = phases * self.apart[0]
        # Planes an odd number of cache lines apart meet in no set of a cache.
        self.between = ROWS * (aligned(step) | LINE) if self.planar else aligned(step + GAP)
        self.bytes, self.room = self.between * self.blocks, ROWS * self.outer[-1] + TILE
        self.pitch = self.between // ROWS if self.planar else self.outer[-1]

    @property
    def windows(self) -> Table:
        """From the chunk's beginning to the window of each of its outputs."""
        return offsets(self.box, self.outer)

    @property
    def steps(self) -> Table:
        """From a window's beginning to each step of the reduction."""
        return self.steps_of([np.arange(s.kernel, dtype=np.int64) * s.dilation for s in self.problem.loops.spatial])

    def steps_of(self, taps: Sequence[Table]) -> Table:
        """The same for taps at these places of each axis."""
        places = np.zeros((), np.int64)
        for axis, (s, at) in enumerate(zip(self.problem.loops.spatial, taps, strict=True)):
            if self.panel and axis < len(self.axes) - 1:
                step = at % s.stride * self.apart[axis] + at // s.stride * self.axes[axis]
            else:
                step = at * self.axes[axis]
            places = places[..., None] + step
        return (np.arange(self.blocks, dtype=np.int64)[:, None] * self.between + places.reshape(-1)).reshape(-1)

    @property
    def reduction(self) -> Table:
        """Of each number of each step its place in (tap, channel) order, or -1 where there is none."""
        row, channels, kernel = self.of.row, self.problem.channels, self.problem.kernel
        order = np.arange(row).reshape(2, -1).T.reshape(-1) if self.of.parts > 1 else np.arange(row)  # of a word: half a block apart
        channel = np.arange(self.blocks, dtype=np.int64)[:, None, None] * row + order
        return np.where(channel < channels, np.arange(kernel)[:, None] * channels + channel, -1).reshape(-1, row)

    def tiles(self, rows: int) -> Tiles:
        """The register tiles of a chunk."""
        windows, pitch = self.windows, self.outer[-1]
        if self.lines:
            wide = self.box[-1]
            return _in_lines(windows[::wide], wide, ROWS * pitch, rows)
        if self.planar:
            cover = Cover(windows, pitch, width=rows * ROWS, close=True)
            starts, firsts = (cover.starts[:, None] + np.arange(rows) * (ROWS * pitch)).reshape(-1), cover.firsts
        else:
            cover = Cover(windows, pitch, None if self.panel else int(windows[-1]) - (ROWS - 1) * pitch)
            starts, firsts = np.pad(cover.starts, (0, -len(cover.starts) % rows), "edge"), cover.firsts[::rows]
        return Tiles(starts, np.append(firsts, len(windows)), cover.rows, len(firsts))


class Unfolded:
    """Words of windows, unfolded along a line (`jit.matrix_unfolded`): a step of the reduction is 16 words of as many lines as the kernel
    has rows, the last step the last 16, of which some have been before. Attributes are those of `Blocks`; its blocks are of 16 outputs.

    Lines that a window meets follow each other: they are parted by the dilation and not by the stride. words: of a window in a line;
    behind: rows of zeros that windows of less than 16 words read.

    Tiles go down a block of 16 columns, as neighbouring windows of a column share lines that the first cache still has; `together`: blocks
    side by side, which fill two lines of the output, as many as it is fetched by.
    """

    def __init__(self, problem: Problem, of: Numbers, box: Sequence[int]):
        self.problem, self.of, self.box = problem, of, box
        spatial = problem.loops.spatial
        *outer, wide = spatial
        self.planar, self.every = True, 1
        self.words = -(-wide.kernel * problem.channels * of.size // WORD)
        self.height = outer[-1].kernel if outer else 1
        self.behind = max(ROWS - self.height * self.words, 0)
        self.blocks, self.pitch, self.room = -(-box[-1] // ROWS), LINE, 0
        self.together = 1 if problem.last else 2 * LINE // (ROWS * itemsize(problem.dtypes.y))
        self.parts = [s.stride for s in spatial]
        if self.height > 1:
            self.parts[-2] = outer[-1].dilation
        self.phases = [min(parts, s.reach) for parts, s in zip(self.parts, spatial, strict=True)]
        self.axes, self.apart = [0], [0]
        step = self.words * LINE
        self.between = step + self.behind * LINE
        for axis in reversed(range(len(outer))):
            s = spatial[axis]
            lines = (box[axis] - 1) * s.stride + s.reach
            self.axes.insert(0, step)
            self.apart.insert(0, -(-lines // self.parts[axis]) * step)
            step = self.phases[axis] * self.apart[0]
            if axis == len(outer) - 1:
                self.between = step + self.behind * LINE
                step = self.blocks * self.between
        self.bytes = step if outer else self.blocks * self.between

    def _place(self, axis: int, at: Table) -> Table:
        """Of places along an outer axis, counted from the chunk's first."""
        return at % self.parts[axis] * self.apart[axis] + at // self.parts[axis] * self.axes[axis]

    @property
    def steps(self) -> Table:
        """From a window's beginning to each step of the reduction."""
        places = np.zeros((), np.int64)
        for axis, s in enumerate(self.problem.loops.spatial[:-2]):
            places = places[..., None] + self._place(axis, np.arange(s.kernel, dtype=np.int64) * s.dilation)
        return (places.reshape(-1, 1) + self._begins * LINE).reshape(-1)

    @property
    def _begins(self) -> Table:
        """The first word of each step of a window's lines."""
        words = self.height * self.words
        return np.minimum(np.arange(0, words, ROWS, dtype=np.int64), max(words - ROWS, 0))

    @property
    def reduction(self) -> Table:
        """Of each number of each step its place in (tap, channel) order, or -1 where there is none."""
        group = WORD // self.of.size
        run = self.problem.loops.spatial[-1].kernel * self.problem.channels
        number = np.arange(self.words * group)
        places = np.where(number < run, np.arange(self.height)[:, None] * run + number, -1).reshape(-1, group)
        begins = self._begins
        word = begins[:, None] + np.arange(ROWS)
        new = (word < len(places)) & (word >= np.arange(len(begins))[:, None] * ROWS)
        lines = np.where(new[..., None], places[np.minimum(word, len(places) - 1)], -1).reshape(-1, self.of.row)
        outer = np.arange(self.problem.kernel * self.problem.channels // (self.height * run))[:, None, None] * (self.height * run)
        return np.where(lines < 0, -1, outer + lines).reshape(-1, self.of.row)

    @property
    def numbers(self) -> Table:
        """Which numbers of a line are those of a window's words: their channel, and the tap's place."""
        wide, channels = self.problem.loops.spatial[-1], self.problem.channels
        count = self.words * (WORD // self.of.size)
        tap, channel = np.divmod(np.minimum(np.arange(count), wide.kernel * channels - 1), channels)
        return np.stack((channel, tap * wide.dilation))

    def tiles(self, rows: int) -> Tiles:
        """The register tiles of a chunk."""
        *outer, wide = self.box
        places = np.zeros((), np.int64)
        for axis, (b, s) in enumerate(zip(outer, self.problem.loops.spatial[:-1], strict=True)):
            places = places[..., None] + self._place(axis, np.arange(b, dtype=np.int64) * s.stride)
        return _in_lines(places.reshape(-1), wide, self.between, rows, self.together)


def _in_lines(lines: Table, wide: int, between: int, rows: int, together: int | None = None) -> Tiles:
    """The register tiles of lines of `wide` outputs, whose windows begin at `lines`, those of each 16 outputs `between` bytes later.

    They go down the lines, so many blocks of 16 `together`, or else along each line.
    """
    count = -(-wide // ROWS)
    block, row = np.divmod(np.arange(count * len(lines)), len(lines))
    if together != 1:
        order = np.lexsort((block, row, block // (together or count)))
        block, row = block[order], row[order]
    starts = block * between + lines[row]
    firsts = row * wide + block * ROWS
    ends = np.minimum(firsts + ROWS, (row + 1) * wide)
    missing = -len(starts) % rows
    pairs = np.stack((firsts, ends), axis=-1)
    return Tiles(
        np.pad(starts, (0, missing), "edge"),
        np.pad(pairs, ((0, missing), (0, 0))).reshape(-1),
        np.zeros(0, np.int64),
        (len(starts) + missing) // rows,
    )


Layout = Blocks | Unfolded


def layout(problem: Problem, of: Numbers, box: Sequence[int], panel: bool) -> Layout:
    """That of a chunk of `box` outputs, in a panel or in the input itself. Which of both follows from the description of one image alone,
    as it shows in the bits."""
    return Unfolded(problem, of, box) if unfolded(problem, of) else Blocks(problem, of, box, panel)


def unfolded(problem: Problem, of: Numbers) -> bool:
    """Whether steps of the reduction run over taps as well, because there are few channels."""
    return problem.channels < of.row and problem.loops.spatial[-1].kernel > 1


def planar(problem: Problem) -> bool:
    """Whether pixels in blocks of channels are the tiles' columns: they lie side by side, and no tap begins between two cache lines."""
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
