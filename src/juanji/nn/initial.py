"""What parameters start from.

fan_in is the number of inputs that one output sums, fan_out the number of outputs that one input reaches.
    He        normal with variance 2 / fan_in: keeps the size of activations through relu (He et al. 2015)
    Glorot    uniform with variance 2 / (fan_in + fan_out): keeps activations and gradients through tanh (Glorot & Bengio 2010)
    Normal    normal with a given deviation; 0.01 is that of the classical texts
    Fill      all equal: units that start equal and see the same stay equal, so that a layer of them is one unit
    Given     an array
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class He:
    """Normal with variance 2 / fan_in."""

    def __call__(self, random: np.random.Generator, shape: tuple[int, ...], fans: tuple[int, int]) -> Array:
        return random.normal(0.0, math.sqrt(2 / fans[0]), shape).astype(np.float32)


@dataclass(frozen=True)
class Glorot:
    """Uniform with variance 2 / (fan_in + fan_out)."""

    def __call__(self, random: np.random.Generator, shape: tuple[int, ...], fans: tuple[int, int]) -> Array:
        limit = math.sqrt(6 / (fans[0] + fans[1]))
        return random.uniform(-limit, limit, shape).astype(np.float32)


@dataclass(frozen=True)
class Normal:
    """Normal around 0."""

    deviation: float = 0.01

    def __call__(self, random: np.random.Generator, shape: tuple[int, ...], fans: tuple[int, int]) -> Array:
        return random.normal(0.0, self.deviation, shape).astype(np.float32)


@dataclass(frozen=True)
class Fill:
    """All equal."""

    value: float = 0.0

    def __call__(self, random: np.random.Generator, shape: tuple[int, ...], fans: tuple[int, int]) -> Array:
        return np.full(shape, self.value, np.float32)


@dataclass(frozen=True, eq=False)
class Given:
    """A copy of an array, which must have the parameter's shape."""

    array: npt.ArrayLike

    def __call__(self, random: np.random.Generator, shape: tuple[int, ...], fans: tuple[int, int]) -> Array:
        array = np.array(self.array)
        if array.dtype.kind != "f":
            array = array.astype(np.float32)
        if array.shape != shape:
            raise ShapeError(f"an array of shape {array.shape} was given to start from, but the parameter has shape {shape}")
        return array


Initial = He | Glorot | Normal | Fill | Given
NAMES: dict[str, Initial] = {"he": He(), "glorot": Glorot(), "normal": Normal(), "zeros": Fill(0.0), "ones": Fill(1.0)}


def initial(value: Initial | str | float | npt.ArrayLike) -> Initial:
    """An initialiser from its name, a number, or an array.

    >>> initial(0.5)
    Fill(value=0.5)
    """
    match value:
        case He() | Glorot() | Normal() | Fill() | Given():
            return value
        case str():
            if value not in NAMES:
                raise ArgumentError(f"an initialiser (={value!r}) must be one of {', '.join(NAMES)}, a number or an array")
            return NAMES[value]
        case bool():
            raise ArgumentError(f"an initialiser (={value!r}) must be a name, a number or an array")
        case int() | float():
            return Fill(float(value))
    return Given(value)
