"""Windows of neighbouring sites gathered together (jit/neighbours.py): when they can be, where their parts lie, what it takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.problem import aligned
from juanji.algorithms.sited import Sited

Array = npt.NDArray[Any]

FEWEST = 4  # sites whose windows are worth being gathered together
PARTED = (1, 2, 3, 4)  # strides under which lines are parted into phases
ADDING_CYCLES = 4.0  # per vector of sites that is added to a line
TURN_CYCLES = 1.0  # per vector and round of a square that is turned in registers, and one more to move it


class Patch(NamedTuple):
    """What the windows of neighbouring sites see, in bytes: all of it, from channel to channel, line to line, phase to phase."""

    bytes: int
    channel: int
    line: int
    phase: int


def stretches(s: Sited) -> list[int]:
    """How many neighbouring sites may have their windows gathered together: 1, and as many as there are lanes or somewhat fewer.

    Windows are added back together wherever they can be, because the order of these sums shows in the bits; of a single axis they are
    not, because an item owns a band of it.
    """
    axis, sites = s.axes[-1], s.sites[-1]
    even = -(-sites // -(-sites // s.lanes))
    in_planes = s.machine.target.masks and not s.last and axis.stride in PARTED
    alike = axis.out % sites == 0  # all have as many rows
    if not (in_planes and alike and min(even, s.lanes) >= FEWEST and patch(s, even).bytes <= s.machine.l2 // 8):
        return [1]
    if s.produces == "x":
        return [even] if len(s.axes) > 1 and (axis.stride == 1 or axis.dilation == 1) else [1]
    return [1, even]


def square(s: Sited, stretch: int) -> int:
    """Lanes of a vector that a stretch of sites fills: the next power of two."""
    return min(1 << (stretch - 1).bit_length(), s.lanes)


def patch(s: Sited, stretch: int) -> Patch:
    """Room for the longest line, and for a row of a square that begins at its last tap."""
    axis = s.axes[-1]
    phase = aligned(((axis.reach - 1) // axis.stride + square(s, stretch)) * s.total)
    line = phase * axis.stride
    channel = line * (s.kernel // axis.kernel)
    return Patch(channel * s.channels, channel, line, phase)


def elements(s: Sited, stretch: int) -> Array:
    """Where in the patch each element of the first site's window lies, in the order of the weights; the last one again up to a square."""
    lies, axis = patch(s, stretch), s.axes[-1]
    taps = np.arange(axis.kernel, dtype=np.int64) * axis.dilation
    taps = taps[::-1] if s.spec.flip else taps
    along = taps % axis.stride * lies.phase + taps // axis.stride * s.total
    lines = np.arange(s.kernel // axis.kernel, dtype=np.int64) * lies.line
    channels = np.arange(s.channels, dtype=np.int64) * lies.channel
    one = (lines[:, None] + along).ravel()
    places = (one[:, None] + channels if s.channel_inner else channels[:, None] + one).ravel()
    return np.pad(places, (0, -len(places) % s.lanes), mode="edge")


def all_stretches(s: Sited, stretch: int) -> int:
    """Stretches of all sites."""
    return s.all_sites // s.sites[-1] * -(-s.sites[-1] // stretch)


def words(s: Sited, stretch: int) -> dict[str, int]:
    """The arguments about a stretch."""
    return {"stretch": stretch, "stretches": -(-s.sites[-1] // stretch)}


def lines(s: Sited, stretch: int) -> dict[str, int]:
    """The arguments about the patch of a stretch."""
    lies = patch(s, stretch)
    return {"channel_pitch": lies.channel, "line": lies.line, "phase": lies.phase, "reach": s.axes[-1].reach}


def turned_bytes(s: Sited, channels: int, stretch: int) -> int:
    """Room for the gradients of a stretch of windows, turned."""
    side = square(s, stretch)
    return -(-channels * s.kernel // side) * side * side * s.total


def turn_cycles(s: Sited, count: int, stretch: int) -> float:
    """To turn `count` elements of a stretch of sites, for each site."""
    side = square(s, stretch)
    return -(-count // side) * side * side.bit_length() * TURN_CYCLES / stretch


def window_cycles(s: Sited, stretch: int) -> float:
    """To gather the window of one row."""
    lines, vectors = s.depth // s.spec.kernel[-1], patch(s, stretch).line // (s.lanes * s.total)
    return turn_cycles(s, s.depth, stretch) + lines * vectors * costs.COPY_CYCLES / stretch


def adding_cycles(s: Sited, channels: int, stretch: int) -> float:
    """To add the gradient of one row's window back."""
    return turn_cycles(s, channels * s.kernel, stretch) + channels * s.kernel * ADDING_CYCLES / stretch
