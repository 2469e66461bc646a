"""Winograd's convolution against the definition, tile by tile; its error, its bits, its code, and when the planner takes it."""

import dataclasses
import itertools
import math
import re
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from adjoints import gradient, magnitude
from compiled import python
from juanji import machine as machines
from juanji import reference
from juanji.algorithms import direct, winograd
from juanji.algorithms.winograd import ERRORS, MOST_POINTS
from juanji.algorithms.winograd_program import Winograd
from juanji.boundary import MODES, Boundary
from juanji.describe import describe
from juanji.errors import NotBuiltError
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.emit import Emitter, Value
from juanji.jit.toom import Matrix, apply, transforms
from juanji.jit.winograd_axes import Axis
from juanji.jit.winograd_weights import emit_winograd_weights
from juanji.machine import Machine
from juanji.plans import Plan
from juanji.spec import ACTIVATIONS, LAYOUTS, WEIGHT_LAYOUTS, Convolution, Dtypes, Epilogue
from paged import planned_beside_pages
from strategies import Array, operands
from test_bits import VIEWS, same_bits
from test_codegen import ARM, VECTORS, called, innermost, machine_with, multiply_adds, on

LONGEST = {1: 40, 2: 14, 3: 6}


# Any member of the family that it accepts --------------------------------------------------------------------------------------


@st.composite
def neighbours(draw: st.DrawFn, max_channels: int = 40) -> Convolution:
    """Convolutions of 2 to 7 taps, stride 1, everything else at random."""
    n = draw(st.sampled_from([1, 2, 2, 2, 3]))
    longest = {1: 7, 2: draw(st.sampled_from([3, 3, 5, 7])), 3: 3}[n]
    kernel = tuple(draw(st.integers(2, longest)) for _ in range(n))
    if n > 1 and draw(st.integers(0, 9)) == 0:
        kernel = (1, *kernel[1:])
    size = tuple(draw(st.integers(1, LONGEST[n])) for _ in range(n))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 3))) for _ in range(n))
    dilation = tuple(draw(st.sampled_from([1, 1, 1, 2, 3, 5])) for _ in range(n))
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    padding = tuple((low, max(high, k - s - low)) for (low, high), k, s in zip(padding, reach, size, strict=True))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    name = draw(st.sampled_from([None, None, *ACTIVATIONS]))
    x, total = draw(st.sampled_from([("float32", "float32"), ("float32", "float32"), ("float64", "float64"), ("float16", "float32")]))
    return Convolution(
        size=size, kernel=kernel, stride=(1,) * n, dilation=dilation, padding=padding,
        boundary=tuple(Boundary(draw(st.sampled_from(sorted(MODES))), draw(st.sampled_from([0.0, -2.5]))) for _ in range(n)),
        batch=draw(st.integers(1, 3)), groups=groups, channels=groups * draw(st.integers(1, max_channels // groups)),
        features=groups * draw(st.integers(1, 50 // groups)), layout=draw(st.sampled_from(LAYOUTS)),
        weight_layout=draw(st.sampled_from(WEIGHT_LAYOUTS)), flip=draw(st.booleans()), dtypes=Dtypes(x, x, total, total),
        epilogue=Epilogue(draw(st.booleans()), name, 0.125 if name == "leaky_relu" else 0.0),
    )  # fmt: skip


Tile = tuple[int, ...]  # outputs along the axes that have more than one tap


def longest(spec: Convolution, tile: Tile) -> int:
    """Points of a tile along the axis where it has most."""
    return max(m + r - 1 for m, r in zip(tile, (r for r in spec.kernel if r > 1), strict=True))


def alike(spec: Convolution, m: int) -> Tile:
    """A tile of m outputs per axis."""
    return (m,) * sum(r > 1 for r in spec.kernel)


def outputs(spec: Convolution) -> list[Tile]:
    """The tiles that the planner compares."""
    found = {*(alike(spec, m) for m in range(2, 8)), (*alike(spec, 2)[1:], 4)}
    taps = [r for r in spec.kernel if r > 1]
    most = {tile: math.prod(m + r - 1 for m, r in zip(tile, taps, strict=True)) for tile in found}
    return sorted(tile for tile in found if longest(spec, tile) <= max(ERRORS) and most[tile] <= MOST_POINTS)


@st.composite
def jobs(draw: st.DrawFn, produces: str = "y") -> tuple[Convolution, Tile, int, Machine]:
    """A description, outputs of a tile, the number of a schedule, and this machine with more or less cache."""
    spec = draw(neighbours())
    if produces == "x":
        of = spec.dtypes
        spec = dataclasses.replace(spec, epilogue=Epilogue(), dtypes=of._replace(y=of.x))
    m = draw(st.sampled_from(outputs(spec)))
    l1, l2 = draw(st.sampled_from(((512, 4096), (48 << 10, 2 << 20))))
    return spec, m, draw(st.integers(0, 999)), dataclasses.replace(machines.probe(), l1=l1, l2=l2)


def schedules(spec: Convolution, tile: Tile, machine: Machine | None = None, produces: str = "y") -> list[Winograd]:
    """All schedules with tiles of so many outputs."""
    assert winograd.accepts(spec, produces) is None
    return [schedule for schedule, _ in winograd.work_of(spec, produces, machine or machines.probe(), tile).jobs[0].candidates()]


def planned(spec: Convolution, tile: Tile, number: int = 0, machine: Machine | None = None, produces: str = "y") -> Plan:
    """The plan by one of the schedules, counted round."""
    machine = machine or machines.probe()
    work = winograd.work_of(spec, produces, machine, tile)
    chosen = []
    for job in work.jobs:
        found = [schedule for schedule, _ in job.candidates()]
        chosen.append((found[number % len(found)], 1e6))
    return Plan(spec, produces, "winograd", work, chosen, machine, {})


def allowed(spec: Convolution, tile: Tile, size: Array, result: Array) -> Array:
    """How far a sum of normal numbers may be off: eight times its algorithm's error, of the largest Σ|terms|; two ulps for the epilogue.

    A tile's outputs share their roundings, so that the largest sum of all stands for those near.
    """
    eps, stored = (float(np.finfo(dtype).eps) for dtype in (spec.dtypes.sum, spec.dtypes.y))
    bound: Array = 8 * ERRORS[longest(spec, tile)] * eps * size.max(initial=0.0) + 2 * max(eps, stored) * (np.abs(result) + 2)
    return bound


def check(spec: Convolution, tile: Tile, number: int, machine: Machine, seed: int, threads: int = 1) -> None:
    x, w, bias = operands(spec, seed)
    out = np.empty(math.prod(spec.y_shape) + 16, spec.dtypes.y)[seed % 16 :][: math.prod(spec.y_shape)].reshape(spec.y_shape)
    y = planned(spec, tile, number, machine)(x, w, bias, out=out, threads=threads)
    expected = reference.conv(dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64")), x, w, bias)
    wrong = np.abs(y - expected) > allowed(spec, tile, reference.magnitude(spec, x, w, bias), expected)
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size}: {y[wrong][0]} is not {expected[wrong][0]}"


@settings(max_examples=20)
@given(job=jobs(), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_any_schedule_computes_the_description(job: tuple[Convolution, Tile, int, Machine], seed: int, threads: int) -> None:
    check(*job, seed, threads)


@pytest.mark.slow
@settings(max_examples=3000)
@given(job=jobs(), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_thousands_of_schedules_compute_their_descriptions(job: tuple[Convolution, Tile, int, Machine], seed: int, threads: int) -> None:
    check(*job, seed, threads)


@settings(max_examples=10)
@given(job=jobs("x"), seed=st.integers(0, 999))
def test_any_schedule_computes_the_gradient_of_the_input(job: tuple[Convolution, Tile, int, Machine], seed: int) -> None:
    spec, tile, number, machine = job
    rng = np.random.default_rng(seed)
    dy, w = rng.standard_normal(spec.y_shape).astype(spec.dtypes.y), rng.standard_normal(spec.w_shape).astype(spec.dtypes.w)
    dx = planned(spec, tile, number, machine, "x")(dy, w, threads=1 + seed % 3)
    exact = gradient(spec, "x", dy.astype(float), w.astype(float))
    bound = allowed(dataclasses.replace(spec, dtypes=spec.dtypes._replace(y=spec.dtypes.x)), tile, magnitude(spec, "x", dy, w)[0], exact)
    wrong = np.abs(dx - exact) > bound
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {dx.size}: {dx[wrong][0]} is not {exact[wrong][0]}"


def test_integers_are_exact_where_no_sum_rounds() -> None:
    # The transforms of F(2, 3) halve at most: every number on the way is a small multiple of a quarter.
    for name, layout in itertools.product(("y", "x"), LAYOUTS):
        x_shape, w_shape = ((3, 20, 13, 21), (33, 20, 3, 3)) if layout == "channels_first" else ((3, 13, 21, 20), (3, 3, 20, 33))
        spec = describe(x_shape, w_shape, padding=1, boundary="wrap" if name == "y" else "zero", layout=layout)
        x, w, _ = operands(spec, seed=4, integers=True)
        dy = np.random.default_rng(5).integers(-4, 4, spec.y_shape).astype(np.float32)
        first = x if name == "y" else dy
        work = direct.work(spec, name, machines.probe())
        chosen = [(next(job.candidates())[0], 1.0) for job in work.jobs]
        expected = Plan(spec, name, "direct", work, chosen, machines.probe(), {})(first, w)
        for number in range(0, len(schedules(spec, (2, 2), produces=name)), 61):
            np.testing.assert_array_equal(planned(spec, (2, 2), number, produces=name)(first, w), expected)


@pytest.mark.parametrize(("m", "r"), [(m, r) for m in range(1, 7) for r in range(1, 6) if m + r <= 9 and (r > 1 or m == 1)])
def test_the_transforms_are_exact(m: int, r: int) -> None:
    of = transforms(m, r)
    d, g = ([Fraction(a, b) for a, b in np.random.default_rng(m * r).integers(1, 50, (n, 2)).tolist()] for n in (m + r - 1, r))

    def times(matrix: Matrix, v: list[Fraction]) -> list[Fraction]:
        return [sum((c * x for c, x in zip(row, v, strict=True)), start=Fraction(0)) for row in matrix]

    products = [a * b for a, b in zip(times(of.weights, g), times(of.input, d), strict=True)]
    assert times(of.output, products) == [sum(d[i + k] * g[k] for k in range(r)) for i in range(m)]


# Its error ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tile", "r"), [*(((m, m), r) for r in (2, 3, 5, 7) for m in range(2, 10 - r)), ((2, 4), 3), ((2, 4), 5)]
)
def test_the_error_is_what_is_documented(tile: Tile, r: int) -> None:
    rng, channels = np.random.default_rng(tile[0]), 8  # with more, the error of both sums grows, that of the transforms less
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 24, 25, channels), (r, r, channels, 32)))
    spec = describe(x.shape, w.shape, layout="channels_last", padding=1)
    exact = jj.conv(x.astype(float), w.astype(float), layout="channels_last", padding=1, algorithm="direct")
    by_sum = jj.conv(x, w, layout="channels_last", padding=1, algorithm="direct")

    def error(y: Array) -> float:
        return float(np.sqrt(np.mean((y - exact) ** 2)))

    assert error(planned(spec, tile)(x, w)) < ERRORS[longest(spec, tile)] * error(by_sum)


# Its bits -------------------------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "dense": ((3, 33, 29, 31), (50, 33, 3, 3), {"padding": 1, "activation": "tanh"}),
    "dense, channels last": ((3, 29, 31, 48), (3, 3, 48, 70), {"padding": 2, "layout": "channels_last", "bias": True}),
    "many channels": ((3, 200, 8, 7), (70, 200, 3, 3), {"padding": 1}),
    "signal": ((3, 20, 401), (33, 20, 3), {"padding": "same", "boundary": "reflect"}),
    "volume": ((2, 17, 6, 7, 10), (18, 17, 3, 3, 3), {"padding": 1}),
    "groups": ((3, 40, 21, 22), (36, 20, 3, 3), {"padding": 1, "groups": 2}),
    "dilated": ((3, 36, 25, 27), (40, 36, 3, 3), {"padding": 6, "dilation": (3, 6)}),
}  # fmt: skip


def layer(name: str) -> tuple[Convolution, Array, Array, Array | None]:
    x_shape, w_shape, arguments = LAYERS[name]
    spec = describe(x_shape, w_shape, **arguments)
    return spec, *operands(spec, len(name))


def some_tile(spec: Convolution) -> Tile:
    """A tile that a test takes: not the one that the planner would, but with all sorts of points."""
    return alike(spec, 4 if spec.n == 2 else 2 if spec.n == 3 else 6)


@pytest.mark.parametrize("name", LAYERS)
def test_schedules_threads_and_batches_do_not_show(name: str) -> None:
    spec, x, w, bias = layer(name)
    tile = some_tile(spec)
    expected = planned(spec, tile)(x, w, bias, threads=1)
    count = len(schedules(spec, tile))
    for number in range(0, count, count // 4):
        assert same_bits(planned(spec, tile, number)(x, w, bias, threads=1 + number % 4), expected)
    one = dataclasses.replace(spec, batch=1)
    for i in range(spec.batch):
        assert same_bits(planned(one, tile, i)(x[i : i + 1], w, bias), expected[i : i + 1])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", LAYERS)
def test_views_do_not_show(name: str, view: str) -> None:
    spec, x, w, bias = layer(name)
    plan = planned(spec, some_tile(spec))
    assert same_bits(plan(VIEWS[view](x), VIEWS[view](w), bias), plan(x, w, bias))


@pytest.mark.parametrize("name", ["dense", "signal", "volume", "groups", "dilated"])
def test_layouts_do_not_show(name: str) -> None:
    spec, x, w, bias = layer(name)
    last = dataclasses.replace(spec, layout="channels_last", weight_layout="*IO")
    there = np.ascontiguousarray(np.moveaxis(x, 1, -1)), np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))
    y = planned(last, some_tile(spec), 3)(*there, bias)
    assert same_bits(np.moveaxis(y, -1, 1).copy(), planned(spec, some_tile(spec))(x, w, bias))


def test_the_instructions_of_a_transform_are_counted() -> None:
    every = {(n - r + 1, r) for n in winograd.SHARES for r in range(2, n) if n - r + 1 >= winograd.LEAST_OUTPUTS}
    assert winograd.INSTRUCTIONS.keys() == every | {(1, 1)}
    for (m, r), counts in winograd.INSTRUCTIONS.items():
        for matrix, count in zip((transforms(m, r).input, transforms(m, r).output), counts, strict=True):
            e = Emitter(128, False)
            values: dict[int, Value] = defaultdict(lambda e=e: e.zero(e.vector("f32")))  # type: ignore[misc]
            apply(e, [matrix], values.__getitem__, values.__setitem__)
            assert len(e.lines) == count, (m, r)


# Memory ---------------------------------------------------------------------------------------------------------------------


def compute_beside_pages(spec: Convolution, tile: Tile, number: int, machine: Machine, produces: str, at_end: bool) -> None:
    print(spec, repr(spec), tile, number, produces, at_end, sep="\n", flush=True)
    plan = planned(spec, tile, number, machine, produces)
    x, w, bias = operands(spec, 1)
    first = x if produces == "y" else np.random.default_rng(1).standard_normal(spec.y_shape).astype(spec.dtypes.y)
    expected = plan(first, w, bias, threads=1)
    assert same_bits(planned_beside_pages(plan, first, w, bias, at_end), expected)


def pages_batch(produces: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(job=jobs(produces), at_end=st.booleans())
    def draw(job: tuple[Convolution, Tile, int, Machine], at_end: bool) -> None:
        compute_beside_pages(*job, produces, at_end)

    draw()


@pytest.mark.parametrize("produces", ["y", "x"])
def test_no_byte_outside_the_arrays_is_touched(produces: str) -> None:
    ended = python(f"import test_winograd; test_winograd.pages_batch({produces!r}, 6)", timeout=300)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("produces", ["y", "x"])
def test_no_byte_outside_many_arrays_is_touched(produces: str) -> None:
    ended = python(f"import test_winograd; test_winograd.pages_batch({produces!r}, 1000)", timeout=1800)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


def test_scratch_is_bounded() -> None:
    for x, w in (((8, 512, 28, 28), (512, 512, 3, 3)), ((1, 64, 512, 512), (64, 64, 3, 3)), ((1, 1024, 20, 20), (1024, 1024, 3, 3))):
        plan = jj.plan(x, w, padding=1, algorithm="winograd")
        assert plan.scratch <= 4 << 20, str(plan)


# Its code -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dense", "dense, channels last", "signal"])
@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
def test_kernels_are_freestanding(name: str, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    spec, *_ = layer(name)
    program = planned(spec, some_tile(spec), 1, machine).program
    packing: Any = program.pack_weights
    for code, emit in ((program.code, program.emit), (packing.code, emit_winograd_weights)):
        text = emit(code, machine.target)
        assert called(assembly(text, machine.target)) == set()
        assert 0 < len(compile_ir(text, machine.target)) < 64 << 10


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("name", ["dense", "dense, channels last", "groups"])
def test_every_kind_of_vector(name: str, vectors: str) -> None:
    machine = machine_with(vectors)
    spec, x, w, bias = layer(name)
    y = planned(spec, (4, 4), 40, machine)(x, w, bias)
    expected = reference.conv(dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64")), x, w, bias)
    assert (np.abs(y - expected) <= allowed(spec, (4, 4), reference.magnitude(spec, x, w, bias), expected)).all()


@pytest.mark.parametrize("vectors", VECTORS)
def test_the_product_is_multiply_adds_alone(vectors: str) -> None:
    machine = machine_with(vectors)
    spec = describe((1, 56, 56, 64), (3, 3, 64, 256), padding=1, layout="channels_last")
    found = {(s.tiles, s.vectors): s for s in schedules(spec, (2, 2), machine)}  # the transforms of F(2) have only coefficients of ±1
    for (rows, across), schedule in found.items():
        program = winograd.work_of(spec, "y", machine, (2, 2)).jobs[0].program(schedule)
        text = program.emit(program.code, machine.target)
        assert multiply_adds(text, f"<{machine.vector_bits // 32} x float>") == rows * across
        inner = innermost(assembly(text, machine.target), r"\bvfmadd\d+ps\b")
        vector = re.findall(r"^\s+(v\w+)\s+(.*)$", inner, re.MULTILINE)
        assert sum(name.startswith("vfmadd") for name, _ in vector) == rows * across
        assert {name for name, _ in vector if not name.startswith("vfmadd")} <= {"vbroadcastss", "vmovups", "vmovaps"}
        assert not any("(%rsp" in operands for _, operands in vector), inner


def test_one_piece_of_code_serves_every_size() -> None:
    codes = set()
    for height, width, padding, boundary, batch in ((56, 56, 1, "zero", 1), (57, 41, 0, "zero", 3), (80, 33, 2, "reflect", 8)):
        spec = describe((batch, 64, height, width), (64, 64, 3, 3), padding=padding, boundary=boundary)
        schedule = next(s for s in schedules(spec, (4, 4)) if (s.tiles, s.vectors) == (6, 4) or (s.tiles, s.vectors) == (3, 4))
        codes.add(winograd.work_of(spec, "y", machines.probe(), (4, 4)).jobs[0].program(schedule).code)
    assert len(codes) == 1


# The planner ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w", "arguments", "reason"),
    [
        ((1, 8, 20, 20), (8, 8, 3, 3), {"stride": 2}, "stride 1"),
        ((1, 8, 20, 20), (8, 8, 8, 2), {}, "27 points"),
        ((1, 8, 20, 20), (8, 8, 1, 1), {}, "its smallest tile"),
        ((1, 8, 9, 9, 9), (8, 8, 4, 4, 4), {}, "125 points"),
        ((1, 8, 20, 20), (8, 8, 3, 1), {}, "only its first axis"),
        ((1, 8, 20, 20), (8, 8, 3, 3), {"dtype": "int16"}, "exact"),
        ((1, 8, 20, 20), (18, 18, 8, 8, 3, 3), {"sharing": "local"}, "weights are shared"),
        ((1, 8, 20, 20), (8, 8, 3, 3), {"gradient": "weight"}, "no gradients of weights"),
    ],
)
def test_what_it_does_not_compute(x: tuple[int, ...], w: tuple[int, ...], arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotBuiltError, match=reason):
        jj.plan(x, w, algorithm="winograd", **arguments)


def test_strict_keeps_it_out_and_says_so() -> None:
    shapes = (1, 64, 56, 56), (64, 64, 3, 3)
    assert jj.plan(*shapes, padding=1).algorithm == "winograd"
    strict = jj.plan(*shapes, padding=1, precision="strict")
    assert strict.algorithm == "direct"
    assert "not     winograd: its error is larger than the direct sum's" in str(strict)
    with pytest.raises(NotBuiltError, match="precision is strict"):
        jj.plan(*shapes, padding=1, algorithm="winograd", precision="strict")


def test_a_plan_tells_its_tile_and_what_was_slower() -> None:
    text = str(jj.plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1))
    assert "plan    winograd: F(4×4, 3×3), tile " in text
    assert "not     direct: " in text
    assert "expected for one image" in text


@pytest.mark.parametrize(
    ("channels", "size", "features", "algorithm"),
    [(64, 56, 64, "winograd"), (256, 14, 256, "winograd"), (1, 200, 8, "direct"), (3, 224, 64, "direct"), (512, 2, 512, "direct")],
)
def test_it_is_chosen_where_it_pays_whatever_batch_and_layout(channels: int, size: int, features: int, algorithm: str) -> None:
    for batch, layout in itertools.product((1, 8), LAYOUTS):
        first = layout == "channels_first"
        x = (batch, channels, size, size) if first else (batch, size, size, channels)
        w = (features, channels, 3, 3) if first else (3, 3, channels, features)
        assert jj.plan(x, w, padding=1, layout=layout).algorithm == algorithm


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_small_picture_takes_longer_tiles_than_wide_ones(batch: int, layout: str) -> None:
    first = layout == "channels_first"
    x, w = ((batch, 512, 7, 7), (512, 512, 3, 3)) if first else ((batch, 7, 7, 512), (3, 3, 512, 512))
    assert "F(2×4, 3×3)" in str(jj.plan(x, w, padding=1, layout=layout, algorithm="winograd"))


def test_taps_far_apart_take_tiles_of_every_residue() -> None:
    plan = jj.plan((1, 256, 32, 32), (256, 256, 3, 3), padding=12, dilation=12)  # 144 pictures of 3×3 or less
    assert plan.algorithm == "winograd"
    assert plan.seconds < jj.plan((1, 256, 32, 32), (256, 256, 3, 3), padding=12, dilation=12, algorithm="direct").seconds / 2


@pytest.mark.parametrize("innermost", [False, True])
def test_tiles_cover_every_output_once(innermost: bool) -> None:
    for m, dilation, out in itertools.product((2, 3, 4), (1, 2, 5), range(1, 40)):
        axis = Axis(m, 3, dilation, innermost)
        count = axis.tiles(out)
        places = [axis.first(tile) + j * dilation for tile in range(count) for j in range(m)]
        assert sorted(place for place in places if place < out) == list(range(out))
        assert max(places) < axis.padded(out)
        for first in range(0, count, dilation):  # chunks as panels and buffers hold them
            for tiles in {count - first, min(dilation, count - first)}:
                for held, number, at in ((axis.lines(tiles), axis.n, axis.line), (axis.outputs(tiles), m, axis.output)):
                    assert {at(tile, j) for tile in range(tiles) for j in range(number)} <= set(range(held))


def test_infinities_stay_in_their_tiles_and_strict_ones_in_their_windows() -> None:
    x, w = np.ones((1, 32, 64, 64), np.float32), np.ones((64, 32, 3, 3), np.float32)
    x[0, 0, 30, 30] = np.inf
    strict = jj.conv(x, w, precision="strict")
    assert np.isposinf(strict[0, 0]).sum() == 9
    assert not np.isnan(strict).any()
    y = jj.conv(x, w, algorithm="winograd")
    assert not np.isfinite(y[0, :, 28:31, 28:31]).any()
    assert np.isfinite(y[0, :, :20, :20]).all()


def test_transposed_convolutions_apply_their_epilogue() -> None:
    rng = np.random.default_rng(3)
    x, w, bias = (rng.standard_normal(s).astype(np.float32) for s in ((2, 40, 15, 17), (40, 24, 3, 3), (24,)))
    for boundary in ("zero", "reflect"):
        arguments: dict[str, Any] = {"padding": 1, "boundary": boundary, "activation": "relu"}
        y = jj.conv_transpose(x, w, bias, algorithm="winograd", **arguments)
        np.testing.assert_allclose(y, jj.conv_transpose(x, w, bias, algorithm="direct", **arguments), atol=2e-4)
