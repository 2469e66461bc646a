"""ONNX's arithmetic on shapes, indices and truth values: operators that only make sense where their inputs are known.

What is also an operator of networks (Add, Slice, Concat, Reshape …) is computed by that operator and does not stand here, except where
integers follow other rules.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from juanji.nn.formats.onnx_building import Call, Known
from juanji.nn.formats.onnx_files import Array

# ONNX's numbers of element types.
ELEMENTS = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16,
    11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip


def _constant_of_shape(call: Call) -> Array:
    shape = call.integers(0, "shape")
    call.builder.bounded(call.node.name, shape)
    value = call.setting("value", np.zeros(1, np.float32))
    return np.full(shape, value.reshape(-1)[0], value.dtype)


def _range(call: Call) -> Array:
    start, limit, delta = (call.known(i, "bounds").reshape(-1)[0] for i in range(3))
    if not delta:
        raise call.refuse("a step of 0")
    call.builder.bounded(call.node.name, (max(int(np.ceil((limit - start) / delta)), 0),))
    return np.arange(start, limit, delta, dtype=start.dtype)


def _where(call: Call) -> Array:
    condition, a, b = (call.known(i, "inputs") for i in range(3))
    call.builder.bounded(call.node.name, np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return np.where(condition, a, b)


def _cast(call: Call) -> Array:
    to = call.setting("to", 1)
    if to not in ELEMENTS:
        raise call.refuse(f"elements of type {to} are not understood")
    with np.errstate(invalid="ignore"):
        return call.known(0, "input").astype(ELEMENTS[to])


def _modulo(call: Call) -> Array:
    a, b = call.known(0, "input"), call.known(1, "divisor")
    if b.dtype.kind != "f" and not b.all():
        raise call.refuse("a division by 0")
    found: Array = np.fmod(a, b) if call.setting("fmod", 0) else np.mod(a, b)
    return found


def divided(call: Call) -> Array:
    """The quotient of integers, rounded towards 0 as in C."""
    a, b = call.known(0, "input"), call.known(1, "divisor")
    if not b.all():
        raise call.refuse("a division by 0")
    found: Array = ((np.abs(a) // np.abs(b)) * (np.sign(a) * np.sign(b))).astype(a.dtype)
    return found


def _product(call: Call) -> Array:
    axes = call.row("axes", 1, 18)
    keep = bool(call.setting("keepdims", 1))
    x = call.known(0, "input")
    return np.asarray(np.prod(x, axis=None if axes is None else tuple(axes), keepdims=keep, dtype=x.dtype))


def _of_two(function: Callable[[Array, Array], Array]) -> Callable[[Call], Array]:
    def fold(call: Call) -> Array:
        a, b = call.known(0, "input"), call.known(1, "input")
        call.builder.bounded(call.node.name, np.broadcast_shapes(a.shape, b.shape))
        return function(a, b)

    return fold


def _shape(call: Call) -> Array:
    shape = call.shape()
    end = call.optional("end")
    return np.array(shape[call.setting("start", 0) : len(shape) if end is None else int(end)], np.int64)


FOLDS: dict[str, Callable[[Call], Array]] = {
    "And": _of_two(np.logical_and),
    "ConstantOfShape": _constant_of_shape,
    "Equal": _of_two(np.equal),
    "Greater": _of_two(np.greater),
    "GreaterOrEqual": _of_two(np.greater_equal),
    "Less": _of_two(np.less),
    "LessOrEqual": _of_two(np.less_equal),
    "Mod": _modulo,
    "NonZero": lambda call: np.array(np.nonzero(call.known(0, "input")), np.int64),
    "Not": lambda call: np.logical_not(call.known(0, "input")),
    "Or": _of_two(np.logical_or),
    "Range": _range,
    "ReduceProd": _product,
    "Shape": _shape,
    "Size": lambda call: np.array(np.prod(call.shape(), dtype=np.int64)),
    "Where": _where,
    "Xor": _of_two(np.logical_xor),
}
FROM_SHAPES = {"ConstantOfShape", "Range", "Shape", "Size", "NonZero"}  # what these make is no weight, whatever it was made from


def fold(call: Call) -> Known:
    """The output of an operator of the table."""
    inputs = [value for value in call.inputs if value is not None]
    stored = call.node.kind not in FROM_SHAPES and all(isinstance(value, Known) and value.stored for value in inputs)
    with np.errstate(all="ignore"):
        return Known(np.asarray(FOLDS[call.node.kind](call)), call.node.outputs[0], stored)


def cast(call: Call) -> Known:
    """A known value in another type."""
    value = call.value()
    assert isinstance(value, Known)
    return Known(_cast(call), call.node.outputs[0], value.stored)
