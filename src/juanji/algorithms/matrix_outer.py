"""The gradient of shared weights by the matrix unit: how its sum is cut into blocks, schedules and costs.

Numbers are cut into the unit's as for outputs (`matrix`). The sum is cut into chunks of output positions whose numbers of x and dy the
second cache holds, and a chunk's positions into blocks of a few steps of 32. The unit adds what a block has, which is then added to the
sums of the blocks before, so that no chain of roundings is long. The root mean square error of float32 sums over that of the direct sum is
0.3 to 0.75 channels-first and 0.6 to 1.15 channels-last, where blocks of the direct sum are shorter. An infinity may give NaN instead, in
all weights of its channel or feature: what stands between two lines is multiplied by zeros.

Weights of one tap, whose operands are read where they lie, have a tile of their own (`matrix_pointwise`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs, matrix_pointwise
from juanji.algorithms.direct import Job, Work, add_segments
from juanji.algorithms.loops import Spatial
from juanji.algorithms.matrix_layout import Numbers, numbers
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.algorithms.splitting import shared
from juanji.algorithms.weights import Weights, aligned_to
from juanji.boundary import Boundary
from juanji.contraction import lower
from juanji.jit.emit import LINE
from juanji.jit.matrix_outer import PAIRS, STEP, emit_matrix_outer, order
from juanji.jit.matrix_outer_code import MatrixOuterCode
from juanji.jit.program import Program
from juanji.jit.tiles import ROWS, TILE
from juanji.machine import Machine
from juanji.spec import NO_EPILOGUE, Convolution, itemsize

Table = npt.NDArray[np.int64]

REGISTER_TILES = ((2, 2), (4, 1), (1, 2), (1, 1))  # rows × columns of accumulators
NEAR = 3 / 8  # of the second cache that panels may take without being in each other's way
MOST_POSITIONS = 1 << 13  # of a chunk
BLOCK = 5  # steps whose products the unit adds to one another, at most
NUMBER, WORD = 2, 4  # bytes of a number of the unit, and of a pair of them

# Cycles, measured as those of `costs`: gradients of the layers of both networks of `bench`, beside the direct sum.
PRODUCT, LOAD_A, LOAD_B = 16.0, 5.0, 2.5  # of two tiles; of a tile of channels or of features, beside its products
CROSSING = 42.0  # of a tile of channels under a tap, whose rows begin anywhere in a line, at the same time as products
SLOWER = 1.45  # times both: the processor's clock when its unit is busy, and tiles that come from the second cache
TILE_CYCLES = 65.0
LEAVE, FAR_LEAVE = 64.0, 250.0  # per accumulator whose sums are taken up and put down for another chunk, in the second cache or beyond
CUT, TURN, JOIN = 0.9, 430.0, 275.0  # per number of a plane; per square of 32 positions that is turned, or whose pixels are joined
PARTED = 0.2  # per number of a line that is parted into phases
FAR = 1.2  # times that for the part of the second cache that panels take beyond what is near
STORE = 22.0  # per vector of weights


@dataclass(frozen=True)
class MatrixOuter:
    """A register tile of rows × columns accumulators; the features in `splits` shares."""

    rows: int
    columns: int
    splits: int

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code."""
        return "matrix outer", self.rows, self.columns

    def __str__(self) -> str:
        return f"matrix unit, {self.rows * ROWS} channels × {self.columns * ROWS} features, {self.splits} shares of the features"


class Places:
    """Where the padded input under a box of outputs lies in a plane, counted in numbers.

    reach: of the box along each axis. phases: of the stride that taps meet. pitch: from one output to the next. apart: from one phase
    to the next; those of the innermost axis lie furthest apart, as its lines have all phases where others have those that taps meet.
    positions: that the outputs stretch over, `steps` rows of tiles. lines: that a plane's lines take up while they wait. tap: from the
    first tap of each axis to each. end: behind the last place that is read, or written.
    """

    def __init__(self, spatial: Sequence[Spatial], box: Sequence[int]):
        self.reach = [(b - 1) * s.stride + s.reach for b, s in zip(box, spatial, strict=True)]
        self.phases = [min(s.stride, s.reach) for s in spatial]
        rows = [-(-length // s.stride) for length, s in zip(self.reach, spatial, strict=True)]
        rows[-1] = aligned_to(rows[-1], NUMBER)  # so that each line of outputs begins with a pair
        self.pitch = [math.prod(rows[i + 1 :]) for i in range(len(rows))]
        phase = math.prod(rows) + (STEP if math.prod(self.phases) > 1 else 0)  # what is written goes on behind a line's end
        self.apart = [phase * math.prod(self.phases[:i]) for i in range(len(rows))]
        self.positions = 1 + sum((b - 1) * pitch for b, pitch in zip(box, self.pitch, strict=True))
        self.steps = -(-self.positions // STEP)
        self.lines = self.apart[-1] * spatial[-1].stride
        self.tap = [_places(s, *steps) for s, *steps in zip(spatial, self.pitch, self.apart, strict=True)]
        written = self.apart[-1] * self.phases[-1] - rows[-1] + aligned_to(rows[-1], STEP)
        self.end = aligned_to(max(sum(map(max, self.tap)) + self.steps * STEP, written), STEP)

    @property
    def taps(self) -> Table:
        """From the first place that an output sees to each, in order."""
        found = np.zeros((), np.int64)
        for along in self.tap:
            found = found[..., None] + np.array(along, np.int64)
        return found.reshape(-1)


def _places(axis: Spatial, pitch: int, apart: int) -> list[int]:
    """From the first tap of an axis to each."""
    at = range(0, axis.kernel * axis.dilation, axis.dilation)
    return [place % axis.stride * apart + place // axis.stride * pitch for place in at]


class Panels(Weights):
    """The sum's blocks and the panels of one: planes of channels, words of features."""

    def __init__(self, problem: Problem, weight_layout: str, of: Numbers):
        self.of = of
        super().__init__(problem, weight_layout)
        self.places = Places(self.spatial, self.box)
        self.blocks_c = -(-problem.channels // ROWS)

    def _axes(self) -> tuple[tuple[Spatial, ...], int]:
        """Images are the outermost axis where lines wait anyway: a chunk of several small ones takes its sums up but once."""
        spatial, batch = self.problem.loops.spatial, self.problem.batch
        if batch == 1 or len(spatial) == 1:
            return spatial, batch
        return (Spatial(batch, batch, 1, 1, 1, 0, Boundary(), 0, 0), *spatial), 1

    def _in_rows(self) -> bool:
        return False

    def _lanewise(self, across: int) -> int:
        return 0

    def _dot(self) -> bool:
        return False

    def _box(self) -> tuple[int, ...]:
        """Equal shares of the outputs whose panels the second cache can hold, whole lines if that can be: the one with least to do.

        Products of the gaps between lines count, input that several boxes' windows reach over, and sums that are taken up for each box.
        """
        *outer, wide = self.spatial
        fitting = dict[tuple[int, ...], float]()
        for line in sorted({min(aligned_to(share, STEP), wide.out) for share in _shares(wide.out)}, reverse=True):
            boxes = [(*lines, line) for lines in itertools.product(*(_shares(s.out) for s in outer))]
            cycles = {box: self._cycles(box) for box in boxes}
            fitting |= {box: count for box, count in cycles.items() if count is not None}
            if fitting and outer:
                break
        return min(fitting, key=lambda box: fitting[box]) if fitting else (1,) * len(outer) + (min(STEP, wide.out),)

    def _cycles(self, box: tuple[int, ...]) -> float | None:
        """What all images take with a box, by the tile that is best for most; None if its panels have no room."""
        problem, places = self.problem, Places(self.spatial, box)
        across = aligned_to(problem.channels, ROWS) + aligned_to(problem.features, ROWS)
        share = self.of.parts * NUMBER * across * places.end / problem.machine.l2
        if share > 1 or places.end > MOST_POSITIONS:
            return None
        boxes = math.prod(-(-s.out // b) for s, b in zip(self.spatial, box, strict=True))
        tiles = -(-problem.channels // ROWS) * problem.kernel * -(-problem.features // ROWS)
        leave = LEAVE if tiles * TILE < problem.machine.l2 // 2 else FAR_LEAVE
        sums = tiles * leave if boxes * self.images > 1 else 0.0
        products = places.steps * SLOWER * PRODUCT * len(PAIRS[self.of.parts]) * tiles
        return boxes * (products + self.filling(places, box) * (1 + FAR * max(share - NEAR, 0)) + sums)

    def filling(self, places: Places, box: Sequence[int]) -> float:
        """Cycles to fill the panels of a chunk."""
        problem, wide, lanes = self.problem, self.spatial[-1], self.problem.lanes
        square = NUMBER * lanes
        lines, across = math.prod(places.reach[:-1]), places.reach[-1]
        errors = math.prod(box[:-1]) * -(-box[-1] // square) * -(-problem.features // lanes)
        if problem.last:
            pixels = lines * places.phases[-1] * -(-across // (wide.stride * square)) * -(-problem.channels // lanes)
            copies = 0.0 if self.in_place else lines * (costs.LINE_CYCLES + across * problem.channels / lanes * costs.COPY_CYCLES)
            return pixels * TURN + copies + errors * JOIN
        one = costs.COPY_CYCLES / lanes if wide.stride == 1 else PARTED
        copies = 0.0 if self.in_place else lines * (costs.LINE_CYCLES + across * one)
        return problem.channels * (CUT * places.end + copies) + errors * TURN

    @property
    def in_place(self) -> bool:
        """Whether lines of x are cut or turned where they lie."""
        straight = self.problem.last or (len(self.spatial) == 1 and self.spatial[0].stride == 1)
        return straight and not any(s.padded for s in self.spatial)

    @property
    def tiles(self) -> int:
        """Tiles of channels and taps."""
        return self.blocks_c * self.problem.kernel

    @property
    def tap_of(self) -> tuple[Table, Table]:
        """The channel and the tap of each i."""
        channels, kernel = self.problem.channels, self.problem.kernel
        i = np.arange(self.count)
        tap, channel = (i % kernel, i // kernel) if self.channels_first else (i // channels, i % channels)
        turned = self.problem.contraction.w.offset > 0  # a kernel turned by 180° lies from its last tap to its first
        return channel, kernel - 1 - tap if turned else tap


def _shares(out: int) -> list[int]:
    """The lengths that equal shares of an axis can have, the longest first."""
    return sorted({-(-out // parts) for parts in range(1, out + 1)}, reverse=True)


def work(spec: Convolution, machine: Machine) -> Work:
    """The gradient of the weights; where the sum is cut into segments each leaves an array of its own, and these are added in order."""
    of = numbers(spec.dtypes.x, spec.dtypes.y)
    assert of is not None  # `matrix.accepts` has looked
    dtypes = spec.dtypes._replace(sum="float32")
    problem = Problem(replace(lower(spec), taps=None), dtypes, NO_EPILOGUE, machine)
    find = matrix_pointwise.job if matrix_pointwise.accepts(problem) else _job
    sums, job = find(problem, spec.weight_layout, of)
    problem.goal = int(sums.segments > 1)
    more = ((sums.segments, *spec.w_shape),) if sums.segments > 1 else ()
    after = add_segments if more else None
    return Work((job,), "float32", spec.dtypes.w == "float32", more, "sums of segments, added in order", after=after)


def _job(problem: Problem, weight_layout: str, of: Numbers) -> tuple[Weights, Job]:
    """How the sum is cut, and what computes it."""
    panels = Panels(problem, weight_layout, of)
    return panels, Job(partial(_candidates, panels), partial(_program, panels), partial(_finer, panels))


def _candidates(panels: Panels) -> Iterator[tuple[MatrixOuter, float]]:
    """Register tiles and their expected cycles."""
    for rows, columns in REGISTER_TILES:
        if (columns == 1 or panels.features > ROWS) and (rows == 1 or panels.tiles > 1):
            yield MatrixOuter(rows, columns, 1), _cycles(panels, rows, columns)


def _finer(panels: Panels, schedule: MatrixOuter, items: int) -> MatrixOuter:
    """The schedule in about so many items."""
    blocks = -(-panels.features // (schedule.columns * ROWS))
    share = shared(blocks, -(-items // (panels.segments * panels.groups)))
    return replace(schedule, splits=-(-blocks // share))


def _cycles(panels: Panels, rows: int, columns: int) -> float:
    """Expected cycles of a schedule."""
    problem, places, parts = panels.problem, panels.places, panels.of.parts
    blocks, groups = -(-panels.features // (columns * ROWS)), -(-panels.tiles // rows)
    loads = [move.what for move in order(parts, rows, columns) if move.what != "multiply"]
    crossing = CROSSING if problem.kernel > 1 else 0.0
    step = max(PRODUCT * rows * columns * len(PAIRS[parts]), crossing * loads.count("a"))
    step += LOAD_A * loads.count("a") + LOAD_B * loads.count("b")
    tiles = blocks * groups * (places.steps * step * SLOWER + -(-places.steps // BLOCK) * TILE_CYCLES)
    stored = panels.segments * panels.groups * panels.count * -(-panels.features // problem.lanes) * STORE
    return panels.images * panels.chunks * panels.groups * (tiles + panels.filling(places, panels.box)) + stored


def _program(panels: Panels, schedule: MatrixOuter) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, spatial, places, parts = panels.problem, panels.spatial, panels.places, panels.of.parts
    dtypes, rows, columns = problem.dtypes, schedule.rows, schedule.columns
    code = MatrixOuterCode(
        x=dtypes.x,
        dy=dtypes.y,
        parts=parts,
        axes=len(spatial),
        planar=not problem.last,
        in_place=panels.in_place,
        stride=1 if problem.last or panels.in_place else spatial[-1].stride,
        turned=panels.turned,
        rows=rows,
        columns=columns,
    )
    width = columns * ROWS
    blocks_f = -(-panels.features // width)
    share = -(-blocks_f // schedule.splits)

    # Scratch: a line of pixels, or all lines of a plane, as float32; planes and words, once for each part; sums, and what waits for them.
    pixel = problem.channels * 4
    lines = 0 if panels.in_place else aligned(pixel * places.reach[-1] if problem.last else max(places.lines, places.end) * 4) + LINE
    plane = aligned(places.end * NUMBER) | LINE  # an odd number of lines, so that planes meet in no set of a cache
    part_x = panels.blocks_c * ROWS * plane
    words_f = (places.steps + 1) * TILE  # zeros behind the last line may reach a tile further
    part_dy = share * columns * words_f + LINE
    at_words = lines + parts * part_x
    sums = aligned(at_words + parts * part_dy)
    tile, count = columns * TILE, aligned_to(panels.tiles, rows)
    block = -(-places.steps // -(-places.steps // BLOCK))
    # Where a segment is one chunk, the sums of one block of features leave before those of the next are begun.
    step_f = count * tile if panels.segments < panels.chunks * panels.images else 0
    waiting = sums + (share - 1) * step_f + count * tile + LINE

    starts = np.add.outer(np.arange(panels.blocks_c, dtype=np.int64) * ROWS * plane, places.taps * NUMBER).reshape(-1)
    starts = np.append(starts, np.repeat(starts[-1:], count - panels.tiles))
    channel, tap = panels.tap_of
    goals = (channel // ROWS * problem.kernel + tap) * tile + channel % ROWS * (width * WORD)
    goals = np.append(goals, np.repeat(goals[-1:], max(problem.lanes - len(goals), 0)))  # the last square is read whole
    tables = Tables(problem, spatial, starts, goals)
    whole = problem.last and problem.groups == 1
    simple = len(spatial) == 1 and problem.kernel == 1 and (problem.last or panels.in_place)  # what is read is written
    words = {
        **panels.words, "constants": tables.constants, "map_w": tables.maps[-1], "map_tiles": tables.offsets, "map_goals": tables.goals,
        "phase": places.apart[-1] * 4, "line": 0, "slack": 0, "channels_all": problem.channels, "panel_c": problem.channels, "panels": 1,
        "ps_b": 0, "whole": int(whole), "pixel": pixel, "run": places.end, "planes": lines, "plane": plane, "part_x": part_x,
        "words": at_words, "words_f": words_f, "part_dy": part_dy, "clean": 0 if simple else sums, "sums": sums, "step_f": step_f,
        "waiting": waiting, "block": block, "piece": -(-rows * tile // (problem.lanes * WORD * block)),
        "tiles": panels.tiles, "blocks_f": blocks_f, "split": share, "splits": -(-blocks_f // share),
        "stream": int(math.prod(problem.contraction.w.shape) * itemsize(dtypes.sum) > problem.machine.l2),
    }  # fmt: skip
    for i in range(len(spatial)):
        words |= {f"map{i}": tables.maps[i], f"phases{i}": places.phases[i], f"apart{i}": places.apart[i], f"pitch{i}": places.pitch[i]}
    return Program(
        code=code,
        emit=emit_matrix_outer,
        names=code.names,
        words=words,
        x_axes=panels.x_axes,
        close=problem.close_in_chunks(panels.in_place or not whole),
        items=panels.segments * panels.groups * -(-blocks_f // share),
        scratch=waiting + 2 * rows * tile,
        pack_weights=panels.errors,
        pack_bias=np.ascontiguousarray,
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        goal=problem.goal,
    )
