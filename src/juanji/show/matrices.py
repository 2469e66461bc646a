"""`matrices`: one window of a convolution in its picture, as a row of im2col's matrix, and as a row of the sparse matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from juanji.errors import ArgumentError
from juanji.explain.arguments import by
from juanji.explain.columns import matrix_product
from juanji.explain.matrix import toeplitz
from juanji.extras import optional
from juanji.show.comparing import font_of, numbered
from juanji.show.films import operands
from juanji.show.gathered import Forward
from juanji.show.theme import theme
from juanji.show.words import words
from juanji.spec import span

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 13.0  # inches
LARGEST_CELL = 0.42
LEAST_SHARE = 0.12  # of the width, that the narrowest panel gets
MOST_CELLS = 2**20  # of the sparse matrix, which is drawn with its zeros


def matrices(
    x: Any, w: Any, position: Sequence[int] | None = None, *, dark: bool = False, language: str | None = None, **arguments: Any
) -> Figure:
    """The same window three times: in the padded input, as a row of X where the convolution is X·W, and as the row of C where it is C·x.

    x, w: of one channel and one feature, arrays or tuples of sizes as for `slide`; `arguments` are those of `conv`. position: of the
    output whose window is marked, the middle one unless given. Numbers stand in the cells while they fit. Returns a matplotlib figure.

    Raises ArgumentError for more channels or features, positions outside the output, and matrices of more than a million cells.
    Needs matplotlib: pip install 'juanji[show]'.
    """
    plt = optional("matplotlib.pyplot", "show")
    x, w = operands(x, w, arguments)
    laid = Forward.of(x, w, None, 0, 0, arguments)
    spec, colours, say = laid.spec, theme(dark), words(language)
    if (spec.channels, spec.features, spec.batch) != (1, 1, 1):
        raise ArgumentError(f"x of {spec.channels} channels and w of {spec.features} features: one of each is drawn")
    if math.prod(spec.output) * math.prod(spec.size) > MOST_CELLS:
        raise ArgumentError(f"the sparse matrix of {by(spec.output)} outputs and {by(spec.size)} inputs is too large to be drawn")
    at = tuple(length // 2 for length in spec.output) if position is None else tuple(position)
    if len(at) != spec.n or any(not 0 <= p < length for p, length in zip(at, spec.output, strict=True)):
        raise ArgumentError(f"position (={at}) must lie in the {by(spec.output)} outputs")
    row = int(np.ravel_multi_index(at, spec.output))
    flat = [0] * (2 - spec.n)  # one axis is drawn as a row
    corner = [*flat, *(p * s for p, s in zip(at, spec.stride, strict=True))]
    reach = [1] * (2 - spec.n) + [span(k, d) for k, d in zip(spec.kernel, spec.dilation, strict=True)]
    windows, sparse = matrix_product(x, w, **arguments).X[0], toeplitz(x.shape, w, **arguments).coordinates.toarray()
    planes = (laid.field.values[0], windows, sparse, laid.results.reshape(-1, spec.output[-1]))
    padded = "padded" if any(sides != (0, 0) for sides in spec.padding) else "input"
    names = (say(padded), "X", "C", say("output"))
    lengths = (planes[0].shape[2 - spec.n :], windows.shape, sparse.shape, spec.output)
    marks = ((*corner, *reach), (row, 0, 1, windows.shape[1]), (row, 0, 1, sparse.shape[1]), (*flat, *at, 1, 1))
    columns = [plane.shape[1] for plane in planes]
    shares = [max(count, LEAST_SHARE * sum(columns)) for count in columns]
    cell = min(LARGEST_CELL, 0.9 * WIDE / sum(shares))
    size = (cell * sum(shares) / 0.9, cell * max(len(plane) for plane in planes) + 0.8)
    figure: Figure = plt.figure(figsize=size, facecolor=colours.background, layout="constrained")
    drawn = zip(figure.subplots(1, 4, width_ratios=shares), planes, names, lengths, marks, shares, strict=True)
    for axes, plane, name, length, (top, left, high, wide), share in drawn:
        numbered(axes, plane, np.array([plane.min(), plane.max()]), cell * share / plane.shape[1], colours, say)
        axes.set_title(f"{name} {by(length)}", color=colours.ink, fontsize=11, fontproperties=font_of(say), pad=8)
        axes.add_patch(plt.Rectangle((left - 0.5, top - 0.5), wide, high, fill=False, ec=colours.mark, lw=2.2))
    return figure
