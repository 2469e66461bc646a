"""Local response normalisation (Krizhevsky et al. 2012): every value against its neighbours in the channels around it.

With s = k + α/n·Σ x² over the n channels around each, y = x·s^(−β). Every x reaches n outputs, through s, so that
    dx = dy·s^(−β) − 2αβ/n · x · Σ (dy·x·s^(−β−1))      over the channels whose window holds x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji.nn.operator import Array, Back, Operator, Parameters, Run


@dataclass(frozen=True, eq=False)
class LocalResponseNorm(Operator):
    """Values divided by (k + alpha / size · Σ x²)^beta over the `size` channels around them, as in AlexNet."""

    stem: ClassVar[str] = "norm"
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def _around(self, x: Array, low: int) -> Array:
        """Sums over windows of channels that begin `low` before their own."""
        zero = np.zeros((x.shape[0], 1, *x.shape[2:]), x.dtype)
        total = np.concatenate([zero, np.cumsum(x, axis=1)], axis=1)
        first = np.arange(x.shape[1]) - low
        ends = (np.clip(edge, 0, x.shape[1]) for edge in (first + self.size, first))
        above, below = (np.take(total, end, axis=1) for end in ends)
        found: Array = above - below
        return found

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        share = np.asarray(self.alpha / self.size, x.dtype)
        s = self._around(x * x, (self.size - 1) // 2) * share + np.asarray(self.k, x.dtype)
        factor = s ** np.asarray(-self.beta, x.dtype)
        return x * factor, (x, s, factor)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, s, factor = saved
        shared = self._around(dy * x * factor / s, self.size - 1 - (self.size - 1) // 2)
        return Back((dy * factor - np.asarray(2 * self.alpha * self.beta / self.size, x.dtype) * x * shared,))
