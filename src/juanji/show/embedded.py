"""Pictures inside a page: arrays as data addresses.

Numbers are painted in one colour for each sign, as opaque as they are large, so that 0 is the page itself, light or dark.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.show.theme import DARK, LIGHT, mixed

Array = npt.NDArray[Any]

POSITIVE, NEGATIVE = mixed(LIGHT.positive, DARK.positive, 0.5), mixed(LIGHT.negative, DARK.negative, 0.5)
LEVELS = 127  # of each sign


def photo(picture: Array) -> str:
    """A picture of bytes as JPEG."""
    return _address(picture, "JPEG", quality=88)


def exact(picture: Array) -> str:
    """A picture of bytes as PNG."""
    return _address(picture, "PNG", optimize=True)


def painted(values: Array, largest: float | None = None) -> str:
    """Numbers (h, w) as PNG; NaN is the page. largest: the magnitude that is opaque, theirs unless given."""
    from PIL import Image

    numbers = np.where(np.isfinite(values), values, 0)
    reach = float(np.abs(numbers).max(initial=0)) if largest is None else largest
    shares = np.clip(numbers / (reach or 1.0), -1, 1)
    image = Image.fromarray((np.rint(shares * LEVELS) + LEVELS).astype(np.uint8), "P")
    image.putpalette([part for level in range(-LEVELS, LEVELS + 1) for part in bytes.fromhex((NEGATIVE if level < 0 else POSITIVE)[1:])])
    opacity = bytes(round(abs(level) * 255 / LEVELS) for level in range(-LEVELS, LEVELS + 1))
    return _encoded(image, "PNG", optimize=True, transparency=opacity)


def _address(picture: Array, kind: str, **options: Any) -> str:
    from PIL import Image

    return _encoded(Image.fromarray(np.ascontiguousarray(picture)), kind, **options)


def _encoded(image: Any, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
