"""Optimisers: how a step follows from the gradients. They change the parameters in place and keep their memory as arrays by name.

With gradient g, parameter p, learning rate η, weight decay λ, and t = 1, 2 … the number of the step:

    SGD      g += λ·p;  v = μ·v + g;  p −= η·v                              with Nesterov's momentum p −= η·(g + μ·v)
    Adam     g += λ·p;  m = β₁·m + (1 − β₁)·g;  s = β₂·s + (1 − β₂)·g²;  p −= η · m/(1 − β₁ᵗ) / (√(s/(1 − β₂ᵗ)) + ε)
    AdamW    p −= η·λ·p, then as Adam without λ: the decay does not pass through the scaling (Loshchilov & Hutter 2019)

These are PyTorch's formulas. An optimiser is a frozen description; its memory ("momentum.conv1.weight" …) is handed in, so that a
checkpoint can hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.nn.training.steps import take_step

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Memory = dict[str, Array]


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
        numbers = {"rate": -rate, "decay": self.weight_decay, "momentum": self.momentum}
        memories = (_named("momentum", memory),) if self.momentum else ()
        terms = {"decayed": bool(self.weight_decay), "momentum": bool(self.momentum), "nesterov": self.nesterov}
        take_step("sgd", parameters, gradients, memories, numbers, **terms)


@dataclass(frozen=True)
class Adam:
    """Steps scaled by running means of the gradient and of its square (Kingma & Ba 2015)."""

    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    _kind: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        _at_least_0(rate=self.rate, epsilon=self.epsilon, weight_decay=self.weight_decay)
        _below_1(**{f"betas[{i}]": beta for i, beta in enumerate(self.betas)})

    def memory(self, parameters: Arrays) -> Memory:
        return _zeros("mean", parameters) | _zeros("square", parameters)

    def update(self, parameters: Arrays, gradients: Arrays, memory: Memory, *, rate: float, step: int) -> None:
        first, second = self.betas
        numbers = {
            "rate": -rate / (1 - first**step), "decay": self._decay(rate), "first": first, "new_first": 1 - first, "second": second,
            "new_second": 1 - second, "scale": (1 - second**step) ** -0.5, "epsilon": self.epsilon,
        }  # fmt: skip
        memories = _named("mean", memory), _named("square", memory)
        take_step(self._kind, parameters, gradients, memories, numbers, decayed=bool(self.weight_decay))

    def _decay(self, rate: float) -> float:
        """What parameters are multiplied by before they are added to the gradients, or with AdamW to themselves."""
        return self.weight_decay


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly."""

    weight_decay: float = 1e-2
    _kind: ClassVar[str] = "adamw"

    def _decay(self, rate: float) -> float:
        return -rate * self.weight_decay


OPTIMIZERS: dict[str, type[SGD | Adam]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def _named(kind: str, memory: Memory) -> Memory:
    """What is remembered of one kind, by the parameters' names."""
    return {name.removeprefix(f"{kind}."): array for name, array in memory.items() if name.startswith(f"{kind}.")}


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
