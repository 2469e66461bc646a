"""Where a number that is not finite came into a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.nn.tape import Tape

Array = npt.NDArray[Any]


def all_finite(arrays: Mapping[str, Array]) -> bool:
    """Whether every element is finite. The sum of the squares is quick and nearly always enough; it may overflow on finite ones."""
    for array in arrays.values():
        flat = array.ravel()
        if not np.isfinite(np.dot(flat, flat)) and not np.isfinite(flat).all():
            return False
    return True


def culprit(tape: Tape, gradients: Mapping[str, Array]) -> str:
    """Where it came in, in words: the first output in the order of the way forward, or else the first gradient on the way back."""
    made = {name for node in tape.nodes for name in node.outputs}
    for name, array in tape.values.items():
        if name not in made and not _finite(array):
            return f"{name} holds values that are not finite"
    for node in tape.nodes:
        for name, array in tape.arrays_of(node).items():
            if not _finite(array):
                return f"layer {node.name}: its {name} is not finite"
        if not all(_finite(tape.values[name]) for name in node.outputs):
            return f"layer {node.name}: its output is not finite"
    for node in reversed(tape.nodes):
        for name in tape.arrays_of(node):
            key = f"{node.owner}.{name}"
            if key in gradients and not _finite(gradients[key]):
                return f"layer {node.name}: the gradient of its {name} is not finite"
    return "the loss is not finite, though all outputs are"


def _finite(array: Array) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
