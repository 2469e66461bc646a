"""Pictures of networks: the page about a photo, the figures, and the command."""

from __future__ import annotations

import base64
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from juanji import image, inside, nn, show
from juanji.cli.app import run
from juanji.errors import ArgumentError, ShapeError
from juanji.show import embedded, stages
from juanji.show.report_words import TABLE
from juanji.show.tiles import around_grey, in_colour, sized, stitched

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.text import Text  # noqa: E402

Array = npt.NDArray[Any]

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
DIGIT = PHOTO[:28, :28, 0]


def coloured_network() -> nn.Graph:
    """Two stages over pictures of 32×32, with a batch norm and a way around."""
    x = nn.Input((3, 32, 32))
    y = nn.ReLU()(nn.BatchNorm()(nn.Conv(8, 3, padding=1)(x)))
    y = nn.MaxPool(2)(y)
    y = nn.ReLU()(nn.Add()(nn.Conv(8, 3, padding=1, bias=1.0)(y), y))
    return nn.Graph(x, nn.Dense(3)(nn.GlobalPool()(y)), classes=("ant", "<bee>", "cat")).build(seed=1)


def digits() -> nn.Graph:
    return nn.models.get("lenet-5", seed=1)


def masks() -> nn.Graph:
    return nn.Sequential(nn.Conv(6, 3, padding=1), nn.ReLU(), nn.Conv(1, 1), nn.Sigmoid(), shape=(3, None, None)).build((3, 40, 50))


class Page(HTMLParser):
    """What a page holds: texts, headings, addresses of pictures and of anything else; and whether its elements are closed in order."""

    EMPTY = ("meta", "img", "line", "circle", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.others: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if tag == "img" and name == "src":
                self.pictures.append(value or "")
            elif name in ("src", "href", "action", "data") or "url(" in (value or ""):
                self.others.append(value or "")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    told: list[float] = []
    show.report(coloured_network(), PHOTO, path, name="ants & bees", language="en", filters=3, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    return path.read_text()


def test_the_page_stands_alone(page: str) -> None:
    found = Page(page)
    assert found.others == []
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert len(found.pictures) > 20
    for address in found.pictures:
        kind, _, data = address.partition(";base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        picture.load()
        assert kind == f"data:image/{(picture.format or '').lower()}"


def test_the_page_has_all_parts(page: str) -> None:
    keys = ("says", "why", "fields", "maps", "deconvnet", "maximise", "frequency", "layers")
    wanted = ["Inside ants & bees", *(TABLE[key][0] for key in keys)]
    headings = Page(page).headings
    assert [heading for heading in headings if not heading.startswith("The kernels of conv1")] == wanted
    assert "&lt;bee&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    for layer in ("conv1", "norm1", "add1"):
        assert f"<td>{layer}</td>" in page


@pytest.mark.parametrize(("make", "photo"), [(digits, DIGIT), (masks, PHOTO)], ids=["digits", "masks"])
def test_pages_in_chinese_and_of_other_networks(make: Any, photo: Array, tmp_path: Path) -> None:
    show.report(make(), photo, tmp_path / "a.html", language="zh", filters=2)
    text = (tmp_path / "a.html").read_text()
    found = Page(text)
    assert 'lang="zh-Hans"' in text
    assert found.headings[1] == "网络的回答"
    assert not any(re.fullmatch(r"[A-Za-z ]{12,}", heading) for heading in found.headings)
    assert ("sobel" in text or "prewitt" in text or "gaussian" in text) == (make is digits)


def test_every_sentence_of_the_page_is_there_twice() -> None:
    for key, (english, chinese) in TABLE.items():
        assert sorted(re.findall(r"{[^}]*}", english)) == sorted(re.findall(r"{[^}]*}", chinese)), key
        assert english
        assert chinese


def test_reports_refuse(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="language"):
        show.report(digits(), DIGIT, tmp_path / "a.html", language="fr")
    with pytest.raises(ArgumentError, match="filters"):
        show.report(digits(), DIGIT, tmp_path / "a.html", filters=0)
    small = nn.Sequential(nn.Conv(4, 3), nn.MaxPool(4), nn.Conv(4, 3), shape=(3, None, None)).build((3, 40, 40))
    with pytest.raises(ShapeError, match="layer conv2"):
        show.report(small, PHOTO[:8, :8], tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


def test_the_command_needs_no_matplotlib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.colors", None)
    image.write(tmp_path / "photo.png", DIGIT)
    digits().save(tmp_path / "net.safetensors")
    network, photo, out = str(tmp_path / "net.safetensors"), str(tmp_path / "photo.png"), str(tmp_path / "report.html")
    assert run(["look", network, photo, "-o", out, "--filters", "2", "--lang", "zh"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == out
    assert "一个网页" in said.err
    assert "网络的回答" in Path(out).read_text()
    assert run(["look", "no-such-network", photo, "-o", out, "--lang", "en"]) == 2
    assert "must be a file, the folder of a run, or one of" in capsys.readouterr().err
    assert run(["look", network, str(tmp_path / "none.png"), "-o", out]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


# Figures ------------------------------------------------------------------------------------------------------------------

FIGURES: dict[str, Any] = {
    "maps": lambda **how: show.maps(digits(), DIGIT, **how),
    "stacked": lambda **how: show.stacked(digits(), DIGIT, **how),
    "kernels": lambda **how: show.kernels(digits(), **how),
    "kernels of many channels": lambda **how: show.kernels(digits(), "conv2", **how),
    "kernels in colour": lambda **how: show.kernels(coloured_network(), **how),
    "receptive_field": lambda **how: show.receptive_field(digits(), "conv2", (0, 9), DIGIT, **how),
    "receptive_field, blank": lambda **how: show.receptive_field(coloured_network(), "add1", effective=False, **how),
    "maximise": lambda **how: show.maximise(coloured_network(), "add1", 4, size=16, columns=2, **how),
    "deconvnet": lambda **how: show.deconvnet(digits(), DIGIT, "pool2", strongest=4, **how),
    "evidence": lambda **how: show.evidence(coloured_network(), PHOTO, "cat", size=8, stride=8, **how),
    "frequencies": lambda **how: show.frequencies([inside.frequency(coloured_network(), "norm1", 3, size=16)], **how),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("how", [{"dark": False, "language": "en"}, {"dark": True, "language": "zh"}], ids=["light", "dark"])
def test_figures_keep_their_texts_inside(name: str, how: dict[str, Any]) -> None:
    figure = FIGURES[name](**how)
    figure.canvas.draw()
    whole = figure.bbox
    texts = [child for part in (figure, *figure.axes) for child in part.get_children() if isinstance(child, Text)]
    for text in texts + [tick for axes in figure.axes if axes.axison for tick in axes.get_xticklabels()]:
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= whole.x0 - 1, text
            assert box.y0 >= whole.y0 - 1, text
            assert box.x1 <= whole.x1 + 1, text
            assert box.y1 <= whole.y1 + 1, text
    plt.close(figure)


def test_each_kernel_is_as_deep_as_the_layer_before() -> None:
    net = nn.Sequential(nn.Conv(6, 5), nn.ReLU(), nn.Conv(10, 5), shape=(3, 32, 32))
    (axes,) = show.stacked(net, PHOTO, language="en").axes
    said = [text.get_text() for text in axes.texts]
    assert said == [
        "input", "3 × 32×32", "conv1", "6 × 28×28", "6 × kernel 3×5×5", "conv2", "10 × 24×24", "10 × kernel 6×5×5",
    ]  # fmt: skip
    assert len(axes.images) == 1 + 6 + 10
    plt.close("all")


def test_figures_refuse() -> None:
    net = digits()
    with pytest.raises(ArgumentError, match="must be one of conv1"):
        show.maps(net, DIGIT, ["conv7"])
    with pytest.raises(ArgumentError, match="must give maps"):
        show.maps(net, DIGIT, ["dense1"])
    with pytest.raises(ArgumentError, match="has no kernels to show; those that have are conv1, conv2"):
        show.kernels(net, "relu1")
    with pytest.raises(ArgumentError, match="10×10 map of conv2"):
        show.receptive_field(net, "conv2", (10, 0), DIGIT)
    with pytest.raises(ArgumentError, match="layer must be given"):
        show.maximise(net)
    with pytest.raises(ArgumentError, match="at least one"):
        show.frequencies([])


def test_a_figure_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'juanji\[show\]'"):
        show.kernels(digits())


# Tiles --------------------------------------------------------------------------------------------------------------------


def test_painted_numbers_are_as_opaque_as_they_are_large() -> None:
    address = embedded.painted(np.array([[0.0, 1.0, -0.5, np.nan, 3.0]]), 1.0)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA"))[0]
    assert picture[:, 3].tolist() == [0, 255, 129, 0, 255]
    assert bytes(picture[1, :3]).hex() == embedded.POSITIVE[1:]
    assert bytes(picture[2, :3]).hex() == embedded.NEGATIVE[1:]


def test_tiles() -> None:
    page = stitched(np.arange(5)[:, None, None] * np.ones((5, 2, 3)), 3, 1, fill=-1)
    assert page.shape == (5, 11)
    assert page[0].tolist() == [0, 0, 0, -1, 1, 1, 1, -1, 2, 2, 2]
    assert page[4, 8:].tolist() == [-1, -1, -1]
    wide = sized(np.full((2, 4), 9, np.uint8), 8)
    assert wide[:, 0].tolist() == [128, 128, 9, 9, 9, 9, 128, 128]
    assert around_grey(np.array([[-2.0, 0, 1]])).tolist() == [[0, 128, 191]]
    w = np.array([1.0, 0, -1]).reshape(1, 3, 1, 1)
    assert in_colour(w)[0, 0, 0].tolist() == [255, 128, 0]


def test_stages_of_networks() -> None:
    assert list(stages.ends(nn.models.get("vgg16-edges"), (3, 64, 64))) == ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]
    assert list(stages.ends(digits(), (1, 28, 28))) == ["conv1", "conv2"]
    assert list(stages.with_maps(coloured_network(), (3, 32, 32))) == ["norm1", "relu1", "pool1", "conv2", "add1", "relu2"]
    assert list(stages.with_maps(coloured_network(), (3, 32, 32), activated=True)) == ["relu1", "pool1", "conv2", "relu2"]
