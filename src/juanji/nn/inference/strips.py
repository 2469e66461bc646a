"""Several stages run on one strip of rows after another, so that what passes between them stays in the second cache.

The values between are larger than that cache. Computed stage by stage, each would be written to memory and read back; the multiply-adds
of a depthwise layer, or of one with few channels, take less time than that. Here the last stage asks for a strip of its rows, every
stage before it for the rows that this takes, less those which it has already made, and only these are computed: nothing twice. A value
that nobody outside reads exists only as a window of rows, which is moved along the picture.

    stage            rows that exist of its value while strip 3 is made
    1×1 expansion               [halo | new rows]
    3×3 depthwise                   [new rows]
    1×1 projection   [strip 1 | strip 2 | strip 3]       all are kept, for whoever reads them

Where threads share a picture each takes a band of its rows, with windows of its own; rows at the edges of bands are computed by both
neighbours. Halide calls this schedule a sliding window with folded storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from juanji.jit.memory import LINE
from juanji.nn.inference.rows import ByRows, copied
from juanji.nn.operator import Array, Shape
from juanji.run import Ready
from juanji.sequence import Lanes


class Member(NamedTuple):
    """A stage among those that are run by strips."""

    inputs: tuple[str, ...]
    output: str
    rows: ByRows


class Strip(NamedTuple):
    """wanted: the first row of each value between that is read in this strip; made: rows (first, last) that each stage adds."""

    wanted: Mapping[str, int]
    made: tuple[tuple[int, int], ...]


class Window(NamedTuple):
    """Where a value's rows lie: rows of it that the window holds, and bytes from the start of the memory for all windows."""

    rows: int
    begin: int


@dataclass(frozen=True)
class Strips:
    """The members in order, the last of which asks the others. shapes: of all values, channels last; kept: values wanted outside.

    height: rows of a strip. bands: of a picture, for as many threads.
    """

    members: tuple[Member, ...]
    shapes: Mapping[str, Shape]
    kept: frozenset[str]
    height: int
    bands: int = 1
    itemsize: int = 4

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values from outside."""
        made = {member.output for member in self.members}
        return tuple(dict.fromkeys(name for member in self.members for name in member.inputs if name not in made))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that are kept whole."""
        return tuple(member.output for member in self.members if member.output in self.kept)

    @property
    def goal(self) -> str:
        """What the last member makes."""
        return self.members[-1].output

    def row_bytes(self, value: str) -> int:
        """Bytes of a row of one picture."""
        return prod(self.shapes[value][2:]) * self.itemsize

    def edges(self) -> list[int]:
        """Where the bands begin, and the end."""
        rows, bands = self.shapes[self.goal][1], self._bands
        return [rows * band // bands for band in range(bands + 1)]

    @property
    def _bands(self) -> int:
        """Bands of one picture: one, where there are pictures enough."""
        batch, rows = self.shapes[self.goal][:2]
        return 1 if batch >= self.bands else min(self.bands, -(-rows // self.height))

    def band(self, band: int) -> list[Strip]:
        """The strips of a band."""
        edges = self.edges()
        if band + 1 < len(edges) - 1:  # rows that only the outside reads are made by one of two neighbours
            following = next(self._strips(edges[band + 1], edges[band + 2], {})).wanted
            until = {name: following[name] for name in self.kept if name in following}
        else:
            until = {name: self.shapes[name][1] for name in self.kept}
        return list(self._strips(edges[band], edges[band + 1], until))

    def _strips(self, first: int, last: int, until: Mapping[str, int]) -> Iterator[Strip]:
        made: dict[str, int] = {}
        for start in range(first, last, self.height):
            end = min(start + self.height, last)
            wanted: dict[str, tuple[int, int]] = {self.goal: (start, end)}
            ranges = []
            for member in reversed(self.members):
                begin, stop = wanted[member.output]
                begin = min(begin, made.get(member.output, begin))
                new = made.get(member.output, begin)
                stop = max(stop, new, until.get(member.output, 0) if end == last else 0)
                wanted[member.output] = begin, stop
                made[member.output] = stop
                ranges.append((new, stop))
                for name in member.inputs:
                    low, high = member.rows.reach.rows(new, stop, self.shapes[name][1])
                    before = wanted.get(name, (low, high))
                    wanted[name] = min(low, before[0]), max(high, before[1])
            outside = self.inputs
            yield Strip({name: low for name, (low, _) in wanted.items() if name not in outside}, tuple(reversed(ranges)))

    def windows(self) -> tuple[dict[str, Window], int]:
        """The window of each value that is not kept, and the bytes of all, for one list of calls."""
        rows: dict[str, int] = {}
        for band in range(self._bands):
            for strip in self.band(band):
                for member, (_, last) in zip(self.members, strip.made, strict=True):
                    if member.output not in self.kept:
                        rows[member.output] = max(rows.get(member.output, 0), last - strip.wanted[member.output])
        found, begin = {}, 0
        for name, count in rows.items():
            found[name] = Window(count, begin)
            begin += -(-count * self.row_bytes(name) // LINE) * LINE + LINE  # not a power of two apart
        return found, begin

    @property
    def room(self) -> int:
        """Bytes for the windows of all lists of calls that can run beside each other: bands of a picture, or pictures of a batch."""
        return self.windows()[1] * self.bands

    def ready(self, values: Mapping[str, Array], room: Array) -> Lanes:
        """All calls, on values with channels last that stay where they are; room: memory for the windows."""
        windows, size = self.windows()
        dtype = values[self.goal].dtype
        lanes: list[list[Ready]] = [[] for _ in range(self.bands)]
        tasks = [(picture, band) for picture in range(self.shapes[self.goal][0]) for band in range(self._bands)]
        for task, (picture, band) in enumerate(tasks):
            lane = task % len(lanes)
            held = {
                name: np.ndarray((1, window.rows, *self.shapes[name][2:]), dtype, room, lane * size + window.begin)
                for name, window in windows.items()
            }
            whole = {name: values[name][picture : picture + 1] for name in (*self.inputs, *self.outputs)}
            lanes[lane] += self._calls(self.band(band), whole, held)
        return Lanes([lane for lane in lanes if lane])

    def _calls(self, strips: Sequence[Strip], whole: Mapping[str, Array], held: Mapping[str, Array]) -> Iterator[Ready]:
        """The calls for one band of a picture. Windows are moved when what is new does not fit behind what is still wanted."""
        begins = dict.fromkeys(held, 0)  # the row of a value with which its window begins
        ends = dict.fromkeys(held, 0)

        def rows(name: str, first: int, last: int) -> Array:
            if name in held:
                return held[name][:, first - begins[name] : last - begins[name]]
            return whole[name][:, first:last]

        for strip in strips:
            for member, (first, last) in zip(self.members, strip.made, strict=True):
                name, low = member.output, strip.wanted[member.output]
                if name in held and last - begins[name] > held[name].shape[1]:
                    if ends[name] > low:
                        yield copied(rows(name, low, ends[name]), held[name][:, : ends[name] - low])
                    begins[name] = low
                if name in held:
                    ends[name] = last
                if last > first:
                    reach, heights = member.rows.reach, [self.shapes[source][1] for source in member.inputs]
                    ranges = [reach.rows(first, last, height) for height in heights]
                    reads = [rows(source, *between) for source, between in zip(member.inputs, ranges, strict=True)]
                    yield member.rows.ready(reads, rows(name, first, last), reach.outside(first, last, heights[0]))
