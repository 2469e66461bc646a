"""The direct sum on the matrix unit: products of 16 pixels × 32 numbers by 32 numbers × 16 features, 16 times the rate of vectors.

The unit multiplies bfloat16 numbers and adds in float32 (`jit.tiles` says how it rounds).

    bfloat16    each number is one of the unit's
    float16     x = x₁ + x₂, both bfloat16, exactly: 11 digits are 8 and 3. Four products, none left out
    float32     x = x₁ + x₂ + x₃, exactly: 24 digits are three times 8. Of the nine products of two such sums the six largest are
                added: x₁w₁, x₁w₂, x₂w₁, x₂w₂, x₁w₃, x₃w₁. Each part is the nearest to what is left, so that |x₂| ≤ 2⁻⁸|x| and
                |x₃| ≤ 2⁻¹⁶|x|, and the others, x₂w₃ and less, are 2⁻²⁴ of the product and of both signs
    int8, uint8 int32 sums, exact: taken where no partial sum can leave int32

Gradients of weights are computed with the same numbers, in blocks of positions (`matrix_outer`).

Every product of parts is exact in float32, and 32 neighbours are added apart from the running sum, so that fewer and smaller roundings
meet than in one chain. The root mean square error of float32 sums over that of the direct sum, 8 to 2048 channels, 1 to 49 taps, is 0.4
to 0.6 for normal numbers, 0.6 to 0.9 for numbers of many sizes, 0.3 to 0.65 for sums of one sign; the largest error likewise. So the
planner may choose it (`tests/test_matrix.py` holds it to ERRORS).

What differs from IEEE arithmetic, and why precision="strict" keeps to the direct sum: subnormal numbers and sums count as zeros; float32
numbers below 1e−33 lose digits, since their parts are subnormal; an infinity may give NaN instead, as do float32 numbers above 3.39e38,
whose first part is infinite; where channels and taps are so few that a window fills no step, it also reaches outputs whose windows end
shortly before it.

The order of the sum (blocks of channels, taps, channels; or, of few channels, taps of two axes and channels together) follows from the
description of one image alone. So neither batch, threads, views, layouts nor schedules show in the bits. Products are exact and each sum
adds its own in the same order whichever of both operands has the pixels, so that a tile may have them as rows or as columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from juanji import machine as machines
from juanji.algorithms import costs, direct
from juanji.algorithms.direct import Job, Work
from juanji.algorithms.matrix_layout import Blocks, Layout, Numbers, Unfolded, every, layout, numbers, unfolded
from juanji.algorithms.matrix_phases import Phases, by_region, together
from juanji.algorithms.matrix_program import Matrix, program
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shared, smaller
from juanji.contraction import lower
from juanji.exact import limits
from juanji.jit import lanes
from juanji.jit.matrix import moves
from juanji.jit.matrix_code import PAIRS
from juanji.jit.tiles import ROWS, TILE
from juanji.machine import Machine
from juanji.spec import Convolution, itemsize

ERRORS = {"float32": 1.0}  # root mean square and largest, over the direct sum's
REGISTER_TILES = ((2, 2), (4, 1), (1, 2), (1, 1))  # rows × columns of accumulators
ROOMS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)  # of the second cache that a panel may take
OUTPUTS = 8  # its share that outputs may take which leave in pieces of pixels
ITEM_MACS = 8 << 20  # an item of work should not be smaller
FEWEST_ITEMS = 8

# Cycles, measured as those of `costs` and on the same machine: layers of both networks of `bench`, all schedules, three kinds of numbers.
PRODUCT, LOAD = 16.0, 2.5  # of two tiles; of a tile, beside its products
FAR_X, FAR_W = 13.0, 7.0  # of a tile of pixels under one tap, of weights that the first cache does not hold
STREAM = 0.053  # per byte of input, weights or output that the second cache does not hold
LARGE_PANEL = 0.15  # per byte of a panel that takes more than a third of it
FAR_PANEL = 0.05  # per byte of an unfolded one beyond half of it; of one for several phases beyond a third, each time it is read
ACROSS = 24.0  # of a tile of pixels whose rows lie in two cache lines each
SPREAD = 0.065  # per byte of outputs that are written in pieces of pixels, and more than the second cache takes so
TILE_CYCLES, SHORT_TILE = 65.0, 180.0  # of a register tile; of one of few channels, whose sums are short
ROW, STORE, TURNED = 5.5, 1.5, 5.5  # to begin a row of sums that leaves; per vector of it; per vector that leaves transposed
PARTIAL = 12.0  # more for a pixel that has fewer features than a tile
EXPOSED = 0.15  # per accumulator, of the shorter of products and stores: the more of them, the less of the next ones is in sight
COPY, TURN, CUT = 6.5, 9.5, 3.0  # per row of a tile that a panel gets; and for each part that is turned, that it is cut into
PLANE, JOIN = 20.0, 4.0  # to begin a plane of a line that is unfolded; per vector of words and part
FAR_STORE = 0.2  # per byte of outputs of few channels, at the same time as products, where they take half of the second cache
FAR_ROW = 14.0  # to begin a row of these in a plane
PREPARING, PREPARING_CALL = 0.7, 2e4  # per weight and part, and to begin


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description."""
    if not spec.shared or spec.taps is not None:
        return "its weights are shared, and none of them skipped"
    read = [getattr(spec.dtypes, name) for name in {"y": "xw", "x": "yw", "w": "xy"}[produces]]
    of = numbers(*read)
    if of is None:
        return f"no products of {read[0]} with {read[1]}"
    reason = whole(spec, produces) if of.total == "int32" else _rounded(spec, of)
    if reason is None and not machines.probe().peak_matrix:
        return "this processor has no matrix unit that the process may use"
    return reason


def _rounded(spec: Convolution, of: Numbers) -> str | None:
    """The same for sums of floats."""
    if spec.dtypes.sum != "float32":
        return f"no sums in {spec.dtypes.sum}"
    if spec.dtypes.y not in ("bfloat16", "float16", "float32"):
        return f"it writes no {spec.dtypes.y}"
    if of.parts < 3 and any(b.constant and b.value != 0 for b in spec.boundary):
        return f"constants outside need not be {spec.dtypes.x}"
    return None


def whole(spec: Convolution, produces: str) -> str | None:
    """None, or why a product of integers has no exact sums in int32, which holds those that float32 carries as well."""
    if produces != "y":
        return "it computes no gradients of integers"
    if spec.dtypes.y.startswith("float"):
        return f"it writes no {spec.dtypes.y}"
    if not spec.dtypes.integers or spec.dtypes.sum not in ("float32", "int32"):
        return f"no sums in {spec.dtypes.sum}"
    least, most = limits(spec.dtypes.x)
    if any(b.constant and not least <= b.value <= most for b in spec.boundary):
        return f"what stands outside does not fit {spec.dtypes.x}"
    return None


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y"), the gradient of the input ("x") or of the weights ("w")."""
    if produces == "w":
        from juanji.algorithms import matrix_outer  # which outputs do not need

        return matrix_outer.work(spec, machine)
    of = numbers(spec.dtypes.x if produces == "y" else spec.dtypes.y, spec.dtypes.w)
    assert of is not None  # `accepts` has looked
    if produces == "y":
        problem = Problem(lower(spec), spec.dtypes._replace(sum="float32"), spec.epilogue, machine, overflow=spec.overflow)
        found = Work((job(problem, of),), spec.dtypes.y)
    else:
        found = direct.grad_input(spec, machine, join=partial(_phases, of))
    return replace(found, preparing=PREPARING_CALL + PREPARING * of.parts * math.prod(spec.w_shape))


def job(problem: Problem, of: Numbers) -> Job:
    """A gathering contraction by the matrix tile."""
    return Job(partial(candidates, problem, of), partial(program, problem, of), partial(finer, problem))


def job_of_phases(phases: Phases, of: Numbers) -> Job:
    """Phases of a gradient by the kernel that computes them together."""
    whole = phases.whole
    return Job(partial(candidates, whole, of, phases), partial(program, whole, of, phases=phases), partial(finer, whole))


def _phases(of: Numbers, problems: Sequence[Problem]) -> list[Job]:
    """Phases of gradients, together where that is faster; strips of border are too small for the unit."""
    jobs: list[Job] = []
    for group in by_region(problems):
        if group[0].goal:
            jobs += map(direct.tile, group)
            continue
        apart, one = [job(problem, of) for problem in group], together(group, of)
        if one is not None:
            joined = job_of_phases(one, of)
            least = [costs.START_CYCLES + min(cycles for _, cycles in each.candidates()) for each in (joined, *apart)]
            apart = [joined] if least[0] < sum(least[1:]) else apart
        jobs += apart
    return jobs


# Schedules ------------------------------------------------------------------------------------------------------------------


def candidates(problem: Problem, of: Numbers, phases: Phases | None = None) -> Iterator[tuple[Matrix, float]]:
    """Register tiles, with chunks for the caches, and their expected cycles; phases: of which the problem is the whole."""
    for rows, columns in REGISTER_TILES:
        blocks = -(-problem.features // (columns * ROWS))
        if columns > 1 and problem.features <= ROWS:
            continue
        for panel in (True, False):
            if not panel and (phases or not _lies_so(problem, of)):
                continue
            for box in _boxes(problem, of, panel):
                chunks = math.prod(-(-s.out // b) for s, b in zip(problem.loops.spatial, box, strict=True))
                if not panel and any(s.out % b for s, b in zip(problem.loops.spatial, box, strict=True)):
                    continue
                splits = _splits(problem, chunks, blocks)
                schedule = Matrix(rows, columns, box, -(-blocks // splits), panel, phases.line if phases else 0)
                yield schedule, _cycles(problem, of, schedule, chunks, phases)


def _lies_so(problem: Problem, of: Numbers) -> bool:
    """Whether the input can be read where it lies, and some tile can end at the last window, so that none reads past the input."""
    spatial = problem.loops.spatial
    if not problem.last or of.parts > 1 or problem.channels % of.row or any(s.padded for s in spatial):
        return False
    where = Blocks(problem, of, [s.out for s in spatial], panel=False)
    return problem.loops.pixels >= ROWS and not any(step % where.pitch for step in where.outer)


def _boxes(problem: Problem, of: Numbers, panel: bool) -> list[tuple[int, ...]]:
    """Output positions of a chunk: whole inner axes first, until the panel takes a share of the second cache, or the outputs one."""
    spatial = problem.loops.spatial
    wide = spatial[-1]
    pixel = problem.channels * of.size * of.parts
    found = set[tuple[int, ...]]()
    pixels = max(problem.machine.l2 // OUTPUTS // _output(problem), 2 * ROWS)
    steps = [min(s.stride, s.reach) for s in spatial[:-1]] + [wide.stride // (every(problem) if panel else 1)]
    reaches = [s.reach for s in spatial]
    if unfolded(problem, of):
        pixel, steps[-1], reaches[-1] = pixel * wide.kernel, 1, 1
    rooms = [(int(problem.machine.l2 * room), problem.loops.pixels) for room in ROOMS]
    for room, left in (*rooms, (problem.machine.l2 // 2, pixels)):
        box = [1] * len(spatial)
        for axis in reversed(range(len(spatial))):
            behind = slice(axis + 1, None)
            inner = math.prod((b - 1) * step + reach for b, step, reach in zip(box[behind], steps[behind], reaches[behind], strict=True))
            s = spatial[axis]
            most = max((room // (inner * pixel) - reaches[axis]) // steps[axis] + 1, 1)
            if axis == len(spatial) - 1:
                most = max(most, ROWS)
            most = min(most, max(left // math.prod(box[axis + 1 :]), 1))
            box[axis] = _share(s.out, most, even=not panel)
            if box[axis] < s.out:
                break
        if panel or math.prod(box) >= ROWS:
            found.add(tuple(box))
    return sorted(found)


def _output(problem: Problem) -> int:
    """Bytes of all features of a pixel."""
    return problem.groups * problem.features * itemsize(problem.dtypes.y)


def _share(count: int, most: int, even: bool) -> int:
    """The largest of equal shares of a count that is no larger than `most`; even: that leaves nothing."""
    parts = -(-count // most)
    if even:
        parts = next(n for n in range(parts, count + 1) if count % n == 0)
    return -(-count // parts)


def _splits(problem: Problem, chunks: int, blocks: int) -> int:
    """Shares of the features, so that one image has items for some threads where it is worth that."""
    macs = problem.kernel * problem.channels * problem.features * problem.groups * problem.loops.pixels
    wanted = -(-FEWEST_ITEMS // max(chunks * problem.groups, 1))
    return max(min(wanted, macs // ITEM_MACS, blocks), 1)


def finer(problem: Problem, schedule: Matrix, items: int) -> Matrix:
    """The schedule in about so many items: first what there is more of is shared out, the weights or the input of a chunk."""
    spatial, blocks = problem.loops.spatial, -(-problem.features // (schedule.columns * ROWS))
    outs = [s.out for s in spatial]
    chunks = problem.batch * problem.groups * math.prod(-(-out // b) for out, b in zip(outs, schedule.box, strict=True))
    reach = math.prod((b - 1) * s.stride + s.reach for b, s in zip(schedule.box, spatial, strict=True))
    share = schedule.share
    if problem.kernel * problem.features > reach or not schedule.panel:
        share = min(share, shared(blocks, -(-items // max(chunks, 1))))
    if not schedule.panel:  # whose boxes leave nothing
        return replace(schedule, share=share)
    times = -(-items // max(chunks * -(-blocks // share), 1))
    return replace(schedule, share=share, box=smaller(schedule.box, outs, times, schedule.rows * ROWS))


def _cycles(problem: Problem, of: Numbers, schedule: Matrix, chunks: int, phases: Phases | None) -> float:
    """Expected cycles of a schedule."""
    machine, rows, columns = problem.machine, schedule.rows, schedule.columns
    where = phases.layout(of, schedule.box) if phases else layout(problem, of, schedule.box, schedule.panel)
    sums = phases.problems if phases else (problem,)  # of a register tile
    steps, pairs = sum(_steps(each, of) for each in sums), PAIRS[of.parts]
    blocks, pixels = -(-problem.features // (columns * ROWS)), math.prod(schedule.box)
    tiles = -(-_tiles(schedule, where) // rows)
    loads = sum(move.what != "multiply" for move in moves(of.parts, rows, columns))
    weights = steps * of.parts * columns * TILE
    near = weights * max(schedule.phases, 1) // len(sums)  # that tiles read one after the other
    reuse = where.height if isinstance(where, Unfolded) else sum(each.kernel for each in sums) / len(sums)  # steps that read a line again
    far = (FAR_X if schedule.panel else 2 * FAR_X) * rows / reuse + (FAR_W * columns if near > machine.l1 * 3 // 5 else 0.0)
    product = steps * (PRODUCT * rows * columns * len(pairs) + LOAD * loads + far * of.parts)
    if phases and where.planar:
        product += ACROSS * sum(move.what == "a" for move in moves(of.parts, rows, columns)) * phases.across(of.row)
    product += SHORT_TILE if isinstance(where, Unfolded) else TILE_CYCLES * len(sums)
    store = pixels / tiles * len(sums) * _store(problem, schedule, where)
    chunk = blocks * tiles * (max(product, store) + EXPOSED * rows * columns * min(product, store))
    if weights * blocks * problem.groups > machine.l2 // 2:
        chunk += STREAM * weights * blocks
    panel = where.bytes * of.parts
    if schedule.panel:
        chunk += _fill(problem, of, where)
    if isinstance(where, Unfolded):
        chunk += FAR_PANEL * max(panel - machine.l2 // 2, 0)
    elif phases:
        chunk += FAR_PANEL * max(panel - machine.l2 // 3, 0) * blocks * len(sums) / schedule.phases
    elif panel > machine.l2 // 3:
        chunk += LARGE_PANEL * panel
    if problem.last and pixels * _output(problem) > machine.l2 // OUTPUTS:
        chunk += SPREAD * pixels * problem.features * itemsize(problem.dtypes.y)
    moved = math.prod(problem.x_shape) * itemsize(problem.dtypes.x) + math.prod(problem.y_shape) * itemsize(problem.dtypes.y)
    return problem.batch * problem.groups * chunks * chunk + STREAM * max(moved - machine.l2 // 2, 0)


def _store(problem: Problem, schedule: Matrix, where: Layout) -> float:
    """Cycles to store what a register tile sums of a pixel."""
    rows, features = schedule.rows, schedule.columns * ROWS
    vectors, stored = features * 4 / (problem.machine.vector_bits // 8), min(problem.features, features)
    size = math.prod(problem.y_shape) * itemsize(problem.dtypes.y)
    far = FAR_STORE * stored * itemsize(problem.dtypes.y) if isinstance(where, Unfolded) and size > problem.machine.l2 // 2 else 0.0
    if schedule.phases > 1:
        return stored * (STORE * lanes.moves(schedule.phases) + ROW / schedule.phases) / ROWS
    if problem.gaps and not problem.last:
        return features * costs.SCATTER_CYCLES * (0.5 if problem.apart else 1.0)
    if where.planar == problem.last:
        return vectors * TURNED + far
    if where.planar:
        return stored * (STORE / ROWS + (FAR_ROW if far else ROW) / (rows * ROWS)) + far
    return vectors * STORE + ROW + (PARTIAL if problem.features < ROWS else 0.0)


def _steps(problem: Problem, of: Numbers) -> int:
    """Steps of the reduction."""
    if not unfolded(problem, of):
        return problem.kernel * -(-problem.channels // of.row)
    *outer, wide = (s.kernel for s in problem.loops.spatial)
    words, height = -(-wide * problem.channels // (of.row // ROWS)), outer[-1] if outer else 1
    return problem.kernel // (wide * height) * -(-height * words // ROWS)


def _tiles(schedule: Matrix, where: Layout) -> int:
    """About how many tiles cover a chunk."""
    *outer, inner = schedule.box
    if isinstance(where, Unfolded):
        return math.prod(outer) * where.blocks
    if where.lines:
        return math.prod(outer) * -(-inner // ROWS)
    if outer and where.outer[-2] % where.outer[-1] == 0:
        gap = where.outer[-2] // where.outer[-1] - inner
        if gap < ROWS:
            return math.prod(outer[:-1]) * -(-(outer[-1] * (inner + gap) - gap) // ROWS)
    return math.prod(outer) * -(-inner // ROWS)


def _fill(problem: Problem, of: Numbers, where: Layout) -> float:
    """Cycles to fill the panel of one chunk."""
    spatial = problem.loops.spatial
    *outer, wide = [(b - 1) * s.stride + s.reach for b, s in zip(where.box, spatial, strict=True)]
    shares = [min(phases / parts, 1.0) for phases, parts in zip(where.phases[:-1], where.parts[:-1], strict=True)]
    lines = math.prod(n * share for n, share in zip(outer, shares, strict=True))
    if isinstance(where, Unfolded):
        vectors = wide * problem.channels / ROWS
        laid = vectors * (CUT * of.parts + COPY + (TURN if problem.last else 0.0))
        begin = costs.LINE_CYCLES + (0.0 if problem.last else PLANE * problem.channels)
        return lines * (begin + laid + where.words * where.blocks * of.parts * JOIN)
    begin, wide = lines * costs.LINE_CYCLES, -(-wide // where.every)
    turned = TURN * of.parts if not (problem.last or where.planar) else 0.0
    return begin + lines * wide * where.blocks * (COPY + turned + (CUT * of.parts if of.parts > 1 else 0.0))
