"""`compare`: what went into a convolution and what came out, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.explain.arguments import by
from juanji.extras import optional
from juanji.show.films import operands
from juanji.show.frames import INSIDE
from juanji.show.gathered import Forward
from juanji.show.layout import padding_of
from juanji.show.theme import Theme, colormap, label, over, shades, theme
from juanji.show.views import MOST_PLANES
from juanji.show.words import Words, ems, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

WIDE = 12.0  # inches
LEAST_SHARE = 0.3  # of the widest panel, that the narrowest gets
LARGEST_CELL = 0.5  # inches
SMALLEST_TEXT, EASY_TEXT, LARGEST_TEXT = 5.0, 7.0, 12.0  # points
MOST_NUMBERS = 4096  # cells of a plane that numbers are tried in


def compare(
    x: Any,
    w: Any,
    bias: npt.ArrayLike | None = None,
    *,
    feature: int = 0,
    sample: int = 0,
    dark: bool = False,
    language: str | None = None,
    **arguments: Any,
) -> Figure:
    """Input, kernel, padded input and output of a convolution side by side, numbers in their cells while they fit.

    Arguments as for `slide`; `arguments` are those of `conv`. Numbers of both signs have a colour scale with zero in its middle, those
    of one sign a scale from zero; pictures too large for numbers are grey where nothing is negative. A dashed frame in the padded
    input is the input. Returns a matplotlib figure. Needs matplotlib: pip install 'juanji[show]'.
    """
    plt = optional("matplotlib.pyplot", "show")
    laid = Forward.of(*operands(x, w, arguments), bias, feature, sample, arguments)
    spec, colours, say = laid.spec, theme(dark), words(language)
    inside = np.argwhere(laid.field.cells == INSIDE)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    values = laid.field.values
    shown = min(len(values), MOST_PLANES)
    weights = laid.weights[(0,) * spec.n]
    columns = {  # the planes of a column, and its title
        f"{say('input')} {by(spec.size)}": values[:shown, top:bottom, left:right],
        "\n".join([f"{say('kernel')} {by(spec.kernel)}", *_steps(laid, say)]): weights.reshape(len(weights), -1, spec.kernel[-1])[:shown],
        f"{say('padded')} {by(laid.field.shape[2 - spec.n :])}": values[:shown],
        f"{say('output')} {by(spec.output)}": laid.results.reshape(1, -1, spec.output[-1]),
    }
    if not padding_of(spec):
        del columns[f"{say('padded')} {by(laid.field.shape[2 - spec.n :])}"]
    largest = max(planes.shape[2] for planes in columns.values())
    shares = [max(planes.shape[2], LEAST_SHARE * largest) for planes in columns.values()]
    cell = min(LARGEST_CELL, 0.85 * WIDE / sum(shares))
    tallest = max(planes.shape[1] for planes in columns.values())
    size = (max(6.0, cell * sum(shares) / 0.85), cell * tallest * shown * 1.12 + 0.8)
    engine = optional("matplotlib.layout_engine", "show").ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.05)
    figure: Figure = plt.figure(figsize=size, facecolor=colours.background, layout=engine)
    grid = figure.add_gridspec(shown, len(columns), width_ratios=shares)
    for number, (title, planes) in enumerate(columns.items()):
        scale = np.array([planes.min(), planes.max()])
        for row, plane in enumerate(planes):
            axes = figure.add_subplot(grid[row if len(planes) > 1 else slice(None), number])
            numbered(axes, plane, scale, cell * shares[number] / plane.shape[1], colours, say)
            if row == 0:
                axes.set_title(title, color=colours.ink, fontsize=11, fontproperties=font_of(say), pad=8)
            if title.startswith(say("padded")):
                frame = plt.Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=colours.mark, ls="--", lw=1.5)
                axes.add_patch(frame)
    if len(values) > shown:
        figure.supxlabel(say("more", count=len(values) - shown), color=colours.ink, fontproperties=font_of(say))
    return figure


def _steps(laid: Forward, say: Words) -> list[str]:
    """Stride, dilation, padding, in words, where they say something."""
    spec = laid.spec
    notes = {"stride": spec.stride, "dilation": spec.dilation}
    said = [f"{say(name)} {by(steps)}" for name, steps in notes.items() if any(step != 1 for step in steps)]
    padding = padding_of(spec)
    if padding:
        said.append(f"{say('padding')} {padding['padding']}" + ("" if padding["boundary"] == "zero" else f" ({padding['boundary']})"))
    return said


def numbered(axes: Axes, plane: Array, scale: Array, cell: float, colours: Theme, say: Words) -> None:
    """One plane of numbers, coloured on the scale of all planes of its column."""
    digits, points = _digits(plane, cell)
    numbers = points >= SMALLEST_TEXT
    made, norm = colormap(scale, colours)
    grey = not numbers and scale[0] >= 0
    axes.imshow(plane.astype(np.float64), cmap="gray" if grey else made, norm=norm, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(colours.faint)
    if numbers:
        largest = float(np.abs(scale.astype(np.float64)).max())
        for (row, column), fill in np.ndenumerate(shades(plane, colours, largest)):
            text = label(plane[row, column], digits)
            axes.text(column, row, text, color=over(fill, colours), fontproperties=font_of(say), fontsize=points, ha="center", va="center")


def _digits(plane: Array, cell: float) -> tuple[int, float]:
    """How many digits numbers have, fewer if that makes them easy to read, and their size in points; 0 if there are too many cells."""
    if plane.size > MOST_NUMBERS:
        return 0, 0.0
    for digits in (3, 2):
        widest = max(ems(label(value, digits)) for value in plane.flat)
        points = min(LARGEST_TEXT, 72 * cell * 0.88 / widest)
        if points >= EASY_TEXT:
            break
    return digits, points


def font_of(say: Words) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=say.font) if say.font else FontProperties()
