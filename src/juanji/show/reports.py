"""`report`: one page about a network and a photo: what it says, what that rests on, and what each layer sees, makes and looks for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import __version__, messages
from juanji.atomic import atomic_write
from juanji.data.pictures import resized
from juanji.errors import ArgumentError
from juanji.explain.arguments import by
from juanji.explain.layers import layer_table
from juanji.explain.receptive import receptive_field
from juanji.inside import (
    deconvnet,
    frequency_of,
    grad_cam,
    guided,
    kernel_likeness,
    maximise,
    occlusion,
    picture_of,
    repeated,
    saliency,
)
from juanji.inside.inputs import one_input
from juanji.nn.graph import Graph
from juanji.nn.operator import Shape
from juanji.nn.pools import MaxPool
from juanji.nn.predicting import Prediction, predict
from juanji.show import embedded, page
from juanji.show.groups import lettered
from juanji.show.report_words import ReportWords
from juanji.show.stages import ends, first_kernels, with_maps
from juanji.show.tiles import around_grey, bright, clipped, coloured, in_colour, liveliest, sized, stitched

Array = npt.NDArray[Any]
Progress = Callable[[float], None]  # the share that is done

LARGEST = 256  # pixels along a photo, for networks that take any size
SMALL = 100  # pixels along a photo, below which they are shown as squares
TILE, COLUMNS = 56, 8  # of a feature map, in pixels
PATCH = 72
CLIMBED, STEPS, FILTERS = 96, 20, 16  # side, steps and number of the pictures that maximise
VARIANT: dict[str, Any] = {"jitter": 4, "variation": 0.05}
KERNELS = 64
MOST_ROWS = 40  # of the table of layers, that are shown without a click
SHARES = {"answer": 0.05, "why": 0.3, "fields": 0.03, "kernels": 0.01, "maps": 0.1, "deconvnet": 0.12, "maximise": 0.34, "layers": 0.05}


def report(net: Graph, photo: npt.ArrayLike, path: str | os.PathLike[str], *, name: str = "", language: str | None = None,
           filters: int = FILTERS, progress: Progress | None = None) -> None:  # fmt: skip
    """Write one HTML file about what a network makes of a photo; it needs no other file, no network and no script.

    photo: H×W or H×W×C, prepared as `predict` does; for networks that take any size it is shrunk to 256 pixels. name: of the network,
    for the title. language: "en" or "zh", by the locale unless given. filters: how many of each stage are maximised. progress: called
    with the share that is done.

    Raises ShapeError for networks that take no pictures and photos too small for them, FileError for a path that cannot be written.
    """
    if language is None:
        language = messages.choose([], os.environ)
    if language not in messages.LANGUAGES:
        raise ArgumentError(f"language (={language!r}) must be one of {', '.join(messages.LANGUAGES)}")
    if filters < 1:
        raise ArgumentError(f"filters (={filters}) must be at least 1")
    begun, say = time.monotonic(), ReportWords(language)
    photo = _fitting(net, np.asarray(photo))
    x = one_input(net, photo)
    picture, stages = picture_of(net, x[0]), ends(net, x.shape[1:])
    made = _Report(net, x, picture, predict(net, photo), stages, say, filters, progress or (lambda share: None))
    title = say("title", network=name or say("network"))
    parts = list(made.parts())
    foot = say("made", version=__version__, seconds=time.monotonic() - begun)
    whole = page.page(title, language, parts, foot, crisp=max(picture.shape[:2]) < SMALL)
    with atomic_write(path) as file:
        file.write(whole.encode())


@dataclass
class _Report:
    """The parts of a page, made one after another."""

    net: Graph
    x: Array
    picture: Array
    prediction: Prediction
    stages: dict[str, Shape]
    say: ReportWords
    filters: int
    progress: Progress
    done: float = 0.0

    def parts(self) -> Iterator[str]:
        for name, share in SHARES.items():
            yield from getattr(self, f"_{name}")()
            self.done += share
            self.progress(self.done)

    def _within(self, name: str, share: float) -> None:
        """Tell how far the part of a name has come."""
        self.progress(self.done + SHARES[name] * share)

    def _counted(self, name: str, share: float, until: float = 1.0) -> Callable[[int, int], None]:
        """The same from counts, between two shares of the part."""
        return lambda done, of: self._within(name, share + (until - share) * done / of)

    def _answer(self) -> Iterator[str]:
        found, say = self.prediction, self.say
        size = f"{self.x.shape[3]}×{self.x.shape[2]}"
        shown = page.figure(embedded.photo(self.picture), say("seen", size=size))
        if found.kind == "classes":
            answer = page.bars(found.best(5))
        elif found.kind == "numbers":
            answer = f"<p>{say('numbers', values=', '.join(f'{value:.4g}' for value in found.values))}</p>"
        else:
            values = found.values if found.kind == "mask" else found.picture() / 255
            answer = page.figure(embedded.painted(values, 1.0), say(found.kind))
        yield f"<section><div class=two>{shown}<div><h2 class=answer>{say('says')}</h2>{answer}</div></div></section>"

    def _why(self) -> Iterator[str]:
        net, x, say = self.net, self.x, self.say
        target = int(np.argmax(self.prediction.values)) if self.prediction.kind in ("classes", "numbers") else 0
        named = net.classes[target] if net.classes is not None else str(target)
        photo, side = embedded.photo(self.picture), max(min(x.shape[2:]) // 6, 1)
        slopes = np.abs(saliency(net, x, target)).max(axis=2)
        details, cam = guided(net, x, target), grad_cam(net, x, target)
        self._within("why", 0.3)
        fallen = occlusion(net, x, target, size=side, stride=max(side // 2, 1), progress=self._counted("why", 0.3))
        figures = [
            page.figure(embedded.painted(slopes, bright(slopes)), say("saliency")),
            page.figure(embedded.photo(coloured(around_grey(clipped(details)))), say("guided")),
            page.figure(photo, say("grad_cam"), over=embedded.painted(cam)),
            page.figure(photo, say("occlusion", size=side), over=embedded.painted(fallen)),
        ]
        yield page.section(say("why"), say("why.note", target=named), page.grid(figures))

    def _fields(self) -> Iterator[str]:
        say, figures = self.say, []
        for layer in self.stages:
            found = receptive_field(self.net, layer, input_shape=self.x.shape[1:])
            (top, bottom), (left, right) = found.inside
            dimmed = coloured(self.picture) // 4 + 96
            dimmed[top : bottom + 1, left : right + 1] = coloured(self.picture)[top : bottom + 1, left : right + 1]
            size, stride = (say("varies") if values[0] is None else "×".join(map(str, values)) for values in (found.size, found.stride))
            figures.append(page.figure(embedded.photo(dimmed), say("field", size=size, stride=stride), bold=layer))
        yield page.section(say("fields"), say("fields.note"), page.grid(figures, "11rem"))

    def _kernels(self) -> Iterator[str]:
        layer, w = first_kernels(self.net)
        say, sizes = self.say, {"count": len(w), "size": by(w.shape[1:])}
        if w.shape[1] == 3:
            figures = [page.figure(embedded.exact(tile)) for tile in in_colour(w[:KERNELS])]
            yield page.section(say("kernels", layer=layer), say("kernels.colour", **sizes), page.grid(figures, "3.2rem", crisp=True))
            return
        like = [str(each) for each in kernel_likeness(w)] if min(w.shape[2:]) >= 3 else [""] * len(w)
        figures = [page.figure(embedded.painted(w[i].sum(axis=0)), like[i]) for i in range(min(len(w), KERNELS))]
        yield page.section(say("kernels", layer=layer), say("kernels.grey", **sizes), page.grid(figures, "7rem", crisp=True))

    def _maps(self) -> Iterator[str]:
        say, shapes = self.say, with_maps(self.net, self.x.shape[1:], activated=True)
        values = self.net.features(self.x, shapes)
        groups: list[str] = []
        for size in dict.fromkeys(shape[1:] for shape in shapes.values()):
            names = [layer for layer, shape in shapes.items() if shape[1:] == size]
            body = page.grid((self._maps_of(layer, values.pop(layer)[0]) for layer in names), "20rem")
            groups.append(page.folded(say("maps.stage", size=by(size), count=len(names)), body, open_=len(groups) < 2))
            self._within("maps", 1 - len(values) / len(shapes))
        yield page.section(say("maps"), say("maps.note"), *groups)

    def _maps_of(self, layer: str, maps: Array) -> str:
        chosen = liveliest(maps, 2 * COLUMNS)
        tiles = [sized(maps[i].astype(np.float32), TILE) for i in chosen]
        blank = np.full_like(tiles[0], np.nan)  # of layers with few maps the tiles are as large as of others
        sheet = stitched([*tiles, *[blank] * max(0, COLUMNS - len(tiles))], COLUMNS, 3)
        low, high = (f"{value:.3g}".replace("-", "−") for value in (maps.min(), maps.max()))
        caption = self.say("maps.layer", shown=len(chosen), count=len(maps), low=low, high=high)
        return page.figure(embedded.painted(sheet, bright(maps[chosen])), caption, bold=layer)

    def _deconvnet(self) -> Iterator[str]:
        figures = []
        strides = not any(isinstance(node.op, MaxPool) for node in self.net.nodes)  # which remember nothing of the picture
        for number, layer in enumerate(self.stages, 1):
            found = [each for each in deconvnet(self.net, self.x, layer, guided=strides) if each.activation > 0]
            if found:
                picture = coloured(self.picture)
                patches = [sized(each.cut(picture), PATCH) for each in found]
                pixels = [sized(coloured(around_grey(clipped(_even(each.cut())))), PATCH) for each in found]
                sides = [stitched(tiles, 3, 3, 128).astype(np.uint8) for tiles in (patches, pixels)]
                both = np.concatenate([sides[0], np.full((len(sides[0]), 12, 3), 128, np.uint8), sides[1]], axis=1)
                features = ", ".join(str(each.unit[0]) for each in found)
                figures.append(page.figure(embedded.photo(both), self.say("deconvnet.units", features=features), bold=layer))
            self._within("deconvnet", number / len(self.stages))
        note = "deconvnet.guided" if strides else "deconvnet.note"
        yield page.section(self.say("deconvnet"), self.say(note), page.grid(figures, "24rem"))

    def _maximise(self) -> Iterator[str]:
        say, sheets, means = self.say, [], []
        for number, layer in enumerate(self.stages):
            found = maximise(
                self.net, layer, self.filters, size=min(CLIMBED, *self.x.shape[2:]), steps=STEPS, drop=False, **VARIANT,
                progress=self._counted("maximise", number / len(self.stages), (number + 1) / len(self.stages)),
            )  # fmt: skip
            means.append(frequency_of(found.pictures, layer))
            groups = lettered(repeated(found))
            tiles = zip(found.filters, np.rint(255 * found.tiles()).astype(np.uint8), strict=False)
            figures = [page.figure(embedded.photo(coloured(tile)), str(f), mark=groups.get(f, "")) for f, tile in tiles]
            sheets.append(f"<h3>{escape(layer)}</h3>{page.grid(figures, '5.5rem')}")
        yield page.section(say("maximise"), say("maximise.note", steps=STEPS), *sheets)
        charts = (
            page.chart(list(self.stages), [mean.frequency for mean in means], say("frequency.cycles")),
            page.chart(list(self.stages), [mean.selectivity for mean in means], say("frequency.selectivity")),
        )
        yield page.section(say("frequency"), say("frequency.note"), f"<div class=two>{''.join(charts)}</div>")

    def _layers(self) -> Iterator[str]:
        found, say = layer_table(self.net, self.x.shape[1:]), self.say
        rows = [
            (layer.name, layer.kind, by(layer.shape), f"{layer.parameters:,}", f"{layer.macs:,}",
             *("" if value is None else str(value) for value in layer.field or (None,) * 3))
            for layer in found.layers
        ]  # fmt: skip
        totals = {"parameters": f"{found.total('parameters'):,}", "macs": f"{found.total('macs'):,}"}
        table = page.table(say("layers.head").split("|"), rows)
        table = page.folded(say("layers.count", count=len(rows)), table, open_=len(rows) <= MOST_ROWS)
        yield page.section(say("layers"), say("layers.note", **totals), table)


def _fitting(net: Graph, photo: Array) -> Array:
    """The photo, shrunk where the network would take it as large as it is and that is larger than a page needs."""
    (shape,) = net.inputs.values() if len(net.inputs) == 1 else (None,)
    own = net.preprocessing.size if net.preprocessing is not None else None
    longest = max(photo.shape[:2], default=0)
    if photo.ndim not in (2, 3) or longest <= LARGEST or own is not None or (shape is not None and None not in shape):
        return photo
    layers = photo[None] if photo.ndim == 2 else np.moveaxis(photo, -1, 0)
    small = resized(layers, [max(1, round(length * LARGEST / longest)) for length in photo.shape[:2]])
    return small[0] if photo.ndim == 2 else np.moveaxis(small, 0, -1)


def _even(values: Array) -> Array:
    """Numbers less their mean: a projection's pattern without its overall tint."""
    even: Array = values - values.mean(axis=(0, 1))
    return even


__all__ = ["report"]
