"""Pooling of every kind, unpooling, and their gradients: normalise the arguments, describe, run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from juanji.calls import met
from juanji.describe import Padding, PerAxis, parse_padding, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.pooler import NAMES, Array, Pooler, backward, batched, forward, numbers, places_of, pooler, product, send, unpooler
from juanji.spec import LAYOUTS
from juanji.windows import KINDS, Axis, Pooling, Sliding, bins, sliding

Weights = str | tuple[str, float] | npt.ArrayLike | None


# The public functions ---------------------------------------------------------------------------------------------------


def pool(
    x: npt.ArrayLike,
    size: PerAxis,
    *,
    kind: str = "max",
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    p: float = 2,
    weights: Weights = None,
    layout: str = "channels_first",
    return_indices: bool = False,
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    """Pooling: every window of each channel reduced to one value.

    x is (N, C, *S), or (N, *S, C) with layout "channels_last". An integer `size` means that N is there; the length of a tuple says how
    many spatial axes there are, and N may then be missing. stride is the size unless said. padding is an int, one per axis,
    (low, high) pairs, or a mode of `conv`; padded places never win, and count for averages only with count_include_pad.

    kind: "max": of equals the first in row order, a window with NaN gives NaN. "avg". "lp": (Σ |x|^p)^(1/p) with p >= 1 or inf.
        "weighted": the mean weighted by `weights`, over the sum of those inside: "gaussian" with sigma size/4, ("gaussian", sigma),
        "linear", which falls from the centre to 0 just outside, per axis; or an array of the window's shape.
    ceil_mode: windows may reach over the end, if they start before it.
    return_indices: for "max" also the places, int64, flat in the spatial axes of each sample and channel.

    float16, float32, float64 keep their type; so do integers and bool for "max", the others give float64. Raises ShapeError,
    ArgumentError or DtypeError in one line.

    >>> x = np.array([[[[1.0, 3], [4, 2]]]])
    >>> pool(x, 2)[0, 0], pool(x, 2, kind="avg")[0, 0]
    (array([[4.]]), array([[2.5]]))
    """
    x, single, plan = planned(x, size, kind, stride, padding, dilation, ceil_mode, count_include_pad, p, layout)
    window = window_weights(weights, plan.pooling)
    return forward(plan, x, single, window, return_indices, out, threads)


def pool_grad(
    x: npt.ArrayLike,
    dy: npt.ArrayLike,
    size: PerAxis,
    *,
    kind: str = "max",
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    p: float = 2,
    weights: Weights = None,
    layout: str = "channels_first",
    indices: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    threads: int | None = None,
) -> Array:
    """The gradient of Σ dy·pool(x) in x; arguments as for `pool`.

    indices: the places that `pool` returned for "max", y: its result for "lp"; computed anew if they are missing. Where an lp norm is 0
    its gradient is 0 (for p = inf the maximum's).

    >>> pool_grad(np.array([[[[1.0, 3], [4, 2]]]]), np.array([[[[5.0]]]]), 2)[0, 0]
    array([[0., 0.],
           [5., 0.]])
    """
    x, single, plan = planned(x, size, kind, stride, padding, dilation, ceil_mode, count_include_pad, p, layout)
    window = window_weights(weights, plan.pooling)
    return backward(plan, x, dy, single, window, indices, y, threads)


def adaptive_pool(
    x: npt.ArrayLike,
    output_size: PerAxis,
    *,
    kind: str = "max",
    p: float = 2,
    layout: str = "channels_first",
    return_indices: bool = False,
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    """Pooling to a fixed size, whatever that of x: output i sees elements floor(i·S / out) up to ceil((i + 1)·S / out).

    An integer means the same for every axis, and that x has a batch. To 1 it is global pooling. kind: "max", "avg" or "lp".

    >>> adaptive_pool(np.arange(10.0).reshape(1, 1, 10), 3, kind="avg")[0, 0]
    array([1.5, 4.5, 7.5])
    """
    x, single, plan = _planned_bins(x, output_size, kind, p, layout)
    return forward(plan, x, single, None, return_indices, out, threads)


def adaptive_pool_grad(
    x: npt.ArrayLike,
    dy: npt.ArrayLike,
    output_size: PerAxis,
    *,
    kind: str = "max",
    p: float = 2,
    layout: str = "channels_first",
    indices: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    threads: int | None = None,
) -> Array:
    """The gradient of Σ dy·adaptive_pool(x) in x; arguments as for `pool_grad`.

    >>> adaptive_pool_grad(np.zeros((1, 1, 4)), np.array([[[8.0]]]), 1, kind="avg")
    array([[[2., 2., 2., 2.]]])
    """
    x, single, plan = _planned_bins(x, output_size, kind, p, layout)
    return backward(plan, x, dy, single, None, indices, y, threads)


def pyramid_pool(
    x: npt.ArrayLike,
    levels: Sequence[int] = (1, 2, 4),
    *,
    kind: str = "max",
    p: float = 2,
    layout: str = "channels_first",
    threads: int | None = None,
) -> Array:
    """Spatial pyramid pooling: x (N, C, *S), or (N, *S, C), pooled to each level's size; the same length for pictures of every size.

    The result is (N, C·Σ level^n), level after level, each in the order of x's layout: 21·C for pictures and levels 1, 2, 4.

    >>> pyramid_pool(np.ones((2, 3, 13, 7))).shape
    (2, 63)
    """
    x = numbers("x", x)
    parts = [adaptive_pool(x, level, kind=kind, p=p, layout=layout, threads=threads) for level in _levels(levels)]
    return np.concatenate([part.reshape(x.shape[0], math.prod(part.shape[1:])) for part in parts], axis=1)


def pyramid_pool_grad(
    x: npt.ArrayLike,
    dy: npt.ArrayLike,
    levels: Sequence[int] = (1, 2, 4),
    *,
    kind: str = "max",
    p: float = 2,
    layout: str = "channels_first",
    threads: int | None = None,
) -> Array:
    """The gradient of Σ dy·pyramid_pool(x) in x; arguments as for `pyramid_pool`.

    >>> pyramid_pool_grad(np.zeros((1, 1, 2)), np.array([[6.0, 1, 2]]), (1, 2), kind="avg")
    array([[[4., 5.]]])
    """
    x, dy = numbers("x", x), numbers("dy", dy)
    total: Array | None = None
    at = 0
    for level in _levels(levels):
        _, _, plan = _planned_bins(x, level, kind, p, layout)
        shape = plan.pooling.y_shape
        length = math.prod(shape[1:])
        if dy.ndim != 2 or dy.shape[0] != x.shape[0] or dy.shape[1] < at + length:
            least = (x.shape[0], at + length)
            raise ShapeError(f"dy has shape {dy.shape}, but levels (={tuple(levels)}) of x {x.shape} give at least {least}")
        part = adaptive_pool_grad(x, dy[:, at : at + length].reshape(shape), level, kind=kind, p=p, layout=layout, threads=threads)
        total = part if total is None else np.add(total, part, out=total)
        at += length
    if dy.shape[1] != at or total is None:
        raise ShapeError(f"dy has shape {dy.shape}, but levels (={tuple(levels)}) of x {x.shape} give ({x.shape[0]}, {at})")
    return total


def unpool(
    y: npt.ArrayLike,
    indices: npt.ArrayLike,
    shape: Iterable[SupportsIndex],
    *,
    layout: str = "channels_first",
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """The values of y put where `indices` say, zeros elsewhere: the way back from max pooling with return_indices.

    shape: the spatial axes of the result, or all of its axes. Where two places are equal, the later value in row order stays.

    >>> x = np.array([[[1.0, 4, 3, 2]]])
    >>> unpool(*pool(x, 2, return_indices=True), (4,))
    array([[[0., 4., 3., 0.]]])
    """
    y = numbers("y", y)
    if layout not in LAYOUTS:
        raise ArgumentError(f"layout (={layout!r}) must be one of {', '.join(LAYOUTS)}")
    goal = tuple(per_axis("shape", tuple(shape), len(tuple(shape)), 1))
    last = layout == "channels_last"
    if len(goal) == y.ndim and y.ndim > 2:
        axes = slice(1, -1) if last else slice(2, None)
        if goal[0] != y.shape[0] or goal[-1 if last else 1] != y.shape[-1 if last else 1]:
            raise ShapeError(f"shape (={goal}) must have the batch and the channels of y, which has shape {y.shape}")
        goal = goal[axes]
    single = y.ndim == len(goal) + 1
    if not goal or (not single and y.ndim != len(goal) + 2):
        raise ShapeError(f"shape (={goal}) must name the spatial axes of y, which has shape {y.shape}")
    values = y[None] if single else y
    channels = values.shape[-1] if last else values.shape[1]
    spatial = values.shape[1:-1] if last else values.shape[2:]
    if not channels:
        raise ShapeError(f"y of shape {y.shape} must have at least one channel")
    full = (values.shape[0], *goal, channels) if last else (values.shape[0], channels, *goal)
    places = places_of(indices, y.shape).reshape(values.shape)
    sender = unpooler(goal, spatial, values.shape[0], channels, layout, values.dtype.itemsize)
    result = send(sender, values, places, full, None if out is None else batched(out, single), threads)
    if out is not None:
        return out
    return result[0] if single else result


# Arguments ---------------------------------------------------------------------------------------------------------------


def planned(
    x: npt.ArrayLike,
    size: PerAxis,
    kind: str = "max",
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    p: float = 2,
    layout: str = "channels_first",
) -> tuple[Array, bool, Pooler]:
    """The batched array, whether it came without a batch, and the plan, found by the arguments as they are written."""
    array = numbers("x", x)
    options = {
        "size": size, "kind": kind, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": bool(ceil_mode),
        "count_include_pad": bool(count_include_pad), "p": p, "layout": layout,
    }  # fmt: skip
    single, plan = met(_sliding, (array.shape, array.dtype), options)
    return (array[None] if single else array), single, plan


def _planned_bins(x: npt.ArrayLike, output_size: PerAxis, kind: str, p: float, layout: str) -> tuple[Array, bool, Pooler]:
    array = numbers("x", x)
    single, plan = met(_bins, (array.shape, array.dtype), {"output_size": output_size, "kind": kind, "p": p, "layout": layout})
    return (array[None] if single else array), single, plan


def _sliding(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, size: Any, kind: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    count_include_pad: bool, p: Any, layout: Any,
) -> tuple[bool, Pooler]:  # fmt: skip
    """Whether arrays of a shape have no batch, and the plan for them."""
    n, single = _axes("size", size, shape)
    batch, channels, spatial = _split(shape, single, layout)
    window = per_axis("size", size, n, 1)
    strides = window if stride is None else per_axis("stride", stride, n, 1)
    dilations = per_axis("dilation", dilation, n, 1)
    sides = parse_padding(padding, spatial, window, strides, dilations)
    axes = sliding(spatial, window, strides, dilations, sides, ceil_mode)
    return single, _plan(axes, kind, batch, channels, layout, dtype, count_include_pad, p)


def _bins(shape: tuple[int, ...], dtype: np.dtype[Any], *, output_size: Any, kind: Any, p: Any, layout: Any) -> tuple[bool, Pooler]:
    """The same for windows of several sizes."""
    if kind == "weighted":
        raise ArgumentError("kind (='weighted') must be max, avg or lp where windows have several sizes")
    n, single = _axes("output_size", output_size, shape)
    batch, channels, spatial = _split(shape, single, layout)
    axes = bins(spatial, per_axis("output_size", output_size, n, 1))
    return single, _plan(axes, kind, batch, channels, layout, dtype, False, p)


def _plan(
    axes: tuple[Axis, ...], kind: str, batch: int, channels: int, layout: str, dtype: np.dtype[Any], padding_counts: bool, p: float
) -> Pooler:
    if not isinstance(kind, str) or kind not in KINDS:
        raise ArgumentError(f"kind (={kind!r}) must be one of {', '.join(KINDS)}")
    try:
        power = float(p)
    except (TypeError, ValueError):
        raise ArgumentError(f"p (={p!r}) must be a number of at least 1") from None
    return pooler(Pooling(axes, kind, batch, channels, layout, NAMES[dtype], padding_counts, power))


def _axes(name: str, size: object, shape: tuple[int, ...]) -> tuple[int, bool]:
    """How many spatial axes there are, and whether x has no batch."""
    if isinstance(size, Iterable):
        n = len(tuple(size))
        if n < 1 or len(shape) not in (n + 1, n + 2):
            raise ShapeError(f"x of shape {shape} must have a channel axis and {n} spatial axes for {name} (={size!r})")
        return n, len(shape) == n + 1
    if len(shape) < 3:
        raise ShapeError(f"x of shape {shape} must have a batch, channels and at least one spatial axis for an integer {name}")
    return len(shape) - 2, False


def _split(shape: tuple[int, ...], single: bool, layout: str) -> tuple[int, int, tuple[int, ...]]:
    if layout not in LAYOUTS:
        raise ArgumentError(f"layout (={layout!r}) must be one of {', '.join(LAYOUTS)}")
    shape = (1, *shape) if single else shape
    return (shape[0], shape[-1], shape[1:-1]) if layout == "channels_last" else (shape[0], shape[1], shape[2:])


def _levels(levels: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(levels, Iterable) or not len(tuple(levels)):
        raise ArgumentError(f"levels (={levels!r}) must be a sequence of at least one integer")
    return per_axis("levels", tuple(levels), len(tuple(levels)), 1)


def window_weights(weights: Weights, pooling: Pooling) -> Array | None:
    """The weights of a window in float64, of its shape; None for the other kinds.

    "linear" is 1 − |i − c| / (h + 1/2) along each axis, where c is the window's centre and h its half width: 0 one place beyond it.
    """
    if pooling.kind != "weighted":
        if weights is not None:
            raise ArgumentError(f"weights are given, but kind (={pooling.kind!r}) is not 'weighted'")
        return None
    shape = tuple(axis.window for axis in pooling.axes if isinstance(axis, Sliding))
    match weights:
        case None:
            raise ArgumentError("weights must be given for kind 'weighted': 'gaussian', ('gaussian', sigma), 'linear' or an array")
        case str("linear"):
            return product([1 - np.abs(_offsets(k)) / ((k + 1) / 2) for k in shape])
        case str("gaussian"):
            return product([np.exp(-((_offsets(k) / (k / 4)) ** 2) / 2) for k in shape])
        case (str("gaussian"), float() | int() | np.floating() | np.integer() as sigma):
            if not 0 < sigma < math.inf:
                raise ArgumentError(f"weights (={weights!r}) must have a sigma above 0")
            return product([np.exp(-((_offsets(k) / float(sigma)) ** 2) / 2) for k in shape])
        case str() | (str(), *_):
            raise ArgumentError(f"weights (={weights!r}) must be 'gaussian', ('gaussian', sigma), 'linear' or an array")
    array = numbers("weights", weights).astype(np.float64)
    if array.shape != shape:
        raise ShapeError(f"weights of shape {array.shape} must have the window's shape {shape}")
    return array


def _offsets(window: int) -> Array:
    """Distances of a window's places from its centre."""
    return np.arange(window) - (window - 1) / 2
