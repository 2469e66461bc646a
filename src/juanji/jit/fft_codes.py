"""What the code of Fourier tiles depends on, and which arguments it takes."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD
from juanji.jit.panels import LINE_ARGUMENTS


@dataclass(frozen=True)
class FftCode:
    """Everything that the code depends on; sizes, kernels, strides, dilations, boundaries and counts are arguments."""

    x: str
    total: str
    y: str
    high: int  # places of a tile along the columns: of the real transforms
    wide: int  # and along the rows
    line: bool  # both are one transform along a row
    outer: int  # spatial axes before those of the transform
    unit_x: bool
    unit_y: bool
    bias: bool
    activation: str | None
    narrowing: Narrowing
    kept: int  # of the rows that a codelet gives: the others meet what was wrapped round
    features: int  # whose spectra are multiplied together; 0: one channel in, one out

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        outer = tuple(f"{name}{axis}" for axis in range(self.outer) for name in ("out", "taps", "stride", "dilation", "map", "xs", "ys"))
        plane = () if self.line else ("map_h", "xs_h", "extent_h")
        shares = ("shares", "share") if self.features else ()
        return (
            *HEAD, *LINE_ARGUMENTS, *outer, *plane, *shares,
            "groups", "channels", "count_f", "blocks_f", "depth", "xs_n", "xs_c", "ys_n", "ys_c", "ys_h", "ys_w", "ws_g",
            "phases_h", "strips", "tile_h", "out_h", "tiles", "run", "segments", "tile_w", "out_w", "extent_w",
            "columns", "kept", "phases_w", "tile_x", "need_x", "parts_h", "parts_w", "part_h", "part_w",
            "map_places", "pitch", "apart", "map_column", "map_row", "map_line", "stream",
            "at_rows", "at_goals", "at_zeros", "at_tmp", "at_f", "at_g", "at_x", "at_y", "at_panel", "at_stage", "stage",
        )  # fmt: skip

    @property
    def axes(self) -> int:
        """Spatial axes."""
        return self.outer + (1 if self.line else 2)


@dataclass(frozen=True)
class SpectraCode:
    """Everything that the code depends on."""

    w: str
    total: str
    high: int
    wide: int
    line: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order.

        map_entries: of each depth entry the bytes to its first tap, its rows and its columns (of a line: 1 and its length).
        constants: the factor of all weights. apart: bytes between neighbouring frequencies; rows, entries and features of a block
        lie step_q, step_e and step_f bytes apart.
        """
        return (
            *HEAD, "constants", "map_entries", "map_places", "map_column", "map_row", "map_line", "features", "width", "blocks", "depth",
            "columns", "ws_g", "ws_f", "ws_h", "ws_w", "step", "step_q", "step_e", "step_f", "apart", "pitch",
            "at_rows", "at_zeros", "at_tmp", "at_f", "at_panel", "panel",
        )  # fmt: skip
