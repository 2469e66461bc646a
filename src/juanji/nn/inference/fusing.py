"""A network's nodes rewritten for inference: what training needs is dropped, what follows a convolution is folded into it.

    dropout             nothing
    batch norm          y = γ(x − μ)/σ + β is a factor and an offset per channel, which go into the weights and the bias before it
    constants           added or multiplied, one for all or one per channel: likewise
    relu and its kin    the activation of the convolution, dense layer or sum before it, applied as that is stored
    what is left        that works on each element alone becomes one expression (`expressions.py`)

A value is folded away only where nothing else reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from juanji.nn.activations import Activated, ReLU
from juanji.nn.inference.expressions import Scaled, ScaledChannels, expressed, normalising
from juanji.nn.inference.stages import Stage
from juanji.nn.joins import Add, Multiply
from juanji.nn.layers import Conv, ConvTranspose, Dense
from juanji.nn.moves import Constant
from juanji.nn.nodes import Node
from juanji.nn.norms import BatchNorm, Dropout
from juanji.nn.operator import Array, Operator, Shape
from juanji.nn.operators.arithmetic import Divide, Subtract

Linear = Conv | ConvTranspose | Dense


def fused(
    nodes: Iterable[Node], arrays_of: Callable[[Node], Mapping[str, Array]], outputs: Iterable[str], shapes: Mapping[str, Shape]
) -> list[Stage]:
    """The stages that compute the outputs; theirs are the names that are kept. shapes: of all values, for some batch."""
    kept = set(outputs)
    stages = _scaled(_without_dropout(_stages(nodes, arrays_of), kept), shapes, kept)
    return expressed(_joined(_joined(stages, kept, _normalisation), kept, _activation), shapes, kept)


def folded(nodes: Iterable[Node], arrays_of: Callable[[Node], Mapping[str, Array]], outputs: Iterable[str]) -> list[Stage]:
    """The same with activations left as stages of their own: every stage is an operator, with a way back."""
    kept = set(outputs)
    return _joined(_without_dropout(_stages(nodes, arrays_of), kept), kept, _normalisation)


def _stages(nodes: Iterable[Node], arrays_of: Callable[[Node], Mapping[str, Array]]) -> list[Stage]:
    return [Stage(node.name, node.op, node.inputs, node.outputs, arrays_of(node)) for node in nodes]


def _without_dropout(stages: list[Stage], kept: set[str]) -> list[Stage]:
    names: dict[str, str] = {}
    found = []
    for stage in stages:
        stage.inputs = tuple(names.get(name, name) for name in stage.inputs)
        if isinstance(stage.op, Dropout) and stage.outputs[0] not in kept:
            names[stage.outputs[0]] = stage.inputs[0]
        else:
            found.append(stage)
    return found


def _scaled(stages: list[Stage], shapes: Mapping[str, Shape], kept: set[str]) -> list[Stage]:
    """Sums and products with a constant number, or with one for each channel, as scalings; constants that nobody reads are left out."""
    constants = {stage.outputs[0]: stage.arrays["value"] for stage in stages if isinstance(stage.op, Constant)}
    for stage in stages:
        if len(stage.inputs) != 2 or (stage.inputs[0] in constants) == (stage.inputs[1] in constants):
            continue
        first = stage.inputs[0] in constants
        value, name = constants[stage.inputs[not first]], stage.inputs[first]
        shape = shapes[name]
        found = _scaling(stage.op, value, first)
        if found is None or shape != shapes[stage.outputs[0]]:
            continue
        factor, offset = (array.reshape(-1) for array in found)
        if value.size == 1:
            stage.op, stage.inputs = Scaled(float(factor[0]), float(offset[0])), (name,)
        elif len(shape) > 1 and (1,) * (len(shape) - value.ndim) + value.shape == (1, shape[1], *(1,) * (len(shape) - 2)):
            stage.op, stage.inputs, stage.arrays = ScaledChannels(), (name,), {"factor": factor, "offset": offset}
    read = {name for stage in stages for name in stage.inputs} | kept
    return [stage for stage in stages if not isinstance(stage.op, Constant) or stage.outputs[0] in read]


def _scaling(op: Operator, value: Array, first: bool) -> tuple[Array, Array] | None:
    """The factor and the offset that an operator applies to its other input than a constant, which is its first or its second."""
    one, zero = np.ones_like(value), np.zeros_like(value)
    match op:
        case Add():
            return one, value
        case Multiply():
            return value, zero
        case Subtract():
            return (-one, value) if first else (one, -value)
        case Divide() if not first and value.all():
            return one / value, zero
    return None


def _joined(stages: list[Stage], kept: set[str], join: Callable[[Stage, Stage], Stage | None]) -> list[Stage]:
    """Each stage joined with the one before it where `join` knows how, and only it reads what that one makes."""
    readers = Counter(name for stage in stages for name in stage.inputs)
    found: dict[str, Stage] = {}  # by the value that they make
    for stage in stages:
        before = found.get(stage.inputs[0]) if len(stage.inputs) == 1 else None
        joined = None
        if before is not None and readers[stage.inputs[0]] == 1 and stage.inputs[0] not in kept:
            joined = join(before, stage)
        if joined is not None:
            del found[stage.inputs[0]]
        found[stage.outputs[0]] = joined or stage
    return list(found.values())


def _normalisation(before: Stage, stage: Stage) -> Stage | None:
    op, norm = before.op, stage.op
    if isinstance(op, Scaled) and isinstance(norm, Scaled):
        return replace(before, op=op.then(norm), outputs=stage.outputs)
    if not isinstance(norm, BatchNorm | Scaled | ScaledChannels) or not isinstance(op, Conv | ConvTranspose | Dense):
        return None
    if getattr(op, "activation", None):
        return None
    match norm:
        case Scaled():
            factor, offset = (np.full(op.features, number, before.arrays["weight"].dtype) for number in (norm.factor, norm.offset))
        case ScaledChannels():
            factor, offset = stage.arrays["factor"], stage.arrays["offset"]
        case BatchNorm():
            factor, offset = normalising(norm, stage.arrays)
    weight, bias = before.arrays["weight"], before.arrays.get("bias")
    arrays = {"weight": weight * _along_features(op, weight, factor), "bias": offset if bias is None else bias * factor + offset}
    if bias is None and isinstance(op, Conv) and op.sharing != "shared":
        sites = weight.shape[: (weight.ndim - 2) // 2]
        arrays["bias"] = np.ascontiguousarray(np.broadcast_to(offset, (*sites, *offset.shape)))
    return Stage(before.name, replace(op, has_bias=True), before.inputs, stage.outputs, arrays)


def _along_features(op: Linear, weight: Array, factor: Array) -> Array:
    """One factor per feature, to be multiplied with the weights."""
    if isinstance(op, ConvTranspose):  # (C, O/groups, *K): the channels of a group make the group's features
        taps = (1,) * (weight.ndim - 2)
        rows = factor.reshape(op.groups, 1, -1)
        return np.broadcast_to(rows, (op.groups, weight.shape[0] // op.groups, rows.shape[2])).reshape(weight.shape[0], -1, *taps)
    if isinstance(op, Dense):
        return factor[:, None]
    n = weight.ndim - 2 if op.sharing == "shared" else (weight.ndim - 2) // 2
    return factor.reshape(-1, *(1,) * (n + 1))


def _activation(before: Stage, stage: Stage) -> Stage | None:
    op = before.op
    if not isinstance(stage.op, Activated):
        return None
    if before.activation is None and (isinstance(op, Dense) or (isinstance(op, Add) and isinstance(stage.op, ReLU))):
        return replace(before, outputs=stage.outputs, activation=stage.op.activation)
    if not isinstance(op, Conv | ConvTranspose) or op.activation:
        return None
    changed: Any = replace(op, activation=stage.op.activation)
    return Stage(before.name, changed, before.inputs, stage.outputs, before.arrays)
