"""Networks to ONNX files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from juanji.atomic import atomic_write
from juanji.errors import ArgumentError, NotBuiltError, ShapeError
from juanji.extras import optional
from juanji.nn.formats.onnx_files import LARGEST
from juanji.nn.formats.onnx_forms import FORMS
from juanji.nn.formats.onnx_writing import IR_VERSION, OPSET, Place, Writing
from juanji.nn.graph import Graph
from juanji.nn.nodes import Node
from juanji.nn.operator import Shape


def to_onnx(net: Graph, path: str | os.PathLike[str], *shapes: Sequence[int]) -> None:
    """Write a network as an ONNX file (operator set 21), for inputs of these shapes (without the batch; the network's own unless said).

    The batch may vary, other lengths are fixed. Inputs are floats: preprocessing is not part of the file. Nodes are called like layers,
    arrays like parameters, "conv1.weight"; what an operator does that ONNX has no name for is several nodes: a boundary is a Pad or a
    Gather before a convolution, an activation of a convolution is a node of its own. The file appears whole or not at all.

    Raises NotBuiltError for an operator that ONNX cannot express, by the layer's name (tiled and local weights, a weighted pooling with
    ceil_mode …), FileError for a place that cannot be written, ExtraError where the package onnx is missing.
    """
    onnx = optional("onnx", "onnx")
    if not isinstance(net, Graph):
        raise ArgumentError(f"net is of type {type(net).__name__}, but must be a Graph; of a ShapedGraph write net.at(inputs)")
    model = _model(onnx, net, net.shapes(*shapes), _varying(net, shapes)).SerializeToString()
    if len(model) > LARGEST:
        raise ArgumentError(f"the network takes {len(model)} bytes; an ONNX file holds {LARGEST}")
    with atomic_write(path) as file:
        file.write(model)


def _varying(net: Graph, shapes: tuple[Sequence[int], ...]) -> dict[str, Shape]:
    """The shapes for a batch of two, empty where the network takes one only."""
    try:
        return net.shapes(*shapes, batch=2)
    except ShapeError:
        return {}


def _model(onnx: Any, net: Graph, shapes: dict[str, Shape], two: dict[str, Shape]) -> Any:
    if not net.built:
        net.build(*(shapes[name][1:] for name in net.inputs))
    writing = Writing(onnx, net, shapes)
    for node in net.nodes:
        _write(writing, node)
    _name_outputs(writing)
    helper, dtype = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(net.dtype)

    def value(name: str, source: str) -> Any:
        return helper.make_tensor_value_info(name, dtype, _dims(shapes[source], two.get(source)))

    graph = helper.make_graph(
        writing.nodes,
        "juanji",
        [value(name, name) for name in net.inputs],
        [value(name, source) for name, source in net.outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in writing.arrays.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, producer_name="juanji", opset_imports=[opset], ir_version=IR_VERSION)


def _dims(one: Shape, two: Shape | None) -> list[int | str | None]:
    """Lengths that change with the batch are "N" where they are the batch, and open elsewhere."""
    if two is None or len(two) != len(one):
        return list(one)
    return [a if a == b else "N" if (a, b) == (1, 2) else None for a, b in zip(one, two, strict=True)]


def _write(writing: Writing, node: Node) -> None:
    form = FORMS.get(type(node.op))
    if form is None:
        raise NotBuiltError(f"layer {node.name}: {node.op} cannot be written as ONNX")
    first, taken = len(writing.nodes), {*writing.names.values()}
    made = form(Place(writing, node))
    renamed = {}
    for old, new in zip(made, node.outputs, strict=False):
        writing.names[new] = old if old in taken else new  # what does nothing gives its input
        renamed[old] = writing.names[new]
    for written in writing.nodes[first:]:
        written.input[:] = [renamed.get(name, name) for name in written.input]
        written.output[:] = [renamed.get(name, name) for name in written.output]


def _name_outputs(writing: Writing) -> None:
    """The network's outputs under their own names."""
    taken = {*writing.names.values()}
    for name, source in writing.net.outputs.items():
        written = writing.names[source]
        if written == name:
            continue
        if name in taken:
            raise ArgumentError(f"output {name} has the name of another value of the network")
        writing.nodes.append(writing.onnx.helper.make_node("Identity", [written], [name], f"{name}/identity"))
