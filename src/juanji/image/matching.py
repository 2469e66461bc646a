"""Template matching: how like a template each window of a picture is.

With weights m, the mask, M their sum, and windows and template seen as their differences from their weighted means, the likeness is

    ncc = Σ m (T − T̄)(I − Ī) / √(Σ m (T − T̄)² · Σ m (I − Ī)²),    from −1 to 1,

the cosine of the angle between the two, whatever their brightness and contrast. Since Σ m (T − T̄) = 0, the numerator is one correlation
of the picture with the kernel m (T − T̄). The other sum is Σ m I² − (Σ m I)² / M, two correlations with m, of which little may be
left where a window is nearly even: the picture's mean is taken off it first, and windows of which less than a millionth is left are
summed again from their own differences.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.convolution import conv
from juanji.describe import array_of
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.pooling import pool

Array = npt.NDArray[Any]

METHODS = ("ncc", "correlation")
CANCELLED = 1e-6  # the part of Σ m I² below which the difference has lost too many digits
AT_ONCE = 2**22  # elements of the windows that are summed again together


def match_template(
    image: npt.ArrayLike,
    template: npt.ArrayLike,
    *,
    mask: npt.ArrayLike | None = None,
    method: str = "ncc",
    pad: bool = False,
) -> Array:
    """How like the template each window of the picture is; the most alike is where the result is largest.

    image: H×W, or H×W×C with all C channels compared together. template: h×w, or h×w×C, no larger than the picture.
    mask: weights of the template's pixels, h×w or of the template's shape, at least 0: bool, or how much each counts.
    method: "ncc", normalised cross-correlation: 1 is the template itself at any brightness and contrast, −1 its negative, 0 where the
        window is even. "correlation", the plain sum of products Σ m·T·I: what a layer of a network computes.
    pad: False gives (H − h + 1)×(W − w + 1), and element (i, j) belongs to the window that begins there. True gives H×W, and it belongs
        to the window centred there, on its element (h // 2, w // 2); outside stands the picture's mean.

    The result is float64. Raises ArgumentError, ShapeError or DtypeError.

    >>> picture = np.zeros((5, 6))
    >>> picture[2:4, 3:5] = [[1, 2], [3, 5]]
    >>> likeness = match_template(picture, [[10, 20], [30, 50]])
    >>> np.unravel_index(likeness.argmax(), likeness.shape), round(likeness.max(), 12)
    ((np.int64(2), np.int64(3)), np.float64(1.0))
    """
    picture, pattern = _pixels("image", image), _pixels("template", template)
    if picture.ndim != pattern.ndim or picture.shape[2:] != pattern.shape[2:]:
        raise ShapeError(f"template of shape {pattern.shape} must have the axes of image {picture.shape}: H×W, or H×W×C with its C")
    if any(t > i for t, i in zip(pattern.shape, picture.shape, strict=True)):
        raise ShapeError(f"template of shape {pattern.shape} must fit inside image of shape {picture.shape}")
    if method not in METHODS:
        raise ArgumentError(f"method (={method!r}) must be one of {', '.join(METHODS)}")
    weights = _weights(mask, pattern)
    if pad:
        picture = _padded(picture, pattern)
    if method == "correlation":
        return _correlate(picture, weights * pattern)
    for _ in range(2):  # the second mean is what rounding left of the first
        pattern = pattern - (weights * pattern).sum() / weights.sum()
    energy = (weights * pattern**2).sum()
    if not energy:
        raise ArgumentError("template is the same everywhere (under its mask), so that nothing is like it; method='correlation' compares")
    products, deviations = _compared(picture - picture.mean(), weights * pattern, weights)
    even = deviations <= 0
    return np.where(even, 0.0, np.clip(products / np.sqrt(energy * np.where(even, 1, deviations)), -1, 1))


def _compared(picture: Array, pattern: Array, weights: Array) -> tuple[Array, Array]:
    """Σ m (T − T̄)(I − Ī) and Σ m (I − Ī)² of every window, exactly 0 where the window is even. `pattern` is m (T − T̄)."""
    mass = weights.sum()
    products, squares = _correlate(picture, pattern), _correlate(picture**2, weights)
    deviations = squares - _correlate(picture, weights) ** 2 / mass
    unsure = deviations < CANCELLED * squares
    if unsure.any():
        even = _extreme(picture, weights) == -_extreme(-picture, weights)
        deviations[even] = 0
        places = np.argwhere(unsure & ~even)
        windows = np.moveaxis(np.lib.stride_tricks.sliding_window_view(picture, weights.shape[:2], axis=(0, 1)), (-2, -1), (2, 3))
        axes = tuple(range(1, weights.ndim + 1))
        step = max(1, AT_ONCE // weights.size)
        for i in range(0, len(places), step):
            rows, columns = places[i : i + step].T
            seen = windows[rows, columns]
            seen = seen - (weights * seen).sum(axes, keepdims=True) / mass
            products[rows, columns] = (pattern * seen).sum(axes)
            deviations[rows, columns] = (weights * seen**2).sum(axes)
    return products, deviations


def _extreme(picture: Array, weights: Array) -> Array:
    """The largest value of every window, its channels and what the mask hides included."""
    planes = picture.reshape(*picture.shape[:2], -1).max(axis=-1)
    return np.asarray(pool(planes[None], weights.shape[:2], stride=1)[0])


def _correlate(picture: Array, kernel: Array) -> Array:
    """The sums of products, channels added up: (H − h + 1)×(W − w + 1)."""
    x = picture.reshape(1, *picture.shape[:2], -1)
    y: Array = conv(x, kernel.reshape(*kernel.shape[:2], -1, 1), layout="channels_last")[0, ..., 0]
    return y


def _padded(picture: Array, pattern: Array) -> Array:
    sides = [(length // 2, length - 1 - length // 2) for length in pattern.shape[:2]]
    return np.pad(picture, [*sides, *[(0, 0)] * (picture.ndim - 2)], constant_values=picture.mean())


def _pixels(name: str, value: npt.ArrayLike) -> Array:
    array = array_of(name, value)
    if array.dtype.kind not in "fbiu":
        raise DtypeError(f"{name} has dtype {array.dtype}, but must be an array of real numbers")
    if array.ndim not in (2, 3) or not array.size:
        raise ShapeError(f"{name} of shape {array.shape} must be H×W or H×W×C, with at least one pixel")
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite, but holds NaN or infinity")
    return array.astype(np.float64)


def _weights(mask: npt.ArrayLike | None, pattern: Array) -> Array:
    if mask is None:
        return np.ones_like(pattern)
    weights = _pixels("mask", mask)
    if weights.shape not in (pattern.shape, pattern.shape[:2]):
        raise ShapeError(f"mask of shape {weights.shape} must have the shape of template, {pattern.shape}, or its rows and columns")
    if (weights < 0).any() or not weights.any():
        raise ArgumentError("mask must hold weights of at least 0, and one above")
    return np.broadcast_to(weights[..., None] if weights.ndim < pattern.ndim else weights, pattern.shape)
