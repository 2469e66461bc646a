"""The sliding window, frame by frame: cells, places and arithmetic, with nothing drawn.

Every operator is seen as a window on a *field* and a *pixel* of a plane above it, a frame for each pixel. Gathered, the window makes the
pixel:

    conv, pool                          the field is the input with its padding, and the window steps by the stride
    conv_transpose, conv_grad_input     the field is the input (the error) with stride − 1 zeros between its elements and zeros
                                        around it, the kernel is turned by 180°, and the window steps by 1

Scattered, the pixel is given, and adds a copy of the kernel, or its share of the error, to the window's cells:

    conv_transpose, conv_grad_input     the field is the output with the padding that is cut off, the window steps by the stride
    pool_grad                           the field is the gradient of the input

A signal is a field of one row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]  # (row, column)

INSIDE, OUTSIDE, GAP = 0, 1, 2  # what a cell of a field is: an element, padding, or a zero between elements


@dataclass(frozen=True, eq=False)
class Field:
    """What the window slides over.

    values: (channels, rows, columns); where pixels scatter, the finished sums. cells: (rows, columns) of INSIDE, OUTSIDE and GAP.
    blank: whether padding holds no number, as in pooling.
    """

    values: Array
    cells: npt.NDArray[np.int8]
    blank: bool = False

    @property
    def shape(self) -> Pair:
        """Rows and columns."""
        return self.cells.shape[0], self.cells.shape[1]


@dataclass(frozen=True, eq=False)
class Frame:
    """One pixel, and the window that makes it or that it adds to.

    pixel: in the plane of pixels. corner: the window's first cell in the field. weights: (channels, *taps) as they lie over the window;
    of pool_grad the input that was seen there, NaN outside it; None where there are none. arithmetic: how the result comes about, in
    lines. added: (channels, *taps), what the pixel adds to the window's cells; None where the window makes the pixel.
    """

    pixel: Pair
    corner: Pair
    weights: Array | None
    arithmetic: tuple[str, ...]
    added: Array | None = None


@dataclass(frozen=True, eq=False)
class Film:
    """All frames of an operator on its numbers.

    taps: the rows and the columns, from the window's corner, of the cells that it looks at. pixels: (rows, columns), the values of the
    plane above. field_size: of the field's own elements, without padding. notes: words and numbers for the titles: stride, padding and
    so on, where they say something.
    """

    operator: str
    field: Field
    taps: tuple[tuple[int, ...], tuple[int, ...]]
    pixels: Array
    frames: tuple[Frame, ...]
    field_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    pixels_size: tuple[int, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def window(self) -> Pair:
        """Rows and columns that the window covers."""
        return self.taps[0][-1] + 1, self.taps[1][-1] + 1

    @property
    def scatters(self) -> bool:
        """Whether pixels add to the field, instead of being made from it."""
        return self.frames[0].added is not None

    @property
    def channels(self) -> int:
        """How many planes the field has."""
        return len(self.field.values)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for a page that draws it itself."""
        return {
            "operator": self.operator,
            "field": {"values": _listed(self.field.values), "cells": self.field.cells.tolist(), "blank": self.field.blank},
            "taps": [list(axis) for axis in self.taps],
            "window": list(self.window),
            "pixels": _listed(self.pixels),
            "field_size": list(self.field_size),
            "kernel_size": list(self.kernel_size),
            "pixels_size": list(self.pixels_size),
            "notes": dict(self.notes),
            "frames": [
                {
                    "pixel": list(frame.pixel),
                    "corner": list(frame.corner),
                    "weights": None if frame.weights is None else _listed(frame.weights),
                    "arithmetic": list(frame.arithmetic),
                    "added": None if frame.added is None else _listed(frame.added),
                }
                for frame in self.frames
            ],
        }


def _listed(values: Array) -> Any:
    """Nested lists; numbers that JSON lacks as None."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values.tolist()
    return np.where(np.isfinite(values), values, np.array(None)).tolist()
