"""Drawings as matplotlib figures, and a slide with a time slider."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from juanji.extras import optional
from juanji.show.drawing import DASH, Drawing, Line, Polygon, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from juanji.show.pictures import Pictures

DPI = 100
BAR = 40  # pixels for the slider


def with_slider(pictures: Pictures) -> Figure:
    """A film's pictures as a figure whose slider chooses the frame."""
    plt, widgets = optional("matplotlib.pyplot", "show"), optional("matplotlib.widgets", "show")
    width, height = pictures.size
    colours = pictures.colours
    figure: Figure = plt.figure(figsize=(width / DPI, (height + BAR) / DPI), dpi=DPI, facecolor=colours.background)
    page = figure.add_axes((0, BAR / (height + BAR), 1, height / (height + BAR)))
    count = len(pictures.film.frames)

    def show(number: float) -> None:
        draw(page, pictures.drawing(int(number) - 1), pictures.words.font)
        figure.canvas.draw_idle()

    show(1)
    if count > 1:
        bar = figure.add_axes((0.12, 0.25 * BAR / (height + BAR), 0.72, 0.5 * BAR / (height + BAR)))
        ends: dict[str, Any] = {"valmin": 1, "valmax": count, "valinit": 1, "valstep": 1, "valfmt": "%d"}
        time = widgets.Slider(bar, "", **ends, color=colours.positive, track_color=colours.faint)
        time.valtext.set_color(colours.ink)
        time.on_changed(show)
        figure.juanji_slider = time  # type: ignore[attr-defined]  # a slider works as long as something keeps it
    return figure


def draw(page: Axes, drawing: Drawing, font: str | None) -> None:
    """A drawing on matplotlib's axes, in place of what was there."""
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.font_manager import FontProperties

    page.clear()
    page.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    page.set_axis_off()
    points = 72 / DPI  # of a pixel
    properties = FontProperties(fname=font) if font else FontProperties()
    for order, ((kind, dashed), shapes) in enumerate(groupby(drawing.shapes, lambda s: (type(s), getattr(s, "dashed", False)))):
        group: list[Any] = list(shapes)
        if kind is Polygon:
            style = (0, (DASH, DASH)) if dashed else "solid"
            fills, edges = ([getattr(p, part) or "none" for p in group] for part in ("fill", "edge"))
            widths = [p.width * points for p in group]
            page.add_collection(
                PolyCollection(
                    [p.points for p in group], facecolors=fills, edgecolors=edges, linewidths=widths, linestyles=style, zorder=order
                )
            )
        elif kind is Line:
            lines, widths = [(s.start, s.end) for s in group], [s.width * points for s in group]
            page.add_collection(LineCollection(lines, colors=[s.colour for s in group], linewidths=widths, zorder=order))
        elif kind is Text:
            for (x, y), text, size, colour, anchor in group:
                side = "center" if anchor == "middle" else "left"
                page.text(x, y, text, size=size * points, color=colour, ha=side, va="center", fontproperties=properties, zorder=order)
