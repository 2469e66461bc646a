"""The documentation site: its scripts run, its table is true, its exercises tell right from wrong, and the whole of it builds."""

import ast
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCRIPTS = sorted((DOCS / "site" / "gallery").glob("*/plot_*.py"))
QUICK = ("plot_a01", "plot_a04", "plot_a10", "plot_b03", "plot_b04", "plot_b05", "plot_b07", "plot_b11", "plot_c02", "plot_d02")
SECONDS = 60  # that a quick script may take on a busy machine; they take a few


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules in docs can be imported, as its commands import them."""
    monkeypatch.syspath_prepend(str(DOCS))


@pytest.fixture
def translation(docs: None) -> ModuleType:
    return import_module("translation")


# The gallery ---------------------------------------------------------------------------------------------------------------


def test_there_is_a_gallery() -> None:
    assert {path.parent.name[0] for path in SCRIPTS} == set("abcdef")
    assert len({path.name for path in SCRIPTS}) == len(SCRIPTS)
    assert all(any(path.name.startswith(quick) for path in SCRIPTS) for quick in QUICK)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_pages(path: Path) -> None:
    text = path.read_text("utf-8")
    compile(text, str(path), "exec")
    title = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert len(title) > 2
    assert set(title[1]) == {"="}
    assert len(title[1]) == len(title[0])
    assert "\n# %%\n" in text
    if 'jj.data.load("mnist")' in text or "pretrained" in text:
        assert "JUANJI_DATA" in text  # by which the build knows that it may have to leave it out


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name.startswith(QUICK)], ids=lambda path: path.stem)
def test_quick_scripts_run(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")
    began = time.perf_counter()
    with plt.rc_context():
        runpy.run_path(str(path))
    plt.close("all")
    assert time.perf_counter() - began < SECONDS


# Other libraries -----------------------------------------------------------------------------------------------------------


def test_the_table_names_what_it_checks(translation: ModuleType) -> None:
    topics = {key: topic for theme in translation.THEMES for key, topic in theme.topics.items()}
    assert len(topics) == sum(len(theme.topics) for theme in translation.THEMES)
    for key, library in translation.CHECKS:
        assert library in topics[key].entries
    for topic in topics.values():
        assert set(topic.entries) <= set(translation.LIBRARIES)
    assert len(translation.CHECKS) > 60
    pages = [translation.page(language) for language in ("en", "zh")]
    assert [page.count("✓") for page in pages] == [len(translation.CHECKS) + 1] * 2  # and once where it is explained


@pytest.mark.parametrize("library", ["onnx", "opencv", "scipy", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_table_is_true(translation: ModuleType, library: str) -> None:
    for needed in {"onnx": ("onnx", "onnxruntime"), "opencv": ("cv2",)}.get(library, (library,)):
        pytest.importorskip(needed)
    for (topic, of), (ours, theirs) in translation.CHECKS.items():
        if of == library:
            np.testing.assert_allclose(ours(), theirs(), rtol=1e-5, atol=1e-3, err_msg=topic)


# Exercises -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checker() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "exercises" / "check.py"))


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "exercises" / "answers.py"))


def test_answers_are_right(checker: dict[str, Any], answers: dict[str, Any]) -> None:
    assert dict(checker["report"](answers)) == dict.fromkeys(checker["EXERCISES"])


def test_unwritten_exercises_are_named(checker: dict[str, Any]) -> None:
    given = runpy.run_path(str(DOCS / "exercises" / "exercises.py"))
    assert set(dict(checker["report"](given)).values()) == {"is still to be written"}
    assert set(dict(checker["report"]({})).values()) == {"is not there"}


WRONG = {  # the mistakes that are made
    "correlate": ("* k).sum()", "* k[::-1]).sum()"),
    "convolve": ("k[::-1, ::-1]", "k"),
    "output_size": ("- 1) // stride + 1", ") // stride"),
    "same_padding": ("total // 2, total - total // 2", "total - total // 2, total // 2"),
    "mirrored": ("range(padding, 0, -1)", "range(padding - 1, -1, -1)"),
    "sum_of_dice": ("+= pa * qb", "= pa * qb"),
    "im2col": ("x[:, i : i + k, j : j + k].ravel()", "x[:, i : i + k, j : j + k].transpose(1, 2, 0).ravel()"),
    "max_pool": ("axis=(1, 3)", "axis=(1, 3), initial=0"),
    "gradient_of_input": ("return convolve(np.pad", "return correlate(np.pad"),
    "receptive_field": ("(kernel - 1) * step", "(kernel - 1)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_found(checker: dict[str, Any], tmp_path: Path, name: str) -> None:
    right = (DOCS / "exercises" / "answers.py").read_text("utf-8")
    old, new = WRONG[name]
    assert right.count(old) == 1
    wrong = tmp_path / "wrong.py"
    wrong.write_text(right.replace(old, new), "utf-8")
    said = checker["complaint"](name, runpy.run_path(str(wrong))[name])
    assert said is not None
    assert "but should give" in said


def test_the_checker_is_a_command() -> None:
    command = [sys.executable, str(DOCS / "exercises" / "check.py")]
    done = subprocess.run([*command, str(DOCS / "exercises" / "answers.py")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "10 of 10 right")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


# Both languages ------------------------------------------------------------------------------------------------------------


def paragraphs(path: Path) -> Iterator[str]:
    """The blocks of text of a script, a paragraph each, in one line."""
    text = path.read_text("utf-8")
    blocks = [ast.get_docstring(ast.parse(text)) or ""]
    blocks += [re.sub(r"^# ?", "", block, flags=re.MULTILINE) for block in re.findall(r"^# %%\n((?:#.*\n)+)", text, re.MULTILINE)]
    for block in blocks:
        for paragraph in block.strip().split("\n\n"):
            if not paragraph.startswith(("..", " ")):
                lines = paragraph.splitlines()
                yield lines[0] if len(lines) == 2 and set(lines[1]) <= set("=-") else " ".join(lines)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_paragraph_has_its_chinese(path: Path) -> None:
    pofile = pytest.importorskip("babel.messages.pofile")
    catalogue = DOCS / "locale" / "zh_CN" / "LC_MESSAGES" / "pages" / path.parent.name / f"{path.stem}.po"
    with catalogue.open("rb") as file:
        known = {" ".join(str(m.id).split()) for m in pofile.read_po(file) if m.id and m.string and not m.fuzzy}
    assert [text for text in paragraphs(path) if " ".join(text.split()) not in known] == [], "run python docs/catalogue.py"


# The site ------------------------------------------------------------------------------------------------------------------


def test_missing_targets_are_found(docs: None, tmp_path: Path) -> None:
    links = import_module("links")
    (tmp_path / "a.html").write_text('<a href="b.html#here"></a><a href="b.html#there"></a><img src="c.png"><a href="https://x"></a>')
    (tmp_path / "b.html").write_text('<p id="here"></p><a href="#here"></a>')
    assert list(links.broken(tmp_path)) == ["a.html: b.html#there has no such place", "a.html: c.png is not there"]


@pytest.mark.slow
def test_the_site_builds_without_a_warning() -> None:
    for needed in ("sphinx", "sphinx_gallery", "myst_parser", "pydata_sphinx_theme", "sphinx_copybutton", "sphinx_design", "skimage"):
        pytest.importorskip(needed)
    done = subprocess.run([sys.executable, str(DOCS / "build.py")], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("0 faults")
