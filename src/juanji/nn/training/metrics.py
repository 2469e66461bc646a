"""How good outputs are, counted batch by batch: sums over samples that add up, and the number that follows from them.

accuracy      the share of samples, or of pixels, whose largest output is that of the right class
iou           intersection over union: of one mask, where the output is above 0 (its sigmoid above 1/2) and the target is not 0;
              or with several classes the mean over the classes that occur
mean_error    the mean of |y − target|
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A metric by its two halves. count: (outputs, targets) of a batch to sums in float64. value: of the sums over all batches."""

    name: str
    count: Callable[[Array, Array], Array]
    value: Callable[[Array], float]


def _right(y: Array, target: Array) -> Array:
    expected = (y.shape[0], *y.shape[2:])
    if target.shape != expected:
        raise ShapeError(f"target has shape {target.shape}, but outputs {y.shape} need class numbers of shape {expected}")
    return np.array([np.count_nonzero(y.argmax(axis=1) == target), target.size], np.float64)


def _overlaps(y: Array, target: Array) -> Array:
    """Rows of intersection and union, one for each class, or one for a single mask."""
    if y.ndim > 1 and y.shape[1] > 1 and target.ndim == y.ndim - 1:
        classes, found, wanted = y.shape[1], y.argmax(axis=1).ravel(), target.ravel()
        both = np.bincount(wanted[found == wanted], minlength=classes)[:classes]
        either = np.bincount(found, minlength=classes) + np.bincount(wanted, minlength=classes)[:classes] - both
        return np.stack([both, either], axis=1).astype(np.float64)
    if target.size != y.size:
        raise ShapeError(f"target has shape {target.shape}, but the outputs have {y.shape}")
    mask, truth = y > 0, target.reshape(y.shape) > (0.5 if target.dtype.kind == "f" else 0)
    return np.array([[np.count_nonzero(mask & truth), np.count_nonzero(mask | truth)]], np.float64)


def _mean_overlap(sums: Array) -> float:
    both, either = sums[sums[:, 1] > 0].T
    return float((both / either).mean()) if len(either) else 1.0


def _errors(y: Array, target: Array) -> Array:
    if target.size != y.size:
        raise ShapeError(f"target has shape {target.shape}, but the outputs have {y.shape}")
    return np.array([np.abs(y - target.reshape(y.shape)).sum(dtype=np.float64), y.size])


def _share(sums: Array) -> float:
    return float(sums[0] / max(sums[1], 1))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (Metric("accuracy", _right, _share), Metric("iou", _overlaps, _mean_overlap), Metric("mean_error", _errors, _share))
}
USUAL = {  # by the loss
    "softmax_cross_entropy": ("accuracy",), "sigmoid_cross_entropy": ("iou",), "squared_error": ("mean_error",), "huber": ("mean_error",)
}  # fmt: skip


def metrics_of(metrics: Iterable[str | Metric] | None, loss: object) -> tuple[Metric, ...]:
    """Metrics by their names, or themselves; those that are usual with a loss if none are named."""
    if metrics is None:
        metrics = USUAL.get(loss, ()) if isinstance(loss, str) else ()
    elif isinstance(metrics, str | Metric):
        metrics = (metrics,)
    found = []
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in METRICS:
                raise ArgumentError(f"metric (={metric!r}) must be one of {', '.join(METRICS)}, or a Metric")
            metric = METRICS[metric]
        found.append(metric)
    return tuple(found)


class Tally:
    """Sums of several metrics and of a loss over the batches seen so far."""

    def __init__(self, metrics: Iterable[Metric]):
        self.metrics = tuple(metrics)
        self.sums: dict[str, Array | float] = {}
        self.samples, self.loss = 0, 0.0

    def add(self, y: Array, target: Array, loss: float | None) -> None:
        """Count a batch; loss: its mean."""
        self.samples += len(y)
        self.loss += 0.0 if loss is None else loss * len(y)
        for metric in self.metrics:
            self.sums[metric.name] = self.sums.get(metric.name, 0.0) + metric.count(y, target)

    def values(self) -> Mapping[str, float]:
        """Each metric over all batches."""
        return {metric.name: metric.value(np.asarray(self.sums[metric.name])) for metric in self.metrics}
