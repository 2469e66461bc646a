"""Losses: the mean over the batch (and the positions) of how far outputs are from their targets, and its gradient in the outputs.

    softmax cross-entropy   −log p[target], p = softmax(y) over the classes, axis 1     dy = p − onehot(target)
    sigmoid cross-entropy   −t·log p − (1 − t)·log(1 − p), p = sigmoid(y), per element  dy = p − t
    squared error           (y − t)²                                                    dy = 2(y − t)
    Huber                   (y − t)²/2 within δ, δ(|y − t| − δ/2) beyond                dy = y − t, kept within ±δ
Both cross-entropies take what comes before softmax or sigmoid, so that nothing is lost where probabilities round to 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, DtypeError, ShapeError

Array = npt.NDArray[Any]
Loss = Callable[[Array, Array], tuple[float, Array]]


def softmax_cross_entropy(y: Array, target: Array) -> tuple[float, Array]:
    """y (N, classes, *S), target (N, *S) of class numbers.

    >>> softmax_cross_entropy(np.zeros((1, 2)), np.array([0]))
    (0.6931471805599453, array([[-0.5,  0.5]]))
    """
    expected = (y.shape[0], *y.shape[2:])
    if y.ndim < 2 or target.shape != expected:
        raise ShapeError(f"target has shape {target.shape}, but outputs {y.shape} need class numbers of shape {expected}")
    if target.dtype.kind not in "iub":
        raise DtypeError(f"target has dtype {target.dtype}, but must be class numbers, integers")
    if target.size and not 0 <= target.min() <= target.max() < y.shape[1]:
        raise ArgumentError(f"target holds {target.min()} to {target.max()}, but there are {y.shape[1]} classes, from 0")
    places = math.prod(y.shape[2:])
    classes = y.reshape(*y.shape[:2], places)
    right = (np.arange(len(y))[:, None], target.reshape(len(y), places).astype(np.int64), np.arange(places))  # each target's class
    shifted = classes - classes.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    count = max(target.size, 1)
    value = float((np.log(total[:, 0]) - shifted[right]).sum(dtype=np.float64)) / count
    p /= total
    p[right] -= 1
    p /= count
    return value, p.reshape(y.shape)


def _alike(y: Array, target: Array) -> Array:
    if target.size != y.size:
        raise ShapeError(f"target has shape {target.shape}, but the outputs have {y.shape}")
    return target.reshape(y.shape).astype(y.dtype)


def sigmoid_cross_entropy(y: Array, target: Array) -> tuple[float, Array]:
    """y and target of one shape (an axis of one channel may be missing in target); targets are 0 or 1, or between."""
    t = _alike(y, target)
    magnitude = np.exp(-np.abs(y))
    value = (np.maximum(y, 0) - y * t + np.log1p(magnitude)).sum(dtype=np.float64) / max(y.size, 1)
    p = np.where(y >= 0, 1 / (1 + magnitude), magnitude / (1 + magnitude))
    return float(value), (p - t) / max(y.size, 1)


def squared_error(y: Array, target: Array) -> tuple[float, Array]:
    """The mean of (y − target)²."""
    error = y - _alike(y, target)
    return float((error * error).sum(dtype=np.float64) / max(y.size, 1)), error * (2 / max(y.size, 1))


def huber(y: Array, target: Array, delta: float = 1.0) -> tuple[float, Array]:
    """Squared near the target, linear beyond delta."""
    error = y - _alike(y, target)
    size = np.abs(error)
    value = np.where(size <= delta, error * error / 2, delta * (size - delta / 2)).sum(dtype=np.float64)
    return float(value / max(y.size, 1)), np.clip(error, -delta, delta) / max(y.size, 1)


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "squared_error": squared_error,
    "huber": huber,
}


def loss_of(loss: str | Loss) -> Loss:
    """A loss by name, or the function itself."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ArgumentError(f"loss (={loss!r}) must be one of {', '.join(LOSSES)}, or a function of outputs and targets")
    return LOSSES[loss]
