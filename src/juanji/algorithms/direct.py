"""The direct sum over the window, by the space tile or the channel tile, whichever is expected to be faster."""

from __future__ import annotations

from collections.abc import Iterator

from juanji.algorithms import channel, space
from juanji.algorithms.channel import Channel
from juanji.algorithms.problem import Problem
from juanji.algorithms.space import Space
from juanji.jit.program import Program
from juanji.machine import Machine
from juanji.spec import Convolution

Schedule = Space | Channel


def accepts(spec: Convolution) -> str | None:
    """None, or why this algorithm does not compute the description yet."""
    if not spec.shared:
        return "tiled and locally connected weights are not built yet"
    return None


def candidates(spec: Convolution, machine: Machine) -> Iterator[tuple[Schedule, float]]:
    """Every schedule that fits the machine's registers, with its expected cycles on one core."""
    problem = Problem(spec, machine)
    yield from space.candidates(problem)
    if problem.taps is None:
        yield from channel.candidates(problem)


def choose(spec: Convolution, machine: Machine) -> tuple[Schedule, float]:
    """The schedule with the least expected cycles, and these."""
    return min(candidates(spec, machine), key=lambda found: found[1])


def build(spec: Convolution, schedule: Schedule, machine: Machine) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem = Problem(spec, machine)
    if isinstance(schedule, Space):
        return space.program(problem, schedule)
    return channel.program(problem, schedule)
