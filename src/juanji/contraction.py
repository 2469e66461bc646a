"""What every convolution and both its gradients lower to: a sum of products over named axes, three operands, inequalities."""

# Forward. Output position p (of P) and kernel tap k meet at the place v = stride·p + dilation·k of the padded input, which
# is index v − low of x. The weights of site p mod T apply, so p is split as p = t + T·q, and (per spatial axis i, in short)
#
#     y[n, g·O+o, t+T·q] = Σ_{c,k} x[n, g·C+c, stride·(t+T·q) + dilation·k − low] · w[t, g·O+o, c, k]
#
# Every index is an offset plus integer multiples of axes, so it moves by a constant number of elements along each axis.
# Where T does not divide P the last q is short: the leftover pixels are those with t + T·q < P, an inequality of y.
# Outside x stands a constant (an inequality of x) or, under the other boundaries, the element that an index map names.
#
# Adjoints. The sum runs over triples (element of x, of w, of y), each with coefficient 1. Being bilinear, it yields both
# gradients by the exchange of roles alone, over the same axes, indices and inequalities:
#
#     dx[its index] += conj(w)·dy          dw[its index] += conj(x)·dy          (conj: the adjoint is Hermitian)
#
# A constant outside belongs to no element: it adds nothing to dx, and enters dw as the value of x that it is.
#
# The first scatters: several (p, k) reach one element of dx. `phases` makes forward contractions of it, which gather; these
# need offsets that are no padding, taps that skip, weights read backwards and outputs with gaps, so that descriptions
# (`Convolution`) are not closed under taking gradients. Contractions are.

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from juanji.boundary import MODES, Boundary
from juanji.errors import ArgumentError
from juanji.spec import Convolution

Array = npt.NDArray[Any]
Terms = tuple[tuple[str, int], ...]  # (axis, coefficient)
Affine = tuple[int, Terms]  # offset + Σ coefficient·axis
OPERANDS = ("x", "w", "y")
CONJUGATED = {"x": "w", "w": "x", "y": None}


@dataclass(frozen=True)
class Dimension:
    """One storage dimension of an operand: its size, and its index as offset + Σ coefficient·axis.

    reach: the least and the greatest index that occurs.
    boundary: what an index outside 0 ≤ index < size stands for; None if there is no such term.
    """

    size: int
    offset: int
    terms: Terms
    reach: tuple[int, int]
    boundary: Boundary | None = None

    @classmethod
    def over(cls, size: int, index: Affine, extents: Mapping[str, int]) -> Self:
        """The dimension whose index takes every value that the extents of its axes give it."""
        offset, terms = index
        ends = [a * (max(extents[axis], 1) - 1) for axis, a in terms]
        return cls(size, offset, terms, (offset + sum(min(e, 0) for e in ends), offset + sum(max(e, 0) for e in ends)))

    def coefficient(self, axis: str) -> int:
        """How far the index moves for a step along the axis."""
        return dict(self.terms).get(axis, 0)

    @property
    def padding(self) -> tuple[int, int]:
        """How many places below and above the array the index reaches."""
        return max(-self.reach[0], 0), max(self.reach[1] - self.size + 1, 0)


@dataclass(frozen=True)
class Operand:
    """The storage dimensions of a C-contiguous array, outermost first."""

    dimensions: tuple[Dimension, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(d.size for d in self.dimensions)

    @property
    def offset(self) -> int:
        """The element that all axes at 0 name (it may lie before the array)."""
        return sum(d.offset * s for d, s in zip(self.dimensions, _storage(self.shape), strict=True))

    def stride(self, axis: str) -> int:
        """How many elements a step along the axis moves; 0 where the operand does not depend on it."""
        return sum(d.coefficient(axis) * s for d, s in zip(self.dimensions, _storage(self.shape), strict=True))

    def along(self, axis: str) -> Dimension:
        """The first dimension that moves along the axis: `x.along("q0").coefficient("k0")` is the dilation of axis 0."""
        return next(d for d in self.dimensions if d.coefficient(axis))

    @property
    def inequalities(self) -> tuple[int, ...]:
        """The dimensions, by number, for which 0 ≤ index < size must be tested."""
        tested = (d.padding != (0, 0) and (d.boundary is None or d.boundary.constant) for d in self.dimensions)
        return tuple(number for number, test in enumerate(tested) if test)


@dataclass(frozen=True)
class Contraction:
    """output[its index] += product of the other two operands, over all axes, wherever the inequalities hold.

    axes: name and extent: n batch, g group, o feature and c channel inside the group; per spatial axis i: t{i} site, q{i}
        position over sites, k{i} tap.
    output: the operand that is produced: "y" forward, "x" and "w" for the gradients.
    conjugated: the operand whose complex conjugate enters the product.
    taps: the values of (k0, k1, ...) that occur; None for all.
    """

    axes: tuple[tuple[str, int], ...]
    x: Operand
    w: Operand
    y: Operand
    output: str = "y"
    conjugated: str | None = None
    taps: tuple[tuple[int, ...], ...] | None = None

    @property
    def n(self) -> int:
        """How many spatial axes."""
        return (len(self.axes) - 4) // 3

    def extent(self, axis: str) -> int:
        """How many values the axis takes."""
        return dict(self.axes)[axis]

    def operand(self, name: str) -> Operand:
        """The operand "x", "w" or "y"."""
        return {"x": self.x, "w": self.w, "y": self.y}[name]

    def producing(self, output: str) -> "Contraction":
        """The same sum with the roles exchanged: "x" or "w" give the gradient of the input or of the weights."""
        if output not in OPERANDS:
            raise ArgumentError(f"output (={output!r}) must be one of {', '.join(OPERANDS)}")
        return replace(self, output=output, conjugated=CONJUGATED[output])


@lru_cache(maxsize=64)  # planning asks every algorithm, and each lowers what it is asked about
def lower(spec: Convolution) -> Contraction:
    """The contraction that computes `spec` forward, its epilogue apart.

    >>> spec = Convolution(size=(9,), kernel=(3,), stride=(2,), dilation=(1,), padding=((1, 0),), boundary=(Boundary(),), channels=4)
    >>> c = lower(spec)
    >>> c.extent("q0"), c.x.stride("q0"), c.x.stride("k0"), c.x.stride("c"), c.x.offset, c.x.inequalities
    (4, 2, 1, 9, -1, (2,))
    """
    o, c = spec.features // spec.groups, spec.channels // spec.groups
    sites = spec.sites or (1,) * spec.n
    extents = {"n": spec.batch, "g": spec.groups, "o": o, "c": c}
    for i, (t, p, k) in enumerate(zip(sites, spec.output, spec.kernel, strict=True)):
        extents |= {f"t{i}": t, f"q{i}": -(-p // t), f"k{i}": k}
    site, tap, into, out = [], [], [], []
    for i, (t, p, k) in enumerate(zip(sites, spec.output, spec.kernel, strict=True)):
        stride, dilation, low = spec.stride[i], spec.dilation[i], spec.padding[i][0]
        reach = (-low, stride * (p - 1) + dilation * (k - 1) - low)  # of p < P: the leftovers' places do not count
        terms = ((f"t{i}", stride), (f"q{i}", stride * t), (f"k{i}", dilation))
        into.append(Dimension(spec.size[i], -low, terms, reach, spec.boundary[i]))
        out.append(Dimension.over(p, (0, ((f"t{i}", 1), (f"q{i}", t))), extents))
        site.append(Dimension.over(t, (0, ((f"t{i}", 1),)), extents))
        tap.append(Dimension.over(k, (k - 1, ((f"k{i}", -1),)) if spec.flip else (0, ((f"k{i}", 1),)), extents))
    batch = Dimension.over(spec.batch, (0, (("n", 1),)), extents)
    from_channel = Dimension.over(spec.channels, (0, (("g", c), ("c", 1))), extents)
    feature = Dimension.over(spec.features, (0, (("g", o), ("o", 1))), extents)
    channel = Dimension.over(c, (0, (("c", 1),)), extents)
    body = {"OI*": [feature, channel, *tap], "*IO": [*tap, channel, feature], "O*I": [feature, *tap, channel]}[spec.weight_layout]
    first = spec.layout == "channels_first"
    return Contraction(
        axes=tuple(extents.items()),
        x=Operand((batch, from_channel, *into) if first else (batch, *into, from_channel)),
        w=Operand((*site, *body) if spec.sites else tuple(body)),
        y=Operand((batch, feature, *out) if first else (batch, *out, feature)),
        taps=spec.taps and tuple(tuple(s - 1 - k if spec.flip else k for k, s in zip(p, spec.kernel, strict=True)) for p in spec.taps),
    )


def execute(contraction: Contraction, **operands: Array) -> Array:
    """The contraction in NumPy, term by term: what it means, not how to compute it. Takes the two operands that are read.

    >>> spec = Convolution(size=(3,), kernel=(2,), stride=(1,), dilation=(1,), padding=((0, 0),), boundary=(Boundary(),))
    >>> x, w = np.array([[[1, 2, 3]]]), np.array([[[10, 1]]])
    >>> execute(lower(spec), x=x, w=w)
    array([[[12, 23]]])
    >>> execute(lower(spec).producing("x"), w=w, y=np.array([[[1, 1]]]))
    array([[[10, 11,  1]]])
    """
    extents = dict(contraction.axes)
    grid = dict(zip(extents, np.ix_(*map(np.arange, extents.values())), strict=True))
    exists: Array = np.ones(tuple(extents.values()), bool)
    if contraction.taps is not None:
        kept = np.zeros([extents[f"k{i}"] for i in range(contraction.n)], bool)
        kept[tuple(np.array(contraction.taps, int).reshape(-1, contraction.n).T)] = True
        exists &= kept[tuple(grid[f"k{i}"] for i in range(contraction.n))]
    produced, factors = np.array(0), []
    for name in OPERANDS:
        flat, constants = np.array(0), []
        operand = contraction.operand(name)
        for d, step in zip(operand.dimensions, _storage(operand.shape), strict=True):
            index = d.offset + sum((a * grid[axis] for axis, a in d.terms), start=np.array(0))
            if d.boundary is None:
                exists &= (index >= 0) & (index < d.size)
            else:
                index = MODES[d.boundary.mode](index, d.size)
                constants.append((index < 0, d.boundary.value))
            flat = flat + np.clip(index, 0, d.size - 1) * step
        if name == contraction.output:
            produced = flat
            for outside, _ in constants:
                exists &= ~outside
        else:
            values = operands[name].reshape(-1)[flat] if operands[name].size else np.zeros(flat.shape, operands[name].dtype)
            for outside, value in constants:  # where two axes are outside, the later axis's constant stands, as after np.pad
                values = np.where(outside, int(value) if value % 1 == 0 else value, values)
            factors.append(values.conj() if name == contraction.conjugated else values)
    shape = contraction.operand(contraction.output).shape
    result = np.zeros(math.prod(shape), np.result_type(*factors))
    terms = np.broadcast_to(factors[0] * factors[1], exists.shape)
    np.add.at(result, np.broadcast_to(produced, exists.shape)[exists], terms[exists])
    return result.reshape(shape)


def _storage(shape: tuple[int, ...]) -> list[int]:
    """Elements between neighbours along each dimension of a C-contiguous array."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]
