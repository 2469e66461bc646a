"""A picture as a list of shapes, back to front, in pixels from the top left: what views make, and files and figures are made of."""

from dataclasses import dataclass
from typing import NamedTuple

Point = tuple[float, float]


class Polygon(NamedTuple):
    """A filled outline. A colour of None is not drawn."""

    points: tuple[Point, ...]
    fill: str | None = None
    edge: str | None = None
    width: float = 1.0
    dashed: bool = False


class Line(NamedTuple):
    """A straight line."""

    start: Point
    end: Point
    colour: str
    width: float = 1.0


class Text(NamedTuple):
    """A line of text about a point: its "middle", or its "start"; always its middle in height. size: of the letters."""

    at: Point
    text: str
    size: float
    colour: str
    anchor: str = "middle"


Shape = Polygon | Line | Text


@dataclass(frozen=True)
class Drawing:
    """Shapes on a background."""

    width: int
    height: int
    background: str
    shapes: tuple[Shape, ...]


def svg(drawing: Drawing, family: str = "DejaVu Sans, Noto Sans CJK SC, sans-serif") -> str:
    """The drawing as the text of an SVG file.

    >>> svg(Drawing(10, 10, "#ffffff", (Line((0, 0), (5, 5), "#000000"),))).splitlines()[-2]
    '<line x1="0" y1="0" x2="5" y2="5" stroke="#000000" stroke-width="1"/>'
    """
    size = f'width="{drawing.width}" height="{drawing.height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {drawing.width} {drawing.height}" font-family="{family}">'
    back = f'<rect {size} fill="{drawing.background}"/>'
    return "\n".join([head, back, *map(_element, drawing.shapes), "</svg>\n"])


def _element(shape: Shape) -> str:
    match shape:
        case Polygon(points, fill, edge, width, dashed):
            where = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
            stroke = f' stroke="{edge}" stroke-width="{width:g}" stroke-linejoin="round"' if edge else ""
            return f'<polygon points="{where}" fill="{fill or "none"}"{stroke}{" stroke-dasharray=" + DASHES if edge and dashed else ""}/>'
        case Line((x1, y1), (x2, y2), colour, width):
            return f'<line x1="{x1:.5g}" y1="{y1:.5g}" x2="{x2:.5g}" y2="{y2:.5g}" stroke="{colour}" stroke-width="{width:g}"/>'
        case Text((x, y), text, size, colour, anchor):
            escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            placed = f'x="{x:.5g}" y="{y:.5g}" font-size="{size:.3g}" fill="{colour}" text-anchor="{anchor}"'
            return f'<text {placed} dominant-baseline="central" xml:space="preserve">{escaped}</text>'


DASH = 4.0  # pixels drawn, and as many not
DASHES = f'"{DASH:g} {DASH:g}"'
