"""Windows of neighbouring sites gathered together (jit/neighbours.py): when they can be, where their parts lie, what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.problem import aligned
from juanji.algorithms.sited import Room, Sited

Array = npt.NDArray[Any]

FEWEST = 4  # sites whose windows are worth being gathered together
PARTED = (1, 2, 3, 4)  # strides under which lines are parted into phases
TURN_CYCLES = 1.0  # per vector and round of a square that is turned in registers, and one more to move it


class Patch(NamedTuple):
    """What the windows of neighbouring sites see, in bytes: all of it, from channel to channel, line to line, phase to phase."""

    bytes: int
    channel: int
    line: int
    phase: int


def stretches(s: Sited) -> Iterator[int]:
    """How many neighbouring sites may have their windows gathered together: 1, and as many as there are lanes or somewhat fewer."""
    yield 1
    sites = s.sites[-1]
    even = -(-sites // -(-sites // s.lanes))
    in_planes = s.machine.target.masks and not s.last and s.spec.stride[-1] in PARTED
    alike = s.spec.output[-1] % sites == 0  # all have as many rows
    if s.produces != "x" and in_planes and alike and min(even, s.lanes) >= FEWEST and patch(s, even).bytes <= s.machine.l2 // 8:
        yield even


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


def words(s: Sited, stretch: int, room: Room) -> dict[str, int]:
    """The arguments about a stretch and its patch, which takes its place in scratch."""
    lies = patch(s, stretch)
    return {
        "stretch": stretch, "stretches": -(-s.sites[-1] // stretch), "patch": room.take(lies.bytes), "channel_pitch": lies.channel,
        "line": lies.line, "phase": lies.phase, "reach": s.axes[-1].reach,
    }  # fmt: skip


def turn_cycles(s: Sited, count: int, stretch: int) -> float:
    """To turn `count` elements of a stretch of sites, for each site."""
    side = square(s, stretch)
    return -(-count // side) * side * side.bit_length() * TURN_CYCLES / stretch


def window_cycles(s: Sited, stretch: int) -> float:
    """To gather the window of one row."""
    lines, vectors = s.depth // s.spec.kernel[-1], patch(s, stretch).line // (s.lanes * s.total)
    return turn_cycles(s, s.depth, stretch) + lines * vectors * costs.COPY_CYCLES / stretch
