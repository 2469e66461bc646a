"""Gradients kept within bounds, so that one odd batch cannot throw the parameters far away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class Clip(Protocol):
    """What bounds gradients."""

    def __call__(self, gradients: Arrays) -> Arrays:
        """Gradients within the bound; those that are given stay as they are."""


@dataclass(frozen=True)
class ClipNorm:
    """All gradients scaled by one factor where their common length √(Σ g²) is above the limit (Pascanu et al. 2013).

    >>> clipped = ClipNorm(1.0)({"a": np.array([3.0]), "b": np.array([4.0])})
    >>> [round(float(g[0]), 3) for g in clipped.values()]
    [0.6, 0.8]
    """

    limit: float

    def __post_init__(self) -> None:
        _positive(self.limit)

    def __call__(self, gradients: Arrays) -> Arrays:
        length = math.sqrt(sum(float(np.sum(g * g, dtype=np.float64)) for g in gradients.values()))
        if length <= self.limit:
            return gradients
        return {name: g * g.dtype.type(self.limit / length) for name, g in gradients.items()}


@dataclass(frozen=True)
class ClipValue:
    """Every element kept within ±limit."""

    limit: float

    def __post_init__(self) -> None:
        _positive(self.limit)

    def __call__(self, gradients: Arrays) -> Arrays:
        return {name: np.clip(g, -self.limit, self.limit) for name, g in gradients.items()}


def _positive(limit: float) -> None:
    if not limit > 0:
        raise ArgumentError(f"limit (={limit!r}) must be above 0")
