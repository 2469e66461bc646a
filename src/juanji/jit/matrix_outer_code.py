"""What the code of the matrix unit's outer tile depends on."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD
from juanji.jit.elements import SCALARS
from juanji.jit.emit import Type
from juanji.jit.panels import LINE_ARGUMENTS, Line


@dataclass(frozen=True)
class MatrixOuterCode:
    """Everything that the code depends on."""

    x: str
    dy: str
    parts: int  # numbers of the unit that stand for one
    axes: int
    planar: bool  # x and dy lie plane by plane
    in_place: bool  # lines of x are cut or turned where they lie
    stride: int  # along a line that is parted into phases
    turned: bool  # the features of dw do not lie side by side
    rows: int  # tiles of channels
    columns: int  # tiles of features

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "reach", "stride", "map", "xs", "phases", "apart", "pitch", "gs")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "groups", "channels", "channels_all", "panel_c", "panels", "ps_b", "whole", "pixel", "run",
            "planes", "plane", "part_x", "words", "words_f", "part_dy", "clean", "sums", "step_f", "waiting", "block", "piece",
            "map_tiles", "map_goals", "tiles", "chunks", "chunks_n", "segments", "blocks_f", "split", "splits", "count_f", "count_i",
            "xs_n", "xs_c", "gs_n", "gs_c", "ws_g", "ws_f", "ws_i", "ws_s", "stream",
        )  # fmt: skip

    @property
    def line(self) -> Line:
        """What fills the lines that wait until they are cut or turned."""
        return Line(self.x, "f32", self.stride, True, self.axes)

    @property
    def waiting(self) -> tuple[str, int]:
        """The type of what is cut or turned, and its bytes."""
        dtype = self.x if self.in_place else "float32"
        return dtype, Type(SCALARS[dtype]).bytes
