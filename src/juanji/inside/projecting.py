"""`deconvnet`: single activations of a layer sent back to the pixels, beside the part of the picture that caused them.

The way back is that of Zeiler & Fergus (2014): maxima return to the places they came from, rectifiers rectify once more, convolutions
act by their transpose. It starts with one activation, all others of its layer being zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.explain.receptive import receptive_field
from juanji.inside.inputs import as_input, channels_last
from juanji.inside.parts import until, value_of
from juanji.inside.rules import DECONVNET, GUIDED
from juanji.nn.graph import Graph
from juanji.nn.operator import Box, Operator
from juanji.nn.tape import Rule, Tape

Array = npt.NDArray[Any]
Unit = tuple[int, ...]  # feature, then its place in the map


@dataclass(frozen=True, eq=False)
class Projection:
    """An activation sent back. pixels (H, W, C): what it becomes there. sample: which of the inputs it belongs to.

    region: first and last row and column of the input that the unit sees.
    """

    layer: str
    unit: Unit
    sample: int
    activation: float
    pixels: Array
    region: Box

    def cut(self, picture: Array | None = None) -> Array:
        """The region of the projection, or of any other (H, W, …) array."""
        (top, bottom), (left, right) = self.region
        return (self.pixels if picture is None else picture)[top : bottom + 1, left : right + 1]


def deconvnet(
    net: Graph, x: npt.ArrayLike, layer: str, *, strongest: int = 9, feature: int | None = None, units: Sequence[Unit] | None = None,
    guided: bool = False,
) -> tuple[Projection, ...]:  # fmt: skip
    """The strongest activations of a layer, projected back to pixels.

    x: a picture, or several, (N, C, H, W). By itself, the features with the strongest activations, each by its strongest unit. feature:
    that one's strongest unit in each picture, by falling activation. units: these, (feature, row, column), in the first picture.
    guided: let pass only what met a positive value on the way forward as well. Where strides take the place of pooling nothing else
    remembers the picture, and without it deep layers come back as a grid.

    Raises ArgumentError for layers that there are not and units outside the map, ShapeError for a picture too small for the network.

    >>> from juanji import nn
    >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.MaxPool(2), shape=(1, 8, 8), seed=1)
    >>> found = deconvnet(net, np.eye(8)[None, None], "pool1", strongest=2)
    >>> found[0].pixels.shape, found[0].cut().shape, found[0].activation >= found[1].activation
    ((8, 8, 1), (4, 4, 1), True)
    """
    if strongest < 1:
        raise ArgumentError(f"strongest (={strongest}) must be at least 1")
    part = until(net, layer, light=True)
    inputs = as_input(net, x)
    y = part.features(inputs, [value_of(part)])[value_of(part)]
    chosen = [(0, _checked(unit, y, layer)) for unit in units] if units is not None else _strongest(y, strongest, feature, layer)
    whole, found = until(net, layer), []
    tapes: dict[int, Tape] = {}
    for sample, unit in chosen:
        if sample not in tapes:
            tapes = {sample: part.record(inputs[sample : sample + 1])}
        pixels = _sent_back(part, tapes[sample], unit, GUIDED if guided else DECONVNET)
        found.append(Projection(layer, unit, sample, float(y[(sample, *unit)]), channels_last(pixels), _region(whole, unit, inputs)))
    return tuple(found)


def _sent_back(part: Graph, tape: Tape, unit: Unit, rules: Mapping[type[Operator], Rule]) -> Array:
    value, source = value_of(part), next(iter(part.inputs))
    dy = np.zeros_like(tape.values[value])
    dy[(0, *unit)] = tape.values[value][(0, *unit)]
    pixels: Array = tape.backward({value: dy}, [source], parameters=False, rules=rules).values[source][0]
    return pixels


def _region(part: Graph, unit: Unit, inputs: Array) -> Box:
    if len(unit) == 1:
        return tuple((0, length - 1) for length in inputs.shape[2:])
    return receptive_field(part, part.nodes[-1].name, unit[1:], input_shape=inputs.shape[1:]).inside


def _strongest(y: Array, count: int, feature: int | None, layer: str) -> list[tuple[int, Unit]]:
    """The units of largest activation: of every feature the best in all pictures, or of one feature the best in each."""
    if feature is not None and not 0 <= feature < y.shape[1]:
        raise ArgumentError(f"feature (={feature}) is none of {layer}, which has {y.shape[1]}, from 0")
    flat = y.reshape(len(y), y.shape[1], -1)
    if feature is not None:
        best = flat[:, feature].argmax(axis=1)
        rows = [(flat[sample, feature, at], sample, feature, at) for sample, at in enumerate(best)]
    else:
        best = np.swapaxes(flat, 0, 1).reshape(y.shape[1], -1).argmax(axis=1)
        rows = [(flat[at // flat.shape[2], f, at % flat.shape[2]], at // flat.shape[2], f, at % flat.shape[2]) for f, at in enumerate(best)]
    rows.sort(key=lambda row: -row[0])
    return [(int(sample), (int(f), *map(int, np.unravel_index(at, y.shape[2:])))) for _, sample, f, at in rows[:count]]


def _checked(unit: Unit, y: Array, layer: str) -> Unit:
    if len(unit) != y.ndim - 1 or any(not 0 <= place < length for place, length in zip(unit, y.shape[1:], strict=True)):
        raise ArgumentError(f"unit (={tuple(unit)}) must be a feature and its place in the {'×'.join(map(str, y.shape[1:]))} of {layer}")
    return tuple(int(place) for place in unit)


__all__ = ["Projection", "deconvnet"]
