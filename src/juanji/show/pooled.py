"""Films of pooling: a window that is reduced to a pixel, and the pixel's error that goes back to the window."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from juanji.errors import ShapeError
from juanji.explain.arguments import by
from juanji.explain.arithmetic import few, number_of
from juanji.explain.pooled import trace_pool
from juanji.pooling import planned, pool, pool_grad, window_weights
from juanji.show.frames import Field, Film, Frame
from juanji.show.layout import (
    Array,
    Notes,
    added_to,
    cells_of,
    film_of,
    in_rows,
    inside,
    named,
    pair,
    place_of,
    refuse_many,
    short,
    sides_of,
)
from juanji.spec import span
from juanji.windows import Pooling, Sliding


@dataclass(frozen=True, eq=False)
class _Laid:
    """A pooling of one channel, its axes and its arguments as `pool` takes them."""

    x: Array
    window: tuple[int, ...]
    options: dict[str, Any]
    weights: Any
    pooling: Pooling
    sliding: list[Sliding]
    sample: int
    channel: int

    @classmethod
    def of(cls, x: Array, size: Any, feature: int, sample: int, arguments: Mapping[str, Any]) -> "_Laid":
        options = dict(arguments)
        weights = options.pop("weights", None)
        n = min(x.ndim, 2)
        window = tuple(size) if isinstance(size, Sequence | np.ndarray) else (size,) * n
        x = x.reshape((1,) * (n + 2 - x.ndim) + x.shape)
        pooling: Pooling = planned(x, window, **options)[2].pooling
        refuse_many(pooling.output)
        sliding = [axis for axis in pooling.axes if isinstance(axis, Sliding)]
        sample, feature = place_of("sample", sample, pooling.batch), place_of("feature", feature, pooling.channels)
        return cls(x, window, options, weights, pooling, sliding, sample, feature)

    @property
    def n(self) -> int:
        return self.pooling.n

    def plane(self, array: Array) -> Array:
        """The sample and channel of an array like x or y."""
        first = np.moveaxis(array, -1, 1) if self.pooling.layout == "channels_last" else array
        return np.asarray(first[self.sample, self.channel])

    def at(self, pixel: tuple[int, ...]) -> tuple[int, ...]:
        """A pixel as an index of y."""
        last = self.pooling.layout == "channels_last"
        return (self.sample, *pixel, self.channel) if last else (self.sample, self.channel, *pixel)

    @property
    def sides(self) -> list[tuple[int, int]]:
        """How far beyond the array the field goes: the padding, and where `ceil_mode` lets the last window go."""
        ends = [(axis.out - 1) * axis.stride - axis.low + span(axis.window, axis.dilation) for axis in self.sliding]
        return [(axis.low, max(axis.high, end - axis.size)) for axis, end in zip(self.sliding, ends, strict=True)]

    @property
    def offsets(self) -> list[tuple[int, ...]]:
        return [tuple(axis.dilation * k for k in range(axis.window)) for axis in self.sliding]

    def corner(self, pixel: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(p * axis.stride for p, axis in zip(pixel, self.sliding, strict=True))

    def film(self, operator: str, plane: Array, pixels: Array, frame: Callable[[tuple[int, ...]], Frame]) -> Film:
        """The film over a plane of the input's shape."""
        kinds = [inside(axis.size, *side) for axis, side in zip(self.sliding, self.sides, strict=True)]
        field = Field(in_rows(np.pad(plane, self.sides)[None], self.n), cells_of(kinds), blank=True)
        notes: Notes = {"kind": self.pooling.kind, "stride": by(axis.stride for axis in self.sliding)}
        if any(axis.low or axis.high for axis in self.sliding):
            notes["padding"] = sides_of([(axis.low, axis.high) for axis in self.sliding])
        if any(axis.dilation > 1 for axis in self.sliding):
            notes["dilation"] = by(axis.dilation for axis in self.sliding)
        return film_of(operator, field, self.offsets, pixels, frame, self.pooling.size, tuple(axis.window for axis in self.sliding), notes)


def pooled(x: Array, size: Any, feature: int, sample: int, arguments: Mapping[str, Any]) -> Film:
    """Every window reduced to its pixel."""
    laid = _Laid.of(x, size, feature, sample, arguments)
    each = window_weights(laid.weights, laid.pooling)
    y = pool(laid.x, laid.window, weights=laid.weights, **laid.options)

    def frame(pixel: tuple[int, ...]) -> Frame:
        told = trace_pool(laid.x, laid.window, laid.at(pixel), weights=laid.weights, **laid.options)
        line = f"{named('y', pixel)} = {told.arithmetic.partition(' = x[')[0]}"  # without the maximum's place
        return Frame(pair(pixel), pair(laid.corner(pixel)), None if each is None else in_rows(each[None], laid.n), (line,))

    return laid.film("pool", laid.plane(laid.x), laid.plane(y), frame)


def pooled_back(x: Array, size: Any, dy: Array | None, feature: int, sample: int, arguments: Mapping[str, Any]) -> Film:
    """Every pixel's error sent to the elements of its window: to the maximum, evenly, or in proportion. dy: 1, 2, 3, … unless given."""
    laid = _Laid.of(x, size, feature, sample, arguments)
    shape = pool(laid.x, laid.window, weights=laid.weights, **laid.options).shape
    if dy is None:
        count = int(np.prod(laid.pooling.output))
        errors = np.arange(1.0, count + 1).reshape(laid.pooling.output)
    elif dy.size == np.prod(shape):
        errors = laid.plane(dy.reshape(shape)).astype(np.float64)
    else:
        raise ShapeError(f"dy of shape {dy.shape} must have the shape of the output, {shape}")
    plane = laid.plane(laid.x).astype(np.float64)
    one_each = np.eye(errors.size).reshape(errors.size, 1, *errors.shape)  # a sample for every pixel, with that pixel's error alone
    many = np.broadcast_to(plane, (errors.size, 1, *plane.shape))
    options = {**laid.options, "layout": "channels_first"}
    shares = pool_grad(many, one_each, laid.window, weights=laid.weights, **options)[:, 0]
    spread = np.pad(shares, [(0, 0), *laid.sides])
    around = np.pad(plane, laid.sides, constant_values=np.nan)

    def frame(pixel: tuple[int, ...]) -> Frame:
        corner = laid.corner(pixel)
        at = np.ix_(*(np.add(first, taps) for first, taps in zip(corner, laid.offsets, strict=True)))
        added = spread[np.ravel_multi_index(pixel, errors.shape)][at] * errors[pixel]
        line = f"{named('dy', pixel)} = {number_of(short(errors[pixel]))}:  {_sent(corner, added, laid)}"
        return Frame(pair(pixel), pair(corner), in_rows(around[at][None], laid.n), (line,), in_rows(added[None], laid.n))

    return laid.film("pool_grad", np.tensordot(errors.reshape(-1), shares, 1), errors, frame)


def _sent(corner: tuple[int, ...], added: Array, laid: _Laid) -> str:
    """What goes where, in one line: to one element, as much to each of several, or what to each."""
    lows = [low for low, _ in laid.sides]
    getting = np.argwhere(added != 0)
    gets = [number_of(short(added[tuple(at)])) for at in getting]
    if len(gets) == 1:
        place = (first + taps[i] - low for first, taps, i, low in zip(corner, laid.offsets, getting[0].tolist(), lows, strict=True))
        return f"{named('dx', tuple(place))} += {gets[0]}"
    where = added_to("dx", corner, laid.offsets, lows, laid.pooling.size)
    return f"{where} += {gets[0] if len(set(gets)) == 1 else ', '.join(few(gets))}"
