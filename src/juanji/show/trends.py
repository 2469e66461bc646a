"""`frequencies`: how spatial frequency and orientation selectivity change from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from juanji.errors import ArgumentError
from juanji.inside.spectra import Frequency
from juanji.show.panels import Panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def frequencies(measured: Sequence[Frequency], *, dark: bool = False, language: str | None = None) -> Figure:
    """Mean spatial frequency and orientation selectivity, a point for each of `inside.frequency`'s results, a dot for each picture.

    Returns a matplotlib figure. Needs matplotlib: pip install 'juanji[show]'.
    """
    if not measured:
        raise ArgumentError("measured must hold at least one result of inside.frequency")
    page = Panels(1, 2, (10.0, 3.8), dark, language)
    colours = page.colours
    for axes, name, means, every in (
        (page.axes[0, 0], "cycles", [m.frequency for m in measured], [m.frequencies for m in measured]),
        (page.axes[0, 1], "selectivity", [m.selectivity for m in measured], [m.selectivities for m in measured]),
    ):
        axes.set_axis_on()
        axes.set_facecolor(colours.background)
        for at, values in enumerate(every):
            axes.plot(np.full(len(values), at), values, "o", color=colours.faint, markersize=3, alpha=0.45, mew=0)
        axes.plot(range(len(means)), means, "o-", color=colours.positive, lw=2, markersize=6)
        axes.set_xticks(range(len(measured)), [m.name for m in measured], rotation=30, ha="right", fontsize=9)
        axes.tick_params(colors=colours.ink, length=0)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=colours.faint, alpha=0.3)
        axes.spines[:].set_visible(False)
        page.title(axes, page.say(name))
    return page.figure


__all__ = ["frequencies"]
