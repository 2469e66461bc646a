"""What a network wants done to a picture before it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Preprocessing:
    """(x − mean) / deviation, each one number or one per channel, in the units of the stored picture (0 … 255 for bytes).

    size: height and width that pictures are brought to before `predict`, by scaling the shorter side to size / crop and cutting the middle.
    """

    mean: float | tuple[float, ...] = 0.0
    deviation: float | tuple[float, ...] = 255.0
    size: tuple[int, int] | None = None
    crop: float = 1.0

    def __call__(self, x: Array) -> Array:
        """An integer array (N, C, *S) as float32."""
        mean, deviation = (
            np.asarray(value, np.float32).reshape(1, -1, *(1,) * (x.ndim - 2)) for value in (self.mean, self.deviation)
        )
        y: Array = (x.astype(np.float32) - mean) / deviation
        return y


BYTES = Preprocessing()  # 0 … 255 becomes 0 … 1
