"""Resizing by the coordinates that ONNX names, with the nearest element, two (linear) or four neighbours (cubic).

Output element o of an axis lies at i of the input, where r is the scale, S' / S unless it was given:
    half_pixel            (o + ½)/r − ½                     asymmetric       o/r
    pytorch_half_pixel    the same, 0 where S' is 1         align_corners    o·(S − 1)/(S' − 1)
    half_pixel_symmetric  half_pixel moved so that the middle stays in the middle where S·r is no integer
Each axis is a matrix with a few weights in every row, so y = A·x and dx = Aᵀ·dy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from juanji.describe import PerAxis, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.operator import Array, Back, Box, Operator, Parameters, Run, Shape, one_of, spatial

COORDINATES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True, eq=False)
class Resample(Operator):
    """Spatial axes in another size: size, or scale, one for all axes or one for each (the result is floor(S·scale)).

    mode: "nearest", "linear" or "cubic". coordinates, rounding (for "nearest"): by ONNX's names. slope: of the cubic's kernel.
    """

    stem: ClassVar[str] = "resize"
    size: PerAxis | None = None
    scale: float | Sequence[float] | None = None
    mode: str = "linear"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    slope: float = -0.75

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("nearest", "linear", "cubic"))
        one_of("coordinates", self.coordinates, COORDINATES)
        one_of("rounding", self.rounding, ROUNDINGS)
        if (self.size is None) == (self.scale is None):
            raise ArgumentError(f"size (={self.size!r}) or scale (={self.scale!r}) must be given, not both")

    def _axes(self, shape: Shape) -> list[tuple[int, float]]:
        """The new length and the scale of each spatial axis."""
        n = spatial(self, shape)
        if self.size is not None:
            return [(to, to / size) for size, to in zip(shape[2:], per_axis("size", self.size, n, 1), strict=True)]
        scales = self.scale if isinstance(self.scale, Sequence) else (float(self.scale or 0),) * n
        if len(scales) != n:
            raise ShapeError(f"{self} has {len(scales)} scales for {n} spatial axes")
        return [(math.floor(size * scale), scale) for size, scale in zip(shape[2:], scales, strict=True)]

    def shape(self, *shapes: Shape) -> Shape:
        found = tuple(to for to, _ in self._axes(shapes[0]))
        if min(found) < 1:
            raise ShapeError(f"{self} leaves nothing of an input {shapes[0]}")
        return (*shapes[0][:2], *found)

    def _taps(self, shape: Shape) -> list[tuple[Array, Array]]:
        axes = zip(shape[2:], self._axes(shape), strict=True)
        return [taps(size, to, scale, self.mode, self.coordinates, self.rounding, self.slope) for size, (to, scale) in axes]

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        self.shape(x.shape)
        y = x
        for axis, (places, weights) in enumerate(self._taps(x.shape), start=2):
            along = weights.astype(x.dtype).reshape(*weights.shape, *(1,) * (x.ndim - 1 - axis))
            parts = [np.take(y, place, axis=axis) * weight for place, weight in zip(places, along, strict=True)]
            y = parts[0]
            for part in parts[1:]:
                y += part
        return y, x.shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        for axis, (places, weights) in reversed(list(enumerate(self._taps(saved), start=2))):
            matrix = np.zeros((dy.shape[axis], saved[axis]), dy.dtype)
            np.add.at(matrix, (np.broadcast_to(np.arange(dy.shape[axis]), places.shape), places), weights)
            dy = np.moveaxis(np.moveaxis(dy, axis, -1) @ matrix, -1, axis)
        return Back((dy,))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        found = []
        for (first, last), (places, _) in zip(box, self._taps(shapes[0]), strict=True):
            read = places[:, max(first, 0) : last + 1]
            found.append((int(read.min()), int(read.max())))
        return (tuple(found),)


@lru_cache(maxsize=256)
def taps(size: int, to: int, scale: float, mode: str, coordinates: str, rounding: str, slope: float) -> tuple[Array, Array]:
    """The input elements that each output element of an axis takes, and their weights; both (taps, to).

    >>> taps(2, 4, 2.0, "linear", "half_pixel", "floor", -0.75)[1].tolist()
    [[1.0, 0.75, 0.25, 1.0], [0.0, 0.25, 0.75, 0.0]]
    """
    at = _coordinates(size, to, scale, coordinates)
    match mode:
        case "nearest":
            low = {
                "round_prefer_floor": lambda: np.ceil(at - 0.5),
                "round_prefer_ceil": lambda: np.floor(at + 0.5),
                "floor": lambda: np.floor(at),
                "ceil": lambda: np.ceil(at),
            }[rounding]()
            first, weights = 0, np.ones((1, to))
        case "linear":
            at = np.clip(at, 0, size - 1)
            low = np.floor(at)
            first, weights = 0, np.stack([1 - (at - low), at - low])
        case _:
            low = np.floor(at)
            first, weights = -1, _cubic(at - low, slope)
    places = np.clip(low + np.arange(first, first + len(weights))[:, None], 0, size - 1).astype(np.int64)
    return places, weights


def _coordinates(size: int, to: int, scale: float, coordinates: str) -> Array:
    o = np.arange(to, dtype=np.float64)
    match coordinates:
        case "asymmetric":
            return o / scale
        case "align_corners":
            return o * ((size - 1) / (to - 1)) if to > 1 else o
        case "pytorch_half_pixel" if to == 1:
            return o
        case "half_pixel_symmetric":
            return (o + 0.5) / scale - 0.5 + size / 2 * (1 - to / (scale * size))
    return (o + 0.5) / scale - 0.5


def _cubic(t: Array, a: float) -> Array:
    """Weights of the elements at −1, 0, 1 and 2 for a place t between 0 and 1 (Keys 1981)."""

    def near(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((d - 5) * d + 8) * d * a - 4 * a

    return np.stack([far(t + 1), near(t), near(1 - t), far(2 - t)])
