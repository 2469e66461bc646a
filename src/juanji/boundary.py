"""What lies outside the array, as an index map.

A boundary says, for every coordinate of the padded extent, which element of the array stands there, or that a constant
does. That map is all that the reference, the compiled panels and the adjoints know about a boundary:

    padded[v] = array[m[v]]  where m[v] >= 0,   the constant  where m[v] = -1,      0 <= v < low + size + high

The map is linear in the array, so its adjoint adds each padded element back where it came from (`fold`).
Modes repeat as those of `np.pad` do: any padding is valid, even around an array of one element.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError

Index = npt.NDArray[np.int64]
KEPT_TABLE = 4096  # elements; longer index maps are made anew, so that the kept ones stay below 16 MiB together


class _Fields(NamedTuple):
    mode: str
    value: float


class Boundary(_Fields):
    """A mode of the table below, and the value that stands outside if the mode is "constant".

    Boundaries are parts of cache keys, so those that mean the same are equal: the value is 0 where no constant stands
    outside, -0.0 is 0.0, and every NaN is the one object `math.nan` (tuples compare by identity before they ask ==).

    >>> Boundary("constant", float("nan")) == Boundary("constant", float("nan"))
    True
    """

    __slots__ = ()

    def __new__(cls, mode: str = "constant", value: float = 0.0) -> Self:
        value = float(value) + 0.0 if mode == "constant" else 0.0
        return super().__new__(cls, mode, math.nan if math.isnan(value) else value)

    @property
    def constant(self) -> bool:
        """Whether a value, not an element of the array, stands outside."""
        return self.mode == "constant"

    def __str__(self) -> str:
        if not self.constant:
            return self.mode
        return "zero" if self.value == 0 else f"constant {self.value:g}"


ZERO = Boundary()


def _constant(i: Index, size: int) -> Index:
    return np.where((i >= 0) & (i < size), i, -1)


def _edge(i: Index, size: int) -> Index:
    return np.clip(i, 0, size - 1)


def _reflect(i: Index, size: int) -> Index:
    period = max(2 * size - 2, 1)
    i = np.mod(i, period)
    return np.minimum(i, period - i) if size > 1 else np.zeros_like(i)


def _symmetric(i: Index, size: int) -> Index:
    i = np.mod(i, 2 * size)
    return np.minimum(i, 2 * size - 1 - i)


def _wrap(i: Index, size: int) -> Index:
    return np.mod(i, size)


MODES: dict[str, Callable[[Index, int], Index]] = {
    "constant": _constant,
    "edge": _edge,
    "reflect": _reflect,
    "symmetric": _symmetric,
    "wrap": _wrap,
}
ALIASES = {"zero": "constant", "zeros": "constant", "replicate": "edge", "nearest": "edge", "circular": "wrap"}


def parse(boundary: object, argument: str = "boundary") -> Boundary:
    """One boundary from what a user writes: a name of `MODES` or `ALIASES`, or ("constant", value).

    >>> parse("replicate")
    Boundary(mode='edge', value=0.0)
    >>> parse(("constant", 128)).value
    128.0
    """
    match boundary:
        case Boundary():
            return boundary
        case str():
            mode, value = boundary, 0.0
        case ("constant", Real() as number):
            mode, value = "constant", float(number)
        case _:
            raise ArgumentError(f"{argument} (={boundary!r}) must be a name or ('constant', value)")
    mode = ALIASES.get(mode, mode)
    if mode not in MODES:
        raise ArgumentError(f"{argument} (={boundary!r}) must be one of {', '.join(sorted([*MODES, 'zero']))}")
    return Boundary(mode, value)


def index_map(size: int, low: int, high: int, mode: str) -> Index:
    """Where each of the low + size + high padded coordinates comes from, -1 for the constant. Read-only.

    >>> index_map(3, 2, 2, "reflect").tolist()
    [2, 1, 0, 1, 2, 1, 0]
    >>> index_map(3, 1, 1, "constant").tolist()
    [-1, 0, 1, 2, -1]
    """
    make = _kept_table if low + size + high <= KEPT_TABLE else _table
    return make(size, low, high, mode)


def _table(size: int, low: int, high: int, mode: str) -> Index:
    table = MODES[mode](np.arange(-low, size + high, dtype=np.int64), size)
    table.flags.writeable = False
    return table


_kept_table = lru_cache(maxsize=512)(_table)


def border_map(size: int, low: int, high: int, mode: str) -> Index:
    """`index_map` without its middle, which maps every element to itself: low + high entries.

    >>> border_map(1000, 2, 1, "reflect").tolist()
    [2, 1, 998]
    """
    return MODES[mode](np.concatenate([np.arange(-low, 0, dtype=np.int64), np.arange(size, size + high, dtype=np.int64)]), size)


def pad(array: npt.NDArray[np.generic], axis: int, low: int, high: int, boundary: Boundary) -> npt.NDArray[np.generic]:
    """The array padded along one axis, in NumPy: what the map means, for the reference and the explanations.

    Raises ArgumentError if the array is of integers and the constant is none that they hold.
    """
    table = index_map(array.shape[axis], low, high, boundary.mode)
    padded = np.take(array, np.maximum(table, 0), axis)
    if boundary.constant and low + high:
        outside = [slice(None)] * array.ndim
        outside[axis] = table < 0  # type: ignore[call-overload]
        padded[tuple(outside)] = _constant_in(array.dtype, boundary.value)
    return padded


def _constant_in(dtype: np.dtype[Any], value: float) -> float:
    """The constant as an element of the type: the value itself, or an exact integer that fits. "O" holds Python's integers."""
    if dtype.kind not in "biuO":
        return value
    whole = value.is_integer()
    if whole and dtype.kind in "iu":
        whole = np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    if not whole or (dtype.kind == "b" and value not in (0, 1)):
        raise ArgumentError(f"boundary (={('constant', value)!r}) must be a value that an array of {dtype} holds")
    return int(value)


def fold(padded: npt.NDArray[np.generic], axis: int, low: int, high: int, boundary: Boundary) -> npt.NDArray[np.generic]:
    """The adjoint of `pad` along one axis: every padded element added back where it came from, in rising order."""
    table = index_map(padded.shape[axis] - low - high, low, high, boundary.mode)
    moved = np.moveaxis(padded, axis, 0)
    folded = np.zeros((moved.shape[0] - low - high, *moved.shape[1:]), padded.dtype)
    np.add.at(folded, table[table >= 0], moved[table >= 0])
    return np.moveaxis(folded, 0, axis)
