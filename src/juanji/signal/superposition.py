"""Convolution as weighted superposition: every element of the input launches a copy of the response, and the copies add up."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError
from juanji.signal.polynomials import coefficients, polynomial_product

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Superposition:
    """What `superpose` returns: printed, the copies under one another, each where it begins.

    x, y: the two signals, lengths m and k.
    copies: (m, m + k − 1); row i is x[i]·y begun at i, zero elsewhere.
    sum: (m + k − 1), the convolution of x and y.
    """

    x: Array
    y: Array
    copies: Array
    sum: Array

    def terms(self, n: int) -> list[tuple[int, int, Any]]:
        """What adds up to element n of the sum: (i, j, x[i]·y[j]) for every i + j = n, a diagonal of the table of all products.

        >>> superpose([2, 3, 5], [7, 11, 13]).terms(1)
        [(0, 1, 22), (1, 0, 21)]
        """
        if not 0 <= n < len(self.sum):
            raise ArgumentError(f"n (={n}) must be a place in the sum, which has {len(self.sum)}")
        first, last = max(0, n - len(self.y) + 1), min(n, len(self.x) - 1)
        return [(i, n - i, self.copies[i, n]) for i in range(first, last + 1)]

    def __str__(self) -> str:
        names = [f"x[{i}] = {value:g}" if isinstance(value, float) else f"x[{i}] = {value}" for i, value in enumerate(self.x)]
        rows = [[_text(value) if i <= n < i + len(self.y) else "" for n, value in enumerate(row)] for i, row in enumerate(self.copies)]
        rows.append([_text(value) for value in self.sum])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        margin = max(map(len, [*names, "sum"]))
        lines = [
            f"{name:<{margin}} | " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for name, row in zip([*names, "sum"], rows, strict=True)
        ]
        return "\n".join(line.rstrip() for line in lines)


def superpose(x: npt.ArrayLike, y: npt.ArrayLike) -> Superposition:
    """The weighted superposition of a 1-D signal: x[i] launches, at i, a copy of the response y, x[i] times as high.

    Integers, fractions and other objects are exact, as in `polynomial_product`; floats and complex numbers keep their type.
    Raises ShapeError or DtypeError.

    >>> print(superpose([2, 3, 5], [7, 11, 13]))
    x[0] = 2 | 14  22  26
    x[1] = 3 |     21  33  39
    x[2] = 5 |         35  55  65
    sum      | 14  43  94  94  65
    """
    x, y = coefficients("x", x), coefficients("y", y)
    for name, signal in (("x", x), ("y", y)):
        if signal.ndim != 1:
            raise ShapeError(f"{name} of shape {signal.shape} must be a signal with one axis")
    total = polynomial_product(x, y)
    copies = np.zeros((len(x), len(total)), total.dtype)
    for i, value in enumerate(x):
        copies[i, i : i + len(y)] = np.multiply(value, y)
    return Superposition(x, y, copies, total)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
