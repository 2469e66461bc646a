"""An ONNX graph being written: nodes, arrays and names, and one operator's place in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import boundary as boundaries
from juanji.errors import NotBuiltError
from juanji.nn.graph import Graph
from juanji.nn.nodes import Node
from juanji.nn.operator import Array, Shape

OPSET = 21
IR_VERSION = 10


class Writing:
    """The nodes and arrays so far, and what the network's values are called in the file."""

    def __init__(self, onnx: Any, net: Graph, shapes: dict[str, Shape]):
        self.onnx, self.net, self.shapes = onnx, net, shapes
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.names = {name: name for name in net.inputs}

    def array(self, name: str, array: npt.ArrayLike) -> str:
        """An array of the file."""
        self.arrays[name] = np.asarray(array)
        return name


class Place:
    """One operator of the network: its node, and the values of the file that it takes."""

    def __init__(self, writing: Writing, node: Node):
        self.writing, self.node, self.op = writing, node, node.op
        self.inputs = [writing.names[name] for name in node.inputs]
        self.shapes = [writing.shapes[name] for name in node.inputs]
        self.shape = writing.shapes[node.outputs[0]]
        self._steps = 0

    def refuse(self, why: str) -> NotBuiltError:
        """The line that says what ONNX cannot hold."""
        return NotBuiltError(f"layer {self.node.name}: {self.op} cannot be written as ONNX: {why}")

    def parameter(self, name: str) -> str:
        """A parameter by its short name, as an array of the file."""
        key = f"{self.node.owner}.{name}"
        return self.writing.array(key, self.writing.net.arrays_of(self.node)[name])

    def number(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """An array that only this operator needs: of floats unless another type is given."""
        return self.writing.array(f"{self.node.name}/{name}", np.asarray(value, self.writing.net.dtype if dtype is None else dtype))

    def integers(self, name: str, values: Sequence[int]) -> str:
        """A row of integers that only this operator needs."""
        return self.number(name, list(values), np.int64)

    def give(self, kind: str, *inputs: str, outputs: int = 1, **settings: Any) -> list[str]:
        """The node that goes by the operator's own name, with the operator's arrays."""
        made = [f"{self.node.name}//{i}" for i in range(outputs)]  # renamed if they are the operator's outputs
        self.writing.nodes.append(self.writing.onnx.helper.make_node(kind, list(inputs), made, self.node.name, **settings))
        return made

    def step(self, kind: str, *inputs: str, **settings: Any) -> str:
        """A further node."""
        self._steps += 1
        name = f"{self.node.name}/{kind.lower()}{self._steps}"
        self.writing.nodes.append(self.writing.onnx.helper.make_node(kind, list(inputs), [name], name, **settings))
        return name

    def padded(self, x: str, shape: Shape, sides: Sequence[tuple[int, int]], modes: Sequence[boundaries.Boundary]) -> str:
        """A value with more elements at the ends of each axis. What ONNX's modes cannot say is a gather of what stands there."""
        for axis, (size, (low, high), mode) in enumerate(zip(shape, sides, modes, strict=True)):
            if not low and not high:
                continue
            if mode.constant or mode.mode == "edge" or (mode.mode == "reflect" and max(low, high) < size):
                pads = [low if i == axis else 0 for i in range(len(shape))] + [high if i == axis else 0 for i in range(len(shape))]
                x = self.step("Pad", x, self.integers(f"pads{axis}", pads), self.number(f"outside{axis}", mode.value), mode=mode.mode)
            else:
                places = boundaries.index_map(size, low, high, mode.mode).tolist()
                x = self.step("Gather", x, self.integers(f"places{axis}", places), axis=axis)
        return x
