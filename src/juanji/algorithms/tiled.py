"""The direct sum with weights that have sites: by the tiles of shared weights, a site at a time, or by those that read windows (local.py).

Where sites are few and each has many positions, the positions of one site after those of another (turns.py) are convolutions large enough
for the tiles of shared weights, which share each weight among more pixels and gather no windows. Each site's weights are put in order for
them, which takes as long as some positions do; where sites are many, weights are better read where they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy.typing as npt

from juanji.algorithms import local
from juanji.algorithms.costs import MOST_STEP, START_CYCLES
from juanji.algorithms.direct import Job, Work, add_segments, grad_input, outer_or_dot, tile
from juanji.algorithms.problem import Problem
from juanji.algorithms.weights import Weights
from juanji.contraction import Contraction, lower
from juanji.jit.program import Program
from juanji.machine import Machine
from juanji.spec import NO_EPILOGUE, Convolution, itemsize
from juanji.turns import mixed, of_phase, turns

Array = npt.NDArray[Any]
Pack = Callable[[Array], Array]

MOST_JOBS = 64  # more take longer to plan and to start than they save
FEWEST_POSITIONS = 32  # of a site: with fewer its weights are put in order for little
APART = 1.5  # times what the gradient of shared weights takes, where errors have gaps between them


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y"), the gradient of the input ("x") or of the weights ("w")."""
    finished = produces == "y" or spec.epilogue == NO_EPILOGUE
    if not finished:
        spec = replace(spec, epilogue=NO_EPILOGUE, dtypes=spec.dtypes._replace(x=spec.dtypes.sum))
    if _pays(spec, produces, machine):
        found = in_turns(spec, produces, machine)
        return replace(found, finished=finished and found.finished)
    job = Job(partial(local.candidates, spec, produces, machine), partial(local.program, spec, produces, machine=machine))
    return Work((job,), getattr(spec.dtypes, produces), finished)


@lru_cache(maxsize=1024)
def _pays(spec: Convolution, produces: str, machine: Machine) -> bool:
    """Whether turns are expected to be faster than reading windows: for one image, whatever the batch, because it shows in the bits."""
    steps = spec.stride if produces == "x" else (1,) * spec.n
    sites = spec.sites or ()
    if max(sites) > MOST_STEP or math.prod((*sites, *steps)) > MOST_JOBS or math.prod(spec.output) < FEWEST_POSITIONS * math.prod(sites):
        return False
    if produces != "x" and not all(boundary.constant for boundary in spec.boundary):
        return False  # seen from a later start an array is shorter, and other elements lie beyond its end
    one = replace(spec, batch=1)
    cycles = sum(START_CYCLES + min(cycles for _, cycles in job.candidates()) for job in in_turns(one, produces, machine).jobs)
    return cycles * (APART if produces == "w" else 1.0) < min(cycles for _, cycles in local.candidates(one, produces, machine))


def in_turns(spec: Convolution, produces: str, machine: Machine) -> Work:
    """The jobs of every site, or of every phase of the gradient of the input in turns of the sites."""
    sites, shared = spec.sites or (), replace(spec, sites=None)
    match produces:
        case "y":
            return _output(shared, sites, machine)
        case "x":
            return grad_input(shared, machine, join=partial(_phases, sites))
    return _grad_weight(shared, sites, machine)


def _output(spec: Convolution, sites: tuple[int, ...], machine: Machine) -> Work:
    jobs = []
    for contraction, site in turns(replace(lower(spec), taps=None), sites):
        problem = Problem(contraction, spec.dtypes, spec.epilogue, machine, overflow=spec.overflow)
        jobs.append(_adapted(tile(problem), partial(_of_site, site)))
    return Work(tuple(jobs), spec.dtypes.y)


def _phases(sites: tuple[int, ...], problems: Sequence[Problem]) -> list[Job]:
    """The phases of the gradient of the input, each in turns of the sites."""
    jobs = []
    for problem in problems:
        for contraction, _ in turns(problem.contraction, sites):
            overflow = problem.narrowing.overflow
            own = Problem(of_phase(contraction), problem.dtypes, problem.epilogue, problem.machine, problem.goal, overflow)
            jobs.append(_adapted(tile(own), partial(_of_turn, contraction, sites)))
    return jobs


def _grad_weight(spec: Convolution, sites: tuple[int, ...], machine: Machine) -> Work:
    """The gradient of each site's weights, from the errors of its own positions; those with segments have an array of these each."""
    of, jobs, segmented = spec.dtypes, list[Job](), dict[tuple[int, ...], tuple[int, ...]]()
    size, first = math.prod(spec.w_shape) * itemsize(of.sum), spec.layout == "channels_first"
    for number, (contraction, site) in enumerate(turns(replace(lower(spec), taps=None), sites)):
        weights = Weights(Problem(contraction, of, NO_EPILOGUE, machine), spec.weight_layout)
        apart = weights.segments > 1
        if apart:
            segmented[site] = (weights.segments, *spec.w_shape)
        weights.problem.goal = len(segmented) if apart else 0
        own: tuple[Any, ...] = tuple(slice(u, None, t) for u, t in zip(site, sites, strict=True))
        errors = partial(_errors_of, (..., *own) if first else (slice(None), *own))
        jobs.append(_adapted(outer_or_dot(weights), errors, start=0 if apart else number * size))
    after = partial(_add_segments, tuple(segmented)) if segmented else None
    more = tuple(segmented.values())
    return Work(tuple(jobs), of.sum, of.w == of.sum, more, "sums of segments, added in order", after=after)


def _add_segments(sites: Sequence[tuple[int, ...]], arrays: Sequence[Array]) -> None:
    for site, segments in zip(sites, arrays[1:], strict=True):
        add_segments((arrays[0][site], segments))


# Operands ------------------------------------------------------------------------------------------------------------------


def _adapted(job: Job, packed: Callable[[Pack, Array], Array], start: int = 0) -> Job:
    """The job on a part of its operands: packed puts one in order by the job's own function. start: bytes before its part of the result."""
    return replace(job, program=partial(_program, job.program, packed, start))


def _program(program: Callable[[Any], Program], packed: Callable[[Pack, Array], Array], start: int, schedule: Any) -> Program:
    found = program(schedule)
    weights, bias = partial(packed, found.pack_weights), partial(packed, found.pack_bias)
    return replace(found, pack_weights=weights, pack_bias=bias, y_start=found.y_start + start)


def _of_site(site: tuple[int, ...], pack: Pack, array: Array) -> Array:
    return pack(array[site])


def _of_turn(contraction: Contraction, sites: tuple[int, ...], pack: Pack, w: Array) -> Array:
    return pack(mixed(w, contraction, sites))


def _errors_of(own: tuple[Any, ...], pack: Pack, dy: Array) -> Array:
    errors: Array = pack(dy)[own]
    return errors
