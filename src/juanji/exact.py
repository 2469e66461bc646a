"""Integer sums without rounding: the machine type that carries them, and what becomes of those that do not fit the output.

A sum of integers is exact, and so the same, in any machine type that holds all integers as large as its partial sums. A chain of
n products of elements that are no larger than a and b, which starts from a bias, never leaves

    bound = n·a·b + |bias|

so the fastest type that reaches as far carries it (`CARRIERS`), or int32 where instructions sum products of bytes or short integers in
it (`carriers_of`). Element types alone give a bound that holds for all arrays of theirs; the magnitudes of the arrays at hand give a
smaller one, often small enough for float32. A carrier's own overflow does no harm where the result is wanted modulo 2^64 or less: sums
that wrap need no more than int64, unless an activation has to know their sign.

Integers that fit a narrower type than that of their array may be read as such: bytes are what dot products and the matrix unit multiply.

What does not fit the output's type is the emitted code's business (`jit.elements.finish`), save overflow="raise": the saturated
result shows where a sum may have been lost (`doubtful`); only then does a second kernel flag those that were (`refuse`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.boundary import index_map
from juanji.errors import ArgumentError
from juanji.spec import WORDS, Convolution, itemsize, span

Array = npt.NDArray[Any]

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("bool", "uint8", "uint16", "uint32", "uint64")
NARROW = ("int8", "uint8", "int16")  # what instructions sum products of
CARRIERS = {"float32": 2**24, "float64": 2**53, "int64": 2**63 - 1, "int128": 2**127 - 1, "int256": 2**255 - 1}  # fastest first


class Narrowing(NamedTuple):
    """How sums become integers of the output's type.

    overflow: what is stored of those that do not fit: "saturate" the nearest number that does, "wrap" the one that is equal modulo
        2^bits, "raise" no number but a flag, 1 where the sum does not fit and 0 elsewhere.
    exact: whether the sums are integers, no larger than their carrier holds: they need no rounding, and none is NaN.
    """

    overflow: str = "saturate"
    exact: bool = False


SATURATING = Narrowing()


@lru_cache(maxsize=32)
def limits(dtype: str) -> tuple[int, int]:
    """The least and the largest number of an integer type; bool is the type of 0 and 1.

    >>> limits("int8")
    (-128, 127)
    """
    if dtype == "bool":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def extent(array: Array) -> tuple[int, int]:
    """The least and the largest of an array of integers, or 0 and 0: two passes over it that NumPy makes at the speed of memory.

    >>> extent(np.array([-128, 5], np.int8))
    (-128, 5)
    """
    return (int(array.min()), int(array.max())) if array.size else (0, 0)


def magnitude(array: Array) -> int:
    """The largest absolute value of an array of integers.

    >>> magnitude(np.array([-128, 5], np.int8))
    128
    """
    return max(map(abs, extent(array)))


def narrowest(dtype: str, least: int, most: int) -> str:
    """The type of `NARROW` that takes fewer bytes than a type and holds all integers from the least to the most; else that type itself.

    >>> narrowest("int64", -3, 127), narrowest("int32", 0, 255), narrowest("uint16", 0, 256), narrowest("uint8", 0, 1)
    ('int8', 'uint8', 'uint16', 'uint8')
    """
    for name in NARROW:
        low, high = limits(name)
        if low <= least and most <= high and itemsize(name) < itemsize(dtype):
            return name
    return dtype


@lru_cache(maxsize=1024)
def terms(spec: Convolution, produces: str = "y") -> int:
    """No element of the result is a sum of more products than this.

    produces: "y"; or the gradient of "x", whose elements meet every tap of every feature, as often as the boundary repeats them;
        or that of "w", whose elements meet every sample and position of their site.

    >>> from juanji.describe import describe
    >>> spec = describe((2, 3, 10, 10), (4, 3, 3, 3), padding=1)
    >>> terms(spec), terms(spec, "x"), terms(spec, "w")
    (27, 36, 200)
    """
    if produces == "y":
        return spec.channels // spec.groups * (math.prod(spec.kernel) if spec.taps is None else len(spec.taps))
    if produces == "w":
        sites = spec.sites or (1,) * spec.n
        return spec.batch * math.prod(-(-p // t) for p, t in zip(spec.output, sites, strict=True))
    return spec.features // spec.groups * math.prod(_met(spec, axis) for axis in range(spec.n))


def _met(spec: Convolution, axis: int) -> int:
    """How many (output position, tap) pairs meet an element of x along an axis, at most."""
    size, kernel, boundary = spec.size[axis], spec.kernel[axis], spec.boundary[axis]
    pairs = min(kernel, spec.output[axis])
    if boundary.constant:
        return pairs
    low = spec.padding[axis][0]
    reached = (spec.output[axis] - 1) * spec.stride[axis] + span(kernel, spec.dilation[axis])
    return pairs * int(np.bincount(index_map(size, low, max(reached - low - size, 0), boundary.mode)).max())


def bound(spec: Convolution, produces: str = "y", /, **most: int) -> int:
    """How far from zero a partial sum of integers can get.

    most: the `magnitude` of each array that is read, by name: x, w, y (the gradient that comes in) and bias; of an array that is
        not named the largest that its type allows.

    >>> from juanji.describe import describe
    >>> spec = describe((1, 3, 10, 10), (4, 3, 3, 3), dtype="int8")
    >>> bound(spec), bound(spec, x=100, w=1)
    (442368, 2700)
    """
    types = {**spec.dtypes._asdict(), "bias": spec.dtypes.sum}
    factors = [most[name] if name in most else _largest(types[name]) for name in ("x", "w", "y") if name != produces]
    if produces != "x":  # x comes first, and has what stands outside it
        factors[0] = max(factors[0], *(abs(int(b.value)) for b in spec.boundary))
    start = 0
    if spec.epilogue.bias and produces != "w":  # a transposed convolution is a gradient of the input, and may start from a bias
        start = most["bias"] if "bias" in most else _largest(types["bias"])
    return max(terms(spec, produces) * math.prod(factors), *factors) + start


def _largest(dtype: str) -> int:
    least, most = limits(dtype)
    return max(-least, most)


def carrier(bound: int, wraps: bool = False) -> str:
    """The fastest type that holds all integers up to the bound; wraps: or all that is wanted of them, their value modulo 2^64.

    >>> carrier(2**24), carrier(2**24 + 1), carrier(2**64), carrier(2**64, wraps=True)
    ('float32', 'float64', 'int128', 'int64')
    """
    found = next(name for name, reach in CARRIERS.items() if bound <= reach)
    return "int64" if wraps and found in WORDS else found


def carried(spec: Convolution, produces: str = "y", /, **most: int) -> Convolution:
    """The same description with the carrier as the type of its sum; as it is where its sum is no integer.

    most: as for `bound`.

    >>> from juanji.describe import describe
    >>> spec = describe((1, 3, 10, 10), (4, 3, 3, 3), dtype="int32")
    >>> carried(spec).dtypes.sum, carried(spec, x=255, w=16).dtypes.sum
    ('int128', 'float32')
    """
    return replace(spec, dtypes=spec.dtypes._replace(sum=carrier_of(spec, produces, **most)))


def carrier_of(spec: Convolution, produces: str = "y", /, **most: int) -> str:
    """The machine type of the sums of a description; the type that it names where that is not int64. most: as for `bound`."""
    if spec.dtypes.sum != "int64":
        return spec.dtypes.sum
    wraps = spec.overflow == "wrap" and spec.epilogue.activation is None
    return carrier(bound(spec, produces, **most), wraps)


def carriers_of(spec: Convolution, produces: str = "y", /, **most: int) -> tuple[str, ...]:
    """`carrier_of`, and behind it int32 where that holds them and float32 does not: the type of sums of products of short integers, for
    algorithms that have no others. most: as for `bound`.

    >>> from juanji.describe import describe
    >>> spec = describe((1, 300, 10, 10), (4, 300, 3, 3), dtype="int8")
    >>> carriers_of(spec), carriers_of(spec, x=10)
    (('float64', 'int32'), ('float32',))
    """
    found = carrier_of(spec, produces, **most)
    return (found, "int32") if spec.dtypes.sum == "int64" and found == "float64" and bound(spec, produces, **most) < 2**31 else (found,)


def in_words(integers: Array, dtype: str) -> Array:
    """Integers as a type of several words, which NumPy does not have: their words along a last axis, lowest first.

    >>> in_words(np.array([5, -1]), "int128").tolist()
    [[5, 0], [-1, -1]]
    """
    words = np.empty((*integers.shape, WORDS[dtype]), np.int64)
    words[..., 0] = integers
    words[..., 1:] = -(integers < 0).astype(np.int64)[..., None]
    return words


def fits(spec: Convolution, bound: int) -> bool:
    """Whether the output's type holds all integers up to the bound, so that nothing can overflow."""
    least, most = limits(spec.dtypes.y)
    return spec.dtypes.integers and -least >= bound <= most


def doubtful(spec: Convolution, y: Array) -> bool:
    """Whether a saturated result may hide a sum that does not fit: it holds an end of its type, or the 0 that stands for NaN."""
    ends = {*limits(spec.dtypes.y)} | (set() if spec.dtypes.integers else {0})
    return any(bool((y == end).any()) for end in ends)


def narrowed(total: Array, dtype: str, narrowing: Narrowing) -> Array:
    """Finished sums as integers of a type, in NumPy; what does not fit follows `narrowing`.

    >>> narrowed(np.array([1.5, 300.0, -1.0]), "uint8", SATURATING).tolist()
    [2, 255, 0]
    >>> narrowed(np.array([300.0]), "uint8", Narrowing("wrap", exact=True)).tolist()
    [44]
    """
    least, most = limits(dtype)
    if total.dtype.kind == "f":
        total = np.rint(total)
        low, high = total < least, total >= most + 1  # powers of two: floats name them
        known = ~(low | high | np.isnan(total))
        inside = np.where(known, total, 0.0).astype(np.uint64 if dtype == "uint64" else np.int64)
        if narrowing.overflow == "wrap" and narrowing.exact:  # such sums are below 2^53
            inside = total.astype(np.int64)
    else:
        low, high = total < least, total > most
        known, inside = ~(low | high), total
    if narrowing.overflow == "raise":
        return (~known).astype(dtype)
    if narrowing.overflow == "wrap":
        return inside.astype(bool if dtype == "bool" else dtype) if dtype != "bool" else (inside & 1).astype(bool)
    return np.where(high, most, np.where(low, least, inside)).astype(dtype)


def refuse(lost: Array, dtype: str) -> None:
    """Raises ArgumentError with the first place where `lost` is not zero, if there is one.

    >>> refuse(np.array([[0, 0], [0, 1]]), "int8")
    Traceback (most recent call last):
    juanji.errors.ArgumentError: sum at (1, 1) does not fit out_dtype (=int8), and overflow is 'raise'
    """
    if lost.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(lost != 0)), lost.shape))
        raise ArgumentError(f"sum at {place} does not fit out_dtype (={dtype}), and overflow is 'raise'")
