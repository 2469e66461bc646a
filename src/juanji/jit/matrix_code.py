"""What the code of the matrix tile depends on, and which of the unit's products stand for one."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit import tiles
from juanji.jit.arguments import HEAD
from juanji.jit.emit import LINE, Type
from juanji.jit.panels import LINE_ARGUMENTS, Line

PAIRS = {1: ((0, 0),), 2: ((0, 0), (0, 1), (1, 1), (1, 0)), 3: ((0, 0), (0, 1), (0, 2), (1, 1), (1, 0), (2, 0))}  # parts of x and w


@dataclass(frozen=True)
class MatrixCode:
    """Everything that the code depends on."""

    x: str
    product: str  # one of the unit's
    parts: int  # numbers of the unit that stand for one
    total: str
    y: str
    axes: int
    planar_x: bool  # the input lies plane by plane
    planar: bool  # and so does what the unit multiplies
    joined: bool  # pixels of a panel lie one behind the other
    few: int  # channels, where they are few planes that are joined, else 0
    even: bool  # channels fill the rows of tiles
    every: int  # pixels of a line from one that is wanted to the next
    panel: bool  # False: the input is read where it lies, channels-last
    channels_last_y: bool
    gaps: bool  # outputs do not lie one behind the other: a table says where
    step: int  # elements from one output to the next in a row, if a vector can be spread over them, else 0
    bias: bool
    activation: str | None
    narrowing: Narrowing
    rows: int  # tiles of pixels
    columns: int  # tiles of features

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "stride", "reach", "map", "xs", "ps", "apart", "phases", "ys")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "groups", "channels", "channels_all", "panel_c", "panels", "ps_b", "whole",
            "empty", "run", "panel_b", "part", "piece",
            "map_tiles", "map_firsts", "map_sums", "map_goals", "map_steps", "tiles", "steps", "pitch",
            "split", "splits", "blocks_f", "count_f", "step", "xs_n", "xs_c", "ys_n", "ys_c", "ys_p", "lines", "sums", "stream",
        )  # fmt: skip

    @property
    def element(self) -> Type:
        """A number of the unit, as a bag of bits."""
        return Type("i16" if "bfloat16" in tiles.operands(self.product) else "i8")

    @property
    def cut(self) -> bool:
        """Whether lines wait as float32 until they are cut into parts."""
        return self.joined and self.parts > 1

    @property
    def line(self) -> Line:
        """What fills a panel's lines: the numbers as they are, or as float32 that are cut into parts."""
        if self.parts > 1:
            return Line(self.x, "f32", 1, True, self.axes)
        return Line({"i16": "int16", "i8": "int8"}[self.element.scalar], self.element.scalar, 1, True, self.axes)

    @property
    def bias_bytes(self) -> int:
        """Of a feature: where pixels are a tile's columns, a row of them."""
        return LINE if self.planar else 4

    @property
    def turned_out(self) -> bool:
        """Whether sums are transposed as they leave."""
        return not (self.planar or self.channels_last_y)
