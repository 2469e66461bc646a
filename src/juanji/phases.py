"""The gradient of the input as gathers: the adjoint of a contraction in x, cut into forward contractions."""

# With v = s·p + d·k the place in the padded input where output position p and tap k meet (s is the stride, d the dilation),
# dx[v − low] += ... scatters: one v is reached from several (p, k). Turned round, for a place v = base + s·a + φ only the taps
# with d·k ≡ base + φ (mod s) arrive: k = k0 + step·j with step = s / gcd(s, d), and these come from
#
#     p = (v − d·k) / s = a + e − f·j,    e = (base + φ − d·k0) / s,    f = d·step / s
#
# For each phase φ this is a forward contraction over dy: stride 1, zeros where p is outside 0 ≤ p < P, input channels and
# features exchanged, storing at φ + s·a. Its taps are numbered from the last, j = J − 1 − i, so that p rises with i: then the
# dilation is f, and the weights are read backwards (the kernel turned by 180°). A phase that no tap reaches is zero.
#
# Under a constant boundary the places are those of x itself (base = low, size of them). Under the other modes every padded
# place gets a gradient, which belongs to the element that stood there. Then the padded extent is cut into x's own places and
# strips: for each such axis in turn one below and one above, over the whole padded extent of later axes and x's own places of
# earlier ones. Only the strips are scratch; `fold_border` adds them to where the boundary's map had taken them from, axis by
# axis in storage order, each strip to what remains of later strips and of x.

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy.typing as npt

from juanji.boundary import ZERO, border_map
from juanji.contraction import Affine, Contraction, Dimension, Operand
from juanji.errors import ArgumentError

Array = npt.NDArray[Any]
Span = tuple[int, int]  # of padded places along an axis: the first, and one past the last


class Region(NamedTuple):
    """A box of padded places, one span per spatial axis, whose gradient is one array: x itself (axis −1), or a strip beside it."""

    spans: tuple[Span, ...]
    shape: tuple[int, ...]
    axis: int = -1


class Phase(NamedTuple):
    """A forward contraction whose x is dy and whose y is the array of a region, by number; None where no tap reaches: zeros.

    places: per spatial axis the first place of the region that is stored, and the step to the next.
    """

    region: int
    contraction: Contraction | None
    places: tuple[tuple[int, int], ...]


def regions(contraction: Contraction) -> tuple[Region, ...]:
    """The arrays that the gradient of the padded input is computed in.

    >>> from juanji.contraction import lower
    >>> from juanji.describe import describe
    >>> spec = describe((1, 1, 4, 5), (1, 1, 3, 3), padding=1, boundary=("edge", "zero"))
    >>> [region.shape for region in regions(lower(spec))]
    [(1, 1, 4, 5), (1, 1, 1, 5), (1, 1, 1, 5)]
    """
    axes = [contraction.x.along(f"q{i}") for i in range(contraction.n)]
    own = tuple((-d.offset, -d.offset + d.size) for d in axes)
    whole = tuple((0, d.size + sum(d.padding)) if _folds(d) else span for d, span in zip(axes, own, strict=True))
    found = [Region(own, contraction.x.shape)]
    for i, d in enumerate(axes):
        for strip in ((whole[i][0], own[i][0]), (own[i][1], whole[i][1])) if _folds(d) else ():
            if strip[0] < strip[1]:
                spans = (*own[:i], strip, *whole[i + 1 :])
                extent = {axis: last - first for axis, (first, last) in zip(axes, spans, strict=True)}
                found.append(Region(spans, tuple(extent.get(d, d.size) for d in contraction.x.dimensions), i))
    return tuple(found)


def phases(contraction: Contraction) -> tuple[Phase, ...]:
    """The gradient of the input, region by region; every place is stored once.

    >>> from juanji.contraction import lower
    >>> from juanji.describe import describe
    >>> for phase in phases(lower(describe((1, 1, 9), (1, 1, 3), stride=2)).producing("x")):
    ...     c = phase.contraction
    ...     phase.places, c.extent("k0"), c.x.stride("k0"), c.x.offset, c.w.stride("k0"), c.w.offset
    (((0, 2),), 2, 1, -1, -2, 2)
    (((1, 2),), 1, 1, 0, -2, 1)
    """
    if contraction.output != "x":
        raise ArgumentError(f"output (={contraction.output!r}) of a contraction that is split into phases must be 'x'")
    if any(contraction.extent(f"t{i}") > 1 for i in range(contraction.n)):
        raise ArgumentError("a contraction that is split into phases must have shared weights")
    return tuple(
        _phase(contraction, number, region, ways)
        for number, region in enumerate(regions(contraction))
        for ways in itertools.product(*(_ways(contraction, i, span) for i, span in enumerate(region.spans)))
    )


def fold_border(contraction: Contraction, arrays: Sequence[Array]) -> Array:
    """The gradient of the input: the first region's array, once the strips have been added to it in place.

    >>> import numpy as np
    >>> from juanji.contraction import lower
    >>> from juanji.describe import describe
    >>> spec = describe((1, 1, 3), (1, 1, 2), padding=((2, 0),), boundary="edge")
    >>> fold_border(lower(spec), [np.array([[[100, 2, 3]]]), np.array([[[1, 10]]])])
    array([[[111,   2,   3]]])
    """
    boxes = list(zip(regions(contraction), arrays, strict=True))
    dimension = [contraction.x.dimensions.index(contraction.x.along(f"q{i}")) for i in range(contraction.n)]
    for strip, addends in boxes[1:]:
        d = contraction.x.along(f"q{strip.axis}")
        table = border_map(d.size, *d.padding, (d.boundary or ZERO).mode)
        for place in range(*strip.spans[strip.axis]):
            goal = table[place if place < d.padding[0] else place - d.size]
            for box, array in boxes:
                if box.axis in (-1, *range(strip.axis + 1, contraction.n)):
                    into, out_of = [slice(None)] * array.ndim, [slice(None)] * array.ndim
                    for i, number in enumerate(dimension):
                        start = box.spans[i][0] - strip.spans[i][0]
                        out_of[number] = slice(start, start + array.shape[number])
                    into[dimension[strip.axis]] = slice(goal, goal + 1)
                    out_of[dimension[strip.axis]] = slice(place - strip.spans[strip.axis][0], place - strip.spans[strip.axis][0] + 1)
                    array[tuple(into)] += addends[tuple(out_of)]
    return arrays[0]


def _folds(d: Dimension) -> bool:
    return d.boundary is not None and not d.boundary.constant and d.padding != (0, 0)


class _Way(NamedTuple):
    """One phase along one axis: p, the tap and the place of the region in terms of the axes q and k, and the extents of both."""

    position: Affine
    tap: Affine
    place: tuple[int, int]
    q: int
    k: int


def _ways(contraction: Contraction, i: int, span: Span) -> Iterator[_Way]:
    q, k = f"q{i}", f"k{i}"
    x, taps, positions = contraction.x.along(q), contraction.extent(k), contraction.y.along(q).size
    stride, dilation = x.coefficient(q), x.coefficient(k)
    base, length = span[0], span[1] - span[0]
    step = stride // math.gcd(stride, dilation)
    f = dilation * step // stride
    for phi in range(min(stride, length)):
        count = len(range(phi, length, stride))
        k0 = next((k0 for k0 in range(step) if (dilation * k0 - phi - base) % stride == 0), taps)
        arriving = len(range(k0, taps, step))
        last = k0 + step * (arriving - 1)
        first = (phi + base - dilation * last) // stride  # the position from which the last tap reaches the first place
        if arriving and (first >= positions or first + count - 1 + f * (arriving - 1) < 0):
            arriving = 0  # only from outside dy
        yield _Way((first, ((q, 1), (k, f))), (last, ((k, -step),)), (phi, stride), count, arriving)


def _phase(contraction: Contraction, number: int, region: Region, ways: Sequence[_Way]) -> Phase:
    places = tuple(way.place for way in ways)
    if not all(way.k for way in ways):
        return Phase(number, None, places)
    extents = dict(contraction.axes)
    extents["o"], extents["c"] = extents["c"], extents["o"]
    exchange: dict[str, Affine] = {"o": (0, (("c", 1),)), "c": (0, (("o", 1),))}
    weighed, spatial = dict(exchange), dict[Dimension, Dimension]()
    for i, way in enumerate(ways):
        extents |= {f"t{i}": 1, f"q{i}": way.q, f"k{i}": way.k}
        weighed[f"k{i}"] = way.tap
        x, y = contraction.x.along(f"q{i}"), contraction.y.along(f"q{i}")
        phi, stride = way.place
        spatial[x] = Dimension.over(region.spans[i][1] - region.spans[i][0], (phi, ((f"q{i}", stride),)), extents)
        spatial[y] = replace(Dimension.over(y.size, way.position, extents), boundary=ZERO)
    gathered = Operand(tuple(spatial.get(d) or _moved(d, exchange, extents) for d in contraction.y.dimensions))
    produced = Operand(tuple(spatial.get(d) or _moved(d, exchange, extents) for d in contraction.x.dimensions))
    weights = Operand(tuple(_moved(d, weighed, extents) for d in contraction.w.dimensions))
    return Phase(number, Contraction(tuple(extents.items()), gathered, weights, produced, "y", contraction.conjugated), places)


def _moved(dimension: Dimension, axes: Mapping[str, Affine], extents: Mapping[str, int]) -> Dimension:
    """The dimension with some axes expressed by others."""
    offset, terms = dimension.offset, dict[str, int]()
    for axis, a in dimension.terms:
        start, inner = axes.get(axis, (0, ((axis, 1),)))
        offset += a * start
        for name, b in inner:
            terms[name] = terms.get(name, 0) + a * b
    return Dimension.over(dimension.size, (offset, tuple(terms.items())), extents)
