"""The direct sum on the matrix unit: products of 16 pixels × 32 numbers by 32 numbers × 16 features, 16 times the rate of vectors.

The unit multiplies bfloat16 numbers and adds in float32 (`jit.tiles` says how it rounds).

    bfloat16    each number is one of the unit's
    float16     x = x₁ + x₂, both bfloat16, exactly: 11 digits are 8 and 3. Four products, none left out
    float32     x = x₁ + x₂ + x₃, exactly: 24 digits are three times 8. Of the nine products of two such sums the six largest are
                added: x₁w₁, x₁w₂, x₂w₁, x₂w₂, x₁w₃, x₃w₁. Each part is the nearest to what is left, so that |x₂| ≤ 2⁻⁸|x| and
                |x₃| ≤ 2⁻¹⁶|x|, and the others, x₂w₃ and less, are 2⁻²⁴ of the product and of both signs
    int8, uint8 int32 sums, exact: taken where no partial sum can leave int32

Every product of parts is exact in float32, and 32 neighbours are added apart from the running sum, so that fewer and smaller roundings
meet than in one chain. The root mean square error of float32 sums over that of the direct sum, 8 to 2048 channels, 1 to 49 taps, is 0.4
to 0.6 for normal numbers, 0.6 to 0.9 for numbers of many sizes, 0.3 to 0.65 for sums of one sign; the largest error likewise. So the
planner may choose it (`tests/test_matrix.py` holds it to ERRORS).

What differs from IEEE arithmetic, and why precision="strict" keeps to the direct sum: subnormal numbers and sums count as zeros; float32
numbers below 1e−33 lose digits, since their parts are subnormal; an infinity may give NaN instead, as do float32 numbers above 3.39e38,
whose first part is infinite; where channels are few it also reaches outputs whose windows end shortly before it.

The order of the sum (blocks of channels, taps, channels; or taps of a row and channels together) follows from the description of one
image alone. So neither batch, threads, views, layouts nor schedules show in the bits. Products are exact and each sum adds its own in the
same order whichever of both operands has the pixels, so that a tile may have them as rows or as columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from juanji import machine as machines
from juanji.algorithms import costs, direct
from juanji.algorithms.direct import Job, Work
from juanji.algorithms.matrix_program import Layout, Matrix, Numbers, every, joined, numbers, program
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shared, smaller
from juanji.contraction import lower
from juanji.exact import limits, terms
from juanji.jit.emit import LINE
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
CROSSING = 42.0  # more for a tile of windows that begin anywhere in a line, at the same time as products
FAR_X, FAR_W = 13.0, 7.0  # of a tile of pixels under one tap, of weights that the first cache does not hold
STREAM = 0.053  # per byte of input, weights or output that the second cache does not hold
LARGE_PANEL = 0.15  # per byte of a panel that takes more than a third of it
SPREAD = 0.065  # per byte of outputs that are written in pieces of pixels, and more than the second cache takes so
TILE_CYCLES = 65.0
ROW, STORE, TURNED = 5.5, 1.5, 5.5  # to begin a row of sums that leaves; per vector of it; per vector that leaves transposed
PARTIAL = 12.0  # more for a pixel that has fewer features than a tile
EXPOSED = 0.15  # per accumulator, of the shorter of products and stores: the more of them, the less of the next ones is in sight
COPY, TURN, CUT = 6.5, 9.5, 3.0  # per row of a tile that a panel gets; and for each part that is turned, that it is cut into
FEW = 1.12  # times what else is expected of few channels, whose sums are short
GATHERED = 1.7  # per number that is gathered from planes alone
PREPARING, PREPARING_CALL = 0.7, 2e4  # per weight and part, and to begin


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description."""
    if produces == "w":
        return "it computes no gradients of weights"
    if not spec.shared or spec.taps is not None:
        return "its weights are shared, and none of them skipped"
    of = numbers(spec.dtypes.x if produces == "y" else spec.dtypes.y, spec.dtypes.w)
    if of is None:
        return f"no products of {spec.dtypes.x} with {spec.dtypes.w}"
    reason = _whole(spec, produces) if of.total == "int32" else _rounded(spec, of)
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


def _whole(spec: Convolution, produces: str) -> str | None:
    """The same for sums of integers. A description whose sums float32 carries has none that leave int32."""
    if produces != "y":
        return "it computes no gradients of integers"
    if not spec.dtypes.integers or spec.dtypes.sum not in ("float32", "float64"):
        return f"no sums in {spec.dtypes.sum}"
    if spec.dtypes.y.startswith("float"):
        return f"it writes no {spec.dtypes.y}"
    largest = [max(-least, most) for least, most in (limits(spec.dtypes.x), limits(spec.dtypes.w))]
    if spec.dtypes.sum == "float64" and (spec.epilogue.bias or terms(spec) * math.prod(largest) >= 2**31):
        return "sums may leave int32"
    least, most = limits(spec.dtypes.x)
    if any(b.constant and not least <= b.value <= most for b in spec.boundary):
        return f"what stands outside does not fit {spec.dtypes.x}"
    return None


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y") or the gradient of the input ("x")."""
    of = numbers(spec.dtypes.x if produces == "y" else spec.dtypes.y, spec.dtypes.w)
    assert of is not None  # `accepts` has looked
    if produces == "y":
        problem = Problem(lower(spec), spec.dtypes._replace(sum="float32"), spec.epilogue, machine, overflow=spec.overflow)
        found = Work((_job(problem, of),), spec.dtypes.y)
    else:
        found = direct.grad_input(spec, machine, lambda problem: direct.tile(problem) if problem.goal else _job(problem, of))
    return replace(found, preparing=PREPARING_CALL + PREPARING * of.parts * math.prod(spec.w_shape))


def _job(problem: Problem, of: Numbers) -> Job:
    return Job(partial(candidates, problem, of), partial(program, problem, of), partial(finer, problem))


# Schedules ------------------------------------------------------------------------------------------------------------------


def candidates(problem: Problem, of: Numbers) -> Iterator[tuple[Matrix, float]]:
    """Register tiles, with chunks for the caches, and their expected cycles."""
    for rows, columns in REGISTER_TILES:
        blocks = -(-problem.features // (columns * ROWS))
        if columns > 1 and problem.features <= ROWS:
            continue
        for panel in (True, False):
            if not panel and not _lies_so(problem, of):
                continue
            for box in _boxes(problem, of, panel):
                chunks = math.prod(-(-s.out // b) for s, b in zip(problem.loops.spatial, box, strict=True))
                if not panel and any(s.out % b for s, b in zip(problem.loops.spatial, box, strict=True)):
                    continue
                splits = _splits(problem, chunks, blocks)
                schedule = Matrix(rows, columns, box, -(-blocks // splits), panel)
                yield schedule, _cycles(problem, of, schedule, chunks)


def _lies_so(problem: Problem, of: Numbers) -> bool:
    """Whether the input can be read where it lies, and some tile can end at the last window, so that none reads past the input."""
    spatial = problem.loops.spatial
    if not problem.last or of.parts > 1 or problem.channels % of.row or any(s.padded for s in spatial):
        return False
    layout = Layout(problem, of, [s.out for s in spatial], panel=False)
    return problem.loops.pixels >= ROWS and not any(step % layout.pitch for step in layout.outer)


def _boxes(problem: Problem, of: Numbers, panel: bool) -> list[tuple[int, ...]]:
    """Output positions of a chunk: whole inner axes first, until the panel takes a share of the second cache, or the outputs one."""
    spatial = problem.loops.spatial
    pixel = problem.channels * of.size * of.parts
    found = set[tuple[int, ...]]()
    pixels = max(problem.machine.l2 // OUTPUTS // _output(problem), 2 * ROWS)
    steps = [min(s.stride, s.reach) for s in spatial[:-1]] + [spatial[-1].stride // (every(problem) if panel else 1)]
    rooms = [(int(problem.machine.l2 * room), problem.loops.pixels) for room in ROOMS]
    for room, left in (*rooms, (problem.machine.l2 // 2, pixels)):
        box = [1] * len(spatial)
        for axis in reversed(range(len(spatial))):
            behind = slice(axis + 1, None)
            inner = math.prod((b - 1) * step + s.reach for b, step, s in zip(box[behind], steps[behind], spatial[behind], strict=True))
            s = spatial[axis]
            most = max((room // (inner * pixel) - s.reach) // steps[axis] + 1, 1)
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


def _cycles(problem: Problem, of: Numbers, schedule: Matrix, chunks: int) -> float:
    """Expected cycles of a schedule."""
    machine, rows, columns = problem.machine, schedule.rows, schedule.columns
    layout = Layout(problem, of, schedule.box, schedule.panel)
    steps, pairs = _steps(problem, of), PAIRS[of.parts]
    blocks, pixels = -(-problem.features // (columns * ROWS)), math.prod(schedule.box)
    tiles = -(-_tiles(schedule, layout) // rows)
    loads = sum(move.what != "multiply" for move in moves(of.parts, rows, columns))
    weights = steps * of.parts * columns * TILE
    far = (FAR_X if schedule.panel else 2 * FAR_X) * rows / problem.kernel + (FAR_W * columns if weights > machine.l1 * 3 // 5 else 0.0)
    multiply, load = PRODUCT * rows * columns * len(pairs), LOAD * loads + far * of.parts
    crossing = CROSSING * rows * of.parts if joined(problem, of) else 0.0
    product = steps * (max(multiply, crossing) + load) + TILE_CYCLES
    store = pixels / tiles * _store(problem, schedule, layout)
    chunk = blocks * tiles * (max(product, store) + EXPOSED * rows * columns * min(product, store))
    if weights * blocks * problem.groups > machine.l2 // 2:
        chunk += STREAM * weights * blocks
    if schedule.panel:
        chunk += _fill(problem, of, layout) + (LARGE_PANEL * panel if (panel := layout.bytes * of.parts) > machine.l2 // 3 else 0.0)
    if problem.last and pixels * _output(problem) > machine.l2 // OUTPUTS:
        chunk += SPREAD * pixels * _output(problem)
    if joined(problem, of):
        chunk *= FEW
    moved = math.prod(problem.x_shape) * itemsize(problem.dtypes.x) + math.prod(problem.y_shape) * itemsize(problem.dtypes.y)
    return problem.batch * problem.groups * chunks * chunk + STREAM * max(moved - machine.l2 // 2, 0)


def _store(problem: Problem, schedule: Matrix, layout: Layout) -> float:
    """Cycles to store what a register tile sums of a pixel."""
    features = schedule.columns * ROWS
    vectors = features * 4 / (problem.machine.vector_bits // 8)
    partial = PARTIAL if problem.features < ROWS else 0.0
    if layout.planar:
        return vectors * STORE + features * ROW / (schedule.rows * ROWS) + partial
    if problem.last:
        return vectors * STORE + ROW + partial
    if not problem.gaps:
        return vectors * TURNED
    return features * costs.SCATTER_CYCLES * (0.5 if problem.apart else 1.0)


def _steps(problem: Problem, of: Numbers) -> int:
    """Steps of the reduction."""
    if not joined(problem, of):
        return problem.kernel * -(-problem.channels // of.row)
    taps = problem.loops.spatial[-1].kernel
    return problem.kernel // taps * -(-taps * problem.channels // of.row)


def _tiles(schedule: Matrix, layout: Layout) -> int:
    """About how many tiles cover a chunk."""
    *outer, inner = schedule.box
    if outer and layout.outer[-2] % layout.pitch == 0:
        gap = layout.outer[-2] // layout.pitch - inner
        if gap < ROWS:
            return math.prod(outer[:-1]) * -(-(outer[-1] * (inner + gap) - gap) // ROWS)
    return math.prod(outer) * -(-inner // ROWS)


def _fill(problem: Problem, of: Numbers, layout: Layout) -> float:
    """Cycles to fill the panel of one chunk."""
    spatial = problem.loops.spatial
    *outer, wide = [(b - 1) * s.stride + s.reach for b, s in zip(layout.box, spatial, strict=True)]
    shares = [min(phases / s.stride, 1.0) for phases, s in zip(layout.phases[:-1], spatial[:-1], strict=True)]
    lines = math.prod(n * share for n, share in zip(outer, shares, strict=True))
    begin, wide = lines * costs.LINE_CYCLES, -(-wide // layout.every)
    if layout.joined:
        pixels = lines * wide * problem.channels
        copy = pixels * of.size / LINE * (2 * COPY + CUT * of.parts if of.parts > 1 else COPY)
        return begin + copy + (0.0 if problem.last else pixels * GATHERED)
    turned = TURN * of.parts if not (problem.last or layout.planar) else 0.0
    return begin + lines * wide * layout.blocks * (COPY + turned + (CUT * of.parts if of.parts > 1 else 0.0))
