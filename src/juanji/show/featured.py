"""`maps`: what every layer makes of a picture, as a contact sheet. `stacked`: maps of successive layers as stacks in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError
from juanji.explain.arguments import by
from juanji.inside.inputs import one_input, picture_of
from juanji.nn.graph import Graph
from juanji.nn.layers import Conv
from juanji.show.panels import Panels
from juanji.show.stages import with_maps
from juanji.show.theme import shades
from juanji.show.tiles import coloured, liveliest, sized, stitched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

TILE, COLUMNS = 64, 16
WIDE = 11.0  # inches
MOST_STACKED = 16
BELOW = -0.59  # where the labels of stacks begin; a stack is at most 1 high


def maps(
    net: Graph, x: npt.ArrayLike, layers: Sequence[str] | None = None, *, most: int = COLUMNS, dark: bool = False,
    language: str | None = None,
) -> Figure:  # fmt: skip
    """What the layers make of a picture: of each layer the maps that vary most, on a colour scale of its own with zero in its place.

    x: a picture H×W or H×W×C, or (1, C, H, W). layers: all that give maps unless said. most: how many maps of each.
    Returns a matplotlib figure.

    Raises ArgumentError for layers that there are not and those without maps. Needs matplotlib: pip install 'juanji[show]'.
    """
    inputs = one_input(net, x)
    names = list(with_maps(net, inputs.shape[1:])) if layers is None else list(layers)
    values = net.features(inputs, names)
    for name in names:
        if values[name].ndim != 4:
            raise ArgumentError(f"layer (={name!r}) gives {values[name].shape[1:]}, but must give maps")
    rows = [math.ceil(min(most, values[name].shape[1]) / COLUMNS) for name in names]
    cell = WIDE / COLUMNS
    height = sum(rows) * cell + 0.34 * len(names) + 0.2
    page = Panels(len(names), 1, (WIDE, height), dark, language, gridspec_kw={"height_ratios": [r * cell + 0.04 for r in rows]})
    for axes, name in zip(page.axes[:, 0], names, strict=True):
        made = values[name][0].astype(np.float32)
        chosen = liveliest(made, most)
        tiles = [sized(made[i], TILE) for i in chosen]
        blank = np.full_like(tiles[0], np.nan)
        sheet = stitched([*tiles, *[blank] * (-len(tiles) % COLUMNS)], COLUMNS, 3)
        page.numbers(axes, sheet)
        note = f"{by(made.shape)}, {made.min():.3g} … {made.max():.3g}".replace("-", "−")
        page.title(axes, f"{name}  {type(net.node(name).op).__name__}", note if len(chosen) == len(made) else f"{len(chosen)} / {note}")
    return page.figure


def stacked(
    net: Graph, x: npt.ArrayLike, layers: Sequence[str] | None = None, *, dark: bool = False, language: str | None = None
) -> Figure:
    """Maps in stacks behind one another, from the picture through each layer; a kernel's window goes through the whole stack before it.

    Convolved with 6 and then with 10 kernels, a picture becomes 6 maps and then 10, and each of the 10 kernels is 6 deep. layers: the
    convolutions unless said; a window is drawn before each convolution whose input is the layer before it or an activation of that.

    Raises what `maps` raises.
    """
    inputs = one_input(net, x)
    names = [node.name for node in net.nodes if isinstance(node.op, Conv)] if layers is None else list(layers)
    values = net.features(inputs, names)
    for name in names:
        if values[name].ndim != 4:
            raise ShapeError(f"layer (={name!r}) gives {values[name].shape[1:]}, but must give maps")
    page = Panels(1, 1, (WIDE, 4.6), dark, language)
    axes, colours = page.axes[0, 0], page.colours
    stacks = [("", np.moveaxis(coloured(picture_of(net, inputs[0])), -1, 0), len(inputs[0]))]
    stacks += [(name, values[name][0], values[name].shape[1]) for name in names]
    left, places = 0.0, []
    tallest = max(each.shape[1] for _, each, _ in stacks)
    for name, planes, count in stacks:
        drawn = 1 if not name else min(count, MOST_STACKED)
        high, wide = (max(length / tallest, 0.22) for length in planes.shape[1:])
        step = 0.09 if drawn > 1 else 0.0
        for depth in reversed(range(drawn)):
            x0, y0 = left + depth * step, depth * step * 0.6 - high / 2
            extent = (x0, x0 + wide, y0, y0 + high)
            picture = np.moveaxis(planes, 0, -1) if not name else _painted(planes[liveliest(planes, drawn)[depth]], page)
            axes.imshow(picture, extent=extent, interpolation="nearest", zorder=2 * drawn - depth)
            axes.add_patch(_frame(extent, colours.ink, 0.6, 2 * drawn - depth))
        label = name or page.say("input")
        size = f"{count} × {by(planes.shape[1:])}"
        for line, (text, colour) in enumerate(((label, colours.ink), (size, colours.faint), *_kernel(net, name, page))):
            style = {"color": colour, "fontsize": 9.5, "fontproperties": page.font}
            axes.text(left + wide / 2, BELOW - 0.1 * line, text, ha="center", va="top", **style)
        places.append((left, wide, high, drawn, step, planes.shape[1:]))
        left += wide + (drawn - 1) * step + 0.42
    for (name, *_), before, here in zip(stacks[1:], places, places[1:], strict=False):
        _window(axes, net, name, before, here, colours.mark)
    top = max(high / 2 + (drawn - 1) * step * 0.6 for _, _, high, drawn, step, _ in places)
    axes.set(xlim=(-0.1, left - 0.25), ylim=(BELOW - 0.42, top + 0.08))
    axes.set_aspect("equal")
    return page.figure


def _painted(values: Array, page: Panels) -> Array:
    """Numbers as a picture in the theme's colours."""
    small = sized(values.astype(np.float32), min(max(values.shape), 2 * TILE))
    parts = [int(text[i : i + 2], 16) for text in shades(small, page.colours).flat for i in (1, 3, 5)]
    return np.array(parts, np.uint8).reshape(*small.shape, 3)


def _frame(extent: tuple[float, float, float, float], colour: str, width: float, order: float) -> Any:
    from matplotlib.patches import Rectangle

    x0, x1, y0, y1 = extent
    return Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=width, zorder=order + 0.5)


def _kernel(net: Graph, name: str, page: Panels) -> list[tuple[str, str]]:
    """How many kernels a convolution has, and how deep they are."""
    if not name or not isinstance(net.node(name).op, Conv):
        return []
    features, *size = net.arrays_of(net.node(name))["weight"].shape
    return [(f"{features} × {page.say('kernel')} {by(size)}", page.colours.mark)]


def _window(axes: Any, net: Graph, name: str, before: tuple[Any, ...], here: tuple[Any, ...], colour: str) -> None:
    """The kernel's window in the stack before, through all of it, and the lines to its element."""
    node = net.node(name)
    if not isinstance(node.op, Conv):
        return
    size = net.arrays_of(node)["weight"].shape[-2:]
    left, wide, high, drawn, step, (rows, columns) = before
    w, h = (length * share / of for length, share, of in zip(size[::-1], (wide, high), (columns, rows), strict=True))
    x0, y0 = left + 0.55 * wide, 0.1 * high
    deep = (drawn - 1) * step
    corners = [(x0, y0), (x0 + w, y0), (x0 + w, y0 + h), (x0, y0 + h)]
    for dx in {0.0, deep}:
        shifted = [(x + dx, y + dx * 0.6) for x, y in (*corners, corners[0])]
        axes.plot(*zip(*shifted, strict=True), color=colour, lw=1.3, zorder=100)
    for x, y in corners if deep else ():
        axes.plot((x, x + deep), (y, y + deep * 0.6), color=colour, lw=0.8, zorder=100)
    target = here[0] + 0.55 * here[1], 0.1 * here[2]
    for x, y in corners[1:3]:
        axes.plot((x + deep, target[0]), (y + deep * 0.6, target[1]), color=colour, lw=0.8, zorder=100)
    axes.plot(*target, "s", color=colour, markersize=4, zorder=101)


__all__ = ["maps", "stacked"]
