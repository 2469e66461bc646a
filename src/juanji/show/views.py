"""Where the planes of a film stand on the page: flat, side by side, or in perspective with the output above the input.

A plane maps (row, column), counted in cells and fractions of cells, to a point of the page. Drawing knows nothing else about a view.

Perspective: with x to the right, y away from the eye and z up, the scene is turned by an azimuth a about z, and seen from an
elevation e:

    x' = x cos a − y sin a,   y' = x sin a + y cos a,   depth = y' cos e − z sin e,   page = (x', −(y' sin e + z cos e)) · D / (D + depth)

The output hangs so high that it hides nothing of the input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from juanji.show.drawing import Point
from juanji.show.frames import Film

WIDTH = 920
MARGIN = 24.0
TITLE = 30.0  # height of a line of titles
MOST_PLANES = 4  # channels drawn
LARGEST, SMALLEST = 46.0, 2.0  # sides of a flat cell, in pixels
FLAT_HEIGHT, SCENE_HEIGHT, LARGEST_SCENE_CELL = 560.0, 470.0, 90.0  # at most
KERNEL_WIDTH, KERNEL_HEIGHT, LARGEST_KERNEL_CELL, LEAST_PANEL = 190.0, 400.0, 40.0, 150.0  # beside the scene
CHANNEL_GAP = 1.0  # cells
AZIMUTH, ELEVATION = math.radians(-20), math.radians(40)
DISTANCE = 4.0  # of the eye, in widths of the scene


@dataclass(frozen=True)
class Plane:
    """A grid of cells on the page."""

    rows: int
    columns: int
    place: Callable[[float, float], Point]

    def quad(self, row: float, column: float, rows: float = 1, columns: float = 1) -> tuple[Point, ...]:
        """The corners of a rectangle of cells."""
        return tuple(self.place(row + down, column + right) for down, right in ((0.0, 0.0), (0.0, columns), (rows, columns), (rows, 0.0)))

    def cell(self) -> tuple[float, float]:
        """Width and height of the smallest cell on the page."""
        sizes = []
        for row, column in {(0, 0), (0, self.columns - 1), (self.rows - 1, 0), (self.rows - 1, self.columns - 1)}:
            middle = [self.place(row + down, column + right) for down, right in ((0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5))]
            sizes.append((abs(middle[1][0] - middle[0][0]), abs(middle[3][1] - middle[2][1])))
        return min(width for width, _ in sizes), min(height for _, height in sizes)


@dataclass(frozen=True)
class Stage:
    """All planes of a view, and the height of the page that they take."""

    inputs: tuple[Plane, ...]
    kernels: tuple[Plane, ...]
    output: Plane
    joined: bool  # whether lines join the window to its pixel
    height: float


def drawn_channels(film: Film) -> int:
    """How many channels have room."""
    return film.channels if film.channels <= MOST_PLANES else MOST_PLANES - 1


def flat(film: Film) -> Stage:
    """Input, kernel and output side by side; channels under one another."""
    (rows, columns), (high, wide) = film.field.shape, film.pixels.shape
    kernel_rows, kernel_columns = _kernel(film)
    count = drawn_channels(film)
    room = WIDTH - 2 * MARGIN - (2 if kernel_columns else 1) * 2 * MARGIN
    side = max(SMALLEST, min(LARGEST, room / (columns + kernel_columns + wide), FLAT_HEIGHT / (count * (rows + 0.5))))
    tall = max(count * rows * side + (count - 1) * side / 2, high * side, count * (kernel_rows + 0.5) * side if kernel_rows else 0)
    spare = room - side * (columns + kernel_columns + wide)
    lefts = [MARGIN + spare / 4]
    lefts.append(lefts[0] + columns * side + 2 * MARGIN + (spare / 4 if kernel_columns else 0))
    lefts.append(lefts[1] + (kernel_columns * side + 2 * MARGIN if kernel_columns else 0) + spare / 4)
    tops = [TITLE + MARGIN + (tall - count * rows * side - (count - 1) * side / 2) / 2 + c * (rows + 0.5) * side for c in range(count)]
    inputs = [_grid(lefts[0], top, side, rows, columns) for top in tops]
    kernels = [_grid(lefts[1], top + (rows - kernel_rows) * side / 2, side, kernel_rows, kernel_columns) for top in tops if kernel_rows]
    output = _grid(lefts[2], TITLE + MARGIN + (tall - high * side) / 2, side, high, wide)
    return Stage(tuple(inputs), tuple(kernels), output, False, TITLE + MARGIN + tall + MARGIN)


def perspective(film: Film) -> Stage:
    """The output above the input in 3-D; channels of the input beside one another; the kernel flat at the right."""
    (rows, columns), (high, wide) = film.field.shape, film.pixels.shape
    kernel_rows, kernel_columns = _kernel(film)
    count = drawn_channels(film)
    total = count * columns + (count - 1) * CHANNEL_GAP
    azimuth = AZIMUTH if count == 1 else AZIMUTH / 2
    depths = [(w * math.sin(-azimuth) + h * math.cos(azimuth)) / 2 for w, h in ((total, rows), (wide, high))]
    rise = (sum(depths) * math.sin(ELEVATION) + 0.03 * max(total, rows)) / math.cos(ELEVATION)
    eye = _Eye(azimuth, DISTANCE * max(total, rows, wide, high))
    below = [_tilted(eye, c * (columns + CHANNEL_GAP) - total / 2, rows / 2, 0.0, rows, columns) for c in range(count)]
    above = _tilted(eye, -wide / 2, high / 2, rise, high, wide)
    side = min(LARGEST_KERNEL_CELL, KERNEL_WIDTH / max(kernel_columns, 1), KERNEL_HEIGHT / (count * (kernel_rows + 0.5)))
    panel = max(kernel_columns * side, LEAST_PANEL) + 2 * MARGIN if kernel_rows else 0.0
    (*inputs, output), bottom = _fitted([*below, above], WIDTH - panel)
    height = bottom + TITLE + MARGIN
    stack = count * kernel_rows * side + (count - 1) * side / 2
    first, start = (height - stack + TITLE) / 2, WIDTH - (panel + kernel_columns * side + MARGIN) / 2
    kernels = [
        _grid(start, first + c * (kernel_rows + 0.5) * side, side, kernel_rows, kernel_columns) for c in range(count if kernel_rows else 0)
    ]
    return Stage(tuple(inputs), tuple(kernels), output, True, height)


def _fitted(planes: list[Plane], width: float) -> tuple[list[Plane], float]:
    """The planes as large as a page of this width has room for, under a line of titles, and where they end."""
    corners = [point for plane in planes for point in plane.quad(0, 0, plane.rows, plane.columns)]
    (left, right), (top, bottom) = ((min(along), max(along)) for along in zip(*corners, strict=True))
    scale = min((width - 2 * MARGIN) / (right - left), SCENE_HEIGHT / (bottom - top), LARGEST_SCENE_CELL)
    across, down = (width - (right - left) * scale) / 2, TITLE + MARGIN

    def moved(plane: Plane) -> Plane:
        def place(row: float, column: float) -> Point:
            x, y = plane.place(row, column)
            return across + (x - left) * scale, down + (y - top) * scale

        return Plane(plane.rows, plane.columns, place)

    return [moved(plane) for plane in planes], down + (bottom - top) * scale


VIEWS: dict[str, Callable[[Film], Stage]] = {"perspective": perspective, "flat": flat}


@dataclass(frozen=True)
class _Eye:
    azimuth: float
    distance: float

    def __call__(self, x: float, y: float, z: float) -> Point:
        a, e = self.azimuth, ELEVATION
        across, along = x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a)
        near = self.distance / (self.distance + along * math.cos(e) - z * math.sin(e))
        return across * near, -(along * math.sin(e) + z * math.cos(e)) * near


def _tilted(eye: _Eye, left: float, far: float, height: float, rows: int, columns: int) -> Plane:
    return Plane(rows, columns, lambda row, column: eye(left + column, far - row, height))


def _grid(left: float, top: float, side: float, rows: int, columns: int) -> Plane:
    return Plane(rows, columns, lambda row, column: (left + column * side, top + row * side))


def _kernel(film: Film) -> tuple[int, int]:
    """Rows and columns of the kernel's own grid; none where there are no weights."""
    weights = film.frames[0].weights
    return (0, 0) if weights is None else (weights.shape[1], weights.shape[2])
