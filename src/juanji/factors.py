"""The structure of a kernel that is known when a plan is made: how few outer products it is a sum of, and whether all taps are equal.

A kernel w over n axes has rank 1 where it is an outer product of one vector per axis, w[u, v, ...] = a[u]·b[v]·...; over two axes any
kernel is a sum of as many such terms as its rank. What decides is the type that the sums have:

    rank 1      every product of factors is within a few roundings of its weight, relative to that weight: nothing is lost in the tails
                of a Gaussian, a zero stays a zero, and the error of a sum is one of its own terms
    more        the sum of the terms is within a few roundings of each weight, relative to the largest singular value

Weights that are small multiples of one number, as those of Sobel's kernels and of means are, have factors without any rounding:
vectors of integers, the number in the first of them. So sums that are exact stay exact.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Vectors = tuple[Array, ...]  # one per axis

MOST_TERMS = 4
ROUNDINGS = 4  # for each axis, by which a weight may differ, in units of the sum's type: of the weight's own, and of its factor
COMPUTED = 64 * float(np.finfo(np.float64).eps)  # by which singular vectors may be off, relative to the largest value
LARGEST, LONGEST = 2**20, 128  # elements of a kernel that is looked at, and of an axis where there are several terms: they take time
WHOLE = 2**31  # products of two integers below it fit into 64 bits


class Structure(NamedTuple):
    """rank: of the kernel, None where it is no sum of a few outer products or has only one axis; equal: whether all taps are."""

    rank: int | None = None
    equal: bool = False


def structure(w: Array, dtype: npt.DTypeLike) -> Structure:
    """The structure of a kernel (its spatial axes alone) for sums of a type.

    >>> structure(np.outer([1.0, 2, 1], [-1, 0, 1]), "float32"), structure(np.ones((3, 3)), "float32")
    (Structure(rank=1, equal=False), Structure(rank=1, equal=True))
    >>> structure(np.eye(2), "float32").rank, structure(np.eye(9), "float32").rank
    (2, None)
    """
    return _structure(w.tobytes(), w.shape, w.dtype, np.dtype(dtype)) if 2 <= w.size <= LARGEST else Structure()


@lru_cache(maxsize=256)
def _structure(content: bytes, shape: tuple[int, ...], of: np.dtype[Any], dtype: np.dtype[Any]) -> Structure:
    w = np.frombuffer(content, of).reshape(shape)
    if dtype.kind not in "fi" or not np.isfinite(w).all() or not w.any():
        return Structure()
    equal = bool((w == w.flat[0]).all())
    if sum(k > 1 for k in shape) < 2:
        return Structure(None, equal)
    ranks = range(1, MOST_TERMS + 1)
    return Structure(next((rank for rank in ranks if _factors(content, shape, of, rank, dtype)), None), equal)


def factors(w: Array, rank: int, dtype: npt.DTypeLike) -> tuple[Vectors, ...] | None:
    """The terms of a kernel, each a vector of the type per axis; None where it is not of that rank. Of integers there is one, exact.

    Of the vectors but the first the largest element is at least 1 and below 2, or all are integers, so that no sum of a pass exceeds
    what the terms of the definition add up to.

    >>> [[v.tolist() for v in vectors] for vectors in factors(np.outer([3, 10, 3], [-1, 0, 1]), 1, "float32")]
    [[[3.0, 10.0, 3.0], [-1.0, 0.0, 1.0]]]
    """
    return _factors(w.tobytes(), w.shape, w.dtype, rank, np.dtype(dtype))


@lru_cache(maxsize=256)
def _factors(
    content: bytes, shape: tuple[int, ...], of: np.dtype[Any], rank: int, dtype: np.dtype[Any]
) -> tuple[Vectors, ...] | None:
    axes = [axis for axis, k in enumerate(shape) if k > 1] or [len(shape) - 1]
    w = np.frombuffer(content, of).reshape([shape[axis] for axis in axes]).astype(np.float64)
    if not np.isfinite(w).all():
        return None
    if not w.any():
        return (tuple(np.zeros(k, dtype) for k in shape),)
    if rank == 1:
        terms = _single(w, dtype)
    else:
        terms = _several(w, rank, dtype) if dtype.kind == "f" and len(axes) == 2 and max(shape) <= LONGEST else None
    if terms is None:
        return None
    one = np.ones(1, dtype)
    return tuple(tuple(vectors[axes.index(axis)] if axis in axes else one for axis in range(len(shape))) for vectors in terms)


def _single(w: Array, dtype: np.dtype[Any]) -> tuple[Vectors, ...] | None:
    """The one term of a kernel of rank 1."""
    if dtype.kind == "i":
        whole = _whole(w) if np.abs(w).max() < WHOLE else None
        return None if whole is None else (tuple(v.astype(dtype) for v in whole),)
    found = tuple(v.astype(dtype) for v in _whole(w) or _fitted(w))
    return (found,) if _near(w, (found,), np.abs(w), _tolerance(w, dtype)) else None


def _several(w: Array, rank: int, dtype: np.dtype[Any]) -> tuple[Vectors, ...] | None:
    """The terms of the largest singular values."""
    u, s, v = _singular(w.tobytes(), len(w))
    scaled = (_scaled(u[:, i] * s[i], v[i]) for i in range(min(rank, len(s))))
    terms = tuple((a.astype(dtype), b.astype(dtype)) for a, b in scaled)
    return terms if _near(w, terms, s[0], _tolerance(w, dtype) + COMPUTED) else None


def _tolerance(w: Array, dtype: np.dtype[Any]) -> float:
    return ROUNDINGS * w.ndim * float(np.finfo(dtype).eps)


@lru_cache(maxsize=16)
def _singular(content: bytes, rows: int) -> tuple[Array, Array, Array]:
    """The singular vectors and values of a matrix of so many rows."""
    u, s, v = np.linalg.svd(np.frombuffer(content, np.float64).reshape(rows, -1), full_matrices=False)
    return u, s, v


def _near(w: Array, terms: tuple[Vectors, ...], size: Array | float, tolerance: float) -> bool:
    """Whether the terms add up to the weights, within so much of a size."""
    off = np.abs(sum(_product(vectors) for vectors in terms) - w)
    return bool((off <= tolerance * size).all())


def _product(vectors: Vectors) -> Array:
    """The outer product, in float64."""
    product: Array = np.ones(())
    for vector in vectors:
        product = product[..., None] * vector.astype(np.float64)
    return product


def _whole(w: Array) -> Vectors | None:
    """Factors of integers, for weights that are small multiples of one number: the primitive vectors of the fibres through a weight."""
    fraction, exponent = np.frexp(w)
    digits = np.ldexp(fraction, 53).astype(np.int64)
    low = (exponent - 53 + np.frexp((digits & -digits).astype(np.float64))[1] - 1)[digits != 0].min()
    if exponent.max() - low > 53:
        return None
    multiples = np.ldexp(w, -low).astype(np.int64)
    unit = np.gcd.reduce(multiples, axis=None)
    multiples //= unit
    if np.abs(multiples).max() >= WHOLE:
        return None
    pivot = np.unravel_index(np.abs(multiples).argmax(), w.shape)
    fibres = [multiples[(*pivot[:axis], slice(None), *pivot[axis + 1 :])] for axis in range(w.ndim)]
    vectors = [fibre // np.gcd.reduce(fibre) for fibre in fibres]
    signs = [np.sign(vector[place]) for vector, place in zip(vectors, pivot, strict=True)]
    first = vectors[0] * (np.sign(multiples[pivot]) * math.prod(signs) * np.ldexp(float(unit), int(low)))
    found = (first, *(vector.astype(np.float64) for vector in vectors[1:]))
    return found if np.array_equal(_product(found), w) else None


def _fitted(w: Array) -> Vectors:
    """The vectors whose product is nearest to the weights, an axis at a time from the last: each element is a mean over its own row, so
    that small ones are as near as large ones."""
    if w.ndim == 1:
        return (w,)
    rows = w.reshape(-1, w.shape[-1])
    b = rows[np.abs(rows).max(axis=1).argmax()]
    b = b / np.abs(b).max()
    a = _against(rows, b)
    b = _against(rows.T, a / np.abs(a).max())
    a, b = _scaled(_against(rows, b / np.abs(b).max()), b / np.abs(b).max())
    return (*_fitted(a.reshape(w.shape[:-1])), b)


def _against(rows: Array, b: Array) -> Array:
    """How much of b there is in each row. NumPy sums neighbours in pairs, with fewer roundings than a matrix product has."""
    share: Array = np.multiply(rows, b, order="C").sum(axis=-1) / np.square(b).sum()
    return share


def _scaled(a: Array, b: Array) -> tuple[Array, Array]:
    """The same product with the largest element of b from 1 to 2."""
    shift = int(np.frexp(np.abs(b).max())[1]) - 1
    return np.ldexp(a, shift), np.ldexp(b, -shift)
