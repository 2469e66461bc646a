"""python docs/build.py: the site, in build/docs/html, in English and Chinese. `make docs` calls it.

For each language the sources in docs/site are copied to build/docs/source, the pages that are made from tables, results and docstrings are
written beside them, and Sphinx runs the gallery's scripts and builds the pages, its warnings being errors. At last every link from one
page to another is followed. Scripts that did not change are not run again.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent
BUILD = DOCS.parent / "build" / "docs"
LOCALES = {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}
FRONT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>juanji 卷积</title>
<script>location.replace((navigator.language || "en").toLowerCase().startsWith("zh") ? "zh/index.html" : "en/index.html")</script>
</head><body><p><a href="en/index.html">English</a> · <a href="zh/index.html">中文</a></p></body></html>
"""


def environment(language: str) -> dict[str, str]:
    """That of a build: the locale says in which language labels are drawn."""
    own = {"LC_ALL": LOCALES[language], "JUANJI_DOCS_LOCALE": str(DOCS / "locale"), "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
    return os.environ | own


def source(language: str) -> Path:
    """The folder that Sphinx reads: a copy of docs/site in which what is unchanged keeps its time, and the pages that are made."""
    folder = BUILD / "source" / language
    wanted = {path.relative_to(DOCS / "site") for path in (DOCS / "site").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    for old in (folder / "gallery").rglob("*.py"):
        if old.relative_to(folder) not in wanted:
            old.unlink()
    for name in wanted:
        made = folder / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if not made.exists() or made.read_bytes() != (DOCS / "site" / name).read_bytes():
            shutil.copy2(DOCS / "site" / name, made)
    return folder


def sphinx(language: str, builder: str, *options: str) -> "subprocess.Popen[bytes]":
    folder = source(language)
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "--keep-going", "-q", *options]
    places = [str(folder), str(BUILD / builder / language), "-d", str(BUILD / "doctrees" / builder / language)]
    return subprocess.Popen([*command, *places[:2], *places[2:]], env=environment(language))


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the documentation.")
    parser.add_argument("--language", choices=LOCALES, action="append", help="only this one; both unless given")
    parser.add_argument("--fresh", action="store_true", help="run every script again")
    given = parser.parse_args()
    if given.fresh:
        shutil.rmtree(BUILD, ignore_errors=True)
    began = time.perf_counter()
    running = {language: sphinx(language, "html") for language in given.language or LOCALES}
    failed = [language for language, process in running.items() if process.wait()]
    (BUILD / "html" / "index.html").write_text(FRONT, encoding="utf-8")
    if failed:
        print(f"not built without warnings: {', '.join(failed)}", file=sys.stderr)
        return 1
    print(f"{BUILD / 'html' / 'index.html'}: {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
