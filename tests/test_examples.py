"""Every example runs: in short form here, its figures within loose bounds; in full, with -m slow, at the figures that it promises."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from compiled import environment

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NETWORKS = ("colours", "digits", "equal_start", "features", "fixed_kernel", "nonlinearity", "nuclei", "regression", "series", "volume")
needs_data = pytest.mark.skipif("JUANJI_DATA" not in os.environ, reason="JUANJI_DATA names no folder of data sets")


def printed(name: str, *arguments: str, timeout: float = 600) -> str:
    """What an example prints, run as a user runs it, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(pattern: str, text: str) -> list[float]:
    """The numbers that a pattern's group finds, at least one."""
    found = [float(number) for number in re.findall(pattern, text)]
    assert found, f"no {pattern} in:\n{text}"
    return found


def figure(pattern: str, text: str) -> float:
    """The one number that a pattern's group finds."""
    (found,) = figures(pattern, text)
    return found


# In short form -------------------------------------------------------------------------------------------------------------


@needs_data
def test_digits(tmp_path: Path) -> None:
    text = printed("digits", "--short", "-o", str(tmp_path / "mistakes.png"))
    assert figure(r"seed 0: ([\d.]+)% of 1,000", text) > 60
    assert re.search(r"the first test digit is a 7; the network says \d [\d.]+%, \d [\d.]+%, \d [\d.]+%", text)
    assert (tmp_path / "mistakes.png").is_file()


@needs_data
def test_colours() -> None:
    text = printed("colours", "--short")
    assert figure(r": linear ([\d.]+)%", text) > 20
    assert figure(r": convolutional ([\d.]+)%", text) > 25


@needs_data
def test_nuclei(tmp_path: Path) -> None:
    text = printed("nuclei", "--short", "-o", str(tmp_path / "nuclei.png"))
    assert text.startswith("67 nuclei in the lower half; as a mask they are 51 pieces, without their borders 62")
    assert figure(r"mask ([\d.]+)", text) > 0.5
    assert figure(r"background ([\d.]+)", text) > 0.4
    assert (tmp_path / "nuclei.png").is_file()


@needs_data
def test_regression() -> None:
    text = printed("regression", "--short")
    assert figure(r"constant: ([\d.]+)°", text) == pytest.approx(22.5, abs=0.7)
    assert figure(r"linear function: ([\d.]+)°", text) < 18
    assert figure(r"biases: ([\d.]+)°", text) < 18


@needs_data
def test_features(tmp_path: Path) -> None:
    text = printed("features", "--short", "-o", str(tmp_path / "nearest.png"))
    assert figure(r"features: precision at 1 ([\d.]+)%", text) > figure(r"pixels: precision at 1 ([\d.]+)%", text) + 15
    assert (tmp_path / "nearest.png").is_file()


@needs_data
def test_volume(tmp_path: Path) -> None:
    text = printed("volume", "--short", "-o", str(tmp_path / "volume.png"))
    assert figure(r"seed 0: ([\d.]+)", text) > 0.4
    assert (tmp_path / "volume.png").is_file()


@needs_data
def test_series() -> None:
    text = printed("series", "--short")
    assert "the nearest series: 91.3% of 150" in text
    assert min(figures(r"seed 0: ([\d.]+)%", text)) > 70


@needs_data
def test_equal_start(tmp_path: Path) -> None:
    text = printed("equal_start", "--short", "-o", str(tmp_path / "kernels.png"))
    units = re.findall(r"conv1 (\d+) of 8, dense1 (\d+) of 32", text)
    assert units == [("1", "1"), ("8", "32"), ("8", "32")]
    assert (tmp_path / "kernels.png").is_file()


@needs_data
def test_nonlinearity() -> None:
    text = printed("nonlinearity", "--short")
    for name in ("none", "tanh", "relu"):
        assert figure(rf"{name}: ([\d.]+)%", text) > 60
    assert figure(r"without dropout: ([\d.]+)%", text) > 40


@needs_data
def test_fixed_kernel() -> None:
    text = printed("fixed_kernel", "--short")
    assert min(figures(r"Gaussian: ([\d.]+)%", text)) > 50
    assert re.findall(r"left as it was: (.+)", text) == ["nothing", "filter1.weight"]


# In full -------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_data
def test_digits_in_full() -> None:
    shares = figures(r"seed \d: ([\d.]+)% of 10,000", printed("digits", timeout=7200))
    assert len(shares) == 3
    assert min(shares) >= 99


@pytest.mark.slow
@needs_data
def test_colours_in_full() -> None:
    points = figures(r"convolution is ([\d.]+) points above", printed("colours", timeout=7200))
    assert len(points) == 3
    assert min(points) >= 15


@pytest.mark.slow
@needs_data
def test_nuclei_in_full() -> None:
    text = printed("nuclei", timeout=7200)
    threshold, masks = figure(r"threshold of the upper half, \d+: intersection over union ([\d.]+)", text), figures(r"mask ([\d.]+)", text)
    assert len(masks) == 3
    assert min(masks) >= 0.8 > threshold
    for name, least in (("background", 0.9), ("border", 0.6), ("inside", 0.7)):
        assert min(figures(rf"{name} ([\d.]+)", text)) >= least


@pytest.mark.slow
@needs_data
def test_regression_in_full() -> None:
    text = printed("regression", timeout=7200)
    assert max(figures(r"biases: ([\d.]+)°", text)) < 8 < figure(r"linear function: ([\d.]+)°", text)


@pytest.mark.slow
@needs_data
def test_features_in_full() -> None:
    text = printed("features", timeout=7200)
    assert figure(r"features: precision at 1 ([\d.]+)%", text) > 55
    assert figure(r"pixels: precision at 1 ([\d.]+)%", text) < 35


@pytest.mark.slow
@needs_data
def test_volume_in_full() -> None:
    text = printed("volume", timeout=7200)
    assert min(figures(r"seed \d: ([\d.]+)", text)) > figure(r"best threshold, \d+: ([\d.]+)", text)


@pytest.mark.slow
@needs_data
def test_series_in_full() -> None:
    text = printed("series", timeout=7200)
    for name, least in (("gunpoint", 95), ("basicmotions", 90)):
        shares = figures(rf"{name}, seed \d: ([\d.]+)%", text)
        assert len(shares) == 3
        assert min(shares) >= least


@pytest.mark.slow
@needs_data
def test_starts_in_full() -> None:
    shares = figures(r": ([\d.]+)% of the test digits right; different units", printed("equal_start", timeout=7200))
    assert shares[0] < 60
    assert min(shares[1:]) > 85


@pytest.mark.slow
@needs_data
def test_nonlinearity_in_full() -> None:
    text = printed("nonlinearity", timeout=7200)
    shares = {name: [float(share) for share in re.findall(r"([\d.]+)%", rest)] for name, rest in re.findall(r"^(.+?): (.+)$", text, re.M)}
    assert max(shares["none"]) + 3 < min(shares["relu"])
    assert sum(shares["with dropout"]) > sum(shares["without dropout"])


# What they say -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_missing_data_are_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JUANJI_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", [name, "--short"])
    with pytest.raises(SystemExit, match=rf"^{name}\.py: .*nowhere: is no folder; set JUANJI_DATA to [^\n]*$"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NETWORKS)
def test_help_says_what_it_does(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    words = capsys.readouterr().out
    assert words.startswith(f"usage: {name}.py")
    assert "--short" in words


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_lines_say_how_to_run_it(name: str) -> None:
    words = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    assert f"python examples/{name}.py  " in words
    assert f"python examples/{name}.py --short" in words


def test_the_list_names_every_example() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"[{path.name}]({path.name})" in listed, path.name
