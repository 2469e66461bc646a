"""python docs/catalogue.py: brings the Chinese catalogues in docs/locale up to date with the English pages, and counts what is missing.

Pages are written in English. Their paragraphs, and the words in their figures, are looked up in these catalogues, one file for a page; a
paragraph that was changed is marked "fuzzy" and stays English until its translation has been looked at (take the mark away then). The
pages that are made from tables, docs/translation.py, docs/benchmark.py and docs/manual.py, hold both languages themselves.
"""

import re
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

import build

FOLDER = build.DOCS / "locale" / "zh_CN" / "LC_MESSAGES"
MADE = ("translation", "benchmark", "reference")
WORDS = "figures"
FORMS = (  # what the gallery adds to every page
    (r"(:doc:`.*`)", r"\1"),
    (r":ref:`Go to the end <(.*)>` to download the full example code.*", r":ref:`跳到页尾 <\1>`，下载完整的示例代码。"),
    (r":download:`Download Jupyter notebook: (.*)`", r":download:`下载 Jupyter 笔记本：\1`"),
    (r":download:`Download Python source code: (.*)`", r":download:`下载 Python 源代码：\1`"),
    (r":download:`Download zipped: (.*)`", r":download:`下载压缩包：\1`"),
)


def strings() -> dict[str, Catalog]:
    """What there is to translate, by page; no script is run for it."""
    if build.sphinx("en", "gettext", "-D", "sphinx_gallery_conf.plot_gallery=0", copy="strings").wait():
        sys.exit("the pages have faults: python docs/build.py says which")
    made = build.BUILD / "gettext" / "en"
    found = {}
    for path in sorted(made.rglob("*.pot")):
        name = path.relative_to(made).with_suffix("").as_posix()
        if name.split("/")[0] not in MADE and name != "sphinx":
            with path.open("rb") as file:
                found[name] = read_po(file)
    found[WORDS] = Catalog()
    for word in sorted(build.words_drawn()):
        found[WORDS].add(word)
    return found


def read(path: Path) -> Catalog:
    """The catalogue in a file, empty if there is none."""
    if not path.exists():
        return Catalog(locale="zh_CN")
    with path.open("rb") as file:
        return read_po(file, locale="zh_CN")


def update(name: str, template: Catalog, known: dict[str, str]) -> list[str]:
    """Bring one catalogue up to date; the messages that have no translation, here or among those known from other pages."""
    path = FOLDER / f"{name}.po"
    catalogue = read(path)
    catalogue.update(template)
    catalogue.obsolete.clear()
    for message in catalogue:
        found = _found(str(message.id), known) if message.id and (not message.string or message.fuzzy) else None
        if found:
            message.string = found
            message.flags.discard("fuzzy")
        message.locations = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=140, omit_header=True, sort_output=name == WORDS)
    return [str(message.id) for message in catalogue if message.id and (not message.string or message.fuzzy)]


def _found(text: str, known: dict[str, str]) -> str | None:
    """A translation that needs no translator: of another page, or of what the gallery adds."""
    if text in known:
        return known[text]
    return next((re.sub(pattern, form, text) for pattern, form in FORMS if re.fullmatch(pattern, text)), None)


def main() -> int:
    templates = strings()
    for old in FOLDER.rglob("*.po"):
        if old.relative_to(FOLDER).with_suffix("").as_posix() not in templates:
            old.unlink()
    pages = [message for path in FOLDER.rglob("*.po") for message in read(path)]
    known = {str(message.id): str(message.string) for message in pages if message.id and message.string and not message.fuzzy}
    left = {name: update(name, template, known) for name, template in templates.items()}
    missing = {name: texts for name, texts in left.items() if texts and name != WORDS}  # in figures, names stay as they are
    for name, texts in missing.items():
        print(f"{name}: {len(texts)} to translate")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
