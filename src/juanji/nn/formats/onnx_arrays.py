"""What ONNX's arithmetic, activations, reductions and layouts are here. A translator takes one node of the file and gives its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from juanji.nn import activations, joins, layers
from juanji.nn.formats import onnx_folding
from juanji.nn.formats.onnx_building import Call, Known, Value
from juanji.nn.moves import Flatten, Pad, Reshape
from juanji.nn.norms import Dropout
from juanji.nn.operator import Operator
from juanji.nn.operators import arithmetic, layouts
from juanji.nn.operators.reductions import Reduce

Values = tuple[Value, ...]
BOUNDARIES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


# Products ------------------------------------------------------------------------------------------------------------------


def gemm(call: Call) -> Values:
    """α·A·B + β·C: a dense layer where B and C are stored."""
    alpha, beta = call.setting("alpha", 1.0), call.setting("beta", 1.0)
    x = call.step(layouts.Transpose((1, 0)), call.value(0)) if call.setting("transA", 0) else call.value(0)
    b, c = call.value(1), call.value(2) if call.has(2) else None
    if isinstance(b, Known) and (c is None or (isinstance(c, Known) and (c.array.ndim < 2 or len(c.array) == 1))):
        weight = _scaled(b.array if call.setting("transB", 0) else b.array.T, alpha)
        arrays = {"weight": weight}
        if isinstance(c, Known):
            arrays["bias"] = np.broadcast_to(_scaled(c.array.reshape(-1), beta), len(weight)).copy()
        return call.emit(layers.Dense(len(weight), bias=None if c is None else 0.0), x, arrays=arrays)
    right = call.step(layouts.Transpose((1, 0)), b) if call.setting("transB", 0) else b
    product = _times(call, call.step(arithmetic.MatMul(), x, right), alpha)
    return (product,) if c is None else call.emit(joins.Add(), product, _times(call, c, beta))


def _scaled(array: Any, factor: float) -> Any:
    return array if factor == 1 else array * np.asarray(factor, array.dtype)


def _times(call: Call, value: Value, factor: float) -> Value:
    if factor == 1:
        return value
    return call.step(joins.Multiply(), value, Known(np.array(factor, np.float32), f"{call.node.name}/factor", stored=False))


def matmul(call: Call) -> Values:
    a, b = call.value(0), call.value(1)
    if isinstance(b, Known) and b.array.ndim == 2 and a.shape is not None and len(a.shape) == 2:
        return call.emit(layers.Dense(b.array.shape[1], bias=None), a, arrays={"weight": b.array.T})
    return call.emit(arithmetic.MatMul(), a, b)


# Arithmetic and activations ------------------------------------------------------------------------------------------------


def one(op: Callable[[Call], Operator] | type[Operator]) -> Callable[[Call], Values]:
    """A translator to an operator of one input, made from the node's settings."""
    return lambda call: call.emit(op(call) if not isinstance(op, type) else op(), call.value())


def function(name: str) -> Callable[[Call], Values]:
    """A translator to a function of every element."""
    return one(lambda call: arithmetic.Function(name))


def many(op: type[Operator]) -> Callable[[Call], Values]:
    """A translator to an operator on all inputs, two at a time."""

    def translate(call: Call) -> Values:
        first, *rest = call.values()
        if not rest:
            return (first,)
        for other in rest[:-1]:
            first = call.step(op(), first, other)
        return call.emit(op(), first, rest[-1])

    return translate


def divide(call: Call) -> Values:
    a, b = call.value(0), call.value(1)
    if isinstance(a, Known) and isinstance(b, Known) and a.array.dtype.kind != "f":
        return (Known(onnx_folding.divided(call), call.node.outputs[0], a.stored and b.stored),)
    return call.emit(arithmetic.Divide(), a, b)


def mean(call: Call) -> Values:
    total, *_ = call.steps(joins.Add(), *call.values())
    return call.emit(joins.Multiply(), total, Known(np.array(1 / len(call.inputs), np.float32), f"{call.node.name}/share", stored=False))


def clip(call: Call) -> Values:
    if call.opset < 11:
        low, high = call.optional("min"), call.optional("max")
    else:
        low, high = (float(call.known(i, "limits").reshape(-1)[0]) if call.has(i) else None for i in (1, 2))
    low, high = (None if limit is None or abs(limit) >= 3.4e38 else float(limit) for limit in (low, high))
    if low == 0 and high in (None, 6):
        return call.emit(activations.ReLU() if high is None else activations.ReLU6(), call.value())
    return call.emit(arithmetic.Clip(low, high), call.value())


def softmax(call: Call) -> Values:
    """Along an axis; before operator set 13 over that axis and all after it, laid out in a row."""
    kind = activations.Softmax if call.node.kind == "Softmax" else arithmetic.LogSoftmax
    axis = call.setting("axis", -1 if call.opset >= 13 else 1)
    if call.opset >= 13 or axis == -1:
        return call.emit(kind(axis), call.value())
    shape = call.shape()
    axis %= len(shape)
    if math.prod(shape[axis + 1 :]) == 1:
        return call.emit(kind(axis), call.value())
    rows = call.step(layouts.Rearrange((*shape[:axis], -1)), call.value())
    return call.emit(layouts.Rearrange(shape), call.step(kind(-1), rows))


def swish(call: Call) -> Values:
    alpha = call.setting("alpha", 1.0)
    if alpha == 1:
        return call.emit(activations.SiLU(), call.value())
    return call.emit(joins.Multiply(), call.value(), call.step(activations.Sigmoid(), _times(call, call.value(), alpha)))


def shrink(call: Call) -> Operator:
    limit = call.setting("lambd", 0.5)
    return arithmetic.Threshold(limit, -limit, call.setting("bias", 0.0))


def gelu(call: Call) -> Values:
    call.expect("approximate", "none", "tanh")
    return call.emit(activations.GELU(call.setting("approximate", "none") == "tanh"), call.value())


def cast(call: Call) -> Values:
    value = call.value()
    if isinstance(value, Known):
        return (onnx_folding.cast(call),)
    if value.kind == "float" and call.setting("to", 1) in (1, 10, 11, 16):
        return (value,)  # a network computes in one type of floats
    if value.kind == "integer" and call.setting("to", 1) in (1, 10, 11, 16):
        return call.emit(layouts.ToFloat(), value)
    raise call.refuse("floats that flow are not turned into integers")


def same(call: Call) -> Values:
    """Identity."""
    return (call.value(),)


def dropout(call: Call) -> Values:
    if call.wants(1):
        raise call.refuse("its mask as an output is not understood")
    if call.has(2) and call.known(2, "training_mode").any():
        raise call.refuse("a dropout that always drops is not understood")
    given = float(call.known(1, "ratio").reshape(-1)[0]) if call.has(1) else call.setting("ratio", 0.5)
    return call.emit(Dropout(given), call.value())


def constant(call: Call) -> Values:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        found = call.optional(name)
        if found is not None:
            kind = {"value_f": np.float32, "value_i": np.int64}.get(name[:7])
            return (Known(np.asarray(found, kind), call.node.outputs[0]),)
    raise call.refuse("a constant of a kind that is not understood")


# Reductions ----------------------------------------------------------------------------------------------------------------


def reduce(kind: str, since: int = 18) -> Callable[[Call], Values]:
    """A translator to a reduction; `since`: the operator set in which the axes became an input."""

    def translate(call: Call) -> Values:
        axes = call.row("axes", 1, since)
        if not axes and call.setting("noop_with_empty_axes", 0):
            return (call.value(),)
        keep = bool(call.setting("keepdims", 1))
        value, op = call.value(), kind
        if kind in ("sum_square", "log_sum", "log_sum_exp"):
            return _composed(call, kind, axes, keep)
        return call.emit(Reduce(op, axes or None, keep), value)

    return translate


def _composed(call: Call, kind: str, axes: list[int] | None, keep: bool) -> Values:
    x = call.value()
    if kind == "sum_square":
        return call.emit(Reduce("sum", axes or None, keep), call.step(joins.Multiply(), x, x))
    if kind == "log_sum":
        return call.emit(arithmetic.Function("log"), call.step(Reduce("sum", axes or None, keep), x))
    most = call.step(Reduce("max", axes or None), x)  # no power of e is larger than 1
    powers = call.step(arithmetic.Function("exp"), call.step(arithmetic.Subtract(), x, most))
    logs = call.step(arithmetic.Function("log"), call.step(Reduce("sum", axes or None, keep), powers))
    return call.emit(joins.Add(), logs, most if keep else call.step(layouts.DropAxes(axes or None), most))


def lp_normalisation(call: Call) -> Values:
    """x / ‖x‖ along an axis, 0 where the length is 0."""
    call.expect("p", 2, 1)
    length = call.step(Reduce("l1" if call.setting("p", 2) == 1 else "l2", (call.setting("axis", -1),)), call.value())
    least = Known(np.array(np.finfo(np.float32).tiny), f"{call.node.name}/least", stored=False)
    return call.emit(arithmetic.Divide(), call.value(), call.step(arithmetic.Maximum(), length, least))


# Layouts -------------------------------------------------------------------------------------------------------------------


def reshape(call: Call) -> Values:
    to = call.integers(1, "shape")
    if call.setting("allowzero", 0) and 0 in to:
        raise call.refuse("arrays without elements are not understood")
    if len(to) > 1 and to[0] == 0 and 0 not in to[1:] and not isinstance(call.value(), Known):
        return call.emit(Reshape(tuple(to[1:])), call.value())
    return call.emit(layouts.Rearrange(tuple(to)), call.value())


def flatten(call: Call) -> Values:
    axis = call.setting("axis", 1)
    if axis == 1:
        return call.emit(Flatten(), call.value())
    shape = call.shape()
    rows = math.prod(shape[: axis if axis >= 0 else axis + len(shape)])
    return call.emit(layouts.Rearrange((rows, math.prod(shape) // max(rows, 1))), call.value())


def squeeze(call: Call) -> Values:
    axes = call.row("axes", 1, 13)
    return call.emit(layouts.DropAxes(None if axes is None else tuple(axes)), call.value())


def unsqueeze(call: Call) -> Values:
    return call.emit(layouts.AddAxes(tuple(call.row("axes", 1, 13) or ())), call.value())


def transpose(call: Call) -> Values:
    axes = call.optional("perm")
    return call.emit(layouts.Transpose(None if axes is None else tuple(axes)), call.value())


def cut(call: Call) -> Values:
    """Slice."""
    starts, ends = call.row("starts", 1, 10), call.row("ends", 2, 10)
    if starts is None or ends is None:
        raise call.refuse("starts and ends must be given")
    axes = call.row("axes", 3, 10)
    steps = call.integers(4, "steps") if call.opset >= 10 and call.has(4) else [1] * len(starts)
    axes = list(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise call.refuse("starts, ends, axes and steps must have one length")
    cuts = [cut for cut in zip(starts, ends, axes, steps, strict=True) if cut[0] != 0 or cut[1] < 2**31 - 1 or cut[3] != 1]
    if not cuts:
        return (call.value(),)
    starts, ends, axes, steps = map(list, zip(*cuts, strict=True))
    return call.emit(layouts.Slice(tuple(starts), tuple(ends), tuple(axes), tuple(steps)), call.value())


def split(call: Call) -> Values:
    sizes, axis = call.row("split", 1, 13), call.setting("axis", 0)
    if sizes is not None:
        return call.emit(layouts.Split(axis, tuple(sizes)), call.value())
    return call.emit(layouts.Split(axis, parts=call.setting("num_outputs", len(call.node.outputs))), call.value())


def expand(call: Call) -> Values:
    return call.emit(layouts.Expand(tuple(call.integers(1, "shape"))), call.value())


def tile(call: Call) -> Values:
    return call.emit(layouts.Tile(tuple(call.integers(1, "repeats"))), call.value())


def gather(call: Call) -> Values:
    places = call.known(1, "indices")
    return call.emit(layouts.Take(places.tolist(), call.setting("axis", 0)), call.value())


def concat(call: Call) -> Values:
    axis = call.optional("axis")
    return call.emit(joins.Concatenate(1 if axis is None else int(axis)), *call.values())


def pad(call: Call) -> Values:
    """Padding; negative amounts cut off."""
    mode, pads = call.setting("mode", "constant"), call.row("pads", 1, 11)
    if mode not in BOUNDARIES or pads is None or len(pads) % 2:
        raise call.refuse(f"mode {mode} with pads {pads} is not understood")
    value = call.setting("value", 0.0) if call.opset < 11 else float(call.known(2, "value").reshape(-1)[0]) if call.has(2) else 0.0
    axes, half = range(len(pads) // 2), len(pads) // 2
    if call.has(3):
        rank = len(call.shape())
        by_axis = {axis % rank: (pads[i], pads[i + half]) for i, axis in enumerate(call.integers(3, "axes"))}
        sides = tuple(by_axis.get(axis, (0, 0)) for axis in range(rank))
    else:
        sides = tuple((pads[i], pads[i + half]) for i in axes)
    boundary = ("constant", value) if mode == "constant" else mode
    grown = tuple((max(low, 0), max(high, 0)) for low, high in sides)
    if grown == sides:
        return call.emit(_padding(grown, boundary), call.value())
    cuts = [(axis, max(-low, 0), high) for axis, (low, high) in enumerate(sides) if min(low, high) < 0]
    ends = tuple(high if high < 0 else 2**62 for _, _, high in cuts)
    less = layouts.Slice(tuple(low for _, low, _ in cuts), ends, tuple(axis for axis, _, _ in cuts), (1,) * len(cuts))
    return call.emit(_padding(grown, boundary), call.step(less, call.value()))


def _padding(sides: tuple[tuple[int, int], ...], boundary: Any) -> Operator:
    if len(sides) > 2 and not any(map(any, sides[:2])):
        return Pad(sides[2:], boundary)
    return layouts.PadAxes(sides, boundary)


def blocks(call: Call) -> Values:
    kind = layouts.DepthToSpace if call.node.kind == "DepthToSpace" else layouts.SpaceToDepth
    return call.emit(kind(call.setting("blocksize", 1), call.setting("mode", "DCR")), call.value())
