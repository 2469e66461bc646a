"""The bench without its peers: the table, the turns, the verdicts, the figures. None of this times anything."""

import io
import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import __main__, measure, ours, report, roofline, rows, startup
from bench.measure import Record
from bench.peers import Contestant
from bench.rows import FIRST, LAST, ROWS, Array, Row


def by_name(name: str) -> Row:
    (row,) = (row for row in ROWS if row.name == name)
    return row


def test_rows_are_distinct() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({(row.kind, row.describe()) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_a_valid_description(row: Row) -> None:
    spec = row.describe()
    assert spec.macs > 0
    assert spec.dtypes.x == row.dtype == spec.dtypes.y
    if row.kind == "conv":
        assert (spec.x_shape, spec.w_shape, spec.layout) == (row.x_shape, row.w_shape, row.layout)
    else:
        assert spec.output == row.x_shape


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("1x64x224x224 64 3x3", 224 * 224 * 64 * 64 * 9),  # VGG-16 conv1_2
        ("1x64x224x224 64 3x3 last", 224 * 224 * 64 * 64 * 9),
        ("1x3x224x224 64 7x7 /2", 112 * 112 * 64 * 3 * 49),  # ResNet-50 conv1
        ("1x128x56x56 128 3x3 /2 depthwise", 28 * 28 * 128 * 9),
        ("1x128x56x56 128 3x3 g32", 56 * 56 * 128 * 4 * 9),
        ("1x1x1048576 1 16 valid", (2**20 - 15) * 16),
        ("3840x2160 5x5 uint8", 3840 * 2160 * 25),
        ("1x256x2048 256 3 d4 causal", 2048 * 256 * 256 * 3),
    ],
)
def test_multiply_adds(name: str, macs: int) -> None:
    assert by_name(name).describe().macs == macs


def test_both_layouts_are_the_same_problem() -> None:
    names = {row.name: row for row in ROWS}
    pairs = [(names[name], names[f"{name} last"]) for name in names if f"{name} last" in names]
    assert len(pairs) > 50
    for first, last in pairs:
        assert (first.layout, last.layout) == (FIRST, LAST)
        assert first.describe().macs == last.describe().macs
        assert first.describe().bytes_moved == last.describe().bytes_moved


def test_networks_are_whole() -> None:
    """The multiply-adds of VGG-16's thirteen layers, from its distinct ones and how often each occurs."""
    often = [1, 1, 1, 1, 1, 2, 1, 2, 3]
    layers = [row for row in ROWS if row.group == "VGG-16" and row.layout == FIRST]
    assert sum(n * row.describe().macs for n, row in zip(often, layers, strict=True)) == 15_346_630_656
    assert len([row for row in ROWS if row.group == "ResNet-50"]) == 2 * 23


def test_arrays_are_the_same_every_time_and_a_kernel_of_bytes_averages() -> None:
    row = by_name("3840x2160 3x3 uint8")
    (x, w), (again, _) = row.arrays(), row.arrays()
    assert np.array_equal(x, again)
    assert (x.dtype.name, x.shape, w.dtype.name, w.shape) == ("uint8", (2160, 3840), "float32", (3, 3))
    assert w.sum() == pytest.approx(1)


def test_select() -> None:
    assert [row.name for row in rows.select(["1x64x56x56 64 3x3"])] == ["1x64x56x56 64 3x3"]  # exact names come first
    assert {row.group for row in rows.select(["vgg", "1-D"])} == {"VGG-16", "1-D"}
    assert rows.select() == list(ROWS)
    assert rows.select(["nothing is called so"]) == []
    for name in (startup.SMALL, startup.WARM_UP, *startup.SAMPLED):
        assert startup.problem(name).name == name


class Clock:
    """Time that passes only when somebody is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def callee(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def call() -> None:
            self.log.append(name)
            self.now += next(seconds)

        return call


def test_turns_alternate_and_are_timed_alone() -> None:
    clock = Clock()
    calls = [clock.callee("a", itertools.repeat(0.03)), clock.callee("b", itertools.repeat(0.05))]
    times = measure.interleave(calls, 3, clock=clock)
    np.testing.assert_allclose(times, [[0.03] * 3, [0.05] * 3])
    assert "".join(clock.log) == "ab" + "ab" + "ab" + "ba" + "ab"  # first calls, paces, then rounds to and fro


def test_short_calls_are_repeated_until_a_turn_is_full() -> None:
    clock = Clock()
    times = measure.interleave([clock.callee("a", itertools.repeat(0.5e-3))], 2, clock=clock)
    np.testing.assert_allclose(times, [[0.5e-3] * 2])
    assert len(clock.log) == 2 + 2 * (1 + 4)  # a turn is four calls of 0.5 ms, after one that brings the caches back


def test_a_slow_one_sits_out_the_last_rounds() -> None:
    clock = Clock()
    times = measure.interleave([clock.callee("slow", itertools.repeat(2.0)), clock.callee("fast", itertools.repeat(0.1))], 7, clock=clock)
    assert [len(turns) for turns in times] == [measure.FEWEST_ROUNDS, 7]


def test_ratios_take_the_best_setting() -> None:
    others = [("torch", True, 6.0), ("torch", False, 3.0), ("opencv", True, 9.0)]
    assert measure.ratios(3.0, others) == {"torch best": 1.0, "torch same": 2.0, "opencv best": 3.0, "opencv same": 3.0}


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def levels(*values: int) -> Array:
    return np.array(values, np.uint8)


@pytest.mark.parametrize(
    ("got", "want", "truncates", "complaint"),
    [
        (floats(1, 2, 3), floats(1, 2, 3), False, ""),
        (floats(1, 2, 3), floats(1, 2, 3.1), False, "at (2,), off by 0.1"),
        (floats(1, math.nan, 3), floats(1, 2, 3), False, "nan instead of 2.0 at (1,)"),
        (floats(1, 2), floats(1, 2, 3), False, "float32 of shape (2,) instead of float32 of (3,)"),
        (np.ones(1), floats(1), False, "float64 of shape (1,) instead of float32"),
        (levels(*[4] * 999, 5), levels(*[4] * 1000), False, ""),
        (levels(*[5] * 1000), levels(*[4] * 1000), False, "100.00% of all differ"),
        (levels(*[5] * 1000), levels(*[4] * 1000), True, ""),
        (levels(255, 0), levels(0, 0), True, "255 instead of 0 at (0,)"),
    ],
)
def test_verdicts(got: Array, want: Array, truncates: bool, complaint: str) -> None:
    verdict = measure.disagreement(got, want, 1e-6, truncates)
    assert (complaint in verdict) if complaint else not verdict


def test_tolerance_grows_with_the_sum_and_is_none_for_integers() -> None:
    assert measure.tolerance("float32", 4608) == pytest.approx(8 * 2**-23 * math.sqrt(4608))
    assert measure.tolerance("float64", 9) < 1e-14
    assert measure.tolerance("uint8", 9) == 0


class Doubling:
    """A peer that answers every row with twice its input."""

    library = "doubling"

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        yield

    def contestants(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]:
        yield Contestant(self.library, "", lambda: 2 * x, np.asarray)


MACHINE: Any = SimpleNamespace(
    peak_f32=100e9, peak_f64=50e9, bandwidth=10e9, name="a machine", vector_bits=256, l1=32768, l2=2**20, cores=2
)
TINY = Row("tiny", "tests", "conv", (1, 2, 4, 4), (2, 2, 1, 1))


def answer_with(monkeypatch: pytest.MonkeyPatch, run: Callable[[Array], Array]) -> None:
    def contestant(row: Row, x: Array, w: Array, threads: int, allocate: bool = False) -> tuple[Contestant, Any]:
        return Contestant(ours.LIBRARY, "", lambda: run(x), np.asarray), SimpleNamespace(algorithm="direct", schedule="6×4")

    monkeypatch.setattr(ours, "contestant", contestant)
    monkeypatch.setattr(measure, "TURN", 1e-6)


def test_a_right_row_has_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda x: 2 * x)
    record = measure.measure(TINY, [Doubling()], MACHINE, threads=1, rounds=3)
    assert not record.fault
    assert record.agrees_with == ["doubling"]
    assert set(record.ms) == {"juanji", "doubling"}
    assert record.ratios["doubling best"] == pytest.approx(record.ms["doubling"] / record.ms["juanji"])
    assert record.limit_ms == pytest.approx(TINY.describe().bytes_moved / 10e9 * 1e3)
    assert record.share == pytest.approx(record.limit_ms / record.ms["juanji"])


def test_a_wrong_row_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda x: 3 * x)
    record = measure.measure(TINY, [Doubling()], MACHINE, threads=1)
    assert record.wrong
    assert "differs from doubling" in record.fault
    assert not record.ms
    assert not record.ratios


def test_a_broken_row_does_not_end_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda x: x.reshape(-1, 7))
    record = measure.measure(TINY, [Doubling()], MACHINE, threads=1)
    assert record.wrong
    assert record.fault.startswith("ValueError")


def records() -> list[Record]:
    made = []
    for number, ratio in enumerate((0.5, 2.0, 8.0)):
        record = Record(f"row {number}", "a group", "float32", FIRST, 10**6 * (number + 1), 10**5, 0.1, "direct", "6×4")
        record.ms, record.ratios = {"juanji": 1.0, "torch channels_first": ratio}, {"torch best": ratio, "torch same": ratio}
        record.gflops, record.share = 2.0, 0.1
        made.append(record)
    wrong = Record("row 3", "a group", "float32", FIRST, 1, 1, 1.0, fault="differs from [everyone]", wrong=True)
    return [*made, wrong]


def full_report() -> report.Report:
    return report.Report(
        report.describe_machine(MACHINE), {"numpy": "2"}, 1, 7, records(), {"bound(x)": 3.0}, 9.5, {"row 0": {"loaded": 4.0}}
    )


def test_geometric_mean_and_worst_row() -> None:
    assert report.geometric_mean([0.25, 4.0]) == pytest.approx(1)
    summary = report.summarise(records(), "torch best")
    assert summary
    assert summary.mean == pytest.approx(2)
    assert summary[1:] == (0.5, "row 0", 3)
    assert report.summarise(records(), "scipy best") is None


def test_results_survive_the_file(tmp_path: Path) -> None:
    stored = tmp_path / "folder" / "results.json"
    full_report().write(stored)
    assert report.Report.read(stored) == full_report()
    assert json.loads(stored.read_text(encoding="utf-8"))["machine"]["peak_f32_gflops"] == 100


def test_the_tables_say_what_was_wrong() -> None:
    written = io.StringIO()
    report.show(full_report(), Console(width=160, file=written))
    text = written.getvalue()
    assert "geometric mean" in text
    assert "FAILED  row 3: differs from [everyone]" in text
    assert "3/4" in text
    assert "bound(x)" in text


def test_documents(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        report.write_into(document, report.markdown(full_report()))
    text = document.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{report.BEGIN}\n| rows | ")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "| a group (3) | 10% | 2.00 (0.50) | 2.00 (0.50) |" in text
    assert "old" not in text
    (tmp_path / "bare.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bare\.md has no lines"):
        report.write_into(tmp_path / "bare.md", "text")


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert roofline.intensity(records()[0]) == 20
    roofline.draw(full_report(), tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert __main__.main(["--list", "--only", "VGG"]) == 0
    assert "VGG-16: 1x64x224x224 64 3x3 last" in capsys.readouterr().out.splitlines()
    assert __main__.main(["--only", "nothing is called so"]) == 2
    full_report().write(tmp_path / "results.json")
    assert __main__.main(["--from", str(tmp_path / "results.json")]) == 1  # a row was wrong
    assert "all groups" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--threads", "0"])
    assert ended.value.code == 2
