"""The theme that every picture shares, the labels in two languages, and `compare`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from juanji.errors import ArgumentError, JuanjiError, ShapeError
from juanji.show import theme as themes
from juanji.show import words as labels
from juanji.show.theme import DARK, LIGHT, Theme, colormap, label, mixed, over, shades, theme

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from juanji.show import compare, matrices  # noqa: E402
from juanji.show.films import operands  # noqa: E402

Array = npt.NDArray[Any]
BOTH = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


# Colours ------------------------------------------------------------------------------------------------------------------


@BOTH
def test_zero_is_the_centre_exactly(colours: Theme) -> None:
    made, norm = colormap(np.array([-1.0, 0, 5]), colours)
    assert (norm.vmin, norm.vmax) == (-5, 5)
    assert matplotlib.colors.to_hex(made(norm(0.0))) == colours.zero
    assert matplotlib.colors.to_hex(made(norm(5.0))) == colours.positive
    assert matplotlib.colors.to_hex(made(norm(-5.0))) == colours.negative
    assert shades(np.array([-2.0, 0, 1, 2]), colours).tolist() == [
        colours.negative, colours.zero, mixed(colours.zero, colours.positive, 0.5), colours.positive,
    ]  # fmt: skip


@BOTH
def test_numbers_of_one_sign_start_at_zero(colours: Theme) -> None:
    for values, first, last in (([3.0, 5.0], "zero", "positive"), ([-5.0, -3.0], "negative", "zero"), ([0.0, 0.0], "zero", "positive")):
        made, norm = colormap(np.array(values), colours)
        assert [matplotlib.colors.to_hex(made(end)) for end in (0.0, 1.0)] == [getattr(colours, first), getattr(colours, last)]
        assert 0 in (norm.vmin, norm.vmax)
    assert shades(np.array([0.0, 0.0]), colours).tolist() == [colours.zero] * 2
    assert shades(np.array([np.nan, 1.0, np.inf]), colours).tolist() == [colours.background, colours.positive, colours.background]


# Machado, Oliveira and Fernandes (2009), of full severity, on linear red, green and blue.
SIGHT = {
    "all": np.eye(3),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no blue": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


def lightness_and_hue(colour: str, sight: Array) -> Array:
    """Oklab of a colour as such eyes see it."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.clip(sight @ np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4), 0, 1)
    cones = np.cbrt([[0.4122215, 0.5363325, 0.0514460], [0.2119035, 0.6806995, 0.1073970], [0.0883025, 0.2817188, 0.6299787]] @ linear)
    found: Array = [[0.2104543, 0.7936178, -0.0040720], [1.9779985, -2.4285922, 0.4505937], [0.0259040, 0.7827718, -0.8086758]] @ cones
    return found


@BOTH
@pytest.mark.parametrize("sight", SIGHT)
def test_every_kind_of_eye_tells_the_colours_apart(sight: str, colours: Theme) -> None:
    zero, positive, negative = (lightness_and_hue(c, SIGHT[sight]) for c in (colours.zero, colours.positive, colours.negative))
    assert np.linalg.norm(positive - negative) > 0.2  # black and white are 1 apart, and 0.02 is just seen
    assert np.linalg.norm(positive - zero) > 0.3
    assert np.linalg.norm(negative - zero) > 0.3


@BOTH
def test_text_is_readable_on_every_shade(colours: Theme) -> None:
    for fill in [*shades(np.linspace(-1, 1, 41), colours), colours.background, colours.mark]:
        contrast = themes._contrast(themes._luminance(fill), themes._luminance(over(fill, colours)))
        assert contrast >= 3.5, fill  # 3 is asked of large text
    for text in (colours.ink, colours.faint):
        assert themes._contrast(themes._luminance(colours.background), themes._luminance(text)) >= 2.8


def test_themes() -> None:
    assert theme(False) is LIGHT
    assert theme(True) is DARK
    assert [label(v) for v in (True, np.uint8(200), 1.0, -0.5, 1234.5)] == ["1", "200", "1", "−0.5", "1.23e+03"]


# Labels -------------------------------------------------------------------------------------------------------------------


def test_every_label_is_there_twice() -> None:
    for english, chinese in labels.TABLE.values():
        assert not any(ord(letter) > 0x2E80 for letter in english)
        assert any(ord(letter) > 0x2E80 for letter in chinese)


def test_chinese_needs_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_first", lambda names: "some.ttf" if names is labels.CHINESE else None)
    assert labels.words("zh")("kernel") == "卷积核"
    assert labels.words("en")("kernel") == "kernel"
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert labels.words().language == "zh"
    monkeypatch.setattr(labels, "_first", lambda names: None)
    assert labels.words("zh")("kernel") == "kernel"
    assert labels.letters(None, 12).getbbox("kernel")[2] > 10


# Side by side -------------------------------------------------------------------------------------------------------------


def panels(figure: Figure) -> dict[str, Any]:
    """The panels with a title, by its first line."""
    figure.canvas.draw()
    return {axes.get_title().split("\n")[0]: axes for axes in figure.axes if axes.get_title()}


def numbers(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    plt.close("all")


def test_four_pictures_with_their_numbers() -> None:
    x, w = np.arange(1, 10).reshape(3, 3), np.array([[0, 1], [2, 3]])
    shown = panels(compare(x, w, padding=1, language="en"))
    assert list(shown) == ["input 3×3", "kernel 2×2", "padded input 5×5", "output 4×4"]
    assert numbers(shown["input 3×3"]) == [str(n) for n in range(1, 10)]
    assert numbers(shown["output 4×4"])[:2] == ["3", "8"]
    assert len(shown["padded input 5×5"].patches) == 1
    assert "padding 1" in shown["kernel 2×2"].get_title()
    assert list(panels(compare(x, w, language="en"))) == ["input 3×3", "kernel 2×2", "output 2×2"]


def marked(axes: Any) -> list[float]:
    (mark,) = axes.patches
    x, y = (round(at + 0.5) for at in mark.get_xy())
    numbers = axes.images[0].get_array()
    return list(numbers[y : y + round(mark.get_height()), x : x + round(mark.get_width())].ravel())


@pytest.mark.parametrize(
    ("x", "w", "position", "arguments"),
    [
        ((5, 5), (3, 3), None, {}),
        ((4, 5), (2, 3), (1, 1), {"padding": 1, "stride": (1, 2), "dark": True}),
        (np.arange(9.0), [1.0, -1, 2], (4,), {"boundary": "edge", "padding": 1}),
    ],
)
def test_one_window_in_the_picture_and_in_both_matrices(x: Any, w: Any, position: Any, arguments: dict[str, Any]) -> None:
    figure = matrices(x, w, position, language="en", **arguments)
    picture, windows, sparse, output = figure.axes
    x, w = operands(x, w, {})
    (result,) = marked(output)
    assert marked(picture) == marked(windows)
    assert np.dot(marked(windows), w.ravel()) == result
    assert np.dot(marked(sparse), x.ravel()) == result
    assert [axes.get_title().split(" ")[0] for axes in (windows, sparse, output)] == ["X", "C", "output"]


def test_numbers_go_where_cells_are_small() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (60, 80)).astype(float)
    shown = panels(compare(photo, [[-1.0, 0, 1]], padding="same", boundary="edge", language="en"))
    assert numbers(shown["input 60×80"]) == []
    assert shown["input 60×80"].images[0].get_cmap().name == "gray"
    assert shown["output 60×80"].images[0].get_cmap().name == "juanji"
    low, high = shown["output 60×80"].images[0].get_clim()
    assert low == -high


def test_channels_are_rows() -> None:
    figure = compare((6, 5, 5), (2, 6, 3, 3), padding=1, feature=1, dark=True, language="en")
    shown = panels(figure)
    assert list(shown) == ["input 5×5", "kernel 3×3", "padded input 7×7", "output 5×5"]
    assert len(figure.axes) == 3 * 4 + 1
    assert figure.get_supxlabel() == "2 more channels"


@pytest.mark.parametrize("dark", [False, True])
def test_no_text_leaves_the_figure_or_meets_another(dark: bool) -> None:
    for arguments in (((5, 5), (3, 3)), ((9,), (3,)), ((2, 4, 4), (1, 2, 2, 2)), (np.random.default_rng(0).normal(size=(6, 6)), np.eye(3))):
        figure = compare(*arguments, padding=1, stride=2, dark=dark, language="en")
        figure.canvas.draw()
        page = figure.bbox
        titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        for box in titles:
            assert page.x0 <= box.x0 <= box.x1 <= page.x1
            assert page.y0 <= box.y0 <= box.y1 <= page.y1
        assert not any(a.overlaps(b) for i, a in enumerate(titles) for b in titles[i + 1 :])
        for axes in figure.axes:
            side = axes.get_window_extent().width / (np.diff(axes.get_xlim()).item())
            assert all(text.get_window_extent().width < side for text in axes.texts)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: matrices((2, 5, 5), (1, 2, 3, 3)), ArgumentError, "x of 2 channels and w of 1 features: one of each is drawn"),
        (lambda: matrices((5, 5), (3, 3), (3, 0)), ArgumentError, "position (=(3, 0)) must lie in the 3×3 outputs"),
        (lambda: matrices((99, 99), (3, 3)), ArgumentError, "the sparse matrix of 97×97 outputs and 99×99 inputs is too large"),
        (lambda: compare((5, 5), (3,)), ShapeError, "must have the 1 axes of w"),
        (lambda: compare((5, 5), (3, 3), sample=1), ArgumentError, "sample (=1) must be one of 0 to 0"),
        (lambda: compare((5, 5), (3, 3), language="xx"), ArgumentError, "language (='xx') must be one of en, zh"),
    ],
)
def test_bad_input(call: Callable[[], Any], kind: type[JuanjiError], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)
