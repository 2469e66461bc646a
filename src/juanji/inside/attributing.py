"""What in a picture a network's answer rests on: four views, each an array over the picture.

    saliency      ∂ score / ∂ pixel                                       Simonyan, Vedaldi & Zisserman (2014)
    guided        the same, through rectifiers only where the gradient is positive too        Springenberg et al. (2015)
    grad_cam      max(Σ α·A, 0) over the maps A of a layer, α the mean of ∂ score / ∂A      Selvaraju et al. (2017)
    occlusion     how much the score falls where a patch hides the picture                  Zeiler & Fergus (2014)

The score is that of one class before softmax or sigmoid; of networks that give maps, its mean over the map.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.pictures import resized
from juanji.errors import ArgumentError
from juanji.inside.inputs import channels_last, one_input, target_of
from juanji.inside.parts import scores, value_of
from juanji.inside.rules import GUIDED
from juanji.nn.graph import Graph
from juanji.nn.operator import Operator
from juanji.nn.tape import Rule, Tape

Array = npt.NDArray[Any]

BATCH = 16  # hidden pictures that run together


def saliency(net: Graph, x: npt.ArrayLike, target: int | str | None = None) -> Array:
    """The gradient of a class's score in every element of the picture as the network takes it, (H, W, C).

    target: the number or the name of a class; the one that scores best unless given.

    Raises ArgumentError for a class that there is not, ShapeError for x that is not one picture.

    >>> from juanji import nn
    >>> net = nn.Sequential(nn.Conv(2, 3), nn.GlobalPool(), shape=(1, 6, 6))
    >>> saliency(net, np.ones((6, 6)), 1).shape
    (6, 6, 1)
    """
    return _to_pixels(net, x, target, None)


def guided(net: Graph, x: npt.ArrayLike, target: int | str | None = None) -> Array:
    """Guided back-propagation: `saliency` that lets only what speaks for the class through rectifiers, (H, W, C)."""
    return _to_pixels(net, x, target, GUIDED)


def _to_pixels(net: Graph, x: npt.ArrayLike, target: int | str | None, rules: Mapping[type[Operator], Rule] | None) -> Array:
    part, inputs = scores(net, light=True), one_input(net, x)
    tape = part.record(inputs)
    (source,) = part.inputs
    gradients = tape.backward({value_of(part): _of_target(part, tape, target)}, [source], parameters=False, rules=rules)
    return channels_last(gradients.values[source][0])


def _of_target(part: Graph, tape: Tape, target: int | str | None) -> Array:
    """The gradient of the score in what the part gives: 1 for the class, spread over its map."""
    y = tape.values[value_of(part)]
    dy = np.zeros_like(y)
    dy[:, target_of(part, y, target)] = 1 / max(np.prod(y.shape[2:], dtype=int), 1)
    return dy


def grad_cam(net: Graph, x: npt.ArrayLike, target: int | str | None = None, *, layer: str | None = None, enlarged: bool = True) -> Array:
    """Where a layer's maps speak for a class: max(Σₖ αₖ·Aₖ, 0), αₖ the mean of ∂ score / ∂Aₖ over the map.

    layer: the last one that gives maps unless said. enlarged: to the size of the picture, (H, W), between places by straight lines;
    without, as large as the maps.

    Raises ArgumentError for a layer that there is not or that gives no maps, and what `saliency` raises.
    """
    part, inputs = scores(net), one_input(net, x)
    tape = part.record(inputs)
    value = _last_maps(part, tape) if layer is None else part.node(layer).outputs[0]
    maps = tape.values[value]
    if maps.ndim != 4:
        raise ArgumentError(f"layer (={layer!r}) gives {maps.shape[1:]}, but must give maps")
    slopes = tape.backward({value_of(part): _of_target(part, tape, target)}, [value], parameters=False).values[value]
    weights = slopes[0].mean(axis=(1, 2))
    found: Array = np.maximum(np.tensordot(weights, maps[0], 1), 0)
    return resized(found[None], inputs.shape[2:])[0] if enlarged else found


def _last_maps(part: Graph, tape: Tape) -> str:
    """The last value with spatial axes of more than one element, before those that the scores are read from."""
    for node in reversed(part.nodes):
        value = node.outputs[0]
        shape = tape.values[value].shape
        if value != value_of(part) and len(shape) == 4 and shape[2] * shape[3] > 1:
            return value
    raise ArgumentError("the network has no layer that gives maps")


def occlusion(
    net: Graph, x: npt.ArrayLike, target: int | str | None = None, *, size: int = 32, stride: int = 16, fill: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Array:  # fmt: skip
    """How much a class's score falls where a patch hides the picture: for every pixel the mean over the patches that cover it, (H, W).

    size, stride: of the patch in pixels, stride ≤ size so that no pixel is left out; it also stops at the far edges. fill: what it is
    filled with, in the network's units; the mean of each channel of the picture unless given.

    Raises ArgumentError for a patch larger than the picture, and what `saliency` raises.
    """
    part, inputs = scores(net), one_input(net, x)
    high, wide = inputs.shape[2:]
    if not 1 <= stride <= size <= min(high, wide):
        raise ArgumentError(f"size (={size}) and stride (={stride}) must be 1 ≤ stride ≤ size ≤ {min(high, wide)}, the picture's side")
    compiled = part.compile(inputs.shape[1:])
    cover = inputs[0].mean(axis=(1, 2)) if fill is None else np.full(inputs.shape[1], fill)
    places = list(itertools.product(*(_stops(length, size, stride) for length in (high, wide))))
    batch = min(BATCH, len(places))
    hidden = np.repeat(inputs, batch, axis=0)
    y = compiled(hidden)
    chosen = target_of(part, y, target)
    whole = y[0, chosen].mean()
    fallen, covered = np.zeros((high, wide)), np.zeros((high, wide))
    for first in range(0, len(places), batch):
        group = places[first : first + batch]
        hidden[:] = inputs
        for row, (top, left) in zip(hidden, group, strict=False):  # the last batch is as large as the others: one program serves all
            row[:, top : top + size, left : left + size] = cover[:, None, None]
        remaining = compiled(hidden)[:, chosen].reshape(batch, -1).mean(axis=1)
        for (top, left), score in zip(group, remaining, strict=False):
            fallen[top : top + size, left : left + size] += whole - score
            covered[top : top + size, left : left + size] += 1
        if progress is not None:
            progress(first + len(group), len(places))
    return fallen / covered


def _stops(length: int, size: int, stride: int) -> list[int]:
    return sorted({*range(0, length - size + 1, stride), length - size})


__all__ = ["grad_cam", "guided", "occlusion", "saliency"]
