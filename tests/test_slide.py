"""The sliding window: geometry and numbers against the operators, pictures against what they must show, files against what was drawn."""

import base64
import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

import juanji as jj
from compiled import run_python
from juanji import explain, messages
from juanji.cli import main
from juanji.errors import ArgumentError, DtypeError, ExtraError, FileError, JuanjiError, ShapeError
from juanji.show import Slide, slide
from juanji.show.drawing import Drawing, Line, Polygon, Shape, Text
from juanji.show.films import film
from juanji.show.frames import GAP, INSIDE, OUTSIDE, Film, Frame
from juanji.show.raster import SCALE, Canvas
from juanji.show.theme import LIGHT
from juanji.show.words import letters

Array = npt.NDArray[Any]
REFERENCE = Path(__file__).with_name("pictures") / "slide.png"


def seen(made: Film, frame: Frame) -> Array:
    """What the taps of a frame's window meet, (channels, *taps)."""
    rows, columns = (np.add(first, taps) for first, taps in zip(frame.corner, made.taps, strict=True))
    return made.field.values[:, rows[:, None], columns]


def lines(drawing: Drawing) -> list[Line]:
    return [shape for shape in drawing.shapes if isinstance(shape, Line)]


def filled(drawing: Drawing, colour: str) -> list[Polygon]:
    return [shape for shape in drawing.shapes if isinstance(shape, Polygon) and shape.fill == colour]


# The reference case: 5×5 input, 3×3 kernel, stride (1, 2), no padding -----------------------------------------------------


def test_e1_six_frames_of_half_a_second(tmp_path: Path) -> None:
    made = slide((5, 5), (3, 3), stride=(1, 2))
    assert [frame.corner for frame in made.film.frames] == [(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (2, 2)]
    assert [frame.pixel for frame in made.film.frames] == list(itertools.product(range(3), range(2)))
    (path,) = made.save(tmp_path / "slide.gif")
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (6, made.pictures.size, 0)  # type: ignore[attr-defined]
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(gif)] == [500] * 6


def test_e1_planes_window_pixel_and_lines() -> None:
    made = slide((5, 5), (3, 3), stride=(1, 2))
    (below,), above = made.pictures.stage.inputs, made.pictures.stage.output
    assert above.place(1.5, 1)[0] == pytest.approx(below.place(2.5, 2.5)[0])  # centred over it
    assert max(y for _, y in above.quad(0, 0, 3, 2)) < min(y for _, y in below.quad(0, 0, 5, 5)) + 40
    for number, frame in enumerate(made.film.frames):
        drawing = made.drawing(number)
        window, pixel = below.quad(*frame.corner, 3, 3), above.quad(*frame.pixel)
        assert [(line.start, line.end) for line in lines(drawing)] == list(zip(window, pixel, strict=True))  # the frame before is wiped
        assert [polygon.points for polygon in filled(drawing, LIGHT.mark)] == [pixel]
        outlines = [p for p in drawing.shapes if isinstance(p, Polygon) and p.fill is None and p.edge == LIGHT.mark and p.width > 2]
        assert window in [p.points for p in outlines]
        cells = {below.quad(frame.corner[0] + i, frame.corner[1] + j) for i in range(3) for j in range(3)}
        marked = {p.points for p in drawing.shapes if isinstance(p, Polygon) and p.fill and p.edge == LIGHT.mark} - {pixel}
        assert marked == cells


def test_the_reference_frame_has_not_changed() -> None:
    """Its polygons and lines, without letters, whose shapes depend on the fonts at hand; a quarter as large."""
    made = slide(np.arange(25).reshape(5, 5), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], stride=(1, 2), padding=1)
    drawing = made.drawing(7)
    page = Canvas(drawing.width, drawing.height, drawing.background, None)
    drawn = page.draw(shape for shape in drawing.shapes if not isinstance(shape, Text)).pixels().reduce(4)
    with Image.open(REFERENCE) as kept:
        assert kept.size == drawn.size
        assert (np.abs(np.asarray(kept, np.int16) - np.asarray(drawn, np.int16)) > 16).mean() < 1e-3


# Numbers ------------------------------------------------------------------------------------------------------------------


def test_the_arithmetic_of_the_texts() -> None:
    x, w = np.arange(1, 10).reshape(3, 3), np.array([[0, 1], [2, 3]])
    assert [frame.arithmetic for frame in film(x, w).frames][:2] == [
        ("y[0, 0] = 0·1 + 1·2 + 2·4 + 3·5 = 25",),
        ("y[0, 1] = 0·2 + 1·3 + 2·5 + 3·6 = 31",),
    ]
    assert film(x[None], w[None, None], [1]).frames[0].arithmetic == ("y[0, 0] = 0·1 + 1·2 + 2·4 + 3·5 + 1 = 26",)
    coloured = film(np.stack([x, -x]), np.stack([w, w])[None], [-1], activation="relu").frames[0].arithmetic
    assert coloured == (
        "0:  0·1 + 1·2 + 2·4 + 3·5 = 25",
        "1:  0·(−1) + 1·(−2) + 2·(−4) + 3·(−5) = −25",
        "y[0, 0] = relu(25 + (−25) + (−1)) = 0",
    )
    assert film([1.0, 2.0], [0.12345], boundary="zero", padding=1).frames[0].arithmetic == ("y[0] = 0.123·[0] = 0",)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_forward_frames_are_traces(data: st.DataObject) -> None:
    n, channels, groups = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))

    def draw(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(least, most)) for _ in range(n))

    kernel, dilation = draw(1, 3), draw(1, 2)
    size = tuple(d * (k - 1) + 1 + data.draw(st.integers(0, 3)) for k, d in zip(kernel, dilation, strict=True))
    arguments: dict[str, Any] = {
        "stride": draw(1, 3), "dilation": dilation, "padding": [(side, data.draw(st.integers(0, 2))) for side in draw(0, 2)],
        "groups": groups, "boundary": data.draw(st.sampled_from(["zero", "edge", "reflect", "wrap", ("constant", 7)])),
        "flip": data.draw(st.booleans()),
    }  # fmt: skip
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = random.integers(-9, 10, (2, channels * groups, *size))
    w = random.integers(-9, 10, (2 * groups, channels, *kernel))
    feature = data.draw(st.integers(0, 2 * groups - 1))
    made = film(x, w, feature=feature, sample=1, **arguments)
    y = jj.conv(x, w, **arguments)[1, feature]
    assert made.pixels.reshape(y.shape).tolist() == y.tolist()
    assert len(made.frames) == y.size
    for frame in (made.frames[0], made.frames[len(made.frames) // 2], made.frames[-1]):
        told = explain.trace(x, w, (1, feature, *frame.pixel[2 - n :]), **arguments)
        assert frame.weights is not None
        assert frame.weights.reshape(told.weights.shape).tolist() == told.weights.tolist()
        assert seen(made, frame).reshape(told.window.shape).tolist() == told.window.tolist()
        rows, columns = (np.add(first, taps) for first, taps in zip(frame.corner, made.taps, strict=True))
        outside = made.field.cells[rows[:, None], columns] == OUTSIDE
        assert outside.reshape(told.beyond.shape).tolist() == told.beyond.tolist()
        assert frame.arithmetic[-1].endswith(f"= {told.result}".replace("-", "−"))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_backward_frames_are_sums_over_the_spread_error(data: st.DataObject) -> None:
    n, groups = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))

    def draw(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(least, most)) for _ in range(n))

    kernel, dilation, stride = draw(1, 3), draw(1, 2), draw(1, 3)
    padding = [tuple(data.draw(st.integers(0, d * (k - 1) + 1)) for _ in range(2)) for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(d * (k - 1) + 1 + data.draw(st.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True))
    arguments: dict[str, Any] = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "groups": groups,
        "flip": data.draw(st.booleans()),
    }
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = np.zeros((1, 2 * groups, *size), np.int64)
    w = random.integers(-9, 10, (2 * groups, 2, *kernel))
    dy = random.integers(-9, 10, jj.conv(x, w, **arguments).shape)
    channel = data.draw(st.integers(0, 2 * groups - 1))
    made = film(dy, w, operator="conv_grad_input", input_shape=x.shape, feature=channel, **arguments)
    dx = jj.conv_grad_input(dy, w, x.shape, **arguments)[0, channel]
    sums = [int((seen(made, frame) * frame.weights).sum()) for frame in made.frames]
    assert sums == dx.reshape(-1).tolist() == made.pixels.reshape(-1).tolist()
    zeros = made.field.values[:, made.field.cells != INSIDE]
    assert not zeros.any()
    assert np.count_nonzero(made.field.cells == INSIDE) == dy[0, 0].size


def test_d1_the_error_is_padded_and_the_kernel_turned() -> None:
    made = film(np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]]), operator="conv_grad_input")
    assert made.field.values[0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]]
    assert made.frames[0].weights is not None
    assert made.frames[0].weights[0].tolist() == [[8, 7], [6, 5]]
    assert made.pixels.shape == (3, 3)
    assert made.pixels.tolist() == jj.conv_grad_input([[[[1, 2], [3, 4]]]], [[[[5, 6], [7, 8]]]], (1, 1, 3, 3))[0, 0].tolist()


def test_transposed_with_a_stride_has_gaps() -> None:
    made = film(np.array([[1, 2], [3, 4]]), np.ones((3, 3), int), operator="conv_transpose", stride=2, bias=[10])
    assert made.pixels.tolist() == jj.conv_transpose([[[[1, 2], [3, 4]]]], np.ones((1, 1, 3, 3), int), [10], stride=2)[0, 0].tolist()
    assert np.count_nonzero(made.field.cells == GAP) == 5
    assert made.frames[0].arithmetic[-1].endswith("+ 10 = 11")


@pytest.mark.parametrize("kind", ["max", "avg", "lp", "weighted"])
@pytest.mark.parametrize("last", [False, True])
def test_pooling_frames(kind: str, last: bool) -> None:
    random = np.random.default_rng(5)
    x = random.integers(0, 50, (2, 5, 7, 3) if last else (2, 3, 5, 7)).astype(float)
    arguments: dict[str, Any] = {"kind": kind, "stride": (2, 3), "padding": [(1, 1), (0, 0)], "ceil_mode": True}
    arguments |= {"layout": "channels_last"} if last else {}
    arguments |= {"weights": "gaussian"} if kind == "weighted" else {}
    made = film(x, (3, 2), operator="pool", feature=2, sample=1, **arguments)
    y = jj.pool(x, (3, 2), **arguments)
    assert made.pixels.tolist() == (y[1, ..., 2] if last else y[1, 2]).tolist()
    for frame in made.frames:
        window = seen(made, frame)[0]
        rows, columns = (np.add(first, taps) for first, taps in zip(frame.corner, made.taps, strict=True))
        inside = made.field.cells[rows[:, None], columns] == INSIDE
        result = made.pixels[frame.pixel]
        if kind == "max":
            assert window[inside].max() == result
        if kind == "weighted":
            assert frame.weights is not None
            assert np.average(window[inside], weights=frame.weights[0][inside]) == pytest.approx(result)
        assert frame.arithmetic[0].startswith(f"y[{frame.pixel[0]}, {frame.pixel[1]}] = ")


def test_sites_have_their_own_weights() -> None:
    random = np.random.default_rng(5)
    x, w = random.integers(0, 9, (1, 1, 5, 6)), random.integers(-3, 9, (2, 3, 1, 1, 2, 2))
    made = film(x, w, sharing="tiled")
    for frame in made.frames:
        assert frame.weights is not None
        assert frame.weights[0].tolist() == w[frame.pixel[0] % 2, frame.pixel[1] % 3, 0, 0].tolist()
    assert slide(x, w, sharing="tiled").pictures.settled(0)
    kernels = [[t.text for t in texts(slide(x, w, sharing="tiled").drawing(number))] for number in (0, 1)]
    assert kernels[0] != kernels[1]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_scattered_copies_add_up(data: st.DataObject) -> None:
    n, tiled = data.draw(st.integers(1, 2)), data.draw(st.booleans())

    def draw(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(least, most)) for _ in range(n))

    size, kernel = draw(3, 4), draw(1, 3)
    arguments: dict[str, Any] = {"stride": draw(1, 3), "dilation": draw(1, 2), "padding": draw(0, 1), "flip": data.draw(st.booleans())}
    arguments |= {"sharing": "tiled"} if tiled else {}
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, w = random.integers(-9, 10, (1, 1, *size)), random.integers(-9, 10, (*(draw(1, 2) if tiled else ()), 1, 2, *kernel))
    y = jj.conv_transpose(x, w, **arguments)[0, 1]
    made = film(x, w, operator="conv_transpose", scatter=True, feature=1, **arguments)
    assert made.field.values[0][made.field.cells == INSIDE].tolist() == y.reshape(-1).tolist()
    assert made.pixels.reshape(-1).tolist() == x.reshape(-1).tolist()
    total = np.zeros_like(made.field.values)
    for frame in made.frames:
        assert frame.added is not None
        assert frame.weights is not None
        assert (frame.added == frame.weights * made.pixels[frame.pixel]).all()
        rows, columns = (np.add(first, taps) for first, taps in zip(frame.corner, made.taps, strict=True))
        total[:, rows[:, None], columns] += frame.added
    assert (total == made.field.values).all()


def test_b3_every_element_launches_a_copy() -> None:
    made = film([2, 3, 5], [7, 11, 13], operator="conv_transpose", scatter=True)
    assert made.field.values[0].tolist() == [jj.convolve([2, 3, 5], [7, 11, 13]).tolist()]
    assert [frame.arithmetic[0] for frame in made.frames][1].endswith("+= x[1] · w = 3 · w")


def test_d3_the_error_goes_to_the_corner_that_won() -> None:
    x = np.array([[9, 1, 1, 1], [1, 1, 1, 9], [1, 9, 1, 1], [1, 1, 9, 1]])  # top left, bottom right, top right, bottom left
    dy = np.array([[1, 2], [3, 4]])
    made = film(x, 2, operator="pool_grad", dy=dy)
    assert made.field.values[0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 2], [0, 3, 0, 0], [0, 0, 4, 0]]
    assert [frame.arithmetic[0] for frame in made.frames] == [
        "dy[0, 0] = 1:  dx[0, 0] += 1",
        "dy[0, 1] = 2:  dx[1, 3] += 2",
        "dy[1, 0] = 3:  dx[2, 1] += 3",
        "dy[1, 1] = 4:  dx[3, 2] += 4",
    ]
    assert made.frames[0].weights is not None
    assert made.frames[0].weights[0].tolist() == [[9, 1], [1, 1]]
    even = film(x, 2, operator="pool_grad", dy=dy, kind="avg")
    assert even.field.values[0].tolist() == np.kron(dy / 4, np.ones((2, 2))).tolist()
    assert even.frames[0].arithmetic[0].endswith("+= 0.25")


@pytest.mark.parametrize("kind", ["max", "avg", "lp", "weighted"])
@pytest.mark.parametrize("last", [False, True])
def test_pooled_errors_add_up(kind: str, last: bool) -> None:
    random = np.random.default_rng(7)
    x = random.normal(size=(2, 5, 6, 3) if last else (2, 3, 5, 6))
    arguments: dict[str, Any] = {"kind": kind, "stride": (2, 1), "padding": 1}
    arguments |= {"layout": "channels_last"} if last else {}
    arguments |= {"weights": "gaussian"} if kind == "weighted" else {}
    dy = random.normal(size=jj.pool(x, (3, 2), **arguments).shape)
    made = film(x, (3, 2), operator="pool_grad", dy=dy, feature=2, sample=1, **arguments)
    dx = jj.pool_grad(x, dy, (3, 2), **arguments)
    inside = made.field.values[0][made.field.cells == INSIDE]
    np.testing.assert_allclose(inside, (dx[1, ..., 2] if last else dx[1, 2]).reshape(-1), atol=1e-12)
    drawn = slide(x, (3, 2), operator="pool_grad", dy=dy, feature=2, sample=1, **arguments)
    np.testing.assert_allclose(drawn.pictures._sums[-1], made.field.values, atol=1e-12)


def test_a_film_as_plain_numbers() -> None:
    told = json.loads(json.dumps(film((5, 5), (3, 3), padding=1).as_dict()))
    assert told["window"] == [3, 3]
    assert len(told["frames"]) == 25
    assert told["notes"] == {"padding": "1", "boundary": "zero"}
    with_gaps = film([1.0, np.nan], [1.0]).as_dict()
    assert json.loads(json.dumps(with_gaps, allow_nan=False))["field"]["values"] == [[[1.0, None]]]


# Pictures -----------------------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[tuple[Any, Any], dict[str, Any]]] = {
    "reference": (((5, 5), (3, 3)), {"stride": (1, 2)}),
    "padded": (((5, 5), (3, 3)), {"padding": 1, "boundary": "reflect"}),
    "dilated": (((9, 9), (3, 3)), {"dilation": 2, "padding": ((2, 0), (1, 1))}),
    "channels": (((3, 5, 5), (2, 3, 3, 3)), {"padding": 1, "feature": 1}),
    "many channels": (((16, 6, 6), (4, 16, 3, 3)), {}),
    "transposed": (((3, 3), (3, 3)), {"operator": "conv_transpose", "stride": 2, "padding": 1}),
    "gradient": (((4, 4), (2, 2)), {"operator": "conv_grad_input", "stride": 3, "dilation": 2}),
    "pooling": (((5, 5), 3), {"operator": "pool", "stride": 2, "padding": 1, "kind": "avg"}),
    "scattered": (((3, 3), (3, 3)), {"operator": "conv_transpose", "scatter": True, "stride": 2, "padding": 1}),
    "scattered error": (((3, 4), (2, 2)), {"operator": "conv_grad_input", "scatter": True}),
    "pooled error": (((5, 5), 3), {"operator": "pool_grad", "stride": 1, "padding": 1}),
    "signal": (((9,), (3,)), {"padding": 1}),
    "long": (((40,), (5,)), {}),
    "wide": (((3, 30), (3, 3)), {"padding": 1}),
    "tall": (((30, 3), (5, 3)), {}),
    "large": (((28, 28), (5, 5)), {"padding": 2}),
    "large kernel": (((14, 14), (13, 13)), {}),
    "one": (((1, 1), (1, 1)), {}),
    "floats": ((np.random.default_rng(0).normal(size=(5, 5)), np.random.default_rng(1).normal(size=(3, 3)) * 1e-5), {}),
}


def texts(drawing: Drawing) -> list[Text]:
    return [shape for shape in drawing.shapes if isinstance(shape, Text)]


def box(text: Text, font: str | None) -> tuple[float, float, float, float]:
    """Where a text's letters lie on the page."""
    x, y = text.at
    bounds = letters(font, max(1, round(text.size * SCALE))).getbbox(text.text, anchor="mm" if text.anchor == "middle" else "lm")
    return tuple(origin + bound / SCALE for origin, bound in zip((x, y, x, y), bounds, strict=True))  # type: ignore[return-value]


def meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("view", ["perspective", "flat"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_clipped_or_overlaps(name: str, view: str, language: str) -> None:
    (x, w), arguments = CASES[name]
    made = slide(x, w, view=view, language=language, **arguments)
    width, height = made.pictures.size
    font = made.pictures.words.font
    for number in {0, len(made) // 2, len(made) - 1}:
        drawing = made.drawing(number)
        boxes = [box(text, font) for text in texts(drawing)]
        corners: list[tuple[float, float]] = [point for shape in drawing.shapes if not isinstance(shape, Text) for point in points(shape)]
        for left, top, right, bottom in boxes:
            assert 0 <= left <= right <= width, texts(drawing)[boxes.index((left, top, right, bottom))]
            assert 0 <= top <= bottom <= height
        assert all(0 <= x <= width and 0 <= y <= height for x, y in corners)
        drawn = list(zip(texts(drawing), boxes, strict=True))
        titles = [(text, bounds) for text, bounds in drawn if text.size >= 12 and (text.anchor == "start" or text.size == 15)]
        for (one, a), (other, b) in itertools.combinations(titles, 2):
            assert not meet(a, b), (one, other)
        cells = {text.at: bounds for text, bounds in drawn if text not in [title for title, _ in titles]}  # the last on each place
        for a, b in itertools.combinations(cells.values(), 2):
            assert not meet(a, b)
        for (title, a), b in itertools.product(titles, cells.values()):
            assert not meet(a, b), title


def points(shape: Shape) -> tuple[tuple[float, float], ...]:
    assert isinstance(shape, Polygon | Line)
    return shape.points if isinstance(shape, Polygon) else (shape.start, shape.end)


def test_what_padding_and_gaps_look_like() -> None:
    made = slide((3, 3), (3, 3), operator="conv_transpose", stride=2)
    dashed = [shape for shape in made.pictures.fixed if isinstance(shape, Polygon) and shape.dashed]
    assert len(dashed) == np.count_nonzero(made.film.field.cells != INSIDE)
    assert all(shape.fill is None for shape in dashed)


def test_images_in_turn_are_the_frames_themselves() -> None:
    for view in ("perspective", "flat"):
        made = slide((4, 5), (2, 2), view=view, dark=True)
        for number, image in enumerate(made.images()):
            difference = np.abs(np.asarray(image, np.int16) - made.image(number).astype(np.int16))
            assert difference.mean() < 0.3  # lines and settled pixels are drawn in another order


# Files --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> Slide:
    return slide((4, 4), (3, 3), seconds=0.25)


def test_a_gif_shows_the_frames(small: Slide, tmp_path: Path) -> None:
    small.save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        for number, frame in enumerate(ImageSequence.Iterator(gif)):
            assert frame.info["duration"] == 250
            assert np.abs(np.asarray(frame.convert("RGB"), np.int16) - small.image(number)).mean() < 1.5
        assert number == 3


def test_notebooks_show_it(small: Slide) -> None:
    html = small._repr_html_()
    with Image.open(io.BytesIO(base64.b64decode(html.partition("base64,")[2].removesuffix('">')))) as gif:
        assert gif.n_frames == 4  # type: ignore[attr-defined]


def test_flat_windows_show_their_factors() -> None:
    made = slide([[1, 2], [3, 4]], [[5, 6], [7, 8]], view="flat")
    shown = [text.text for text in texts(made.drawing(0))]
    assert [factor for factor in shown if factor.startswith("×")] == ["×5", "×6", "×7", "×8"]


def test_numbered_frames(small: Slide, tmp_path: Path) -> None:
    pictures = small.save(tmp_path / "a.png")
    assert [path.name for path in pictures] == ["a-1.png", "a-2.png", "a-3.png", "a-4.png"]
    with Image.open(pictures[0]) as first:
        assert (np.asarray(first) == small.image(0)).all()
    for number, path in enumerate(small.save(tmp_path / "a.svg")):
        root = ElementTree.parse(path).getroot()
        kinds = [element.tag.rpartition("}")[2] for element in root]
        shapes = small.drawing(number).shapes
        for kind, tag in ((Polygon, "polygon"), (Line, "line"), (Text, "text")):
            assert kinds.count(tag) == sum(isinstance(shape, kind) for shape in shapes)


def test_a_video(small: Slide, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    small.save(tmp_path / "a.mp4")
    frames = ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    told = next(frames)
    assert told["size"] == small.pictures.size
    assert told["duration"] == pytest.approx(1, abs=0.1)
    width, height = told["size"]
    first = np.frombuffer(next(frames), np.uint8).reshape(height, width, 3)
    frames.close()
    assert np.abs(first.astype(np.int16) - small.image(0)).mean() < 4


def test_files_need_pillow_alone(tmp_path: Path) -> None:
    code = f"""
import sys
import juanji as jj
jj.show.slide((4, 4), (3, 3), language="zh").save({str(tmp_path / "a.gif")!r})
print(sorted({{"matplotlib", "scipy", "torch", "typer"}} & sys.modules.keys()))
"""
    assert run_python(code).strip() == "[]"


def test_a_gif_has_a_frame_for_each_output(tmp_path: Path) -> None:
    made = slide((12, 10), (3, 3), padding=1, stride=(2, 1))
    made.save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as written:
        assert len(made) == written.n_frames == 60  # type: ignore[attr-defined]


def test_a_figure_with_a_slider(small: Slide) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure = small.figure()
    page = figure.axes[0]
    figure.juanji_slider.set_val(3)  # type: ignore[attr-defined]
    figure.canvas.draw()
    shown = {text.get_text() for text in page.texts}
    assert "3 / 4" in shown
    assert small.film.frames[2].arithmetic[0] in shown
    assert len(slide((3, 3), (3, 3)).figure().axes) == 1  # nothing to choose
    plt.close("all")


# The command --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `juanji slide` in an empty folder, and gives its status and what it printed on either stream."""
    monkeypatch.chdir(tmp_path)
    messages.use("en")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["slide", *arguments])
        messages.use("en")
        return status, *capsys.readouterr()

    return call


def test_the_command(run: Any, tmp_path: Path) -> None:
    status, out, err = run("--input", "5x5", "--kernel", "3x3", "--stride", "1x2", "-o", "slide.gif")
    assert (status, out, err) == (0, "slide.gif\n", "6 frames of 920×620 pixels, 0.5 s each\n")
    with Image.open(tmp_path / "slide.gif") as gif:
        assert gif.n_frames == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "frames"),
    [
        ("--input [[1,2],[3,4]] --kernel [[1]] --dark --view flat", 4),
        ("--input 4x4 --kernel sobel_x --padding 1 --boundary edge --flip", 16),
        ("--input 7 --kernel 3 --channels 2 --features 2", 5),
        ("--input 4x4 --kernel 2x2 --operator pool --kind weighted", 4),
        ("--input 4x4 --kernel 2x2 --operator pool_grad --kind avg", 4),
        ("--input 2x2 --kernel 3x3 --operator conv_transpose --stride 2 --scatter", 4),
        ("--input 2x2 --kernel 3x3 --operator conv_grad_input --channels 2 --features 3 --lang zh", 16),
    ],
)
def test_what_the_command_draws(arguments: str, frames: int, run: Any, tmp_path: Path) -> None:
    status, out, _ = run(*arguments.split(), "-o", "f.svg")
    assert status == 0
    assert len(out.split()) == frames == len(list(tmp_path.glob("*.svg")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--input 4x4 --kernel 5x5 -o a.gif", "kernel of size 5, but axis 0 is 4"),
        ("--input 4x4 --kernel 3x3 -o a.bmp", "must end in one of .gif"),
        ("--input [[1,2] --kernel 1x1 -o a.gif", "--input"),
        ("--input 4x4 --kernel sobel_x --channels 2 -o a.gif", "leave --channels"),
        ("--input 4x4 --kernel 2x2 --operator pool --flip -o a.gif", "have no meaning with pooling"),
        ("--input 4x4 --kernel 2x2", "-o must name a file here"),
    ],
)
def test_the_command_refuses(arguments: str, message: str, run: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("agg")
    status, out, err = run(*arguments.split())
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# Refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "extra"), [("imageio_ffmpeg", "video"), ("matplotlib.pyplot", "show")])
def test_what_is_missing_is_named(module: str, extra: str, small: Slide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraError, match=rf"is not installed; pip install 'juanji\[{extra}\]' brings it"):
        small.save(tmp_path / "a.mp4") if extra == "video" else small.figure()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: slide((4, 4), (5, 5)), ShapeError, "kernel of size 5, but axis 0 is 4"),
        (lambda: slide((4, 4, 4), (3, 3)), ShapeError, "x of shape (4, 4, 4) must have the 2 axes of w (3, 3)"),
        (lambda: slide((1, 4, 4, 4), (1, 1, 3, 3, 3)), ArgumentError, "must have one or two spatial axes to be drawn"),
        (lambda: slide((100, 100), (3, 3)), ArgumentError, "the output 98×98 would take 9604 frames, above 2000"),
        (lambda: slide((0, 4), (3, 3)), ShapeError, "sizes (=(0, 4)) must be at least 1"),
        (lambda: slide([[1j]], [[1]]), DtypeError, "only real numbers are drawn"),
        (lambda: slide((4, 4), (3, 3), operator="fold"), ArgumentError, "one of conv, conv_transpose, conv_grad_input, pool"),
        (lambda: slide((4, 4), (3, 3), view="top"), ArgumentError, "one of perspective, flat"),
        (lambda: slide((4, 4), (3, 3), seconds=0), ArgumentError, "seconds (=0)"),
        (lambda: slide((4, 4), (3, 3), language="fr"), ArgumentError, "one of en, zh"),
        (lambda: slide((4, 4), (3, 3), feature=1), ArgumentError, "feature (=1) must be one of 0 to 0"),
        (lambda: slide((4, 4), (3, 3), steps=1), ArgumentError, "steps"),
        (lambda: slide((4, 4), (3, 3), input_shape=(4, 4)), ArgumentError, "input_shape"),
        (lambda: slide((4, 4), (3, 3), operator="conv_transpose", boundary="wrap"), ArgumentError, "is drawn with boundary 'zero'"),
        (lambda: slide((2, 2), (3, 3), operator="conv_grad_input", input_shape=(9, 9)), ArgumentError, "dy"),
        (lambda: slide((2, 2), (3, 3), operator="conv_grad_input", bias=[1]), ArgumentError, "bias must be None"),
        (lambda: slide((2, 2), 2, operator="pool", bias=[1]), ArgumentError, "bias must be None"),
        (lambda: slide((4, 4), (3, 3), scatter=True), ArgumentError, "scatter=True belongs to"),
        (lambda: slide((2, 4, 4), (2, 1, 3, 3), operator="conv_transpose", scatter=True), ArgumentError, "scatter=True draws one"),
        (lambda: slide((4, 4), (3, 3), [1], operator="conv_transpose", scatter=True), ArgumentError, "bias must be None"),
        (lambda: slide((4, 4), 2, operator="pool_grad", dy=np.ones((3, 3))), ShapeError, "dy of shape (3, 3) must have the shape"),
        (lambda: slide((4, 4), (3, 3)).drawing(4), ArgumentError, "number (=4) must be one of the frames 0 to 3"),
        (lambda: slide((4, 4), (3, 3)).save("a.bmp"), ArgumentError, "must end in one of .gif, .mp4, .png, .svg"),
        (lambda: slide((4, 4), (3, 3)).save("nowhere/a.gif"), FileError, "nowhere: no such folder"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, kind: type[JuanjiError], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
