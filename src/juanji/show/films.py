"""From an operator and its arguments to its film: what the window slides over, and the numbers of every frame."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.convolution import operand
from juanji.describe import spatial_axes
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.show.frames import Film
from juanji.show.gathered import backward, forward
from juanji.show.layout import Array
from juanji.show.pooled import pooled, pooled_back
from juanji.show.scattered import scattered

OPERATORS = ("conv", "conv_transpose", "conv_grad_input", "pool", "pool_grad")


def film(
    x: Any,
    w: Any,
    bias: npt.ArrayLike | None = None,
    *,
    operator: str = "conv",
    scatter: bool = False,
    feature: int = 0,
    sample: int = 0,
    **arguments: Any,
) -> Film:
    """The frames of one feature of an operator's result, in row order. Arguments as for `slide`.

    >>> sliding = film((5, 5), (3, 3), stride=(1, 2))
    >>> len(sliding.frames), [frame.corner for frame in sliding.frames[:3]]
    (6, [(0, 0), (0, 2), (1, 0)])
    >>> film([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[0, 1], [2, 3]]).frames[0].arithmetic
    ('y[0, 0] = 0·1 + 1·2 + 2·4 + 3·5 = 25',)
    """
    if operator not in OPERATORS:
        raise ArgumentError(f"operator (={operator!r}) must be one of {', '.join(OPERATORS)}")
    if scatter and operator not in ("conv_transpose", "conv_grad_input"):
        raise ArgumentError(f"scatter=True belongs to conv_transpose and conv_grad_input, not to operator={operator!r}")
    if operator.startswith("pool"):
        if bias is not None:
            raise ArgumentError(f"bias must be None with operator={operator!r}, which adds none")
        given = numbers("x", x, "input")
        if operator == "pool":
            return pooled(given, w, feature, sample, arguments)
        dy = arguments.pop("dy", None)
        return pooled_back(given, w, None if dy is None else numbers("dy", dy, "input"), feature, sample, arguments)
    x, w = operands(x, w, arguments)
    if operator == "conv":
        return forward(x, w, bias, feature, sample, arguments)
    make = scattered if scatter else backward
    return make(x, w, bias, operator, feature, sample, arguments)


def operands(x: Any, w: Any, arguments: Mapping[str, Any]) -> tuple[Array, Array]:
    """x and w as the operators take them: tuples of sizes as sample numbers, plain arrays with axes for samples and channels."""
    x, w = numbers("x", x, "input"), numbers("w", w, "kernel")
    if w.ndim <= 2:
        if x.ndim != w.ndim:
            raise ShapeError(f"x of shape {x.shape} must have the {w.ndim} axes of w {w.shape}, or w its axes O and I in front")
        x, w = x[None, None], w[None, None]
    if spatial_axes(w.shape, arguments.get("sharing", "shared")) > 2:
        raise ArgumentError(f"w of shape {w.shape} must have one or two spatial axes to be drawn")
    return x, w


def numbers(name: str, given: Any, role: str) -> Array:
    """The user's array, or for a tuple of sizes an array of small integers."""
    if isinstance(given, tuple) and given and all(isinstance(size, int | np.integer) for size in given):
        return sample_numbers(given, role)
    array = operand(name, given, least=0)
    if array.dtype.kind not in "fbiu":
        raise DtypeError(f"{name} has dtype {array.dtype}, but only real numbers are drawn")
    if not array.ndim:
        raise ShapeError(f"{name} must be an array with at least one axis, or a tuple of sizes")
    return array


def sample_numbers(sizes: tuple[int, ...], role: str) -> Array:
    """Numbers to show an operator by when only sizes are given: one digit for the "input", −2 to 2 for the "kernel".

    >>> sample_numbers((5, 5), "input").shape
    (5, 5)
    """
    if any(size < 1 for size in sizes):
        raise ShapeError(f"sizes (={sizes}) must be at least 1")
    random = np.random.default_rng(sizes)
    return random.integers(0, 10, sizes) if role == "input" else random.integers(-2, 3, sizes)
