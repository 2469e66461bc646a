"""Expectations kept between processes: asked for once, gone with the sources or the machine they are of, and nothing a plan shows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import juanji as jj
from juanji import machine as machines
from juanji import planner, recall
from juanji.algorithms import winograd
from juanji.recall import recalled


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("JUANJI_CACHE_DIR", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """What this process knows of plans."""
    for function in (planner._plan_for, planner.expected, winograd.outputs):
        function.cache_clear()


def counted(answers: list[dict[str, float]]) -> Callable[[], dict[str, float]]:
    """An answer that is there as often as it is in the list."""
    return lambda: answers.pop(0)


def test_a_question_is_answered_once() -> None:
    answers = [{"direct": 0.1, "fft": 1e-300}, {"direct": 2.0}]
    for _ in range(2):
        assert recalled(("one", 1), counted(answers)) == {"direct": 0.1, "fft": 1e-300}
    assert recalled(("one", 2), counted(answers)) == {"direct": 2.0}
    assert not answers


def test_other_sources_ask_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"m": 4.0}, {"m": 2.0}]
    assert recalled("outputs", counted(answers)) == {"m": 4.0}
    monkeypatch.setattr(recall, "_sources", lambda: "changed")
    assert recalled("outputs", counted(answers)) == {"m": 2.0}


def test_a_change_of_any_source_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in recall.ROOMS:
        (tmp_path / "package" / room).mkdir(exist_ok=True, parents=True)
        (tmp_path / "package" / room / "one.py").write_text("1")
    monkeypatch.setattr(recall, "__file__", str(tmp_path / "package" / "recall.py"))
    seen = {recall._sources.__wrapped__()}
    for number, room in enumerate(recall.ROOMS, start=2):
        path = tmp_path / "package" / room / "one.py"
        path.write_text("1" * number)
        seen.add(recall._sources.__wrapped__())
        path.rename(path.with_name("other.py"))
        seen.add(recall._sources.__wrapped__())
    assert len(seen) == 1 + 2 * len(recall.ROOMS)


def test_without_files_of_sources_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "__file__", str(folder / "archive.zip" / "juanji" / "recall.py"))
    assert recall._sources.__wrapped__() is None
    monkeypatch.setattr(recall, "_sources", lambda: None)
    answers = [{"m": 4.0}, {"m": 2.0}]
    assert [recalled("outputs", counted(answers)) for _ in range(2)] == [{"m": 4.0}, {"m": 2.0}]
    assert not list(folder.iterdir())


def test_what_is_damaged_is_asked_anew(folder: Path) -> None:
    answers = [{"m": 4.0}, {"m": 2.0}]
    recalled("outputs", counted(answers))
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert recalled("outputs", counted(answers)) == {"m": 2.0}


@pytest.mark.parametrize(("x", "w", "gradient"), [((1, 64, 56, 56), (64, 64, 3, 3), None), ((2, 16, 20, 20), (8, 16, 5, 5), "input")])
def test_a_later_process_plans_the_same_without_working_it_out(
    x: tuple[int, ...], w: tuple[int, ...], gradient: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = str(jj.plan(x, w, padding=1, gradient=gradient))
    forget()
    for module, name in ((planner, "_expected"), (winograd, "_outputs")):
        monkeypatch.setattr(module, name, None)
    assert str(jj.plan(x, w, padding=1, gradient=gradient)) == first


def test_another_machine_is_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = jj.plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1).spec
    names = ("direct", "winograd")
    seconds = planner.expected(spec, "y", names)
    forget()
    machine = machines.probe()
    monkeypatch.setattr(machines, "probe", lambda: replace(machine, peak_f32=machine.peak_f32 / 2))
    slower = planner.expected(spec, "y", names)
    assert all(slower[name] > seconds[name] for name in names)
