"""Fourier tiles against the definition: every tile of random descriptions, their error, their bits, their memory, when they are chosen."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import juanji as jj
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import reference, run
from juanji.algorithms import fft
from juanji.algorithms.fft_tiles import Fft, candidates
from juanji.algorithms.problem import Problem
from juanji.contraction import lower
from juanji.describe import describe
from juanji.errors import NotBuiltError
from juanji.image.prepared import prepare
from juanji.jit.compile import assembly, compile_ir
from juanji.machine import Machine
from juanji.planner import plan_for
from juanji.plans import Plan
from juanji.spec import Convolution
from strategies import Array, convolutions, operands
from test_bits import same_bits
from test_bounds import ENDS, STARTS, Sides, batch
from test_codegen import ARM, VECTORS, called, machine_with, on

SMALL = 64 * 32  # places of a tile that random descriptions are computed by: larger ones take longer to compile and to run
Case = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]
# Sizes with several tiles, strips, segments, phases, parts, depth entries or blocks of features, and tails of each.
LARGE: dict[str, Case] = {
    "picture": ((2, 1, 131, 741), (1, 1, 13, 11), {"padding": "same", "boundary": "reflect"}),
    "picture of one row": ((1, 1, 1, 700), (1, 1, 3, 41), {"padding": "same", "boundary": "symmetric"}),
    "narrow picture": ((1, 1, 300, 5), (1, 1, 33, 7), {"padding": "full", "boundary": ("constant", 2)}),
    "colour": ((1, 1, 97, 131, 3), (1, 1, 15, 17, 1), {"padding": ((7, 7), (8, 8), (0, 0)), "boundary": ("wrap", "edge", "zero")}),
    "dilated": ((1, 1, 150, 139), (1, 1, 9, 11), {"dilation": (5, 3), "padding": 4, "boundary": "wrap"}),
    "kernel in parts": ((1, 1, 60, 90), (1, 1, 101, 75), {"padding": "same", "boundary": "symmetric"}),
    "kernel as large as the input": ((1, 2, 61, 67), (3, 2, 61, 67), {"bias": True}),
    "kernel beyond the input": ((1, 1, 20, 30), (1, 1, 45, 51), {"padding": ((30, 25), (40, 35)), "boundary": "reflect"}),
    "dense": ((2, 7, 75, 83), (6, 7, 13, 15), {"padding": 6, "bias": True, "activation": "relu"}),
    "dense, channels last": ((2, 75, 83, 7), (13, 15, 7, 6), {"padding": 6, "bias": True, "layout": "channels_last"}),
    "groups": ((1, 6, 70, 75), (9, 2, 11, 11), {"groups": 3, "padding": "full", "flip": True}),
    "depthwise": ((2, 5, 64, 75), (5, 1, 31, 31), {"groups": 5, "padding": "same", "bias": True, "activation": "tanh"}),
    "depthwise, last": ((2, 64, 75, 5), (31, 31, 1, 5), {"groups": 5, "padding": "same", "layout": "channels_last"}),
    "signal": ((3, 1, 50_003), (1, 1, 400), {"padding": "same", "boundary": "reflect"}),
    "signal, kernel in parts": ((1, 1, 9000), (1, 1, 5000), {"padding": "full", "flip": True}),
    "signals, several channels": ((2, 3, 5001), (5, 3, 129), {"padding": "causal", "bias": True}),
    "signals, last": ((2, 3001, 3), (129, 3, 5), {"padding": "same", "layout": "channels_last", "boundary": "edge"}),
    "rows": ((1, 2, 9, 3001), (3, 2, 1, 200), {"padding": "same", "stride": (2, 1)}),
    "volume": ((1, 2, 9, 40, 75), (2, 2, 3, 9, 11), {"padding": "same", "boundary": ("wrap", "zero", "reflect"), "stride": (2, 1, 1)}),
    "four axes": ((1, 1, 3, 4, 30, 40), (1, 1, 2, 2, 7, 9), {"padding": 1, "boundary": ("zero", ("constant", 3), "edge", "wrap")}),
}  # fmt: skip
BYTES = ("picture", "colour", "dense, channels last", "signal")  # of these, computed from bytes too


def tiles(spec: Convolution, machine: Machine | None = None) -> list[Fft]:
    """The schedules of every size for a description."""
    problem = Problem(lower(spec), spec.dtypes, spec.epilogue, machine or machines.probe(), overflow=spec.overflow)
    return [schedule for schedule, _ in candidates(problem, every=True)]


def tiled(spec: Convolution, schedule: Fft, machine: Machine | None = None) -> Plan:
    """The plan that computes a description by a given schedule."""
    machine = machine or machines.probe()
    return Plan(spec, "y", "fft", fft.work(spec, "y", machine), [(schedule, 1.0)], machine, {})


def assert_close(spec: Convolution, schedule: Fft, y: Array, x: Array, w: Array, bias: Array | None) -> None:
    """y is the sum, but for ε·log₂ N times the largest |x| and the norm of a feature's weights, and what its type rounds.

    The definition adds n terms one by one, by which it is itself off by some √n/4 ε of float64: of long float64 sums more than the tiles.
    """
    wide = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    expected = reference.conv(wide, x.astype(np.float64), w.astype(np.float64), bias)
    feature = np.moveaxis(w.astype(np.float64), -1 if spec.weight_layout == "*IO" else 0, 0).reshape(spec.features, -1)
    largest = max(np.abs(x.astype(np.float64)).max(), *(abs(b.value) for b in spec.boundary))
    eps = float(np.finfo(spec.dtypes.sum).eps)
    size = largest * np.linalg.norm(feature, axis=1).max()
    bound = eps * (math.log2(schedule.high * schedule.wide) * size + 4 * np.abs(expected) + 4)
    bound += 2.0**-52 * math.sqrt(feature.shape[1]) / 4 * size
    assert (y.shape, y.dtype.name) == (spec.y_shape, spec.dtypes.y)
    if y.dtype.kind == "u":
        expected, bound = np.clip(expected, 0, np.iinfo(spec.dtypes.y).max), bound + 0.5
    wrong = np.abs(y.astype(np.float64) - expected) > bound
    first = f"{y[wrong][0]} is not {expected[wrong][0]} ± {bound[wrong][0]}" if wrong.any() else ""
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size} by {schedule}, the first at {np.argwhere(wrong)[0]}: {first}"


@st.composite
def members(draw: st.DrawFn) -> tuple[Convolution, Fft]:
    """A description that is accepted, and one of its smaller tiles."""
    spec = draw(convolutions(dtypes=("float32", "float32", "float64", "uint8", "uint16"), taps=draw(st.booleans())))
    stride = tuple(step if draw(st.integers(0, 3)) == 0 else 1 for step in spec.stride)
    spec = dataclasses.replace(spec, stride=stride)
    assume(fft.accepts(spec, "y") is None)
    return spec, draw(st.sampled_from([s for s in tiles(spec) if s.high * s.wide <= SMALL]))


def check(member: tuple[Convolution, Fft], seed: int) -> None:
    spec, schedule = member
    event(f"{'line' if schedule.line else 'plane'}, {'depth' if schedule.features else 'alone'}")
    x, w, bias = operands(spec, seed)
    out = np.empty(math.prod(spec.y_shape) + 16, spec.dtypes.y)[seed % 16 :][: math.prod(spec.y_shape)].reshape(spec.y_shape)
    assert_close(spec, schedule, tiled(spec, schedule)(x, w, bias, threads=1 + seed % 3, out=out), x, w, bias)


@settings(max_examples=40)
@given(member=members(), seed=st.integers(0, 999))
def test_any_tile_computes_the_description(member: tuple[Convolution, Fft], seed: int) -> None:
    check(member, seed)


@pytest.mark.slow
@settings(max_examples=2000)
@given(member=members(), seed=st.integers(0, 999))
def test_thousands_of_tiles_compute_their_descriptions(member: tuple[Convolution, Fft], seed: int) -> None:
    check(member, seed)


def described(name: str, dtype: str) -> Convolution:
    x, w, arguments = LARGE[name]
    return describe(x, w, dtype=dtype, w_dtype="float32" if dtype == "uint8" else dtype, **arguments)


def sampled(spec: Convolution, machine: Machine | None = None) -> Iterator[Fft]:
    """The smallest tiles and middling ones."""
    found = sorted(tiles(spec, machine), key=lambda s: (s.high * s.wide, s.high))
    yield from (found[0], found[len(found) // 3])


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float32") for name in LARGE), *((name, "uint8") for name in BYTES)])
def test_large_sizes(name: str, dtype: str) -> None:
    spec = described(name, dtype)
    x, w, bias = operands(spec, seed=1)
    for schedule in sampled(spec):
        assert_close(spec, schedule, tiled(spec, schedule)(x, w, bias), x, w, bias)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LARGE)
def test_large_sizes_by_every_tile(name: str, dtype: str) -> None:
    spec = described(name, dtype)
    x, w, bias = operands(spec, seed=2)
    for schedule in tiles(spec):
        assert_close(spec, schedule, tiled(spec, schedule)(x, w, bias), x, w, bias)


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("name", ["picture", "dense, channels last", "signal"])
def test_every_kind_of_vector(name: str, vectors: str) -> None:
    machine, spec = machine_with(vectors), described(name, "float32")
    x, w, bias = operands(spec, seed=3)
    for schedule in sampled(spec, machine):
        assert_close(spec, schedule, tiled(spec, schedule, machine)(x, w, bias), x, w, bias)


# Error ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w"),
    [((700, 800), (11, 11)), ((700, 800), (31, 31)), ((500, 600), (61, 61)), ((1, 200_000), (1, 300)), ((1, 200_000), (1, 9000))],
)
def test_error_of_float32_is_below_a_millionth_of_the_largest_output(x: tuple[int, int], w: tuple[int, int]) -> None:
    rng = np.random.default_rng(w[1])
    for draw, most in ((rng.standard_normal, 5e-7), (rng.random, 1e-6)):
        a, k = draw(x, dtype=np.float32), draw(w, dtype=np.float32)
        exact = jj.conv(a[None].astype(np.float64), k[None, None].astype(np.float64), algorithm="fft")
        y = jj.conv(a[None], k[None, None], algorithm="fft")
        assert np.abs(y - exact).max() < most * np.abs(exact).max()


def test_error_of_float64() -> None:
    rng = np.random.default_rng(5)
    a, k = rng.standard_normal((1, 160, 170)), rng.standard_normal((1, 1, 21, 21))
    y, direct = jj.conv(a, k, algorithm="fft"), jj.conv(a, k, algorithm="direct")
    assert 0 < np.abs(y - direct).max() < 4e-15 * np.abs(direct).max()


# Bits -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["picture", "colour", "dense", "depthwise", "signal", "volume"])
def test_threads_batch_and_views_do_not_show_in_the_bits(name: str) -> None:
    x_shape, w_shape, arguments = LARGE[name]
    arguments = {key: value for key, value in arguments.items() if key != "bias"} | {"algorithm": "fft"}
    rng = np.random.default_rng(6)
    x = rng.standard_normal((3, *x_shape[1:]), dtype=np.float32)
    w = rng.standard_normal(w_shape, dtype=np.float32)
    expected = jj.conv(x, w, threads=1, **arguments)
    for threads in (2, 3, 5):
        assert same_bits(jj.conv(x, w, threads=threads, **arguments), expected)
    assert same_bits(jj.conv(x[1:2], w, **arguments), expected[1:2])
    assert same_bits(jj.conv(x[2], w, **arguments), expected[2])
    gaps = np.full((3, x_shape[1] + 1, *x_shape[2:-1], x_shape[-1] + 5), np.nan, np.float32)
    gaps[:, : x_shape[1], ..., 3:-2] = x
    assert same_bits(jj.conv(gaps[:, : x_shape[1], ..., 3:-2], w, **arguments), expected)


@pytest.mark.parametrize("name", ["dense", "depthwise", "signals, several channels"])
def test_layouts_do_not_show_in_the_bits(name: str) -> None:
    x_shape, w_shape, arguments = LARGE[name]
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal(x_shape, dtype=np.float32), rng.standard_normal(w_shape, dtype=np.float32)
    arguments = {key: value for key, value in arguments.items() if key != "bias"} | {"algorithm": "fft"}
    last = jj.conv(np.moveaxis(x, 1, -1), w, layout="channels_last", weight_layout="OI*", **arguments)
    assert same_bits(np.ascontiguousarray(np.moveaxis(last, -1, 1)), jj.conv(x, w, **arguments))


def test_runs_of_tiles_do_not_show_in_the_bits() -> None:
    spec = described("picture", "float32")
    x, w, _ = operands(spec, seed=8)
    schedule = next(sampled(spec))
    expected = tiled(spec, schedule)(x, w)
    for run_of in (1, 3):
        assert same_bits(tiled(spec, dataclasses.replace(schedule, run=run_of))(x, w), expected)


# Memory -----------------------------------------------------------------------------------------------------------------------


def compute(spec: Convolution, schedule: Fft, sides: Sides) -> None:
    """Run a schedule with everything that it touches beside protected pages."""
    print(spec, repr(spec), schedule, sides, sep="\n", flush=True)
    x, w, bias = operands(spec, seed=1)
    plan = tiled(spec, schedule)
    expected = plan(x, w, bias)
    (part,) = plan.parts
    program = part.program
    part.program = dataclasses.replace(
        program,
        pack_weights=lambda array: beside(program.pack_weights(array), sides.w),
        pack_bias=lambda array: beside(program.pack_bias(array), sides.bias),
    )
    type(run._thread).scratch = lambda self, size: scratch(size, sides.scratch)  # type: ignore[method-assign,assignment,return-value]
    y = guarded(spec.y_shape, spec.dtypes.y, sides.y)
    plan(beside(x, sides.x), beside(w, sides.w), None if bias is None else beside(bias, sides.bias), out=y)
    assert same_bits(y, expected)


def random_batch(examples: int) -> None:
    """Random descriptions, tiles and places."""

    @settings(max_examples=examples, deadline=None, database=None)
    @given(member=members(), sides=st.builds(Sides, *[st.booleans()] * 5))
    def draw(member: tuple[Convolution, Fft], sides: Sides) -> None:
        compute(*member, sides)

    draw()


def large_batch(dtype: str, names: list[str]) -> None:
    """Several of everything."""
    for name in names:
        spec = described(name, dtype)
        for schedule in sampled(spec):
            for sides in (ENDS, STARTS):
                compute(spec, schedule, sides)


def test_no_access_outside_random() -> None:
    batch("random_batch(20)", "test_fft")


@pytest.mark.parametrize(("dtype", "names"), [("float32", list(LARGE)), ("uint8", list(BYTES))])
def test_no_access_outside(dtype: str, names: list[str]) -> None:
    batch(f"large_batch({dtype!r}, {names!r})", "test_fft")


@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
@pytest.mark.parametrize("name", ["picture", "dense, channels last", "signal"])
def test_kernels_are_freestanding(name: str, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    spec = described(name, "uint8" if name == "picture" else "float32")
    plan = tiled(spec, next(sampled(spec, machine)), machine)
    text: str = plan.program.emit(plan.program.code, machine.target)
    assert called(assembly(text, machine.target)) == set()
    assert 0 < len(compile_ir(text, machine.target)) < 64 << 10


# Gradient of the input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["zero", "reflect", ("wrap", "edge")])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradient_of_the_input(boundary: Any, groups: int) -> None:
    rng = np.random.default_rng(9)
    dy, w = rng.standard_normal((2, 4, 60, 71), dtype=np.float32), rng.standard_normal((4, 6 // groups, 13, 11), dtype=np.float32)
    arguments: dict[str, Any] = {"padding": (6, 5), "boundary": boundary, "groups": groups}
    dx = jj.conv_grad_input(dy, w, (2, 6, 60, 71), algorithm="fft", **arguments)
    exact = jj.conv_grad_input(dy.astype(np.float64), w.astype(np.float64), (2, 6, 60, 71), algorithm="direct", **arguments)
    assert np.abs(dx - exact).max() < 1e-6 * np.abs(exact).max()


def test_transposed_convolution_with_its_epilogue() -> None:
    rng = np.random.default_rng(10)
    x, w = rng.standard_normal((2, 4, 60, 71), dtype=np.float32), rng.standard_normal((4, 3, 13, 11), dtype=np.float32)
    bias = rng.standard_normal(3, dtype=np.float32)
    y = [jj.conv_transpose(x, w, bias, activation="relu", padding=3, algorithm=algorithm) for algorithm in ("fft", "direct")]
    np.testing.assert_allclose(y[0], y[1], atol=1e-6 * np.abs(y[1]).max())


# Choice -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w", "expected"),
    [
        ((1, 1, 2160, 3840), (1, 1, 31, 31), "fft"),
        ((1, 1, 2160, 3840), (1, 1, 5, 5), "direct"),
        ((1, 1, 24, 24), (1, 1, 15, 15), "direct"),
        ((1, 1, 1 << 20), (1, 1, 1000), "fft"),
        ((1, 1, 1 << 20), (1, 1, 16), "direct"),
        ((1, 64, 56, 56), (64, 64, 31, 31), "fft"),
        ((1, 8, 56, 56), (8, 8, 1, 1), "direct"),
    ],
)
def test_it_is_chosen_where_it_is_faster(x: tuple[int, ...], w: tuple[int, ...], expected: str) -> None:
    assert plan_for(describe(x, w, padding="same")).algorithm == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_has_tiles(dtype: str) -> None:
    machine = machines.probe()
    for k in (*range(1, 80), 97, 150, 192, 193, 300, 1000, 49_000, 50_000, 200_000):
        for shape in ((k,), (k, min(k, 300)), (1, k), (2, 3, min(k, 400))):
            spec = describe((1, 1, *shape), (1, 1, *shape), dtype=dtype, padding="full")
            if fft.accepts(spec, "y") is None:
                assert fft.work(spec, "y", machine).preparing > 0, shape


def test_the_plan_says_so() -> None:
    text = str(jj.plan((1, 1, 700, 800), (1, 1, 31, 31), padding="same", algorithm="fft"))
    assert "plan    fft: tiles " in text
    assert "bytes of scratch per thread" in text
    assert any("the kernel in 4 parts" in str(schedule) for schedule in tiles(described("kernel in parts", "float32")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "int16"}, "integers are summed exactly"),
        ({"dtype": "uint8"}, "integers are summed exactly"),
        ({"stride": 2}, "stride 2×2"),
        ({"dilation": (1, 9), "padding": 99}, "dilation 9"),
        ({"precision": "strict"}, "precision is strict"),
        ({"gradient": "weight"}, "gradients of weights are not built"),
        ({"gradient": "input", "stride": 2}, "gradients of a stride are not built"),
        ({"sharing": "local"}, "no common spectrum"),
    ],
)
def test_refusals(arguments: dict[str, Any], words: str) -> None:
    w = (86, 86, 1, 1, 15, 15) if arguments.get("sharing") == "local" else (1, 1, 15, 15)
    with pytest.raises(NotBuiltError, match=words):
        jj.plan((1, 1, 100, 100), w, algorithm="fft", **arguments)


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(NotBuiltError, match="spectra of one tile's channels would take"):
        jj.plan((1, 20_000, 40, 40), (1, 20_000, 15, 15), algorithm="fft")


def test_strict_keeps_a_nan_in_its_windows() -> None:
    x = np.zeros((1, 300, 300), np.float32)
    x[0, 150, 150] = np.nan
    w = np.ones((1, 1, 31, 31), np.float32)
    assert np.isnan(jj.conv(x, w, precision="strict")).sum() == 31 * 31
    assert np.isnan(jj.conv(x, w, algorithm="fft")).sum() > 31 * 31


def test_skipped_taps_keep_a_nan_out_of_floats_only() -> None:
    disk = (np.hypot(*np.mgrid[-15:16, -15:16]) <= 15).astype(np.float32)[None, None]
    with pytest.raises(NotBuiltError, match="a tap that is skipped"):
        jj.plan((1, 1, 500, 600), disk, algorithm="fft")
    rng = np.random.default_rng(11)
    picture = rng.integers(0, 256, (500, 600), dtype=np.uint8)
    kernel = disk[0, 0] / disk.sum()
    y = jj.image.filter(picture, kernel)
    exact = jj.image.filter(picture.astype(np.float64), kernel.astype(np.float64))
    assert (np.abs(y - exact) <= 0.5 + 1e-4).all()


def test_pictures_whose_sums_are_exact_stay_exact() -> None:
    rng = np.random.default_rng(14)
    picture = rng.integers(0, 256, (200, 311), dtype=np.uint8)

    def summed(side: int) -> Array:
        low = side // 2
        padded = np.pad(picture.astype(np.int64), (low, side - 1 - low), "reflect")
        windows: Array = np.lib.stride_tricks.sliding_window_view(padded, (side, side)).sum(axis=(-1, -2))
        return windows

    np.testing.assert_array_equal(jj.image.filter(picture, np.full((16, 16), 1 / 256)), np.rint(summed(16) / 256))
    np.testing.assert_array_equal(jj.image.filter(picture, np.ones((31, 31)), dtype="float32"), summed(31))


@pytest.mark.parametrize("shape", [(300, 411), (300, 411, 3)])
def test_pictures(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(12)
    picture = rng.integers(0, 256, shape, dtype=np.uint8)
    kernel = rng.random((31, 31))
    kernel /= kernel.sum()
    exact = jj.image.filter(picture.astype(np.float64), kernel)
    assert prepare(picture, kernel).plan.algorithm == "fft"
    assert (np.abs(jj.image.filter(picture, kernel) - exact) <= 0.5 + 1e-4).all()
    scaled = picture.astype(np.float32) / 255
    assert np.abs(jj.image.filter(scaled, kernel) - exact / 255).max() < 1e-6


def test_bound_weights_are_transformed_once() -> None:
    spec = described("picture", "float32")
    x, w, _ = operands(spec, seed=13)
    plan = tiled(spec, next(sampled(spec)))
    bound, expected = plan.bind(w), plan(x, w)
    w[...] = np.nan
    assert same_bits(bound(x), expected)
