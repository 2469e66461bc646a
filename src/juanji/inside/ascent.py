"""What a filter looks for: a picture that climbs the gradient of the filter's activation.

From a grey picture with a little noise, x = 128 + 20·(U[0, 1) − ½), each step adds the gradient of the filter's mean activation,
brought to length one per element:

    x ← x + step · g / (√mean(g²) + 1e−5),    g = ∂ mean(activation) / ∂x

Each filter has a picture of its own, one row of a batch, so that one walk there and back serves them all: the gradient that enters at
the layer is 1/area on the map of the filter that the row belongs to, and zero on every other.

Variants. jitter: each step sees the picture shifted by up to so many pixels, in a circle, which evens out the grid that strides leave.
decay, variation: after each step the picture is drawn towards its grey, and towards its neighbours' mean (the descent on the sum of
squared differences between neighbours). fourier: the picture is described by its spectrum, scaled as 1/f like those of photographs.
With F the unitary Fourier transform and S that scale, x = F⁻¹(S·c); the gradient in c is S·F(g), and a step along it moves x by
F⁻¹(S²·F(g)): the gradient seen through a filter of 1/f². No coefficients need be kept. The noise at the start is that of c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.inside.inputs import channels_last
from juanji.inside.parts import until, value_of
from juanji.nn.graph import Graph
from juanji.nn.preprocessing import BYTES

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]  # how much is done, of how much

GREY, NOISE, SOFT_NOISE = 128.0, 20.0, 2.0  # the latter with fourier, where it lies in the coarse waves that the eye sees
SMALLEST = 1e-5
BATCH = 8  # pictures that climb together
MOST, COLUMNS, MARGIN = 64, 8, 5  # of a sheet


@dataclass(frozen=True, eq=False)
class Maximised:
    """What the filters of a layer look for, by falling activation.

    filters (n), activations (n): the mean activation before the last step; pictures (n, H, W, C), in grey levels. dead: filters left
    out because their activation was not above zero, by number.
    """

    layer: str
    filters: tuple[int, ...]
    activations: Array
    pictures: Array
    dead: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.filters)

    def tiles(self, most: int = MOST) -> Array:
        """The first pictures with equal contrast, (x − mean) / (std + 1e−5) · 0.1 + 0.5 within [0, 1]."""
        chosen = self.pictures[:most]
        mean, deviation = chosen.mean(axis=(1, 2, 3), keepdims=True), chosen.std(axis=(1, 2, 3), keepdims=True)
        tiles: Array = np.clip((chosen - mean) / (deviation + SMALLEST) * 0.1 + 0.5, 0, 1)
        return tiles

    def sheet(self, columns: int = COLUMNS, margin: int = MARGIN) -> Array:
        """The tiles in a square of columns × columns with a margin between, H×W×C in [0, 1]; what is not filled stays 0.

        Tiles of 128×128 pixels in eight columns make 1059×1059.
        """
        tiles = self.tiles(columns * columns)
        height, width, channels = self.pictures.shape[1:]
        sides = (columns * (length + margin) - margin for length in (height, width))
        sheet = np.zeros((*sides, channels), np.float32)
        for number, tile in enumerate(tiles):
            top, left = (place * (length + margin) for place, length in zip(divmod(number, columns), (height, width), strict=True))
            sheet[top : top + height, left : left + width] = tile
        return sheet


def maximise(
    net: Graph,
    layer: str,
    filters: int | Sequence[int] = 200,
    *,
    size: int = 128,
    steps: int = 20,
    step: float = 1.0,
    start: str = "noise",
    jitter: int = 0,
    decay: float = 0.0,
    variation: float = 0.0,
    fourier: bool = False,
    drop: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Maximised:
    """Pictures that raise the mean activation of a layer's filters, by climbing its gradient from grey.

    filters: how many, from the first, or which. start: "noise" or "grey". step: in grey levels; the climb itself goes on behind the
    network's preprocessing (0 to 255 as 0 to 1 where it has none), where a grey level is 1 / deviation. A picture depends on the seed
    and its filter, not on the others. jitter (pixels), decay (0 to 1), variation (0 to 0.25), fourier: variants that look smoother; see
    above. drop: whether filters are left out whose activation is not above zero after all. progress: called with the steps done and
    their number.

    Raises ArgumentError for layers and filters that there are not, ShapeError for sizes too small for the network.

    >>> from juanji import nn
    >>> found = maximise(nn.Sequential(nn.Conv(4, 3), shape=(3, 9, 9)), "conv1", size=16, steps=5)
    >>> found.pictures.shape[1:], len(found) + len(found.dead), found.sheet(columns=2).shape
    ((16, 16, 3), 4, (37, 37, 3))
    """
    part = until(net, layer, light=True)
    if start not in ("noise", "grey"):
        raise ArgumentError(f"start (={start!r}) must be noise or grey")
    for name, value, most in (("decay", decay, 1.0), ("variation", variation, 0.25)):
        if not 0 <= value <= most:
            raise ArgumentError(f"{name} (={value}) must be from 0 to {most}")
    for name, value, least in (("size", size, 1), ("steps", steps, 1), ("jitter", jitter, 0)):
        if value < least:
            raise ArgumentError(f"{name} (={value}) must be at least {least}")
    if len(part.inputs) != 1:
        raise ArgumentError(f"layer (={layer!r}) depends on {len(part.inputs)} inputs ({', '.join(part.inputs)}), but must depend on one")
    (shape,) = part.inputs.values()
    channels = 3 if shape is None or shape[0] is None else shape[0]
    features = part.shapes((channels, size, size))[value_of(part)][1]
    wanted = _wanted(filters, features, layer)
    softness = _softness(size) if fourier else None
    climb = _Climb(part, float(step), jitter, decay, variation, softness)
    pictures, activations = [], []
    for first in range(0, len(wanted), BATCH):
        chosen = wanted[first : first + BATCH]
        x = np.stack([_start(start, (channels, size, size), softness, seed, number) for number in chosen])
        random = np.random.default_rng([seed, 1])  # the same shifts for every batch
        for done in range(1, steps + 1):
            x, reached = climb(x, chosen, random)
            if progress is not None:
                progress(first * steps + len(chosen) * done, len(wanted) * steps)
        pictures.append(x.astype(np.float32))
        activations.append(reached)
    whole, reached = np.concatenate(pictures), np.concatenate(activations)
    order = [i for i in np.argsort(-reached, kind="stable") if reached[i] > 0 or not drop]
    return Maximised(
        layer,
        tuple(wanted[i] for i in order),
        reached[order],
        np.stack([channels_last(whole[i]) for i in order]) if order else np.zeros((0, size, size, channels), np.float32),
        tuple(number for number, value in zip(wanted, reached, strict=True) if drop and not value > 0),
    )


def _wanted(filters: int | Sequence[int], features: int, layer: str) -> list[int]:
    if isinstance(filters, int):
        if filters < 1:
            raise ArgumentError(f"filters (={filters}) must be at least 1, or a list of filters")
        return list(range(min(filters, features)))
    if not filters:
        raise ArgumentError("filters must name at least one filter")
    for number in filters:
        if not 0 <= number < features:
            raise ArgumentError(f"filter {number} is none of {layer}, which has {features}, from 0")
    return [int(number) for number in filters]


def _start(kind: str, shape: tuple[int, ...], softness: Array | None, seed: int, number: int) -> Array:
    if kind == "grey":
        return np.full(shape, GREY)
    noise = np.random.default_rng([seed, number]).random(shape) - 0.5
    return GREY + (NOISE * noise if softness is None else SOFT_NOISE * _seen_through(np.sqrt(softness), noise))


def _softness(size: int) -> Array:
    """1/f² along the frequencies of rfft2, at most that of one cycle in the picture; its mean is 1."""
    down, across = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    squared = 1 / np.maximum(down**2 + across**2, 1 / size**2)
    softness: Array = squared / squared.mean()
    return softness


def _seen_through(scale: Array, x: Array) -> Array:
    """Numbers (…, H, W) whose spectra are multiplied by a scale."""
    found: Array = np.fft.irfft2(np.fft.rfft2(x) * scale, x.shape[-2:])
    return found


@dataclass(frozen=True)
class _Climb:
    """A step of a batch of pictures, in grey levels."""

    part: Graph
    step: float
    jitter: int
    decay: float
    variation: float
    softness: Array | None

    def __call__(self, x: Array, filters: Sequence[int], random: np.random.Generator) -> tuple[Array, Array]:
        """The pictures one step further, and the activations before it."""
        own = self.part.preprocessing or BYTES
        mean, deviation = (np.asarray(value, np.float64).reshape(1, -1, 1, 1) for value in (own.mean, own.deviation))
        shift = tuple(random.integers(-self.jitter, self.jitter + 1, 2)) if self.jitter else (0, 0)
        seen = np.roll(x, shift, (2, 3)) if any(shift) else x
        activations, g = self._slope(((seen - mean) / deviation).astype(self.part.dtype), filters)
        g = np.roll(g, (-shift[0], -shift[1]), (2, 3)) if any(shift) else g
        if self.softness is not None:
            g = _seen_through(self.softness, g)
        x = x + self.step * (g / (np.sqrt((g * g).mean(axis=(1, 2, 3), keepdims=True)) + SMALLEST))
        if self.decay:
            x = GREY + (x - GREY) * (1 - self.decay)
        if self.variation:
            x = x + self.variation * sum(np.roll(x, by, axis) - x for axis in (2, 3) for by in (-1, 1))
        return x, activations

    def _slope(self, x: Array, filters: Sequence[int]) -> tuple[Array, Array]:
        """The mean activation of each row's filter, and its gradient in the row."""
        tape = self.part.record(x)
        value, source = value_of(self.part), next(iter(self.part.inputs))
        y = tape.values[value]
        rows = np.arange(len(x))
        maps = y[rows, filters].reshape(len(x), -1)
        dy = np.zeros_like(y)
        dy[rows, filters] = 1 / maps.shape[1]
        g = tape.backward({value: dy}, [source], parameters=False).values[source]
        return maps.mean(axis=1), g.astype(np.float64)


__all__ = ["Maximised", "Progress", "maximise"]
