"""Power spectra of pictures: how fine a texture is, how strongly it has one direction, and which textures are turned copies of others.

The power of a picture is |F|² of its channels, each less its mean, under a Hann window so that its borders add nothing, summed. At a
frequency (u, v) in cycles per pixel, f = √(u² + v²) and θ = atan2(v, u),

    mean frequency            Σ P·f / Σ P
    orientation selectivity   |Σ P·e^{2iθ}| / Σ P

The latter is 1 where all waves run along one line and 0 where no direction is preferred; twice the angle, because a wave has no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ShapeError
from juanji.inside.ascent import Maximised, Progress, maximise
from juanji.nn.graph import Graph

Array = npt.NDArray[Any]

RINGS, ANGLES = 6, 24  # of the polar grid that textures are compared on; half a turn has ANGLES steps, of 7.5°
COARSEST = 0.02  # cycles per pixel, where the grid begins
DIRECTED = 0.2  # how much better than at a mean turn two textures must agree at the best one
FLOOR = 1e-6  # of the mean power, below which a difference tells nothing


@dataclass(frozen=True, eq=False)
class Frequency:
    """Mean frequency in cycles per pixel and orientation selectivity, from 0 to 1, of each picture; prints their means."""

    name: str
    frequencies: Array
    selectivities: Array

    @property
    def frequency(self) -> float:
        return float(self.frequencies.mean()) if len(self.frequencies) else float("nan")

    @property
    def selectivity(self) -> float:
        return float(self.selectivities.mean()) if len(self.selectivities) else float("nan")

    def __str__(self) -> str:
        return f"{self.name}: {self.frequency:.3f} cycles per pixel, selectivity {self.selectivity:.2f} (pictures: {len(self.frequencies)})"


def frequency(
    net: Graph, layer: str, filters: int | Sequence[int] = 16, *, size: int = 64, progress: Progress | None = None, **variants: Any
) -> Frequency:
    """Mean spatial frequency and orientation selectivity of what a layer's filters look for, by `maximise` (its arguments).

    Raises what `maximise` raises.
    """
    found = maximise(net, layer, filters, size=size, progress=progress, **variants)
    return frequency_of(found.pictures, layer)


def frequency_of(pictures: npt.ArrayLike, name: str = "pictures") -> Frequency:
    """The same of any pictures (n, H, W, C) or (n, H, W).

    >>> wave = np.sin(2 * np.pi * np.arange(64) / 4) * np.ones((64, 1))
    >>> print(frequency_of(wave[None]))
    pictures: 0.250 cycles per pixel, selectivity 1.00 (pictures: 1)
    """
    power, down, across = _power(pictures)
    total = np.maximum(power.sum(axis=(1, 2)), np.finfo(float).tiny)
    lengths, doubled = np.hypot(down, across), np.exp(2j * np.arctan2(down, across))
    return Frequency(name, (power * lengths).sum(axis=(1, 2)) / total, np.abs((power * doubled).sum(axis=(1, 2))) / total)


def _power(pictures: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """The power of each picture, with the frequencies along both axes, in cycles per pixel."""
    given = np.asarray(pictures, np.float64)
    given = given[..., None] if given.ndim == 3 else given
    if given.ndim != 4:
        raise ShapeError(f"pictures have shape {given.shape}, but must be (n, H, W) or (n, H, W, C)")
    height, width = given.shape[1:3]
    window = np.outer(_hann(height), _hann(width))[..., None]
    level = (given * window).sum(axis=(1, 2), keepdims=True) / max(window.sum(), np.finfo(float).tiny)
    power = (np.abs(np.fft.fft2((given - level) * window, axes=(1, 2))) ** 2).sum(axis=3)
    return power, np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]


def _hann(length: int) -> Array:
    return 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)


@dataclass(frozen=True)
class Turn:
    """Two filters that look for nearly the same texture. turn: degrees, counter-clockwise, from the first's to the second's, below 180."""

    first: int
    second: int
    turn: float
    likeness: float


def repeated(found: Maximised, least: float = 0.7, most: int = 64) -> tuple[Turn, ...]:
    """Pairs among the first pictures that show nearly one texture, turned or not, the most alike first.

    Compared are the logarithms of the power spectra on a polar grid, less the mean that all pictures have at that frequency, by their
    normalised correlation at the best turn in steps of 7.5°. The spectrum does not see where a texture lies; a turn of a picture turns
    its spectrum. least: the likeness, 1 for equal spectra, from which a pair counts. Textures that look the same in every direction are
    left out: their spectra tell too little.
    """
    pictures = found.pictures[:most]
    if len(pictures) < 2:
        return ()
    polar = _polar(pictures)
    polar -= polar.mean(axis=(0, 2))[:, None]
    polar /= np.maximum(np.sqrt((polar**2).sum(axis=(1, 2), keepdims=True)), np.finfo(float).tiny)
    waves = np.fft.rfft(polar, axis=2)
    pairs = []
    for i in range(len(pictures) - 1):
        turned = np.fft.irfft((waves[i].conj() * waves[i + 1 :]).sum(axis=1), ANGLES, axis=1)
        for j, (at, value) in enumerate(zip(turned.argmax(axis=1), turned.max(axis=1), strict=True), i + 1):
            if value >= max(least, turned[j - i - 1].mean() + DIRECTED):
                pairs.append(Turn(found.filters[i], found.filters[j], float(at) * 180 / ANGLES, float(value)))
    return tuple(sorted(pairs, key=lambda pair: -pair.likeness))


def _polar(pictures: Array) -> Array:
    """The logarithm of the power in rings, each wider than the one inside it, and half a turn of directions: (n, RINGS, ANGLES)."""
    power, down, across = _power(pictures)
    ring = np.digitize(np.hypot(down, across), np.geomspace(COARSEST, 0.5, RINGS + 1)) - 1
    # rows grow downwards, so that counter-clockwise is −down
    angle = np.floor((np.arctan2(-down, across) % np.pi) / np.pi * ANGLES + 0.5).astype(int) % ANGLES
    inside = (ring >= 0) & (ring < RINGS)
    bins = (ring * ANGLES + angle)[inside]
    counts = np.bincount(bins, minlength=RINGS * ANGLES).reshape(RINGS, ANGLES)
    sums = np.stack([np.bincount(bins, each[inside], RINGS * ANGLES).reshape(RINGS, ANGLES) for each in power])
    ringed = sums.sum(axis=2) / np.maximum(counts.sum(axis=1), 1)  # for directions in which a small ring has no frequency
    means = np.where(counts, sums / np.maximum(counts, 1), ringed[:, :, None])
    found: Array = np.log(means / np.maximum(means.mean(axis=(1, 2), keepdims=True), np.finfo(float).tiny) + FLOOR)
    return found


__all__ = ["Frequency", "Turn", "frequency", "frequency_of", "repeated"]
