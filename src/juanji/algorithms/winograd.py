"""Winograd's convolution F(m, r): fewer products for more additions, where taps and outputs are neighbours.

A tile of m outputs per axis takes n = m + r − 1 products per axis instead of m·r: of 3×3 taps F(2) needs 2.25 times fewer, F(4)
4 times, F(6) 5 times. Rounding errors grow with n. Root mean square errors of sums of normal numbers, in two dimensions, over those of
the direct sum (the longest of r = 2, 3, 5, 7, 8 to 256 channels; `tests/test_winograd.py` holds them to ERRORS):

    n                           3      4      5      6      7      8
    error over direct's       1.3    1.2    4.4    6.2     15     19
    3×3 taps, 64 channels            0.6    2.2    2.7    6.1    7.8

Taps a dilation apart are neighbours among the places of one residue, and so are tiles (`jit/winograd_axes.py`): the padding of a widely
dilated layer then costs little, which the direct sum multiplies tap by tap.

An infinity or NaN reaches every output of the tiles that see it, and sums near the largest number may overflow before their terms
cancel; precision="strict" keeps to the direct sum. m follows from the description of a picture, channels-last: neither batch,
threads, views nor layouts show in the bits. F(2×4) stands between F(2) and F(4): a picture of 7×7 takes 8 tiles of 24 points, for whose
weights one image waits less than for 36, and many multiply less than with 16 tiles of 16.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from juanji.algorithms import costs, direct
from juanji.algorithms.direct import Job, Work
from juanji.algorithms.packing import FEW_WEIGHTS
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shared, smaller
from juanji.algorithms.weights import aligned_to
from juanji.algorithms.winograd_program import Sizes, Winograd, ordered, program, tiled
from juanji.contraction import lower
from juanji.jit.winograd_axes import Axis
from juanji.machine import Machine
from juanji.recall import recalled
from juanji.spec import Convolution, itemsize

SHARES = {3: 1.0, 4: 1.0, 5: 0.95, 6: 0.95, 7: 0.85, 8: 0.85}  # n, and the share of the time of smaller ones that it must not exceed
ERRORS = {3: 1.5, 4: 1.5, 5: 5.0, 6: 7.0, 7: 18.0, 8: 25.0}  # that each may have, over the direct sum's
LEAST_OUTPUTS = 2  # of a tile per axis
IMAGES = (1, 8)  # that tiles are compared for, by the geometric mean: one image may wait for weights, which many share
MOST_POINTS = 64  # of a transformed tile
HELD = 1.5  # of the second cache, that a chunk takes at most
FEWEST_ITEMS = 4  # that chunks and shares of the features make together, where they can
EMPTY = 1.25  # vectors of features for one that is wanted
MOST_TILES = 14  # of a register tile: their addresses are registers too
CHUNKS = (4, 8, 16, 28, 49, 96)  # tiles of a chunk, at most
# Of F(m, r) along one axis: instructions of the input's transform and of the output's. Counted on their code (`tests/test_winograd.py`),
# which takes longer to write than all else that planning does.
INSTRUCTIONS = {
    (1, 1): (0, 0), (2, 2): (2, 2), (3, 2): (4, 4), (2, 3): (4, 4), (4, 2): (12, 8), (3, 3): (12, 7), (2, 4): (12, 6), (5, 2): (22, 14),
    (4, 3): (22, 12), (3, 4): (22, 10), (2, 5): (22, 8), (6, 2): (32, 18), (5, 3): (32, 16), (4, 4): (32, 14), (3, 5): (32, 12),
    (2, 6): (32, 10), (7, 2): (27, 22), (6, 3): (27, 20), (5, 4): (27, 18), (4, 5): (27, 16), (3, 6): (27, 14), (2, 7): (27, 12),
}  # fmt: skip

# Cycles, fitted to measured times of every n for some forty layers of one to three axes, dense and in groups, on the machine of `costs`.
ARITHMETIC = 0.8  # per instruction of a transform
LOADED_LINE, STORED_LINE, OUTPUT_LINE = 0.75, 0.4, 1.45  # per vector of a tile that is transformed, on its way to V, from M and out
TILE_CYCLES = 11.0  # to find the pixels of a tile
TURN_CYCLES = 8.5  # per vector of a panel that is turned from planes to pixels
STORED_PIXEL, ROW_CYCLES = 0.33, 45.0  # per feature that is turned back, and to begin a row of its plane
FAR = 0.6  # of the second cache, beyond which weights come from farther away, for each chunk anew
STREAM = 8.9  # bytes per cycle that come from beyond the second cache
SPILLED = 0.8  # per value of a tile beyond the registers
PRODUCT_TILE, PRODUCT_ROW = 3.5, 9.6  # to begin a register tile of the product, and each of its tiles, which lie in pages of their own
PREPARING, PREPARING_CALL = 0.2, 4e4  # per byte of transformed weights that wait in memory, and to begin
TURNED, TRANSFORMED = 0.09, 0.115  # per byte of weights that the kernel transforms, and per byte that comes of them
RESUMED = 8.0  # bytes per cycle of sums that the next channels' weights find in the second cache
LEAD = 26.0  # channels in whose time weights arrive that were asked for: their share of all is what arithmetic does not hide


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description."""
    if produces == "w":
        return "it computes no gradients of weights"
    if not spec.shared or spec.taps is not None:
        return "its weights are shared, and none of them skipped"
    if spec.dtypes.sum not in ("float32", "float64") or spec.dtypes.integers:
        return "its sums are rounded, those of integers are exact" if spec.dtypes.integers else f"no sums in {spec.dtypes.sum}"
    if any(np.dtype(name).kind in "biu" for name in (spec.dtypes.x, spec.dtypes.w, spec.dtypes.y)):
        return "it reads and writes floats"
    if any(s != 1 for s in spec.stride):
        return "its outputs are as far apart as its taps, or neighbours: stride 1"
    longest, points = max(spec.kernel), math.prod(r + LEAST_OUTPUTS - 1 for r in spec.kernel if r > 1)
    if longest == 1 or points > MOST_POINTS or LEAST_OUTPUTS + longest - 1 > max(SHARES):
        return f"its smallest tile has {points} points: not from 2 to {MOST_POINTS}, {max(SHARES)} along an axis"
    if 1 in spec.kernel[1:]:
        return "only its first axis may have a kernel of 1"
    return None


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y") or the gradient of the input ("x")."""
    tile = outputs(replace(spec, batch=1, layout="channels_last", weight_layout="*IO"), produces, machine)
    return work_of(spec, produces, machine, tile)


def work_of(spec: Convolution, produces: str, machine: Machine, tile: tuple[int, ...]) -> Work:
    """The same with tiles of so many outputs along each axis that has more than one tap."""
    if produces == "y":
        problem = Problem(lower(spec), spec.dtypes, spec.epilogue, machine, overflow=spec.overflow)
        found = Work((_job(problem, tile),), spec.dtypes.y)
    else:
        found = direct.grad_input(spec, machine, lambda problem: direct.tile(problem) if problem.goal else _job(problem, tile))
    return replace(found, preparing=_preparing(spec, tuple(zip(tile, _taps(spec), strict=True)), machine))


def _preparing(spec: Convolution, sizes: Sizes, machine: Machine) -> float:
    """Cycles that weights of a single call take and bound ones do not: beforehand, or on the way (`once`) where they are many and a
    chunk may hold all tiles; they are then in the cache, where a small picture waits for bound weights."""
    size = itemsize(spec.dtypes.sum)
    weights = math.prod(spec.w_shape) * size
    places = spec.batch * math.prod(spec.size) * math.prod((m + r - 1) / m for m, r in sizes)  # of the transformed picture
    beforehand = _beforehand(weights, sizes)
    if math.prod(spec.w_shape) <= FEW_WEIGHTS or places * max(spec.channels, spec.features) * size > machine.l2:
        return beforehand
    products = places * math.prod(spec.w_shape) / math.prod(spec.kernel) / (costs.FMA_PER_CYCLE * (machine.vector_bits // 8 // size))
    waiting = max(weights * _growth(sizes) / STREAM - products, 0.0)
    return min(beforehand, _on_the_way(weights, sizes) - waiting)


def _job(problem: Problem, tile: tuple[int, ...]) -> Job:
    along = iter(tile)
    sizes = tuple((next(along) if s.kernel > 1 else 1, s.kernel) for s in problem.loops.spatial)
    return Job(partial(candidates, problem, sizes), partial(program, problem), partial(finer, problem), partial(once, problem))


@lru_cache(maxsize=1024)
def outputs(spec: Convolution, produces: str, machine: Machine) -> tuple[int, ...]:
    """Outputs of a tile along each axis that has more than one tap, from a description whose batch and layouts are always the same:
    these must not show in the bits."""
    return tuple(recalled(("outputs", spec, produces, machine), lambda: {"tile": _outputs(spec, produces, machine)})["tile"])


def _outputs(spec: Convolution, produces: str, machine: Machine) -> tuple[int, ...]:
    @lru_cache
    def mean(tile: tuple[int, ...]) -> float:
        """Expected cycles."""
        jobs = (work_of(replace(spec, batch=images), produces, machine, tile).jobs[0] for images in IMAGES)
        return math.prod(min(cycles for _, cycles in job.candidates()) for job in jobs) ** (1 / len(IMAGES))

    taps, best = _taps(spec), math.inf
    found: tuple[int, ...] = ()
    for n in SHARES:
        tile = min(_tiles(taps, n), key=mean, default=None)
        if tile is None:
            continue
        share = math.prod(SHARES[m + r - 1] for m, r in zip(tile, taps, strict=True)) ** (1 / len(taps))  # errors multiply
        if mean(tile) < share * best:
            found, best = tile, mean(tile)
    return found


def _taps(spec: Convolution) -> list[int]:
    """Taps along each axis that has more than one."""
    return [r for r in spec.kernel if r > 1]


def _tiles(taps: Sequence[int], n: int) -> Iterator[tuple[int, ...]]:
    """Tiles whose longest transform has n points: as many outputs along all axes, or the fewest, but twice as many along the last.

    >>> list(_tiles([3, 3], 6)), list(_tiles([3, 3], 5))
    ([(4, 4), (2, 4)], [(3, 3)])
    """
    alike = [(m,) * len(taps) for m in range(n, LEAST_OUTPUTS - 1, -1)]
    for tile in dict.fromkeys((*alike, (*(LEAST_OUTPUTS,) * (len(taps) - 1), 2 * LEAST_OUTPUTS))):
        points = [m + r - 1 for m, r in zip(tile, taps, strict=True)]
        if max(points) == n and math.prod(points) <= MOST_POINTS:
            yield tile


# Schedules ------------------------------------------------------------------------------------------------------------------


def candidates(problem: Problem, sizes: Sizes, packs: bool = False) -> Iterator[tuple[Winograd, float]]:
    """Register tiles that fit, with chunks for the caches, and their expected cycles. packs: the kernel transforms the weights."""
    machine, lanes, size = problem.machine, problem.lanes, problem.bytes
    points = math.prod(m + r - 1 for m, r in sizes)
    panel = not problem.last or problem.dtypes.x != problem.dtypes.sum or problem.groups * problem.channels < lanes
    along = tiled(problem, sizes)
    grid = [axis.tiles(s.out) for axis, s in zip(along, problem.loops.spatial, strict=True)]
    transformed = _transforms(problem, sizes, grid)
    boxes = _boxes(problem, grid, along[-1].dilation)
    fewest = max(min(images * math.prod(box) for images, box in boxes), CHUNKS[0])
    for images, box in boxes:
        slice = _slice(problem, along, box) if panel else 0
        around = transformed + (_panels(problem, along, grid, box) if panel else 0.0)
        chunks = _chunks(problem.batch, images, grid, box)
        most = images * math.prod(box)
        splits = -(-FEWEST_ITEMS // max(sum(chunks.values()), 1))
        for vectors, tiles in _register_tiles(-(-problem.features // lanes), machine.registers, most):
            width = vectors * lanes * size
            blocks = -(-problem.features * size // width)
            block = max(machine.l1 // 3 // width // lanes * lanes, lanes)
            if packs:
                block = max(c for c in range(1, block + 1) if problem.channels % c == 0)
            far = not packs and problem.groups * points * blocks * problem.channels * width > machine.l2 * FAR
            ahead = 0 if packs else -(-width // -(-most // tiles))
            for share in {1, 1 if packs else -(-blocks // splits)}:
                room = most * points * (problem.groups * problem.channels * size + share * width)
                if room <= HELD * machine.l2 or most <= fewest:
                    schedule = Winograd(sizes, tiles, vectors, images, box, block, share, slice, ahead, packs)
                    yield schedule, around + _product(problem, schedule, chunks, far)


def finer(problem: Problem, schedule: Winograd, items: int) -> Winograd:
    """The schedule in about so many items: first the features are shared out, as far as the weights are more than what is transformed
    once more for each share; then the images of a chunk, then its tiles."""
    if schedule.packs:  # a block of features is an item already, and more chunks would transform its weights again
        return schedule
    along = tiled(problem, schedule.sizes)
    grid = [axis.tiles(s.out) for axis, s in zip(along, problem.loops.spatial, strict=True)]
    blocks = -(-problem.features // (schedule.vectors * problem.lanes))
    tiles = schedule.images * math.prod(schedule.box)
    chunks = sum(_chunks(problem.batch, schedule.images, grid, schedule.box).values()) * problem.groups
    share = min(schedule.share, shared(blocks, -(-items // max(chunks, 1)))) if problem.features > tiles else schedule.share
    times = -(-items // max(chunks * -(-blocks // share), 1))
    images, *box = smaller((schedule.images, *schedule.box), (problem.batch, *grid), times, schedule.tiles)
    box[-1] = _whole(box[-1], grid[-1], along[-1].dilation)
    return replace(schedule, images=images, box=tuple(box), share=share)


def once(problem: Problem, schedule: Winograd) -> Winograd | None:
    """The schedule for weights that come with a single call: transformed by each chunk just before it uses them. None where it takes
    longer than to transform them beforehand."""
    sizes = schedule.sizes
    inside, cycles = min(candidates(problem, sizes, packs=True), key=_cycles)
    _, before = min(candidates(problem, sizes), key=_cycles)
    can = ordered(problem, inside.vectors * problem.lanes, inside.block).by_code
    return inside if can and cycles <= before + _beforehand(_weights(problem), sizes) else None


def _weights(problem: Problem) -> int:
    """Bytes of weights."""
    return problem.groups * problem.features * problem.channels * problem.kernel * problem.bytes


def _cycles(choice: tuple[Winograd, float]) -> float:
    return choice[1]


def _beforehand(weights: int, sizes: Sizes) -> float:
    """Cycles to transform so many bytes of weights that then wait in memory."""
    return PREPARING_CALL + PREPARING * weights * _growth(sizes)


def _on_the_way(weights: int, sizes: Sizes) -> float:
    """Cycles to transform so many bytes of weights just before they are used."""
    return weights * (TURNED + TRANSFORMED * _growth(sizes))


def _growth(sizes: Sizes) -> float:
    """Points for each tap."""
    return math.prod((m + r - 1) / r for m, r in sizes)


def _product(problem: Problem, schedule: Winograd, chunks: Mapping[int, int], far: bool) -> float:
    """Cycles of the products of all chunks. far: the weights come from beyond the second cache, for each chunk anew. Weights that are
    transformed on the way are so for each chunk, and their sums wait for the next channels in the second cache."""
    machine, channels, size = problem.machine, problem.channels, problem.bytes
    points = math.prod(m + r - 1 for m, r in schedule.sizes)
    width = schedule.vectors * problem.lanes
    blocks = -(-problem.features // width)
    sums, loads = schedule.tiles * schedule.vectors, schedule.tiles + schedule.vectors
    step = max(sums / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, costs.FMA_LATENCY)
    tile = channels * step + -(-channels // schedule.block) * (sums * costs.STORE_CYCLES + PRODUCT_TILE) + PRODUCT_ROW * schedule.tiles
    arrives = problem.groups * points * blocks * channels * width * size / STREAM if far else 0.0
    made = resumed = 0.0
    if schedule.packs:
        made = _on_the_way(_weights(problem), schedule.sizes)
        resumed = -(-channels // schedule.block) * problem.groups * blocks * points * width * size / RESUMED
    exposed = min(LEAD / channels, 1.0)
    held = (problem.groups * channels + schedule.share * width) * points * size  # of V and M, a tile
    turns = -(-blocks // schedule.share)  # in each of which V is read
    cycles = 0.0
    for count, number in chunks.items():
        arithmetic = problem.groups * points * blocks * -(-count // schedule.tiles) * tile
        beyond = max(count * held - machine.l2 // 2, 0) * (turns + 0.5) / STREAM
        cycles += number * (max(arithmetic, arrives) + exposed * min(arithmetic, arrives) + beyond + made + count * resumed)
    return cycles


def _boxes(problem: Problem, grid: Sequence[int], dilation: int) -> list[tuple[int, tuple[int, ...]]]:
    """Images and boxes of tiles of a chunk: some shares of the innermost axis, of whole rounds of its dilation, outer axes as far as room
    lasts, then images. Long rows come first."""
    found = set[tuple[int, tuple[int, ...]]]()
    for most, shares in itertools.product(CHUNKS, (1, 2, 4)):
        room, box = most, list[int]()
        for axis in reversed(range(len(grid))):
            length = max(min(room, -(-grid[axis] // (1 if box else shares))), 1)
            equal = -(-grid[axis] // -(-grid[axis] // length))
            box.insert(0, equal if box else _whole(equal, grid[axis], dilation))
            room //= box[0]
        images = max(min(room, problem.batch), 1) if box == list(grid) else 1
        found.add((-(-problem.batch // -(-problem.batch // images)) if problem.batch else 1, tuple(box)))
    return sorted(found, key=lambda chunk: chunk[1][::-1], reverse=True)


def _whole(tiles: int, most: int, dilation: int) -> int:
    """So many tiles in whole rounds of a dilation, or all."""
    return min(aligned_to(tiles, dilation), most)


def _chunks(batch: int, images: int, grid: Sequence[int], box: Sequence[int]) -> dict[int, int]:
    """How many chunks there are of each number of tiles."""
    found: dict[int, int] = {}
    parts = [{b: n // b, n % b: 1} if n % b else {b: n // b} for n, b in zip((batch, *grid), (images, *box), strict=True)]
    for sizes in itertools.product(*parts):
        count = math.prod(part[size] for part, size in zip(parts, sizes, strict=True))
        found[math.prod(sizes)] = found.get(math.prod(sizes), 0) + count
    return found


def _slice(problem: Problem, along: Sequence[Axis], box: Sequence[int]) -> int:
    """Channels of a panel: all, or a share of whole vectors with which it takes little of the second cache."""
    held = problem.groups * problem.channels
    shares = [c for c in range(problem.lanes, held, problem.lanes) if held % c == 0]
    pixel = math.prod(axis.lines(b) for axis, b in zip(along, box, strict=True)) * problem.bytes
    return max((c for c in shares if c * pixel <= problem.machine.l2 // 8), default=shares[0] if shares else held)


@lru_cache(maxsize=256)
def _register_tiles(vectors: int, registers: int, count: int) -> tuple[tuple[int, int], ...]:
    """Register tiles as vectors × tiles, for so many vectors of features: registers for all sums, sums enough in flight, and little of
    the last block of features empty. Of those that a chunk of `count` tiles fills equally often, the smallest."""
    found = dict[tuple[int, int], tuple[int, int]]()
    fitting = [v for v in range(1, 5) if -(-vectors // v) * v <= EMPTY * vectors]
    for v in fitting[-2:]:
        most = min((registers - 1) // v - 1, MOST_TILES)
        for tiles in range(most // 2 + 1, most + 1):
            found.setdefault((v, -(-count // tiles)), (v, tiles))
    return tuple(found.values())


def _forth(sizes: Sizes) -> int:
    """Instructions that transform a tile of the input along all axes, of which each keeps its n points."""
    points = [m + r - 1 for m, r in sizes]
    return sum(INSTRUCTIONS[size][0] * math.prod(points) // n for size, n in zip(sizes, points, strict=True))


def _back(sizes: Sizes) -> int:
    """Instructions that transform a tile of the output along all axes, the first before the others: m are left of n."""
    points = [m + r - 1 for m, r in sizes]
    made = [math.prod(m for m, _ in sizes[:axis]) * math.prod(points[axis + 1 :]) for axis in range(len(sizes))]
    return sum(INSTRUCTIONS[size][1] * lines for size, lines in zip(sizes, made, strict=True))


def _transforms(problem: Problem, sizes: Sizes, grid: Sequence[int]) -> float:
    """Cycles to transform all tiles of the input and of the output."""
    points, outputs = (math.prod(m + r - 1 for m, r in sizes), math.prod(m for m, _ in sizes))
    forth, back = _forth(sizes), _back(sizes)
    spilled = SPILLED * max(points - problem.machine.registers, 0)
    load = ARITHMETIC * forth + LOADED_LINE * points + spilled
    store = ARITHMETIC * back + STORED_LINE * points + OUTPUT_LINE * outputs + spilled
    vectors_c = -(-problem.groups * problem.channels // problem.lanes)
    vectors_f = problem.groups * -(-problem.features // problem.lanes)
    moved = (math.prod(problem.x_shape) + math.prod(problem.y_shape)) * problem.bytes
    far = moved / STREAM if moved > problem.machine.l2 else 0.0
    return problem.batch * math.prod(grid) * (vectors_c * load + vectors_f * store + TILE_CYCLES) + far


def _panels(problem: Problem, along: Sequence[Axis], grid: Sequence[int], box: Sequence[int]) -> float:
    """Cycles to fill all panels, and to transpose outputs that lie plane by plane."""
    vectors = -(-problem.groups * problem.channels // problem.lanes)
    boxes = problem.batch * math.prod(-(-g // b) for g, b in zip(grid, box, strict=True))
    reach = [axis.lines(b) for axis, b in zip(along, box, strict=True)]
    if problem.last:
        return boxes * math.prod(reach) * (2 * vectors * costs.COPY_CYCLES + costs.PLACE_CYCLES)
    turned = aligned_to(reach[-1], problem.lanes) * vectors * TURN_CYCLES
    *outer, run = (axis.outputs(b) for axis, b in zip(along, box, strict=True))
    rows = math.prod(outer)
    if tuple(box[1:]) == tuple(grid[1:]) and all(axis.plain for axis in along):  # whole rows lie one behind the other
        rows, run = 1, rows * run
    stored = problem.groups * aligned_to(problem.features, problem.lanes) * (aligned_to(run, problem.lanes) * STORED_PIXEL + ROW_CYCLES)
    return boxes * (math.prod(reach[:-1]) * (turned + costs.LINE_CYCLES) + rows * stored)
