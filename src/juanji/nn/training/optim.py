"""Optimisers: how a step follows from the gradients. They change the parameters in place and keep their memory as arrays by name.

With gradient g, parameter p, learning rate η, weight decay λ, and t = 1, 2 … the number of the step:

    SGD      g += λ·p;  v = μ·v + g;  p −= η·v                              with Nesterov's momentum p −= η·(g + μ·v)
    Adam     g += λ·p;  m = β₁·m + (1 − β₁)·g;  s = β₂·s + (1 − β₂)·g²;  p −= η · m/(1 − β₁ᵗ) / (√(s/(1 − β₂ᵗ)) + ε)
    AdamW    p −= η·λ·p, then as Adam without λ: the decay does not pass through the scaling (Loshchilov & Hutter 2019)

These are PyTorch's formulas. An optimiser is a frozen description; its memory ("momentum.conv1.weight" …) is handed in, so that a
checkpoint can hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Memory = dict[str, Array]
PIECE = 1 << 14  # elements


class Optimizer(Protocol):
    """What training asks of an optimiser."""

    @property
    def rate(self) -> float:
        """The learning rate, which a schedule scales."""

    def memory(self, parameters: Arrays) -> Memory:
        """What it remembers between steps, before the first one."""

    def update(self, parameters: Arrays, gradients: Arrays, memory: Memory, *, rate: float, step: int) -> None:
        """One step, in place. step: 1 for the first."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum and weight decay.

    >>> p, optimizer = {"w": np.array([1.0])}, SGD(0.1, momentum=0.9)
    >>> memory = optimizer.memory(p)
    >>> for step in (1, 2):
    ...     optimizer.update(p, {"w": np.array([1.0])}, memory, rate=optimizer.rate, step=step)
    >>> p["w"]
    array([0.71])
    """

    rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _at_least_0(rate=self.rate, weight_decay=self.weight_decay)
        _below_1(momentum=self.momentum)
        if self.nesterov and not self.momentum:
            raise ArgumentError("nesterov (=True) needs a momentum above 0")

    def memory(self, parameters: Arrays) -> Memory:
        return _zeros("momentum", parameters) if self.momentum else {}

    def update(self, parameters: Arrays, gradients: Arrays, memory: Memory, *, rate: float, step: int) -> None:
        for p, g, *momentum in _pieces(parameters, gradients, memory, *(("momentum",) if self.momentum else ())):
            if self.weight_decay:
                g = g + _of(p, self.weight_decay) * p
            for v in momentum:
                v *= _of(p, self.momentum)
                v += g
                g = g + _of(p, self.momentum) * v if self.nesterov else v
            p -= _of(p, rate) * g


@dataclass(frozen=True)
class Adam:
    """Steps scaled by running means of the gradient and of its square (Kingma & Ba 2015)."""

    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _at_least_0(rate=self.rate, epsilon=self.epsilon, weight_decay=self.weight_decay)
        _below_1(**{f"betas[{i}]": beta for i, beta in enumerate(self.betas)})

    def memory(self, parameters: Arrays) -> Memory:
        return _zeros("mean", parameters) | _zeros("square", parameters)

    def update(self, parameters: Arrays, gradients: Arrays, memory: Memory, *, rate: float, step: int) -> None:
        for p, g, mean, square in _pieces(parameters, gradients, memory, "mean", "square"):
            if self.weight_decay:
                g = self._decayed(p, g, rate)
            self._move(p, g, mean, square, rate, step)

    def _decayed(self, p: Array, g: Array, rate: float) -> Array:
        """The gradient after weight decay, which may change the parameter itself instead."""
        decayed: Array = g + _of(p, self.weight_decay) * p
        return decayed

    def _move(self, p: Array, g: Array, mean: Array, square: Array, rate: float, step: int) -> None:
        first, second = self.betas
        mean *= _of(p, first)
        mean += _of(p, 1 - first) * g
        square *= _of(p, second)
        square += _of(p, 1 - second) * (g * g)
        size = np.sqrt(square)
        size *= _of(p, (1 - second**step) ** -0.5)
        size += _of(p, self.epsilon)
        np.divide(mean, size, out=size)
        size *= _of(p, rate / (1 - first**step))
        p -= size


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly."""

    weight_decay: float = 1e-2

    def _decayed(self, p: Array, g: Array, rate: float) -> Array:
        p *= _of(p, 1 - rate * self.weight_decay)
        return g


OPTIMIZERS: dict[str, type[SGD | Adam]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def _pieces(parameters: Arrays, gradients: Arrays, memory: Memory, *kinds: str) -> Iterator[list[Array]]:
    """The same part of a parameter, of its gradient and of the memory of it, small enough to stay in the cache from line to line."""
    for name, p in parameters.items():
        if not p.flags.c_contiguous:
            raise ArgumentError(f"{name} must be contiguous to be changed in place")
        flat = [array.reshape(-1) for array in (p, gradients[name], *(memory[f"{kind}.{name}"] for kind in kinds))]
        for start in range(0, p.size, PIECE):
            yield [array[start : start + PIECE] for array in flat]


def _of(p: Array, number: float) -> Any:
    """A number in the parameter's type, so that a float32 parameter is not widened."""
    return p.dtype.type(number)


def _zeros(kind: str, parameters: Arrays) -> Memory:
    return {f"{kind}.{name}": np.zeros_like(p) for name, p in parameters.items()}


def _at_least_0(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value >= 0:
            raise ArgumentError(f"{name} (={value!r}) must be at least 0")


def _below_1(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < 1:
            raise ArgumentError(f"{name} (={value!r}) must be at least 0 and below 1")
