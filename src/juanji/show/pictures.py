"""A film's frames as drawings: cells, the window and its pixel, the lines between, the kernel, and the arithmetic underneath."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.explain.arguments import by
from juanji.show.drawing import Drawing, Line, Polygon, Shape, Text
from juanji.show.frames import INSIDE, Film, Frame
from juanji.show.theme import Theme, label, mixed, over, shades
from juanji.show.views import MARGIN, WIDTH, Plane, Stage, drawn_channels
from juanji.show.words import Words, ems

Array = npt.NDArray[Any]

SMALLEST_TEXT, LARGEST_TEXT = 7.0, 17.0
TITLE_TEXT, LINE_TEXT, LINE_HEIGHT = 15.0, 15.0, 24.0
MOST_LINES = 6
NAMES = {  # of the field below and the pixels above, by operator and whether it scatters
    ("conv", False): ("input", "output"),
    ("conv_transpose", False): ("input", "output"),
    ("conv_transpose", True): ("output", "input"),
    ("conv_grad_input", False): ("error", "gradient"),
    ("conv_grad_input", True): ("gradient", "error"),
    ("pool", False): ("input", "output"),
    ("pool_grad", True): ("gradient", "error"),
}
LETTER = 0.56  # width of a letter of arithmetic in its size, about: digits, signs and spaces
SMALLEST_EDGED, SMALLEST_FACTORED = 9.0, 40.0  # sides of cells that have room for lines between them, for factors in their corners
FACTOR_TEXT = 11.0


@dataclass(frozen=True, eq=False)
class Pictures:
    """The drawings of a film in one view."""

    film: Film
    stage: Stage
    colours: Theme
    words: Words

    def drawing(self, number: int) -> Drawing:
        """Frame `number`: the output as far as it has come, and nothing left of the frame before."""
        settled = [shape for before in range(number) for shape in self.settled(before)]
        return Drawing(*self.size, self.colours.background, (*self.fixed, *settled, *self.moving(number)))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the page in pixels, both even, as video wants them."""
        height = self.stage.height + max(map(len, self._arithmetic)) * LINE_HEIGHT + MARGIN * 0.75
        return WIDTH, 2 * round(height / 2)

    @cached_property
    def fixed(self) -> tuple[Shape, ...]:
        """What every frame shows."""
        kernel = () if self._changes else self._kernel(self.film.frames[0])
        if self.film.scatters:
            return (*self._field(None), *self._given, *self._titles(), *kernel)
        waiting = (Polygon(self.stage.output.quad(*frame.pixel), None, self._waiting) for frame in self.film.frames)
        return (*self._field(self.film.field.values), *waiting, *self._titles(), *kernel)

    def settled(self, number: int) -> tuple[Shape, ...]:
        """What frame `number` leaves for those after it: its pixel, or what it has added to."""
        frame = self.film.frames[number]
        if self.film.scatters:
            return tuple(self._window(frame, self._sums[number], marked=False))
        return tuple(self._pixel(frame, self._settled_fill(frame), self._above_edge))

    def moving(self, number: int) -> tuple[Shape, ...]:
        """What frame `number` alone shows."""
        frame = self.film.frames[number]
        window = tuple(self._window(frame, self._sums[number] if self.film.scatters else self.film.field.values, marked=True))
        return (
            *(shape for shape in window if isinstance(shape, Polygon)),
            *(self._lines(frame) if self.stage.joined else ()),
            *(shape for shape in (*window, *self._beside(number)) if isinstance(shape, Text)),  # readable where lines cross them
            *self._pixel(frame, self.colours.mark, self.colours.mark),
            *(self._kernel(frame) if self._changes else ()),
            *self._text(number),
        )

    # The parts --------------------------------------------------------------------------------------------------------

    def _field(self, values: Array | None) -> Iterator[Shape]:
        """Every cell of the field, padding first, so that solid lines lie over dashed ones; empty without values."""
        cells = self.film.field.cells
        for channel, plane in enumerate(self.stage.inputs):
            for at in sorted(np.ndindex(cells.shape), key=lambda at: cells[at] == INSIDE):
                if values is not None:
                    yield from self._cell(plane, at, values[(channel, *at)], marked=False)
                else:
                    inside = bool(cells[at] == INSIDE)
                    yield Polygon(plane.quad(*at), None, self._waiting if inside else self.colours.faint, 1.0, not inside)

    def _window(self, frame: Frame, values: Array, *, marked: bool) -> Iterator[Shape]:
        """The cells that the window looks at or adds to, and if marked its frame."""
        top, left = frame.corner
        for channel, plane in enumerate(self.stage.inputs):
            for (i, down), (j, right) in itertools.product(*map(enumerate, self.film.taps)):
                at = top + down, left + right
                factor = frame.weights[channel, i, j] if marked and self._factor_text and frame.weights is not None else None
                yield from self._cell(plane, at, values[(channel, *at)], marked=marked, factor=factor)
            if marked:
                yield Polygon(plane.quad(top, left, *self.film.window), None, self.colours.mark, 2.5)

    def _cell(self, plane: Plane, at: tuple[int, int], value: Any, *, marked: bool, factor: Any = None) -> Iterator[Shape]:
        """One cell of the field with its number, and small in its corner the weight that this is multiplied by.

        Solid, or dashed and without colour if it is padding or a gap.
        """
        inside = bool(self.film.field.cells[at] == INSIDE)
        colour = str(shades(value, self.colours, self._largest)) if inside else self.colours.background
        edge = self._edge(plane) if inside else self.colours.faint
        if marked:
            colour, edge = mixed(colour, self.colours.mark, 0.32), self.colours.mark if self._edge(plane) else None
        yield Polygon(plane.quad(*at), colour if inside or marked or self.film.scatters else None, edge, 1.0, not inside)
        if self._field_text and not (self.film.field.blank and not inside):
            ink = over(colour, self.colours) if inside or marked else self.colours.faint
            yield Text(_middle(plane, *at), label(value), self._field_text, ink)
            if factor is not None:
                (x, y), text = plane.place(at[0] + 0.96, at[1] + 0.94), f"×{label(factor)}"
                yield Text((x - ems(text) * self._factor_text / 2, y - self._factor_text / 2), text, self._factor_text, ink)

    def _edge(self, plane: Plane) -> str | None:
        """The lines between cells, where cells are large enough for them."""
        return mixed(self.colours.background, self.colours.ink, 0.45) if min(plane.cell()) >= SMALLEST_EDGED else None

    def _lines(self, frame: Frame) -> Iterator[Shape]:
        pixel = self.stage.output.quad(*frame.pixel)
        for plane in self.stage.inputs:
            for start, end in zip(plane.quad(*frame.corner, *self.film.window), pixel, strict=True):
                yield Line(start, end, self.colours.mark, 1.3)

    def _pixel(self, frame: Frame, fill: str, edge: str | None) -> Iterator[Shape]:
        plane = self.stage.output
        yield Polygon(plane.quad(*frame.pixel), fill, edge)
        if self._pixel_text:
            yield Text(_middle(plane, *frame.pixel), label(self.film.pixels[frame.pixel]), self._pixel_text, over(fill, self.colours))

    @cached_property
    def _given(self) -> tuple[Shape, ...]:
        """The pixels that are there from the start, where they scatter."""
        frames = self.film.frames if self.film.scatters else ()
        return tuple(shape for frame in frames for shape in self._pixel(frame, self._settled_fill(frame), self._above_edge))

    def _beside(self, number: int) -> Iterator[Shape]:
        """The pixels that lines may cross: all that are given, or those made before in the same row."""
        if self.film.scatters:
            yield from self._given
        else:
            for before in range(number - self.film.frames[number].pixel[1], number):
                yield from self.settled(before)

    def _settled_fill(self, frame: Frame) -> str:
        return str(self._pixel_fills[frame.pixel])

    def _kernel(self, frame: Frame) -> Iterator[Shape]:
        for plane, weights in zip(self.stage.kernels, frame.weights if frame.weights is not None else (), strict=False):
            size = _fitting(plane, self._widest_weight)
            for at, weight in np.ndenumerate(weights):
                fill = str(shades(weight, self.colours, self._largest_weight))
                yield Polygon(plane.quad(*at), fill, self._edge(plane))
                if size and weight == weight:
                    yield Text(_middle(plane, *at), label(weight), size, over(fill, self.colours))
            yield Polygon(plane.quad(0, 0, plane.rows, plane.columns), None, self.colours.mark, 2.0)

    def _titles(self) -> Iterator[Shape]:
        say, film = self.words, self.film
        notes = dict(film.notes)
        below, above = NAMES[film.operator, film.scatters]
        turned = film.operator.startswith("conv_") and not film.scatters
        parts = [f"{say(below)} {by(film.field_size)}"]
        if turned:
            parts.append(say("spread" if "stride" in notes else "around"))
        elif "padding" in notes:
            outside = notes.get("boundary", "zero")
            parts.append(f"{say('padding')} {notes['padding']}" + ("" if outside == "zero" else f" ({outside})"))
        if film.channels > drawn_channels(film):
            parts.append(say("more", count=film.channels - drawn_channels(film)))
        kernel = [f"{say(notes.get('kind', 'kernel'))} {by(film.kernel_size)}"]
        if turned:
            kernel.append(say("turned"))
        kernel += [f"{say(key)} {notes[key]}" for key in ("stride", "dilation", "groups") if key in notes]
        if film.operator == "pool_grad":
            kernel.append(say("seen"))
        pixels = f"{say(above)} {by(film.pixels_size)}"
        yield self._title(self.stage.inputs, ", ".join(parts), below=self.stage.joined)
        yield self._title([self.stage.output], pixels if self.stage.kernels else ", ".join([pixels, *kernel]), below=False)
        for line, text in enumerate(reversed(kernel) if self.stage.kernels else ()):
            yield self._title(self.stage.kernels, text, below=False, line=line)

    def _title(self, planes: Any, text: str, *, below: bool, line: int = 0) -> Text:
        """A title over the planes, or under them, inside the page."""
        corners = [corner for plane in planes for corner in plane.quad(0, 0, plane.rows, plane.columns)]
        middle = (min(x for x, _ in corners) + max(x for x, _ in corners)) / 2
        half = TITLE_TEXT * ems(text) / 2
        middle = min(max(middle, MARGIN / 2 + half), WIDTH - MARGIN / 2 - half)
        edge = max(y for _, y in corners) + 18 if below else min(y for _, y in corners) - 18 - 20 * line
        return Text((middle, edge), text, TITLE_TEXT, self.colours.ink)

    def _text(self, number: int) -> Iterator[Shape]:
        lines = self._arithmetic[number]
        for i, line in enumerate(lines):
            last = i == len(lines) - 1
            at = (MARGIN, self.stage.height + (i + 0.5) * LINE_HEIGHT)
            yield Text(at, line, LINE_TEXT, self.colours.ink if last else mixed(self.colours.background, self.colours.ink, 0.75), "start")
        count = f"{number + 1} / {len(self.film.frames)}"
        yield Text((MARGIN, MARGIN * 0.75), count, 12, self.colours.faint, "start")

    # What is worked out once ----------------------------------------------------------------------------------------

    @cached_property
    def _arithmetic(self) -> list[list[str]]:
        """The arithmetic of each frame, cut to lines that fit."""
        letters = int((WIDTH - 2 * MARGIN) / (LINE_TEXT * LETTER))
        found = []
        for frame in self.film.frames:
            lines = [part for line in frame.arithmetic for part in textwrap.wrap(line, letters, subsequent_indent="    ")]
            found.append(lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 2], "…", lines[-1]])
        return found

    @cached_property
    def _sums(self) -> list[Array]:
        """What the field holds after each frame, where pixels add to it."""
        sums, total = [], np.zeros_like(self.film.field.values)
        for frame in self.film.frames:
            rows, columns = (np.add(first, taps) for first, taps in zip(frame.corner, self.film.taps, strict=True))
            total[:, rows[:, None], columns] += frame.added
            sums.append(total.copy())
        return sums

    @cached_property
    def _shown(self) -> Array:
        """All numbers that the field ever shows."""
        return np.array(self._sums) if self.film.scatters else self.film.field.values

    @cached_property
    def _largest(self) -> float:
        return _magnitude(self._shown)

    @cached_property
    def _field_text(self) -> float:
        return _fitting(self.stage.inputs[0], _widest(np.unique(self._shown)))

    @cached_property
    def _pixel_fills(self) -> Array:
        return shades(self.film.pixels, self.colours)

    @cached_property
    def _pixel_text(self) -> float:
        return _fitting(self.stage.output, _widest(self.film.pixels.flat))

    @cached_property
    def _waiting(self) -> str:
        """The outline of what is still to come."""
        return mixed(self.colours.background, self.colours.ink, 0.3)

    @cached_property
    def _above_edge(self) -> str | None:
        return self._edge(self.stage.output)

    @cached_property
    def _weights(self) -> Array:
        return np.array([frame.weights for frame in self.film.frames if frame.weights is not None])

    @cached_property
    def _changes(self) -> bool:
        """Whether the weights differ from frame to frame, as those with sites do."""
        return bool(len(self._weights) and (self._weights != self._weights[0]).any())

    @cached_property
    def _factor_text(self) -> float:
        """The size of weights beside the numbers that they multiply; 0 where there are none, or no room."""
        width, height = self.stage.inputs[0].cell()
        if self.film.scatters or self.stage.joined or not self.stage.kernels or height < SMALLEST_FACTORED:
            return 0.0
        size = min(FACTOR_TEXT, 0.94 * width / (ems("×") + self._widest_weight))
        return size if size >= SMALLEST_TEXT else 0.0

    @cached_property
    def _largest_weight(self) -> float:
        return _magnitude(self._weights)

    @cached_property
    def _widest_weight(self) -> float:
        return _widest(np.unique(self._weights))


def _middle(plane: Plane, row: int, column: int) -> tuple[float, float]:
    return plane.place(row + 0.5, column + 0.5)


def _fitting(plane: Plane, widest: float) -> float:
    """The size of text so wide, in ems, that every cell of the plane holds it; 0 where none is readable."""
    width, height = plane.cell()
    size = min(LARGEST_TEXT, 0.6 * height, 0.88 * width / widest)
    return size if size >= SMALLEST_TEXT else 0.0


def _widest(values: Iterable[Any]) -> float:
    """The width of the widest number, in ems."""
    return max(ems(label(value)) for value in values)


def _magnitude(values: Array) -> float:
    """The largest absolute value of the finite numbers."""
    numbers = values.astype(np.float64)
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0))
