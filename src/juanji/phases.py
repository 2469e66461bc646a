"""The gradient of the input as gathers: the adjoint of a contraction in x, split into forward contractions."""

# With v = s·p + dilation·k the place in the padded input where output position p and tap k meet (s is the stride), and low
# the padding before it, dx[v − low] += ... scatters: one v is reached from several (p, k) and an index map may bring more
# together. So first dx is made on the padded extent u = v − base (base 0; under a constant only x itself is made,
# base = low), where u = s·a + φ fixes which taps arrive: dilation·k ≡ φ + base (mod s) holds for k = k0 + step·j with
# step = s / gcd(s, dilation), and those arrive from
#
#     p = (u + base − dilation·k) / s = a + e − f·j,    e = (φ + base − dilation·k0) / s,    f = dilation·step / s
#
# For each phase φ this is a forward contraction over dy: stride 1, dilation −f, offset e, zeros where p is outside 0 ≤ p < P,
# input channels and features exchanged, weights read at k0 + step·j, storing at φ + s·a. A phase that no tap reaches is zero.
# With sites, the weights are those of p mod T: of 0 if T = 1, of p itself if T = P, and both are affine. Between, a = ρ + T·α
# and j = j₀ + J·j₁ with J = T / gcd(f, T) leave p mod T = (ρ + e − f·j₀) mod T without an axis in it: one piece for each
# (φ, ρ, j₀), the pieces of one (φ, ρ) adding up. Last, `fold_border` adds each padded element back to where the
# boundary's map had taken it from, axis by axis in storage order.

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy.typing as npt

from juanji.boundary import ZERO, fold
from juanji.contraction import Affine, Contraction, Dimension, Operand
from juanji.errors import ArgumentError

Array = npt.NDArray[Any]
NOTHING: Affine = (0, ())


def phases(contraction: Contraction) -> tuple[Contraction, ...]:
    """The gradient of the input as forward contractions: x is dy, y is dx with its border; their sum, folded, is dx.

    Each stores to its own elements, save that pieces of tiled weights (more than one site, fewer than positions) add up.

    >>> from juanji.contraction import lower
    >>> from juanji.describe import describe
    >>> for phase in phases(lower(describe((1, 1, 9), (1, 1, 3), stride=2)).producing("x")):
    ...     phase.y.along("q0").offset, phase.y.stride("q0"), phase.extent("k0"), phase.x.stride("k0"), phase.w.stride("k0")
    (0, 2, 2, -1, 2)
    (1, 2, 1, -1, 2)
    """
    if contraction.output != "x":
        raise ArgumentError(f"output (={contraction.output!r}) of a contraction that is split into phases must be 'x'")
    ways = (_ways(contraction, i) for i in range(contraction.n))
    return tuple(_phase(contraction, way) for way in itertools.product(*ways))


def fold_border(contraction: Contraction, padded: Array) -> Array:
    """The gradient of the input from that of the padded input, as the sum of the phases leaves it.

    >>> import numpy as np
    >>> from juanji.contraction import lower
    >>> from juanji.describe import describe
    >>> spec = describe((1, 1, 3), (1, 1, 2), padding=((2, 0),), boundary="edge")
    >>> fold_border(lower(spec), np.array([[[1, 10, 100, 2, 3]]]))
    array([[[111,   2,   3]]])
    """
    for number, d in enumerate(contraction.x.dimensions):
        if d.boundary is not None and not d.boundary.constant:
            padded = fold(padded, number, *d.padding, d.boundary)
    return padded


class _Way(NamedTuple):
    """One phase along one axis: p, the site, the tap and u in terms of the axes q (α) and k (j₁), and the extents of both."""

    position: Affine
    site: Affine
    tap: Affine
    place: Affine
    padded: int
    q: int
    k: int


def _ways(contraction: Contraction, i: int) -> list[_Way]:
    t, q, k = f"t{i}", f"q{i}", f"k{i}"
    x, taps, sites, positions = contraction.x.along(q), contraction.extent(k), contraction.extent(t), contraction.y.along(q).size
    stride, dilation = x.coefficient(t), x.coefficient(k)
    folded = x.boundary is not None and not x.boundary.constant
    padded, base = (x.size + sum(x.padding), 0) if folded else (x.size, -x.offset)
    step, split = stride // math.gcd(stride, dilation), sites if 1 < sites < positions else 1
    f = dilation * step // stride
    turns = split // math.gcd(f, split)
    ways = []
    for phi, rho in itertools.product(range(min(stride, padded)), range(split)):
        count_q = len(range(phi + stride * rho, padded, stride * split))
        k0 = next((k0 for k0 in range(step) if (dilation * k0 - phi - base) % stride == 0), taps)
        arriving = len(range(k0, taps, step))
        e = (phi + base - dilation * k0) // stride
        place = (phi + stride * rho, ((q, stride * split),))
        for j in range(max(min(turns, arriving), 1)) if count_q else ():
            p = rho + e - f * j
            position = (p, ((q, split), (k, -f * turns)))
            site = position if sites == positions > 1 else (p % sites, ())
            tap = (k0 + step * j, ((k, step * turns),))
            reached = (position, site, tap) if arriving else (NOTHING, NOTHING, NOTHING)
            ways.append(_Way(*reached, place, padded, count_q, len(range(j, arriving, turns))))
    return ways


def _phase(contraction: Contraction, ways: tuple[_Way, ...]) -> Contraction:
    extents = dict(contraction.axes)
    extents["o"], extents["c"] = extents["c"], extents["o"]
    exchange: dict[str, Affine] = {"o": (0, (("c", 1),)), "c": (0, (("o", 1),))}
    weighed, spatial = dict(exchange), dict[Dimension, Dimension]()
    for i, way in enumerate(ways):
        extents |= {f"t{i}": 1, f"q{i}": way.q, f"k{i}": way.k}
        weighed |= {f"t{i}": way.site, f"k{i}": way.tap}
        x, y = contraction.x.along(f"q{i}"), contraction.y.along(f"q{i}")
        spatial[x] = Dimension.over(way.padded, way.place, extents)
        spatial[y] = replace(Dimension.over(y.size, way.position, extents), boundary=ZERO)
    gathered = Operand(tuple(spatial.get(d) or _moved(d, exchange, extents) for d in contraction.y.dimensions))
    produced = Operand(tuple(spatial.get(d) or _moved(d, exchange, extents) for d in contraction.x.dimensions))
    weights = Operand(tuple(_moved(d, weighed, extents) for d in contraction.w.dimensions))
    taps = contraction.taps
    if taps is not None:
        seen = [{way.tap[0] + dict(way.tap[1]).get(f"k{i}", 0) * j: j for j in range(way.k)} for i, way in enumerate(ways)]
        found = (tuple(where.get(k, -1) for where, k in zip(seen, tap, strict=True)) for tap in taps)
        taps = tuple(tap for tap in found if min(tap) >= 0)
    return Contraction(tuple(extents.items()), gathered, weights, produced, "y", contraction.conjugated, taps)


def _moved(dimension: Dimension, axes: Mapping[str, Affine], extents: Mapping[str, int]) -> Dimension:
    """The dimension with some axes expressed by others."""
    offset, terms = dimension.offset, dict[str, int]()
    for axis, a in dimension.terms:
        start, inner = axes.get(axis, (0, ((axis, 1),)))
        offset += a * start
        for name, b in inner:
            terms[name] = terms.get(name, 0) + a * b
    return Dimension.over(dimension.size, (offset, tuple(terms.items())), extents)
