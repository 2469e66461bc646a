"""Equivariance, measured: does moving, turning or enlarging the input do the same to the output?

A map f is equivariant to g when f(g x) = g f(x). Nothing is invented beyond the edges: a shift is made by cutting rows and columns
off, so that what enters at one side is the picture's own content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from juanji.convolution import conv, operand
from juanji.describe import PerAxis, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.explain.arguments import Array, Geometry, PoolingArguments
from juanji.explain.columns import im2col
from juanji.explain.matrix import Coordinates, toeplitz
from juanji.pooling import pool

Operator = Callable[[Array], Array]

TOLERANCE = 1e-5  # of the largest value: differences below it are rounding


@dataclass(frozen=True)
class Measured:
    """How far two arrays agree.

    same: the fraction of equal values, up to rounding (1e-5 of the largest). error: the largest difference over the largest value.
    compared: how many values.
    """

    name: str
    same: float
    error: float
    compared: int

    def __str__(self) -> str:
        return f"{self.name}: {self.same:.1%} of {self.compared:,} values agree, largest difference {self.error:.3g} of the largest value"


@dataclass(frozen=True)
class Equivariance:
    """The measurements for shift, rotation and scale; prints itself."""

    shift: Measured
    rotation: Measured | None
    scale: Measured

    def __str__(self) -> str:
        return "\n".join(str(measured) for measured in (self.shift, self.rotation, self.scale) if measured is not None)


def equivariance(op: Operator, x: npt.ArrayLike, *, shift: PerAxis = 1, stride: PerAxis = 1, border: PerAxis = 0) -> Equivariance:
    """How far op(g x) = g op(x) holds for g a shift, a rotation by 90° and a magnification by 2, each pixel four times.

    op: from arrays (N, C, *S) to arrays (N, O, *S'). shift: by how many pixels, one for all axes or one for each. stride: how many
    pixels a step of the output is. border: how many outputs next to each edge are left out, where padding shows; with 0 an operator
    that pads differs there. Rotation needs two spatial axes, and turns the first two.

    >>> x = np.random.default_rng(0).standard_normal((1, 1, 12, 12))
    >>> w = np.array([[[[1.0, 0], [0, -1]]]])
    >>> print(equivariance(lambda x: conv(x, w), x, shift=(2, 3)).shift)
    shift by 2×3: 100.0% of 72 values agree, largest difference 0 of the largest value
    """
    x = operand("x", x, least=3)
    n = x.ndim - 2
    steps, strides, edges = per_axis("shift", shift, n, 0), per_axis("stride", stride, n, 1), per_axis("border", border, n, 0)
    y = op(x)
    if y.ndim != x.ndim:
        raise ShapeError(f"op gives an array of shape {y.shape} for x of shape {x.shape}; it must keep the number of axes")
    moved = op(x[_from(steps)])
    by_output = y[_from(tuple(step // s for step, s in zip(steps, strides, strict=True)))]
    length = [slice(0, min(a, b)) for a, b in zip(moved.shape[2:], by_output.shape[2:], strict=True)]
    kept = (slice(None), slice(None), *length)
    shifted = _measured(f"shift by {'×'.join(map(str, steps))}", moved[kept], by_output[kept], edges)
    rotated = None
    if n > 1:
        turned, turning = op(np.rot90(x, axes=(2, 3)).copy()), np.rot90(y, axes=(2, 3))
        rotated = _measured("rotation by 90°", *_centred(turned, turning), edges)
    scaled = _measured("scale by 2", *_centred(op(_twice(x)), _twice(y)), edges)
    return Equivariance(shifted, rotated, scaled)


def shift_through_pooling(x: npt.ArrayLike, size: PerAxis = 3, **arguments: Unpack[PoolingArguments]) -> tuple[Measured, Measured]:
    """What moving by one pixel along the last axis changes: of x, and of `pool(x, size, **arguments)`.

    Both views are cut from x (N, C, *S), one pixel apart, so that a value of x enters on the left and one leaves on the right.

    >>> row = np.array([[[0.3, 0.1, 1.0, 0.2, 0.1]]])
    >>> for measured in shift_through_pooling(row, stride=1, padding=1):
    ...     print(measured)
    before pooling: 0.0% of 4 values agree, largest difference 0.9 of the largest value
    after pooling: 50.0% of 4 values agree, largest difference 0.8 of the largest value
    """
    x = operand("x", x, least=3)
    if x.shape[-1] < 2 or arguments.get("layout", "channels_first") != "channels_first":
        raise ShapeError(f"x of shape {x.shape} must be (N, C, *S) with at least two elements along its last axis")
    still, moved = np.ascontiguousarray(x[..., 1:]), np.ascontiguousarray(x[..., :-1])
    pooled_still, pooled_moved = (np.asarray(pool(view, size, **arguments)) for view in (still, moved))
    none = (0,) * (x.ndim - 2)
    return _measured("before pooling", moved, still, none), _measured("after pooling", pooled_moved, pooled_still, none)


@dataclass(frozen=True)
class Permuted:
    """What a permutation of all pixels does to a layer that is fitted to the same outputs; prints itself.

    dense: the error of a dense layer whose columns are permuted alike. convolution: that of the best kernel of the same size, by least
    squares; before: of the best kernel without the permutation. All are ‖difference‖ / ‖outputs‖.
    """

    dense: float
    convolution: float
    before: float

    def __str__(self) -> str:
        return (
            f"all pixels permuted, the same outputs wanted:\n"
            f"dense layer, its weights permuted alike: error {self.dense:.2g} of the outputs\n"
            f"convolution, the best kernel there is: error {self.convolution:.2g} (without the permutation {self.before:.2g})"
        )


def permuted_pixels(x: npt.ArrayLike, w: npt.ArrayLike, seed: int = 0, **arguments: Unpack[Geometry]) -> Permuted:
    """How well a dense layer and a convolution can learn `conv(x, w, **arguments)` from samples whose pixels are permuted, all alike.

    x (N, C, *S), one group, shared weights. Raises ArgumentError if there are fewer windows than weights of a feature, so that any
    outputs could be fitted.
    """
    x, w = operand("x", x, least=3), operand("w", w, least=3)
    options: dict[str, Any] = dict(arguments)
    if x.ndim != w.ndim:
        raise ShapeError(f"x of shape {x.shape} must have a batch, channels and the {w.ndim - 2} spatial axes of w {w.shape}")
    for name, only in (("groups", 1), ("sharing", "shared"), ("layout", "channels_first"), ("weight_layout", None)):
        if options.get(name, only) != only:
            raise ArgumentError(f"{name} (={options[name]!r}) must be {only!r} here")
    y, spatial = conv(x, w, **options), x.shape[2:]
    order = np.random.default_rng(seed).permutation(int(np.prod(spatial)))
    mixed = x.reshape(*x.shape[:2], -1)[..., order].reshape(x.shape)
    layer = toeplitz(x.shape, w, **arguments)
    columns = (np.arange(x.shape[1])[:, None] * order.size + order).reshape(-1)
    flat = y.reshape(len(x), -1)
    c = layer.coordinates
    same_weights = Coordinates(c.rows, np.argsort(columns)[c.columns], c.values, c.shape)
    dense = (same_weights @ mixed.reshape(len(x), -1).T).T + layer.offset
    geometry = {name: options[name] for name in ("stride", "padding", "dilation", "boundary") if name in options}
    wanted = np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
    windows = [im2col(samples, w.shape[2:], **geometry) for samples in (mixed, x)]
    if windows[0].shape[0] <= windows[0].shape[1]:
        raise ArgumentError(
            f"x of shape {x.shape} has {windows[0].shape[0]} windows, which must be more than their {windows[0].shape[1]} weights"
        )
    fitted = [rows @ np.linalg.lstsq(rows, wanted, rcond=None)[0] for rows in windows]
    errors = [float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted)) for got in fitted]
    return Permuted(float(np.linalg.norm(dense - flat) / np.linalg.norm(flat)), *errors)


def _from(steps: tuple[int, ...]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(step, None) for step in steps))


def _twice(x: Array) -> Array:
    """Every element twice along every spatial axis."""
    for axis in range(2, x.ndim):
        x = np.repeat(x, 2, axis)
    return x


def _centred(a: Array, b: Array) -> tuple[Array, Array]:
    """The middles of both, of the shape that both have."""
    length = [min(m, n) for m, n in zip(a.shape[2:], b.shape[2:], strict=True)]

    def middle(array: Array) -> Array:
        cut = (slice((size - n) // 2, (size - n) // 2 + n) for size, n in zip(array.shape[2:], length, strict=True))
        return array[(slice(None), slice(None), *cut)]

    return middle(a), middle(b)


def _measured(name: str, a: Array, b: Array, border: tuple[int, ...]) -> Measured:
    inner = (slice(None), slice(None), *(slice(edge, -edge or None) for edge in border))
    a, b = (np.asarray(array[inner]).astype(np.complex128 if array.dtype.kind == "c" else np.float64) for array in (a, b))
    if not a.size:
        raise ShapeError(f"{name}: no output is left to compare; take a larger x or a smaller border")
    difference, largest = np.abs(a - b), float(np.abs(b).max()) or 1.0
    return Measured(name, float((difference <= TOLERANCE * largest).mean()), float(difference.max()) / largest, a.size)
