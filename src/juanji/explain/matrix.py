"""A convolution as a matrix: y = C·x + b for one sample, x and y read in their own order in memory.

Row r of C holds the weights of output element r, in the columns of the input elements that they meet; where a boundary leads two
taps to one element, the sum of both. What a constant boundary adds, and no input changes, is the vector b. The gradient of the
input is Cᵀ·dy, Cᴴ·dy for complex weights, and this is the transposed convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, Unpack

import numpy as np
import numpy.typing as npt

from juanji.convolution import operand
from juanji.errors import ArgumentError, ShapeError
from juanji.explain.arguments import Array, Geometry, Index, by, by_site, described, met, wide
from juanji.explain.arithmetic import number_of
from juanji.kept import kept
from juanji.spec import Convolution

MOST_ENTRIES = 2**26  # about 2 GB while they are made
MOST_PRINTED = 32  # columns of a matrix that is printed number by number


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A sparse matrix as the places and values of its entries, row after row, each place once."""

    rows: Index
    columns: Index
    values: Array
    shape: tuple[int, int]

    @property
    def nnz(self) -> int:
        """How many entries are stored."""
        return len(self.values)

    @property
    def T(self) -> Coordinates:  # noqa: N802  # as every matrix calls it
        """The transpose."""
        order = np.lexsort((self.rows, self.columns))
        return Coordinates(self.columns[order], self.rows[order], self.values[order], self.shape[::-1])

    def conj(self) -> Coordinates:
        """The complex conjugate."""
        return Coordinates(self.rows, self.columns, self.values.conj(), self.shape)

    def __matmul__(self, x: Array) -> Array:
        """The product with a vector, or with the columns of a matrix.

        >>> C = Coordinates(np.array([0, 1]), np.array([2, 0]), np.array([5, 7]), (2, 3))
        >>> C @ np.array([1, 2, 3])
        array([15,  7])
        """
        if x.shape[:1] != self.shape[1:]:
            raise ShapeError(f"a matrix of {by(self.shape)} multiplies vectors of {self.shape[1]} elements, not arrays of shape {x.shape}")
        y = np.zeros((self.shape[0], *x.shape[1:]), np.result_type(self.values, x))
        np.add.at(y, self.rows, self.values.reshape(-1, *(1,) * (x.ndim - 1)) * x[self.columns])
        return y

    def toarray(self) -> Array:
        """As an array with all its zeros."""
        dense = np.zeros(self.shape, self.values.dtype)
        dense[self.rows, self.columns] = self.values
        return dense


@dataclass(frozen=True, eq=False)
class Toeplitz:
    """A convolution of one sample as a matrix and a vector; prints itself.

    coordinates: in int64, float64 or complex128, so that products with integers are exact while they fit in int64.
    offset: what constants outside add to each output.
    """

    spec: Convolution
    coordinates: Coordinates
    offset: Array

    @kept
    def matrix(self) -> Any:
        """C as a `scipy.sparse.csr_array` where SciPy is installed, else as `Coordinates`. Both know @, T, conj() and toarray()."""
        try:
            from scipy.sparse import csr_array  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError:
            return self.coordinates
        c = self.coordinates
        return csr_array((c.values, (c.rows, c.columns)), shape=c.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs by inputs."""
        return self.coordinates.shape

    def __call__(self, x: Array) -> Array:
        """C·x + b in the shape of the output; x of one sample."""
        return np.asarray((self.matrix @ _vector("x", x, self.spec.x_shape[1:]) + self.offset).reshape(self.spec.y_shape[1:]))

    def transpose(self, dy: Array) -> Array:
        """Cᵀ·dy, Cᴴ·dy if complex, in the shape of the input: the input's gradient, or a transposed convolution of dy."""
        return np.asarray((self.matrix.conj().T @ _vector("dy", dy, self.spec.y_shape[1:])).reshape(self.spec.x_shape[1:]))

    @property
    def per_row(self) -> tuple[int, int]:
        """The fewest and the most non-zeros of a row."""
        counts = np.bincount(self.coordinates.rows, minlength=self.shape[0])
        return int(counts.min()), int(counts.max())

    @property
    def grid(self) -> list[str]:
        """The matrix number by number, row by row, a dot for each zero; empty if it has more than 32 rows or columns."""
        return _rows(self.coordinates) if max(self.shape) <= MOST_PRINTED else []

    def __str__(self) -> str:
        nnz, places, (least, most) = self.coordinates.nnz, math.prod(self.shape), self.per_row
        each = f"{least}" if least == most else f"{least} to {most}"
        lines = [
            f"C is {by(self.shape)}: outputs {by(self.spec.y_shape[1:])} by inputs {by(self.spec.x_shape[1:])}",
            f"{nnz:,} non-zeros ({nnz / places:.3g} of {places:,} places), {each} to a row",
        ]
        if self.offset.any():
            lines.append(f"the constant outside adds {number_of(self.offset.min())} to {number_of(self.offset.max())} to the outputs")
        return "\n".join([*lines, *self.grid])


def toeplitz(x_shape: Iterable[SupportsIndex] | Convolution, w: npt.ArrayLike, **arguments: Unpack[Geometry]) -> Toeplitz:
    """The matrix of `conv(x, w, **arguments)` for x of this shape, with or without a batch: of any stride, dilation, groups, boundary
    and sharing, over any number of axes.

    x_shape may be a description, which then takes no arguments; its bias and activation are no part of the matrix.
    Raises ArgumentError for more than 2^26 entries, and what `conv` raises.

    >>> C = toeplitz((1, 4), np.array([[[1, 2, 3]]]))
    >>> print(C)
    C is 2×4: outputs 1×2 by inputs 1×4
    6 non-zeros (0.75 of 8 places), 3 to a row
    1 2 3 ·
    · 1 2 3
    >>> C(np.array([[1, 1, 1, 2]])).tolist(), C.transpose(np.array([[1, 1]])).tolist()
    ([[6, 9]], [[1, 3, 5, 3]])
    """
    w = operand("w", w)
    if isinstance(x_shape, Convolution):
        if arguments:
            raise ArgumentError(f"{min(arguments)} is part of the description that is given")
        spec = x_shape
        if w.shape != spec.w_shape:
            raise ShapeError(f"w of shape {w.shape} must have the shape {spec.w_shape} of the description")
    else:
        spec, _ = described(x_shape, w.shape, arguments, dtype="float64", w_dtype=w.dtype)  # which takes every constant
    whole = all(outside.value % 1 == 0 for outside in spec.boundary)
    weights = by_site(spec, _exact("w", w if whole else w.astype(np.result_type(w, np.float64))))
    places = math.prod(spec.y_shape[1:]) * spec.channels // spec.groups * math.prod(spec.kernel)
    if places > MOST_ENTRIES:
        raise ArgumentError(f"the matrix would have {places:,} entries, more than {MOST_ENTRIES:,}; take a smaller input")
    rows, columns, values = _meetings(spec, weights)
    offset = _offset(spec, rows, columns, values)
    inside = (columns >= 0).reshape(-1)
    shape = (math.prod(spec.y_shape[1:]), math.prod(spec.x_shape[1:]))
    entries = _merged(rows.reshape(-1)[inside], columns.reshape(-1)[inside], values.reshape(-1)[inside], shape)
    return Toeplitz(spec, entries, offset)


def _exact(name: str, array: Array) -> Array:
    """The numbers in int64, float64 or complex128."""
    kind = wide(array)
    if kind.hasobject:
        if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
            raise ArgumentError(f"{name} holds {array.max()}, which is no integer of 64 bits with a sign")
        kind = np.dtype(np.int64)
    return array.astype(kind)


def _vector(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """An array of one sample as a vector."""
    if array.size != math.prod(shape):
        raise ShapeError(f"{name} of shape {array.shape} must be one sample, {by(shape)}")
    return _exact(name, array).reshape(-1)


def _meetings(spec: Convolution, weights: Array) -> tuple[Index, Index, Array]:
    """Row, column and weight of every meeting of an output and a tap, over the axes (g, o, c, p0, k0, p1, k1, …).

    The column is −1 − axis where a constant stands outside; of two axes the later, as after np.pad.
    """
    n, groups = spec.n, spec.groups
    o, c = spec.features // groups, spec.channels // groups
    extents = [groups, o, c, *(size for pair in zip(spec.output, spec.kernel, strict=True) for size in pair)]
    g, feature, channel, *rest = np.ix_(*map(np.arange, extents))
    p, k = rest[::2], rest[1::2]
    sources = [table.reshape(1, 1, 1, *(1, 1) * axis, *table.shape, *(1, 1) * (n - axis - 1)) for axis, table in enumerate(met(spec))]
    rows = _numbering(spec, spec.y_shape)[(g * o + feature, *p)]
    columns = _numbering(spec, spec.x_shape)[(g * c + channel, *(np.maximum(source, 0) for source in sources))]
    for axis, source in enumerate(sources):
        columns = np.where(source < 0, -1 - axis, columns)
    sites = spec.sites or (1,) * n
    values = weights[(*(at % t for at, t in zip(p, sites, strict=True)), g * o + feature, channel, *k)]
    shape = (groups, o, c, *columns.shape[3:])
    return np.broadcast_to(rows, shape), np.broadcast_to(columns, shape), np.broadcast_to(values, shape)


def _numbering(spec: Convolution, shape: tuple[int, ...]) -> Index:
    """The number of every element of a sample in memory, as an array with the channels first."""
    numbers = np.arange(math.prod(shape[1:])).reshape(shape[1:])
    return np.moveaxis(numbers, -1, 0) if spec.layout == "channels_last" else numbers


def _offset(spec: Convolution, rows: Index, columns: Index, values: Array) -> Array:
    """What the constants outside add to each output."""
    total = np.zeros(math.prod(spec.y_shape[1:]), values.dtype)
    for axis, outside in enumerate(spec.boundary):
        if outside.value:
            meets = columns == -1 - axis
            constant = int(outside.value) if values.dtype.kind == "i" else outside.value
            np.add.at(total, rows[meets], values[meets] * constant)
    return total


def _merged(rows: Index, columns: Index, values: Array, shape: tuple[int, int]) -> Coordinates:
    """The entries row after row, those of one place added, without zeros."""
    places, entry = np.unique(rows * shape[1] + columns, return_inverse=True)
    total = np.zeros(len(places), values.dtype)
    np.add.at(total, entry, values)
    row, column = np.divmod(places[total != 0], shape[1])
    return Coordinates(row, column, total[total != 0], shape)


def _rows(c: Coordinates) -> list[str]:
    """The rows of a small matrix, a dot for what is not stored."""
    cells = np.full(c.shape, "·", object)
    cells[c.rows, c.columns] = [number_of(value) for value in c.values]
    width = max(len(cell) for cell in cells.flat)
    return [" ".join(f"{cell:>{width}}" for cell in row) for row in cells]
