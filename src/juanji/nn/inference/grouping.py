"""Which neighbouring stages are run by strips of rows: those between which values pass that the second cache would not hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod

from juanji.machine import Machine
from juanji.nn.inference.rows import ByRows
from juanji.nn.inference.strips import Member, Strips
from juanji.nn.operator import Shape

LARGE = 1 / 3  # of the second cache: larger values are not there any more when the next stage wants them
ROOM = 0.4  # of the second cache for windows and weights
MOVED = 1 / 4  # of the stages' time, that values between would take to go to memory and back: for less, strips do not pay
FEWEST_PIXELS = 192  # of a strip: with fewer, starting the stages takes longer than memory would


class Grouping:
    """The stages of a network in order, and what is needed to judge groups of them.

    rows: each stage's way to compute a few rows, or None. shapes: of all values, channels last; kept: outputs of the network.
    seconds: that each stage is expected to take.
    """

    def __init__(
        self,
        stages: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
        rows: Sequence[ByRows | None],
        shapes: Mapping[str, Shape],
        kept: Collection[str],
        seconds: Sequence[float],
        machine: Machine,
        bands: int,
        itemsize: int,
    ):
        self.rows, self.shapes, self.seconds, self.machine, self.bands, self.itemsize = rows, shapes, seconds, machine, bands, itemsize
        self.inputs = [inputs for inputs, _ in stages]
        self.output = [outputs[0] for _, outputs in stages]
        self.last = {name: len(stages) if name in kept else i for i, names in enumerate(self.inputs) for name in names}
        self.batch = shapes[self.output[0]][0] if stages else 1
        self.last |= dict.fromkeys(kept, len(stages))

    def groups(self) -> list[tuple[int, int, Strips | None]]:
        """(first, last, how) of neighbours that cover all stages; None where a stage runs by itself."""
        found: list[tuple[int, int, Strips | None]] = []
        first = 0
        while first < len(self.rows):
            last = first + 1
            while last < len(self.rows) and self.rows[last - 1] and self.rows[last] and self._crossing(last) > LARGE * self.machine.l2:
                last += 1
            found += self._divided(first, last)
            first = last
        return found

    def _crossing(self, stage: int, first: int = 0) -> int:
        """Bytes of the largest value of a picture that stages from `first` on make before a stage, and that it or a later one reads."""
        return max((self._bytes(self.output[i]) for i in range(first, stage) if self.last.get(self.output[i], -1) >= stage), default=0)

    def _bytes(self, value: str) -> int:
        return prod(self.shapes[value][1:]) * self.itemsize

    def _divided(self, first: int, last: int) -> list[tuple[int, int, Strips | None]]:
        """One group, if it can be had, else two divided where least passes between them."""
        if last - first == 1:
            return [(first, last, None)]
        strips = self._strips(first, last)
        if strips is not None:
            return [(first, last, strips)]
        middle = min(range(first + 1, last), key=lambda stage: self._crossing(stage, first))
        return self._divided(first, middle) + self._divided(middle, last)

    def _strips(self, first: int, last: int) -> Strips | None:
        """The stages by the highest strips that the cache holds; None where these are too low, or no other stage reads what one makes."""
        chosen = [rows for rows in self.rows[first:last] if rows is not None]
        members = tuple(map(Member, self.inputs[first:last], self.output[first:last], chosen))
        read = {name for member in members for name in member.inputs}
        if any(member.output not in read for member in members[:-1]):
            return None
        kept = frozenset(name for name in self.output[first:last] if name == self.output[last - 1] or self.last[name] >= last)
        between = sum(self._bytes(member.output) for member in members if member.output not in kept)
        if 2 * self.batch * between / self.machine.bandwidth < MOVED * sum(self.seconds[first:last]):
            return None
        room = ROOM * self.machine.l2 - sum(member.rows.weights for member in members)
        goal = self.shapes[members[-1].output]
        for count in range(2, goal[1] + 1):
            height = -(-goal[1] // count)
            if height * prod(goal[2:-1]) < FEWEST_PIXELS:
                return None
            strips = Strips(members, self.shapes, kept, height, self.bands, self.itemsize)
            if strips.windows()[1] <= room:
                return strips
        return None
