"""Phases of the gradient of the input that the matrix unit computes in one kernel: what they are, and where their taps lie.

With a stride s the gradient of the input is a convolution over the errors for each phase (`phases`). All of them read the same errors,
which one panel holds for them; each has taps and weights of its own. Of channels-first layers a tile of sums is 16 features × 16 pixels.
The phases of a line of outputs are summed one after the other, and what they sum takes turns as it leaves, so that lines are stored
whole: apart, each phase would store every s-th number of a line, and fetch all of it for that. Channels-last pixels leave as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from juanji.algorithms.matrix_layout import Blocks, Numbers, Table, unfolded
from juanji.algorithms.problem import Problem
from juanji.boundary import ZERO
from juanji.contraction import Contraction, Dimension, Operand
from juanji.jit.tiles import ROWS
from juanji.spec import itemsize

MOST_PHASES = 16  # of a line


class Phases(NamedTuple):
    """Phases of one region, those of a line one after the other; whole: a problem whose windows see all that any of them sees; line: how
    many phases of a line are put together, 1 of channels-last layers."""

    problems: Sequence[Problem]
    whole: Problem
    line: int

    def layout(self, of: Numbers, box: Sequence[int]) -> Blocks:
        """Where the errors of a chunk lie."""
        return Blocks(self.whole, of, box, panel=True, lines=self.line > 1)

    @property
    def taps(self) -> list[list[Table]]:
        """Of each phase where its taps lie along each axis, from the beginning of a whole window."""
        starts = [start for start, _ in _spans(self.problems)]
        return [[taps - start for taps, start in zip(_taps(problem), starts, strict=True)] for problem in self.problems]

    def across(self, row: int) -> int:
        """How many steps of all phases read pixels that begin between two cache lines, of `row` channels a step."""
        blocks = -(-self.whole.channels // row)
        return blocks * sum(math.prod(map(len, outer)) * int(np.count_nonzero(wide % ROWS)) for *outer, wide in self.taps)

    @property
    def goals(self) -> list[int]:
        """Bytes from the first phase's outputs to those of each line's first."""
        first, size = self.problems[0].contraction.y.offset, itemsize(self.whole.dtypes.y)
        return [(problem.contraction.y.offset - first) * size for problem in self.problems[:: self.line]]


def together(problems: Sequence[Problem], of: Numbers) -> Phases | None:
    """The phases of a region as one, if they have equally many outputs each, and lines of planes have all of theirs."""
    one = problems[0]
    inner = f"q{one.contraction.n - 1}"
    outs = [[problem.contraction.extent(f"q{i}") for i in range(one.contraction.n)] for problem in problems]
    if len(problems) == 1 or any(out != outs[0] for out in outs) or any(unfolded(problem, of) for problem in problems):
        return None
    line = 1 if one.last else one.contraction.y.along(inner).coefficient(inner)
    places = [problem.contraction.y.along(inner).offset for problem in problems]
    whole_lines = 1 < line <= MOST_PHASES and places == list(range(line)) * (len(problems) // line)
    if not (one.last or whole_lines):
        return None
    whole = Problem(_whole(problems), one.dtypes, one.epilogue, one.machine, one.goal, one.narrowing.overflow)
    return None if whole.loops.merged or len(whole.loops.spatial) < one.contraction.n else Phases(problems, whole, line)


def by_region(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Phases by the array that they write."""
    return [list(found) for _, found in itertools.groupby(problems, lambda problem: problem.goal)]


def _taps(problem: Problem) -> list[Table]:
    """Where the taps of the first output meet the errors, along each axis."""
    c = problem.contraction
    axes = [(c.x.along(f"q{i}"), f"k{i}") for i in range(c.n)]
    return [x.offset + x.coefficient(k) * np.arange(c.extent(k), dtype=np.int64) for x, k in axes]


def _spans(problems: Sequence[Problem]) -> list[tuple[int, int]]:
    """Along each axis the first place that a tap of any phase meets, and how many there are to the last."""
    axes = zip(*map(_taps, problems), strict=True)
    ends = [(min(int(taps.min()) for taps in axis), max(int(taps.max()) for taps in axis)) for axis in axes]
    return [(first, last - first + 1) for first, last in ends]


def _whole(problems: Sequence[Problem]) -> Contraction:
    """The contraction of the first phase with taps at all places that any phase sees."""
    c = problems[0].contraction
    spans = _spans(problems)
    extents = {**dict(c.axes), **{f"k{i}": length for i, (_, length) in enumerate(spans)}}
    spatial = {
        (x := c.x.along(f"q{i}")): replace(Dimension.over(x.size, (first, ((f"q{i}", 1), (f"k{i}", 1))), extents), boundary=ZERO)
        for i, (first, _) in enumerate(spans)
    }
    errors = Operand(tuple(spatial.get(d, d) for d in c.x.dimensions))
    return Contraction(tuple(extents.items()), errors, c.w, c.y, c.output, c.conjugated)
