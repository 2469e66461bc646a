"""How figures of the gallery look, and what their words are in Chinese.

A script says what it draws in English. For the Chinese site the words of a figure are looked up in the catalogue figures.po when the
figure is taken; numbers, names of arguments and what is not in the catalogue stay.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any

import matplotlib
from babel.messages.pofile import read_po
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.text import Text
from sphinx_gallery.scrapers import matplotlib_scraper

from juanji.show.words import words

HERE = Path(__file__).resolve().parent
STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.edgecolor": "#a4abb3",
    "axes.prop_cycle": matplotlib.cycler(color=["#2f7fc1", "#d9791b", "#3a3f4a", "#c2124f", "#6aa84f"]),
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def reset(_: dict[str, Any], __: str) -> None:
    """The same style before every script."""
    matplotlib.use("agg")
    plt.close("all")
    plt.rcdefaults()
    plt.rcParams.update(STYLE)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a Chinese font may have no bold letters
    font = words("zh").font  # the one that jj.show draws Chinese with
    if font:
        font_manager.fontManager.addfont(font)
        plt.rcParams["font.family"] = ["DejaVu Sans", font_manager.FontProperties(fname=font).get_name()]


def catalogues(locale: Path, files: str = "*.po") -> dict[str, str]:
    """The Chinese of every message of some catalogues."""
    found = {}
    for path in sorted((locale / "zh_CN" / "LC_MESSAGES").rglob(files)):
        with path.open("rb") as file:
            found |= {str(message.id): str(message.string) for message in read_po(file) if message.id and message.string}
    return found


class Scraper:
    """matplotlib's scraper, after the words of every figure have been translated."""

    def __init__(self, chinese: bool, locale: Path) -> None:
        self.catalogue = catalogues(locale, "figures.po") if chinese else {}
        self.drawn = None if chinese else HERE / "words-drawn.json"

    def __repr__(self) -> str:
        return "Scraper"  # the same in every process: Sphinx compares configurations

    def __call__(self, block: Any, variables: Any, gallery: Any) -> str:
        texts = [text for number in plt.get_fignums() for text in plt.figure(number).findobj(Text)]
        for text in texts:
            text.set_text(self.catalogue.get(text.get_text(), text.get_text()))
        if self.drawn:
            self._keep({text.get_text() for text in texts})
        found: str = matplotlib_scraper(block, variables, gallery, bbox_inches="tight", pad_inches=0.12)
        return found

    def _keep(self, words: set[str]) -> None:
        """Add what has letters to the list that docs/catalogue.py reads."""
        assert self.drawn
        known = set(json.loads(self.drawn.read_text("utf-8"))) if self.drawn.exists() else set()
        known |= {word for word in words if re.search("[A-Za-z]{3}", word)}
        self.drawn.write_text(json.dumps(sorted(known), ensure_ascii=False, indent=0), "utf-8")
