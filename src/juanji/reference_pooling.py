"""The definition of pooling in plain NumPy, obvious and slow: the truth for tests and explanations.

Every output looks at the elements of its window that lie inside the array, channel by channel:

    max        the largest; of several the first in row order; a NaN if there is one
    avg        their sum over their number (or that of the window's elements that lie in the array or its padding)
    lp         (Σ |x|^p)^(1/p)
    weighted   Σ w·x / Σ w
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.windows import Pooling, Sliding

Array = npt.NDArray[Any]


def pool(pooling: Pooling, x: Array, weights: Array | None = None) -> Array:
    """The output of a pooling, in its output type; weights of the window's shape for "weighted".

    >>> from juanji.windows import Pooling, Sliding
    >>> pool(Pooling((Sliding(4, 2, 2),), "avg", dtype="float64"), np.array([[[1.0, 3.0, 5.0, 8.0]]]))
    array([[[2. , 6.5]]])
    """
    planes, y = _planes(pooling, x), np.empty((pooling.batch, pooling.channels, *pooling.output), pooling.y_dtype)
    for at, window in _windows(pooling):
        y[at] = reduced(pooling, window, planes[:, :, window.inside], weights)
    return _outward(pooling, y)


def reduced(pooling: Pooling, window: "Window", seen: Array, weights: Array | None = None) -> Array:
    """The value of one window, whose elements `seen` holds along the last axis."""
    match pooling.kind:
        case "max":
            return np.take_along_axis(seen, winner(seen)[..., None], -1)[..., 0]
        case "avg":
            return np.asarray(seen.astype(np.float64).sum(-1) / window.divisor)
        case "lp":
            return _norm(seen.astype(np.float64), pooling.p)
    assert weights is not None
    w = weights.reshape(-1)[window.taps].astype(np.float64)
    return np.asarray((seen * w).sum(-1) / w.sum())


def indices(pooling: Pooling, x: Array) -> Array:
    """Where the maximum of each window stands: flat in the spatial axes of its sample and channel, int64."""
    planes, found = _planes(pooling, x), np.empty((pooling.batch, pooling.channels, *pooling.output), np.int64)
    for at, window in _windows(pooling):
        found[at] = window.inside[winner(planes[:, :, window.inside])]
    return _outward(pooling, found)


def gradient(pooling: Pooling, x: Array, dy: Array, weights: Array | None = None) -> Array:
    """The gradient of Σ dy·pool(x) in x, in float64; 0 for lp where the norm is 0."""
    planes, errors = _planes(pooling, x), np.moveaxis(dy, -1, 1) if pooling.layout == "channels_last" else dy
    flat = np.zeros(planes.shape, np.float64)
    for at, window in _windows(pooling):
        seen, error = planes[:, :, window.inside], errors[at].astype(np.float64)[..., None]
        share: Array
        if pooling.kind == "max":
            share = np.arange(len(window.inside)) == winner(seen)[..., None]
        elif pooling.kind == "avg":
            share = np.full(seen.shape, 1 / window.divisor)
        elif pooling.kind == "lp":
            share = _norm_gradient(seen.astype(np.float64), pooling.p)
        else:
            assert weights is not None
            w = weights.reshape(-1)[window.taps].astype(np.float64)
            share = np.broadcast_to(w / w.sum(), seen.shape)
        flat[:, :, window.inside] += share * error
    return _outward(pooling, flat.reshape(pooling.batch, pooling.channels, *pooling.size))


def unpool(y: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """Each value of y (N, C, *P) put where its place says in planes of zeros (N, C, *shape); of several the last in row order."""
    x = np.zeros((*y.shape[:2], math.prod(shape)), y.dtype)
    for n, c in np.ndindex(y.shape[:2]):
        for value, place in zip(y[n, c].flat, places[n, c].flat, strict=True):
            x[n, c, place] = value
    return x.reshape(*y.shape[:2], *shape)


class Window:
    """The elements of one window: flat places in the plane, flat places in the window, and what an average divides by."""

    def __init__(self, pooling: Pooling, p: tuple[int, ...]):
        places, taps, self.divisor = [], [], 1
        for axis, at in zip(pooling.axes, p, strict=True):
            if isinstance(axis, Sliding):
                every = [(tap, at * axis.stride - axis.low + tap * axis.dilation) for tap in range(axis.window)]
                last = axis.size + axis.high if pooling.padding_counts else axis.size
                first = -axis.low if pooling.padding_counts else 0
                self.divisor *= sum(first <= place < last for _, place in every)
            else:
                start, stop = at * axis.size // axis.out, math.ceil((at + 1) * axis.size / axis.out)
                every = list(enumerate(range(start, stop)))
                self.divisor *= stop - start
            kept = [(tap, place) for tap, place in every if 0 <= place < axis.size]
            taps.append([tap for tap, _ in kept])
            places.append([place for _, place in kept])
        lengths = tuple(axis.window if isinstance(axis, Sliding) else axis.size for axis in pooling.axes)
        self.inside = np.ravel_multi_index(np.ix_(*places), pooling.size).reshape(-1)
        self.taps = np.ravel_multi_index(np.ix_(*taps), lengths).reshape(-1)


def _windows(pooling: Pooling) -> Iterator[tuple[Any, Window]]:
    """Every output position, as an index of all batches and channels, and its window."""
    for p in itertools.product(*map(range, pooling.output)):
        yield (slice(None), slice(None), *p), Window(pooling, p)


def winner(seen: Array) -> Array:
    """The place of the first NaN of each row, or of its first maximum."""
    broken = np.isnan(seen) if seen.dtype.kind == "f" else np.zeros(seen.shape, bool)
    found: Array = np.where(broken.any(-1), broken.argmax(-1), seen.argmax(-1))
    return found


def _norm(seen: Array, p: float) -> Array:
    size = np.abs(seen)
    norm: Array = size.max(-1) if math.isinf(p) else (size**p).sum(-1) ** (1 / p)
    return norm


def _norm_gradient(seen: Array, p: float) -> Array:
    """sign(x)·(|x| / norm)^(p − 1), and 0 where the norm is; for the maximum norm the sign of the first largest."""
    if math.isinf(p):
        share: Array = np.sign(seen) * (np.arange(seen.shape[-1]) == winner(np.abs(seen))[..., None])
        return share
    norm = _norm(seen, p)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm == 0, 0.0, np.sign(seen) * (np.abs(seen) / norm) ** (p - 1))


def _planes(pooling: Pooling, x: Array) -> Array:
    """x as (N, C, elements of a plane)."""
    if pooling.layout == "channels_last":
        x = np.moveaxis(x, -1, 1)
    return x.reshape(pooling.batch, pooling.channels, math.prod(pooling.size))


def _outward(pooling: Pooling, planes: Array) -> Array:
    return np.moveaxis(planes, 1, -1) if pooling.layout == "channels_last" else planes
