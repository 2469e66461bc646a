"""Tuning: what is measured, what wins, what is remembered and by whom. Nothing here depends on how long anything takes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import run_python
from juanji import machine as machines
from juanji import planner, tuning, winners
from juanji.describe import describe
from juanji.errors import ArgumentError, NotBuiltError
from juanji.exact import carried
from juanji.jit import store
from juanji.planner import ALGORITHMS
from juanji.plans import READ, Plan
from juanji.spec import Convolution
from juanji.tuning import Entrant, Track, forget_tuning
from strategies import convolutions
from test_bits import same_bits

tune: Any = tuning.tune  # whose plans here are all of floats
PROBLEM: Any = ((2, 16, 20, 20), (16, 16, 3, 3))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which nothing was tuned, nor in this process."""
    monkeypatch.setenv("JUANJI_CACHE_DIR", str(tmp_path))
    forget_tuning()
    yield tmp_path
    forget_tuning()


def timed_by(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[Plan], float]) -> None:
    """Runs take as long as this says, and nothing is compiled."""

    def duel(self: Track, first: Entrant, second: Entrant, end: float) -> tuple[float, float]:
        return seconds(first.plan), seconds(second.plan)

    monkeypatch.setattr(Track, "enter", lambda self, plan: Entrant(plan, lambda: None, 0.0))
    monkeypatch.setattr(Track, "duel", duel)


def by_algorithm(**seconds: float) -> Callable[[Plan], float]:
    return lambda plan: seconds.get(plan.algorithm, 9.0)


# What may win -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(spec=convolutions(max_axes=2, max_channels=18, max_groups=2, sites=True), produces=st.sampled_from("yxw"), data=st.data())
def test_schedules_of_one_algorithm_give_the_same_bits(spec: Convolution, produces: str, data: st.DataObject) -> None:
    if data.draw(st.booleans()):  # what more algorithms accept
        spec = replace(spec, stride=(1,) * spec.n, dilation=(1,) * spec.n, sites=None)
    names = [name for name, found in ALGORITHMS.items() if found.same_bits and found.accepts(spec, produces) is None]
    assume(names and (produces != "w" or not spec.epilogue.bias))
    name = data.draw(st.sampled_from(names))
    spec = carried(spec, produces)
    work, machine, rng = ALGORITHMS[name].work(spec, produces, machines.probe()), machines.probe(), np.random.default_rng(7)
    shapes = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}
    first, second = (rng.standard_normal(shapes[n]).astype(getattr(spec.dtypes, n)) for n in READ[produces])
    bias = rng.standard_normal(spec.bias_shape if produces == "y" else spec.channels).astype(spec.dtypes.sum)
    assume(produces == "y" or spec.shared)  # whose transposed bias has another shape
    usual, others = planner.choose(work.jobs), [list(job.candidates()) for job in work.jobs]
    results = [
        Plan(spec, produces, name, work, chosen, machine, {})(first, second, bias if spec.epilogue.bias else None)
        for chosen in (usual, *([data.draw(st.sampled_from(found)) for found in others] for _ in range(2)))
    ]
    assert all(same_bits(result, results[0]) for result in results)


def test_the_fastest_schedule_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jj.plan(*PROBLEM, padding=1, algorithm="direct")
    kernels = tuning.kernels_of(before, 0)
    assert len(kernels) > 3
    target = list(kernels.values())[2][-1:][0][0]
    code = before.work.jobs[0].program(target).code

    def seconds(plan: Plan) -> float:
        return 1.0 if plan.schedule == target else 2.0 if plan.program.code == code else 3.0

    timed_by(monkeypatch, seconds)
    after = tune(*PROBLEM, padding=1, algorithm="direct", seconds=60)
    assert after is jj.plan(*PROBLEM, padding=1, algorithm="direct")
    assert after is not before
    assert after.schedule == target
    assert after.tuned == winners.Winner((repr(target),), 1.0, 3.0, jj.run.thread_count(None))
    assert "tuned   1000.00 ms measured on" in str(after)
    assert after.explain()["tuned"]["before"] == 3.0
    assert before.tuned is None


def test_every_job_of_a_gradient_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"padding": 1, "stride": 2, "gradient": "input"}
    before = jj.plan(*PROBLEM, **options)
    targets = [choices[1][0][0] for choices in (list(tuning.kernels_of(before, i).values()) for i in range(len(before.parts)))]
    timed_by(monkeypatch, lambda plan: 5.0 - sum(part.schedule == target for part, target in zip(plan.parts, targets, strict=True)))
    after = tune(*PROBLEM, **options, seconds=60)
    assert len(after.parts) == 4
    assert [part.schedule for part in after.parts] == targets


def test_what_is_not_faster_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jj.plan(*PROBLEM, padding=1)
    timed_by(monkeypatch, lambda plan: 1.0 if plan.schedule == before.schedule else 1.0 - tuning.LEAST_GAIN / 2)
    after = tune(*PROBLEM, padding=1, same_bits=False)
    assert (after.algorithm, after.schedule) == (before.algorithm, before.schedule)
    assert after.tuned.seconds == after.tuned.before == 1.0


def test_another_algorithm_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    timed_by(monkeypatch, by_algorithm(direct=2.0, winograd=1.0, fft=3.0))
    x, w = np.random.default_rng(0).standard_normal((2, 2, 24, 24), np.float32), np.ones((2, 2, 3, 3), np.float32)
    monkeypatch.setattr(planner, "MARGIN", 1000.0)  # so that the direct sum is expected to win
    monkeypatch.setattr(tuning, "PROMISING", 1000.0)
    winners._empty_plans()
    direct = jj.conv(x, w)
    assert tune(x, w).algorithm == "direct"
    assert tune(x, w, same_bits=False, precision="strict").algorithm == "direct"
    assert tune(x, w, same_bits=False, algorithm="fft").algorithm == "fft"
    assert jj.plan(x.shape, w.shape).algorithm == "direct"
    assert same_bits(jj.conv(x, w), direct)

    assert tune(x, w, same_bits=False).algorithm == "winograd"
    assert "which was faster when tuned" in str(jj.plan(x.shape, w.shape))
    assert same_bits(jj.conv(x, w), jj.conv(x, w, algorithm="winograd"))
    for batch, layout in ((1, "channels_first"), (7, "channels_last")):  # neither shows in the bits
        shape = (batch, 2, 24, 24) if layout == "channels_first" else (batch, 24, 24, 2)
        spec = describe(shape, (2, 2, 3, 3), layout=layout, weight_layout="OI*")
        assert planner.plan_for(spec).algorithm == "winograd"
    assert jj.plan(x.shape, w.shape, precision="strict").algorithm == "direct"
    assert jj.plan(x.shape, w.shape, algorithm="direct").algorithm == "direct"
    forget_tuning()
    assert jj.plan(x.shape, w.shape).algorithm == "direct"


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        (PROBLEM, {"padding": 1, "same_bits": False, "bias": True, "activation": "relu"}),
        (PROBLEM, {"padding": 1, "gradient": "weight"}),
        (PROBLEM, {"padding": 1, "gradient": "input", "boundary": "reflect"}),
        (((1, 1, 40, 40), np.eye(3, dtype=np.float32)[None, None]), {}),
        (((1, 3, 30), (4, 3, 5)), {"dtype": "int32"}),
        ((np.full((1, 1, 9), 2**40), np.full((1, 1, 3), 2**40)), {"overflow": "wrap"}),
        (((1, 3, 30), (4, 3, 5)), {"dtype": "complex64", "bias": True}),
        (((1, 3, 6), (6, 4, 3, 1)), {"sharing": "local"}),
        ((np.ones((1, 1, 9), np.uint8), np.ones((1, 1, 3), np.float32)), {"threads": 2}),
    ],
    ids=str,
)
def test_all_kinds_are_tuned(problem: Any, options: dict[str, Any]) -> None:
    tuned = tune(*problem, seconds=0.02, **options)
    inner = tuning.of_floats(tuned, *problem)
    assert inner.tuned is not None
    assert inner.tuned.seconds > 0
    assert inner.tuned.before > 0


def test_nothing_is_not_measured() -> None:
    assert "measured" not in str(tune((0, 3, 30), (4, 3, 5)))


def test_arguments() -> None:
    for seconds in (0, -1, "long"):
        with pytest.raises(ArgumentError, match=r"^seconds \(="):
            tune(*PROBLEM, seconds=seconds)
    with pytest.raises(ArgumentError, match=r"^dtype \(='float32'\) belongs to a shape; x is an array of float64$"):
        tune(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), dtype="float32")
    with pytest.raises(ArgumentError, match=r"^algorithm \(='fastest'\)"):
        tune(*PROBLEM, algorithm="fastest")
    with pytest.raises(NotBuiltError):
        tune(*PROBLEM, stride=2, algorithm="winograd")
    with pytest.raises(TypeError, match="paddings"):
        tune(*PROBLEM, paddings=1)


# What is remembered -----------------------------------------------------------------------------------------------------------

TELL = "import juanji as jj; print(jj.plan((2, 16, 20, 20), (16, 16, 3, 3), padding=1))"


def test_other_processes_know_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    timed_by(monkeypatch, by_algorithm(direct=0.25, winograd=0.5, fft=0.75))
    monkeypatch.setattr(tuning, "PROMISING", 1000.0)
    tune(*PROBLEM, padding=1, same_bits=False, threads=3)
    assert "plan    direct" in (told := run_python(TELL))
    assert "tuned   250.00 ms measured on 3 threads" in told
    (file,) = cache.glob("*.tuned")
    assert file.stat().st_mode & 0o777 == 0o600
    forget_tuning()
    assert not file.exists()
    assert "tuned" not in run_python(TELL)


def test_what_another_process_wrote_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    timed_by(monkeypatch, lambda plan: 1.0)
    winners._kept()
    run_python("import juanji as jj; from juanji.tuning import tune; tune((1, 1, 9), (1, 1, 3), seconds=0.01)")
    tune(*PROBLEM)
    assert len(winners._read()["winners"]) == 2
    assert len(winners._kept()["winners"]) == 1  # this process's bits do not change under it


@pytest.mark.parametrize("position", [0, 20, 60, -1])
def test_a_damaged_file_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, cache: Path, position: int) -> None:
    timed_by(monkeypatch, lambda plan: 1.0)
    tune(*PROBLEM)
    (file,) = cache.glob("*.tuned")
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    winners._kept.cache_clear()
    winners._empty_plans()
    assert jj.plan(*PROBLEM).tuned is None


@pytest.mark.parametrize(
    "tables",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"winners": 3, "algorithms": []}',
        {"winners": ["a schedule of another version"]},
        {"winners": [["a schedule of another version"], 1.0, 1.0, 1]},
        {"winners": [[], 1.0, "long", 1]},
        {"winners": [["one", "too many"], 1.0, 1.0, 1]},
        {"algorithms": "quick"},
        {"algorithms": 7},
    ],
    ids=str,
)
def test_names_that_fit_nothing_are_as_good_as_none(tables: Any) -> None:
    usual = str(jj.plan(*PROBLEM))
    spec = describe(*PROBLEM)
    keys = {"winners": winners._key(spec, "y", "direct"), "algorithms": winners._key(winners.one_image(spec)[0], "y", "default")}
    content = tables if isinstance(tables, bytes) else json.dumps({name: {keys[name]: value} for name, value in tables.items()}).encode()
    store.write(winners._file(), content, winners.KIND)
    winners._kept.cache_clear()
    winners._empty_plans()
    assert str(jj.plan(*PROBLEM)) == usual


# How it is measured -----------------------------------------------------------------------------------------------------------


def test_a_duel_takes_turns_and_ends_when_it_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    now, log = [0.0], []

    def call(name: str, seconds: float) -> Entrant:
        def run() -> None:
            log.append(name)
            now[0] += seconds

        return Entrant(planner.plan_for(describe((1, 1, 4), (1, 1, 3))), run, 0.0)

    track = Track(describe((1, 1, 4), (1, 1, 3)), "y", 1)
    track.clock = lambda: now[0]
    assert track.duel(call("a", 1.0), call("b", 2.0), np.inf) == (1.0, 2.0)
    assert "".join(log) == "bbaa" * len(tuning.SLACK)  # each after a call that is not timed
    log.clear()
    assert track.duel(call("a", 3.0), call("b", 2.0), np.inf) == (3.0, 2.0)
    assert "".join(log) == "bbaa"  # far behind
    log.clear()
    track.duel(call("a", 1.0), call("b", 2.0), 0.0)
    assert "".join(log) == "bbaa"  # out of time


def test_short_calls_fill_a_turn() -> None:
    now = [0.0]

    def run() -> None:
        now[0] += tuning.TURN / 10

    track = Track(describe((1, 1, 4), (1, 1, 3)), "y", 1)
    track.clock = lambda: now[0]
    assert track.turn(run) == pytest.approx(tuning.TURN / 10)
    assert now[0] == pytest.approx(tuning.TURN * 1.1, rel=0.1)


def test_preparing_counts_between_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = describe((1, 2, 24, 24), (2, 2, 3, 3))
    track = Track(spec, "y", 1)
    monkeypatch.setattr(track, "duel", lambda first, second, end: (1.0, 2.0))
    direct, winograd = (planner.plan_for(spec, name) for name in ("direct", "winograd"))
    slow, other, quick = Entrant(direct, lambda: None, 5.0), Entrant(direct, lambda: None, 0.5), Entrant(winograd, lambda: None, 0.5)
    assert not track.beats(slow, quick, np.inf)
    assert track.beats(quick, slow, np.inf)
    assert track.costs(slow, other, np.inf) == (1.5, 2.5)  # of one algorithm: what differs is noise


def test_operands_are_zeros_that_weights_may_be_at_any_tap() -> None:
    spec = describe((2, 3, 8), (4, 3, 3), dtype="float16", bias=True)
    track = Track(spec, "y", 1)
    assert [(a.shape, a.dtype.name) for a in (track.x, track.w, track.y)] == [
        (spec.x_shape, "float16"), (spec.w_shape, "float16"), (spec.y_shape, "float16"),
    ]  # fmt: skip
    assert not track.x.any()
    assert not track.w.any()
