"""python docs/build.py: the site, in build/docs/html, in English and Chinese. `make docs` calls it.

For each language the sources in docs/site are copied to build/docs/source, the pages that are made from tables, results and docstrings are
written beside them, and Sphinx runs the gallery's scripts and builds the pages, its warnings being errors. At last every link from one
page to another is followed. Scripts that did not change are not run again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import benchmark
import links
import manual
import translation

DOCS = Path(__file__).resolve().parent
BUILD = DOCS.parent / "build" / "docs"
LANGUAGES = ("en", "zh")
WORDS = "words-drawn.json"  # which gallery_figures.py leaves in the folder that Sphinx reads
FRONT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>juanji 卷积</title>
<script>location.replace((navigator.language || "en").toLowerCase().startsWith("zh") ? "zh/index.html" : "en/index.html")</script>
</head><body><p><a href="en/index.html">English</a> · <a href="zh/index.html">中文</a></p></body></html>
"""


def environment(language: str) -> dict[str, str]:
    """That of a build."""
    own = {"LC_ALL": "C.UTF-8", "JUANJI_DOCS_LANGUAGE": language, "JUANJI_DOCS_LOCALE": str(DOCS / "locale"), "MPLBACKEND": "agg"}
    return os.environ | own


def source(language: str, copy: str) -> Path:
    """The folder that Sphinx reads: docs/site and the exercises, where what is unchanged keeps its time, and the pages that are made."""
    folder = BUILD / "source" / copy
    wanted = {path.relative_to(DOCS / "site"): path.read_bytes() for path in _files(DOCS / "site")}
    wanted |= {path.relative_to(DOCS): path.read_bytes() for path in _files(DOCS / "exercises")}
    wanted[Path("translation.md")] = translation.page(language).encode()
    wanted[Path("benchmark.md")] = benchmark.page(language).encode()
    wanted[Path("roofline.png")] = (benchmark.RESULTS / "roofline.png").read_bytes()
    wanted |= {Path("reference") / f"{name}.md": text.encode() for name, text in manual.pages(language)}
    if language == "zh":  # words that were translated anew are drawn anew
        words = DOCS / "locale" / "zh_CN" / "LC_MESSAGES" / "figures.po"
        wanted[Path(words.name)] = words.read_bytes()
        if (folder / words.name).exists() and (folder / words.name).read_bytes() != words.read_bytes():
            shutil.rmtree(folder / "pages", ignore_errors=True)
    for old in _files(folder):
        name = old.relative_to(folder)
        of_gallery = name.parts[0] == "pages"  # its own results, which it looks after, but not those of scripts that are gone
        gone = name.suffix == ".rst" and name.stem.startswith("plot_") and Path("gallery", *name.with_suffix(".py").parts[1:]) not in wanted
        if gone if of_gallery else name not in wanted and name.name != WORDS:
            old.unlink()
    for name, content in wanted.items():
        made = folder / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if not made.exists() or made.read_bytes() != content:
            made.write_bytes(content)
    return folder


def words_drawn() -> set[str]:
    """The words in the figures of the last English build."""
    path = BUILD / "source" / "en" / WORDS
    return set(json.loads(path.read_text("utf-8"))) if path.exists() else set()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def sphinx(language: str, builder: str, *options: str, copy: str | None = None) -> "subprocess.Popen[bytes]":
    """Sphinx at work, on one language; copy: the name of the folder it reads, the language unless given."""
    copy = copy or language
    places = [str(source(language, copy)), str(BUILD / builder / language)]
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "--keep-going", "-q", "-d", str(BUILD / "doctrees" / copy)]
    return subprocess.Popen([*command, *options, *places], env=environment(language))


def build(languages: Iterable[str]) -> list[str]:
    """Build the pages of some languages, at the same time; what is wrong, a line for each."""
    running = {language: sphinx(language, "html") for language in languages}
    wrong = [f"Sphinx warned ({language})" for language, process in running.items() if process.wait()]
    (BUILD / "html" / "index.html").write_text(FRONT, encoding="utf-8")
    return wrong + [line for line in links.broken(BUILD / "html") if len(running) == len(LANGUAGES) or "../" not in line]


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the documentation.")
    parser.add_argument("--language", choices=LANGUAGES, action="append", help="only this one; both unless given")
    parser.add_argument("--fresh", action="store_true", help="run every script again")
    parser.add_argument("--external", action="store_true", help="also ask for the pages elsewhere that are linked to; needs the network")
    given = parser.parse_args()
    if given.fresh:
        shutil.rmtree(BUILD, ignore_errors=True)
    began = time.perf_counter()
    languages = given.language or LANGUAGES
    wrong = build(languages)
    if given.external:
        wrong += [f"a link elsewhere is broken ({language})" for language in languages if sphinx(language, "linkcheck").wait()]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{BUILD / 'html' / 'index.html'}: {time.perf_counter() - began:.0f} s, {len(wrong)} faults")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
