"""Neighbouring operators on each element alone, joined into one pass over memory.

Files spell activations and normalisations out: x·relu6(x + 3)/6·a + b is six passes over an array that is read and written each time.
Here they are one `Expression`, as long as no other stage reads what is between, and it reads no more than two arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji.elementwise import ACTIVATIONS, Tree
from juanji.nn.activations import Activated, sigmoid
from juanji.nn.inference.stages import Stage
from juanji.nn.joins import Add, Multiply
from juanji.nn.norms import BatchNorm
from juanji.nn.operator import Array, Operator, Parameters, Run, Shape

MOST_ARRAYS = 2
FUNCTIONS: dict[str, Any] = {
    "add": np.add,
    "multiply": np.multiply,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}


@dataclass(frozen=True, eq=False)
class Scaled(Operator):
    """x·factor + offset."""

    stem: ClassVar[str] = "scaled"
    factor: float
    offset: float

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return inputs[0] * self.factor + self.offset, None

    def then(self, other: Scaled) -> Scaled:
        """Both, one after the other.

        >>> Scaled(2.0, 1.0).then(Scaled(3.0, 5.0))
        Scaled(factor=6.0, offset=8.0)
        """
        return Scaled(self.factor * other.factor, self.offset * other.factor + other.offset)


@dataclass(frozen=True, eq=False)
class ScaledChannels(Operator):
    """x·factor + offset, one of each for every channel: arrays of a stage, not parameters."""

    stem: ClassVar[str] = "scaled"

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        shape = (-1, *(1,) * (inputs[0].ndim - 2))
        return inputs[0] * p["factor"].reshape(shape) + p["offset"].reshape(shape), None


def normalising(norm: BatchNorm, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """The factor and the offset of each channel that a batch norm comes to with its running statistics."""
    factor: Array = arrays["weight"] / np.sqrt(arrays["variance"] + np.asarray(norm.epsilon, arrays["variance"].dtype))
    return factor, arrays["bias"] - arrays["mean"] * factor


@dataclass(frozen=True, eq=False)
class Expression(Operator):
    """An expression of its inputs; `elementwise` says what a tree is."""

    stem: ClassVar[str] = "expression"
    tree: Tree

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return _evaluated(self.tree, inputs), None


def _evaluated(tree: Tree, inputs: Sequence[Array]) -> Any:
    if isinstance(tree, tuple):
        return FUNCTIONS[tree[0]](*(_evaluated(part, inputs) for part in tree[1:]))
    return inputs[tree] if isinstance(tree, int) else np.asarray(tree, inputs[0].dtype)


@dataclass
class _Part:
    """A stage as an expression of named values. reads: how often stages that it stands for read each; joined: whether these are several."""

    stage: Stage
    tree: Any
    reads: Counter[str]
    joined: bool


def expressed(stages: Sequence[Stage], shapes: Mapping[str, Shape], kept: Collection[str]) -> list[Stage]:
    """The stages with neighbours that are one expression joined."""
    readers = Counter(name for stage in stages for name in stage.inputs)
    parts: dict[str, _Part] = {}
    found: dict[str, Stage] = {}  # by the value that they make
    for stage in stages:
        tree = _tree(stage, shapes)
        found[stage.outputs[0]] = stage
        if tree is None:
            continue
        part = _Part(stage, tree, Counter(stage.inputs), isinstance(stage.op, Scaled))
        while (name := next((name for name in part.reads if _absorbable(name, part, parts, readers, kept)), None)) is not None:
            before = parts.pop(name)
            del found[name], part.reads[name]
            part = _Part(stage, _replaced(part.tree, name, before.tree), part.reads + before.reads, True)
        parts[stage.outputs[0]] = part
    for name, part in parts.items():
        if part.joined:
            inputs = tuple(part.reads)
            found[name] = Stage(part.stage.name, Expression(_numbered(part.tree, inputs)), inputs, part.stage.outputs, {})
    return list(found.values())


def _absorbable(name: str, part: _Part, parts: Mapping[str, _Part], readers: Mapping[str, int], kept: Collection[str]) -> bool:
    """Whether a value that a part reads is an expression that nobody else reads, and both together read few arrays."""
    if name not in parts or name in kept or part.reads[name] != readers[name]:
        return False
    return len((part.reads.keys() | parts[name].reads.keys()) - {name}) <= MOST_ARRAYS


def _tree(stage: Stage, shapes: Mapping[str, Shape]) -> Any:
    """A stage as an expression of the names of values of its output's shape, or None."""
    op, names = stage.op, stage.inputs
    if any(shapes[name] != shapes[stage.outputs[0]] for name in names):
        return None
    match op:
        case Scaled():
            scaled = names[0] if op.factor == 1 else ("multiply", names[0], op.factor)
            return scaled if op.offset == 0 else ("add", scaled, op.offset)
        case Add() | Multiply() if len(names) == 2:
            tree = ("add" if isinstance(op, Add) else "multiply", *names)
            return tree if stage.activation is None else (stage.activation, tree)
        case Activated() if op.activation in ACTIVATIONS:
            return op.activation, names[0]
    return None


def _replaced(tree: Any, name: str, other: Any) -> Any:
    """The tree with another in place of a value."""
    if isinstance(tree, tuple):
        return (tree[0], *(_replaced(part, name, other) for part in tree[1:]))
    return other if tree == name else tree


def _numbered(tree: Any, names: tuple[str, ...]) -> Tree:
    """The tree with the places of values instead of their names."""
    if isinstance(tree, tuple):
        return (tree[0], *(_numbered(part, names) for part in tree[1:]))
    return names.index(tree) if isinstance(tree, str) else float(tree)
