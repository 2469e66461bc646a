"""Why parameters start from random numbers.

Two units of a layer that start equal and are read with equal weights give equal outputs, get equal gradients, and so stay equal for ever:
a layer of them can do no more than one of its units. That holds for any equal numbers, not only for zeros.
"""

from __future__ import annotations

import numpy as np

from juanji.nn.graph import Graph


def distinct_units(net: Graph) -> dict[str, int]:
    """How many different units each layer with weights has; units that differ by rounding only count as one.

    >>> from juanji import nn
    >>> net = nn.Sequential(nn.Conv(8, 3, weight=0.1), nn.ReLU(), nn.Conv(4, 3), shape=(1, 9, 9))
    >>> distinct_units(net)
    {'conv1': 1, 'conv2': 4}
    """
    found = {}
    for name, weight in net.parameters.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and weight.ndim > 1:
            units = [unit.ravel() for unit in weight]
            bias = net.parameters.get(f"{layer}.bias")
            if bias is not None:
                units = [np.append(unit, b) for unit, b in zip(units, bias, strict=True)]
            found[layer] = _distinct(units, 1e-4 * float(np.abs(weight).max(initial=0)))
    return found


def _distinct(units: list[np.ndarray], tolerance: float) -> int:
    kept: list[np.ndarray] = []
    for unit in units:
        if not any(np.abs(unit - other).max(initial=0) <= tolerance for other in kept):
            kept.append(unit)
    return len(kept)
