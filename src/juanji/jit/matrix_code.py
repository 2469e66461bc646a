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
    unfolded: bool  # and the windows of few channels are unfolded along a line
    stride: int  # of the lines that are unfolded, else 1
    parted: int  # channels of pixels that are parted as they are unfolded, else 0
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
    phases: int = 0  # of a line of outputs, put together as they leave; 1 where all leave apart, 0 where there are none

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "stride", "reach", "map", "xs", "ps", "parts", "apart", "phases", "ys")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "groups", "channels", "panels", "panel_b", "part", "piece",
            *(("map_words", "words", "blocks", "clear", "line_c", "line_part") if self.unfolded else ()),
            *(("map_phases", "others") if self.phases else ("map_steps", "steps", "step")),
            "map_tiles", "map_firsts", "map_sums", "map_goals", "tiles", "pitch",
            "split", "splits", "blocks_f", "count_f", "xs_n", "xs_c", "ys_n", "ys_c", "ys_p", "lines", "sums", "stream",
        )  # fmt: skip

    @property
    def element(self) -> Type:
        """A number of the unit, as a bag of bits."""
        return Type("i16" if "bfloat16" in tiles.operands(self.product) else "i8")

    @property
    def line(self) -> Line:
        """What fills lines: the numbers as they are, as float32 that are cut into parts, or as those that are unfolded."""
        whole = self.element.scalar == "i8"
        if self.unfolded or self.parts > 1:
            return Line("uint8" if whole else self.x, "i8" if whole else "f32", self.stride, True, self.axes)
        return Line("uint8" if whole else "uint16", self.element.scalar, 1, True, self.axes)

    @property
    def bias_bytes(self) -> int:
        """Of a feature: where pixels are a tile's columns, a row of them."""
        return LINE if self.planar else 4

    @property
    def lines(self) -> bool:
        """Whether each tile of pixels lies in one line of outputs, and may begin anywhere."""
        return self.unfolded or self.phases > 1

    @property
    def sums(self) -> int:
        """Bytes of the sums of a register tile, of each phase."""
        return self.rows * self.columns * tiles.TILE

    @property
    def squares(self) -> bool:
        """Whether sums leave in squares, because they lie otherwise in the output: the other way or with gaps."""
        if self.phases > 1:
            return False
        return self.channels_last_y or self.gaps if self.planar else not self.channels_last_y
