"""The direct sum over the window: which tiles compute a product of a description, and what is done before and after them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms import channel, depthwise, phased, pixels, planes, space, turned_planes, whole_rows
from juanji.algorithms.channel import Channel
from juanji.algorithms.depthwise import Depthwise
from juanji.algorithms.phased import Phases
from juanji.algorithms.pixels import Pixels
from juanji.algorithms.planes import Plane
from juanji.algorithms.problem import Problem
from juanji.algorithms.space import Space
from juanji.algorithms.turned_planes import Turned
from juanji.algorithms.weights import Weights
from juanji.algorithms.whole_rows import Rows
from juanji.complexes import PARTS
from juanji.contraction import Contraction, lower
from juanji.jit.program import Program
from juanji.machine import Machine
from juanji.phases import fold_border, phases, regions
from juanji.spec import NO_EPILOGUE, WORDS, Convolution, Dtypes

Array = npt.NDArray[Any]
Arrays = Sequence[Array]
Tile = Space | Channel | Depthwise | Plane | Pixels | Turned | Rows  # the schedules of a gathering tile


def _as_it_is(schedule: Any, items: int) -> Any:
    return schedule


def _no_other(schedule: Any) -> None:
    return None


@dataclass(frozen=True)
class Job:
    """One kernel's worth of a product. candidates: schedules with their expected cycles; program: the kernel of one of them.

    finer: a schedule in about so many items, with the same code, packed weights and bits (splitting.py).
    once: the schedule for weights that come with a single call, with the same bits; None if it is the same.
    """

    candidates: Callable[[], Iterator[tuple[Any, float]]]
    program: Callable[[Any], Program]
    finer: Callable[[Any, int], Any] = _as_it_is
    once: Callable[[Any], Any] = _no_other


@dataclass(frozen=True)
class Work:
    """Jobs that together make one array.

    dtype: of the arrays that the jobs write, the result's or, where more is to be done, the sum's. more: shapes of those
    besides the result, which are scratch for a `purpose`. before, after: what is done to all of them, the result first, around the jobs.
    finished: whether the jobs apply the epilogue; otherwise that is left to do once all else is done.
    preparing: cycles that weights take before they are first used, beyond putting them in order.
    """

    jobs: tuple[Job, ...]
    dtype: str
    finished: bool = True
    more: tuple[tuple[int, ...], ...] = ()
    purpose: str = ""
    before: Callable[[Arrays], None] | None = None
    after: Callable[[Arrays], None] | None = None
    preparing: float = 0.0


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description yet."""
    if spec.dtypes.sum in PARTS:
        return f"sums in {spec.dtypes.sum} are not built yet"
    folds = any(not b.constant and sides != (0, 0) for b, sides in zip(spec.boundary, spec.padding, strict=True))
    if spec.dtypes.sum in WORDS and (produces == "w" or (produces == "x" and (folds or _epilogue_apart(spec)))):
        return "gradients whose sums may leave int64 are not built yet"
    return None


def _epilogue_apart(spec: Convolution) -> bool:
    """Whether a transposed convolution applies its epilogue after its jobs, to sums of a type that NumPy has to know."""
    if spec.epilogue == NO_EPILOGUE:
        return False
    return not spec.shared or any(phase.contraction is None for phase in phases(replace(lower(spec), taps=None).producing("x")))


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y"), the gradient of the input ("x") or of the weights ("w"), of shared weights (else tiled.py)."""
    if produces == "y":
        return Work((tile(Problem(lower(spec), spec.dtypes, spec.epilogue, machine, overflow=spec.overflow)),), spec.dtypes.y)
    return grad_input(spec, machine, join=_phases) if produces == "x" else _grad_weight(spec, machine)


def tile(problem: Problem) -> Job:
    """A gathering contraction by the tile that is expected to be fastest."""
    return Job(partial(_candidates, problem), partial(_program, problem), partial(_finer, problem), partial(_once, problem))


def _candidates(problem: Problem) -> Iterator[tuple[Tile, float]]:
    yield from space.candidates(problem)
    if problem.taps is None:
        yield from channel.candidates(problem)
        yield from depthwise.candidates(problem)
        yield from planes.candidates(problem)
        yield from whole_rows.candidates(problem)
        yield from turned_planes.candidates(problem)
        yield from pixels.candidates(problem)


def _program(problem: Problem, schedule: Tile) -> Program:
    match schedule:
        case Space():
            return space.program(problem, schedule)
        case Channel():
            return channel.program(problem, schedule)
        case Plane():
            return planes.program(problem, schedule)
        case Pixels():
            return pixels.program(problem, schedule)
        case Turned():
            return turned_planes.program(problem, schedule)
        case Rows():
            return whole_rows.program(problem, schedule)
    return depthwise.program(problem, schedule)


def _finer(problem: Problem, schedule: Tile, items: int) -> Tile:
    match schedule:
        case Space():
            return space.finer(problem, schedule, items)
        case Channel():
            return channel.finer(problem, schedule, items)
        case Plane():
            return planes.finer(problem, schedule, items)
        case Pixels():
            return pixels.finer(problem, schedule, items)
        case Turned():
            return turned_planes.finer(problem, schedule, items)
        case Rows():
            return whole_rows.finer(problem, schedule, items)
    return depthwise.finer(problem, schedule, items)


def _once(problem: Problem, schedule: Tile) -> Tile | None:
    return channel.once(problem, schedule) if isinstance(schedule, Channel) else None


def tile_of_phases(phases: Phases) -> Job:
    """Phases of a gradient by the tile that computes them together."""
    return Job(partial(phased.candidates, phases), partial(phased.program, phases), partial(phased.finer, phases))


def _phases(problems: Sequence[Problem]) -> list[Job]:
    """Phases of gradients by the tiles that are expected to be fastest; those of planes together where that is faster."""
    jobs: list[Job] = []
    for group in phased.groups(problems):
        apart, one = [tile(problem) for problem in group], phased.together(group)
        if one is not None:
            job = tile_of_phases(one)
            least = [min((cycles for _, cycles in each.candidates()), default=math.inf) for each in (job, *apart)]
            apart = [job] if least[0] < sum(least[1:]) else apart
        jobs += apart
    return jobs


def grad_input(
    spec: Convolution,
    machine: Machine,
    job: Callable[[Problem], Job] = tile,
    join: Callable[[Sequence[Problem]], Sequence[Job]] | None = None,
) -> Work:
    """The phases of the gradient of the input, after which strips of border are folded back. job: what computes one; join: what computes
    all of them."""
    contraction = replace(lower(spec), taps=None).producing("x")
    strips, found = regions(contraction)[1:], phases(contraction)
    bare = [phase for phase in found if phase.contraction is None]
    of, plain = spec.dtypes, spec.epilogue == NO_EPILOGUE
    finished = (not strips or of.x == of.sum) and (plain or not (strips or bare))
    epilogue = spec.epilogue if finished else NO_EPILOGUE
    dtypes = Dtypes(of.y, of.w, of.sum, of.x if finished else of.sum)
    overflow = spec.overflow if finished else "saturate"  # sums fit their own type; what becomes of them is decided once they are whole
    pieces = ((p.contraction, p.region) for p in found if p.contraction is not None)
    problems = [Problem(piece, dtypes, epilogue, machine, region, overflow) for piece, region in pieces]
    return Work(
        tuple(join(problems) if join else map(job, problems)),
        dtypes.y,
        finished,
        tuple(strip.shape for strip in strips),
        "strips of border, folded back",
        partial(_clear, {phase.region for phase in bare}) if bare else None,
        partial(_fold, contraction) if strips else None,
    )


def _grad_weight(spec: Convolution, machine: Machine) -> Work:
    """The outer or the dot tile; where the sum is cut into segments each leaves an array of its own, and these are added in order."""
    weights = Weights(Problem(replace(lower(spec), taps=None), spec.dtypes, NO_EPILOGUE, machine), spec.weight_layout)
    weights.problem.goal = int(weights.segments > 1)
    of, more = spec.dtypes, ((weights.segments, *spec.w_shape),) if weights.segments > 1 else ()
    job = outer_or_dot(weights)
    return Work((job,), of.sum, of.w == of.sum, more, "sums of segments, added in order", after=add_segments if more else None)


def outer_or_dot(weights: Weights) -> Job:
    from juanji.algorithms import dot, outer, row_sums  # which outputs do not need

    kind = row_sums if weights.in_rows else dot if weights.dot else outer
    return Job(partial(kind.candidates, weights), partial(kind.program, weights))


def add_segments(arrays: Arrays) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # infinities pass, as in the kernels
        np.add.reduce(arrays[1], axis=0, out=arrays[0])


def _clear(bare: Collection[int], arrays: Arrays) -> None:
    """Zeros in all of each region that has phases where no tap arrives: faster than in these alone, elements apart."""
    for region in bare:
        arrays[region].fill(0)


def _fold(contraction: Contraction, arrays: Arrays) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # infinities pass, as in the kernels
        fold_border(contraction, arrays)
