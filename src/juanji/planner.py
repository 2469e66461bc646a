"""From a description to a way of computing it: the table of algorithms, and the `Plan` that prints its reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy.typing as npt

from juanji import machine as machines
from juanji import winners
from juanji.algorithms import box, direct, dot_product, fft, matrix, separable, winograd
from juanji.algorithms.costs import START_CYCLES
from juanji.algorithms.direct import Job, Work
from juanji.errors import ArgumentError, NotBuiltError
from juanji.machine import Machine
from juanji.plans import Plan, readable, seconds_of
from juanji.recall import recalled
from juanji.spec import Convolution

Array = npt.NDArray[Any]
Choice = tuple[Any, float]  # a schedule and its expected cycles


class Algorithm(NamedTuple):
    """accepts: None or why it does not compute that product of a description; work: the jobs that make it.

    accurate: whether its rounding errors are no larger than the direct sum's.
    strict: whether that holds of all numbers, the smallest, infinities and NaN included.
    same_bits: whether every schedule of a description gives the same bits, so that `tune` may choose among them.
    int32: whether it sums integers in int32, which others do not.
    """

    accepts: Callable[[Convolution, str], str | None]
    work: Callable[[Convolution, str, Machine], Work]
    accurate: bool
    strict: bool
    same_bits: bool = False
    int32: bool = False

    @property
    def margin(self) -> float:
        """What its expected time counts, times itself, where it is compared with others."""
        return 1.0 if self.accurate else MARGIN


def _direct(spec: Convolution, produces: str, machine: Machine) -> Work:
    if spec.shared:
        return direct.work(spec, produces, machine)
    from juanji.algorithms import tiled  # the tiles of sites take as long to import as those of shared weights

    return tiled.work(spec, produces, machine)


ALGORITHMS = {
    "direct": Algorithm(direct.accepts, _direct, accurate=True, strict=True, same_bits=True),
    "winograd": Algorithm(winograd.accepts, winograd.work, accurate=False, strict=False, same_bits=True),
    "fft": Algorithm(fft.accepts, fft.work, accurate=False, strict=False),
    "separable": Algorithm(partial(separable.accepts, low_rank=False), separable.work, accurate=True, strict=True, same_bits=True),
    "box": Algorithm(box.accepts, box.work, accurate=True, strict=True, same_bits=True),
    "low_rank": Algorithm(partial(separable.accepts, low_rank=True), separable.work, accurate=False, strict=False, same_bits=True),
    "matrix": Algorithm(matrix.accepts, matrix.work, accurate=True, strict=False, same_bits=True, int32=True),
    "dot_product": Algorithm(dot_product.accepts, dot_product.work, accurate=True, strict=False, same_bits=True, int32=True),
}
PRECISIONS = ("default", "strict")
SMALL_PART = 100e3  # cycles below which a part may take a tile that is not its best
WAITING = 1e-12  # seconds that count for a cycle while bytes move: of algorithms that wait for them, the one with least to do is taken
MARGIN = 1.1  # by which an algorithm of larger error must be faster
PREPARED = {"y": 0.2, "x": 1.0, "w": 0.0}  # of preparing weights, what is counted to a call: outputs are often computed with bound ones
IMAGES = {"y": 1, "x": 4}  # that algorithms are compared for, whatever the batch: gradients of inputs are those of batches


def plan_for(spec: Convolution, algorithm: str = "auto", precision: str = "default", produces: str = "y") -> Plan:
    """The plan of a description; the same object for equal descriptions.

    produces: "y" the output, "x" the gradient of the input, "w" that of the weights.
    Raises ArgumentError for an unknown algorithm, NotBuiltError where none accepts the description.
    """
    for name, value, valid in (("algorithm", algorithm, ("auto", *ALGORITHMS)), ("precision", precision, PRECISIONS)):
        if not isinstance(value, str) or value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    return _plan_for(spec, algorithm, precision, produces)


@lru_cache(maxsize=1024)
def _plan_for(spec: Convolution, algorithm: str, precision: str, produces: str) -> Plan:
    machine = machines.probe()
    refused = {name: reason for name in ALGORITHMS if (reason := refusal(spec, algorithm, precision, produces, name))}
    accepting = [name for name in ALGORITHMS if name not in refused]
    if not accepting:
        raise NotBuiltError("; ".join(f"{name}: {reason}" for name, reason in refused.items()))
    chosen = accepting[0]
    if len(accepting) > 1:
        seconds = _compared(spec, produces, tuple(accepting))
        chosen = min(seconds, key=lambda name: seconds[name] * ALGORITHMS[name].margin)
        tuned = winners.algorithm(spec, produces, precision) if algorithm == "auto" else None
        if tuned is not None and tuned in accepting:
            chosen = tuned
        compared = " for one image in either layout" if produces in IMAGES else ""
        refused |= {
            name: f"{readable(seconds[name])} expected{compared}, and {readable(seconds[chosen])} for {chosen}"
            + (", which was faster when tuned" if tuned == chosen else "")
            for name in accepting
            if name != chosen
        }
    work = ALGORITHMS[chosen].work(spec, produces, machine)
    won = winners.winner(spec, produces, chosen)
    remembered = None if won is None else _named(work.jobs, won.schedules)
    return Plan(spec, produces, chosen, work, remembered or choose(work.jobs), machine, refused, won if remembered is not None else None)


winners.EMPTY_PLANS.append(_plan_for.cache_clear)


def refusal(spec: Convolution, algorithm: str, precision: str, produces: str, name: str) -> str | None:
    """Why an algorithm is not considered."""
    if algorithm not in ("auto", name):
        return "another algorithm was asked for"
    if precision == "strict" and not (ALGORITHMS[name].strict or spec.dtypes.integers):  # whose sums are exact by all algorithms
        return "its error is larger than the direct sum's, and precision is strict"
    if spec.dtypes.sum == "int32" and not ALGORITHMS[name].int32:
        return "no sums in int32"
    return ALGORITHMS[name].accepts(spec, produces)


def _compared(spec: Convolution, produces: str, names: tuple[str, ...]) -> dict[str, float]:
    """What algorithms are compared by: the expected seconds of so many images, one by one, and of both layouts the geometric mean.

    Neither batch nor layout may show in the bits, so the choice is the same for all; but those of gradients of weights follow from
    both in any case, so that these are compared for the description as it is.
    """
    if produces not in IMAGES:
        return expected(spec, produces, names)
    images = IMAGES[produces]
    last, first = (expected(replace(one, batch=images), produces, names) for one in winners.one_image(spec))
    return {name: math.sqrt(last[name] * first[name]) / images for name in names}


@lru_cache(maxsize=1024)
def expected(spec: Convolution, produces: str, names: tuple[str, ...]) -> dict[str, float]:
    """The expected seconds of some algorithms, each with its share of what preparing the weights takes."""
    machine = machines.probe()
    return recalled(("expected", spec, produces, names, machine), lambda: _expected(spec, produces, names, machine))


def _expected(spec: Convolution, produces: str, names: Sequence[str], machine: Machine) -> dict[str, float]:
    found = {}
    for name in names:
        work = ALGORITHMS[name].work(spec, produces, machine)
        cycles = sum(START_CYCLES + cycles for _, cycles in choose(work.jobs)) + PREPARED[produces] * work.preparing
        found[name] = seconds_of(spec, cycles, machine) + WAITING * cycles
    return found


def choose(jobs: Sequence[Job]) -> list[Choice]:
    """The schedule of least expected cycles for each job; small ones share a tile with the others where that costs little, so that
    the many pieces of a gradient do not each compile a kernel of their own."""
    found = [list(job.candidates()) for job in jobs]
    chosen = [min(candidates, key=lambda choice: choice[1]) for candidates in found]
    tiles: set[Any] = set()
    for i in sorted(range(len(chosen)), key=lambda i: -chosen[i][1]):
        if tiles and chosen[i][1] < SMALL_PART:
            most = chosen[i][1] + SMALL_PART
            alike = [(schedule, cycles) for schedule, cycles in found[i] if cycles < most and schedule.tile in tiles]
            chosen[i] = min(alike, key=lambda choice: choice[1], default=chosen[i])
        if len(chosen) > 1:
            tiles.add(chosen[i][0].tile)
    return chosen


def _named(jobs: Sequence[Job], names: Sequence[str]) -> list[Choice] | None:
    """The schedules that print so; no names leave the choice as it is. None where a job has no such schedule."""
    if not names:
        return []
    if len(names) != len(jobs):
        return None
    found = [next((choice for choice in job.candidates() if repr(choice[0]) == name), None) for job, name in zip(jobs, names, strict=True)]
    named = [choice for choice in found if choice is not None]
    return named if len(named) == len(jobs) else None
