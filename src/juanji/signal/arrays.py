"""Convolution and correlation of plain n-D arrays, by SciPy's conventions."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.describe import BoundaryLike, PerAxis, array_of, describe, parse_boundaries, per_axis
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.kinds import AnyPlan, plan_for
from juanji.spec import ZERO, Boundary

Array = npt.NDArray[Any]

MODES = ("full", "same", "valid")


def convolve(
    a: npt.ArrayLike,
    k: npt.ArrayLike,
    mode: str = "full",
    *,
    boundary: BoundaryLike = "zero",
    stride: PerAxis = 1,
    axes: int | Sequence[int] | None = None,
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """Mathematical convolution, y[p] = Σ_u k[u] · a[p − u]: the kernel is turned.

    mode: "full" has m + k − 1 elements per axis for m of `a` and k of the kernel; "same" the m in its middle, starting at (k − 1) // 2;
        "valid" the |m − k| + 1 that meet no edge. "valid" wants one of the two at least as long as the other along every axis; as the
        operation is commutative it does not matter which.
    boundary: what stands outside `a`: a mode of `np.pad` or ("constant", value), one for all axes or one for each.
    stride: one for all axes or one for each; the result is [::stride] of the one with stride 1.
    axes: the axes of `a` that the kernel's axes run along, when `a` has more; along the others it is a batch.
    algorithm, precision: as for `plan`; long float signals may go through Fourier tiles unless precision is "strict".

    Element types as for `conv`: integers give exact int64. Raises ArgumentError, ShapeError or DtypeError.

    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5], "same")
    array([1. , 2.5, 4. ])
    """
    return _slide(a, k, mode, True, boundary, stride, axes, (algorithm, precision), threads)


def correlate(
    a: npt.ArrayLike,
    k: npt.ArrayLike,
    mode: str = "valid",
    *,
    boundary: BoundaryLike = "zero",
    stride: PerAxis = 1,
    axes: int | Sequence[int] | None = None,
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """Cross-correlation, y[p] = Σ_u conj(k[u]) · a[p + u]: the kernel as it is. Arguments as for `convolve`.

    "full" starts where only the kernel's last element meets a[0]; "same" is its middle; "valid" the part that meets no edge. When the
    kernel is the longer one, "valid" is the correlation of k with a, reversed, as in SciPy.

    >>> correlate([1.0, 2.0, 3.0, 4.0], [1.0, 10.0])
    array([21., 32., 43.])
    """
    return _slide(a, np.conj(_numbers("k", k)), mode, False, boundary, stride, axes, (algorithm, precision), threads)


def _slide(
    a: npt.ArrayLike,
    k: npt.ArrayLike,
    mode: str,
    flip: bool,
    boundary: BoundaryLike,
    stride: PerAxis,
    axes: int | Sequence[int] | None,
    choice: tuple[str, str],
    threads: int | None,
) -> Array:
    a, k = _numbers("a", a), _numbers("k", k)
    if mode not in MODES:
        raise ArgumentError(f"mode (={mode!r}) must be one of {', '.join(MODES)}")
    along = _axes(a, k, axes)
    strides = per_axis("stride", stride, k.ndim, 1)
    if mode == "valid" and _swapped([a.shape[axis] for axis in along], k.shape):
        # a fits inside the kernel: exchange them. Convolution commutes; correlation comes out reversed.
        if k.ndim < a.ndim:
            raise ShapeError(f"k of shape {k.shape} must fit inside a along axes {along}, where a has {[a.shape[axis] for axis in along]}")
        swapped = _slide(k.transpose(np.argsort(along)), a, mode, flip, boundary, 1, None, choice, threads)
        steps = [slice(None, None, 1 if flip else -1)] * a.ndim
        by_axis = dict(zip(along, strides, strict=True))
        return swapped[tuple(steps)][tuple(slice(None, None, by_axis[axis]) for axis in range(a.ndim))]
    plan = _planned(a.shape, k.shape, a.dtype, k.dtype, mode, flip, parse_boundaries(boundary, k.ndim), strides, along, choice)
    y = plan(a.reshape(plan.spec.x_shape), k.transpose(np.argsort(along)).reshape(plan.spec.w_shape), threads=threads)
    return y.reshape(*a.shape[: min(along)], *plan.spec.output)


@lru_cache(maxsize=1024)
def _planned(
    a: tuple[int, ...],
    k: tuple[int, ...],
    dtype: np.dtype[Any],
    k_dtype: np.dtype[Any],
    mode: str,
    flip: bool,
    boundaries: tuple[Boundary, ...],
    strides: tuple[int, ...],
    along: tuple[int, ...],
    choice: tuple[str, str],
) -> AnyPlan:
    """The plan for shapes `a` and `k`.

    The axes of `a` before the first that k runs along are the batch. Those between and after are spatial axes with a kernel of size 1,
    so that whatever lies innermost in memory stays there.
    """
    lead = min(along)
    of_k = {axis: i for i, axis in enumerate(along)}
    kernel, stride, padding, boundary = [], [], [], []
    for axis in range(lead, len(a)):
        i = of_k.get(axis)
        kernel.append(1 if i is None else k[i])
        stride.append(1 if i is None else strides[i])
        boundary.append(ZERO if i is None else boundaries[i])
        padding.append(_padding(mode, kernel[-1]))
    return plan_for(
        describe(
            (math.prod(a[:lead]), 1, *a[lead:]),
            (1, 1, *kernel),
            dtype=dtype,
            w_dtype=k_dtype,
            stride=stride,
            padding=padding,
            boundary=boundary,
            flip=flip,
        ),
        *choice,
    )


def _padding(mode: str, length: int) -> tuple[int, int]:
    match mode:
        case "full":
            return length - 1, length - 1
        case "same":  # elements (k − 1) // 2 and on of the full output
            return length // 2, (length - 1) // 2
    return 0, 0


def _numbers(name: str, value: npt.ArrayLike) -> Array:
    """The user's array, its element type one of numbers."""
    array = array_of(name, value)
    if array.dtype.kind not in "fcbiuV" or array.dtype.type is np.void:
        given = f"has dtype {array.dtype}" if array.ndim else f"is of type {type(value).__name__}"
        raise DtypeError(f"{name} {given}, but must be an array of numbers")
    return array


def _axes(a: Array, k: Array, axes: int | Sequence[int] | None) -> tuple[int, ...]:
    if k.ndim == 0 or a.ndim == 0:
        raise ShapeError(f"a of shape {a.shape} and k of shape {k.shape} must have at least one axis")
    if axes is None:
        if k.ndim != a.ndim:
            raise ShapeError(f"k has {k.ndim} axes but a has {a.ndim}; `axes` says along which of a's axes k runs")
        return tuple(range(a.ndim))
    chosen = tuple(np.atleast_1d(axes).tolist())
    if len(chosen) != k.ndim or any(not isinstance(axis, int) or not -a.ndim <= axis < a.ndim for axis in chosen):
        raise ArgumentError(f"axes (={axes!r}) must name {k.ndim} of a's {a.ndim} axes, one for each axis of k")
    along = tuple(axis % a.ndim for axis in chosen)
    if len(set(along)) < len(along):
        raise ArgumentError(f"axes (={axes!r}) must not repeat an axis")
    return along


def _swapped(a: Sequence[int], k: Sequence[int]) -> bool:
    """Whether `a` fits inside `k` and not the other way round."""
    if all(m >= n for m, n in zip(a, k, strict=True)):
        return False
    if all(m <= n for m, n in zip(a, k, strict=True)):
        return True
    raise ShapeError(f"a {tuple(a)} or k {tuple(k)} must be at least as long as the other along every axis in mode 'valid'")
