"""Tiled weights as shared ones: a contraction that gathers, cut into those of the positions that see the same weights."""

# Output position p uses the weights of site p mod T (contraction.py). The positions p = u + T·q of one u are therefore a convolution with
# shared weights, of site u: its stride is T times as long, it begins u strides later, and it stores every T-th output.
#
# A phase of the gradient of the input (phases.py) is a forward contraction over dy, in which place a meets tap j at position
#
#     p = e + a − f·j
#
# of dy, with the weights of site p mod T. Of the places a = u + T·b the tap alone decides which site that is, (e + u − f·j) mod T. They too
# are a convolution with shared weights, each of whose taps comes from the site that it belongs to.

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.contraction import Contraction, Dimension, Operand

Array = npt.NDArray[Any]


class Turn(NamedTuple):
    """The contraction of the positions of one turn, and the first of them along each spatial axis."""

    contraction: Contraction
    first: tuple[int, ...]


def turns(contraction: Contraction, sites: Sequence[int]) -> Iterator[Turn]:
    """A contraction with shared weights in the turns of its sites: every T-th position from u on, for each u below T.

    >>> from juanji.contraction import lower
    >>> from juanji.describe import describe
    >>> for c, first in turns(lower(describe((1, 1, 9), (1, 1, 3), stride=2)), (3,)):
    ...     first, c.extent("q0"), c.x.stride("q0"), c.x.offset, c.y.stride("q0"), c.y.offset
    ((0,), 2, 6, 0, 3, 0)
    ((1,), 1, 6, 2, 3, 1)
    ((2,), 1, 6, 4, 3, 2)
    """
    extents = dict(contraction.axes)
    for first in itertools.product(*(range(min(t, extents[f"q{i}"])) for i, t in enumerate(sites))):
        own = extents | {f"q{i}": len(range(u, extents[f"q{i}"], t)) for i, (u, t) in enumerate(zip(first, sites, strict=True))}
        steps = {f"q{i}": (u, t) for i, (u, t) in enumerate(zip(first, sites, strict=True))}
        x, y = (Operand(tuple(_every(d, steps, own) for d in operand.dimensions)) for operand in (contraction.x, contraction.y))
        yield Turn(replace(contraction, axes=tuple(own.items()), x=x, y=y), first)


def _every(d: Dimension, steps: dict[str, tuple[int, int]], extents: dict[str, int]) -> Dimension:
    """The dimension where axes begin later and go in longer steps."""
    offset = d.offset + sum(a * steps[axis][0] for axis, a in d.terms if axis in steps)
    terms = tuple((axis, a * steps[axis][1] if axis in steps else a) for axis, a in d.terms)
    return replace(Dimension.over(d.size, (offset, terms), extents), boundary=d.boundary)


def of_phase(contraction: Contraction) -> Contraction:
    """A turn of a phase over weights that hold its own taps alone, in its own order, in front: those that `mixed` picks."""
    extents = dict(contraction.axes)
    taps = [f"k{i}" for i in range(contraction.n)]
    along = [contraction.w.along(tap) for tap in taps]
    own = [Dimension.over(extents[tap], (0, ((tap, 1),)), extents) for tap in taps]
    return replace(contraction, w=Operand((*own, *(d for d in contraction.w.dimensions if d not in along))))


def mixed(w: Array, contraction: Contraction, sites: Sequence[int]) -> Array:
    """The weights of `of_phase`: each tap of a turn as it is at the site that it belongs to. w: with sites in front."""
    n = contraction.n
    site: list[Any] = []
    place: list[Any] = [slice(None)] * (w.ndim - n)
    for i, t in enumerate(sites):
        taps = np.arange(contraction.extent(f"k{i}")).reshape([-1 if axis == i else 1 for axis in range(n)])
        position, along = contraction.x.along(f"q{i}"), contraction.w.along(f"k{i}")
        site.append((position.offset + position.coefficient(f"k{i}") * taps) % t)
        place[contraction.w.dimensions.index(along)] = along.offset + along.coefficient(f"k{i}") * taps
    chosen: Array = w[(*site, *place)]
    return chosen
