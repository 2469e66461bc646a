"""The README's Python blocks and its juanji commands run as they stand."""

import importlib.util
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from juanji import image
from juanji.cli import main

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("console") for line in block.splitlines() if line.startswith("juanji ")]


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds photo.jpg."""
    monkeypatch.chdir(tmp_path)
    image.write("photo.jpg", np.random.default_rng(5).integers(0, 256, (40, 60, 3), "uint8"))


@pytest.mark.parametrize("code", blocks("python"))
@pytest.mark.usefixtures("photo")
def test_python(code: str) -> None:
    exec(compile(code, str(README), "exec"), {})


needs_data = pytest.mark.skipif(not os.environ.get("JUANJI_DATA"), reason="needs JUANJI_DATA")


@needs_data
@pytest.mark.parametrize("code", blocks("python data"))
@pytest.mark.usefixtures("photo")
def test_python_on_real_data(code: str) -> None:
    exec(compile(f"import juanji as jj\nfrom juanji import nn\n{code}", str(README), "exec"), {})


@needs_data
@pytest.mark.usefixtures("photo")
def test_commands_on_real_data() -> None:
    """One after the other: later ones use what earlier ones left."""
    for command in (line for block in blocks("console data") for line in block.splitlines()):
        assert main(shlex.split(command, comments=True)[1:]) == 0, command


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("photo")
def test_commands(command: str) -> None:
    assert main(shlex.split(command, comments=True)[1:]) == 0


def test_the_reference_is_what_the_package_says() -> None:
    path = README.parent / "docs" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.page(), "run python docs/reference.py"


def test_there_is_something_to_run() -> None:
    assert blocks("python")
    assert COMMANDS
