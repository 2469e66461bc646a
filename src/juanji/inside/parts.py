"""The part of a network that leads to one layer: all that the walks of this package run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from juanji.errors import ArgumentError
from juanji.nn.activations import Sigmoid, Softmax
from juanji.nn.graph import Graph, InputShape
from juanji.nn.inference.fusing import folded
from juanji.nn.layers import Conv, ConvTranspose, Dense
from juanji.nn.nodes import Node
from juanji.nn.operator import Operator


def until(net: Graph, layer: str, *, light: bool = False) -> Graph:
    """The nodes that a layer or another value depends on, as a network whose output is that value.

    It shares the arrays of the network. Its weights do not train, so that a way back to the input computes no gradients of weights, and
    pictures may have any size. light: batch norms are folded into the convolutions before them, and their values are gone.

    Raises ArgumentError for a layer that there is not, listing those that there are.

    >>> from juanji import nn
    >>> part = until(nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Conv(8, 3), shape=(3, 9, 9)), "relu1")
    >>> [node.name for node in part.nodes], part.inputs
    (['conv1', 'relu1'], {'input': (3, None, None)})
    """
    made = {name for node in net.nodes for name in node.outputs}
    value = layer if layer in made else net.node(layer).outputs[0]
    wanted, kept = {value}, []
    for node in reversed(net.nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    nodes, owners = kept[::-1], {node.owner for node in kept}
    arrays = {key: array for key, array in net.arrays.items() if key.rpartition(".")[0] in owners}
    if light:
        stages = folded(nodes, net.arrays_of, [value])
        nodes = [Node(stage.name, stage.op, stage.inputs, stage.outputs, stage.name) for stage in stages]
        arrays = {f"{stage.name}.{name}": array for stage in stages for name, array in stage.arrays.items()}
    inputs = {name: _any_size(shape) for name, shape in net.inputs.items() if name in wanted}
    part = Graph.of_nodes(inputs, map(_frozen, nodes), {"output": value}, preprocessing=net.preprocessing, classes=net.classes)
    part.dtype = net.dtype
    part.set_arrays(arrays)
    return part


def value_of(part: Graph) -> str:
    """The value that a part gives."""
    return part.outputs["output"]


def scores(net: Graph, *, light: bool = False) -> Graph:
    """The part of a network that gives the numbers from which its last softmax or sigmoid makes probabilities."""
    if len(net.outputs) != 1:
        raise ArgumentError(f"the network has {len(net.outputs)} outputs ({', '.join(net.outputs)}); take the part until one of them")
    (value,) = net.outputs.values()
    last = next(node for node in net.nodes if value in node.outputs)
    return until(net, last.inputs[0] if isinstance(last.op, Softmax | Sigmoid) else value, light=light)


def _frozen(node: Node) -> Node:
    op: Operator = node.op
    if isinstance(op, Conv | ConvTranspose | Dense) and op.trained:
        unfrozen: Any = op
        op = replace(unfrozen, trained=False)
    return node._replace(op=op)


def _any_size(shape: InputShape) -> InputShape:
    return shape if shape is None else (*shape[:1], *(None for _ in shape[1:]))
