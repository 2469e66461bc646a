"""How good a network is on samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from juanji.data.batches import Batches, Indexed
from juanji.errors import ArgumentError
from juanji.nn.graph import Graph
from juanji.nn.losses import Loss, loss_of
from juanji.nn.training.metrics import Metric, Tally, metrics_of


def evaluate(
    net: Graph,
    samples: Indexed,
    *,
    loss: str | Loss | None = "softmax_cross_entropy",
    metrics: Iterable[str | Metric] | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """The mean loss of a network on samples and its metrics, computed batch by batch.

    samples: `jj.data.Samples`, or anything with a length that gives a pair (x, y) for an array of places. metrics: names from
    "accuracy", "iou", "mean_error", or `Metric`s; those that are usual with the loss unless given. loss: None for metrics alone.
    Gives {"loss": ..., "accuracy": ...}. Raises ArgumentError if there are no samples or the network has several outputs.

    >>> import numpy as np
    >>> from juanji import data, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Dense(2, weight=np.eye(2)), shape=(1, 2))
    >>> x = np.array([[[0.0, 1]], [[1, 0]], [[0, 2]], [[0, 3]]])
    >>> evaluate(net, data.Samples(x, np.array([1, 0, 1, 0])), loss=None, metrics="accuracy")
    {'accuracy': 0.75}
    """
    if not len(samples):
        raise ArgumentError("there are no samples to evaluate on")
    output = only_output(net)
    measure = None if loss is None else loss_of(loss)
    tally = Tally(metrics_of(metrics, loss))
    for x, target in Batches(samples, batch_size, shuffle=False).epoch(0):
        y: Any = net.run({next(iter(net.inputs)): x})[output]
        tally.add(y, target, None if measure is None else measure(y, target)[0])
    found = {} if measure is None else {"loss": tally.loss / tally.samples}
    return {**found, **tally.values()}


def only_output(net: Graph) -> str:
    """The name of the one output of a network with one input. Raises ArgumentError if it has more of either."""
    if len(net.inputs) != 1 or len(net.outputs) != 1:
        raise ArgumentError(f"a network to train or evaluate has one input and one output, not {len(net.inputs)} and {len(net.outputs)}")
    return next(iter(net.outputs))
