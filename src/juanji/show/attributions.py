"""Pictures of what an answer rests on: strong activations sent back, four views of a class's evidence, and what a unit can see at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.explain.receptive import effective_field
from juanji.explain.receptive import receptive_field as field_of
from juanji.inside import attributing
from juanji.inside.inputs import as_input, one_input, picture_of
from juanji.inside.parts import until
from juanji.inside.projecting import Unit
from juanji.inside.projecting import deconvnet as projected
from juanji.nn.graph import Graph
from juanji.show.panels import Panels
from juanji.show.tiles import around_grey, bright, clipped, coloured, sized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

PATCH = 96


def deconvnet(
    net: Graph, x: npt.ArrayLike, layer: str, *, strongest: int = 9, feature: int | None = None, units: Sequence[Unit] | None = None,
    guided: bool = False, dark: bool = False, language: str | None = None,
) -> Figure:  # fmt: skip
    """The strongest activations of a layer: each time the part of the picture that the unit sees, and its activation sent back there.

    Arguments as for `inside.deconvnet`, which this draws. Returns a matplotlib figure.

    Raises what that raises. Needs matplotlib: pip install 'juanji[show]'.
    """
    found = projected(net, x, layer, strongest=strongest, feature=feature, units=units, guided=guided)
    inputs = as_input(net, x)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    page = Panels(rows, columns, (2.9 * columns, 1.75 * rows + 0.5), dark, language)
    page.figure.suptitle(f"{layer}: {page.say('projected')}", color=page.colours.ink, fontsize=11, fontproperties=page.font)
    for axes, each in zip(page.axes.flat, found, strict=False):
        patch = sized(each.cut(coloured(picture_of(net, inputs[each.sample]))), PATCH)
        pixels = sized(coloured(around_grey(clipped(each.cut()))), PATCH)
        page.picture(axes, np.concatenate([patch, np.full((PATCH, 3, 3), 128, np.uint8), pixels], axis=1))
        page.caption(axes, f"{', '.join(map(str, each.unit))}: {each.activation:.3g}")
    return page.figure


def evidence(
    net: Graph, x: npt.ArrayLike, target: int | str | None = None, *, dark: bool = False, language: str | None = None, **patch: int
) -> Figure:
    """What speaks for a class: the picture, saliency, guided back-propagation, Grad-CAM, occlusion.

    target: as for `inside.saliency`. patch: size and stride of the patch that occludes; a seventh of the picture, by halves of it,
    unless given. Grad-CAM and occlusion lie over the picture: blue speaks for the class, orange against it.

    Raises what `inside.saliency` and `inside.occlusion` raise. Needs matplotlib: pip install 'juanji[show]'.
    """
    inputs = one_input(net, x)
    side = patch.get("size", max(min(inputs.shape[2:]) // 7, 1))
    hiding = {"size": side, "stride": patch.get("stride", max(side // 2, 1))}
    slopes = np.abs(attributing.saliency(net, inputs, target)).max(axis=2)
    details = attributing.guided(net, inputs, target)
    over = {"grad_cam": attributing.grad_cam(net, inputs, target), "occlusion": attributing.occlusion(net, inputs, target, **hiding)}
    picture = coloured(picture_of(net, inputs[0]))
    page = Panels(1, 5, (13.0, 3.0), dark, language)
    first, second, third, *rest = page.axes[0]
    page.picture(first, picture)
    page.numbers(second, slopes, bright(slopes))
    page.picture(third, coloured(around_grey(clipped(details))))
    for axes, values in zip(rest, over.values(), strict=True):
        page.picture(axes, _laid_over(picture, values, page))
    for axes, name in zip(page.axes[0], ("input", "saliency", "guided", *over), strict=True):
        page.title(axes, page.say(name))
    return page.figure


def receptive_field(
    net: Graph, layer: str, unit: Sequence[int] | None = None, x: npt.ArrayLike | None = None, *, input_shape: Sequence[int] | None = None,
    effective: bool = True, dark: bool = False, language: str | None = None,
) -> Figure:  # fmt: skip
    """What a unit sees of a picture: its receptive field framed; and beside it how strongly it depends on each pixel.

    unit: its place in the map, the middle one unless given. x: the picture; without it input_shape (C, H, W), and a blank one is drawn.
    effective: whether the effective field is drawn too, from gradients at the picture, or at noise without one.

    Raises what `explain.receptive_field` raises. Needs matplotlib: pip install 'juanji[show]'.
    """
    inputs = None if x is None else one_input(net, x)
    shape = input_shape if inputs is None else inputs.shape[1:]
    part = net if shape is None else until(net, layer)  # which takes pictures of any size
    found = field_of(part, layer, unit, input_shape=shape)
    page = Panels(1, 2 if effective else 1, (9.0 if effective else 4.6, 4.9), dark, language)
    picture = np.full((*found.shape, 3), 200, np.uint8) if inputs is None else coloured(picture_of(net, inputs[0]))
    axes = page.axes[0, 0]
    page.picture(axes, picture)
    (top, bottom), (left, right) = found.region
    from matplotlib.patches import Rectangle

    corner = left - 0.5, top - 0.5
    axes.add_patch(Rectangle(corner, right - left + 1, bottom - top + 1, fill=False, ec=page.colours.mark, lw=2, clip_on=False))
    high, wide = found.shape
    axes.set(xlim=(min(left, 0) - 1, max(right, wide - 1) + 1), ylim=(max(bottom, high - 1) + 1, min(top, 0) - 1))
    sizes = "×".join(page.say("varies") if value is None else str(value) for value in found.size)
    page.title(axes, f"{layer} {found.unit}: {page.say('sees', size=sizes)}")
    if effective:
        strength = effective_field(part, layer, found.unit, inputs, input_shape=shape)
        page.numbers(page.axes[0, 1], strength, 1.0)
        page.title(page.axes[0, 1], page.say("depends"))
    return page.figure


def _laid_over(picture: Array, values: Array, page: Panels) -> Array:
    """Signed numbers in the theme's colours over a pale grey copy of a picture."""
    pale = 0.45 * picture.mean(axis=2, keepdims=True) + 0.55 * _rgb(page.colours.background)
    shares = np.clip(values / (float(np.abs(values).max()) or 1.0), -1, 1)[..., None]
    ink = np.where(shares > 0, _rgb(page.colours.positive), _rgb(page.colours.negative))
    laid: Array = np.rint(pale + (ink - pale) * np.abs(shares)).astype(np.uint8)
    return laid


def _rgb(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


__all__ = ["deconvnet", "evidence", "receptive_field"]
