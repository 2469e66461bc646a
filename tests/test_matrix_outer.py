"""The gradient of the weights by the matrix unit: against the definition, its error, its bits, its memory, its code, and who may use it."""

import dataclasses
import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from adjoints import gradient, magnitude
from compiled import python
from juanji import machine as machines
from juanji import planner
from juanji.algorithms import matrix, matrix_outer
from juanji.algorithms.matrix_outer import MatrixOuter, Places
from juanji.algorithms.problem import Problem
from juanji.contraction import lower
from juanji.describe import describe
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.matrix_outer import PAIRS, order
from juanji.machine import Machine
from juanji.planner import plan_for
from juanji.plans import Plan
from juanji.spec import Convolution, Epilogue
from paged import planned_beside_pages
from strategies import Array
from test_bits import VIEWS, same_bits
from test_codegen import called
from test_matrix import DATA, FLOATS, LAYERS, UNIT, drawn, members, unit

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Convolution, int, Machine]:
    """A description, the number of a schedule, and this machine with more or less cache."""
    spec = draw(members(FLOATS))
    spec = dataclasses.replace(spec, epilogue=Epilogue(), dtypes=spec.dtypes._replace(y=spec.dtypes.x))
    l2 = draw(st.sampled_from((4096, 64 << 10, 2 << 20)))
    return spec, draw(st.integers(0, 999)), dataclasses.replace(machines.probe(), l2=l2)


def schedules(spec: Convolution, machine: Machine) -> list[MatrixOuter]:
    """All schedules of the job, with the features in one share and in several."""
    job = matrix_outer.work(spec, machine).jobs[0]
    return [found for schedule, _ in job.candidates() for found in dict.fromkeys(job.finer(schedule, items) for items in (1, 3, 100))]


def planned(spec: Convolution, number: int = 0, machine: Machine | None = None) -> Plan:
    """The plan by one of the schedules, counted round."""
    machine = machine or machines.probe()
    assert matrix.accepts(spec, "w") is None
    work, found = matrix_outer.work(spec, machine), schedules(spec, machine)
    return Plan(spec, "w", "matrix", work, [(found[number % len(found)], 1e6)], machine, {})


def numbers(spec: Convolution, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x, dy = (rng.standard_normal(shape).astype(spec.dtypes.x) for shape in (spec.x_shape, spec.y_shape))
    return x, dy


def check(spec: Convolution, number: int, machine: Machine, seed: int, threads: int) -> None:
    x, dy = numbers(spec, seed)
    dw = planned(spec, number, machine)(x, dy, threads=threads).astype(float)
    exact = gradient(spec, "w", x.astype(float), dy.astype(float))
    size, terms = magnitude(spec, "w", x.astype(float), dy.astype(float))
    stored = {"bfloat16": 2.0**-8, "float16": 2.0**-11}.get(spec.dtypes.w, 0.0) * np.abs(exact)
    wrong = np.abs(dw - exact) > (0.5 * (np.max(terms) + 4) + 4) * 2.0**-23 * size + stored + 2.0**-24
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {dw.size}: {dw[wrong][0]} is not {exact[wrong][0]}"


@unit
@settings(max_examples=60)
@given(job=jobs(), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_any_schedule_computes_the_gradient(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
    check(*job, seed, threads)


@unit
@pytest.mark.slow
@settings(max_examples=3000)
@given(job=jobs(), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_thousands_of_schedules_compute_the_gradient(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
    check(*job, seed, threads)


@settings(max_examples=60)
@given(spec=members(FLOATS), data=st.data())
def test_every_tap_lies_where_outputs_are_as_far_apart_as_positions(spec: Convolution, data: st.DataObject) -> None:
    """Place and phase of every (output, tap) of a box name one element of the padded input, and no other."""
    spatial = Problem(lower(spec), spec.dtypes, Epilogue(), machines.probe()).loops.spatial
    box = [data.draw(st.integers(1, min(s.out, 9))) for s in spatial]
    places = Places(spatial, box)
    met: dict[int, tuple[int, ...]] = {}
    for at in itertools.product(*(range(b) for b in box)):
        position = sum(i * pitch for i, pitch in zip(at, places.pitch, strict=True))
        for number, tap in enumerate(itertools.product(*(range(s.kernel) for s in spatial))):
            element = tuple(i * s.stride + k * s.dilation for i, k, s in zip(at, tap, spatial, strict=True))
            place = position + int(places.taps[number])
            assert met.setdefault(place, element) == element
            assert place < places.end
    assert len(set(met.values())) == len(met)


# Its error ------------------------------------------------------------------------------------------------------------------


@unit
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(("batch", "size", "kernel"), [(1, 28, 3), (2, 56, 1), (8, 14, 3), (1, 7, 1)])
def test_the_error_of_float32_is_no_larger_than_the_direct_sums(batch: int, size: int, kernel: int, kind: str) -> None:
    """Of the layout in which that is larger: blocks of the direct sum are longer channels-first."""
    rng = np.random.default_rng(batch + size)
    x, dy = (drawn(kind, (batch, 32, size, size), rng, spread) for spread in (6, 3))
    if kind == "small":
        dy = drawn("normal", dy.shape, rng, 0)
    shape = (32, 32, kernel, kernel)
    exact, terms = (
        jj.conv_grad_weight(a.astype(float), b.astype(float), shape, algorithm="direct", padding=kernel // 2)
        for a, b in ((x, dy), (np.abs(x), np.abs(dy)))
    )
    errors: dict[str, list[Array]] = {"matrix": [], "direct": []}
    for name, layout in itertools.product(errors, ("channels_first", "channels_last")):
        pair = (x, dy) if layout == "channels_first" else tuple(np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
        given: dict[str, Any] = {"layout": layout, "weight_layout": "OI*", "padding": kernel // 2}
        errors[name].append(np.abs(jj.conv_grad_weight(*pair, shape, algorithm=name, **given) - exact) / terms)
    by_unit, by_sum = (np.sqrt(np.max([np.mean(e**2) for e in errors[name]])) for name in errors)
    assert by_unit < by_sum
    assert np.max(errors["matrix"]) < 1.5 * np.max(errors["direct"])


# Its bits -------------------------------------------------------------------------------------------------------------------


def layer(name: str, dtype: str) -> tuple[Convolution, Array, Array]:
    x_shape, w_shape, arguments = LAYERS[name]
    arguments = {key: value for key, value in arguments.items() if key not in ("activation", "bias")}
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    return spec, *numbers(spec, len(name))


@unit
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_schedules_and_threads_do_not_show(name: str, dtype: str) -> None:
    spec, x, dy = layer(name, dtype)
    expected = planned(spec)(x, dy, threads=1)
    for number in range(1, len(schedules(spec, machines.probe()))):
        assert same_bits(planned(spec, number)(x, dy, threads=1 + number % 4), expected)


@unit
@pytest.mark.parametrize("view", [view for view in VIEWS if "byte order" not in view])
@pytest.mark.parametrize("name", ["dense", "in place"])
def test_views_do_not_show(name: str, view: str) -> None:
    spec, x, dy = layer(name, "float32")
    plan = planned(spec)
    assert same_bits(plan(VIEWS[view](x), VIEWS[view](dy)), plan(x, dy))


@unit
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_numbers_that_are_not_finite_stay_with_their_channels_and_features(layout: str) -> None:
    """What lies in gaps and behind ends is multiplied by zeros, and must not be a leftover of other chunks or calls."""
    first = layout == "channels_first"
    x, dy = np.full((2, 33, 21, 32), np.nan, np.float32), np.full((2, 33, 21, 33), np.inf, np.float32)
    shape = (3, 3, 32, 33)
    if first:
        x, dy, shape = np.moveaxis(x, -1, 1).copy(), np.moveaxis(dy, -1, 1).copy(), (33, 32, 3, 3)
    given: dict[str, Any] = {"layout": layout, "padding": 1, "algorithm": "matrix"}
    jj.conv_grad_weight(x, dy, shape, **given)  # leaves them in scratch
    one, other = np.ones_like(x), np.ones_like(dy)
    assert np.isfinite(jj.conv_grad_weight(one, other, shape, **given)).all()
    one[(0, 3, 5, 5) if first else (0, 5, 5, 3)] = np.inf
    other[(1, 7, 32, 20) if first else (1, 32, 20, 7)] = np.nan
    dw = np.moveaxis(jj.conv_grad_weight(one, other, shape, **given), (0, 1) if first else (3, 2), (0, 1))
    wrong = ~np.isfinite(dw).all(axis=(2, 3))
    assert wrong[7].all()
    assert wrong[:, 3].all()
    assert not np.delete(np.delete(wrong, 7, 0), 3, 1).any()


# Memory and code ------------------------------------------------------------------------------------------------------------


def compute_beside_pages(spec: Convolution, number: int, machine: Machine, at_end: bool) -> None:
    print(spec, repr(spec), number, at_end, sep="\n", flush=True)
    plan, (x, dy) = planned(spec, number, machine), numbers(spec, 1)
    expected = plan(x, dy, threads=1)
    assert same_bits(planned_beside_pages(plan, x, dy, None, at_end), expected)


def pages_batch(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(job=jobs(), at_end=st.booleans())
    def draw(job: tuple[Convolution, int, Machine], at_end: bool) -> None:
        compute_beside_pages(*job, at_end)

    draw()


@unit
@pytest.mark.parametrize("examples", [15, pytest.param(1500, marks=pytest.mark.slow)])
def test_no_byte_outside_the_arrays_is_touched(examples: int) -> None:
    ended = python(f"import test_matrix_outer; test_matrix_outer.pages_batch({examples})", timeout=1800)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("name", ["dense", "dense, channels last", "in place", "signal"])
def test_kernels_are_freestanding(name: str, dtype: str) -> None:
    machine = dataclasses.replace(machines.probe(), target=UNIT, peak_matrix=2e12)
    spec, *_ = layer(name, dtype)
    job = matrix_outer.work(spec, machine).jobs[0]
    for schedule, _ in job.candidates():
        program = job.program(schedule)
        text = program.emit(program.code, UNIT)
        assert called(assembly(text, UNIT)) == set()
        assert 0 < len(compile_ir(text, UNIT)) < 32 << 10


def test_a_step_is_products_and_loads_of_tiles() -> None:
    machine = dataclasses.replace(machines.probe(), target=UNIT, peak_matrix=2e12)
    spec, *_ = layer("dense", "float32")
    job = matrix_outer.work(spec, machine).jobs[0]
    program = job.program(next(s for s, _ in job.candidates() if (s.rows, s.columns) == (2, 2)))
    lines = assembly(program.emit(program.code, UNIT), UNIT).splitlines()
    products = [number for number, line in enumerate(lines) if re.search(r"\btdp", line)]
    inner = lines[products[0] : products[-1]]
    assert len(products) == 24
    assert not any("zmm" in line for line in inner)
    assert sum("tileload" in line for line in inner) <= 13


@pytest.mark.parametrize(("parts", "rows", "columns"), [(3, 2, 2), (3, 4, 1), (2, 4, 1), (1, 2, 2), (3, 1, 1)])
def test_all_orders_of_a_step_give_each_accumulator_the_same_products(parts: int, rows: int, columns: int) -> None:
    held: dict[int, tuple[str, int, int]] = {}
    found: dict[int, list[tuple[int, int]]] = {}
    for move in order(parts, rows, columns):
        if move.what == "multiply":
            (a, i, part), (b, v, other) = held[move.name], held[move.other]
            assert (a, b, i * columns + v) == ("a", "b", move.tile)
            found.setdefault(move.tile, []).append((part, other))
        else:
            assert rows * columns <= move.name < 8
            held[move.name] = move.what, move.tile, move.part
    assert all(products == list(PAIRS[parts]) for products in found.values())
    assert len(found) == rows * columns


# The planner ----------------------------------------------------------------------------------------------------------------


@unit
def test_it_is_chosen_where_it_pays_and_not_by_strict() -> None:
    for layout, batch in itertools.product(("channels_first", "channels_last"), (1, 8)):
        first = layout == "channels_first"
        x = (batch, 128, 28, 28) if first else (batch, 28, 28, 128)
        for features, kernel, algorithm in ((128, 3, "matrix"), (128, 1, None), (8, 1, "direct")):
            w = (features, 128, kernel, kernel) if first else (kernel, kernel, 128, features)
            spec = describe(x, w, padding=kernel // 2, layout=layout)
            assert algorithm in (None, plan_for(spec, produces="w").algorithm)
            assert plan_for(spec, produces="w", precision="strict").algorithm == "direct"


@unit
def test_what_it_does_not_compute() -> None:
    for dtype in ("float64", "int8", "complex64"):
        assert "no products of" in str(matrix.accepts(describe((1, 32, 9, 9), (32, 32, 3, 3), dtype=dtype), "w"))
    assert matrix.accepts(describe((1, 32, 9, 9), (3, 3, 32, 32, 3, 3), sharing="tiled"), "w") is not None


def test_algorithms_are_compared_for_the_batch_and_layout_of_the_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which both show in the sums of any gradient of weights."""
    seen: list[Convolution] = []

    def expected(spec: Convolution, produces: str, names: tuple[str, ...]) -> dict[str, float]:
        seen.append(spec)
        return dict.fromkeys(names, 1.0)

    monkeypatch.setattr(planner, "expected", expected)
    spec = describe((8, 32, 7, 7), (32, 32, 3, 3))
    planner._compared(spec, "w", ("direct", "matrix"))
    assert seen == [spec]
    planner._compared(spec, "y", ("direct", "matrix"))
    assert {one.layout for one in seen[1:]} == {"channels_first", "channels_last"}
