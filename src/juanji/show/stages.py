"""Which layers of a network are worth a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.nn.activations import GELU, Activated, HardSigmoid, SiLU
from juanji.nn.graph import Graph
from juanji.nn.joins import Add, Concatenate
from juanji.nn.layers import Conv, ConvTranspose
from juanji.nn.norms import BatchNorm, Dropout
from juanji.nn.operator import Operator, Shape
from juanji.nn.operators.arithmetic import ELU, PReLU

Array = npt.NDArray[Any]

LEAST_FEATURES = 4
SUMS: tuple[type[Operator], ...] = (Conv, ConvTranspose, BatchNorm, Add, Concatenate)  # what gives numbers of both signs
ACTIVATIONS: tuple[type[Operator], ...] = (Activated, ELU, PReLU, GELU, SiLU, HardSigmoid)


def with_maps(net: Graph, input_shape: Sequence[int], *, activated: bool = False) -> dict[str, Shape]:
    """The layers that give maps, with their shapes (C, h, w); what only a batch norm or a dropout reads is left out.

    activated: leaves out, too, what only an activation reads.
    """
    shapes = net.shapes(input_shape)
    followers: tuple[type[Operator], ...] = (BatchNorm, Dropout, *ACTIVATIONS) if activated else (BatchNorm, Dropout)
    readers = Counter(name for node in net.nodes for name in node.inputs)
    passing = {node.inputs[0] for node in net.nodes if isinstance(node.op, followers) and readers[node.inputs[0]] == 1}
    found: dict[str, Shape] = {}
    for node in net.nodes:
        shape = shapes[node.outputs[0]]
        if len(shape) == 4 and shape[2] * shape[3] > 1 and node.outputs[0] not in passing:
            found[node.name] = shape[1:]
    return found


def ends(net: Graph, input_shape: Sequence[int]) -> dict[str, Shape]:
    """The last layer of every size of map, on the way down from the picture: where a network's stages end.

    It is the one before the activation, whose values are not yet cut off, and no pooling.
    """
    found: dict[tuple[int, ...], tuple[str, Shape]] = {}
    least = float("inf")
    for name, shape in with_maps(net, input_shape).items():
        area = shape[1] * shape[2]
        if shape[0] >= LEAST_FEATURES and area <= least and isinstance(net.node(name).op, SUMS):
            least = area
            found[shape[1:]] = (name, shape)
    return dict(found.values())


def first_kernels(net: Graph) -> tuple[str, Array]:
    """The name and the weights of the first convolution of more than one tap. Raises ArgumentError where there is none."""
    for node in net.nodes:
        if isinstance(node.op, Conv) and node.op.sharing == "shared":
            weight = net.arrays_of(node)["weight"]
            if weight.ndim == 4 and weight.shape[2] * weight.shape[3] > 1:
                return node.name, weight
    raise ArgumentError("the network has no convolution over pictures")


def kernels_of(net: Graph, layer: str) -> Array:
    """The weights of a layer of shared kernels over pictures, (O, C, h, w). Raises ArgumentError for layers without."""
    weight = net.arrays_of(net.node(layer)).get("weight")
    if weight is None or weight.ndim != 4:
        names = [node.name for node in net.nodes if getattr(net.arrays_of(node).get("weight"), "ndim", 0) == 4]
        raise ArgumentError(f"layer (={layer!r}) has no kernels to show; those that have are {', '.join(names) or 'none'}")
    return weight
