"""Work for many threads: how it is cut, that each gets an even share, and that neither shows in the bits."""

import dataclasses
import heapq
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import juanji as jj
from bench.problems import Row
from bench.rows import select
from bench.threads import mean_over_largest
from compiled import python
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import run
from juanji.algorithms.splitting import shared, smaller
from juanji.kinds import plan_for
from juanji.parts import ITEM_CYCLES
from juanji.planner import ALGORITHMS
from juanji.plans import Plan
from juanji.run import SLICE_CYCLES, THREAD_CYCLES, longest_share, slice_length
from strategies import Array

# The split ------------------------------------------------------------------------------------------------------------------


@given(items=st.integers(1, 3000), cycles=st.floats(1, 1e10), count=st.integers(1, 64))
def test_slices_are_the_items_and_the_longest_share_is_what_a_thread_gets(items: int, cycles: float, count: int) -> None:
    length = slice_length(items, cycles, count)
    slices = [min(length, items - start) for start in range(0, items, length)]
    assert sum(slices) == items
    assert min(slices) > 0
    assert length == 1 or length * cycles / items <= SLICE_CYCLES
    threads = [0] * count
    for done in slices:  # whoever is done takes the next
        heapq.heapreplace(threads, threads[0] + done)
    assert longest_share(items, length, count) == max(threads)
    assert max(threads) <= math.ceil(items / count) + max(items // (run.TURNS * count), 1)


@given(
    box=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    rest=st.lists(st.integers(0, 60), min_size=3, max_size=3),
    times=st.integers(1, 50),
    least=st.integers(1, 64),
)
def test_smaller_boxes(box: list[int], rest: list[int], times: int, least: int) -> None:
    grid = [b + r for b, r in zip(box, rest, strict=False)]
    found = smaller(box, grid, times, least)
    assert all(1 <= b <= before for b, before in zip(found, box, strict=True))
    assert math.prod(found) >= min(least, math.prod(box))
    cut = [axis for axis, (b, before) in enumerate(zip(found, box, strict=True)) if b < before]
    assert all(b == 1 for b in found[: max(cut, default=0)])


@given(blocks=st.integers(1, 100), times=st.integers(1, 100))
def test_shares_of_blocks(blocks: int, times: int) -> None:
    share = shared(blocks, times)
    assert 1 <= share <= blocks
    assert share == 1 or (share - 1) * times < blocks


# The same results -------------------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "dense": ((2, 40, 23, 25), (100, 40, 3, 3), {"padding": 1, "bias": True}),
    "dense, channels last": ((1, 23, 25, 40), (3, 3, 40, 100), {"padding": 1, "layout": "channels_last", "activation": "relu"}),
    "many features": ((1, 64, 7, 7), (300, 64, 1, 1), {"layout": "channels_first"}),
    "picture": ((1, 1, 90, 310), (1, 1, 5, 5), {"padding": 2, "boundary": "reflect"}),
    "large kernel": ((1, 2, 120, 130), (3, 2, 15, 15), {"padding": 7}),
    "signal": ((2, 3, 5000), (5, 3, 40), {"padding": "same"}),
    "volume": ((1, 16, 9, 10, 11), (33, 16, 3, 3, 3), {"padding": 1}),
    "groups": ((1, 32, 20, 21), (32, 8, 3, 3), {"groups": 4}),
    "strided": ((1, 12, 31, 33), (50, 12, 3, 3), {"padding": 1, "stride": 2}),
}  # fmt: skip
PRODUCTS = {None: "y", "input": "x", "weight": "w"}


def plan_of(name: str, algorithm: str, gradient: str | None) -> Any:
    x_shape, w_shape, more = LAYERS[name]
    more = {key: value for key, value in more.items() if gradient is None or key not in ("bias", "activation")}
    return jj.plan(x_shape, w_shape, gradient=gradient, algorithm=algorithm, **more)


def accepted() -> Iterator[tuple[str, str, str | None]]:
    """The layers, the algorithms that compute them, and the gradients."""
    for name, gradient in itertools.product(LAYERS, PRODUCTS):
        spec = plan_of(name, "auto", gradient).spec
        for algorithm, entry in ALGORITHMS.items():
            if entry.accepts(spec, PRODUCTS[gradient]) is None:
                yield name, algorithm, gradient


CASES = list(accepted())
CUT = ("dense", "dense, channels last", "many features", "picture", "volume")  # whose outputs are cut, if that is asked for


def arrays(plan: Any) -> tuple[Array, Array, Array | None]:
    spec = plan.spec
    shapes = {"y": (spec.x_shape, spec.w_shape), "x": (spec.y_shape, spec.w_shape), "w": (spec.x_shape, spec.y_shape)}[plan.produces]
    rng = np.random.default_rng(len(spec.w_shape))
    first, second = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return first, second, rng.standard_normal(spec.bias_shape).astype(np.float32) if spec.epilogue.bias else None


def in_pieces(plan: Any, items: int) -> Plan:
    """The plan with each of its jobs in as many items, as far as that goes."""
    choices = [(part.job.finer(part.schedule, items), part.cycles) for part in plan.parts]
    return Plan(plan.spec, plan.produces, plan.algorithm, plan.work, choices, plan.machine, {})


@pytest.mark.parametrize(("name", "algorithm", "gradient"), CASES)
def test_pieces_do_not_show(name: str, algorithm: str, gradient: str | None) -> None:
    plan = plan_of(name, algorithm, gradient)
    first, second, bias = arrays(plan)
    expected, several = plan(first, second, bias, threads=1), 0
    for items in (3, 40, 100_000):
        other = in_pieces(plan, items)
        for part, whole in zip(other.parts, plan.parts, strict=True):
            assert part.program.items >= whole.program.items
            assert part.program.code == whole.program.code
            assert part.program.scratch <= max(whole.program.scratch, 1 << 16)
            several += part.program.items > whole.program.items
        assert np.array_equal(other(first, second, bias, threads=1), expected)
    assert several or name not in CUT or algorithm not in ("direct", "winograd") or gradient


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pieces_of_separable_kernels_do_not_show(dtype: str) -> None:
    column = np.array([1, 4, 6, 4, 1], np.float32) / 16
    w = np.outer(column, column)[None, None]
    x = np.random.default_rng(0).integers(0, 255, (2, 1, 90, 310)).astype(dtype)
    plan: Any = jj.plan(x.shape, w, dtype=dtype, padding=2, boundary="edge", out_dtype=dtype, algorithm="separable")
    expected = plan(x, w, threads=1)
    for items in (3, 40, 100_000):
        other = in_pieces(plan, items)
        assert other.items > plan.items
        assert other.parts[0].program.code == plan.parts[0].program.code
        assert np.array_equal(other(x, w, threads=1), expected)


@pytest.mark.parametrize("threads", [2, 5, 64])
@pytest.mark.parametrize("name", ["dense", "many features", "picture"])
def test_any_number_of_threads_gives_the_same_bits(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(name, "auto", None)
    first, second, bias = arrays(plan)
    expected = plan(first, second, bias, threads=1)
    monkeypatch.setattr(run, "THREAD_CYCLES", 100.0)
    monkeypatch.setattr("juanji.parts.ITEM_CYCLES", 100.0)
    monkeypatch.setattr("juanji.parts.LEAST_SHARED", 200.0)
    again = Plan(plan.spec, "y", plan.algorithm, plan.work, [(part.schedule, part.cycles) for part in plan.parts], plan.machine, {})
    assert again.workers(threads) > 1
    bound = again.bind(second, bias)
    out = np.empty_like(expected)
    for _ in range(3):
        assert np.array_equal(again(first, second, bias, threads=threads), expected)
        assert np.array_equal(bound(first, threads=threads), expected)
        bound.ready(first, out, threads=threads)()
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(("name", "algorithm", "gradient"), CASES)
def test_slices_do_not_show(name: str, algorithm: str, gradient: str | None, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(name, algorithm, gradient)
    first, second, bias = arrays(plan)
    expected = plan(first, second, bias, threads=1)
    monkeypatch.setattr(run, "slice_length", lambda items, cycles, count: length)
    for cycles, threads in ((2 * SLICE_CYCLES, 1), (SLICE_CYCLES / 2, 3)):  # with looks between slices, and with others' help
        other = in_pieces(plan, 40)
        for part in other.parts:
            part.cycles, part.for_threads = cycles, lambda _, part=part: part  # type: ignore[method-assign,misc]
        assert np.array_equal(other(first, second, bias, threads=threads), expected)


def protected(name: str, algorithm: str, gradient: str | None) -> None:
    """Pieces of all sizes beside pages that nobody may touch; run in a process of its own."""
    plan = plan_of(name, algorithm, gradient)
    first, second, bias = arrays(plan)
    expected = plan(first, second, bias, threads=1)
    for items, at_end in ((2, True), (9, False), (100_000, True)):
        pieces = in_pieces(plan, items)
        type(run._thread).scratch = lambda _, size, at_end=at_end: scratch(size, at_end)  # type: ignore[method-assign,assignment,misc]
        out = guarded(expected.shape, expected.dtype, at_end)
        at_edges: list[Any] = [None if array is None else beside(array, at_end) for array in (first, second, bias)]
        for part in pieces.parts:
            packing = part.program.pack_weights
            packed = lambda w, packing=packing, at_end=at_end: beside(packing(w), at_end)  # noqa: E731
            part.program = dataclasses.replace(part.program, pack_weights=packed)
        pieces(*at_edges, out=out, threads=1)
        assert np.array_equal(out, expected), (name, items)


@pytest.mark.parametrize("algorithm", sorted({algorithm for _, algorithm, _ in CASES}))
def test_pieces_stay_inside_their_memory(algorithm: str) -> None:
    names = [(name, gradient) for name, one, gradient in CASES if one == algorithm and gradient != "weight"]
    code = f"import test_threads\nfor case in {names!r}: print(case, flush=True); test_threads.protected(case[0], {algorithm!r}, case[1])"
    ended = python(code, timeout=300)
    assert ended.returncode == 0, f"{ended.returncode}\n{ended.stdout[-500:]}\n{ended.stderr[-3000:]}"


# Even shares ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threads", "least", "mean"), [(2, 0.85, 0.97), (4, 0.75, 0.95), (8, 0.7, 0.93), (16, 0.6, 0.9), (64, 0.5, 0.85)])
def test_shares_are_even(threads: int, least: float, mean: float) -> None:
    """The rows of both networks, one image, and of the pictures: the cut alone, whatever this machine has. Bands of a box are whole runs
    of as many rows as it has, which leaves them as they are."""
    rows = [row for row in select(["ResNet-50", "VGG-16", "pictures"]) if isinstance(row, Row)]
    plans: dict[str, Any] = {row.name: plan_for(row.describe(), row.algorithm) for row in rows}
    found = {name: mean_over_largest(plan, threads) for name, plan in plans.items() if plan.algorithm != "box"}
    assert len(found) > 60
    assert min(found.values()) >= least, sorted(found.items(), key=lambda row: row[1])[:5]
    assert sum(found.values()) / len(found) >= mean, sorted(found.items(), key=lambda row: row[1])[:20]


def test_small_work_is_not_cut() -> None:
    plan: Any = jj.plan((1, 1, 30, 30), (1, 1, 3, 3))
    (part,) = plan.parts
    assert part.cycles < THREAD_CYCLES
    assert part.for_threads(64) is part
    assert part.for_threads(1) is part
    assert ITEM_CYCLES < THREAD_CYCLES


def test_one_thread_keeps_the_schedule_of_plan_of() -> None:
    plan: Any = jj.plan((1, 512, 7, 7), (512, 512, 3, 3), padding=1)
    (part,) = plan.parts
    assert part.for_threads(1) is part
    assert part.for_threads(16) is part.for_threads(16)
    assert part.for_threads(16).program.items > part.program.items
    assert machines.probe() is plan.machine
