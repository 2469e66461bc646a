"""The site's configuration. `python docs/build.py` copies this folder for each language, adds the pages that are made, and builds it."""

import html
import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import gallery_figures  # noqa: E402

CHINESE = os.environ.get("JUANJI_DOCS_LANGUAGE") == "zh"
if CHINESE:
    os.environ["LC_ALL"] = "zh_CN.UTF-8"  # by which jj.show chooses the language of its labels
DATA = "JUANJI_DATA" in os.environ

project = "juanji"
author = "the authors of juanji"
language = "zh_CN" if CHINESE else "en"
extensions = ["myst_parser", "sphinx_gallery.gen_gallery", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["gallery", "exercises/*", "pages/**/*.py", "pages/**/*.ipynb", "pages/**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
locale_dirs = [os.environ.get("JUANJI_DOCS_LOCALE", str(HERE.parent / "locale"))]
gettext_compact = False
gettext_uuid = False
nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # functions below stand in sphinx_gallery_conf

html_theme = "pydata_sphinx_theme"
html_title = "juanji 卷积"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "juanji 卷积"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navbar_end": ["other-language", "theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright-line"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {page: [] for page in ("index", "start", "translation", "exercises", "benchmark")}
html_context = {
    "other_language": {"name": "English" if CHINESE else "中文", "code": "en" if CHINESE else "zh"},
    "default_mode": "auto",
}

NEEDS_DATA = "JUANJI_DATA"  # a script that says this word needs that folder
SCRIPTS = sorted((HERE / "gallery").glob("*/plot_*.py"))
WITHOUT = [] if DATA else [path.name for path in SCRIPTS if NEEDS_DATA in path.read_text("utf-8")]
RUNS = r"plot_(?!" + "|".join(re.escape(name.removeprefix("plot_")) for name in WITHOUT) + ")" if WITHOUT else "plot_"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "pages",
    "filename_pattern": RUNS,
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": (gallery_figures.Scraper(CHINESE, Path(locale_dirs[0])),),
    "reset_modules": (gallery_figures.reset,),
    "reset_modules_order": "before",
    "capture_repr": ("_repr_html_",),
    "image_srcset": ["2x"],
    "show_signature": False,
    "min_reported_time": 10**9,
    "write_computation_times": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "abort_on_example_error": False,
    "thumbnail_size": (480, 300),
    "inspect_global_variables": False,
}

NOTE = {
    False: "This site was built without the folder `JUANJI_DATA` of data sets and trained weights, so that the code below was not run.",
    True: "构建本站时没有提供存放数据集与训练权重的 `JUANJI_DATA` 目录，因此下面的代码未被执行。",
}


def _say_what_was_left_out(app: Any, name: str, source: list[str]) -> None:
    """A page whose script was not run says so at its top."""
    if f"{name.rpartition('/')[2]}.py" in WITHOUT:
        title = re.search(r"^=+\n.*\n=+\n|^.+\n=+\n", source[0], re.MULTILINE)
        assert title is not None
        note = f"\n.. warning::\n\n   {NOTE[CHINESE].replace('`', '``')}\n\n"
        source[0] = source[0][: title.end()] + note + source[0][title.end() :]


def _name_thumbnails(app: Any, name: str, source: list[str]) -> None:
    """In Chinese: the titles under thumbnails and the texts over them, which the gallery writes as HTML that Sphinx does not translate."""
    if name.startswith("pages/") and name.endswith("index"):
        known = gallery_figures.catalogues(Path(locale_dirs[0]))
        source[0] = re.sub(
            r'(?<=sphx-glr-thumbnail-title">)[^<]+|(?<=tooltip=")[^"]+',
            lambda found: html.escape(known.get(html.unescape(found[0]), html.unescape(found[0]))),
            source[0],
        )


def setup(app: Any) -> None:
    if CHINESE:
        app.connect("source-read", _name_thumbnails)
    app.connect("source-read", _say_what_was_left_out)
