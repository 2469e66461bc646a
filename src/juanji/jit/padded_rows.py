"""Padded rows of planes, read where they lie: lanes beside the array through masks, which stay in registers and put zeros there, rows
outside from a line of zeros in scratch. With a stride along rows the phases of neighbouring vectors are taken apart in registers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Protocol

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS
from juanji.jit.emit import I64, Emitter, Type, Value
from juanji.jit.lanes import parted


class Read(Protocol):
    """What the code of reading depends on; triples are outer axis, rows and columns."""

    @property
    def total(self) -> str:
        """The type of the input, and of the sums."""

    @property
    def stride(self) -> tuple[int, int, int]:
        """From one output to the next."""

    @property
    def dilation(self) -> tuple[int, int, int]:
        """From one tap to the next."""


Mask = Callable[[int, int, int], Value | None]  # by vector of outputs, place of the padded row and vector of the run there; None: all lanes

NAMES = ("map_d", "map_h", "size_w", "low_w", "xs_n", "xs_c", "xs_d", "xs_h", "zeros")  # of the arguments; zeros: bytes of a row of these


def clear_line(e: Emitter, code: Read, a: Arguments) -> None:
    """The line of zeros, at the start of scratch memory."""
    vector = e.vector(SCALARS[code.total])
    with e.loop(0, a["zeros"], vector.bytes) as at:
        e.store(e.zero(vector), a["scratch"] + at)


def inside(e: Emitter, a: Arguments, place: int, lanes: int) -> Value:
    """Which lanes of a vector that begins at a place of the padded row are inside the array."""
    first = a["low_w"] - place
    return e.arith("and", e.lanes_from(lanes, first), e.lanes_before(lanes, first + a["size_w"]))


def padded(a: Arguments, code: Read, x: Value) -> Value:
    """Where the first padded row of a volume would begin."""
    return x + (0 - a["low_w"]) * Type(SCALARS[code.total]).bytes


class Plane:
    """The rows of one padded plane of a volume. x: where the `padded` volume begins; d: the place of the plane."""

    def __init__(self, e: Emitter, code: Read, a: Arguments, x: Value, d: Value, mask: Mask):
        self.e, self.code, self.a, self.mask = e, code, a, mask
        self.vector = e.vector(SCALARS[code.total])
        self.element = Type(self.vector.scalar).bytes
        where = e.load(I64, a["map_d"] + d * 8, 8)
        known = e.compare("sge", where, e.integer(0))
        self.first = e.select(known, x + where * a["xs_d"], a["scratch"])
        self.pitch = e.select(known, a["xs_h"], e.integer(0))

    def row(self, h: Value) -> Row:
        """The padded row at a place."""
        where = self.e.load(I64, self.a["map_h"] + h * 8, 8)
        known = self.e.compare("sge", where, self.e.integer(0))
        return Row(self, self.e.select(known, self.first + where * self.pitch, self.a["scratch"]))


class Row:
    """A padded row: the vectors that taps of its columns meet, each run of neighbours read once."""

    def __init__(self, plane: Plane, begin: Value):
        self.plane, self.begin = plane, begin
        self.runs: dict[tuple[int, int], list[Value]] = {}

    def column(self, column: int, v: int) -> Value:
        """What a vector of outputs sees through a column of the kernel: one phase of as many vectors as there are phases."""
        code, e = self.plane.code, self.plane.e
        place, phase = first_of_run(column * code.dilation[2], code.stride[2])
        if (place, v) not in self.runs:
            self.runs[place, v] = parted(e, [self._read(v, place, k) for k in range(code.stride[2])])
        return self.runs[place, v][phase]

    def _read(self, v: int, place: int, k: int) -> Value:
        plane = self.plane
        at = self.begin + (place + (v * plane.code.stride[2] + k) * plane.vector.lanes) * plane.element
        mask = plane.mask(v, place, k)
        return plane.e.load(plane.vector, at) if mask is None else plane.e.load_where(plane.vector, at, mask)


def first_of_run(place: int, stride: int) -> tuple[int, int]:
    """Where the run of vectors begins whose phases hold a place, and which of them it is.

    >>> first_of_run(5, 2)
    (4, 1)
    """
    run, phase = divmod(place, stride)
    return run * stride, phase


def seen_by(rows: int, kernel: int, stride: int, dilation: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """The rows of the window of as many rows of outputs that some of these see, each with them and their kernel rows.

    >>> seen_by(2, 2, 1, 1)
    [(0, [(0, 0)]), (1, [(0, 1), (1, 0)]), (2, [(1, 1)])]
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for r, tap in itertools.product(range(rows), range(kernel)):
        found.setdefault(r * stride + tap * dilation, []).append((r, tap))
    return sorted(found.items())
