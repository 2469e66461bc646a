"""Convolution against correlation: the same sum with the kernel turned by 180°."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from juanji.convolution import operand
from juanji.explain.arguments import Array, by
from juanji.explain.arithmetic import number_of
from juanji.signal import convolve, correlate


@dataclass(frozen=True, eq=False)
class Turned:
    """Both operations on the same arrays; prints itself.

    turned: the kernel turned by 180°. difference: convolution − correlation, 0 where the kernel equals itself when turned.
    other_way: whether correlation with the turned kernel gave the convolution, to the last bit.
    """

    kernel: Array
    turned: Array
    correlation: Array
    convolution: Array
    other_way: bool

    @property
    def difference(self) -> Array:
        """Convolution − correlation."""
        return np.asarray(self.convolution - self.correlation)

    @property
    def symmetric(self) -> bool:
        """Whether the kernel is the same when turned, so that both operations are one."""
        return bool((self.kernel == self.turned).all())

    def __str__(self) -> str:
        parts = (
            ("kernel, used as it is by correlation", self.kernel),
            ("kernel turned by 180°, used by convolution", self.turned),
            ("correlation", self.correlation),
            ("convolution", self.convolution),
            ("convolution − correlation", self.difference),
        )
        same = "is the same when turned: both operations are one" if self.symmetric else "changes when turned"
        note = f"the kernel {same}; correlation with the turned kernel {'is' if self.other_way else 'is not'} the convolution, exactly"
        return "\n".join([*(f"{name}:\n{_grid(values)}" for name, values in parts), note])


def conv_against_correlation(a: npt.ArrayLike, k: npt.ArrayLike, mode: str = "valid") -> Turned:
    """`convolve(a, k, mode)` beside `correlate(a, k, mode)`, which also conjugates a complex kernel.

    >>> print(conv_against_correlation(np.arange(1, 10).reshape(3, 3), [[0, 1], [2, 3]]))
    kernel, used as it is by correlation:
    0 1
    2 3
    kernel turned by 180°, used by convolution:
    3 2
    1 0
    correlation:
    25 31
    43 49
    convolution:
    11 17
    29 35
    convolution − correlation:
    −14 −14
    −14 −14
    the kernel changes when turned; correlation with the turned kernel is the convolution, exactly
    """
    a, k = operand("a", a), operand("k", k)
    turned = np.flip(k)
    correlation, convolution = correlate(a, k, mode), convolve(a, k, mode)
    again = correlate(a, np.conj(turned), mode)
    return Turned(k, turned, correlation, convolution, bool((again == convolution).all()))


def _grid(values: Array) -> str:
    """A small array row by row; a large one by its shape."""
    if values.size > 100 or values.ndim > 2:
        return f"{by(values.shape)} from {number_of(values.min())} to {number_of(values.max())}"
    cells = [[number_of(value) for value in row] for row in np.atleast_2d(values)]
    width = max(len(cell) for row in cells for cell in row)
    return "\n".join(" ".join(f"{cell:>{width}}" for cell in row) for row in cells)
