"""The site's reference: a page for every public module, made from the package's own documentation.

Docstrings are prose with a line for each argument, `name: what it is`; here these lines become lists of definitions.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType

import juanji as jj
import reference

MODULES: dict[str, tuple[ModuleType, tuple[str, str]]] = {
    "juanji": (jj, ("the operators", "各种算子")),
    "signal": (jj.signal, ("signals, chance, integrals, polynomials", "信号、概率、积分、多项式")),
    "image": (jj.image, ("pictures", "图像")),
    "explain": (jj.explain, ("explanations in numbers", "用数字解释")),
    "show": (jj.show, ("explanations in pictures", "用图解释")),
    "nn": (jj.nn, ("networks", "神经网络")),
    "data": (jj.data, ("data sets", "数据集")),
}
HEADS = {
    "en": ("# Reference", "Every public function and class, from the package's own documentation. `jj` stands for `juanji`."),
    "zh": ("# 参考手册", "全部公开的函数与类，由源码中的文档生成（原文为英文）。`jj` 即 `juanji`。"),
}
WIDTH = 84  # of a signature, so that it fits the page
ARGUMENT = re.compile(r"([A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*): (.*)")


def pages(language: str) -> Iterator[tuple[str, str]]:
    """Names of pages and their text, as MyST markdown."""
    which = int(language == "zh")
    title, intro = HEADS[language]
    entries = "\n".join(name for name in MODULES)
    listed = "\n".join(f"- [{_named(name)}]({name}.md): {what[which]}" for name, (_, what) in MODULES.items())
    yield "index", f"{title}\n\n{intro}\n\n{listed}\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
    for name, (module, what) in MODULES.items():
        told = _prose(inspect.cleandoc(module.__doc__ or "").splitlines())
        yield name, "\n".join([f"# {_named(name)}: {what[which]}", "", *told, "", *_members(module)])


def _named(module: str) -> str:
    return "jj" if module == "juanji" else f"jj.{module}"


def _members(module: ModuleType) -> Iterator[str]:
    for name in sorted(module.__all__, key=str.lower):
        value = getattr(module, name)
        if reference.documented(value):
            signature = textwrap.fill(f"{name}{reference.signature(value)}", WIDTH, subsequent_indent="    ", break_long_words=False)
            yield from (f"## {name}", "", "```python", signature, "```", "")
            yield from (*_prose(reference.documentation(value)), "")


def _prose(lines: list[str]) -> Iterator[str]:
    """Paragraphs as Markdown reads them; code between fences stays as it is."""
    paragraph: list[str] = []
    code = False
    for line in [*lines, ""]:
        if line.startswith("```"):
            code = not code
            yield line
        elif code:
            yield line
        elif line.strip():
            paragraph.append(line)
        elif paragraph:
            yield from _paragraph(paragraph)
            yield ""
            paragraph = []


def _paragraph(lines: list[str]) -> Iterator[str]:
    """A paragraph: a table drawn with spaces as code, lines of arguments as definitions, anything else as text."""
    drawn = sum(bool(re.search(r"\S {3,}\S", line)) for line in lines) >= 2
    if drawn or (lines[0].startswith("    ") and "- " not in lines[0]):
        yield from ("```text", *inspect.cleandoc("\n".join(lines)).splitlines(), "```")
        return
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    for line in (line[indent:] for line in lines):
        argument = ARGUMENT.fullmatch(line)
        if argument:
            names = ", ".join(f"`{name}`" for name in argument[1].split(", "))
            yield from ("", names, f": {_escaped(argument[2])}")
        else:
            yield f"  {_escaped(line.strip())}" if line.startswith(" ") else _escaped(line)


def _escaped(text: str) -> str:
    """Text whose stars, brackets and dollars are meant as such; `code` stays."""
    parts = text.split("`")
    return "`".join(part if number % 2 else re.sub(r"([*<\[\]$|_])", r"\\\1", part) for number, part in enumerate(parts))
