"""Schedules: what the optimiser's rate is multiplied by, as training goes on.

Each is called with the iteration, from 0, and the number of iterations of the whole training, and keeps nothing in between, so that a
run which is taken up again needs no memory of it. A constant rate is no schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from juanji.errors import ArgumentError


class Schedule(Protocol):
    """A factor for the learning rate."""

    def __call__(self, iteration: int, total: int) -> float:
        """The factor at an iteration, 0 ≤ iteration < total."""


@dataclass(frozen=True)
class StepDecay:
    """Times `factor` at each of these parts of the way.

    >>> [StepDecay((0.5, 0.75))(i, 100) for i in (0, 49, 50, 99)]
    [1.0, 1.0, 0.1, 0.010000000000000002]
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __call__(self, iteration: int, total: int) -> float:
        return float(self.factor ** sum(iteration >= part * total for part in self.at))


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from 1 down to `end` (Loshchilov & Hutter 2017)."""

    end: float = 0.0

    def __call__(self, iteration: int, total: int) -> float:
        return _cosine(1.0, self.end, iteration / max(total, 1))


@dataclass(frozen=True)
class WarmUp:
    """A straight line from `start` to 1 in the first `iterations`; then another schedule over what is left, or 1."""

    iterations: int
    then: Schedule | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ArgumentError(f"iterations (={self.iterations}) must be at least 1")

    def __call__(self, iteration: int, total: int) -> float:
        if iteration < self.iterations:
            return self.start + (1 - self.start) * (iteration + 1) / self.iterations
        return 1.0 if self.then is None else self.then(iteration - self.iterations, max(total - self.iterations, 1))


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up from `start` to 1, which is reached after the part `peak` of the way, and another down to `end` (Smith 2018).

    The last iteration has the factor `end`, as in PyTorch's OneCycleLR.
    """

    peak: float = 0.3
    start: float = 1 / 25
    end: float = 1 / 250_000

    def __post_init__(self) -> None:
        if not 0 < self.peak < 1:
            raise ArgumentError(f"peak (={self.peak!r}) must be above 0 and below 1")

    def __call__(self, iteration: int, total: int) -> float:
        top, last = self.peak * total - 1, total - 1
        if iteration <= top:
            return _cosine(self.start, 1.0, iteration / top) if top > 0 else 1.0
        return _cosine(1.0, self.end, (iteration - top) / (last - top))


def _cosine(first: float, last: float, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2
