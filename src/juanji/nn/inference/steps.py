"""One stage of a compiled network made ready to run on arrays of known shapes in one layout: plans made, weights packed.

With channels last, a value (N, C, *S) is kept as (N, *S, C). Operators for which that makes no difference, or which have a way of their
own for it, run where values lie; the others run between two transpositions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from juanji import elementwise
from juanji.convolution import plan
from juanji.gradients import transposed_plan
from juanji.nn.activations import Activated, HardSigmoid, ReLU, ReLU6, SiLU
from juanji.nn.inference.expressions import Expression, ScaledChannels, normalising
from juanji.nn.inference.rows import ByRows, ExpressionRows, MaxPoolRows, conv_rows
from juanji.nn.inference.stages import Stage
from juanji.nn.joins import Add, Concatenate, Multiply
from juanji.nn.layers import Conv, ConvTranspose, Dense
from juanji.nn.moves import Constant, Flatten, Reshape, Resize
from juanji.nn.norms import BatchNorm
from juanji.nn.operator import Array, Run, Shape
from juanji.nn.pools import AvgPool, GlobalPool, LpPool, MaxPool
from juanji.pooling import planned

APART, TURNED = 5e-6, 1e-9  # seconds of a step of NumPy's between kernels that would be one call without it; of an element that it turns

Action = Callable[[Sequence[Array], Array], Any]
Preparation = Callable[[Sequence[Array], Array], Callable[[], Any]]


class Step(NamedTuple):
    """What a stage does: run(inputs, output). in_place: the output may be the first input's memory; view: it is, untouched.

    prepare: from inputs and an output that stay where they are to a call with little left to do, where there is a shorter way than `run`.
    rows: how to compute a few rows of it, where that can be done. own: seconds that it is expected to take, where no plan says that.
    """

    run: Action
    in_place: bool = False
    view: bool = False
    plan: Any = None
    prepare: Preparation | None = None
    rows: ByRows | None = None
    own: float = 0.0

    @classmethod
    def prepared(cls, prepare: Preparation, *, in_place: bool = False, plan: Any = None, rows: ByRows | None = None) -> Step:
        """A step that is prepared anew each time it is run."""
        return cls(lambda inputs, y: prepare(inputs, y)(), in_place=in_place, plan=plan, prepare=prepare, rows=rows)

    def ready(self, inputs: Sequence[Array], y: Array) -> Callable[[], Any]:
        """The step as a call on arrays that stay where they are; not for two threads at a time."""
        return partial(self.run, inputs, y) if self.prepare is None else self.prepare(inputs, y)

    @property
    def seconds(self) -> float:
        """What it is expected to take on one core; 0 where nobody knows."""
        found = getattr(self.plan, "seconds", self.own)
        return float(found)


def lies(shape: Shape, layout: str) -> Shape:
    """The shape of a value as it lies in memory."""
    return (shape[0], *shape[2:], shape[1]) if layout == "channels_last" and len(shape) > 2 else shape


def laid(array: Array, layout: str) -> Array:
    """A view of an array (N, C, *S) with its axes in a layout's order."""
    return np.moveaxis(array, 1, -1) if layout == "channels_last" and array.ndim > 2 else array


def canonical(array: Array, layout: str) -> Array:
    """A view of a value with its axes as (N, C, *S)."""
    return np.moveaxis(array, -1, 1) if layout == "channels_last" and array.ndim > 2 else array


def step(stage: Stage, shapes: Sequence[Shape], made: Shape, layout: str, dtype: np.dtype[Any], threads: int | None) -> Step:
    """The stage for inputs of these shapes and an output of that one, both (N, C, *S)."""
    op, last = stage.op, layout == "channels_last"
    match op:
        case Conv():
            return _conv(op, stage, shapes[0], layout, threads)
        case ConvTranspose():
            return _transposed(op, stage, shapes[0], layout, threads)
        case Dense():
            return _dense(stage, shapes[0], threads)
        case MaxPool(places=False) | AvgPool() | LpPool(p=1 | 2):
            return _pool(op, shapes[0], layout, dtype, threads)
        case GlobalPool(kind="avg"):
            return _mean(shapes[0], op.keep, layout, dtype, threads)
        case Flatten() | Reshape() if not last or len(shapes[0]) < 3:
            return Step(lambda inputs, y: np.copyto(y, inputs[0].reshape(y.shape)), in_place=True, view=True)
        case Flatten():
            turning = APART + TURNED * math.prod(shapes[0])
            return Step(lambda inputs, y: np.copyto(y.reshape(shapes[0]), canonical(inputs[0], layout)), own=turning)
        case Constant():
            return Step(_fixed(np.ascontiguousarray(laid(stage.arrays["value"], layout))))
        case Concatenate() if not last or len(shapes[0]) > 2:
            axis = op.axis % len(shapes[0])
            at = axis if not last else len(made) - 1 if axis == 1 else max(axis - 1, 0)
            return Step(lambda inputs, y: np.concatenate(inputs, axis=at, out=y))
        case Expression() if dtype in elementwise.FLOATS and all(shape == made for shape in shapes):
            return _expression(op.tree, layout, len(made), threads)
        case Add() if len(shapes) == 2 and shapes[0] == shapes[1] and dtype in elementwise.FLOATS:
            total = ("add", 0, 1)
            return _expression(total if stage.activation is None else (stage.activation, total), layout, len(made), threads)
        case Add() if stage.activation is not None:
            plain = step(replace(stage, activation=None), shapes, made, layout, dtype, threads)
            return plain._replace(run=_then_relu(plain.run))
        case Add() | Multiply() if all(len(shape) == len(made) or math.prod(shape) == 1 for shape in shapes):
            return Step(_joining(np.add if isinstance(op, Add) else np.multiply), in_place=shapes[0] == made)
        case BatchNorm():
            return _normalised(*normalising(op, stage.arrays), len(made), layout)
        case ScaledChannels():
            return _normalised(stage.arrays["factor"], stage.arrays["offset"], len(made), layout)
        case Resize(mode="nearest") if (times := _repeats(shapes[0], made)) is not None:
            return Step(_repeated(times, layout))
        case ReLU():
            return Step(lambda inputs, y: np.maximum(inputs[0], 0, out=y), in_place=True)
        case ReLU6():
            return Step(lambda inputs, y: np.clip(inputs[0], 0, 6, out=y), in_place=True)
        case Activated() | HardSigmoid() | SiLU():
            return Step(_alone(stage), in_place=True)
    return Step(_between(stage, layout))


def _conv(op: Conv, stage: Stage, shape: Shape, layout: str, threads: int | None) -> Step:
    weight, bias = stage.arrays["weight"], stage.arrays.get("bias")
    options = {**op.options(shape), "layout": layout, "weight_layout": "OI*", "activation": op.activation}
    chosen: Any = plan(lies(shape, layout), weight.shape, dtype=weight.dtype, bias=bias is not None, **options)
    return _bound(chosen, weight, bias, threads)._replace(rows=conv_rows(chosen, weight, bias))


def _bound(chosen: Any, weight: Array, bias: Array | None, threads: int | None, *, batch: bool = False) -> Step:
    """A plan of floats with its weights, packed when first wanted. batch: whether the plan's arrays have one axis more in front."""
    bound = cache(partial(chosen.bind, weight, bias))

    def prepare(inputs: Sequence[Array], y: Array) -> Callable[[], Any]:
        call: Callable[[], Any] = bound().ready(inputs[0][None] if batch else inputs[0], y[None] if batch else y, threads=threads)
        return call

    return Step.prepared(prepare, plan=chosen)


def _transposed(op: ConvTranspose, stage: Stage, shape: Shape, layout: str, threads: int | None) -> Step:
    weight, bias = stage.arrays["weight"], stage.arrays.get("bias")
    chosen: Any = transposed_plan(
        lies(shape, layout), weight.shape, weight.dtype, weight.dtype, bias is not None,
        output_padding=op.output_padding, out_dtype=None, flip=False, sharing="shared", layout=layout, weight_layout="OI*",
        activation=op.activation, overflow="saturate", **op.options,
    )  # fmt: skip
    return _bound(chosen, weight, bias, threads)


def _dense(stage: Stage, shape: Shape, threads: int | None) -> Step:
    """A dense layer is a 1×1 convolution whose pixels are the batch."""
    weight, bias = stage.arrays["weight"][..., None], stage.arrays.get("bias")
    chosen: Any = plan(
        (1, *shape), weight.shape, dtype=weight.dtype, bias=bias is not None, layout="channels_last", weight_layout="OI*",
        activation=stage.activation,
    )  # fmt: skip
    return _bound(chosen, weight, bias, threads, batch=True)


def _pool(op: MaxPool | AvgPool | LpPool, shape: Shape, layout: str, dtype: Any, threads: int | None) -> Step:
    _, _, pooler = planned(np.empty(lies(shape, layout), dtype), op.size, **op.options, layout=layout)

    def prepare(inputs: Sequence[Array], y: Array) -> Callable[[], Any]:
        return pooler.forward.ready(inputs[0], y, None, threads)

    by_rows = isinstance(op, MaxPool) and not op.ceil_mode and layout == "channels_last" and len(shape) > 3
    rows = MaxPoolRows(op.axes(shape)) if by_rows else None
    return Step.prepared(prepare, rows=rows)


def _mean(shape: Shape, keep: bool, layout: str, dtype: Any, threads: int | None) -> Step:
    """The mean over all positions: of vectors of channels a pooling whose window is the picture."""
    if layout == "channels_last" and len(shape) > 2:
        _, _, pooler = planned(np.empty(lies(shape, layout), dtype), shape[2:], "avg", layout=layout)
        one = lies((*shape[:2], *(1,) * len(shape[2:])), layout)

        def prepare(inputs: Sequence[Array], y: Array) -> Callable[[], Any]:
            return pooler.forward.ready(inputs[0], y.reshape(one), None, threads)

        return Step.prepared(prepare)
    axes, count = tuple(range(2, len(shape))), math.prod(shape[2:])

    def run(inputs: Sequence[Array], y: Array) -> None:
        np.add.reduce(inputs[0], axis=axes, out=y, keepdims=keep)
        np.divide(y, count, out=y)

    return Step(run)


def _normalised(factor: Array, offset: Array, ndim: int, layout: str) -> Step:
    """A factor and an offset for every channel."""
    shape = (-1,) if layout == "channels_last" or ndim == 2 else (-1, *(1,) * (ndim - 2))
    scale, offset = factor.reshape(shape), offset.reshape(shape)

    def run(inputs: Sequence[Array], y: Array) -> None:
        np.multiply(inputs[0], scale, out=y)
        np.add(y, offset, out=y)

    return Step(run, in_place=True)


def _expression(tree: elementwise.Tree, layout: str, ndim: int, threads: int | None) -> Step:
    """An expression of values that lie alike."""

    def prepare(inputs: Sequence[Array], y: Array) -> Callable[[], Any]:
        return elementwise.ready(tree, inputs, y, threads)

    rows = ExpressionRows(tree) if layout == "channels_last" and ndim > 3 else None
    return Step.prepared(prepare, in_place=True, rows=rows)


def _then_relu(action: Action) -> Action:
    def run(inputs: Sequence[Array], y: Array) -> None:
        action(inputs, y)
        np.maximum(y, 0, out=y)

    return run


def _joining(function: np.ufunc) -> Action:
    def run(inputs: Sequence[Array], y: Array) -> None:
        if len(inputs) == 1:
            np.copyto(y, inputs[0])
        for i, other in enumerate(inputs[1:]):
            function(y if i else inputs[0], other, out=y)

    return run


def _fixed(value: Array) -> Action:
    return lambda inputs, y: np.copyto(y, value)


def _alone(stage: Stage) -> Action:
    """An operator on each value alone: any layout will do."""

    def run(inputs: Sequence[Array], y: Array) -> None:
        np.copyto(y, stage.op.forward(stage.arrays, inputs[0], run=Run())[0])

    return run


def _between(stage: Stage, layout: str) -> Action:
    """Any operator, with channels first before and after."""

    def run(inputs: Sequence[Array], y: Array) -> None:
        found = stage.op.forward(stage.arrays, *(np.ascontiguousarray(canonical(x, layout)) for x in inputs), run=Run())[0]
        np.copyto(y, laid(found, layout))

    return run


def _repeats(shape: Shape, made: Shape) -> tuple[int, ...] | None:
    """How often each element of an enlarged axis stands there, if that is the same for all."""
    if any(to % size for size, to in zip(shape[2:], made[2:], strict=True)):
        return None
    return tuple(to // size for size, to in zip(shape[2:], made[2:], strict=True))


def _repeated(times: tuple[int, ...], layout: str) -> Action:
    n, first = len(times), 1 if layout == "channels_last" else 2

    def run(inputs: Sequence[Array], y: Array) -> None:
        (x,) = inputs
        before, size, after = x.shape[:first], x.shape[first : first + n], x.shape[first + n :]
        split = [part for pair in zip(size, times, strict=True) for part in pair]
        once = [part for length in size for part in (length, 1)]
        np.copyto(y.reshape(*before, *split, *after), x.reshape(*before, *once, *after))

    return run
