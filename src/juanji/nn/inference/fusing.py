"""A network's nodes rewritten for inference: what training needs is dropped, what follows a convolution is folded into it.

    dropout             nothing
    batch norm          y = γ(x − μ)/σ + β is a factor and an offset per channel, which go into the weights and the bias before it
    relu and its kin    the activation of the convolution, dense layer or sum before it, applied as that is stored

A value is folded away only where nothing else reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from juanji.describe import Activation
from juanji.nn.nodes import Node
from juanji.nn.norms import BatchNorm, Dropout
from juanji.nn.operator import Array, Operator
from juanji.nn.ops import Activated, Add, Conv, ConvTranspose, Dense, ReLU

Linear = Conv | ConvTranspose | Dense


@dataclass
class Stage:
    """A node with its arrays, which are replaced by what they become when more is folded in.

    activation: that of a dense layer, or relu behind a sum.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: Mapping[str, Array]
    activation: Activation = None


def fused(nodes: Iterable[Node], arrays_of: Callable[[Node], Mapping[str, Array]], outputs: Iterable[str]) -> list[Stage]:
    """The stages that compute the outputs; theirs are the names that are kept."""
    kept = set(outputs)
    return _joined(folded(nodes, arrays_of, kept), kept, _activation)


def folded(nodes: Iterable[Node], arrays_of: Callable[[Node], Mapping[str, Array]], outputs: Iterable[str]) -> list[Stage]:
    """The same with activations left as stages of their own: every stage is an operator, with a way back."""
    stages = [Stage(node.name, node.op, node.inputs, node.outputs, arrays_of(node)) for node in nodes]
    kept = set(outputs)
    return _joined(_without_dropout(stages, kept), kept, _normalisation)


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
    if not isinstance(norm, BatchNorm) or not isinstance(op, Conv | ConvTranspose | Dense) or getattr(op, "activation", None):
        return None
    factor = stage.arrays["weight"] / np.sqrt(stage.arrays["variance"] + np.asarray(norm.epsilon, stage.arrays["variance"].dtype))
    offset = stage.arrays["bias"] - stage.arrays["mean"] * factor
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
