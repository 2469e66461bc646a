"""im2col: windows as the rows of a matrix, so that a convolution is one matrix product; and its adjoint."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from juanji import boundary
from juanji.convolution import operand
from juanji.describe import BoundaryLike, Padding, PerAxis, describe, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.explain.arguments import Array, Geometry, by, by_site, channels_first, checked, described, sizes
from juanji.spec import Convolution, span


class WindowArguments(TypedDict, total=False):
    """The arguments of `conv` that say which windows there are."""

    stride: PerAxis
    padding: Padding
    dilation: PerAxis
    boundary: BoundaryLike
    layout: str


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """A convolution as Y = X·W, one product for each group; prints the shapes.

    X: (groups, samples · positions, channels of a group · taps); W: (groups, that, features of a group). y: the result, in its shape.
    """

    spec: Convolution
    X: Array
    W: Array
    y: Array

    def __str__(self) -> str:
        groups, rows, inner = self.X.shape
        features = self.W.shape[2]
        times = f"{groups} groups: " if groups > 1 else ""
        product = f"{times}X {rows}×{inner} · W {inner}×{features} = {rows}×{features}"
        return f"{product}, which is {by(self.y.shape)}\n{self._size()}"

    def _size(self) -> str:
        copies = self.X.size / max(math.prod(self.spec.x_shape), 1)
        return f"{math.prod(self.X.shape) * self.W.shape[2]:,} multiply-adds; X is {copies:.3g} times as large as x"


def im2col(x: npt.ArrayLike, kernel: PerAxis, **arguments: Unpack[WindowArguments]) -> Array:
    """Every window of x (N, C, *S) as a row: (N·P, C·K), of x (N, *S, C) with layout "channels_last" (N·P, K·C); N may be missing.

    The elements of a row stand as those of w (O, C, *K) and (*K, C, O) do: X · w.reshape(O, −1).T and X · w.reshape(−1, O) are the
    convolutions. kernel: its spatial shape, one integer per axis, or an integer if x has a batch. The others are those of `conv`.

    >>> im2col(np.arange(9).reshape(1, 3, 3), (2, 2))
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    x = operand("x", x)
    spec = _windows(x.shape, kernel, arguments)
    return _rows(spec, x.reshape(spec.x_shape))


def col2im(columns: npt.ArrayLike, x_shape: Iterable[SupportsIndex], kernel: PerAxis, **arguments: Unpack[WindowArguments]) -> Array:
    """The adjoint of `im2col`: every element of the rows added back to where it came from in an array of shape x_shape.

    It does not undo `im2col`: an element that k windows saw comes back k times. Sums are in the type of `columns`.

    >>> col2im(np.ones((4, 4)), (1, 3, 3), (2, 2))
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    rows, shape = operand("columns", columns), sizes("x_shape", x_shape)
    spec = _windows(shape, kernel, arguments)
    n, positions, taps = spec.n, math.prod(spec.output), math.prod(spec.kernel)
    expected = (spec.batch * positions, spec.channels * taps)
    if rows.shape != expected:
        raise ShapeError(f"columns of shape {rows.shape} must have shape {expected}: windows by their elements")
    if spec.layout == "channels_last":
        windows = np.moveaxis(rows.reshape(spec.batch, *spec.output, *spec.kernel, spec.channels), -1, 1)
    else:
        windows = np.moveaxis(rows.reshape(spec.batch, *spec.output, spec.channels, *spec.kernel), n + 1, 1)
    extents = (low + size + high for size, (low, high) in zip(spec.size, spec.padding, strict=True))
    padded = np.zeros((spec.batch, spec.channels, *extents), rows.dtype)
    for tap in itertools.product(*map(range, spec.kernel)):
        axes = zip(tap, spec.output, spec.stride, spec.dilation, strict=True)
        met = tuple(slice(k * d, k * d + step * (p - 1) + 1, step) for k, p, step, d in axes)
        padded[(slice(None), slice(None), *met)] += windows[(slice(None),) * (n + 2) + tap]
    for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
        padded = boundary.fold(padded, axis + 2, low, high, outside)
    folded = np.moveaxis(padded, 1, -1) if spec.layout == "channels_last" else padded
    return folded.reshape(shape)


def matrix_product(x: npt.ArrayLike, w: npt.ArrayLike, **arguments: Unpack[Geometry]) -> MatrixProduct:
    """`conv(x, w, **arguments)` with shared weights as X·W, by NumPy in the type of the sums (half floats in float32, integers in int64).

    >>> x, w = np.zeros((227, 227, 3), np.float32), np.zeros((11, 11, 3, 96), np.float32)
    >>> print(matrix_product(x, w, stride=4, layout="channels_last"))
    X 3025×363 · W 363×96 = 3025×96, which is 55×55×96
    105,415,200 multiply-adds; X is 7.1 times as large as x
    """
    x, w = operand("x", x), operand("w", w)
    if arguments.get("sharing", "shared") != "shared":
        raise ArgumentError(f"sharing (={arguments['sharing']!r}) must be 'shared': other weights differ from window to window")
    spec, single = described(x.shape, w.shape, arguments, dtype=x.dtype, w_dtype=w.dtype)
    groups, inner, rows = spec.groups, spec.channels // spec.groups, _rows(spec, x.astype(spec.dtypes.sum).reshape(spec.x_shape))
    weights = by_site(spec, w.astype(spec.dtypes.sum))[(0,) * spec.n].reshape(groups, spec.features // groups, inner, -1)
    if spec.layout == "channels_last":
        windows = rows.reshape(len(rows), -1, groups, inner).transpose(2, 0, 1, 3)
        kernels = weights.transpose(0, 3, 2, 1)
    else:
        windows = rows.reshape(len(rows), groups, inner, -1).transpose(1, 0, 2, 3)
        kernels = weights.transpose(0, 2, 3, 1)
    left, right = windows.reshape(groups, len(rows), -1), kernels.reshape(groups, -1, spec.features // groups)
    product = (left @ right).transpose(1, 0, 2).reshape(spec.batch, *spec.output, spec.features)
    y = product if spec.layout == "channels_last" else np.moveaxis(product, -1, 1)
    return MatrixProduct(spec, left, right, y[0] if single else y)


def _windows(x_shape: tuple[int, ...], kernel: PerAxis, arguments: WindowArguments) -> Convolution:
    """The description of a convolution with these windows and one feature."""
    options: dict[str, Any] = checked(arguments, WindowArguments)
    given = tuple(kernel) if isinstance(kernel, Iterable) else kernel
    n = len(given) if isinstance(given, tuple) else len(x_shape) - 2
    extents = per_axis("kernel", given, n, 1)
    if len(x_shape) not in (n + 1, n + 2) or n < 1:
        raise ShapeError(f"x of shape {x_shape} must have channels and {n} spatial axes for kernel (={given!r}), with or without a batch")
    batched = (1, *x_shape) if len(x_shape) == n + 1 else x_shape
    last = options.get("layout", "channels_first") == "channels_last"
    channels = batched[-1 if last else 1]
    return describe(batched, (*extents, channels, 1) if last else (1, channels, *extents), **options)


def _rows(spec: Convolution, x: Array) -> Array:
    padded = channels_first(spec, x)
    for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
        padded = boundary.pad(padded, axis + 2, low, high, outside)
    spans = tuple(map(span, spec.kernel, spec.dilation))
    axes = tuple(range(2, 2 + spec.n))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axes)
    steps = [slice(None, None, step) for step in (*spec.stride, *spec.dilation)]
    windows = windows[(slice(None), slice(None), *steps)]  # (N, C, *P, *K)
    last = spec.layout == "channels_last"
    order = np.moveaxis(windows, 1, -1 if last else spec.n + 1)
    return order.reshape(spec.batch * math.prod(spec.output), spec.channels * math.prod(spec.kernel))
