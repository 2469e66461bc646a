"""A network built from an ONNX graph, node after node, with everything folded away that is known before it runs.

A value of the file is either known (an array of the file, or what follows from such arrays and from the shapes of inputs) or flows (it is
there when the network runs). An operator whose inputs are all known is computed at once. What flows has a shape if the shapes of the
inputs were given; a question for a shape that was not raises `NeedsShapes`, and the caller tries again for each shape that comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from juanji.errors import FormatError
from juanji.nn.formats.onnx_files import Array, FileNode
from juanji.nn.moves import Constant
from juanji.nn.nodes import Node, named
from juanji.nn.operator import Operator, Run, Shape
from juanji.nn.operators.layouts import ToFloat
from juanji.nn.pools import Unpool

PLURAL = {"float": "floats", "integer": "integers", "places": "places of a pooling"}
TAKES: dict[type[Operator], str] = {Unpool: "places", ToFloat: "integer"}  # beside floats
MOST_FOLDED = 2**26  # elements that may be made while a network is built; beyond it 16 times as many as its file has
Setting = TypeVar("Setting")


class NeedsShapes(Exception):  # noqa: N818 - a question, not an error
    """The structure depends on shapes of the inputs that are not known yet."""


@dataclass(frozen=True, eq=False)
class Known:
    """An array. stored: whether it comes from the file alone, in the order it has there or another: such floats can be trained."""

    array: Array
    name: str
    stored: bool = True

    @property
    def shape(self) -> Shape:
        return self.array.shape


@dataclass(frozen=True)
class Flowing:
    """A value of the network. kind: "float", "integer", or "places" for those of a max pooling."""

    name: str
    shape: Shape | None
    kind: str = "float"


Value = Known | Flowing


class Builder:
    """Nodes and arrays of the network so far."""

    def __init__(self, place: str, opset: int, inputs: Sequence[str], stored: int):
        self.place, self.opset = place, opset
        self._left = max(MOST_FOLDED, 16 * stored)
        self.nodes: list[Node] = []
        self.arrays: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {}
        self.made: set[str] = set()  # keys of arrays that follow from the inputs' shapes
        self._values, self._named = set(inputs), set[str]()
        self._constants: dict[int, Flowing] = {}
        self._owners: dict[tuple[Any, ...], str] = {}
        self._met: list[Array] = []  # arrays are told apart by their ids, so none of them may go

    def apply(
        self, name: str, op: Operator, inputs: Sequence[Value], arrays: Mapping[str, Array], outputs: Sequence[str]
    ) -> tuple[Value, ...]:
        """An operator on values: computed if they are all known, else a node of the network."""
        if all(isinstance(value, Known) for value in inputs):
            return self._folded(name, op, [value for value in inputs if isinstance(value, Known)], arrays, outputs)
        flowing = [self.flowing(value) for value in inputs]
        name = _free(name, self._named)
        made = [_free(output, self._values) for output in outputs]
        shapes: Sequence[Shape | None] = [None] * len(made)
        given = [value.shape for value in flowing if value.shape is not None]
        node = Node(name, op, tuple(value.name for value in flowing), tuple(made), self._owner(name, op, arrays))
        if len(given) == len(flowing):
            with named(node):
                shapes = op.shapes(*given)
        self.nodes.append(node)
        if node.owner == name:
            self._keep(name, arrays)
        return tuple(self._made(output, shape) for output, shape in zip(made, shapes, strict=True))

    def _folded(
        self, name: str, op: Operator, inputs: Sequence[Known], arrays: Mapping[str, Array], outputs: Sequence[str]
    ) -> tuple[Value, ...]:
        with named(Node(name, op, (), (), name)):
            for shape in op.shapes(*(value.shape for value in inputs)):
                self.bounded(name, shape)
            with np.errstate(all="ignore"):
                found, _ = op.forward(dict(arrays), *(value.array for value in inputs), run=Run())
        found = found if op.outputs > 1 else (found,)
        stored = all(value.stored for value in inputs)
        return tuple(Known(np.asarray(array), output, stored) for array, output in zip(found, outputs, strict=True))

    def bounded(self, name: str, shape: Sequence[int]) -> None:
        """Refuse what a hostile file could fill the memory with."""
        self._left -= math.prod(shape)
        if self._left < 0 or min(shape, default=0) < 0:
            size = f"an array of shape {tuple(shape)}"
            raise FormatError(f"{self.place}: node {name} makes {size}, more than is made for a file of this size")

    def _made(self, name: str, shape: Shape | None) -> Flowing:
        if shape is not None:
            self.shapes[name] = shape
        return Flowing(name, shape)

    def flowing(self, value: Value) -> Flowing:
        """A value as one of the network: a known one becomes a constant, which trains if it is stored and more than one number."""
        if isinstance(value, Flowing):
            return value
        if id(value.array) not in self._constants:
            array = value.array
            name, node = _free(value.name, self._values), _free(value.name, self._named)
            op = Constant(trained=value.stored and array.dtype.kind == "f" and array.size > 1, size=array.shape)
            self.nodes.append(Node(node, op, (), (name,), node))
            self._keep(node, {"value": array})
            if not value.stored:
                self.made.add(f"{node}.value")
            self._met.append(array)
            self._constants[id(array)] = self._made(name, array.shape)
        return self._constants[id(value.array)]

    def _keep(self, name: str, arrays: Mapping[str, Array]) -> None:
        for key, array in arrays.items():
            self.arrays[f"{name}.{key}"] = array if array.flags.writeable else array.copy()

    def _owner(self, name: str, op: Operator, arrays: Mapping[str, Array]) -> str:
        """Nodes of one kind that take the same arrays of the file share them."""
        if not arrays:
            return name
        self._met += arrays.values()
        return self._owners.setdefault((type(op), *(id(array) for array in arrays.values())), name)


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken already."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found


class Call:
    """One node of the file and its inputs, as a translator sees them."""

    def __init__(self, node: FileNode, inputs: Sequence[Value | None], builder: Builder):
        self.node, self.inputs, self.builder, self.opset = node, inputs, builder, builder.opset

    def refuse(self, what: str) -> FormatError:
        """The line that says what is not understood."""
        return FormatError(f"{self.builder.place}: node {self.node.name} ({self.node.kind}): {what}")

    # What is asked of it

    def setting(self, name: str, default: Setting) -> Setting:
        """An attribute, of the type of its default."""
        found = self.node.attributes.get(name, default)
        if default is not None and not isinstance(found, type(default)):
            raise self.refuse(f"attribute {name} is of the wrong type")
        return found  # type: ignore[no-any-return]

    def optional(self, name: str) -> Any:
        """An attribute, None where it is missing."""
        return self.node.attributes.get(name)

    def expect(self, name: str, *values: Any) -> None:
        """Refuse an attribute with other values than these; missing is one of them."""
        found = self.node.attributes.get(name, values[0])
        if found not in values:
            raise self.refuse(f"{name} (={found!r}) is not understood")

    def has(self, i: int) -> bool:
        """Whether an input is there."""
        return len(self.inputs) > i and self.inputs[i] is not None

    def wants(self, i: int) -> bool:
        """Whether an output is used by name."""
        return len(self.node.outputs) > i and bool(self.node.outputs[i])

    def value(self, i: int = 0) -> Value:
        """An input."""
        found = self.inputs[i] if len(self.inputs) > i else None
        if found is None:
            raise self.refuse(f"input {i} is missing")
        return found

    def values(self) -> list[Value]:
        """All inputs."""
        return [self.value(i) for i in range(len(self.inputs))]

    def shape(self, i: int = 0) -> Shape:
        """The shape of an input. Raises NeedsShapes where it is not known yet."""
        found = self.value(i).shape
        if found is None:
            raise NeedsShapes
        return found

    def known(self, i: int, what: str) -> Array:
        """An input that must be known before the network runs."""
        found = self.value(i)
        if isinstance(found, Known):
            return found.array
        raise self.refuse(f"its {what} must not depend on what the network computes")

    def integers(self, i: int, what: str) -> list[int]:
        """A known input of integers."""
        found = self.known(i, what)
        if found.dtype.kind not in "iu" or found.ndim > 1:
            raise self.refuse(f"its {what} must be a row of integers")
        return [int(value) for value in found.reshape(-1)]

    def row(self, name: str, i: int, since: int) -> list[int] | None:
        """Integers that were an attribute and became input i in operator set `since`; None where they are missing."""
        if self.opset < since:
            return list(self.node.attributes[name]) if name in self.node.attributes else None
        return self.integers(i, name) if self.has(i) else None

    # What it becomes

    def step(self, op: Operator, *inputs: Value, arrays: Mapping[str, Array] | None = None) -> Value:
        """An operator on the way to the node's output."""
        return self.steps(op, *inputs, arrays=arrays)[0]

    def steps(self, op: Operator, *inputs: Value, arrays: Mapping[str, Array] | None = None) -> tuple[Value, ...]:
        """The same, with all outputs."""
        name = f"{self.node.name}/{op.stem}"
        return self._apply(name, op, inputs, arrays, [f"{name}:{i}" for i in range(op.outputs)])

    def emit(self, op: Operator, *inputs: Value, arrays: Mapping[str, Array] | None = None) -> tuple[Value, ...]:
        """The operator whose outputs are the node's."""
        named_outputs = [*self.node.outputs, *[""] * op.outputs][: op.outputs]
        outputs = [output or f"{self.node.name}:{i}" for i, output in enumerate(named_outputs)]
        return self._apply(self.node.name, op, inputs, arrays, outputs)

    def _apply(
        self, name: str, op: Operator, inputs: Sequence[Value], arrays: Mapping[str, Array] | None, outputs: Sequence[str]
    ) -> tuple[Value, ...]:
        for value in inputs:
            if isinstance(value, Flowing) and value.kind not in ("float", TAKES.get(type(op))):
                raise self.refuse(f"its input {value.name} is of {PLURAL[value.kind]}, which it does not take")
        return self.builder.apply(name, op, inputs, arrays or {}, outputs)

