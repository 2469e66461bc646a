"""What a network wants done to a picture before it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data import pictures
from juanji.errors import ShapeError

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
        y: Array = x.astype(np.float32)
        y -= mean
        y /= deviation
        return y

    def picture(self, image: npt.ArrayLike, channels: int) -> Array:
        """A picture H×W, or H×W×C with or without alpha, as the network takes it: (1, channels, h, w), in the picture's type.

        Raises ShapeError for what is no picture.
        """
        array = np.asarray(image)
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise ShapeError(f"the picture has shape {array.shape}, but must be H×W or H×W×C")
        layers = pictures.layered(array, channels)
        if self.size is not None:
            height, width = layers.shape[1:]
            scale = max(size / self.crop / length for size, length in zip(self.size, (height, width), strict=True))
            whole = [max(size, round(length * scale)) for size, length in zip(self.size, (height, width), strict=True)]
            layers = pictures.resized(layers, whole)
            top, left = ((length - size) // 2 for length, size in zip(whole, self.size, strict=True))
            layers = layers[:, top : top + self.size[0], left : left + self.size[1]]
        return layers[None]


BYTES = Preprocessing()  # 0 … 255 becomes 0 … 1
IMAGENET = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), (224, 224), 0.875)  # as torchvision's networks were trained
