"""Every example runs: in short form here, its figure within loose bounds; in full, with -m slow, at the figure that it promises."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compiled import environment

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NETWORKS = (
    "colours", "digits", "equal_start", "features", "fixed_kernel", "nonlinearity", "nuclei", "regression", "series", "volume"
)  # fmt: skip
needs_data = pytest.mark.skipif("JUANJI_DATA" not in os.environ, reason="JUANJI_DATA names no folder of data sets")


def ended(name: str, *arguments: str, timeout: float = 120, **changes: str) -> subprocess.CompletedProcess[str]:
    """An example run as a user runs it, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments]
    return subprocess.run(command, env=environment(**changes), capture_output=True, text=True, timeout=timeout, check=False)


def printed(name: str, *arguments: str, timeout: float = 120) -> str:
    """What an example prints when all goes well."""
    done = ended(name, *arguments, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(pattern: str, text: str) -> list[float]:
    """The numbers that a pattern's group finds, at least one."""
    found = [float(number) for number in re.findall(pattern, text)]
    assert found, f"no {pattern} in:\n{text}"
    return found


# In short form ---------------------------------------------------------------------------------------------------------------


@needs_data
def test_digits(tmp_path: Path) -> None:
    text = printed("digits", "--short", "-o", str(tmp_path / "mistakes.png"))
    assert figures(r"seed 0: ([\d.]+)% of 1,000", text)[0] > 75
    assert re.search(r"the first test digit is a 7; the network says \d [\d.]+%, \d [\d.]+%, \d [\d.]+%", text)
    assert (tmp_path / "mistakes.png").is_file()


@needs_data
def test_colours() -> None:
    text = printed("colours", "--short")
    assert figures(r": linear ([\d.]+)%", text)[0] > 20
    assert figures(r": convolutional ([\d.]+)%", text)[0] > 20


@needs_data
def test_nuclei(tmp_path: Path) -> None:
    text = printed("nuclei", "--short", "-o", str(tmp_path / "nuclei.png"))
    assert figures(r"mask ([\d.]+)", text)[0] > 0.5
    assert figures(r"background ([\d.]+)", text)[0] > 0.7
    assert "67 nuclei" in text
    assert (tmp_path / "nuclei.png").is_file()


@needs_data
def test_regression() -> None:
    text = printed("regression", "--short")
    assert figures(r"constant: ([\d.]+)°", text)[0] == pytest.approx(22.5, abs=0.7)
    assert figures(r"linear function: ([\d.]+)°", text)[0] < 18
    assert figures(r"biases: ([\d.]+)°", text)[0] < 18


@needs_data
def test_features(tmp_path: Path) -> None:
    text = printed("features", "--short", "-o", str(tmp_path / "nearest.png"))
    assert figures(r"features: precision at 1 ([\d.]+)%", text)[0] > figures(r"pixels: precision at 1 ([\d.]+)%", text)[0] + 15
    assert (tmp_path / "nearest.png").is_file()


@needs_data
def test_volume(tmp_path: Path) -> None:
    text = printed("volume", "--short", "-o", str(tmp_path / "volume.png"))
    assert figures(r"seed 0: ([\d.]+)", text)[0] > 0.4
    assert (tmp_path / "volume.png").is_file()


@needs_data
def test_series() -> None:
    text = printed("series", "--short")
    assert figures(r"gunpoint, seed 0: ([\d.]+)%", text)[0] > 70
    assert figures(r"basicmotions, seed 0: ([\d.]+)%", text)[0] > 70
    assert "the nearest series: 91.3% of 150" in text


@needs_data
def test_equal_start(tmp_path: Path) -> None:
    text = printed("equal_start", "--short", "-o", str(tmp_path / "kernels.png"))
    assert "all 0.02" in text
    units = re.findall(r"conv1 (\d+) of 8, conv2 (\d+) of 16, dense1 (\d+) of 32", text)
    assert units == [("1", "1", "1"), ("8", "16", "32"), ("8", "16", "32")]
    assert (tmp_path / "kernels.png").is_file()


@needs_data
def test_nonlinearity() -> None:
    text = printed("nonlinearity", "--short")
    for name in ("none", "tanh", "relu"):
        assert figures(rf"{name}: ([\d.]+)%", text)[0] > 70
    assert figures(r"without dropout: ([\d.]+)%", text)[0] > 50


@needs_data
def test_fixed_kernel() -> None:
    text = printed("fixed_kernel", "--short")
    assert min(figures(r"Gaussian: ([\d.]+)%", text)) > 60
    assert re.findall(r"left as it was: (.+)", text) == ["nothing", "filter1.weight"]


# What they say when something is wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_missing_data_are_one_line(name: str, tmp_path: Path) -> None:
    done = ended(name, "--short", JUANJI_DATA=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.match(rf"{name}\.py: .*nowhere: is no folder; set JUANJI_DATA to", line)


@pytest.mark.parametrize("name", NETWORKS)
def test_help_says_what_it_does(name: str) -> None:
    done = ended(name, "--help")
    assert done.returncode == 0
    assert f"usage: {name}.py" in done.stdout
    assert "--short" in done.stdout


def test_the_list_names_every_example() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"[{path.name}]({path.name})" in listed, path.name


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_lines_say_how_to_run_it(name: str) -> None:
    words = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    assert f"python examples/{name}.py  " in words
    assert f"python examples/{name}.py --short" in words
