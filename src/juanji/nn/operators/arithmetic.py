"""Arithmetic on every element, beyond what layers are usually made of: what networks from files compute.

The derivatives are those of the school book; where two inputs were repeated against one another, gradients are summed over the repeats.
    a − b      da = dy            db = −dy
    a / b      da = dy/b          db = −dy·y/b
    aᵇ         da = dy·b·aᵇ⁻¹     db = dy·y·log a
    max(a, b)  da = dy where a > b, db = dy where b > a; half each where they are equal
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from juanji.errors import ArgumentError
from juanji.nn.activations import sigmoid
from juanji.nn.erf import erf
from juanji.nn.joins import broadcast, repeated_sees, unrepeated
from juanji.nn.operator import Array, Back, Box, Operator, Parameters, Run, Shape, one_of


def _mish_slope(x: Array, y: Array) -> Array:
    t = np.tanh(np.logaddexp(0, x))
    slope: Array = t + x * (1 - t * t) * sigmoid(x)
    return slope


# f(x), and its derivative in terms of x and y = f(x).
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "abs": (np.abs, lambda x, y: np.sign(x)),
    "negative": (np.negative, lambda x, y: -np.ones_like(x)),
    "reciprocal": (np.reciprocal, lambda x, y: -y * y),
    "sqrt": (np.sqrt, lambda x, y: 0.5 / y),
    "exp": (np.exp, lambda x, y: y),
    "log": (np.log, lambda x, y: 1 / x),
    "sin": (np.sin, lambda x, y: np.cos(x)),
    "cos": (np.cos, lambda x, y: -np.sin(x)),
    "erf": (erf, lambda x, y: np.exp(-x * x) * np.asarray(2 / math.sqrt(math.pi), x.dtype)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x, y: sigmoid(x)),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x, y: (1 - np.abs(y)) ** 2),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0, x)), _mish_slope),
    "hard_swish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x, y: np.where(x <= -3, 0, np.where(x < 3, (2 * x + 3) / 6, 1)).astype(x.dtype),
    ),
    "sign": (np.sign, lambda x, y: np.zeros_like(x)),
    "floor": (np.floor, lambda x, y: np.zeros_like(x)),
    "ceil": (np.ceil, lambda x, y: np.zeros_like(x)),
    "round": (np.rint, lambda x, y: np.zeros_like(x)),
}


@dataclass(frozen=True, eq=False)
class Function(Operator):
    """A function of every element, by its name in `FUNCTIONS`: "sqrt", "exp", "log", "erf", "softplus", "hard_swish" …"""

    stem: ClassVar[str] = "function"
    function: str

    def __post_init__(self) -> None:
        one_of("function", self.function, FUNCTIONS)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        (x,) = inputs
        y = FUNCTIONS[self.function][0](x)
        return y, (x, y)

    def backward(self, p: Parameters, saved: tuple[Array, Array], dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy * FUNCTIONS[self.function][1](*saved),))


@dataclass(frozen=True, eq=False)
class Clip(Operator):
    """min(max(x, low), high); None for no limit."""

    stem: ClassVar[str] = "clip"
    low: float | None = None
    high: float | None = None

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        (x,) = inputs
        y = x if self.low is None else np.maximum(x, np.asarray(self.low, x.dtype))
        y = y if self.high is None else np.minimum(y, np.asarray(self.high, x.dtype))
        return y, x == y

    def backward(self, p: Parameters, saved: Array, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy * saved,))


@dataclass(frozen=True, eq=False)
class ELU(Operator):
    """scale·x where x is positive, scale·alpha·(e^(x/width) − 1) elsewhere: ELU, with a scale SELU, with width = alpha CELU."""

    stem: ClassVar[str] = "elu"
    alpha: float = 1.0
    scale: float = 1.0
    width: float = 1.0

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        (x,) = inputs
        alpha, scale, width = (np.asarray(value, x.dtype) for value in (self.alpha, self.scale, self.width))
        below = alpha * np.expm1(np.minimum(x, 0) / width)
        return scale * np.where(x > 0, x, below), (x > 0, scale, (below + alpha) / width)

    def backward(self, p: Parameters, saved: tuple[Array, Array, Array], dy: Array, wanted: tuple[bool, ...]) -> Back:
        positive, scale, slope = saved
        return Back((dy * scale * np.where(positive, np.ones((), slope.dtype), slope),))


@dataclass(frozen=True, eq=False)
class Threshold(Operator):
    """x where it is above `high` or below `low`, 0 between; what is kept moves towards 0 by `shift`.

    low=None keeps nothing below: with high = 0 that is relu. With high = −low = shift it is the soft threshold of sparse coding.
    """

    stem: ClassVar[str] = "threshold"
    high: float = 0.0
    low: float | None = None
    shift: float = 0.0

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        (x,) = inputs
        above, shift = x > self.high, np.asarray(self.shift, x.dtype)
        below = np.zeros_like(above) if self.low is None else x < self.low
        return np.where(above, x - shift, np.where(below, x + shift, np.zeros((), x.dtype))), above | below

    def backward(self, p: Parameters, saved: Array, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy * saved,))


@dataclass(frozen=True, eq=False)
class LogSoftmax(Operator):
    """log(eˣ / Σ eˣ) along an axis. dx = dy − eʸ·Σ dy."""

    stem: ClassVar[str] = "log_softmax"
    axis: int = 1

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        y = inputs[0] - inputs[0].max(axis=self.axis, keepdims=True)
        y -= np.log(np.exp(y).sum(axis=self.axis, keepdims=True))
        return y, y

    def backward(self, p: Parameters, saved: Array, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy - np.exp(saved) * dy.sum(axis=self.axis, keepdims=True),))


# Of two inputs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Pairwise(Operator):
    """An operator on two inputs, element by element; axes of length 1 are repeated."""

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != 2:
            raise ArgumentError(f"{self} takes two inputs, not {len(shapes)}")
        return broadcast(self, shapes)

    def compute(self, a: Array, b: Array) -> Array:
        """The output."""
        raise NotImplementedError

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        """The derivatives in a and in b, computed where they are wanted."""
        raise NotImplementedError

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        a, b = inputs
        y = self.compute(a, b)
        return y, (a, b, y)

    def backward(self, p: Parameters, saved: tuple[Array, Array, Array], dy: Array, wanted: tuple[bool, ...]) -> Back:
        slopes = zip(saved[:2], self.slopes(*saved), wanted, strict=True)
        return Back(tuple(unrepeated(dy * slope(), x.shape) if want else None for x, slope, want in slopes))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return repeated_sees(box, shapes)


@dataclass(frozen=True, eq=False)
class Subtract(_Pairwise):
    """a − b."""

    stem: ClassVar[str] = "subtract"

    def compute(self, a: Array, b: Array) -> Array:
        return a - b

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        return lambda: 1, lambda: -1


@dataclass(frozen=True, eq=False)
class Divide(_Pairwise):
    """a / b."""

    stem: ClassVar[str] = "divide"

    def compute(self, a: Array, b: Array) -> Array:
        return a / b

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        return lambda: 1 / b, lambda: -y / b


@dataclass(frozen=True, eq=False)
class Power(_Pairwise):
    """a to the power of b."""

    stem: ClassVar[str] = "power"

    def compute(self, a: Array, b: Array) -> Array:
        return a * a if b.size == 1 and b.item() == 2 and b.ndim <= a.ndim else a**b

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        return lambda: b * a ** (b - 1), lambda: y * np.log(a)


@dataclass(frozen=True, eq=False)
class Maximum(_Pairwise):
    """The larger of two."""

    stem: ClassVar[str] = "maximum"

    def compute(self, a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        return lambda: np.heaviside(a - b, np.asarray(0.5, y.dtype)), lambda: np.heaviside(b - a, np.asarray(0.5, y.dtype))


@dataclass(frozen=True, eq=False)
class Minimum(_Pairwise):
    """The smaller of two."""

    stem: ClassVar[str] = "minimum"

    def compute(self, a: Array, b: Array) -> Array:
        return np.minimum(a, b)

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        return lambda: np.heaviside(b - a, np.asarray(0.5, y.dtype)), lambda: np.heaviside(a - b, np.asarray(0.5, y.dtype))


@dataclass(frozen=True, eq=False)
class PReLU(_Pairwise):
    """a where it is positive, a·b elsewhere: b is the slope, trained or not."""

    stem: ClassVar[str] = "prelu"

    def compute(self, a: Array, b: Array) -> Array:
        return np.where(a > 0, a, a * b)

    def slopes(self, a: Array, b: Array, y: Array) -> tuple[Callable[[], Array | float], Callable[[], Array | float]]:
        return lambda: np.where(a > 0, np.ones((), y.dtype), b), lambda: np.minimum(a, 0)


@dataclass(frozen=True, eq=False)
class MatMul(Operator):
    """The product of two stacks of matrices, a·b over their last two axes; the axes before are repeated where they are 1.

    da = dy·bᵀ, db = aᵀ·dy. A value of one axis is a row in a, a column in b.
    """

    stem: ClassVar[str] = "matmul"

    def shape(self, *shapes: Shape) -> Shape:
        a, b = shapes
        rows, columns = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
        if not a or not b or rows[-1] != columns[-2]:
            raise ArgumentError(f"{self} multiplies (..., M, K) by (..., K, N), not {a} by {b}")
        outer = broadcast(self, (rows[:-2], columns[:-2]))
        return (*outer, *(rows[-2:-1] if len(a) > 1 else ()), *(columns[-1:] if len(b) > 1 else ()))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, object]:
        return np.matmul(*inputs), inputs

    def backward(self, p: Parameters, saved: tuple[Array, Array], dy: Array, wanted: tuple[bool, ...]) -> Back:
        a, b = saved
        rows, columns = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
        if b.ndim == 1:
            dy = dy[..., None]
        if a.ndim == 1:
            dy = dy[..., None, :]
        da = unrepeated(dy @ columns.swapaxes(-1, -2), rows.shape).reshape(a.shape) if wanted[0] else None
        db = unrepeated(rows.swapaxes(-1, -2) @ dy, columns.shape).reshape(b.shape) if wanted[1] else None
        return Back((da, db))

    def macs(self, *shapes: Shape) -> int:
        return math.prod(self.shape(*shapes)) * shapes[0][-1]

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return tuple(tuple((0, size - 1) for size in shape[2:]) for shape in shapes)
