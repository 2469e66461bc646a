"""Ways back through a rectifier: the derivative, and the two that take its place when activations are sent back to the picture.

With y = max(x, 0) and dy arriving,

    back-propagation          dx = dy where x > 0
    deconvnet                 dx = dy where dy > 0: the rectifier once more, on the way back
    guided back-propagation   dx = dy where both

after Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks" (2014), and Springenberg et al., "Striving for Simplicity"
(2015). Both hold for all activations that are near y = x on one side and near 0 on the other; what is linear keeps its own way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from juanji.nn.activations import GELU, LeakyReLU, ReLU, ReLU6, SiLU
from juanji.nn.layers import Conv, ConvTranspose
from juanji.nn.operator import Array, Back, Operator
from juanji.nn.operators.arithmetic import ELU, PReLU
from juanji.nn.tape import Rule

RECTIFIERS: tuple[type[Operator], ...] = (ReLU, ReLU6, LeakyReLU, PReLU, ELU, SiLU, GELU)
FUSED = ("relu", "relu6", "leaky_relu")  # as activations of a convolution


def _rectified(op: Operator, p: Mapping[str, Array], saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
    return Back((np.maximum(dy, 0), *(None for _ in wanted[1:])))


def _rectified_before(op: Operator, p: Mapping[str, Array], saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
    """A convolution whose activation is fused with it."""
    if not _is_rectified(op):
        return op.backward(p, saved, dy, wanted)
    fused: Any = op
    unfused: Operator = replace(fused, activation=None)
    return unfused.backward(p, (saved[0], None), np.maximum(dy, 0), wanted)


def _guided(op: Operator, p: Mapping[str, Array], saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
    return op.backward(p, saved, np.maximum(dy, 0), wanted)


def _guided_before(op: Operator, p: Mapping[str, Array], saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
    return op.backward(p, saved, np.maximum(dy, 0) if _is_rectified(op) else dy, wanted)


def _is_rectified(op: Operator) -> bool:
    activation = getattr(op, "activation", None)
    return (activation if isinstance(activation, str) or activation is None else activation[0]) in FUSED


DECONVNET: dict[type[Operator], Rule] = {
    **dict.fromkeys(RECTIFIERS, _rectified), Conv: _rectified_before, ConvTranspose: _rectified_before
}  # fmt: skip
GUIDED: dict[type[Operator], Rule] = {**dict.fromkeys(RECTIFIERS, _guided), Conv: _guided_before, ConvTranspose: _guided_before}
