"""Activations, and softmax, each with its forward and its backward side by side.

    relu      y = max(x, 0)      dx = dy where y > 0
    sigmoid   y = 1/(1 + e⁻ˣ)    dx = dy·y·(1 − y)
    tanh                         dx = dy·(1 − y²)
    softmax   y = eˣ / Σ eˣ      dx = y·(dy − Σ dy·y)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji.channelwise import gate
from juanji.describe import Activation
from juanji.errors import ArgumentError
from juanji.jit.memory import empty_aligned
from juanji.nn.erf import erf
from juanji.nn.operator import Array, Back, Operator, Parameters, Run


def through(activation: Activation, y: Array, dy: Array) -> Array:
    """dy times the derivative of an activation, in terms of its result."""
    kind, parameter = (activation, 0.01) if isinstance(activation, str) else activation or ("none", 0)
    backs: dict[str, Callable[[], Array]] = {
        "relu": lambda: gate(dy, y),
        "relu6": lambda: dy * ((y > 0) & (y < 6)),
        "leaky_relu": lambda: dy * np.where(y > 0, np.ones((), y.dtype), np.asarray(parameter, y.dtype)),
        "sigmoid": lambda: dy * (y * (1 - y)),
        "tanh": lambda: dy * (1 - y * y),
    }
    if kind in backs:
        return backs[kind]()
    raise ArgumentError(f"activation (={activation!r}) has no derivative here")


@dataclass(frozen=True, eq=False)
class Activated(Operator):
    """An activation whose derivative follows from its result."""

    def apply(self, x: Array) -> Array:
        """The activation of every element."""
        raise NotImplementedError

    @property
    def activation(self) -> Activation:
        """What `jj.conv` calls it."""
        return self.stem

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = self.apply(inputs[0])
        return y, y

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((through(self.activation, saved, dy),))


@dataclass(frozen=True, eq=False)
class ReLU(Activated):
    """max(x, 0)."""

    stem: ClassVar[str] = "relu"

    def apply(self, x: Array) -> Array:
        y: Array = np.maximum(x, 0, out=empty_aligned(x.shape, x.dtype))
        return y


@dataclass(frozen=True, eq=False)
class ReLU6(Activated):
    """min(max(x, 0), 6)."""

    stem: ClassVar[str] = "relu6"

    def apply(self, x: Array) -> Array:
        return np.clip(x, 0, 6)


@dataclass(frozen=True, eq=False)
class LeakyReLU(Activated):
    """x where it is positive, slope·x elsewhere."""

    stem: ClassVar[str] = "leaky"
    slope: float = 0.01

    @property
    def activation(self) -> Activation:
        return ("leaky_relu", self.slope)

    def apply(self, x: Array) -> Array:
        return np.where(x > 0, x, x * np.asarray(self.slope, x.dtype))


@dataclass(frozen=True, eq=False)
class Sigmoid(Activated):
    """1 / (1 + e⁻ˣ)."""

    stem: ClassVar[str] = "sigmoid"

    def apply(self, x: Array) -> Array:
        return sigmoid(x)


@dataclass(frozen=True, eq=False)
class Tanh(Activated):
    """The hyperbolic tangent."""

    stem: ClassVar[str] = "tanh"

    def apply(self, x: Array) -> Array:
        return np.tanh(x)


@dataclass(frozen=True, eq=False)
class HardSigmoid(Operator):
    """min(max(slope·x + offset, 0), 1): a sigmoid made of three lines."""

    stem: ClassVar[str] = "hard_sigmoid"
    slope: float = 1 / 6
    offset: float = 0.5

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        y = np.clip(x * np.asarray(self.slope, x.dtype) + np.asarray(self.offset, x.dtype), 0, 1)
        return y, y

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy * (np.asarray(self.slope, dy.dtype) * ((saved > 0) & (saved < 1))),))


@dataclass(frozen=True, eq=False)
class SiLU(Operator):
    """x·sigmoid(x), also called swish. Its derivative is s + x·s·(1 − s)."""

    stem: ClassVar[str] = "silu"

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        s = sigmoid(x)
        return x * s, (x, s)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, s = saved
        return Back((dy * (s * (1 + x * (1 - s))),))


@dataclass(frozen=True, eq=False)
class GELU(Operator):
    """x·Φ(x) with the normal distribution's Φ; its derivative is Φ(x) + x·φ(x). approximate: by tanh, with an error up to 5e−4."""

    stem: ClassVar[str] = "gelu"
    approximate: bool = False

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        if self.approximate:
            t = np.tanh(np.asarray(math.sqrt(2 / math.pi), x.dtype) * (x + np.asarray(0.044715, x.dtype) * x**3))
            return x * ((1 + t) / 2), (x, t)
        below = (1 + erf(x * np.asarray(math.sqrt(0.5), x.dtype))) / 2
        return x * below, (x, below)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, kept = saved
        if self.approximate:
            inner = np.asarray(math.sqrt(2 / math.pi), x.dtype) * (1 + np.asarray(3 * 0.044715, x.dtype) * x * x)
            return Back((dy * ((1 + kept) / 2 + x / 2 * (1 - kept * kept) * inner),))
        density = np.exp(-x * x / 2) * np.asarray(1 / math.sqrt(2 * math.pi), x.dtype)
        return Back((dy * (kept + x * density),))


@dataclass(frozen=True, eq=False)
class Softmax(Operator):
    """eˣ / Σ eˣ along an axis, the classes: probabilities."""

    stem: ClassVar[str] = "softmax"
    axis: int = 1

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        y = np.exp(x - x.max(axis=self.axis, keepdims=True))  # no larger than 1, whatever x
        y /= y.sum(axis=self.axis, keepdims=True)
        return y, y

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((saved * (dy - (dy * saved).sum(axis=self.axis, keepdims=True)),))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), by way of tanh, which does not overflow."""
    half = np.asarray(0.5, x.dtype)
    y: Array = np.tanh(x * half)
    y *= half
    y += half
    return y
