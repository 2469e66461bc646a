"""Convolution and correlation of plain n-D arrays, by SciPy's conventions."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.calls import met
from juanji.describe import BoundaryLike, PerAxis, array_of, choose_dtypes, describe, parse_boundaries, per_axis
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.factors import Structure, structure
from juanji.kinds import AnyPlan, plan_for
from juanji.spec import ZERO

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
    k = _numbers("k", k)
    return _slide(a, np.conj(k) if k.dtype.kind == "c" else k, mode, False, boundary, stride, axes, (algorithm, precision), threads)


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
    of_kernel = structure(k, choose_dtypes(a.dtype, k.dtype, None).sum)
    algorithm, precision = choice
    options = {
        "mode": mode, "flip": flip, "boundary": boundary, "stride": stride, "axes": axes, "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    way = met(_way, (a.shape, k.shape, a.dtype, k.dtype, of_kernel), options)
    if way.plan is not None:
        y = way.plan(a.reshape(way.x_shape), k.transpose(way.order).reshape(way.w_shape), threads=threads)
        return y.reshape(way.y_shape)
    # a fits inside the kernel: exchange them. Convolution commutes; correlation comes out reversed.
    swapped = _slide(k.transpose(way.order), a, mode, flip, boundary, 1, None, choice, threads)
    return swapped[tuple([slice(None, None, 1 if flip else -1)] * a.ndim)][way.steps]


class _Way(NamedTuple):
    """How shapes are seen by a plan: those of its operands, the kernel's axes in the order of a's, and the result's shape.

    Without a plan a and k change places, and `steps` are the elements to keep.
    """

    order: tuple[int, ...]
    steps: tuple[slice, ...]
    plan: AnyPlan | None = None
    x_shape: tuple[int, ...] = ()
    w_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()


def _way(
    a: tuple[int, ...], k: tuple[int, ...], dtype: np.dtype[Any], k_dtype: np.dtype[Any], of_kernel: Structure, *,
    mode: Any, flip: bool, boundary: Any, stride: Any, axes: Any, algorithm: str, precision: str,
) -> _Way:  # fmt: skip
    """The plan for shapes `a` and `k`, and what is known of the kernel besides.

    The axes of `a` before the first that k runs along are the batch. Those between and after are spatial axes with a kernel of size 1,
    so that whatever lies innermost in memory stays there.
    """
    if not isinstance(mode, str) or mode not in MODES:
        raise ArgumentError(f"mode (={mode!r}) must be one of {', '.join(MODES)}")
    along = _axes(a, k, axes)
    of_k, lead = {axis: i for i, axis in enumerate(along)}, min(along)
    strides = per_axis("stride", stride, len(k), 1)
    order = tuple(sorted(range(len(k)), key=lambda i: along[i]))
    steps = tuple(slice(None, None, strides[of_k[axis]] if axis in of_k else 1) for axis in range(len(a)))
    if mode == "valid" and _swapped([a[axis] for axis in along], k):
        if len(k) < len(a):
            raise ShapeError(f"k of shape {k} must fit inside a along axes {along}, where a has {[a[axis] for axis in along]}")
        return _Way(order, steps)
    boundaries = parse_boundaries(boundary, len(k))
    spatial = [of_k.get(axis) for axis in range(lead, len(a))]
    kernel = [1 if i is None else k[i] for i in spatial]
    spec = describe(
        (math.prod(a[:lead]), 1, *a[lead:]),
        (1, 1, *kernel),
        dtype=dtype,
        w_dtype=k_dtype,
        stride=[1 if i is None else strides[i] for i in spatial],
        padding=[_padding(mode, length) for length in kernel],
        boundary=[ZERO if i is None else boundaries[i] for i in spatial],
        flip=flip,
    )
    plan = plan_for(replace(spec, **of_kernel._asdict()), algorithm, precision)
    return _Way(order, steps, plan, plan.spec.x_shape, plan.spec.w_shape, (*a[:lead], *plan.spec.output))


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


def _axes(a: tuple[int, ...], k: tuple[int, ...], axes: int | Sequence[int] | None) -> tuple[int, ...]:
    if not k or not a:
        raise ShapeError(f"a of shape {a} and k of shape {k} must have at least one axis")
    if axes is None:
        if len(k) != len(a):
            raise ShapeError(f"k has {len(k)} axes but a has {len(a)}; `axes` says along which of a's axes k runs")
        return tuple(range(len(a)))
    n = len(a)
    chosen = tuple(np.atleast_1d(axes).tolist())
    if len(chosen) != len(k) or any(not isinstance(axis, int) or not -n <= axis < n for axis in chosen):
        raise ArgumentError(f"axes (={axes!r}) must name {len(k)} of a's {n} axes, one for each axis of k")
    along = tuple(axis % n for axis in chosen)
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
