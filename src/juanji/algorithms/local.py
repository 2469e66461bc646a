"""Weights with sites, tiled and locally connected: by the window tiles or the site tile, whichever is expected to be faster.

Which one it is shows in the bits of a long sum, so that it follows from the description for a single image, not from the batch.
All other choices are free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from juanji.algorithms import sites, windows
from juanji.algorithms.sited import Sited
from juanji.algorithms.sites import Sites
from juanji.algorithms.windows import Windows
from juanji.jit.program import Program
from juanji.machine import Machine
from juanji.spec import Convolution

Schedule = Windows | Sites


def candidates(spec: Convolution, produces: str, machine: Machine) -> Iterator[tuple[Schedule, float]]:
    """The schedules of the tile that a description is computed by, with their expected cycles on one core."""
    one = Sited(replace(spec, batch=1), produces, machine)
    tile = windows
    if sites.accepts(one):
        by_site, by_window = (min(cycles for _, cycles in kind.candidates(one)) for kind in (sites, windows))
        tile = sites if by_site < by_window else windows
    yield from tile.candidates(Sited(spec, produces, machine))


def program(spec: Convolution, produces: str, schedule: Schedule, machine: Machine) -> Program:
    """The kernel of a schedule, and its arguments."""
    s = Sited(spec, produces, machine)
    if isinstance(schedule, Sites):
        return sites.program(s, schedule)
    return windows.program(s, schedule)
