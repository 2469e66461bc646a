"""Winograd's short convolutions: their three matrices from interpolation points, and straight-line code that applies them.

The m outputs of F(m, r), y_i = Σ_k d_{i+k} g_k, are the transpose of multiplying a polynomial of r coefficients by one of m. That
product has n = m + r − 1 coefficients, so its values at n − 1 points a_j and its leading coefficient ("infinity") determine it
(Toom, 1963; Cook, 1966). Writing evaluation and interpolation as matrices and transposing them gives (Winograd, 1980)

    y = A' [(G g) ∘ (B' d)],        A' (m × n),  G (n × r),  B' (n × n)

    A'_ij = a_j^i,   G_jk = a_j^k / f_j with f_j = Π_{l≠j} (a_j − a_l),   row j of B' the coefficients of Π_{l≠j} (t − a_l)

and for infinity the leading coefficients alone: A' has a 1 in its last row, G in its last column, B' the coefficients of
Π_l (t − a_l). n multiplications take the place of m·r. Over several axes the matrices are applied along each axis in turn.
Rows of B' are scaled to whole numbers, which leaves the rounding to G: weights are transformed once.

The points decide the error: they should be few, small, and with their reciprocals as near 1 as there are; ±a share half of their
sums. With 0, 1, −1, ½, −2 the error of F(4, 3) is a third of what it is with 0, ±1, ±2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from juanji.jit.emit import Emitter, Value

Row = tuple[Fraction, ...]
Matrix = tuple[Row, ...]

POINTS = {
    1: "0", 2: "0 1", 3: "0 1 -1", 4: "0 1 -1 2", 5: "0 1 -1 1/2 -2", 6: "0 1 -1 2 -2 1/2", 7: "0 1 -1 2 -2 1/2 -1/2",
}  # fmt: skip
MOST_POINTS = max(POINTS) + 1  # infinity among them


class Transforms(NamedTuple):
    """The matrices of F(m, r): of the output (A'), the weights (G) and the input (B')."""

    output: Matrix
    weights: Matrix
    input: Matrix


@lru_cache(maxsize=64)
def transforms(m: int, r: int) -> Transforms:
    """The exact matrices of F(m, r) with the points of `POINTS`.

    >>> for matrix in transforms(2, 3):
    ...     print([" ".join(map(str, row)) for row in matrix])
    ['1 1 1 0', '0 1 -1 1']
    ['-1 0 0', '1/2 1/2 1/2', '1/2 -1/2 1/2', '0 0 1']
    ['-1 0 1 0', '0 1 1 0', '0 -1 1 0', '0 -1 0 1']
    """
    n = m + r - 1
    points = [Fraction(point) for point in POINTS[n - 1].split()] if n > 1 else []
    weights, inputs = [], []
    for j, point in enumerate(points):
        others = points[:j] + points[j + 1 :]
        f = Fraction(1)
        for other in others:
            f *= point - other
        row = _product(others)
        scale = Fraction(max(c.denominator for c in row))
        if f < 0 and point:  # of a and −a the even coefficients stay equal
            scale = -scale
        weights.append(tuple(point**k / f / scale for k in range(r)))
        inputs.append((*(c * scale for c in row), Fraction(0)))
    weights.append(tuple(Fraction(k == r - 1) for k in range(r)))
    inputs.append((*_product(points),))
    outputs = tuple((*(point**i for point in points), Fraction(i == m - 1)) for i in range(m))
    return Transforms(outputs, tuple(weights), tuple(inputs))


def _product(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of Π (t − root), the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        found = [above - root * c for above, c in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


# Code -----------------------------------------------------------------------------------------------------------------------


def apply(e: Emitter, matrices: Sequence[Matrix], load: Callable[[int], Value], store: Callable[[int, Value], None]) -> None:
    """The matrices along the axes of a box of values, in row order, the outermost axis first.

    Values are loaded when they are wanted and stored when they are there, so that few are alive at a time.
    """
    found = load
    for axis, matrix in enumerate(matrices):
        outer, inner = math.prod(len(m) for m in matrices[:axis]), math.prod(len(m[0]) for m in matrices[axis + 1 :])
        done: dict[int, Value] = {}
        for box, i in itertools.product(range(outer), range(inner)):
            values = [found((box * len(matrix[0]) + j) * inner + i) for j in range(len(matrix[0]))]
            for row, value in enumerate(_times(e, matrix, values)):
                number = (box * len(matrix) + row) * inner + i
                if axis == len(matrices) - 1:
                    store(number, value)
                done[number] = value
        found = done.__getitem__


def _times(e: Emitter, matrix: Matrix, values: Sequence[Value]) -> list[Value]:
    """A matrix times a column, the sums and differences that its mirrored columns, or rows, have in common computed once."""
    if len(matrix) == len(values) == 1:
        return list(values)
    return _mirrored_columns(e, matrix, values) if len(matrix) < len(values) else _mirrored_rows(e, matrix, values)


def _mirrored_columns(e: Emitter, matrix: Matrix, values: Sequence[Value]) -> list[Value]:
    """Of two columns that differ in signs only, the values' sum meets the rows where they agree, their difference the others."""
    columns = list(zip(*matrix, strict=True))
    terms: list[list[tuple[Fraction, Value]]] = [[] for _ in matrix]
    for j, k in _pairs(tuple(columns)):
        if k is None:
            met = [values[j]] * len(matrix)
        else:
            total, difference = e.arith("fadd", values[j], values[k]), e.arith("fsub", values[j], values[k])
            met = [total if c == other else difference for c, other in zip(columns[j], columns[k], strict=True)]
        for row, c, value in zip(terms, columns[j], met, strict=True):
            row.append((c, value))
    return [_sum(e, row) for row in terms]


def _mirrored_rows(e: Emitter, matrix: Matrix, values: Sequence[Value]) -> list[Value]:
    """Of two rows that differ in signs only, one is the sum and the other the difference of two parts."""
    found: dict[int, Value] = {}
    for i, k in _pairs(matrix):
        if k is None:
            found[i] = _sum(e, list(zip(matrix[i], values, strict=True)))
            continue
        terms = list(zip(matrix[i], matrix[k], values, strict=True))
        turned = [(c, x) for c, d, x in terms if c and c != d]
        scale = turned[0][0]
        even = _sum(e, [(c, x) for c, d, x in terms if c == d])
        odd = _sum(e, [(c / scale, x) for c, x in turned])
        found[i], found[k] = (_sum(e, [(Fraction(1), even), (sign * scale, odd)]) for sign in (1, -1))
    return [found[i] for i in range(len(matrix))]


@lru_cache(maxsize=256)
def _pairs(rows: Matrix) -> list[tuple[int, int | None]]:
    """Rows that are equal but for some, not all, of their signs; None beside a row that is alone."""
    alone, pairs = list(range(len(rows))), list[tuple[int, int | None]]()
    while alone:
        i = alone.pop(0)
        k = next((k for k in alone if _mirrors(rows[i], rows[k])), None)
        pairs.append((i, k))
        if k is not None:
            alone.remove(k)
    return pairs


def _mirrors(a: Row, b: Row) -> bool:
    signs = {c == d for c, d in zip(a, b, strict=True) if c or d}
    return signs == {True, False} and all(abs(c) == abs(d) for c, d in zip(a, b, strict=True))


def _sum(e: Emitter, terms: Sequence[tuple[Fraction, Value]]) -> Value:
    """Σ c·v, terms with c = 1 first, as one chain of additions and fused multiply-adds."""
    terms = sorted((term for term in terms if term[0]), key=lambda term: term[0] != 1)
    (c, total), *rest = terms
    if c != 1:
        total = e.arith("fmul", e.const(total.type, float(c)), total)
    for c, value in rest:
        unit, scale = "fadd" if c == 1 else "fsub", e.const(total.type, float(c))
        total = e.arith(unit, total, value) if abs(c) == 1 else e.fma(scale, value, total)
    return total
