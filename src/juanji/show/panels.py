"""What the figures about networks share: a page in the theme's colours, and pictures with titles on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.extras import optional
from juanji.show.theme import Theme, colormap, theme
from juanji.show.words import Words, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

TITLE, NOTE = 10.0, 8.5  # points


class Panels:
    """A figure with a grid of panels, in the theme, the language and the font that were asked for."""

    def __init__(self, rows: int, columns: int, size: tuple[float, float], dark: bool, language: str | None, **grid: Any) -> None:
        plt = optional("matplotlib.pyplot", "show")
        self.colours: Theme = theme(dark)
        self.say: Words = words(language)
        self.figure: Figure = plt.figure(figsize=size, facecolor=self.colours.background, layout="constrained")
        self.axes: Array = self.figure.subplots(rows, columns, squeeze=False, **grid)
        for axes in self.axes.flat:
            axes.set_axis_off()

    def title(self, axes: Axes, text: str, note: str = "") -> None:
        """A title over a panel at its left, and a note in the faint ink after it."""
        axes.set_title(text, color=self.colours.ink, fontsize=TITLE, fontproperties=self.font, loc="left", pad=4)
        if note:
            axes.set_title(note, color=self.colours.faint, fontsize=NOTE, fontproperties=self.font, loc="right", pad=4)

    def caption(self, axes: Axes, text: str, *, strong: bool = False) -> None:
        """A line under a panel."""
        colour = self.colours.ink if strong else self.colours.faint
        axes.text(0.5, -0.04, text, color=colour, fontsize=NOTE, fontproperties=self.font, ha="center", va="top", transform=axes.transAxes)

    def numbers(self, axes: Axes, values: Array, largest: float | None = None) -> None:
        """Numbers in the theme's colours; NaN is the background. largest: the magnitude shown in full."""
        reach = values if largest is None else np.clip(values, -largest, largest)
        made, norm = colormap(reach, self.colours)
        axes.imshow(np.ma.masked_invalid(values), cmap=made, norm=norm, interpolation="nearest")

    def picture(self, axes: Axes, picture: Array) -> None:
        """A photograph: bytes, or floats from 0 to 1."""
        if picture.ndim == 2:
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255 if picture.dtype.kind in "ui" else 1, interpolation="nearest")
        else:
            axes.imshow(picture, interpolation="nearest")

    @property
    def font(self) -> Any:
        from matplotlib.font_manager import FontProperties

        return FontProperties(fname=self.say.font) if self.say.font else FontProperties()
