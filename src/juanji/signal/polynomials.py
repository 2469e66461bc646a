"""The product of polynomials given by their coefficients: convolution without a rounding where the numbers are exact."""

from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.describe import array_of
from juanji.errors import DtypeError, ShapeError
from juanji.signal.arrays import convolve

Array = npt.NDArray[Any]

MOST = 2**63 - 1


def polynomial_product(p: npt.ArrayLike, q: npt.ArrayLike) -> Array:
    """The coefficients of p·q: r[n] = Σ p[i]·q[j] over i + j = n, the diagonals of the table of all products.

    p, q: coefficients by power, both rising or both falling; the result is ordered as they are. Polynomials in several variables have as
        many axes, p[i, j] standing before xⁱyʲ.

    Integers of any size, `fractions.Fraction` and whatever else Python multiplies and adds are exact: the result is an array of such
    objects. Floats and complex numbers are `convolve`'s. Raises ShapeError or DtypeError.

    >>> polynomial_product([1, 2], [3, 0, 1]).tolist()  # (1 + 2x)(3 + x²)
    [3, 6, 1, 2]
    >>> polynomial_product([10**20, 1], [1, -(10**20)]).tolist()
    [100000000000000000000, -9999999999999999999999999999999999999999, -100000000000000000000]
    """
    p, q = coefficients("p", p), coefficients("q", q)
    if p.ndim != q.ndim:
        raise ShapeError(f"p of shape {p.shape} and q of shape {q.shape} must have as many axes: one for each variable")
    if object in (p.dtype, q.dtype):
        return _of_objects(p.astype(object), q.astype(object))
    return convolve(p, q)


def coefficients(name: str, value: npt.ArrayLike) -> Array:
    """The user's array, integers as Python's own so that no sum overflows."""
    array = array_of(name, value)
    if array.dtype.kind not in "fcbiuO":
        raise DtypeError(f"{name} has dtype {array.dtype}, but must be an array of numbers")
    if not array.ndim or not array.size:
        raise ShapeError(f"{name} of shape {array.shape} must have at least one element along every axis, and an axis")
    return array.astype(int).astype(object) if array.dtype.kind == "b" else array.astype(object) if array.dtype.kind in "iu" else array


def _of_objects(p: Array, q: Array) -> Array:
    if _all_machine_words(p, q):
        return convolve(p.astype(np.int64), q.astype(np.int64)).astype(object)
    total = np.zeros([m + n - 1 for m, n in zip(p.shape, q.shape, strict=True)], object)
    try:
        for place in np.ndindex(p.shape):
            total[tuple(slice(i, i + n) for i, n in zip(place, q.shape, strict=True))] += np.multiply(p[place], q)
    except TypeError as error:
        raise DtypeError(f"p and q must hold objects that multiply and add: {error}") from None
    return total


def _all_machine_words(p: Array, q: Array) -> bool:
    """Whether all are integers, small enough that no sum leaves int64."""
    if not all(isinstance(value, int) for value in (*p.flat, *q.flat)):
        return False
    largest: list[int] = [max(1, *map(abs, array.flat)) for array in (p, q)]
    return largest[0] * largest[1] * min(p.size, q.size) <= MOST
