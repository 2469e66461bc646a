"""The matrix unit against the definition, number by number; its error, its bits, its memory, its code, and who may use it."""

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import juanji as jj
from adjoints import gradient, magnitude
from compiled import counted, python, run_python
from juanji import machine as machines
from juanji import reference
from juanji.algorithms import matrix
from juanji.algorithms.matrix import ERRORS
from juanji.algorithms.matrix_layout import Cover, Unfolded, unfolded
from juanji.algorithms.matrix_layout import numbers as number_types
from juanji.algorithms.matrix_program import Matrix
from juanji.algorithms.problem import Problem
from juanji.boundary import MODES, Boundary
from juanji.contraction import lower
from juanji.describe import describe
from juanji.errors import NotBuiltError
from juanji.exact import limits
from juanji.jit import permission, tiles
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.matrix_weights import emit_matrix_weights
from juanji.jit.target import Target
from juanji.machine import Machine
from juanji.spec import ACTIVATIONS, LAYOUTS, WEIGHT_LAYOUTS, Convolution, Dtypes, Epilogue, span
from paged import planned_beside_pages
from strategies import Array, operands
from test_bits import VIEWS, same_bits
from test_codegen import called

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

VECTORS = "+avx512f,+avx512bw,+avx512vl,+avx512dq"
UNIT = Target("x86_64-unknown-linux-gnu", "sapphirerapids", ",".join((VECTORS, *tiles.FEATURES)), 512, 32, True)
unit = pytest.mark.skipif(not machines.probe().peak_matrix, reason="this machine has no matrix unit that tests may use")

LONGEST = {1: 70, 2: 14, 3: 6}
FLOATS = (
    Dtypes("bfloat16", "bfloat16", "float32", "bfloat16"), Dtypes("bfloat16", "bfloat16", "float32", "float32"),
    Dtypes("float16", "float16", "float32", "float16"), Dtypes("float32", "float32", "float32", "float32"),
)  # fmt: skip
BYTES = tuple(Dtypes(x, w, "float32", y) for x, w, y in itertools.product(("int8", "uint8"), ("int8", "uint8"), ("int32", "uint8")))


# Any member of the family that it accepts --------------------------------------------------------------------------------------


@st.composite
def members(draw: st.DrawFn, dtypes: Sequence[Dtypes], max_channels: int = 100) -> Convolution:
    """Convolutions with shared weights, everything at random; channels below, at and above what fills a row of a tile."""
    n = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kernel = tuple(draw(st.integers(1, {1: 9, 2: 4, 3: 2}[n])) for _ in range(n))
    dilation = tuple(draw(st.sampled_from([1, 1, 1, 2, 3])) for _ in range(n))
    stride = tuple(draw(st.sampled_from([1, 1, 2, 3])) for _ in range(n))
    size = tuple(draw(st.integers(1, LONGEST[n])) for _ in range(n))
    plain = draw(st.booleans()) and draw(st.booleans())  # so that it can be read in place
    padding = tuple((0, 0) if plain else (draw(st.integers(0, 2)), draw(st.integers(0, 3))) for _ in range(n))
    short = (max(span(k, d) - s - low - high, 0) for k, d, s, (low, high) in zip(kernel, dilation, size, padding, strict=True))
    padding = tuple((low, high + more) for (low, high), more in zip(padding, short, strict=True))
    of = draw(st.sampled_from(dtypes))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = draw(st.sampled_from([1, 3, 16, 32, 64, 32, 64, max_channels]) | st.integers(1, max_channels))
    name = draw(st.sampled_from([None, None, *ACTIVATIONS] if not of.integers else [None, "relu", "relu6"]))
    value = 0.0 if of.x in ("bfloat16", "float16") else float(draw(st.integers(0, 1 if of.x == "bool" else 2)))
    return Convolution(
        size=size, kernel=kernel, stride=stride, dilation=dilation, padding=padding,
        boundary=tuple(Boundary(mode := draw(st.sampled_from(sorted(MODES))), value if mode == "constant" else 0.0) for _ in range(n)),
        batch=draw(st.integers(1, 3)), groups=groups, channels=groups * channels, features=groups * draw(st.integers(1, 70 // groups)),
        layout=draw(st.sampled_from(LAYOUTS)), weight_layout=draw(st.sampled_from(WEIGHT_LAYOUTS)), flip=draw(st.booleans()), dtypes=of,
        epilogue=Epilogue(draw(st.booleans()), name, 0.125 if name == "leaky_relu" else 0.0),
    )  # fmt: skip


@st.composite
def jobs(draw: st.DrawFn, dtypes: Sequence[Dtypes], produces: str = "y") -> tuple[Convolution, int, Machine]:
    """A description, the number of a schedule, and this machine with more or less cache."""
    spec = draw(members(dtypes))
    if produces == "x":
        of = spec.dtypes
        spec = dataclasses.replace(spec, epilogue=Epilogue(), dtypes=of._replace(y=of.x))
    l1, l2 = draw(st.sampled_from(((512, 4096), (4096, 64 << 10), (48 << 10, 2 << 20))))
    return spec, draw(st.integers(0, 999)), dataclasses.replace(machines.probe(), l1=l1, l2=l2)


def schedules(spec: Convolution, machine: Machine | None = None, produces: str = "y") -> list[Matrix]:
    """All schedules of the first job."""
    assert matrix.accepts(spec, produces) is None
    return [schedule for schedule, _ in matrix.work(spec, produces, machine or machines.probe()).jobs[0].candidates()]


planned = partial(counted, "matrix")


def numbers(spec: Convolution, seed: int) -> tuple[Array, Array, Array | None]:
    """x, w and the bias: normal floats, or bytes of all sizes."""
    if not spec.dtypes.integers:
        return operands(spec, seed)
    rng = np.random.default_rng(seed)
    x, w = (
        rng.integers(*limits(dtype), shape, endpoint=True).astype(dtype)
        for dtype, shape in ((spec.dtypes.x, spec.x_shape), (spec.dtypes.w, spec.w_shape))
    )
    return x, w, rng.integers(-1000, 1000, spec.bias_shape) if spec.epilogue.bias else None


def allowed(spec: Convolution, size: Array, result: Array) -> Array:
    """How far a sum may be off: of n terms each is rounded at most n + 2 times, or has lost 2⁻²² of itself with its smallest parts;
    and what the epilogue and the output's type add."""
    terms = spec.macs // max(math.prod(spec.y_shape), 1)
    stored = {"bfloat16": 2.0**-8, "float16": 2.0**-11}.get(spec.dtypes.y, 2.0**-24)
    bound: Array = (0.5 * (terms + 4) + 4) * 2.0**-23 * size + 4 * 2.0**-23 * (np.abs(result) + 1) + stored * np.abs(result) + 2.0**-24
    return bound


def assert_right(spec: Convolution, y: Array, x: Array, w: Array, bias: Array | None) -> None:
    """Integers are exact, floats within what is allowed."""
    if spec.dtypes.integers:
        np.testing.assert_array_equal(y, reference.conv(spec, x, w, bias))
        return
    wide = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    expected = reference.conv(wide, x, w, bias)
    wrong = np.abs(y.astype(float) - expected) > allowed(spec, reference.magnitude(spec, x, w, bias), expected)
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size}: {y[wrong][0]} is not {expected[wrong][0]}"


def check(spec: Convolution, number: int, machine: Machine, seed: int, threads: int = 1) -> None:
    x, w, bias = numbers(spec, seed)
    out = np.empty(math.prod(spec.y_shape) + 16, spec.dtypes.y)[seed % 16 :][: math.prod(spec.y_shape)].reshape(spec.y_shape)
    assert_right(spec, planned(spec, number, machine)(x, w, bias, out=out, threads=threads), x, w, bias)


@unit
@pytest.mark.parametrize("dtypes", [FLOATS, BYTES], ids=["floats", "bytes"])
def test_any_schedule_computes_the_description(dtypes: Sequence[Dtypes]) -> None:
    @settings(max_examples=40)
    @given(job=jobs(dtypes), seed=st.integers(0, 999), threads=st.integers(1, 3))
    def draw(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
        check(*job, seed, threads)

    draw()


@unit
@pytest.mark.slow
@settings(max_examples=4000)
@given(job=jobs((*FLOATS, *BYTES)), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_thousands_of_schedules_compute_their_descriptions(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
    check(*job, seed, threads)


@unit
@settings(max_examples=20)
@given(job=jobs(FLOATS, "x"), seed=st.integers(0, 999))
def test_any_schedule_computes_the_gradient_of_the_input(job: tuple[Convolution, int, Machine], seed: int) -> None:
    spec, number, machine = job
    rng = np.random.default_rng(seed)
    dy, w = (rng.standard_normal(shape).astype(spec.dtypes.x) for shape in (spec.y_shape, spec.w_shape))
    dx = planned(spec, number, machine, "x")(dy, w, threads=1 + seed % 3).astype(float)
    exact = gradient(spec, "x", dy.astype(float), w.astype(float))
    size, terms = magnitude(spec, "x", dy.astype(float), w.astype(float))
    stored = {"bfloat16": 2.0**-8, "float16": 2.0**-11}.get(spec.dtypes.x, 0.0) * np.abs(exact)
    wrong = np.abs(dx - exact) > (0.5 * (np.max(terms) + 4) + 4) * 2.0**-23 * size + stored + 2.0**-24
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {dx.size}: {dx[wrong][0]} is not {exact[wrong][0]}"


@settings(max_examples=100)
@given(
    rows=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 100)), min_size=1, max_size=6),
    pitch=st.integers(1, 9),
    limited=st.booleans(),
)
def test_every_window_has_its_place_in_a_tile(rows: list[tuple[int, int]], pitch: int, limited: bool) -> None:
    places, at = list[int](), 0
    for length, gap in rows:
        places += [at + i * pitch for i in range(length)]
        at = places[-1] + pitch + (gap * pitch if limited else gap)
    windows = np.array(places)
    limit = int(windows[-1]) - 15 * pitch if limited else None
    if limit is not None and limit < 0:
        return
    cover = Cover(windows, pitch, limit)
    assert (cover.starts[cover.rows // 16] + cover.rows % 16 * pitch == windows).all()
    assert (np.diff(cover.rows // 16) >= 0).all()
    assert (cover.rows[cover.firsts] // 16 == np.arange(len(cover.firsts))).all()
    if limit is not None:
        assert (cover.starts <= limit).all()


@settings(max_examples=50)
@given(lengths=st.lists(st.integers(1, 70), min_size=1, max_size=6), gap=st.integers(0, 40), width=st.sampled_from([16, 32, 64]))
def test_windows_of_a_planar_tile_follow_each_other(lengths: list[int], gap: int, width: int) -> None:
    begins = np.cumsum([0, *(length + gap for length in lengths[:-1])])
    windows = np.concatenate([begin + np.arange(length) for begin, length in zip(begins, lengths, strict=True)]) * 4
    cover = Cover(windows, 4, width=width, close=True)
    assert (cover.starts[cover.rows // width] + cover.rows % width * 4 == windows).all()
    counts = np.diff(np.append(cover.firsts, len(windows)))
    assert (cover.rows % width == np.concatenate([np.arange(count) for count in counts])).all()


@settings(max_examples=60)
@given(spec=members(FLOATS, max_channels=31))
def test_unfolded_windows_have_every_number_once(spec: Convolution) -> None:
    of = number_types(spec.dtypes.x, spec.dtypes.w)
    problem = Problem(lower(spec), spec.dtypes, spec.epilogue, machines.probe())
    assume(of is not None and unfolded(problem, of))
    assert of is not None
    where = Unfolded(problem, of, [s.out for s in problem.loops.spatial])
    found = where.reduction
    assert sorted(found[found >= 0].tolist()) == list(range(problem.kernel * problem.channels))
    assert len(found) == len(where.steps)
    starts, firsts, *_ = where.tiles(1)
    assert starts.max() + where.steps.max() + 16 * 64 <= where.bytes
    pixels = np.concatenate([np.arange(first, end) for first, end in firsts.reshape(-1, 2)])
    assert sorted(pixels.tolist()) == list(range(problem.loops.pixels))


# Its error ------------------------------------------------------------------------------------------------------------------

DATA = ("normal", "positive", "of many sizes", "small", "large")


def drawn(kind: str, shape: tuple[int, ...], rng: np.random.Generator, spread: float) -> Array:
    normal = rng.standard_normal(shape)
    if kind == "of many sizes":
        normal *= 10.0 ** rng.uniform(-spread, spread, shape)
    normal *= {"small": 1e-30, "large": 1e15}.get(kind, 1.0)
    return (np.abs(normal) if kind == "positive" else normal).astype(np.float32)


@unit
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(("channels", "kernel"), [(8, 3), (64, 1), (64, 3), (3, 7), (512, 1)])
def test_the_error_of_float32_is_no_larger_than_the_direct_sums(channels: int, kernel: int, kind: str) -> None:
    rng = np.random.default_rng(channels + kernel)
    x = drawn(kind, (1, 20, 20, channels), rng, 6)
    w = drawn("normal" if kind == "small" else kind, (kernel, kernel, channels, 32), rng, 3)
    given: dict[str, Any] = {"layout": "channels_last", "padding": kernel // 2}
    exact = jj.conv(x.astype(float), w.astype(float), algorithm="direct", **given)
    size = jj.conv(np.abs(x.astype(float)), np.abs(w.astype(float)), algorithm="direct", **given)
    by_unit, by_sum = (np.abs(jj.conv(x, w, algorithm=name, **given) - exact) / size for name in ("matrix", "direct"))
    assert np.sqrt(np.mean(by_unit**2)) < ERRORS["float32"] * np.sqrt(np.mean(by_sum**2))
    assert by_unit.max() < ERRORS["float32"] * by_sum.max()


@unit
def test_the_unit_adds_as_is_documented() -> None:
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape).astype(np.float32).astype("bfloat16") for shape in ((1, 1, 64, 32), (1, 1, 32, 32)))
    bias = rng.standard_normal(32).astype(np.float32)
    products = x[0, 0, :, :, None].astype(np.float32) * w[0, 0].astype(np.float32)
    even, odd = (np.add.accumulate(products[:, first::2], axis=1)[:, -1] for first in range(2))
    y = jj.conv(x, w, bias, layout="channels_last", algorithm="matrix", out_dtype="float32")
    np.testing.assert_array_equal(y[0, 0], (even + odd) + bias)


@unit
def test_what_is_not_as_ieee_says() -> None:
    given: dict[str, Any] = {"algorithm": "matrix", "layout": "channels_last"}
    w = np.ones((1, 1, 32, 16), np.float32)
    x = np.ones((1, 4, 5, 32), np.float32)
    x[0, 0, 0, 0], x[0, 0, 1, 0], x[0, 0, 2, 0] = np.inf, np.nan, 3.4e38
    y = jj.conv(x, w, **given)
    assert not np.isfinite(y[0, 0, :3]).any()
    assert (y[0, 0, 3:] == 32).all()
    assert (y[0, 1:] == 32).all()
    tiny = np.full((1, 4, 5, 32), 1e-40, np.float32)
    assert not jj.conv(tiny, w, **given).any()
    assert jj.conv(tiny, w, layout="channels_last", precision="strict").all()


@unit
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_infinity_reaches_no_window_that_does_not_see_it(layout: str) -> None:
    for channels, dtype in ((3, "float32"), (3, "bfloat16"), (16, "float32")):
        spec = describe((1, channels, 20, 40), (17, channels, 5, 5), dtype=dtype)
        if layout == "channels_last":
            spec = dataclasses.replace(spec, layout=layout)
        x, w, _ = numbers(spec, 3)
        place = [0, 9, 17]
        place.insert(3 if layout == "channels_last" else 1, 1)
        x[tuple(place)] = np.inf
        y = planned(spec)(x, w).astype(np.float32)
        y = y if layout == "channels_first" else np.moveaxis(y, -1, 1)
        seen = np.zeros((16, 36), bool)
        seen[5:10, 13:18] = True
        assert (~np.isfinite(y) == seen).all()


# Its bits -------------------------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "dense": ((3, 33, 29, 31), (50, 33, 3, 3), {"padding": 1, "activation": "tanh"}),
    "dense, channels last": ((3, 29, 31, 64), (3, 3, 64, 70), {"padding": 2, "layout": "channels_last", "bias": True}),
    "in place": ((3, 28, 32, 64), (1, 1, 64, 40), {"layout": "channels_last", "stride": 2}),
    "colours": ((2, 3, 40, 41), (33, 3, 5, 5), {"padding": 2, "stride": 2}),
    "many channels": ((3, 200, 8, 7), (70, 200, 3, 3), {"padding": 1}),
    "signal": ((3, 20, 401), (33, 20, 3), {"padding": "same", "boundary": "reflect"}),
    "volume": ((2, 17, 6, 7, 10), (18, 17, 3, 3, 3), {"padding": 1, "dilation": 2}),
    "groups": ((3, 80, 21, 22), (36, 40, 3, 3), {"padding": 1, "groups": 2}),
    "one tap": ((3, 64, 15, 17), (40, 64, 1, 1), {"bias": True}),
    "one tap in a row": ((3, 40, 17, 19), (70, 40, 3, 1), {"padding": (1, 0), "boundary": "edge", "bias": True}),
    "one tap, every second": ((3, 50, 23, 41), (33, 50, 1, 1), {"stride": 2, "padding": 1, "activation": "relu"}),
}  # fmt: skip
TYPES = ("bfloat16", "float16", "float32", "int8")


def layer(name: str, dtype: str) -> tuple[Convolution, Array, Array, Array | None]:
    x_shape, w_shape, arguments = LAYERS[name]
    if dtype == "int8":
        arguments = {key: value for key, value in arguments.items() if key != "activation"} | {"out_dtype": "int32"}
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    if dtype == "int8":
        spec = dataclasses.replace(spec, dtypes=spec.dtypes._replace(sum="float32"))
    return spec, *numbers(spec, len(name))


@unit
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_schedules_threads_and_batches_do_not_show(name: str, dtype: str) -> None:
    spec, x, w, bias = layer(name, dtype)
    expected = planned(spec)(x, w, bias, threads=1)
    count = len(schedules(spec))
    for number in range(0, count, max(count // 5, 1)):
        assert same_bits(planned(spec, number)(x, w, bias, threads=1 + number % 4), expected)
    one = dataclasses.replace(spec, batch=1)
    for i in range(spec.batch):
        assert same_bits(planned(one, i)(x[i : i + 1], w, bias), expected[i : i + 1])


@unit
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_layouts_do_not_show(name: str, dtype: str) -> None:
    spec, x, w, bias = layer(name, dtype)
    other = "channels_last" if spec.layout == "channels_first" else "channels_first"
    away, back = (1, -1) if other == "channels_last" else (-1, 1)
    there = dataclasses.replace(spec, layout=other)
    y = planned(there, 3)(np.ascontiguousarray(np.moveaxis(x, away, back)), w, bias)
    assert same_bits(np.ascontiguousarray(np.moveaxis(y, back, away)), planned(spec)(x, w, bias))


@unit
@pytest.mark.parametrize("view", [view for view in VIEWS if "byte order" not in view])
@pytest.mark.parametrize("name", ["dense", "in place"])
def test_views_do_not_show(name: str, view: str) -> None:
    spec, x, w, bias = layer(name, "bfloat16")
    plan = planned(spec)
    assert same_bits(plan(VIEWS[view](x), VIEWS[view](w), bias), plan(x, w, bias))


# Memory ---------------------------------------------------------------------------------------------------------------------


def compute_beside_pages(spec: Convolution, number: int, machine: Machine, produces: str, at_end: bool) -> None:
    print(spec, repr(spec), number, produces, at_end, sep="\n", flush=True)
    plan = planned(spec, number, machine, produces)
    x, w, bias = numbers(spec, 1)
    first = x if produces == "y" else np.random.default_rng(1).standard_normal(spec.y_shape).astype(spec.dtypes.y)
    expected = plan(first, w, bias, threads=1)
    assert same_bits(planned_beside_pages(plan, first, w, bias, at_end), expected)


def pages_batch(produces: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(job=jobs((*FLOATS, *BYTES) if produces == "y" else FLOATS, produces), at_end=st.booleans())
    def draw(job: tuple[Convolution, int, Machine], at_end: bool) -> None:
        compute_beside_pages(*job, produces, at_end)

    draw()


@unit
@pytest.mark.parametrize("produces", ["y", "x"])
def test_no_byte_outside_the_arrays_is_touched(produces: str) -> None:
    ended = python(f"import test_matrix; test_matrix.pages_batch({produces!r}, 12)", timeout=300)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


@unit
@pytest.mark.slow
@pytest.mark.parametrize("produces", ["y", "x"])
def test_no_byte_outside_many_arrays_is_touched(produces: str) -> None:
    ended = python(f"import test_matrix; test_matrix.pages_batch({produces!r}, 1500)", timeout=1800)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


@unit
def test_scratch_is_bounded() -> None:
    for x, w in (((8, 512, 28, 28), (512, 512, 3, 3)), ((1, 64, 512, 512), (64, 64, 3, 3)), ((1, 1024, 20, 20), (1024, 1024, 3, 3))):
        for dtype in ("bfloat16", "float32"):
            plan = jj.plan(x, w, padding=1, dtype=dtype, algorithm="matrix")
            assert plan.scratch <= 4 << 20, str(plan)


# Leave to use it ------------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys
import numpy as np
import juanji as jj
x, w = np.ones((1, 32, 9, 9), np.float32), np.ones((32, 32, 3, 3), np.float32)
plan = jj.plan(x.shape, w.shape, algorithm="matrix")
if sys.argv[1:] == ["child"]:
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(plan(x, w, threads=2).max(), "llvmlite" in sys.modules)
sys.stdout.flush()
"""


@unit
def test_processes_that_load_code_and_forked_children_may_use_it(tmp_path: Any) -> None:
    folder = str(tmp_path / "cache")
    assert run_python(PROGRAM, JUANJI_CACHE_DIR=folder).split() == ["288.0", "True"]
    assert run_python(PROGRAM, JUANJI_CACHE_DIR=folder).split() == ["288.0", "False"]
    assert run_python(f"import sys; sys.argv[1:] = ['child']\n{PROGRAM}", JUANJI_CACHE_DIR=folder).split() == ["288.0", "False"]


@unit
def test_threads_may_use_it() -> None:
    spec, x, w, bias = layer("dense", "bfloat16")
    plan = planned(spec)
    expected = plan(x, w, bias, threads=1)
    for _ in range(20):
        assert same_bits(plan(x, w, bias, threads=4), expected)


def test_without_leave_there_is_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = dataclasses.replace(machines.probe(), peak_matrix=0.0)
    monkeypatch.setattr(machines, "probe", lambda: machine)
    spec = describe((1, 32, 9, 9), (32, 32, 3, 3))
    assert matrix.accepts(spec, "y") == "this processor has no matrix unit that the process may use"


def test_leave_is_asked_for_once_the_code_could_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(permission, "tiles", lambda: asked.append(1))
    without = dataclasses.replace(UNIT, features="+avx512f")
    assert machines._matrix(without, "") == 0.0
    assert not asked
    assert machines._matrix(UNIT, "") == 0.0
    assert asked


# Its code -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["dense", "dense, channels last", "in place", "colours"])
def test_kernels_are_freestanding(name: str, dtype: str) -> None:
    machine = dataclasses.replace(machines.probe(), target=UNIT, peak_matrix=2e12)
    spec, *_ = layer(name, dtype)
    work = matrix.work(spec, "y", machine)
    found = [schedule for schedule, _ in work.jobs[0].candidates()]
    program = work.jobs[0].program(found[-1])
    packing: Any = program.pack_weights
    for code, emit in ((program.code, program.emit), (packing.code, emit_matrix_weights)):
        text = emit(code, UNIT)
        assert called(assembly(text, UNIT)) == set()
        assert 0 < len(compile_ir(text, UNIT)) < 32 << 10


@pytest.mark.parametrize("dtype", TYPES)
def test_a_step_is_products_and_loads_of_tiles_alone(dtype: str) -> None:
    machine = dataclasses.replace(machines.probe(), target=UNIT, peak_matrix=2e12)
    spec, *_ = layer("dense, channels last", dtype)
    job = matrix.work(spec, "y", machine).jobs[0]
    schedule = next(s for s, _ in job.candidates() if (s.rows, s.columns) == (2, 2))
    program = job.program(schedule)
    lines = assembly(program.emit(program.code, UNIT), UNIT).splitlines()
    products = [number for number, line in enumerate(lines) if re.search(r"\btdp", line)]
    inner = lines[products[0] : products[-1]]
    assert len(products) == {"bfloat16": 4, "float16": 16, "float32": 24, "int8": 4}[dtype]
    assert not any("(%rsp" in line and "zmm" in line for line in inner)
    assert sum("tileload" in line for line in inner) <= {"bfloat16": 3, "float16": 11, "float32": 15, "int8": 3}[dtype]


@unit
def test_one_piece_of_code_serves_every_size() -> None:
    codes = set()
    for height, width, padding, boundary, batch in ((56, 56, 1, "zero", 1), (57, 41, 0, "zero", 3), (80, 33, 2, "reflect", 8)):
        spec = describe((batch, 64, height, width), (64, 64, 3, 3), padding=padding, boundary=boundary, dtype="bfloat16")
        job = matrix.work(spec, "y", machines.probe()).jobs[0]
        codes.add(job.program(next(s for s, _ in job.candidates() if (s.rows, s.columns) == (2, 2))).code)
    assert len(codes) == 1


# The planner ----------------------------------------------------------------------------------------------------------------


@unit
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"dtype": "float64"}, "no products of float64"),
        ({"dtype": "int16"}, "no products of int16"),
        ({"dtype": "bfloat16", "boundary": ("constant", 0.1)}, "constants outside"),
        ({"dtype": "int8", "out_dtype": "float64"}, "it writes no float64"),
    ],
)
def test_what_it_does_not_compute(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotBuiltError, match=reason):
        jj.plan((1, 32, 20, 20), (32, 32, 3, 3), algorithm="matrix", padding=1, **arguments)


@unit
def test_strict_keeps_it_out_and_says_so() -> None:
    shapes = (1, 512, 14, 14), (512, 512, 1, 1)
    assert jj.plan(*shapes).algorithm == "matrix"
    strict = jj.plan(*shapes, precision="strict")
    assert strict.algorithm == "direct"
    assert "not     matrix: its error is larger than the direct sum's" in str(strict)


@unit
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int8"])
def test_it_is_chosen_where_it_pays_whatever_batch_and_layout(dtype: str) -> None:
    for batch, first in itertools.product((1, 8), (True, False)):
        x = (batch, 256, 14, 14) if first else (batch, 14, 14, 256)
        w = (512, 256, 1, 1) if first else (1, 1, 256, 512)
        layout = "channels_first" if first else "channels_last"
        assert jj.plan(x, w, layout=layout, dtype=dtype, out_dtype="int32" if dtype == "int8" else None).explain()["algorithm"] == "matrix"
    assert jj.plan((1, 64, 56, 56), (64, 1, 3, 3), groups=64, dtype=dtype, out_dtype="int32" if dtype == "int8" else None).explain()[
        "algorithm"
    ] != "matrix"


@unit
def test_integers_whose_sums_need_more_than_float32_are_exact() -> None:
    x, w = np.full((1, 300, 9, 9), 127, np.int8), np.full((20, 300, 3, 3), -128, np.int8)
    plan = jj.plan(x.shape, w.shape, dtype="int8", out_dtype="int32")
    y = plan(x, w)
    assert (y == -127 * 128 * 2700).all()


@unit
def test_transposed_convolutions_apply_their_epilogue() -> None:
    rng = np.random.default_rng(3)
    x, w, bias = (rng.standard_normal(s).astype(np.float32) for s in ((2, 40, 15, 17), (40, 24, 3, 3), (24,)))
    for boundary in ("zero", "reflect"):
        arguments: dict[str, Any] = {"padding": 1, "boundary": boundary, "activation": "relu"}
        y = jj.conv_transpose(x, w, bias, algorithm="matrix", **arguments)
        np.testing.assert_allclose(y, jj.conv_transpose(x, w, bias, algorithm="direct", **arguments), atol=2e-4)

