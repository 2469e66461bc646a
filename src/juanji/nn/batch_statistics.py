"""Sums and affine maps over each channel of a batch, a few samples at a time, so that what a line reads is still in the cache for the next.

Arrays are (N, C, *S), vectors one number per channel. Rows of positions are summed in the array's type, the samples in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BLOCK = 1 << 15  # elements worked on at once: three such arrays of float32 fit in a second-level cache of 512 KiB


def mean_and_variance(x: Array) -> tuple[Array, Array]:
    """Of each channel, in float64; the variance is that of the values, not the estimate of a distribution's."""
    rows = _rows(x)
    count = rows.shape[0] * rows.shape[2]
    mean = _summed(block.sum(axis=2) for (block,) in _blocks(rows)) / count
    squares = (np.einsum("ncp,ncp->nc", centred, centred) for centred in (block - _of(mean, block) for (block,) in _blocks(rows)))
    return mean, _summed(squares) / count


def affine(x: Array, factor: Array, offset: Array, *, relu: bool = False) -> Array:
    """factor·x + offset, of which a relu keeps what is above 0."""
    rows = _rows(x)
    y = np.empty_like(rows)
    for block, made in _blocks(rows, y):
        np.multiply(block, _of(factor, rows), out=made)
        made += _of(offset, rows)
        if relu:
            np.maximum(made, 0, out=made)
    return y.reshape(x.shape)


def error_sums(x: Array, mean: Array, dy: Array, gate: Array | None = None) -> tuple[Array, Array]:
    """Σ dy and Σ dy·(x − mean) of each channel, in float64. gate: dy counts only where this is above 0."""
    plain, weighted = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for (block,), error in zip(_blocks(_rows(x)), _errors(dy, gate), strict=True):
        plain += error.sum(axis=2).sum(axis=0, dtype=np.float64)
        weighted += np.einsum("ncp,ncp->nc", error, block - _of(mean, block)).sum(axis=0, dtype=np.float64)
    return plain, weighted


def combined(dy: Array, factor: Array, x: Array, mean: Array, slope: Array, offset: Array, gate: Array | None = None) -> Array:
    """factor·dy + slope·(x − mean) + offset. gate: dy counts only where this is above 0."""
    rows = _rows(x)
    found = np.empty_like(rows)
    for (block, made), error in zip(_blocks(rows, found), _errors(dy, gate), strict=True):
        np.subtract(block, _of(mean, rows), out=made)
        made *= _of(slope, rows)
        made += _of(offset, rows)
        made += error * _of(factor, rows)
    return found.reshape(x.shape)


def _errors(dy: Array, gate: Array | None) -> Iterator[Array]:
    """The blocks of dy, 0 where the gate is not above 0."""
    if gate is None:
        return (error for (error,) in _blocks(_rows(dy)))
    return (error * (opening > 0) for error, opening in _blocks(_rows(dy), _rows(gate)))


def _rows(x: Array) -> Array:
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _of(vector: Array, rows: Array) -> Array:
    """A number per channel, to be repeated along rows."""
    return vector.astype(rows.dtype)[:, None]


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same few samples of every array at a time."""
    count, *size = arrays[0].shape
    step = max(1, BLOCK // max(math.prod(size), 1))
    for start in range(0, count, step):
        yield tuple(array[start : start + step] for array in arrays)


def _summed(parts: Iterator[Array]) -> Array:
    """The sum of (samples, channels) parts over the samples."""
    total: Array = sum((part.sum(axis=0, dtype=np.float64) for part in parts), np.zeros(()))
    return total
