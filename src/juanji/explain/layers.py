"""A network layer by layer: shapes, parameters, connections, multiply-adds, memory, receptive fields, and all of it together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from juanji.errors import ArgumentError, ShapeError
from juanji.explain.receptive import receptive_field
from juanji.nn.graph import Graph
from juanji.nn.layers import Conv, ConvTranspose, Dense
from juanji.nn.nodes import Node
from juanji.nn.operator import Operator, Shape


@dataclass(frozen=True)
class Layer:
    """One row. shape: of its output, without the batch. parameters: trained numbers; fixed: those that training does not change.

    connections: pairs of an input and an output element that a weight joins. full, local: weights of a layer with the same output in
    which every output met every input, or its window, through weights of its own. activations: output elements, bytes: their memory.
    field: size, stride and padding of the receptive field along the first axis, None where there is none.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    fixed: int
    connections: int
    full: int
    local: int
    macs: int
    activations: int
    bytes: int
    field: tuple[int | None, int | None, int | None] | None


@dataclass(frozen=True)
class LayerTable:
    """All layers of a network for one sample; prints itself as a table."""

    input: tuple[int, ...]
    layers: tuple[Layer, ...]

    def total(self, column: str) -> int:
        """The sum of a column of counts: "parameters", "fixed", "connections", "full", "local", "macs", "activations" or "bytes".

        Numbers of shared parameters are counted where they stand first.
        """
        if column not in ("parameters", "fixed", "connections", "full", "local", "macs", "activations", "bytes"):
            raise ArgumentError(f"column (={column!r}) must be a count of `Layer`")
        return sum(int(getattr(layer, column)) for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "MACs", "activations", "field", "stride", "padding")
        rows = [
            (
                layer.name, layer.kind, "×".join(map(str, layer.shape)),
                f"{layer.parameters:,}", f"{layer.macs:,}", f"{layer.activations:,}",
                *("" if layer.field is None or value is None else str(value) for value in layer.field or (None,) * 3),
            )
            for layer in self.layers
        ]  # fmt: skip
        sums = [f"{self.total(name):,}" for name in ("parameters", "macs", "activations")]
        last = ("in all", "", "", *sums, "", "", "")
        widths = [max(len(row[i]) for row in (head, *rows, last)) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
                 for row in (head, *rows, last)]  # fmt: skip
        return "\n".join([f"input {'×'.join(map(str, self.input))}", *lines])


def layer_table(net: Graph, input_shape: Sequence[int] | None = None) -> LayerTable:
    """The table of a network for one sample of a shape (C, *S), the network's own unless given. Nothing is computed but counts.

    >>> from juanji import nn
    >>> print(layer_table(nn.Sequential(nn.Conv(6, 5, padding=2), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10)), (1, 28, 28)))
    input 1×28×28
    layer     kind     output   parameters     MACs  activations  field  stride  padding
    conv1     Conv     6×28×28         156  117,600        4,704      5       1        2
    relu1     ReLU     6×28×28           0        0        4,704      5       1        2
    pool1     MaxPool  6×14×14           0        0        1,176      6       2        2
    flatten1  Flatten  1176              0        0        1,176
    dense1    Dense    10           11,770   11,760           10
    in all                          11,926  129,360       11,770
    """
    shapes = net.shapes(*([] if input_shape is None else [input_shape]))
    source = next(iter(net.inputs))
    rows = [_layer(net, node, [shapes[name] for name in node.inputs], shapes[node.outputs[0]], input_shape) for node in net.nodes]
    return LayerTable(shapes[source][1:], tuple(rows))


def _layer(net: Graph, node: Node, shapes: list[Shape], made: Shape, input_shape: Sequence[int] | None) -> Layer:
    op = node.op
    sizes = {name: math.prod(p.shape) for name, p in op.parameters(*shapes).items()} if node.owner == node.name else {}
    trained = sum(size for name, size in sizes.items() if op.trains(name))
    activations, macs = math.prod(made[1:]), op.macs(*shapes)
    window = _window(op, shapes)
    full = math.prod(shapes[0][1:]) * activations if window else 0
    try:
        found = receptive_field(net, node.name, input_shape=input_shape)
        field = (found.size[0], found.stride[0], found.padding[0])
    except (ShapeError, ArgumentError):  # no spatial axes, or no way to the input
        field = None
    return Layer(
        node.name, type(op).__name__, made[1:], trained, sum(sizes.values()) - trained, macs if window else 0, full, window * activations,
        macs, activations, activations * net.dtype.itemsize, field,
    )  # fmt: skip


def _window(op: Operator, shapes: list[Shape]) -> int:
    """How many inputs each output of a layer with weights meets; 0 for a layer without."""
    if isinstance(op, Conv):
        return math.prod(op.parameters(*shapes)["weight"].shape[-(len(shapes[0]) - 1) :])
    if isinstance(op, Dense):
        return shapes[0][1]
    if isinstance(op, ConvTranspose):
        return op.macs(*shapes) // max(math.prod(op.shape(*shapes)[1:]), 1)
    return 0
