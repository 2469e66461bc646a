"""The arithmetic of one output element, term by term.

    result = activation( Σ_terms  weight · value  + bias )

The terms stand in the order in which `contraction.execute` meets them: channel after channel, the taps of each in row order. They
are added one by one in float64 or complex128, integers exactly, and the finished sum alone is rounded to the output's type. So the
result is that of the definition: to the last bit of `contraction.execute`, and of `reference.conv` where no sum rounds or where
it adds in the same order, which is one channel to a group and no flip; elsewhere within (terms · ε) of the sum of absolute terms.
(NumPy fuses the multiply-adds inside a complex product or not, as the array's size has it: complex sums that round are equal in the
second sense only.)
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from juanji import reference
from juanji.convolution import operand
from juanji.errors import ArgumentError, ShapeError
from juanji.explain.arguments import (
    Arguments,
    Array,
    Index,
    TransposedArguments,
    by,
    by_site,
    channels_first,
    described,
    described_transpose,
    met,
    places,
    runs,
    wide,
)  # fmt: skip
from juanji.explain.arithmetic import added, number_of, products_of
from juanji.spec import Convolution, Epilogue

MOST_CHANNELS = 8  # that are printed


class Term(NamedTuple):
    """One product: of the weight at `tap` of the kernel as stored, and the value that stands at `place` of x.

    source: the element of x that the value was taken from, which is another than `place` outside the edge; None for a constant.
    """

    channel: int
    tap: tuple[int, ...]
    place: tuple[int, ...]
    source: tuple[int, ...] | None
    weight: Any
    value: Any
    product: Any


@dataclass(frozen=True, eq=False)
class Trace:
    """How one output element came about; prints itself as arithmetic.

    index: of the element, (sample, feature, *position). channels: the first and the end of those that it sees.
    window, weights, products: (channels, *taps), in float64, complex128 or Python's integers; taps in the order of x.
    boundary: what stands outside, per spatial axis.
    places, sources, taps: per spatial axis, where in x each tap's value stands, the element that it was taken from (−1: a constant),
        and where in the kernel its weight is stored. Of a transposed convolution: the inputs that reach the element, and through what.
    total: the sum of the products and the bias; activated: after the activation; result: rounded to the output's type.
    """

    index: tuple[int, ...]
    channels: tuple[int, int]
    window: Array
    weights: Array
    places: tuple[Index, ...]
    sources: tuple[Index, ...]
    taps: tuple[Index, ...]
    boundary: tuple[str, ...]
    bias: Any
    epilogue: Epilogue
    activated: Any
    result: Any

    @property
    def products(self) -> Array:
        """weights · window, element by element."""
        return np.asarray(self.weights * self.window)

    @property
    def sum(self) -> Any:
        """Σ of the products, in order."""
        return added(self.products)

    @property
    def total(self) -> Any:
        """The sum with the bias."""
        return self.sum if self.bias is None else self.sum + self.bias

    @property
    def constants(self) -> npt.NDArray[np.bool_]:
        """Which taps meet a constant, over the spatial axes."""
        return self._any([source < 0 for source in self.sources])

    @property
    def beyond(self) -> npt.NDArray[np.bool_]:
        """Which taps stand outside x, over the spatial axes: on constants, or on what the boundary takes from elsewhere."""
        return self._any([(source < 0) | (source != place) for source, place in zip(self.sources, self.places, strict=True)])

    def _any(self, per_axis: list[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
        found = np.zeros(self.window.shape[1:], bool)
        for axis, mask in enumerate(per_axis):
            found |= mask.reshape(-1, *(1,) * (len(per_axis) - axis - 1))
        return found

    @property
    def terms(self) -> Iterator[Term]:
        """The terms in order."""
        products, constants = self.products, self.constants
        for at in np.ndindex(self.window.shape):
            place, source, tap = (
                tuple(int(along[i]) for along, i in zip(axes, at[1:], strict=True)) for axes in (self.places, self.sources, self.taps)
            )
            weight, value, product = self.weights[at], self.window[at], products[at]
            yield Term(self.channels[0] + at[0], tap, place, None if constants[at[1:]] else source, weight, value, product)

    def __str__(self) -> str:
        note = [f"[ ] stands outside x: {self.outside}"] if self.outside else []
        return "\n".join([self.head, *note, *self.arithmetic])

    @property
    def head(self) -> str:
        """The element, and the part of x that it sees: sample, channels, places; those of the window outside x among them."""
        first, end = self.channels
        seen = [str(self.index[0]), runs(range(first, end)), *(runs(sorted(set(at.tolist()))) for at in self.places)]
        return f"y[{', '.join(map(str, self.index))}] ← x[{', '.join(seen)}]"

    @property
    def outside(self) -> str:
        """What stands outside x in this window, by the names of the boundaries; empty if it lies inside."""
        axes = zip(self.boundary, self.sources, self.places, strict=True)
        return ", ".join(dict.fromkeys(name for name, source, place in axes if (source != place).any()))

    @property
    def arithmetic(self) -> list[str]:
        """The sum channel after channel, then with the bias, through the activation, and as it is stored; numbers to six digits."""
        return list(self._steps())

    def _steps(self) -> Iterator[str]:
        beyond, products, several = self.beyond, self.products, len(self.window) > 1
        for number in range(len(self.window))[:MOST_CHANNELS]:
            terms = products_of(self.weights[number], self.window[number], beyond)
            yield (f"c = {self.channels[0] + number}: " if several else "") + f"{terms} = {number_of(added(products[number]))}"
        if len(self.window) > MOST_CHANNELS:
            yield f"… (c < {self.channels[1]})"
        if several:
            yield f"Σ = {number_of(self.sum)}"
        if self.bias is not None:
            yield f"{number_of(self.sum)} + bias {number_of(self.bias)} = {number_of(self.total)}"
        if self.epilogue.activation is not None:
            slope = f", {self.epilogue.parameter:g}" if self.epilogue.parameter else ""
            yield f"{self.epilogue.activation}({number_of(self.total)}{slope}) = {number_of(self.activated)}"
        if number_of(self.result) != number_of(self.activated):
            yield f"→ {np.asarray(self.result).dtype} {number_of(self.result)}"


def trace(
    x: npt.ArrayLike, w: npt.ArrayLike, position: Sequence[int], bias: npt.ArrayLike | None = None, **arguments: Unpack[Arguments]
) -> Trace:
    """The arithmetic of one element of `conv(x, w, bias, **arguments)`.

    position: an index of the result, or of its spatial axes alone, which means the first sample and feature.
    Raises ArgumentError if it lies outside the output, and what `conv` raises.

    >>> x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    >>> print(trace(x, np.array([[[[0.0, 1], [2, 3]]]]), (0, 0), bias=[1.0]))
    y[0, 0, 0, 0] ← x[0, 0, 0…1, 0…1]
    0·1 + 1·2 + 2·4 + 3·5 = 25
    25 + bias 1 = 26
    """
    x, w, of_bias = operand("x", x), operand("w", w), None if bias is None else operand("bias", bias)
    spec, single = described(x.shape, w.shape, arguments, dtype=x.dtype, w_dtype=w.dtype, bias=bias is not None, known=Arguments)
    index = index_of(position, spec.y_shape, single, spec.layout)
    sample, feature, *at = index
    kind, inner = wide(x, w, of_bias), spec.channels // spec.groups
    first = feature // (spec.features // spec.groups) * inner
    where, sources = ([axis[p] for axis, p in zip(table, at, strict=True)] for table in (places(spec), met(spec)))
    seen = channels_first(spec, x.reshape(spec.x_shape))[sample, first : first + inner]
    window = _as(kind, seen[(slice(None), *np.ix_(*(np.maximum(source, 0) for source in sources)))])
    for axis, (source, outside) in enumerate(zip(sources, spec.boundary, strict=True)):
        if outside.constant:  # where two axes are outside, the later axis's constant stands, as after np.pad
            window[(slice(None),) * (axis + 1) + (source < 0,)] = int(outside.value) if kind.hasobject else outside.value
    site = tuple(p % t for p, t in zip(at, spec.sites or (1,) * spec.n, strict=True))
    stored = [np.arange(k)[:: -1 if spec.flip else 1] for k in spec.kernel]
    return _finished(
        spec, of_bias, spec.bias_shape, (*(site if spec.sites else ()), feature), np.dtype(spec.dtypes.y),
        index=index, channels=(first, first + inner), window=window,
        weights=_as(kind, by_site(spec, w)[site][feature]), places=tuple(where), sources=tuple(sources), taps=tuple(stored),
    )  # fmt: skip


def trace_transpose(
    x: npt.ArrayLike, w: npt.ArrayLike, position: Sequence[int], bias: npt.ArrayLike | None = None, **arguments: Unpack[TransposedArguments]
) -> Trace:
    """The arithmetic of one element of `conv_transpose(x, w, bias, **arguments)`: every input that reaches it, and through which weight.

    >>> x = np.array([[[1.0, 2.0, 3.0]]])
    >>> print(trace_transpose(x, np.array([[[10.0, 20.0, 30.0]]]), (2,)))
    y[0, 0, 2] ← x[0, 0, 0…2]
    30·1 + 20·2 + 10·3 = 100
    """
    x, w, of_bias = operand("x", x), operand("w", w), None if bias is None else operand("bias", bias)
    spec, single = described_transpose(
        x.shape, w.shape, arguments, dtype=x.dtype, w_dtype=w.dtype, bias=bias is not None, known=TransposedArguments
    )
    index = index_of(position, spec.x_shape, single, spec.layout)
    sample, channel, *at = index
    kind, features = wide(x, w, of_bias), spec.features // spec.groups
    group, inner = divmod(channel, spec.channels // spec.groups)
    sites = spec.sites or (1,) * spec.n
    reaching = [_reaching(table, q, t) for table, q, t in zip(met(spec), at, sites, strict=True)]
    positions, taps = [p for p, _ in reaching], [k for _, k in reaching]
    each, *by_axis = np.ix_(np.arange(group * features, (group + 1) * features), *positions)
    window = _as(kind, channels_first(spec, x.reshape(spec.y_shape))[(sample, each, *by_axis)])
    through = [p % t for p, t in zip(by_axis, sites, strict=True)]
    weights = _as(kind, by_site(spec, w)[(*through, each, inner, *np.ix_(np.arange(1), *taps)[1:])])
    return _finished(
        spec, of_bias, (spec.channels,), (channel,), np.dtype(spec.dtypes.x),
        index=index, channels=(group * features, (group + 1) * features), window=window,
        weights=weights.conj() if kind.kind == "c" else weights, places=tuple(positions), sources=tuple(positions),
        taps=tuple(k - 1 - tap if spec.flip else tap for k, tap in zip(spec.kernel, taps, strict=True)),
    )  # fmt: skip


def _reaching(table: Index, q: int, sites: int) -> tuple[Index, Index]:
    """The outputs p and taps k of a convolution that meet element q, site after site as `contraction.execute` goes through them."""
    p, k = np.nonzero(table == q)
    order = np.lexsort((k, p // sites, p % sites))
    return p[order], k[order]


def _finished(
    spec: Convolution, bias: Array | None, bias_shape: tuple[int, ...], at: tuple[int, ...], dtype: np.dtype[Any], **found: Any
) -> Trace:
    """The trace with its bias, activation and rounding."""
    if bias is not None and bias.shape != bias_shape:
        raise ShapeError(f"bias of shape {bias.shape} must have shape {bias_shape}")
    kind = found["window"].dtype
    unfinished = Trace(
        **found, boundary=tuple(map(str, spec.boundary)), bias=None if bias is None else _as(kind, bias)[at],
        epilogue=spec.epilogue, activated=None, result=None,
    )  # fmt: skip
    total = np.array([unfinished.total], kind)
    activated = reference.activate(spec, total)
    return replace(unfinished, activated=activated[0], result=reference.stored(activated, dtype, spec.overflow)[0])


def index_of(position: Sequence[int], shape: tuple[int, ...], single: bool, layout: str) -> tuple[int, ...]:
    """(sample, feature, *position) of an index of the result as the caller sees it, or of its spatial axes."""
    seen = shape[single:]
    try:
        given = tuple(operator.index(i) for i in position)
    except TypeError:
        raise ArgumentError(f"position (={position!r}) must be a sequence of integers") from None
    n = len(shape) - 2
    spatial = shape[1:-1] if layout == "channels_last" else shape[2:]
    limits = spatial if len(given) == n else seen
    if len(given) != len(limits) or any(not 0 <= i < size for i, size in zip(given, limits, strict=True)):
        raise ArgumentError(f"position (={given}) must lie inside the output {by(seen)}, or inside its spatial axes {by(spatial)}")
    if len(given) == n:
        return (0, 0, *given)
    full = (0, *given) if single else given
    return (full[0], full[-1], *full[1:-1]) if layout == "channels_last" else full


def _as(kind: np.dtype[Any], array: Array) -> Array:
    """The numbers in that type; bool as the integers 0 and 1."""
    return np.asarray(array.astype(kind) + 0 if kind.hasobject else array.astype(kind))
