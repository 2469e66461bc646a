"""Normalisation and dropout.

All normalisations bring values to mean 0 and variance 1 and then scale and shift them; they differ in the axes that are averaged.
With x̂ = (x − μ)/σ over n values, y = γ·x̂ + β and g = γ·dy, the mean and the deviation depend on every x, so that
    dx = (g − mean(g) − x̂·mean(g·x̂)) / σ        dγ = Σ dy·x̂        dβ = Σ dy
When a batch normalisation does not train, its mean and deviation are constants, and dx = g / σ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from juanji.channelwise import Affine, affine, normalise, normalise_back
from juanji.errors import ArgumentError
from juanji.nn.initial import Fill
from juanji.nn.operator import Array, Back, Box, Operator, Parameter, Parameters, Run, Shape, whole


def _channels(vector: Array, ndim: int) -> Array:
    """One value per channel, to be repeated over (N, C, *S)."""
    return vector.reshape(1, -1, *(1,) * (ndim - 2))


def _over(x: Array, axes: tuple[int, ...]) -> Array:
    mean: Array = np.mean(x, axis=axes, keepdims=True)
    return mean


def _normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array, Array]:
    """x̂, 1/σ, the mean and the variance over the axes."""
    mean = _over(x, axes)
    centred = x - mean
    variance = _over(centred * centred, axes)
    scale = 1 / np.sqrt(variance + np.asarray(epsilon, x.dtype))
    return centred * scale, scale, mean, variance


def _normalised_back(g: Array, normal: Array, scale: Array, axes: tuple[int, ...]) -> Array:
    dx: Array = (g - _over(g, axes) - normal * _over(g * normal, axes)) * scale
    return dx


@dataclass(frozen=True, eq=False)
class BatchNorm(Operator):
    """Each channel normalised over batch and positions; afterwards by the running mean and variance of training.

    momentum: how much of a new batch enters the running statistics. The running variance is the unbiased one, as in PyTorch.
    """

    stem: ClassVar[str] = "norm"
    rectified: ClassVar[bool] = False
    momentum: float = 0.1
    epsilon: float = 1e-5

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        size = (shapes[0][1],)
        return {
            "weight": Parameter(size, Fill(1.0)),
            "bias": Parameter(size, Fill(0.0)),
            "mean": Parameter(size, Fill(0.0)),
            "variance": Parameter(size, Fill(1.0)),
        }

    def trains(self, parameter: str) -> bool:
        return parameter in ("weight", "bias")

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        weight, bias, mean, variance = (p[name] for name in ("weight", "bias", "mean", "variance"))
        if not run.training:
            scale = 1 / np.sqrt(variance + self.epsilon)
            to_y = Affine(weight * scale, bias - mean * weight * scale)
            return affine(x, to_y, relu=self.rectified), (x, mean, scale, to_y, False)
        count = x.size // x.shape[1]
        if count < 2:
            raise ArgumentError(f"{self} cannot train on one value per channel: an input {x.shape}")
        y, mean, variance, to_y = normalise(x, weight, bias, self.epsilon, relu=self.rectified)
        for name, value in (("mean", mean), ("variance", variance * (count / (count - 1)))):
            running = p[name]
            running += np.asarray(self.momentum, running.dtype) * (value.astype(running.dtype) - running)
        return y, (x, mean, 1 / np.sqrt(variance + self.epsilon), to_y, True)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, mean, scale, to_y, trained = saved
        share = -to_y.factor / (x.size // x.shape[1]) * trained
        dx, plain, weighted = normalise_back(x, dy, mean, to_y, share * scale * scale, share, relu=self.rectified)
        return Back((dx,), {"weight": (weighted * scale).astype(dy.dtype), "bias": plain.astype(dy.dtype)})


@dataclass(frozen=True, eq=False)
class _RectifiedBatchNorm(BatchNorm):
    """A batch normalisation and the relu behind it, in one pass through memory."""

    rectified: ClassVar[bool] = True


def rectified(op: BatchNorm) -> BatchNorm:
    """The operator with a relu behind it, for the form of a network in which it is trained."""
    return _RectifiedBatchNorm(op.momentum, op.epsilon, name=op.name)


@dataclass(frozen=True, eq=False)
class GroupNorm(Operator):
    """Each sample normalised over groups of its channels and all positions; as many groups as channels is instance normalisation.

    groups: their number; "each" for one per channel. One group is `LayerNorm` over channels and positions with weights per channel.
    """

    stem: ClassVar[str] = "norm"
    groups: int | str
    epsilon: float = 1e-5

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        channels = shapes[0][1]
        self._groups(channels)
        return {"weight": Parameter((channels,), Fill(1.0)), "bias": Parameter((channels,), Fill(0.0))}

    def _groups(self, channels: int) -> int:
        groups = channels if self.groups == "each" else self.groups
        if not isinstance(groups, int) or groups < 1 or channels % groups:
            raise ArgumentError(f"groups (={self.groups!r}) must be 'each' or divide the {channels} channels")
        return groups

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        rows = x.reshape(x.shape[0], self._groups(x.shape[1]), -1)
        normal, scale, _, _ = _normalised(rows, (2,), self.epsilon)
        normal = normal.reshape(x.shape)
        return normal * _channels(p["weight"], x.ndim) + _channels(p["bias"], x.ndim), (normal, scale)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        normal, scale = saved
        axes = (0, *range(2, dy.ndim))
        grads = {"weight": (dy * normal).sum(axis=axes), "bias": dy.sum(axis=axes)}
        if not wanted[0]:
            return Back((None,), grads)
        rows = (dy.shape[0], scale.shape[1], -1)
        g = (dy * _channels(p["weight"], dy.ndim)).reshape(rows)
        return Back((_normalised_back(g, normal.reshape(rows), scale, (2,)).reshape(dy.shape),), grads)

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class LayerNorm(Operator):
    """Each sample normalised over its last `axes` axes (all but the batch unless said), with a weight and a bias for every element."""

    stem: ClassVar[str] = "norm"
    axes: int | None = None
    epsilon: float = 1e-5

    def _shape(self, shape: Shape) -> Shape:
        count = len(shape) - 1 if self.axes is None else self.axes
        if not 1 <= count < len(shape):
            raise ArgumentError(f"axes (={self.axes!r}) must be between 1 and {len(shape) - 1} for an input {shape}")
        return shape[len(shape) - count :]

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        size = self._shape(shapes[0])
        return {"weight": Parameter(size, Fill(1.0)), "bias": Parameter(size, Fill(0.0))}

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        axes = tuple(range(x.ndim - len(self._shape(x.shape)), x.ndim))
        normal, scale, _, _ = _normalised(x, axes, self.epsilon)
        return normal * p["weight"] + p["bias"], (normal, scale, axes)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        normal, scale, axes = saved
        outer = tuple(axis for axis in range(dy.ndim) if axis not in axes)
        grads = {"weight": (dy * normal).sum(axis=outer), "bias": dy.sum(axis=outer)}
        return Back((_normalised_back(dy * p["weight"], normal, scale, axes) if wanted[0] else None,), grads)

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class Dropout(Operator):
    """In training, each value is zero with probability `rate` and the others are scaled so that the mean stays. Otherwise nothing."""

    stem: ClassVar[str] = "dropout"
    rate: float = 0.5
    whole_maps: bool = field(default=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ArgumentError(f"rate (={self.rate!r}) must be at least 0 and below 1")

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        if not run.training or not self.rate:
            return x, None
        shape = (*x.shape[:2], *(1,) * (x.ndim - 2)) if self.whole_maps else x.shape
        kept = (run.random().random(shape, np.float32) >= self.rate) * np.asarray(1 / (1 - self.rate), x.dtype)
        return x * kept, kept

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy if saved is None else dy * saved,))
