"""One theme for every picture: colours, and how numbers become them.

Positive numbers are blue, negative ones orange, which eyes of every kind tell apart by hue and by lightness; what is marked is a
crimson that neither comes near, and always has an outline as well. Zero has the colour of paper, exactly: signed numbers run over both
sides of it to the same largest magnitude, numbers of one sign over one side.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.colors import Colormap, Normalize

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Theme:
    """Colours as "#rrggbb". ink: text and edges. faint: what is secondary. zero, positive, negative: of numbers, at their largest."""

    background: str
    ink: str
    faint: str
    zero: str
    positive: str
    negative: str
    mark: str


LIGHT = Theme("#ffffff", "#1c2530", "#8a94a0", "#fbfbfa", "#2f7fc1", "#d9791b", "#c2124f")
DARK = Theme("#14181e", "#e8ecf1", "#78828f", "#1d232b", "#3f8fd6", "#d67d22", "#ff5c8d")


def theme(dark: bool) -> Theme:
    """The theme for a light or a dark background."""
    return DARK if dark else LIGHT


def mixed(first: str, second: str, share: float) -> str:
    """A colour between two: `share` of the second.

    >>> mixed("#000000", "#ffffff", 0.5)
    '#808080'
    """
    a, b = _rgb(first), _rgb(second)
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(a, b, strict=True))


def over(colour: str, colours: Theme) -> str:
    """The ink that is read best on a colour: the theme's own or its background's."""
    light = _luminance(colour)
    return max((colours.ink, colours.background), key=lambda ink: _contrast(light, _luminance(ink)))


def shades(values: Array, colours: Theme, largest: float | None = None) -> Array:
    """The colour of each number as "#rrggbb", in proportion to the `largest` magnitude, theirs unless given; NaN has the background's."""
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    if largest is None:
        largest = float(np.abs(numbers[finite]).max(initial=0))
    share = np.clip(np.where(finite, numbers, 0) / (largest or 1), -1, 1)
    picked = [mixed(colours.zero, colours.positive if part > 0 else colours.negative, abs(part)) for part in share.flat]
    return np.where(finite, np.array(picked, object).reshape(numbers.shape), colours.background)


def colormap(values: Array, colours: Theme) -> tuple["Colormap", "Normalize"]:
    """The same colours for matplotlib: a map and its range, both sides of zero where there are both signs."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low, high = float(numbers.min(initial=0)), float(numbers.max(initial=0))
    reach = max(-low, high) or 1.0
    if low < 0 < high:
        low, high = -reach, reach
        stops = [colours.negative, colours.zero, colours.positive]
    elif low < 0:
        high, stops = 0.0, [colours.negative, colours.zero]
    else:
        low, high, stops = 0.0, reach, [colours.zero, colours.positive]
    made = LinearSegmentedColormap.from_list("juanji", stops, N=511)
    return made.with_extremes(bad=colours.background), Normalize(low, high)


def label(value: Any, digits: int = 3) -> str:
    """A number as it stands in a cell: integers whole, others to three significant digits.

    >>> label(-2), label(0.123456), label(1e-7), label(np.float32(25.0))
    ('−2', '0.123', '1e−07', '25')
    """
    text = str(int(value)) if isinstance(value, int | np.integer | np.bool_) else f"{float(value):.{digits}g}"
    return text.replace("-", "−")


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    """Relative luminance, as the web's accessibility guidelines define it."""
    linear = [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in _rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)
