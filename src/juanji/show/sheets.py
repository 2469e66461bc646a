"""`maximise`: what the filters of a layer look for, on one sheet, with those marked that repeat others up to a turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from juanji.errors import ArgumentError
from juanji.inside.ascent import COLUMNS, Maximised
from juanji.inside.ascent import maximise as climbed
from juanji.inside.spectra import repeated
from juanji.nn.graph import Graph
from juanji.show.groups import lettered
from juanji.show.panels import Panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 1.15  # of a tile
NARROW = 4.6  # inches, that the title needs


def maximise(
    net: Graph | Maximised, layer: str | None = None, filters: int | Sequence[int] = 200, *, columns: int = COLUMNS,
    dark: bool = False, language: str | None = None, **options: Any,
) -> Figure:  # fmt: skip
    """The sheet of `inside.maximise`: up to columns × columns pictures by falling activation, each with its filter's number.

    net: a network, with the layer and options as for `inside.maximise`; or what that returned. Under a picture that repeats another up
    to a turn stands the letter of their group and its turn from the first. Returns a matplotlib figure; the whole square of pixels, which
    stays empty where it is not filled, is `Maximised.sheet()`.

    Raises what `inside.maximise` raises. Needs matplotlib: pip install 'juanji[show]'.
    """
    if isinstance(net, Maximised):
        found = net
    elif layer is None:
        raise ArgumentError("layer must be given with a network")
    else:
        found = climbed(net, layer, filters, **options)
    rows = -(-min(max(len(found), 1), columns * columns) // columns)
    page = Panels(rows, columns, (max(INCHES * columns, NARROW), (INCHES + 0.2) * rows + 0.4), dark, language)
    groups = lettered(repeated(found, most=columns * columns))
    head = f"{found.layer}: {page.say('filters', shown=min(len(found), columns * columns), dead=len(found.dead))}"
    page.figure.suptitle(head, color=page.colours.ink, fontsize=11, fontproperties=page.font)
    for axes, number, tile in zip(page.axes.flat, found.filters, found.tiles(columns * columns), strict=False):
        page.picture(axes, tile if tile.shape[2] == 3 else tile[..., 0])
        group = groups.get(number)
        page.caption(axes, f"{number}  {group}" if group else str(number), strong=group is not None)
    return page.figure


__all__ = ["maximise"]
