"""Tiles of the Fourier algorithm: which axes they cover, their sizes, and what those are expected to cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from juanji.algorithms import costs
from juanji.algorithms.loops import NO_AXIS, Spatial, loops
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shared
from juanji.contraction import Contraction
from juanji.jit.fft_passes import FIRST_REAL, SIZES
from juanji.spec import itemsize

EVERY_SIZE = tuple(itertools.product(SIZES, SIZES))
MOST_SCRATCH = 48 << 20  # bytes of spectra of a tile, all channels together
FEATURES = 4  # whose sums of products fit the registers beside what they share
SHARES = 8  # of the features, at most
ITEMS = 32  # pieces of work for threads to share, where there are as many tiles


class Axes(NamedTuple):
    """The spatial axes of a contraction as a tile sees them. A line has no `high`."""

    outer: tuple[Spatial, ...]
    high: Spatial
    wide: Spatial
    line: bool

    @classmethod
    def of(cls, contraction: Contraction) -> Axes:
        """The last axis is a line if it alone has a kernel, else the last two are a plane."""
        spatial = loops(contraction).spatial
        if len(spatial) == 1:
            return cls((), NO_AXIS, spatial[0], True)
        *outer, high, wide = spatial
        if high.kernel == 1 and wide.dilation == 1:
            return cls((*outer, high), NO_AXIS, wide, True)
        return cls(tuple(outer), high, wide, False)

    @property
    def all(self) -> tuple[Spatial, ...]:
        """The axes that exist."""
        return (*self.outer, self.wide) if self.line else (*self.outer, self.high, self.wide)

    @property
    def planes(self) -> int:
        """Taps of the outer axes."""
        return math.prod(s.kernel for s in self.outer)

    @property
    def phases(self) -> int:
        """Into how many rows that do not meet a dilation divides one."""
        return 1 if self.line else self.wide.dilation

    @property
    def out(self) -> tuple[int, int]:
        """Outputs of a phase, down and across."""
        return -(-self.high.out // self.high.dilation), -(-self.wide.out // self.phases)

    def grid(self, schedule: Fft) -> tuple[int, int]:
        """Strips of a phase, and tiles of a strip."""
        down, across = self.out
        s = schedule
        return (1, -(-across // (s.rows * s.columns))) if self.line else (-(-down // s.rows), -(-across // s.columns))

    def parts(self, high: int, wide: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Into how many parts a kernel is cut for tiles of that size, and their size: (rows, columns) of each."""
        if self.line:
            count, size = _parts(self.wide.kernel, high * wide)
            return (1, count), (1, size)
        (rows, tall), (columns, broad) = _parts(self.high.kernel, high), _parts(self.wide.kernel, wide)
        return (rows, columns), (tall, broad)


def _parts(kernel: int, places: int) -> tuple[int, int]:
    """How many parts, and of what size: one where it fits, else parts of half a tile."""
    count = 1 if _fits(kernel, places) else -(-kernel // (places // 2))
    return count, -(-kernel // count)


def _fits(kernel: int, places: int) -> bool:
    """Whether a quarter of the tile, and the lanes of a vector, are left for outputs."""
    return kernel <= min(places * 3 // 4, places - 16)


def sizes(axes: Axes) -> list[tuple[int, int]]:
    """Which tiles are worth a look: some times as large as the kernel; of a larger kernel the largest."""
    if axes.line:
        places = sorted(EVERY_SIZE, key=math.prod)
        fit = [size for size in places if _fits(axes.wide.kernel, math.prod(size))]
        return [size for size in fit if math.prod(size) <= max(16 * axes.wide.kernel, 2 * math.prod(fit[0]))] or places[-1:]
    high, wide = (
        [n for n in SIZES if _fits(kernel, n) and n <= max(8 * kernel, SIZES[1])] or SIZES[-2:]
        for kernel in (axes.high.kernel, axes.wide.kernel)
    )
    return list(itertools.product(high, wide))


def least_spectrum(contraction: Contraction, dtype: str) -> int:
    """Bytes of the spectra of a tile, of the size that needs the fewest."""
    axes = Axes.of(contraction)
    return min(_spectrum_bytes(contraction, axes, high, wide, dtype) for high, wide in sizes(axes))


def _spectrum_bytes(contraction: Contraction, axes: Axes, high: int, wide: int, dtype: str) -> int:
    parts, _ = axes.parts(high, wide)
    return contraction.extent("c") * axes.planes * math.prod(parts) * axes.phases * high * wide * itemsize(dtype)


# Schedules --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fft:
    """Tiles of high × wide places, of which rows × columns become outputs. Of a line the places lie one behind the other."""

    high: int
    wide: int
    line: bool
    rows: int
    columns: int
    part: tuple[int, int]  # size of a part of the kernel
    parts: tuple[int, int]
    features: int  # whose products are summed together; 0: one channel in, one out
    run: int  # tiles of an item
    share: int  # blocks of features of an item

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code."""
        return "fft", self.high, self.wide, self.line, self.rows, self.features

    def __str__(self) -> str:
        count = math.prod(self.parts)
        cut = f", the kernel in {count} parts" if count > 1 else ""
        if self.line:
            return f"tiles of {self.high * self.wide} places, {self.rows * self.columns} outputs each{cut}, runs of {self.run}"
        return f"tiles {self.high}×{self.wide}, {self.rows}×{self.columns} outputs each{cut}, runs of {self.run}"


def candidates(problem: Problem, every: bool = False) -> Iterator[tuple[Fft, float]]:
    """Tiles and their expected cycles: those of the sizes that are worth a look, or of every size."""
    axes = Axes.of(problem.contraction)
    for high, wide in EVERY_SIZE if every else sizes(axes):
        fits = _spectrum_bytes(problem.contraction, axes, high, wide, problem.dtypes.sum) <= MOST_SCRATCH
        if fits:
            schedule = _schedule(problem, axes, high, wide)
            yield schedule, _cycles(problem, axes, schedule)


def _schedule(problem: Problem, axes: Axes, high: int, wide: int) -> Fft:
    """Tiles of that size, all alike."""
    parts, part = axes.parts(high, wide)
    n1, lanes, (down, across) = FIRST_REAL[high], problem.lanes, axes.out
    if axes.line:
        rows, columns, down = (high * wide - part[1] + 1) // wide // n1 * n1, wide, -(-across // wide)
    else:
        rows, columns = (high - part[0] + 1) // n1 * n1, (wide - part[1] + 1) // lanes * lanes
    rows, columns = _even(down, rows, n1), columns if axes.line else _even(across, columns, lanes)
    alone = problem.channels == problem.features == axes.planes == math.prod(parts) == 1
    schedule = Fft(high, wide, axes.line, rows, columns, part, parts, 0 if alone else FEATURES, 1, 1)
    strips, tiles = axes.grid(schedule)
    run = -(-tiles // -(-ITEMS // (_repeats(problem, axes) * strips)))
    schedule = replace(schedule, run=run if axes.line else min(max(run, 4), tiles))
    return replace(schedule, share=_share(problem, axes, schedule))


def finer(problem: Problem, schedule: Fft, items: int) -> Fft:
    """The schedule in about so many items: shorter runs of tiles."""
    axes = Axes.of(problem.contraction)
    strips, tiles = axes.grid(schedule)
    blocks = -(-problem.features // schedule.features) if schedule.features else 1
    shares = -(-blocks // schedule.share)
    segments = -(-items // max(_repeats(problem, axes) * strips * shares, 1))
    return replace(schedule, run=min(schedule.run, shared(tiles, segments)))


def _share(problem: Problem, axes: Axes, s: Fft) -> int:
    """Blocks of features of an item: all, or where tiles are few a share, as far as it is worth its own way into the spectra."""
    if not s.features:
        return 1
    strips, tiles = axes.grid(s)
    blocks, items = -(-problem.features // s.features), _repeats(problem, axes) * strips * -(-tiles // s.run)
    depth = _counts(problem, axes, s)[0]
    into, product, out = _tile_cycles(problem, axes, s)
    most = max(int((product + out) / 4 / (depth * into)), 1)  # shares that cost a quarter more
    return -(-blocks // min(blocks, most, -(-SHARES // items)))


def _even(count: int, most: int, multiple: int) -> int:
    """The size of equal shares of `count`, none above `most`, which is a multiple of `multiple` as the size is."""
    return -(-count // (-(-count // most) * multiple)) * multiple


def _repeats(problem: Problem, axes: Axes) -> int:
    """How often the same is done: for images, groups, places along outer axes and phases of rows."""
    return max(problem.batch, 1) * problem.groups * math.prod(s.out for s in axes.outer) * axes.high.dilation


def _cycles(problem: Problem, axes: Axes, s: Fft) -> float:
    """What one image's transforms and products take, times the images: the choice of a tile, which shows in the bits, must not follow
    from batch or layout. So what a layout adds is reckoned for whole arrays, not for tiles."""
    strips, tiles = axes.grid(s)
    depth, _, column, _ = _counts(problem, axes, s)
    into, product, out = _tile_cycles(problem, axes, s)
    reach = _reach(s) * axes.phases
    shared = 0 if s.line or s.features else (s.part[1] - 1) * axes.phases * (tiles - 1) * column
    copied = tiles if problem.dtypes.x != problem.dtypes.sum else min(tiles, 2) * axes.wide.padded
    line = costs.LINE_CYCLES + reach / problem.lanes * costs.COPY_CYCLES
    padding = max(axes.wide.extent - axes.wide.size, 0) * costs.FFT_PADDING
    lines = depth * s.high * (tiles * costs.PLACE_CYCLES + copied * line + padding)
    apart = sum(math.prod(shape) for shape in (problem.x_shape, problem.y_shape) if problem.last and shape[-1] > 1)
    each = tiles * (depth * into + product + out) - shared + lines
    return _repeats(problem, axes) * strips * each + apart * costs.FFT_APART


def _tile_cycles(problem: Problem, axes: Axes, s: Fft) -> tuple[float, float, float]:
    """Of a tile: into the spectrum of one depth entry, all products, and out of the spectra of all features."""
    depth, features, column, row = _counts(problem, axes, s)
    into = axes.phases * (_reach(s) * column + row)
    out = axes.phases * (problem.features * s.columns * column + features * row)
    if not s.features:
        return into, 0.0, out
    near = features * depth * s.high * s.wide * problem.bytes <= problem.machine.l2 * 3 // 4
    pairs = axes.phases * features * depth * (s.high // 2 // problem.lanes) * s.wide
    return into, pairs * (costs.FFT_PRODUCT if near else costs.FFT_FAR_PRODUCT), out


def preparing(problem: Problem, found: Sequence[tuple[Fft, float]]) -> float:
    """Cycles that the transforms of the kernels take by the best of some schedules."""
    s, _ = min(found, key=lambda choice: choice[1])
    depth, features, column, row = _counts(problem, Axes.of(problem.contraction), s)
    pairs = s.high // 2 // problem.lanes * s.wide
    return problem.groups * features * depth * (_reach(s) * column + row + pairs * costs.FFT_KEPT)


def _counts(problem: Problem, axes: Axes, s: Fft) -> tuple[int, int, float, float]:
    """Depth entries and features of a group, and the cycles of a column of a tile and of all its rows, one way."""
    depth = problem.channels * axes.planes * math.prod(s.parts)
    features = max(-(-problem.features // max(s.features, 1)) * s.features, 1)
    column = s.high / problem.lanes * costs.FFT_COLUMN * math.log2(s.high)
    far = max(math.log2(s.high * s.wide * problem.bytes * 3 / problem.machine.l1), 0)
    place = costs.FFT_ROW * math.log2(s.wide) + costs.FFT_FAR * far + costs.FFT_FACTOR * s.line
    row = s.high // 2 // problem.lanes * s.wide * place
    return depth, features, column, row


def _reach(s: Fft) -> int:
    """Columns of a phase that a tile transforms."""
    return s.wide if s.line else s.columns + s.part[1] - 1
