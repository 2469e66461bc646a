"""`slide`: an operator at work, window by window, as an animation, frames or a figure with a time slider."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, FileError
from juanji.show import movies
from juanji.show.drawing import Drawing, svg
from juanji.show.films import film
from juanji.show.frames import Film
from juanji.show.pictures import Pictures
from juanji.show.raster import Canvas
from juanji.show.theme import theme
from juanji.show.views import VIEWS
from juanji.show.words import words

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

SAMPLED = 8  # frames that the colours of a GIF are chosen from
SUFFIXES = (".gif", ".mp4", ".png", ".svg")


@dataclass(frozen=True, eq=False)
class Slide:
    """An animation of an operator: `save` writes it, `figure` shows it with a time slider, `film` has its numbers."""

    film: Film
    pictures: Pictures
    seconds: float

    def __len__(self) -> int:
        return len(self.film.frames)

    def __repr__(self) -> str:
        width, height = self.pictures.size
        return f"Slide of {self.film.operator}: {len(self)} frames of {width}×{height} pixels, {self.seconds:g} s each"

    def _repr_html_(self) -> str:
        """The animation itself, where a notebook shows it."""
        data = io.BytesIO()
        self._gif(data)
        return f'<img alt="{self!r}" src="data:image/gif;base64,{base64.b64encode(data.getvalue()).decode()}">'

    def drawing(self, number: int) -> Drawing:
        """Frame `number` as shapes."""
        if not 0 <= number < len(self):
            raise ArgumentError(f"number (={number}) must be one of the frames 0 to {len(self) - 1}")
        return self.pictures.drawing(number)

    def image(self, number: int) -> npt.NDArray[np.uint8]:
        """Frame `number` as (rows, columns, 3) of uint8."""
        return np.asarray(self._picture(number))

    def images(self) -> Iterator[Image]:
        """All frames in turn. Every one draws only what the one before did not leave."""
        page = self._page().draw(self.pictures.fixed)
        for number in range(len(self)):
            yield page.copy().draw(self.pictures.moving(number)).pixels()
            page.draw(self.pictures.settled(number))

    def _picture(self, number: int) -> Image:
        return self._page().draw(self.drawing(number).shapes).pixels()

    def _page(self) -> Canvas:
        return Canvas(*self.pictures.size, self.pictures.colours.background, self.pictures.words.font)

    def save(self, path: str | Path) -> list[Path]:
        """Write the animation as .gif or .mp4, or its frames as numbered .png or .svg files. Returns the files.

        MP4 needs imageio-ffmpeg: pip install 'juanji[video]'. Raises ArgumentError for another suffix, FileError for a missing
        folder.
        """
        target = Path(path)
        if not target.parent.is_dir():
            raise FileError(f"{target.parent}: no such folder")
        match target.suffix.lower():
            case ".gif":
                self._gif(target)
            case ".mp4":
                movies.mp4(target, self.images(), self.pictures.size, self.seconds)
            case ".png":
                return self._numbered(target, lambda name, number, image: image.save(name), self.images())
            case ".svg":
                return self._numbered(target, lambda name, number, _: name.write_text(svg(self.drawing(number)), "utf-8"))
            case _:
                raise ArgumentError(f"path (={str(path)!r}) must end in one of {', '.join(SUFFIXES)}")
        return [target]

    def _gif(self, target: Path | io.BytesIO) -> None:
        some = (self._picture(number) for number in range(0, len(self), -(-len(self) // SAMPLED)))
        movies.gif(target, self.images(), some, self.seconds)

    def _numbered(self, target: Path, write: Any, images: Any = None) -> list[Path]:
        digits = len(str(len(self)))
        names = [target.with_stem(f"{target.stem}-{number + 1:0{digits}}") for number in range(len(self))]
        for number, (name, image) in enumerate(zip(names, images or [None] * len(self), strict=True)):
            write(name, number, image)
        return names

    def figure(self) -> Figure:
        """A matplotlib figure with a time slider. Needs matplotlib: pip install 'juanji[show]'."""
        from juanji.show.figures import with_slider

        return with_slider(self.pictures)


def slide(
    x: Any,
    w: Any,
    bias: npt.ArrayLike | None = None,
    *,
    operator: str = "conv",
    scatter: bool = False,
    feature: int = 0,
    sample: int = 0,
    view: str = "perspective",
    dark: bool = False,
    language: str | None = None,
    seconds: float = 0.5,
    **arguments: Any,
) -> Slide:
    """The window sliding over an input and filling the output, a frame for each pixel, with the arithmetic of each.

    x, w: arrays of one or two spatial axes: plain ones as for `correlate`, or with samples and channels as the operator takes them. A
        *tuple* of sizes stands for an array of sample numbers of that shape.
    operator: "conv"; "conv_transpose"; "conv_grad_input", the backward pass, whose x is the error dy (and which takes input_shape where
        the stride leaves it open); "pool", whose w is the size of the window; or "pool_grad", its backward pass, which takes dy too.
    scatter: draw conv_transpose and conv_grad_input not as the turned kernel over their input with zeros between and around, but as
        every element launching a copy of the kernel. pool_grad always scatters.
    feature, sample: of the result, the channel and the sample drawn.
    view: "perspective", the output above the input with lines from the window to its pixel, or "flat".
    dark: for a dark background. language: "en" or "zh", by the locale unless given; English where no Chinese font is installed.
    seconds: for which a frame stands.
    arguments: the operator's own: stride, padding, dilation, groups, boundary, flip, sharing, layout, kind ...

    Dashed cells are padding, or zeros that are put between elements. The result saves itself: .gif, .mp4, .png, .svg. Raises what the
    operator raises, and ArgumentError or DtypeError for what cannot be drawn: more axes, complex numbers, thousands of frames.

    >>> slide((5, 5), (3, 3), stride=(1, 2))
    Slide of conv: 6 frames of 920×620 pixels, 0.5 s each
    """
    if view not in VIEWS:
        raise ArgumentError(f"view (={view!r}) must be one of {', '.join(VIEWS)}")
    if not 0.02 <= seconds <= 60:
        raise ArgumentError(f"seconds (={seconds!r}) must lie between 0.02 and 60")
    made = film(x, w, bias, operator=operator, scatter=scatter, feature=feature, sample=sample, **arguments)
    return Slide(made, Pictures(made, VIEWS[view](made), theme(dark), words(language)), seconds)
