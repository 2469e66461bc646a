"""The classic kernels, as data.

Every kernel is used as printed, by correlation: y[i, j] = Σ w[u, v] · x[i + u − centre, j + v − centre]. A name that ends in _x answers to
change along the columns (vertical lines), one that ends in _y to change along the rows (horizontal lines).

    kernels.sobel_x                   a fresh float64 array
    kernels.gaussian(sigma=2)         the kernels with parameters are functions
    kernels.get("gaussian", sigma=2)  either kind, by name
"""

import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError

Kernel = npt.NDArray[np.float64]

LARGEST = 4095  # pixels a side: beyond it a kernel is a mistyped number, and its memory would be asked for before anyone noticed

# rows, and what they are divided by
FIXED: dict[str, tuple[list[list[int]], int]] = {
    "identity": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
    "sharpen": ([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]], 1),
    "sharpen_5": ([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1),
    "sobel_x": ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], 1),
    "sobel_y": ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], 1),
    "prewitt_x": ([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]], 1),
    "prewitt_y": ([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], 1),
    "gradient_x": ([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]], 1),
    "gradient_y": ([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], 1),
    "scharr_x": ([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]], 1),
    "scharr_y": ([[-3, -10, -3], [0, 0, 0], [3, 10, 3]], 1),
    "laplacian": ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
    "laplacian_8": ([[1, 1, 1], [1, -8, 1], [1, 1, 1]], 1),
    "outline": ([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], 8),
    "emboss": ([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], 1),
}

# filters that are the magnitude √(x² + y²) of two kernels
PAIRS: dict[str, tuple[str, str]] = {name: (f"{name}_x", f"{name}_y") for name in ("gradient", "prewitt", "scharr", "sobel")}


def mean(size: int = 3) -> Kernel:
    """A square of `size`×`size` equal weights that sum to 1; `size` is odd.

    >>> mean(3) * 9
    array([[1., 1., 1.],
           [1., 1., 1.],
           [1., 1., 1.]])
    """
    _check_size(size)
    return np.full((size, size), 1 / size**2)


def gaussian(sigma: float = 1.0, size: int | None = None) -> Kernel:
    """exp(−(u² + v²) / 2σ²), summing to 1; without an odd `size` it ends at 4σ, as SciPy's does: radius int(4σ + ½).

    >>> gaussian(1.5).shape
    (13, 13)
    >>> gaussian(0.8, size=3).round(3)
    array([[0.057, 0.125, 0.057],
           [0.125, 0.272, 0.125],
           [0.057, 0.125, 0.057]])
    """
    sigma = _positive("sigma", sigma)
    if size is None:
        if sigma > LARGEST / 8:
            raise ArgumentError(f"sigma (={sigma:g}) asks for a kernel of about {8 * sigma:g} pixels a side; {LARGEST} are the most")
        size = 2 * int(4 * sigma + 0.5) + 1
    _check_size(size)
    u = np.arange(size) - size // 2
    row = np.exp(-0.5 * (u / sigma) ** 2)
    row /= row.sum()
    return np.outer(row, row)


def motion_blur(size: int = 9, angle: float = 0.0) -> Kernel:
    """The mean along a line of `size` pixels (odd), turned counter-clockwise by `angle` degrees; 0 is horizontal.

    >>> motion_blur(3)
    array([[0.33333333, 0.33333333, 0.33333333]])
    >>> motion_blur(3, angle=90).shape
    (3, 1)
    """
    _check_size(size)
    angle = _finite("angle", angle)
    # Each of the line's points is shared out among the four pixels around it, in proportion to its nearness.
    along = np.arange(size) - size // 2
    rows = np.round(-along * math.sin(math.radians(angle)), 9) + size // 2
    columns = np.round(along * math.cos(math.radians(angle)), 9) + size // 2
    kernel = np.zeros((size + 1, size + 1))
    top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    down, right = rows - top, columns - left
    for below, beside in np.ndindex(2, 2):
        share = (down if below else 1 - down) * (right if beside else 1 - right)
        np.add.at(kernel, (top + below, left + beside), share / size)
    centre = size // 2
    tall, wide = (int(np.abs(places - centre).max()) for places in np.nonzero(kernel))
    return kernel[centre - tall : centre + tall + 1, centre - wide : centre + wide + 1].copy()


def unsharp(sigma: float = 1.0, amount: float = 1.0) -> Kernel:
    """The picture and `amount` times its difference from its Gaussian blur: (1 + amount)·identity − amount·gaussian(sigma).

    >>> round(float(unsharp(2.0, 0.5).sum()), 12)
    1.0
    """
    amount = _finite("amount", amount)
    kernel = -amount * gaussian(sigma)
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] += 1 + amount
    return kernel


MADE: dict[str, Callable[..., Kernel]] = {"mean": mean, "gaussian": gaussian, "motion_blur": motion_blur, "unsharp": unsharp}


def names() -> list[str]:
    """The names that `get` knows.

    >>> "sobel_x" in names(), "gaussian" in names()
    (True, True)
    """
    return sorted([*FIXED, *MADE])


def get(name: str, **parameters: Any) -> Kernel:
    """A fresh array of the named kernel; `parameters` are those of its function, if it has one.

    Raises ArgumentError for an unknown name or parameter.

    >>> get("sobel_y")
    array([[-1., -2., -1.],
           [ 0.,  0.,  0.],
           [ 1.,  2.,  1.]])
    >>> get("mean", size=5).shape
    (5, 5)
    """
    if name not in FIXED and name not in MADE and name not in PAIRS:
        raise ArgumentError(f"kernel (={name!r}) must be an array or one of {', '.join(sorted([*names(), *PAIRS]))}")
    accepted = list(inspect.signature(MADE[name]).parameters) if name in MADE else []
    for parameter in parameters:
        if parameter not in accepted:
            raise ArgumentError(f"kernel (={name!r}) takes {' and '.join(accepted) or 'no parameter'}, not {parameter}")
    if name in PAIRS:
        raise ArgumentError(f"kernel (={name!r}) is the magnitude of two kernels, {' and '.join(PAIRS[name])}; image.filter computes it")
    if name in MADE:
        return MADE[name](**parameters)
    rows, divisor = FIXED[name]
    return np.array(rows, np.float64) / divisor


def __getattr__(name: str) -> Kernel:
    if name in FIXED:
        return get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its kernels are {', '.join(names())}")


def __dir__() -> list[str]:
    return sorted([*globals(), *FIXED])


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1 or size % 2 == 0:
        raise ArgumentError(f"size (={size!r}) must be odd and positive, so that the kernel has a centre")
    if size > LARGEST:
        raise ArgumentError(f"size (={size}) must be at most {LARGEST}")


def _positive(name: str, value: float) -> float:
    if not _is_finite(value) or value <= 0:
        raise ArgumentError(f"{name} (={value!r}) must be a positive number")
    return float(value)


def _finite(name: str, value: float) -> float:
    if not _is_finite(value):
        raise ArgumentError(f"{name} (={value!r}) must be a finite number")
    return float(value)


def _is_finite(value: object) -> bool:
    """Whether a value is a number that a float can hold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
