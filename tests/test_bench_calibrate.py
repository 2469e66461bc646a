"""The held-out table; the calibration: constants found, changed, fitted and written back, choices judged. Nothing here is timed."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import calibrate, constants, heldout, report, rows, targets
from bench.calibrate import Sample
from bench.constants import Constant
from bench.measure import Record
from bench.problems import FIRST, LAST, Row
from juanji.algorithms import costs, winograd
from juanji.tuning import Track

# The held-out table -----------------------------------------------------------------------------------------------------------


def test_the_table_is_drawn_once_and_for_all() -> None:
    assert tuple(heldout.table()) == heldout.ROWS
    assert tuple(heldout.table(heldout.SEED + 1)) != heldout.ROWS
    assert len(heldout.ROWS) >= 60
    assert not {row.name for row in heldout.ROWS} & {row.name for row in rows.ROWS}
    assert not {row.describe() for row in heldout.ROWS} & {row.describe() for row in rows.ROWS if row.dtype != "bfloat16"}


def test_groups_are_as_large_as_they_say_and_stand_beside_groups_that_exist() -> None:
    for name, group in heldout.GROUPS.items():
        assert sum(row.group == name for row in heldout.ROWS) == group.rows
        assert set(group.beside) <= set(rows.GROUPS)
        assert name not in targets.TARGETS


def test_other_seeds_draw_from_the_same_distribution() -> None:
    drawn = [row for seed in range(20) for row in heldout.table(seed)]
    layers = [row for row in drawn if row.kind == "conv"]
    for row in drawn:
        assert heldout.LEAST_MACS <= row.macs <= heldout.MOST_MACS
        assert row.dtype in ("float32", "uint8")
    assert {row.layout for row in layers} == {FIRST, LAST}
    assert {row.stride for row in layers} == {1, 2}
    assert {row.describe().kernel for row in layers} == {(k, k) for k in (1, 3, 5, 7, 11)}
    assert {row.describe().batch for row in layers} == {1, 8}
    dense = [row.describe() for row in layers if row.group == "held out: dense"]
    assert {spec.channels % 8 for spec in dense} == {0}
    assert min(spec.channels for spec in dense) < 32 < 256 < max(spec.channels for spec in dense)
    assert all(spec.groups == spec.channels for spec in (row.describe() for row in layers if row.group == "held out: depthwise"))


def test_layers_with_few_channels_stand_beside_layers() -> None:
    group = heldout.GROUPS["held out: few channels"]
    assert all(group.like(row) for seed in range(5) for row in heldout.table(seed) if row.group == "held out: few channels")
    assert {"1x1x1080x1920 1 5x5", "64x1x28x28 6 5x5"} <= group.unlike
    assert not {row.name for row in rows.ROWS if row.group == "few channels"} & group.unlike


def test_rows_are_selected_from_it() -> None:
    assert {row.group for row in rows.select(["depthwise"], heldout.ROWS)} == {"held out: depthwise"}


def made(group: str, ratio: float, key: str = "torch best") -> Record:
    record = Record(f"{group} {ratio}", group, "float32", FIRST)
    record.ms, record.ratios = {"juanji": 1.0}, {key: ratio}
    return record


def test_held_out_beside_tuned() -> None:
    def a_report(*records: Record) -> report.Report:
        return report.Report({}, {}, 1, 7, list(records))

    drawn = a_report(
        made("held out: dense", 1.0), made("held out: dense", 4.0), made("held out: pictures float32", 3.0, "opencv best"),
        made("held out: depthwise", 9.0),
    )  # fmt: skip
    tuned = a_report(made("ResNet-50", 2.0), made("VGG-16", 8.0), made("pictures float32", 3.0, "opencv best"), made("local", 100.0))
    dense, pictures, both = report.beside(drawn, tuned)
    assert dense[:2] == ("held out: dense, torch, best", 2)
    assert (dense.held_out, dense.tuned, dense.ratio) == pytest.approx((2.0, 4.0, 0.5))
    assert pictures.ratio == pytest.approx(1)
    assert both.rows == 3
    assert both.ratio == pytest.approx(0.5**0.5)
    assert report.beside(tuned, drawn) == []
    written = io.StringIO()
    report.show_beside(drawn, tuned, Console(width=120, file=written))
    assert ["all,", "each", "group", "once", "3", "2.45", "3.46", "0.71"] in [line.split() for line in written.getvalue().splitlines()]


# Constants --------------------------------------------------------------------------------------------------------------------


def of(name: str, module: str = "costs") -> Constant:
    """A constant by its name."""
    (found,) = (c for c in constants.constants() if (c.module.rpartition(".")[2], c.name) == (module, name))
    return found


def test_constants_are_found_where_they_stand() -> None:
    assert of("COPY_CYCLES").value == costs.COPY_CYCLES
    assert of("FAR_PLANE").value == costs.FAR_PLANE  # assigned in a row
    assert of("TILE_CYCLES", "winograd").value == winograd.TILE_CYCLES != of("TILE_CYCLES").value
    names = {c.name for c in constants.constants()}
    assert not names & {*constants.FIXED, "MOST_TAPS", "ITEM_MACS", "SHARES"}  # fixed, counts, tables


def test_constants_are_changed_for_a_while() -> None:
    def now() -> tuple[float, float]:
        return costs.TILE_CYCLES, winograd.TILE_CYCLES

    before = now()
    with constants.changed({of("TILE_CYCLES"): 7.0}):
        assert now() == (7.0, before[1])
    assert now() == before


def test_fitting_finds_what_made_the_times() -> None:
    rng = np.random.default_rng(3)
    counts = rng.uniform(0.1, 3, (200, 2))
    free = [of("COPY_CYCLES"), of("STORE_CYCLES"), of("LINE_CYCLES")]

    def model() -> Any:
        return np.maximum(counts @ [costs.COPY_CYCLES, costs.STORE_CYCLES], 2.0)

    with constants.changed({free[0]: 5.0, free[1]: 0.9}):
        measured = model() * np.exp(0.1 * rng.standard_normal(200))
    measured[:10] *= 20  # which no constant explains
    measured[100:] *= 1.5  # a crowded machine, meanwhile
    found = constants.fit(model, measured, np.ones(200), np.arange(200) // 50, free, lambda line: None)
    assert set(found) == set(free[:2])  # nothing is said about the third
    assert found[free[0]] / found[free[1]] == pytest.approx(5.0 / 0.9, rel=0.25)


def test_fitted_values_are_written_where_they_stand() -> None:
    for module in constants.modules():
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        values = {name: 2.0 * float(node.value) for name, node in constants._assigned(source)}  # type: ignore[arg-type]
        changed = constants.rewritten(source, values)
        assert constants.rewritten(source, {}) == source
        written = {name: node.value for name, node in constants._assigned(changed)}
        assert written == pytest.approx({name: float(constants.rounded(value)) for name, value in values.items()})


# Judging ----------------------------------------------------------------------------------------------------------------------


def sample(row: str, expected: float, measured: float, algorithm: str = "direct", preparing: float = 0.0) -> Sample:
    return Sample(row, algorithm, "Space", f"schedule {expected}", expected, expected + preparing, measured, measured + preparing)


def test_choices_are_judged_by_what_they_cost() -> None:
    samples = [
        sample("a", 1.0, 3.0), sample("a", 2.0, 2.0), sample("a", 3.0, 5.0),
        sample("b", 1.0, 1.0), sample("b", 0.95, 0.5, "winograd"),  # within the margin
        sample("c", 1.0, 1.0), sample("c", 0.5, 0.5, "winograd", preparing=1.0),
    ]  # fmt: skip
    a, b, c = calibrate.verdicts(samples)
    assert (a.chosen.expected, a.best.expected, a.loss) == (1.0, 2.0, 1.5)
    assert (b.chosen.algorithm, b.best.algorithm, b.loss) == ("direct", "winograd", 2.0)
    assert (c.chosen.algorithm, c.loss) == ("direct", 1.0)
    assert calibrate.rank_correlation(samples[:3]) == pytest.approx(0.5)
    assert np.isnan(calibrate.rank_correlation(samples[3:]))
    assert "at most 2.00 times (b)" in calibrate.summary(samples)
    written = io.StringIO()
    calibrate.show(samples, Console(width=120, file=written))
    assert "schedule 0.95" in written.getvalue()


SMALL = Row("small", "tests", "conv", (1, 20, 9, 9), (20, 20, 3, 3), padding=1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call takes a second, and few schedules are run."""
    monkeypatch.setattr(Track, "turn", lambda self, call: 1.0)
    monkeypatch.setattr(calibrate, "SCHEDULES", 2)
    monkeypatch.setattr(calibrate, "MORE", 1)


@pytest.mark.parametrize("row", [SMALL, replace(SMALL, name="strided", stride=2, product="x"), replace(SMALL, name="dw", product="w")])
def test_samples_and_the_model_that_expects_them(quick: None, row: Row) -> None:
    samples = list(calibrate.measure(row))
    assert len({(s.algorithm, s.schedule) for s in samples}) == len(samples) >= 3
    assert all(s.row == row.name and s.measured == 1.0 and 0 < s.expected <= s.expected_cost for s in samples)
    model = calibrate.model(samples, [row])
    assert model() == samples
    with constants.changed({of("STORE_CYCLES", "channel"): 50.0, of("STORE_CYCLES"): 50.0, of("TURN_CYCLES"): 50.0}):
        slower = model()
    assert all(after.expected >= before.expected for after, before in zip(slower, samples, strict=True))
    assert slower != samples
    assert model() == samples


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("1x64x56x56 64 3x3", "1x64x56x56 64 3x3 last")
    kept = tmp_path / "samples.json"
    kept.write_text(json.dumps([asdict(sample(name, 1.0 + i, 2.0)) for name in names for i in range(2)]), encoding="utf-8")
    constant = of("STORE_CYCLES")
    monkeypatch.setattr(calibrate, "fitted", lambda samples, table, talk: {constant: 3.25})
    assert calibrate.main(["--from", str(kept), "--fit"]) == 0
    printed = capsys.readouterr().out
    assert f"costs.py: STORE_CYCLES = 3.25  # was {constant.value}" in printed
    assert "rows that were not fitted, after:" in printed
    assert calibrate.main(["--only", "nothing is called so"]) == 2
