"""What a unit of a network sees: its region of the input, through every way that leads to it, and how strongly it depends on each element.

Each operator tells which region of its inputs a region of its output reads (`Operator.sees`). Followed backwards from one unit, and
joined where ways meet, that is the unit's receptive field; comparing neighbouring units gives its size, its stride (how far the field
moves from one unit to the next) and its padding (how far the first unit's field begins before the input). These are the terms of
Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError
from juanji.nn.graph import Graph
from juanji.nn.operator import Box, Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer's units on an input; prints itself.

    size, stride, padding: per spatial axis, None where they differ from unit to unit (as after upsampling). unit: the one that `region`
    is of, first and last element per axis, which may lie in the padding; inside: the part that lies in the input.
    """

    layer: str
    input: str
    unit: tuple[int, ...]
    shape: tuple[int, ...]
    size: tuple[int | None, ...]
    stride: tuple[int | None, ...]
    padding: tuple[int | None, ...]
    region: Box
    inside: Box

    @property
    def centre(self) -> tuple[float, ...]:
        """The middle of the unit's region, in elements of the input."""
        return tuple((first + last) / 2 for first, last in self.region)

    def __str__(self) -> str:
        size, stride, padding = map(_by, (self.size, self.stride, self.padding))
        spans = " × ".join(f"{first} … {last}" for first, last in self.region)
        cut = "" if self.inside == self.region else f", of which {' × '.join(f'{a} … {b}' for a, b in self.inside)} is inside"
        return (
            f"{self.layer}: receptive field {size}, stride {stride}, padding {padding} on {self.input}\n"
            f"unit {self.unit} sees {spans}{cut}, around {self.centre}"
        )


def _by(values: tuple[int | None, ...]) -> str:
    return " × ".join("varies" if value is None else str(value) for value in values)


def receptive_field(
    net: Graph, layer: str, unit: Sequence[int] | None = None, *, input_shape: Sequence[int] | None = None, of: str | None = None
) -> ReceptiveField:
    """The receptive field of a layer, and of one unit in it (the middle one unless said), by its spatial place.

    input_shape: (C, *S) of the input without the batch, if the network does not know it. of: which input, if there are several.

    Raises ArgumentError for layers that there are not and units outside the map, ShapeError for layers without spatial axes.

    >>> from juanji import nn
    >>> print(receptive_field(nn.Sequential(nn.Conv(8, 3), nn.Conv(8, 3), shape=(3, 9, 9)), "conv2"))
    conv2: receptive field 5 × 5, stride 1 × 1, padding 0 × 0 on input
    unit (2, 2) sees 2 … 6 × 2 … 6, around (4.0, 4.0)
    """
    shapes = net.shapes(*_given(input_shape))
    source = next(iter(net.inputs)) if of is None else of
    if source not in net.inputs:
        raise ArgumentError(f"of (={of!r}) must be one of {', '.join(net.inputs)}")
    value = net.node(layer).outputs[0]
    size = shapes[value][2:]
    if not size:
        raise ShapeError(f"{layer} gives {shapes[value]}, without spatial axes; its units see the whole input")
    if unit is None:
        unit = tuple(length // 2 for length in size)
    if len(unit) != len(size) or any(not 0 <= place < length for place, length in zip(unit, size, strict=True)):
        raise ArgumentError(f"unit (={tuple(unit)}) must be a place in the {'×'.join(map(str, size))} map of {layer}")
    place = tuple(int(p) for p in unit)
    region = _region(net, value, tuple((p, p) for p in place), shapes, source)
    first, second = (
        _region(net, value, tuple((min(p + step, length - 1),) * 2 for p, length in zip(start, size, strict=True)), shapes, source)
        for start, step in (((0,) * len(size), 0), ((0,) * len(size), 1))
    )
    last = _region(net, value, tuple((length - 1, length - 1) for length in size), shapes, source)
    extents, strides, paddings = [], [], []
    for axis, length in enumerate(size):
        regular = all(_length(box[axis]) == _length(first[axis]) for box in (second, region, last))
        step = second[axis][0] - first[axis][0] if length > 1 else 1
        regular = regular and all(box[axis][0] == first[axis][0] + at * step for box, at in ((region, place[axis]), (last, length - 1)))
        extents.append(_length(first[axis]) if regular else None)
        strides.append(step if regular else None)
        paddings.append(-first[axis][0] if regular else None)
    whole = shapes[source][2:]
    inside = tuple((max(a, 0), min(b, length - 1)) for (a, b), length in zip(region, whole, strict=True))
    return ReceptiveField(layer, source, place, whole, tuple(extents), tuple(strides), tuple(paddings), region, inside)


def _length(side: tuple[int, int]) -> int:
    return side[1] - side[0] + 1


def _region(net: Graph, value: str, box: Box, shapes: Mapping[str, Shape], source: str) -> Box:
    """The region of an input that a region of a value depends on: the smallest box around what all ways see."""
    boxes: dict[str, Box] = {value: box}
    for node in reversed(net.nodes):
        made = [boxes.pop(name) for name in node.outputs if name in boxes and name not in net.inputs]
        if not made:
            continue
        seen = node.op.sees(_around(made), *(shapes[name] for name in node.inputs))
        for name, part in zip(node.inputs, seen, strict=True):
            if all(a <= b for a, b in part) and (part or len(shapes[name]) == 2):
                boxes[name] = _around([boxes[name], part]) if name in boxes else part
    if source not in boxes:
        raise ArgumentError(f"the layer does not depend on {source}")
    return boxes[source]


def _around(boxes: Sequence[Box]) -> Box:
    return tuple((min(a for a, _ in sides), max(b for _, b in sides)) for sides in zip(*boxes, strict=True))


def effective_field(
    net: Graph, layer: str, unit: Sequence[int] | None = None, x: npt.ArrayLike | None = None, *, input_shape: Sequence[int] | None = None,
    samples: int = 8, seed: int = 0,
) -> Array:  # fmt: skip
    """How strongly a unit depends on each element of the input: mean |∂unit/∂x| over samples and channels, largest 1; shape *S.

    The unit is summed over its layer's channels. x: inputs (N, C, *S) to differentiate at; normal noise unless given. It is the
    effective receptive field of Luo et al. (2016): zero outside the receptive field, and mostly much smaller.

    Raises what `receptive_field` raises.
    """
    field = receptive_field(net, layer, unit, input_shape=input_shape)
    if x is None:
        x = np.random.default_rng(seed).normal(size=(samples, *net.shapes(*_given(input_shape))[field.input][1:]))
    inputs = np.asarray(x)
    tape = net.record(inputs.astype(net.dtype))
    value = net.node(layer).outputs[0]
    dy = np.zeros_like(tape.values[value])
    index: tuple[Any, ...] = (slice(None), slice(None), *field.unit)
    dy[index] = 1
    gradient = tape.backward({value: dy}, [field.input], parameters=False).values[field.input]
    strength: Array = np.abs(gradient).mean(axis=(0, 1))
    return strength / (strength.max() or 1)


def _given(input_shape: Sequence[int] | None) -> list[Sequence[int]]:
    return [] if input_shape is None else [input_shape]
