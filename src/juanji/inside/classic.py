"""`kernel_likeness`: learned kernels beside the classic ones, Sobel, Prewitt and the Gaussian.

The classic kernels are made as large as the learned ones. Along one axis of K taps, with b the binomial row of K (1 2 1, 1 4 6 4 1 …),
Sobel is the product of b and of the binomial row of K − 2 convolved with (−1, 0, 1), Prewitt that of K ones and −(K−1)/2 … (K−1)/2; for
K = 3 both are as printed. Likeness is the cosine between two kernels as vectors, Σ a·b / √(Σ a² · Σ b²): their normalised correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ShapeError

Array = npt.NDArray[Any]

LEAST = 3  # taps along an axis, below which nothing is like Sobel


@dataclass(frozen=True)
class Likeness:
    """The classic kernel that a learned one is most like. sign: −1 where it is like its negative. likeness: from 0 to 1."""

    name: str
    sign: int
    likeness: float

    def __str__(self) -> str:
        return f"{'−' if self.sign < 0 else ''}{self.name} {self.likeness:.2f}"


def kernel_likeness(w: npt.ArrayLike) -> tuple[Likeness, ...]:
    """For each kernel of w (O, C, h, w) the classic kernel it is most like, under either sign.

    Of several channels the sum is compared: what the kernel does to a grey picture. Raises ShapeError for kernels smaller than 3×3.

    >>> print(*kernel_likeness([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]]))
    −sobel_x 1.00
    """
    weights = np.asarray(w, np.float64)
    if weights.ndim != 4 or min(weights.shape[2:]) < LEAST:
        raise ShapeError(f"w has shape {weights.shape}, but must be (O, C, h, w) with kernels of at least {LEAST}×{LEAST}")
    known = classic_kernels(*weights.shape[2:])
    names = list(known)
    table = np.stack([kernel.ravel() / np.linalg.norm(kernel) for kernel in known.values()])
    grey = weights.sum(axis=1).reshape(len(weights), -1)
    cosines = grey @ table.T / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), np.finfo(float).tiny)
    best = np.abs(cosines).argmax(axis=1)
    return tuple(Likeness(names[k], 1 if row[k] >= 0 else -1, float(abs(row[k]))) for row, k in zip(cosines, best, strict=True))


def classic_kernels(height: int, width: int) -> dict[str, Array]:
    """Sobel and Prewitt in both directions, and Gaussians of several widths, height×width.

    >>> classic_kernels(3, 3)["sobel_y"].tolist()
    [[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]]
    """
    found = {
        "sobel_x": np.outer(_binomial(height), _derivative(width)),
        "sobel_y": np.outer(_derivative(height), _binomial(width)),
        "prewitt_x": np.outer(np.ones(height), _ramp(width)),
        "prewitt_y": np.outer(_ramp(height), np.ones(width)),
    }
    for share in (1, 2, 3):
        sigma = share * min(height, width) / 10
        found[f"gaussian σ={sigma:.1f}"] = np.outer(_gaussian(height, sigma), _gaussian(width, sigma))
    return found


def _binomial(taps: int) -> Array:
    return np.array([math.comb(taps - 1, k) for k in range(taps)], float)


def _derivative(taps: int) -> Array:
    return np.convolve(_binomial(taps - 2), (-1, 0, 1))


def _ramp(taps: int) -> Array:
    return np.arange(taps) - (taps - 1) / 2


def _gaussian(taps: int, sigma: float) -> Array:
    return np.exp(-(_ramp(taps) ** 2) / (2 * sigma**2))


__all__ = ["Likeness", "classic_kernels", "kernel_likeness"]
