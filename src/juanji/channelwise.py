"""Sums and maps over each channel of a batch, by generated code that reads it from memory once: for normalisation and activations.

Arrays are (N, C, *S) of float16, float32 or float64, vectors one number per channel. The positions of a sample are summed in the array's
type (float16 in float32), the samples in float64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.jit.arguments import HEAD, pack
from juanji.jit.channelwise import FOUND, OF_ROWS, ChannelwiseCode, emit_channelwise
from juanji.jit.memory import address, empty_aligned
from juanji.run import run_items

Array = npt.NDArray[Any]

TOTALS = {"float16": "float32", "float32": "float32", "float64": "float64"}
NAMES = {np.dtype(name): name for name in TOTALS}  # NumPy takes a microsecond to spell a type's name
ELEMENT_CYCLES = 1.0  # for the choice of threads; most of it waits for memory
X, W, BIAS, Y = (HEAD.index(name) for name in ("x", "w", "bias", "y"))


class Affine(NamedTuple):
    """factor·x + offset of each channel, in float64."""

    factor: Array
    offset: Array


def sums(x: Array) -> Array:
    """Σ x of each channel, in float64.

    >>> sums(np.ones((2, 3, 4)))
    array([8., 8., 8.])
    """
    x = _with_positions(x)
    total: Array = _run("sums", x)[1].reshape(*x.shape[:2]).sum(axis=0)
    return total


def affine(x: Array, map: Affine, *, relu: bool = False) -> Array:
    """factor·x + offset, rounded once; with relu what of it is above 0.

    >>> affine(np.array([[[1.0, -2]]]), Affine(np.array([3.0]), np.array([1.0])), relu=True)
    array([[[4., 0.]]])
    """
    return _like(x, _run("affine", _with_positions(x), numbers=map, relu=relu)[0])


def gate(dy: Array, y: Array) -> Array:
    """dy where y is above 0, else 0: the way back through a relu whose result is y.

    >>> gate(np.array([[1.0, 2]]), np.array([[0.5, 0]]))
    array([[1., 0.]])
    """
    samples = len(y) if y.ndim > 1 else 1
    rows = (samples, 1, y.size // max(samples, 1))
    return _run("gate", y.reshape(rows), dy.reshape(rows))[0].reshape(y.shape)


def normalise(x: Array, weight: Array, bias: Array, epsilon: float, *, relu: bool = False) -> tuple[Array, Array, Array, Affine]:
    """weight·(x − μ)/√(σ² + ε) + bias with the mean μ and the variance σ² of each channel: the result, μ, σ², and the map that was made.

    The variance is that of the values, not the estimate of a distribution's. relu: what of the result is above 0.

    >>> y, mean, variance, _ = normalise(np.array([[[1.0, 3]], [[1, 3]]]), np.ones(1), np.zeros(1), 0.0)
    >>> y.tolist(), mean, variance
    ([[[-1.0, 1.0]], [[-1.0, 1.0]]], array([2.]), array([1.]))
    """
    numbers = (weight, bias, np.full(len(weight), epsilon))
    y, found = _run("normalise", _with_positions(x), numbers=numbers, relu=relu)
    mean, variance, factor, offset = found.T
    return _like(x, y), mean, variance, Affine(factor, offset)


def normalise_back(
    x: Array, dy: Array, mean: Array, map: Affine, slope: Array, share: Array, *, relu: bool = False
) -> tuple[Array, Array, Array]:
    """factor·dy + slope·(x − mean)·Σ dy·(x − mean) + share·Σ dy of each channel, and both sums: Σ dy, Σ dy·(x − mean).

    relu: dy counts only where the map of x is above 0.
    """
    dx, found = _run("normalise_back", _with_positions(x), _with_positions(dy), (mean, *map, slope, share), relu)
    return _like(x, dx), found[:, 0], found[:, 1]


def _with_positions(x: Array) -> Array:
    """A batch without positions as one sample whose positions are the batch: rows of one element would be slow."""
    return x if x.ndim > 2 else x.T[None]


def _like(x: Array, made: Array) -> Array:
    """What was made of the array's rows, in its shape."""
    return made if x.ndim > 2 else np.ascontiguousarray(made[0].T)


def _run(kind: str, x: Array, dy: Array | None = None, numbers: tuple[Array, ...] = (), relu: bool = False) -> tuple[Array, Array]:
    """An array like x, and the numbers that are found of each row or channel."""
    x = x if x.dtype in NAMES else x.astype(x.dtype.newbyteorder("="))
    dtype = NAMES[x.dtype]
    batch, channels = x.shape[:2]
    x = _in_rows(x)
    dy = x if dy is None else _in_rows(dy.astype(x.dtype, copy=False))
    items = batch * channels if kind in OF_ROWS else channels
    result = x if kind == "sums" else empty_aligned(x.shape, x.dtype)
    found = np.zeros((items, FOUND.get(kind, 0)))
    if x.size:
        table = np.stack(numbers, axis=1).astype(np.float64) if numbers else found
        code = ChannelwiseCode(kind, dtype, TOTALS[dtype], relu)
        words = {"map_found": address(found), "images": batch, "channels": channels, "length": math.prod(x.shape[2:])}
        strides = zip(("xs_n", "xs_c", "ws_n", "ws_c"), (*x.strides[:2], *dy.strides[:2]), strict=True)
        row = pack(code.names, {**words, **dict(strides)})
        row[X], row[W], row[BIAS], row[Y] = address(x), address(dy), address(table), address(result)
        run_items(machines.loaded(code, emit_channelwise), row, items, 0, x.size * ELEMENT_CYCLES, None)
    return result, found


def _in_rows(x: Array) -> Array:
    """The array, or a copy where the positions of a channel do not lie side by side."""
    step = x.itemsize
    for length, stride in zip(reversed(x.shape[2:]), reversed(x.strides[2:]), strict=True):
        if length > 1 and stride != step:
            return np.ascontiguousarray(x)
        step *= length
    return x if x.flags.aligned else np.require(x, None, ["C", "A"])
