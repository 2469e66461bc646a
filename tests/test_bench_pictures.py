"""The benchmark of pictures: what it times is what it says, and its verdict is the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import pictures


def test_the_animation_has_its_frames(tmp_path: Path) -> None:
    pictures.animation(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as written:
        assert written.n_frames == pictures.FRAMES  # type: ignore[attr-defined]


@pytest.mark.parametrize(("target", "status"), [(1e6, 0), (0.0, 1)])
def test_a_picture_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: float, status: int) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"1234")

    monkeypatch.setattr(pictures, "PICTURES", (("four bytes", "four", make, target),))
    assert pictures.main(["--rounds", "3", "--json", str(tmp_path / "found.json")]) == status
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    expected: dict[str, Any] = {"name": "four bytes", "target": target, "bytes": 4}
    assert expected.items() <= row.items()
    assert len(made) == 3
