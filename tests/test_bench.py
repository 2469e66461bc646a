"""The bench without its peers: the table, the turns, the verdicts, the figures. None of this times anything."""

import importlib.util
import io
import itertools
import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import __main__, causes, measure, ours, report, roofline, rows, shortfalls, startup, targets, threads
from bench.causes import Cause
from bench.measure import Record
from bench.peers import Contestant, jax, torch
from bench.problems import FIRST, LAST, AnyRow, Array, PoolRow, Row
from bench.rows import ROWS
from juanji import reference
from juanji.contraction import execute, lower

BFLOAT16 = importlib.util.find_spec("ml_dtypes") is not None
ROOT = Path(__file__).resolve().parent.parent
HERE = [row for row in ROWS if BFLOAT16 or row.dtype != "bfloat16"]


def by_name(name: str) -> AnyRow:
    (row,) = (row for row in ROWS if row.name == name)
    return row


def test_rows_are_distinct() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({(row.kind, row.product, row.describe(), getattr(row, "algorithm", "")) for row in HERE}) == len(HERE)


def test_every_row_is_a_valid_description() -> None:
    for row in HERE:
        assert row.describe().layout == row.layout, row.name
        assert row.bytes_moved > 0, row.name
        assert row.limit(MACHINE) > 0, row.name
        if isinstance(row, PoolRow):
            assert row.describe().x_shape == row.x_shape, row.name
        else:
            check_convolution(row)


def check_convolution(row: Row) -> None:
    spec = row.describe()
    assert spec.macs > 0, row.name
    assert (spec.dtypes.x, spec.dtypes.y) == (row.dtype, row.out_dtype or row.dtype), row.name
    match row.kind:
        case "conv":
            assert (spec.x_shape, spec.w_shape) == (row.x_shape, row.w_shape), row.name
        case "transposed":
            assert (spec.y_shape, spec.w_shape, row.product) == (row.x_shape, row.w_shape, "x"), row.name
        case _:
            assert spec.output == row.x_shape, row.name


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
        ("1x3x224x224 64 7x7 /2 dx last", 112 * 112 * 64 * 3 * 49),
        ("1x1024x28x28 512 2x2 /2 transposed", 28 * 28 * 1024 * 512 * 4),
        ("8x3x32x32 16 5x5 local dw", 8 * 28 * 28 * 16 * 3 * 25),
        ("1x64x56x56 64 3x3 tiled 2x2", 56 * 56 * 64 * 64 * 9),
        ("1x64x112x112 max 3x3 /2", 0),
    ],
)
def test_multiply_adds(name: str, macs: int) -> None:
    assert by_name(name).macs == macs


@pytest.mark.parametrize(
    ("name", "terms"),
    [("1x64x56x56 64 3x3", 576), ("1x64x56x56 64 3x3 dx", 576), ("1x64x56x56 64 3x3 dw", 56 * 56), ("1x2048x7x7 avg to 1", 49)],
)
def test_terms_of_each_product(name: str, terms: int) -> None:
    assert by_name(name).terms == terms


def test_both_layouts_are_the_same_problem() -> None:
    names = {row.name: row for row in ROWS}
    pairs = [(names[name], names[f"{name} last"]) for name in names if f"{name} last" in names]
    assert len(pairs) > 200
    for first, last in pairs:
        assert (first.layout, last.layout) == (FIRST, LAST)
        if first in HERE:
            assert (first.macs, first.bytes_moved, first.product) == (last.macs, last.bytes_moved, last.product)


def test_networks_are_whole() -> None:
    """The multiply-adds of VGG-16's thirteen layers, from its distinct ones and how often each occurs."""
    often = [1, 1, 1, 1, 1, 2, 1, 2, 3]
    layers = [row for row in ROWS if row.group == "VGG-16" and row.layout == FIRST]
    assert sum(n * row.macs for n, row in zip(often, layers, strict=True)) == 15_346_630_656
    assert len([row for row in ROWS if row.group == "ResNet-50"]) == 2 * 23
    weak = [row for row in ROWS if row.group in targets.WEAK]
    assert len(weak) >= 20
    assert {*targets.WEAK, *targets.TARGETS} <= set(rows.GROUPS)


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


def test_small_calls() -> None:
    figures = startup.calls([], 1)
    assert all(0 < microseconds < 1e5 for microseconds in figures.values())
    assert {"jj.conv(x, w, padding=1)", "bound(x)", "jj.pool(x, 2)", "jj.conv(pictures, w, padding=1), of 1000"} <= figures.keys()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one core, or no way to choose")
def test_threads_on_cores_of_their_own() -> None:
    cores, ended = os.sched_getaffinity(0), threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    with threads.apart():
        mine, others = os.sched_getaffinity(0), os.sched_getaffinity(other.native_id or 0)
        assert len(mine) == len(others) == 1 < len(mine | others)
    assert os.sched_getaffinity(0) == os.sched_getaffinity(other.native_id or 0) == cores
    ended.set()
    other.join()


def test_the_gain_of_a_second_thread() -> None:
    row = Row("a row", "here", "conv", (1, 16, 60, 60), (32, 16, 3, 3), padding=1)
    (record,) = threads.gains([row], 2)
    assert record.ratio == record.gain / record.loops > 0
    assert record.work > 0
    assert 0 < record.bound <= 1.001
    assert record.shares.keys() == set(threads.COUNTS)
    assert all(0 < share <= 1.001 for share in record.shares.values())
    assert [row.name for row in rows.select(threads.ROWS)] == [name for name in (r.name for r in ROWS) if name in threads.ROWS]


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
        (np.array([4, 5]), np.array([4, 6]), False, "off by 1 where"),
        (np.array([1, 2j]), np.array([1, -2j]), False, "off by 4"),
    ],
)
def test_verdicts(got: Array, want: Array, truncates: bool, complaint: str) -> None:
    verdict = measure.disagreement(got, want, 1e-6, truncates)
    assert (complaint in verdict) if complaint else not verdict


def test_tolerance_grows_with_the_sum_and_is_none_for_integers() -> None:
    assert measure.tolerance("float32", 4608) == pytest.approx(8 * 2**-23 * math.sqrt(4608))
    assert measure.tolerance("float64", 9) < 1e-14
    assert measure.tolerance("uint8", 9) == 0
    assert measure.tolerance("complex64", 9) == measure.tolerance("float32", 9)


class Doubling:
    """A peer that answers every row with twice its input."""

    library = "doubling"

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        yield

    def contestants(self, row: AnyRow, first: Array, second: Array) -> Iterator[Contestant]:
        yield Contestant(self.library, "", lambda: 2 * first, np.asarray)


MACHINE: Any = SimpleNamespace(
    peak_f32=100e9,
    peak_f64=50e9,
    bandwidth=10e9,
    name="a machine",
    vector_bits=256,
    l1=32768,
    l2=2**20,
    cores=2,
    peak=lambda dtype: 50e9 if dtype == "float64" else 100e9,
    peak_of_products=lambda x, w: 0.0,
    peak_of_dots=lambda x, w: 0.0,
)
TINY = Row("tiny", "tests", "conv", (1, 2, 4, 4), (2, 2, 1, 1))


def answer_with(monkeypatch: pytest.MonkeyPatch, run: Callable[[Array], Array]) -> None:
    def contestant(row: AnyRow, first: Array, second: Array, threads: int, allocate: bool = False) -> ours.Ours:
        return ours.Ours(Contestant(ours.LIBRARY, "", lambda: run(first), np.asarray), "direct", "6×4", 3e-3)

    monkeypatch.setattr(ours, "contestant", contestant)
    monkeypatch.setattr(measure, "TURN", 1e-6)


def test_a_right_row_has_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda x: 2 * x)
    record = measure.measure(TINY, [Doubling()], MACHINE, threads=1, rounds=3)
    assert not record.fault
    assert record.agrees_with == ["doubling"]
    assert set(record.ms) == {"juanji", "doubling"}
    assert record.ratios["doubling best"] == pytest.approx(record.ms["doubling"] / record.ms["juanji"])
    assert record.limit_ms == pytest.approx(TINY.bytes_moved / 10e9 * 1e3)
    assert record.share == pytest.approx(record.limit_ms / record.ms["juanji"])
    assert record.expected_ms == pytest.approx(3)
    assert measure.measure(TINY, [Doubling()], MACHINE, threads=2, clock=itertools.count().__next__).expected_ms == pytest.approx(1.5)


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


def small_rows() -> Iterator[Row]:
    """Of each kind of product that a peer has its own way for, in both layouts."""
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
        "local": ((5, 6), (3, 2), (2, 3), {"stride": (2, 2), "padding": 1}),
        "local 1-D": ((9,), (3,), (9,), {"padding": 1}),
        "tiled": ((6, 9), (3, 3), (2, 3), {"padding": 1}),
        "tiled, stride": ((7, 9), (3, 3), (2, 1), {"stride": 2}),
        "tiled 1-D": ((8,), (3,), (2,), {"padding": 1}),
        "shared": ((6, 7), (3, 3), (), {"stride": 2, "padding": 1}),
        "shared 1-D": ((9,), (3,), (), {"dilation": 2}),
        "grouped 3-D": ((4, 5, 4), (3, 2, 3), (), {"groups": 2}),
    }
    for (name, (size, kernel, sites, options)), product, layout in itertools.product(shapes.items(), "yxw", (FIRST, LAST)):
        sharing, per_group = name.replace(",", " ").split()[0], 4 // options.get("groups", 1)
        sharing = sharing if sites else "shared"
        first = layout == FIRST
        x = (2, 4, *size) if first else (2, *size, 4)
        if sharing == "local":
            spread = {"stride": 1, **options}
            grid = Row("grid", "", "conv", x, (6, 4, *kernel) if first else (*kernel, 4, 6), layout=layout, **spread).describe().output
            sites = grid
        w = (*sites, 6, per_group, *kernel) if first else (*sites, *kernel, per_group, 6)
        yield Row(f"{name} {product} {layout}", "1-D", "conv", x, w, layout=layout, product=product, sharing=sharing, **options)
    for layout in (FIRST, LAST):
        x, w = ((2, 4, 5), (4, 3, 4)) if layout == FIRST else ((2, 5, 4), (4, 3, 4))
        yield Row(f"up {layout}", "", "transposed", x, w, layout=layout, stride=2, padding=1, product="x", output_padding=1)


def true(row: Row, first: Array, second: Array) -> Array:
    spec = row.describe()
    if row.product == "y":
        return reference.conv(spec, first, second)
    names = {"x": ("y", "w"), "w": ("x", "y")}[row.product]
    return execute(lower(spec).producing(row.product), **dict(zip(names, (first, second), strict=True)))


def check_peer(peer: Any, row: Row, ways: int) -> None:
    first, second = row.arrays()
    want = true(row, first, second)
    with peer.session(1):
        others = list(peer.contestants(row, first, second))
        assert len(others) >= ways
        assert any(other.same for other in others) or ways == 1
        for other in others:
            assert not measure.disagreement(other.read(other.run()), want, 1e-5), other.label


@pytest.mark.torch
@pytest.mark.parametrize("row", list(small_rows()), ids=lambda row: row.name)
def test_torch_computes_the_same(row: Row) -> None:
    pytest.importorskip("torch")
    check_peer(torch.Torch(), row, 1 if row.name.startswith("tiled, stride") else 2)


@pytest.mark.parametrize("row", [row for row in small_rows() if row.kind == "conv" and row.sharing != "tiled"], ids=lambda row: row.name)
def test_jax_computes_the_same(row: Row) -> None:
    pytest.importorskip("jax")
    check_peer(jax.Jax(), row, 1)


def small_pools() -> Iterator[PoolRow]:
    cases: list[tuple[str, tuple[int, ...], int, dict[str, Any]]] = [
        ("max", (7, 6), 2, {}), ("max", (7, 6), 3, {"stride": 2, "padding": 1}), ("avg", (7, 6), 3, {"stride": 1, "padding": 1}),
        ("lp", (6, 6), 2, {}), ("avg", (7, 5), 3, {"adaptive": True}), ("max", (7, 5), 3, {"adaptive": True}), ("max", (9,), 3, {}),
        ("max", (4, 5, 6), 2, {}),
    ]  # fmt: skip
    for (op, size, window, options), product, layout in itertools.product(cases, "yx", (FIRST, LAST)):
        x = (2, 3, *size) if layout == FIRST else (2, *size, 3)
        name = f"{op} {size} {window} {product} {layout} {sorted(options)}"
        yield PoolRow(name, "", op, x, window, layout, product=product, **options)


@pytest.mark.torch
@pytest.mark.parametrize("row", list(small_pools()), ids=lambda row: row.name)
def test_torch_pools_the_same(row: PoolRow) -> None:
    pytest.importorskip("torch")
    peer, (x, dy) = torch.Torch(), row.arrays()
    mine = ours.contestant(row, x, dy, 1).contestant
    want = mine.read(mine.run())
    assert want.shape == (row.describe().y_shape if row.product == "y" else row.x_shape)
    with peer.session(1):
        others = list(peer.contestants(row, x, dy))
        assert others
        for other in others:
            assert not measure.disagreement(other.read(other.run()), want, 1e-5), other.label


def records() -> list[Record]:
    made = []
    for number, ratio in enumerate((0.5, 2.0, 8.0)):
        record = Record(f"row {number}", "a group", "float32", FIRST, 10**6 * (number + 1), 10**5, 0.1, "direct", "6×4")
        record.ms, record.ratios = {"juanji": 1.0, "torch channels_first": ratio}, {"torch best": ratio, "torch same": ratio}
        record.gflops, record.share, record.expected_ms = 2.0, 0.1, 2.0
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


def test_targets_and_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(targets.TARGETS["ResNet-50"]) == "target 1.8 / 1.5 (0.95)"
    assert str(targets.TARGETS["gradient of input"]) == "target 1.1 (0.9)"
    monkeypatch.setattr(causes, "CAUSES", {"1-D": Cause("of all"), "a row": Cause("of its own")})
    for name, group, ratio, why in (
        ("a row", "1-D", 0.99, "of its own"),
        ("another", "1-D", 0.99, "of all"),
        ("another", "3-D", 0.99, ""),
        ("a row", "1-D", 1.0, ""),
        ("a row", "no such group", 0.1, ""),
    ):
        assert causes.cause(name, group, {"torch best": ratio}) == why
    assert not causes.cause("a row", "1-D", {"torch best": 2.0, "scipy best": 0.5})
    assert causes.cause("a row", "1-D", {"torch best": 2.0, "jax best": 0.5})


def test_causes_name_rows_or_groups() -> None:
    assert set(causes.CAUSES) <= {*rows.GROUPS, *(row.name for row in ROWS), "all weak cases"}


def test_what_falls_short_is_listed_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    one = full_report()  # ratios of 0.5, 2 and 8
    for record in one.records:
        record.group = "gradient of input"
    monkeypatch.setattr(shortfalls, "CAUSES", {"gradient of input": Cause("of all", "a way", "another")})
    assert shortfalls.shortfalls(one.records) == [("row 0", "0.50", "0.9", Cause("of all", "a way", "another"))]
    for record in one.records:
        record.group = "1-D"
    group, row, weak = shortfalls.shortfalls(one.records)
    assert group == ("1-D", "2.00 / 2.00", "5 / 2", None)
    assert row == ("row 0", "0.50", "1", None)
    assert weak == ("all weak cases", "2.00 / 2.00", "5 / 2", None)
    assert "| row 0 | 0.50 | 1 |  |  |  |" in shortfalls.markdown(one.records)
    for record in one.records:
        record.group, record.ratios = "VGG-16", {"torch best": 2.0, "torch same": 2.0}
    one.records[0].name, one.records[0].share, one.records[1].share, one.records[2].share = "1x8x7x7 4 1x1", 0.75, 0.8, 0.95
    assert [line[:3] for line in shortfalls.shortfalls(one.records)] == [("row 1", "80% of the limit", "90%")]


def test_all_that_falls_short_in_the_committed_results_has_a_cause() -> None:
    committed = report.Report.read(ROOT / "bench" / "results" / "results.json")
    assert not [line.name for line in shortfalls.shortfalls(committed.records) if line.cause is None]


def test_weak_groups_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    weak = full_report()
    for record, group in zip(weak.records, ("1-D", "3-D", "3-D", "ResNet-50"), strict=True):
        record.group = group
    monkeypatch.setattr(causes, "CAUSES", {"1-D": Cause("known")})
    report.show(weak, Console(width=160, file=written))
    (line,) = (line for line in written.getvalue().splitlines() if line.strip().startswith("all weak cases"))
    assert line.split() == ["all", "weak", "cases", "3/3", "2.00", "(0.50)", "2.00", "(0.50)", "target", "5", "/", "2", "(1.0)"]
    assert "1-D, target 5 / 2 (1.0)" in written.getvalue()
    assert "direct: known" in written.getvalue()


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
    assert "×0.50" in text  # measured over expected
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
    pooling = Record("row 4", "pooling", "float32", FIRST, 0, 10**5, 0.1, "windows")  # has no multiply-adds, so no place there
    drawn = full_report()
    drawn.records.append(pooling)
    roofline.draw(drawn, tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert __main__.main(["--list", "--only", "VGG"]) == 0
    assert "VGG-16: 1x64x224x224 64 3x3 last" in capsys.readouterr().out.splitlines()
    assert __main__.main(["--only", "nothing is called so"]) == 2
    assert __main__.main(["--held-out", "--list", "--only", "grouped"]) == 0
    assert all(line.startswith("held out: grouped: ") for line in capsys.readouterr().out.splitlines())
    full_report().write(tmp_path / "results.json")
    assert __main__.main(["--from", str(tmp_path / "results.json")]) == 1  # a row was wrong
    assert "all groups" in capsys.readouterr().out
    for wrong in (["--threads", "0"], ["--cpu", "--threads", "2"]):
        with pytest.raises(SystemExit) as ended:
            __main__.main(wrong)
        assert ended.value.code == 2
