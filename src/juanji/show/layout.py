"""What the makers of films share: cells and places in rows and columns, titles' numbers, and sums as they are printed."""

import operator as operators
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.explain.arguments import by, runs
from juanji.explain.arithmetic import factor, number_of, products_of
from juanji.show.frames import GAP, INSIDE, OUTSIDE, Field, Film, Frame
from juanji.spec import Convolution

Array = npt.NDArray[Any]
Notes = dict[str, str]

MOST_FRAMES = 2000


def film_of(
    operator: str,
    field: Field,
    offsets: list[tuple[int, ...]],
    pixels: Array,
    frame: Callable[[tuple[int, ...]], Frame],
    field_size: tuple[int, ...],
    kernel_size: tuple[int, ...],
    notes: Notes,
) -> Film:
    """The film of a plane of pixels, `frame` making each."""
    refuse_many(pixels.shape)
    frames = tuple(map(frame, np.ndindex(pixels.shape)))
    plane = in_rows(pixels[None], pixels.ndim)[0]
    return Film(operator, field, both(offsets), plane, frames, field_size, kernel_size, pixels.shape, tuple(notes.items()))


def place_of(name: str, given: int, count: int) -> int:
    """The user's choice of one of so many."""
    place = operators.index(given)
    if not 0 <= place < count:
        raise ArgumentError(f"{name} (={given}) must be one of 0 to {count - 1}")
    return place


def refuse_many(output: tuple[int, ...]) -> None:
    """An error for more frames than anybody looks at."""
    if np.prod(output) > MOST_FRAMES:
        raise ArgumentError(f"the output {by(output)} would take {np.prod(output)} frames, above {MOST_FRAMES}; give a smaller input")


def inside(size: int, low: int, high: int) -> Array:
    """What the cells of a padded axis are."""
    kinds = np.full(low + size + high, OUTSIDE, np.int8)
    kinds[low : low + size] = INSIDE
    return kinds


def cells_of(axes: list[Array]) -> npt.NDArray[np.int8]:
    """What each cell is: outside if any axis says so, else a gap if any does. Of a signal one row."""
    rows, columns = axes if len(axes) == 2 else (np.full(1, INSIDE, np.int8), axes[0])
    outside = (rows == OUTSIDE)[:, None] | (columns == OUTSIDE)
    gap = (rows == GAP)[:, None] | (columns == GAP)
    return np.where(outside, OUTSIDE, np.where(gap, GAP, INSIDE)).astype(np.int8)


def in_rows(planes: Array, n: int) -> Array:
    """(channels, *S) as (channels, rows, columns)."""
    return planes if n == 2 else planes[:, None, :]


def pair(place: tuple[int, ...]) -> tuple[int, int]:
    """A place as (row, column)."""
    return (place[0], place[1]) if len(place) == 2 else (0, place[0])


def both(offsets: list[tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The offsets of rows and of columns."""
    return (offsets[0], offsets[1]) if len(offsets) == 2 else ((0,), offsets[0])


def seen(field: Field, corner: tuple[int, ...], offsets: list[tuple[int, ...]], n: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """What the taps meet, (channels, *taps), and which of it is padding."""
    at = np.ix_(*(np.add(first, taps) for first, taps in zip(pair(corner), both(offsets), strict=True)))
    seen, beyond = np.stack([plane[at] for plane in field.values]), field.cells[at] != INSIDE
    return (seen, beyond) if n == 2 else (seen[:, 0], beyond[0])


def arithmetic(
    pixel: tuple[int, ...],
    weights: Array,
    seen: Array,
    beyond: npt.NDArray[np.bool_],
    bias: Any,
    result: Any,
    activation: str | None,
    name: str = "y",
) -> tuple[str, ...]:
    """The sum of a pixel: in one line for one channel, else a line for each and one for their sum."""
    wide = np.dtype(object) if weights.dtype.kind in "biu" and seen.dtype.kind in "biu" else np.dtype(np.float64)
    sums = [(w * s).sum() for w, s in zip(weights.astype(wide), seen.astype(wide), strict=True)]
    of_channels = [products_of(short(w), short(s), beyond) for w, s in zip(weights, seen, strict=True)]
    lines: list[str] = []
    total = of_channels[0]
    if len(sums) > 1:
        each = enumerate(zip(of_channels, sums, strict=True))
        lines = [f"{channel}:  {products} = {number_of(short(part))}" for channel, (products, part) in each]
        total = " + ".join(factor(short(part)) for part in sums)
    if bias is not None:
        total += f" + {factor(short(bias))}"
    if activation:
        total = f"{activation}({total})"
    return (*lines, f"{named(name, pixel)} = {total} = {number_of(short(result))}")


def named(name: str, pixel: tuple[int, ...]) -> str:
    """An element as it is printed: y[0, 1]."""
    return f"{name}[{', '.join(map(str, pixel))}]"


def short(values: Any) -> Any:
    """Floats to three digits, as they are printed."""
    array = np.asarray(values)
    if array.dtype.kind not in "fV":
        return array[()]
    return np.array([float(f"{value:.3g}") for value in array.astype(np.float64).flat]).reshape(array.shape)[()]


def padding_of(spec: Convolution) -> Notes:
    """The padding and what it holds, where there is any."""
    if not any(low or high for low, high in spec.padding):
        return {}
    return {"padding": sides_of(spec.padding), "boundary": ", ".join(dict.fromkeys(map(str, spec.boundary)))}


def offsets_of(spec: Convolution) -> list[tuple[int, ...]]:
    """How far each tap is from the window's first cell, along each axis."""
    return [tuple(dilation * k for k in range(kernel)) for kernel, dilation in zip(spec.kernel, spec.dilation, strict=True)]


def sides_of(padding: Sequence[tuple[int, int]]) -> str:
    """Padding as it is printed: one number where all sides are equal."""
    if len({side for pair in padding for side in pair}) == 1:
        return str(padding[0][0])
    return ", ".join(f"{low}+{high}" for low, high in padding)


def steps_of(spec: Convolution) -> Notes:
    """Stride, dilation and groups, where they are not 1."""
    notes: Notes = {}
    if any(step != 1 for step in spec.stride):
        notes["stride"] = by(spec.stride)
    if any(step != 1 for step in spec.dilation):
        notes["dilation"] = by(spec.dilation)
    if spec.groups > 1:
        notes["groups"] = str(spec.groups)
    return notes


def added_to(name: str, corner: tuple[int, ...], offsets: list[tuple[int, ...]], lows: Sequence[int], sizes: Sequence[int]) -> str:
    """The elements under a window, as they are printed: dx[0 to 1, 2 to 3]."""
    places = ([first + tap - low for tap in taps] for first, taps, low in zip(corner, offsets, lows, strict=True))
    within = (runs([place for place in axis if 0 <= place < size]) for axis, size in zip(places, sizes, strict=True))
    return f"{name}[{', '.join(within)}]"
