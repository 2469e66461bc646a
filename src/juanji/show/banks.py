"""`kernels`: the kernels of a layer as pictures, beside the classic ones that they are like."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.explain.arguments import by
from juanji.inside.classic import LEAST, kernel_likeness
from juanji.nn.graph import Graph
from juanji.show.panels import Panels
from juanji.show.stages import first_kernels, kernels_of
from juanji.show.tiles import in_colour, stitched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

MOST, COLUMNS = 64, 8
MOST_CHANNELS = 16


def kernels(
    net: Graph, layer: str | None = None, *, most: int = MOST, likeness: bool = True, dark: bool = False, language: str | None = None
) -> Figure:
    """The kernels of a layer as pictures: those over three channels in the colours that they answer to, grey being 0; those over one
    on a colour scale with 0 in its middle; of those over more, a row for each kernel and a column for each channel.

    layer: the first convolution unless said. most: how many kernels. likeness: names under each kernel over one or three channels the
    classic kernel that it is most like, Sobel, Prewitt or a Gaussian, with their normalised correlation; − for its negative.
    Returns a matplotlib figure.

    Raises ArgumentError for layers that there are not and layers without kernels. Needs matplotlib: pip install 'juanji[show]'.
    """
    name, weight = first_kernels(net) if layer is None else (layer, kernels_of(net, layer))
    shown = weight[:most]
    channels = weight.shape[1]
    if channels not in (1, 3):
        columns = min(channels, MOST_CHANNELS)
        page = Panels(1, 1, (1 + 0.5 * columns, 0.8 + 0.5 * len(shown)), dark, language)
        sheet = stitched(shown[:, :columns].reshape(-1, *shown.shape[2:]), columns, 1)
        page.numbers(page.axes[0, 0], sheet)
        page.title(page.axes[0, 0], f"{name}  {by(weight.shape)}")
        return page.figure
    named = [str(each) for each in kernel_likeness(shown)] if likeness and min(shown.shape[2:]) >= LEAST else [""] * len(shown)
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    page = Panels(rows, columns, (1.35 * columns, 1.62 * rows + 0.4), dark, language)
    page.figure.suptitle(f"{name}  {by(weight.shape)}", color=page.colours.ink, fontsize=11, fontproperties=page.font)
    largest = float(np.abs(shown).max()) or 1.0
    colours = in_colour(shown) if channels == 3 else None
    for number, axes in enumerate(page.axes.flat[: len(shown)]):
        if colours is not None:
            page.picture(axes, colours[number])
        else:
            scale = np.array([[-largest, largest]])
            page.numbers(axes, shown[number, 0])
            axes.images[0].set_clim(*scale[0])
        page.caption(axes, named[number])
    return page.figure


__all__ = ["kernels"]
