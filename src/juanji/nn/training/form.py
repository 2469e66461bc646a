"""A network rearranged so that training does less work; it computes the same numbers on the same parameters.

1. max and relu commute: max(relu(a), relu(b)) = relu(max(a, b)). A relu whose only reader is a max pooling moves behind it, where there
   are fewer values, forward and on the way back. The gradient stays too: where the maximum is above 0 it goes to the same place, and
   elsewhere relu lets nothing through.
2. A relu that is the only reader of a convolution or of a batch normalisation is applied by that as it stores its result.

Names of parameters stay, and so do the names of values that are still computed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from juanji.nn.activations import ReLU
from juanji.nn.graph import Graph
from juanji.nn.layers import Conv
from juanji.nn.nodes import Node
from juanji.nn.norms import BatchNorm, rectified
from juanji.nn.operator import Operator
from juanji.nn.pools import MaxPool


def training_form(net: Graph) -> Graph:
    """The same network for training; its arrays are those of `net` themselves, so that a step taken on one is taken on both."""
    kept = set(net.outputs.values())
    nodes = _relu_with_its_maker(_relu_behind_pool(net.nodes, kept), kept)
    form = Graph.of_nodes(net.inputs, nodes, net.outputs, preprocessing=net.preprocessing, classes=net.classes)
    form.seed, form.dtype = net.seed, net.dtype
    form.set_arrays(net.parameters | net.buffers)  # contiguous and of its type, so not copied
    return form


def _relu_behind_pool(nodes: tuple[Node, ...], kept: set[str]) -> tuple[Node, ...]:
    """Every relu → max pooling as max pooling → relu."""
    readers = _readers(nodes, kept)
    relus = {node.outputs[0]: node for node in nodes if isinstance(node.op, ReLU)}
    moved = {
        node.name: relus[node.inputs[0]]
        for node in nodes
        if isinstance(node.op, MaxPool) and not node.op.places and node.inputs[0] in relus and readers[node.inputs[0]] == 1
    }  # by the pooling's name
    gone = {relu.name for relu in moved.values()}
    found = []
    for node in nodes:
        if node.name in moved:
            relu = moved[node.name]
            between = f"{node.outputs[0]}|{relu.name}"  # no name of a layer holds this sign
            found.append(node._replace(inputs=relu.inputs, outputs=(between,)))
            found.append(relu._replace(inputs=(between,), outputs=node.outputs))
        elif node.name not in gone:
            found.append(node)
    return tuple(found)


def _relu_with_its_maker(nodes: tuple[Node, ...], kept: set[str]) -> tuple[Node, ...]:
    """Every convolution → relu and batch normalisation → relu as one node."""
    readers = _readers(nodes, kept)
    makers = {node.outputs[0]: op for node in nodes if readers[node.outputs[0]] == 1 and (op := _with_relu(node.op)) is not None}
    relus = {node.inputs[0]: node for node in nodes if isinstance(node.op, ReLU) and node.inputs[0] in makers}
    gone = {relu.name for relu in relus.values()}
    found = []
    for node in nodes:
        value = node.outputs[0]
        if value in relus:
            found.append(node._replace(op=makers[value], outputs=relus[value].outputs))
        elif node.name not in gone:
            found.append(node)
    return tuple(found)


def _with_relu(op: Operator) -> Operator | None:
    """The operator that applies a relu to its result, if there is one."""
    if isinstance(op, Conv) and op.activation is None:
        return replace(op, activation="relu")
    return rectified(op) if isinstance(op, BatchNorm) else None


def _readers(nodes: tuple[Node, ...], kept: set[str]) -> Counter[str]:
    """How often each value is read; an output of the network once more."""
    return Counter([name for node in nodes for name in node.inputs] + list(kept))
