"""The rolling of an outer product: convolution as the sums over its diagonals x + y = n.

Write every product aᵢ·kⱼ into a table and roll it up corner first, as one rolls a towel: the products that come to lie on each other
are those with i + j = n, and their sum is element n of the convolution; for polynomials, the coefficient of xⁿ of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ShapeError
from juanji.explain.arguments import Array
from juanji.explain.arithmetic import added, factor, few, number_of


@dataclass(frozen=True, eq=False)
class Diagonal:
    """The products aᵢ·kⱼ with i + j = n: their indices (i, j), and their sum."""

    n: int
    pairs: tuple[tuple[int, int], ...]
    sum: Any


@dataclass(frozen=True, eq=False)
class Rolling:
    """The outer product of two sequences, and its diagonals; prints itself."""

    a: Array
    k: Array
    outer: Array
    diagonals: tuple[Diagonal, ...]

    @property
    def sums(self) -> Array:
        """The convolution of both, a.size + k.size − 1 elements."""
        return np.array([diagonal.sum for diagonal in self.diagonals], self.outer.dtype)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        cells = [["", *map(number_of, self.k)], *([number_of(a), *map(number_of, row)] for a, row in zip(self.a, self.outer, strict=True))]
        width = max(len(cell) for row in cells for cell in row)
        for row in cells:
            yield " ".join(f"{cell:>{width}}" for cell in row)
        for diagonal in self.diagonals:
            terms = few(f"{factor(self.a[i])}·{factor(self.k[j])}" for i, j in diagonal.pairs)
            yield f"n = {diagonal.n}: {' + '.join(terms)} = {number_of(diagonal.sum)}"


def rolling(a: npt.ArrayLike, k: npt.ArrayLike) -> Rolling:
    """Every product of an element of `a` with one of `k`, and the sums over the diagonals: the full convolution of two sequences.

    Numbers of any type that NumPy multiplies and adds, Python's integers and fractions (dtype object) among them.

    >>> print(rolling([1, 2, 3], [1, 10]))
        1 10
     1  1 10
     2  2 20
     3  3 30
    n = 0: 1·1 = 1
    n = 1: 2·1 + 1·10 = 12
    n = 2: 3·1 + 2·10 = 23
    n = 3: 3·10 = 30
    """
    a, k = np.asarray(a), np.asarray(k)
    for name, array in (("a", a), ("k", k)):
        if array.ndim != 1 or not array.size:
            raise ShapeError(f"{name} of shape {array.shape} must be a sequence of at least one number")
    outer = np.multiply.outer(a, k)
    diagonals = []
    for n in range(len(a) + len(k) - 1):
        j = np.arange(max(n - len(a) + 1, 0), min(n + 1, len(k)))
        diagonals.append(Diagonal(n, tuple(zip((n - j).tolist(), j.tolist(), strict=True)), added(outer[n - j, j])))
    return Rolling(a, k, outer, tuple(diagonals))
