"""Schedules of the space tile: how many rows, features and vectors, and how large the blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from juanji.algorithms import costs
from juanji.algorithms.loops import NO_AXIS, Spatial
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.algorithms.splitting import shorter
from juanji.boundary import ZERO
from juanji.jit.lanes import moves
from juanji.jit.program import Program
from juanji.jit.space import SpaceCode, emit_space

# Cycles, measured as those of `costs` and on the same machine.
SECOND_CACHE_LINE = 2.0  # loads that a vector from the second cache counts for
WEIGHT_LOADS = 0.85  # loads that a weight counts for: a single number
TILE_CYCLES = 23.0  # to start a tile
STORE_CYCLES, JOINED_CYCLES = 2.9, 1.5  # per vector of sums that is put down: alone, and together with others in one of bytes
LINE_STEP, TAP_STEP = 1.7, 1.5  # per line that a tile meets, and per column of taps where a block has several channels
LINE_CYCLES = 40.0  # to start a line
COPY_CYCLES, PARTED_CYCLES = 2.2, 5.0  # per vector of a line that is copied, and cut into phases
MOVE = 0.5  # per shuffle of a vector, beside what else is done
TURN_CYCLES = 7.0  # per vector of a line that comes out of a square of pixels × channels
MASK_CYCLES = 1.0  # per vector that is read beside the end of a row
MOST_MASKED = 16  # tiles of a row, up to which masks are worth code of their own
MOST_BUFFERED = 4  # tiles of a row, from which on only the first and the last go through line buffers
FEWEST_ASKING = 16  # products of a sum, from which on there is time to ask memory for the rows below
FEWEST_MOVED = 6  # taps of a row, from which on some of its vectors are made of others
MOST_FEW = 8  # planes, by channel and phase, that pixels are taken apart into as they lie
MOST_PIXELWISE = 12  # features that are put together as pixels have them


@dataclass(frozen=True)
class Space:
    """Lanes along the innermost spatial axis; a tile of rows × features × vectors."""

    rows: int
    features: int
    vectors: int
    block: int  # columns
    ends: int  # columns of the first and the last block, which need line buffers where the others need none; 0: like the others
    band: int  # rows of an item
    features_inside: bool  # the loop over features inside the one over columns

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "space", self.rows, self.features, self.vectors, self.features_inside

    def __str__(self) -> str:
        tile = f"{self.rows} rows × {self.features} features × {self.vectors} vectors"
        return f"space tile {tile}, blocks of {self.block} columns, bands of {self.band} rows"


def candidates(problem: Problem) -> Iterator[tuple[Space, float]]:
    """Every tile that fits the registers, its blocks, and its expected cycles."""
    machine = problem.machine
    *outer, high, wide = _axes(problem)
    depth = problem.channels * math.prod(s.kernel for s in outer)
    taps = high.kernel * wide.kernel if problem.taps is None else len(problem.taps)
    repeats = problem.batch * problem.groups * math.prod(s.out for s in outer)
    near = _in_place(problem)
    every = {problem.features} if _pixelwise(problem) else {1, 2, 3, 4, 6, 8}
    for rows, features, vectors in itertools.product((1, 2, 3, 4, 5, 6, 8), sorted(every), range(1, 9)):
        sums = rows * features * vectors
        if vectors > 4 and sums > vectors and wide.out not in (vectors * problem.lanes, 2 * vectors * problem.lanes):
            continue  # more vectors are for chains that would else wait for each other, and for short rows that they fill
        if rows > high.out or features > problem.features or sums + vectors + 1 > machine.registers:
            continue
        width = vectors * problem.lanes
        window = (rows - 1) * high.stride + (high.kernel - 1) * high.dilation + 1
        met = len({r * high.stride + k * high.dilation for r in range(rows) for k in range(high.kernel)})
        alone = problem.features * taps * depth if high.out == 1 else 0
        weights = taps * depth * problem.features * problem.bytes
        features_inside = weights + window * depth * (width + wide.reach) * problem.bytes <= machine.l1 * 3 // 4
        features_inside &= problem.features <= costs.NEAR_PLANES  # planes of the output are as far apart as those of the input
        moved = _moved(problem, rows * features, vectors)
        made = depth * wide.kernel * (vectors - 1) / 2 if moved else 0.0
        loads = (depth * met * wide.kernel * vectors - made) * costs.CROSSING + depth * rows * features * taps * WEIGHT_LOADS
        masks = _masks(problem, width, moved)
        ends = 0 if masks else _ends(problem, width)
        block, blocks = _block(wide, width, ends, window * depth * wide.stride * problem.bytes, alone, problem)
        in_first_cache = depth * window * (block * wide.stride + wide.reach) * problem.bytes <= machine.l1
        tile = max((sums * taps * depth + made) / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, taps * depth * costs.FMA_LATENCY)
        tile += sums * _storing(problem, vectors)
        tile += TILE_CYCLES + depth * met * (LINE_STEP if _channel_block(problem) == 1 else LINE_STEP + TAP_STEP * wide.kernel)
        macs = block * rows * problem.features * taps * depth
        band = min(rows * max(costs.ITEM_MACS // max(macs, 1), 1), high.out)
        steps, across = -(-band // rows), -(-problem.features // features)
        fresh = (window + (steps - 1) * min(rows * high.stride, window)) / steps  # lines that a step does not have from the one before
        afar = 0.0  # per tile that does not find its lines in the first cache
        if not in_first_cache:
            afar = met * depth * vectors * SECOND_CACHE_LINE / costs.LOADS_PER_CYCLE / (across if features_inside else 1)
        placed, buffered = (blocks - 2, 2) if ends else (blocks, 0)
        if not (masks or ends or (near and not wide.padded and block >= width)):
            placed, buffered = 0, blocks
        step = 0.0
        if placed:
            far = depth * met * vectors * costs.FAR_LINE if depth * window > costs.NEAR_PLANES else 0.0
            step += placed * (-(-block // width) * across * (tile + afar + far) + depth * window * costs.PLACE_CYCLES)
        if buffered:
            columns = ends or block
            step += buffered * (-(-columns // width) * across * (tile + afar) + depth * fresh * _copying(problem, columns, in_first_cache))
        if masks:
            step += min(blocks * -(-block // width), 2) * across * depth * met * sum(masks) * MASK_CYCLES
        yield Space(rows, features, vectors, block, ends, band, features_inside), repeats * -(-high.out // rows) * step


def _copying(problem: Problem, columns: int, near: bool) -> float:
    """Cycles to put a line of so many columns into its buffer, in the first cache or the second."""
    wide = problem.loops.spatial[-1]
    elements = columns * wide.stride + wide.reach
    further = 0.0 if near else SECOND_CACHE_LINE
    if _turned(problem):  # a line here is that of one channel
        few = _few(problem)
        copy = COPY_CYCLES + MOVE * moves(few * wide.stride) if few else TURN_CYCLES
        return LINE_CYCLES / problem.channels + costs.PLACE_CYCLES + elements / problem.lanes * (copy + further)
    if _unit_x(problem) and wide.stride in (1, 2, 4):
        return LINE_CYCLES + elements / problem.lanes * ((COPY_CYCLES if wide.stride == 1 else PARTED_CYCLES) + further)
    return LINE_CYCLES + elements * costs.SCALAR_CYCLES


def _storing(problem: Problem, vectors: int) -> float:
    """Cycles to store a vector of finished sums."""
    if _pixelwise(problem):
        return costs.STORE_CYCLES + MOVE * moves(problem.features)
    if not _unit_y(problem):
        return costs.SCATTER_CYCLES * problem.lanes
    return JOINED_CYCLES if problem.together > 1 and vectors % problem.together == 0 else STORE_CYCLES


def finer(problem: Problem, schedule: Space, items: int) -> Space:
    """The schedule in about so many items: bands of fewer rows, at least those of a tile."""
    *outer, high, wide = _axes(problem)
    others = problem.batch * problem.groups * math.prod(s.out for s in outer) * _blocks(wide, schedule.block, schedule.ends)
    return replace(schedule, band=shorter(schedule.band, schedule.rows, high.out, items, others))


def program(problem: Problem, schedule: Space) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue = problem.dtypes, problem.epilogue
    axes = _axes(problem)
    *outer, high, wide = axes
    moved = _moved(problem, schedule.rows * schedule.features, schedule.vectors)
    code = SpaceCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        outer=len(outer),
        kernel=(high.kernel, wide.kernel),
        stride=(high.stride, wide.stride),
        dilation=(high.dilation, wide.dilation),
        unit_x=_unit_x(problem),
        unit_y=_unit_y(problem),
        turned=_turned(problem),
        few=_few(problem),
        masks=_masks(problem, schedule.vectors * problem.lanes, moved),
        ahead=_ahead(problem, schedule, moved),
        moved=moved,
        pixelwise=_pixelwise(problem),
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        block=_channel_block(problem),
        taps=None if outer or problem.taps is None else tuple((tap[0] if len(tap) > 1 else 0, tap[-1]) for tap in problem.taps),
        rows=schedule.rows,
        features=schedule.features,
        vectors=schedule.vectors,
        features_inside=schedule.features_inside,
    )
    outer_taps = math.prod(s.kernel for s in outer)
    depth = problem.channels * outer_taps
    width = schedule.vectors * problem.lanes
    slack = schedule.block < width
    columns = max(schedule.block, width) if slack else schedule.block
    phase = aligned(-(-((columns - 1) * wide.stride + wide.reach) // wide.stride) * problem.bytes)
    line = phase * wide.stride
    if code.turned and line // 64 % 2 == 0:
        line += 64  # the lines of a square's channels would share few sets of the first cache
    blocks_w, bands = _blocks(wide, schedule.block, schedule.ends), -(-high.out // schedule.band)
    lead = schedule.block - schedule.ends if schedule.ends else 0
    ys, channel = problem.y_strides, problem.channel_dimension
    tables = Tables(problem, axes)
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low,
        "phase": phase, "line": line * problem.channels if code.turned else line, "line_c": line, "slack": int(slack),
        "groups": problem.groups, "channels": problem.channels,
        "blocks_f": -(-problem.features // schedule.features), "count_f": problem.features, "ys_n": ys[0], "ys_c": ys[channel],
        "ys_h": problem.y_step(high), "ys_w": problem.y_step(wide), "bands": bands, "band": schedule.band, "out_h": high.out,
        "map_h": tables.maps[-2], "blocks_w": blocks_w, "block_w": schedule.block,
        "lead": lead, "tail": schedule.ends, "out_w": wide.out, "depth": depth,
        "blocks": depth // code.block, "outer": outer_taps,
        "stream": int(problem.stream),
    }  # fmt: skip
    for i, axis in enumerate(outer):
        words |= {f"out{i}": axis.out, f"taps{i}": axis.kernel, f"stride{i}": axis.stride, f"dilation{i}": axis.dilation}
        words |= {f"map{i}": tables.maps[i], f"ys{i}": problem.y_step(axis)}
    return Program(
        code=code,
        emit=emit_space,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": channel, "xs_h": high.x, "xs_w": wide.x, **{f"xs{i}": axis.x for i, axis in enumerate(outer)}},
        close=problem.close(unit=code.unit_x or code.turned),
        items=problem.batch * problem.groups * math.prod(s.out for s in outer) * bands * blocks_w,
        scratch=depth * code.window * (8 + line) + 128,
        pack_weights=pack_weights(problem, schedule.features, code.block, overlap=True),
        pack_bias=BiasPacking(dtypes.sum, 1, 1),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


def _axes(problem: Problem) -> tuple[Spatial, ...]:
    """At least two axes: rows and columns."""
    spatial = problem.loops.spatial
    return (NO_AXIS, *spatial) if len(spatial) == 1 else spatial


def _channel_block(problem: Problem) -> int:
    """The description's, or 1 where it makes no difference."""
    return problem.block if problem.kernel > 1 else 1


def _unit_x(problem: Problem) -> bool:
    return not problem.last or problem.x_shape[-1] == 1


def _turned(problem: Problem) -> bool:
    """Whether the lines of all channels are made at once, out of channels-last pixels."""
    return not _unit_x(problem) and (problem.channels >= problem.lanes or _few(problem) > 0)


def _few(problem: Problem) -> int:
    """How many channels are taken apart as they lie, if few are all that pixels have; else 0."""
    planes = problem.channels * problem.loops.spatial[-1].stride
    few = not _unit_x(problem) and problem.groups == 1 and problem.channels > 1 and planes <= MOST_FEW
    return problem.channels if few else 0


def _pixelwise(problem: Problem) -> bool:
    """Whether a tile has all features of pixels and stores them as they lie."""
    few = problem.groups == 1 and 1 < problem.features <= MOST_PIXELWISE
    return few and problem.last and problem.loops.spatial[-1].step == 1


def _in_place(problem: Problem) -> bool:
    """Whether rows of the input are what a tile reads, as far as no window leaves them."""
    return problem.dtypes.x == problem.dtypes.sum and problem.loops.spatial[-1].stride == 1 and _unit_x(problem)


def _masks(problem: Problem, width: int, moved: bool) -> tuple[int, int] | None:
    """Of how many of the first and of the last tap columns tiles so wide may leave a row, where the row can be read where it lies all the
    same: zeros stand outside, no more than a vector of them on either side of a tile."""
    wide = problem.loops.spatial[-1]
    behind = max(width - wide.out, 0) + wide.extent - wide.low - wide.size
    leaves = wide.padded or width > wide.out
    zeros = leaves and wide.boundary == ZERO and max(wide.low, behind) <= problem.lanes
    short = wide.out <= MOST_MASKED * width
    if moved or not (zeros and short and _in_place(problem) and problem.machine.target.masks):
        return None
    half = wide.kernel // 2  # what most paddings need at most, so that these share their code
    left, right = (min(max(-(-outside // wide.dilation), half), wide.kernel) for outside in (wide.low, behind))
    return left, right


def _ahead(problem: Problem, schedule: Space, moved: bool) -> bool:
    """Whether a tile asks for the rows below it: they are read where they lie, beyond the first cache, and it has time to spare. Of blocks
    of several channels it would ask for too much at once."""
    high, wide = _axes(problem)[-2:]
    masks = _masks(problem, schedule.vectors * problem.lanes, moved)
    near = _in_place(problem) and (masks is not None or schedule.ends > 0 or not wide.padded)
    far = math.prod(problem.x_shape) * problem.bytes > problem.machine.l1
    spare = problem.channels * problem.kernel >= FEWEST_ASKING and _channel_block(problem) == 1
    return near and far and spare and high.out > schedule.rows


def _ends(problem: Problem, width: int) -> int:
    """Columns of the first and last block, which alone go through line buffers, where others between them need none; else 0."""
    wide = problem.loops.spatial[-1]
    outside = max(wide.low, wide.extent - wide.low - wide.size)
    return width if _in_place(problem) and 0 < outside <= width and wide.out >= MOST_BUFFERED * width else 0


def _moved(problem: Problem, lines: int, vectors: int) -> bool:
    """Whether a tile of one row and one feature, whose every load serves one multiply-add, makes half of its vectors in registers."""
    wide = problem.loops.spatial[-1]
    alone = lines == 1 and problem.kernel == wide.kernel >= FEWEST_MOVED and _channel_block(problem) == 1
    floats = problem.dtypes.sum.startswith("float")  # products of long integers take longer than loads
    return alone and floats and vectors > 1 and wide.stride == wide.dilation == 1 and problem.taps is None


def _unit_y(problem: Problem) -> bool:
    unit = not problem.last or problem.y_shape[-1] == 1
    return unit and problem.loops.spatial[-1].step == 1


def _blocks(wide: Spatial, block: int, ends: int) -> int:
    """How many blocks a row is cut into."""
    return (2 if ends else 0) + -(-(wide.out - 2 * ends) // block)


def _block(wide: Spatial, width: int, ends: int, window: int, alone: int, problem: Problem) -> tuple[int, int]:
    """Columns of a block, and how many blocks: the lines of a window fill a third of the first cache, or half of the second.

    alone: multiply-adds of a column where there is but one row, whose blocks are then all the items that threads can share.
    """
    room = problem.machine.l1 // 3 if window * 8 * width < problem.machine.l1 else problem.machine.l2 // 2
    most = max(room // window // width, 4) * width
    if _turned(problem):  # lines are made a square at a time, so that short ones cost no more
        most = max(problem.machine.l1 * 3 // 4 // window // width, 1) * width
    elif alone:
        least = max(4 * width, costs.SHORT_RUN // problem.bytes)
        most = min(most, max(costs.ITEM_MACS // alone, least) // width * width)
    out = wide.out - 2 * ends
    even = -(-out // -(-out // most))
    if out >= width:
        even = min(-(-even // width) * width, out)
    return even, _blocks(wide, even, ends)
