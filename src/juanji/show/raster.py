"""Shapes as pixels, by Pillow: drawn twice as large and averaged, so that edges and letters are smooth."""

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw

from juanji.show.drawing import DASH, Line, Point, Polygon, Shape, Text
from juanji.show.words import letters

SCALE = 2


class Canvas:
    """A page of pixels to draw on, large."""

    def __init__(self, width: int, height: int, background: str, font: str | None) -> None:
        self._font = font
        self._large = Image.new("RGB", (width * SCALE, height * SCALE), background)

    def copy(self) -> "Canvas":
        """The same page, to be drawn on by itself."""
        other = object.__new__(Canvas)
        other._font, other._large = self._font, self._large.copy()
        return other

    def pixels(self) -> Image.Image:
        """The page in its own size."""
        return self._large.reduce(SCALE)

    def draw(self, shapes: Iterable[Shape]) -> "Canvas":
        """Shapes over what is there."""
        pen = ImageDraw.Draw(self._large)
        for shape in shapes:
            match shape:
                case Polygon(points, fill, edge, width, dashed):
                    corners = [(x * SCALE, y * SCALE) for x, y in points]
                    if fill:
                        pen.polygon(corners, fill=fill)
                    if edge and dashed:
                        for first, second in zip(points, points[1:] + points[:1], strict=True):
                            _dashes(pen, first, second, edge, width)
                    elif edge:
                        pen.line([*corners, corners[0], corners[1]], fill=edge, width=max(1, round(width * SCALE)), joint="curve")
                case Line(start, end, colour, width):
                    pen.line([(x * SCALE, y * SCALE) for x, y in (start, end)], fill=colour, width=max(1, round(width * SCALE)))
                case Text((x, y), text, size, colour, anchor):
                    named = letters(self._font, max(1, round(size * SCALE)))
                    pen.text((x * SCALE, y * SCALE), text, fill=colour, font=named, anchor="mm" if anchor == "middle" else "lm")
        return self


def _dashes(pen: ImageDraw.ImageDraw, start: Point, end: Point, colour: str, width: float) -> None:
    length = math.dist(start, end)
    count = max(1, round(length / (2 * DASH)))
    for i in range(count):
        ends = [tuple(SCALE * (a + (b - a) * (i + part) / count) for a, b in zip(start, end, strict=True)) for part in (0.25, 0.75)]
        pen.line([*ends[0], *ends[1]], fill=colour, width=max(1, round(width * SCALE)))
