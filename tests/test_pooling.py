"""Pooling of every kind against its definition, forward and backward, and against figures worked out by hand."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import python
from guarded import beside, guarded, scratch
from juanji import elementwise, run
from juanji import machine as machines
from juanji import pooler as poolers
from juanji import reference_pooling as reference
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.jit.compile import compile_ir
from juanji.machine import Machine
from juanji.pooler import Pooler, pooler
from juanji.windows import Bins, Pooling, Sliding
from strategies import Array
from test_codegen import ARM, machine_with

FLOATS = ("float16", "float32", "float64")
WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
LONGEST = {1: 70, 2: 40, 3: 20, 4: 18}  # of the innermost axis, by how many there are: longer than two vectors where there are few
POWERS = (1.0, 2.0, 3.0, 1.5, math.inf)


# Random members of the family ------------------------------------------------------------------------------------------


@st.composite
def axes(draw: st.DrawFn, longest: int) -> Sliding | Bins:
    size = draw(st.integers(1, longest))
    if draw(st.integers(0, 3)) == 0:
        out = draw(st.integers(1, min(size + 2, 9)))
        return Bins(size, out) if size % out else Sliding(size, size // out, size // out)
    window, dilation = draw(st.integers(1, 5) | st.integers(6, 40)), draw(st.sampled_from((1, 1, 1, 2, 3)))
    stride = draw(st.integers(1, 4) | st.integers(5, 12))
    low, high = (draw(st.integers(0, (window - 1) * dilation // 2)) for _ in range(2))
    high += max((window - 1) * dilation + 1 - low - size - high, 0)
    return Sliding(size, window, stride, dilation, low, high, draw(st.booleans()))


@st.composite
def poolings(draw: st.DrawFn, kinds: tuple[str, ...] = ("max", "avg", "lp"), dtypes: tuple[str, ...] = (*FLOATS, *WHOLE)) -> Pooling:
    n = draw(st.sampled_from((1, 2, 2, 2, 3, 4)))
    lengths = [*(draw(st.integers(1, 9 if n < 3 else 4)) for _ in range(n - 1)), LONGEST[n]]
    for _ in range(50):
        fields: dict[str, Any] = {
            "axes": tuple(draw(axes(length)) for length in lengths),
            "kind": draw(st.sampled_from(kinds)),
            "batch": draw(st.integers(1, 2)),
            "channels": draw(st.sampled_from((1, 2, 3, 17, 37)) if n < 3 else st.integers(1, 3)),
            "layout": draw(st.sampled_from(("channels_first", "channels_last"))),
            "dtype": draw(st.sampled_from(dtypes)),
            "padding_counts": draw(st.booleans()),
            "p": draw(st.sampled_from(POWERS)),
        }
        try:
            return Pooling(**fields)
        except ShapeError:  # a window in the padding
            continue
    raise AssertionError("no valid description in fifty")


def numbers(pooling: Pooling, seed: int) -> Array:
    """Small whole numbers, so that there are ties and float16 holds sums; now and then a NaN, an infinity, a least value."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(pooling.dtype).kind
    x = rng.integers(0 if kind in "ub" else -3, 4, pooling.x_shape)
    array: Array = x > 0 if kind == "b" else x.astype(pooling.dtype)
    if pooling.kind == "max" and seed % 3 == 0 and kind != "b":
        extremes = [math.nan, math.inf, -math.inf, -0.0] if kind == "f" else [np.iinfo(pooling.dtype).min, np.iinfo(pooling.dtype).max]
        places = rng.random(array.shape) < 0.15
        array[places] = rng.choice(np.array(extremes, pooling.dtype), np.count_nonzero(places))
    return array


def forward(plan: Pooler, x: Array, places: bool, threads: int | None = None) -> tuple[Array, Array | None]:
    """What `pool` and `adaptive_pool` do once they have a plan."""
    found = poolers.forward(plan, x, False, None, places, None, threads)
    return found if places else (found, None)


def backward(plan: Pooler, x: Array, dy: Array, places: Array | None = None, threads: int | None = None) -> Array:
    return poolers.backward(plan, x, dy, False, None, places, None, threads)


def assert_close(got: Array, wanted: Array, dtype: str, terms: int) -> None:
    eps = float(np.finfo(dtype).eps)
    scale = max(float(np.abs(wanted).max()), 1.0) if wanted.size else 1.0
    np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=0, atol=2 * scale * eps * (terms + 8))


def terms(pooling: Pooling) -> int:
    return math.prod(int(axis.windows.count.max()) for axis in pooling.axes)


def check(pooling: Pooling, seed: int, machine: Machine | None = None) -> None:
    plan = pooler(pooling) if machine is None else Pooler(pooling, machine)
    x = numbers(pooling, seed)
    y, places = forward(plan, x, pooling.kind == "max", threads=1 + seed % 3)
    assert (y.shape, y.dtype.name) == (pooling.y_shape, pooling.y_dtype)
    if pooling.kind == "max":
        np.testing.assert_array_equal(y, reference.pool(pooling, x))
        np.testing.assert_array_equal(places, reference.indices(pooling, x))
        alone, _ = forward(plan, x, False)
        np.testing.assert_array_equal(alone, y)
    else:
        assert_close(y, reference.pool(pooling, x), "float32" if pooling.dtype == "float32" else y.dtype.name, terms(pooling))
    if pooling.dtype in FLOATS:
        dy = np.random.default_rng(seed).integers(-4, 5, pooling.y_shape).astype(pooling.dtype)
        wanted = reference.gradient(pooling, x, dy)
        dx = backward(plan, x, dy, places, threads=1 + seed % 3)
        assert (dx.shape, dx.dtype.name) == (pooling.x_shape, pooling.dtype)
        if pooling.kind == "max":
            np.testing.assert_array_equal(dx, wanted)
            np.testing.assert_array_equal(backward(plan, x, dy), wanted)
        else:
            assert_close(dx, wanted, pooling.dtype, 2 * terms(pooling))


@settings(max_examples=100)
@given(pooling=poolings(), seed=st.integers(0, 999))
def test_any_description(pooling: Pooling, seed: int) -> None:
    check(pooling, seed)


@pytest.mark.slow
@settings(max_examples=3000)
@given(pooling=poolings(), seed=st.integers(0, 999))
def test_thousands_of_descriptions(pooling: Pooling, seed: int) -> None:
    check(pooling, seed)


@pytest.mark.parametrize("vectors", ["avx2", "avx512, 256 bits", "avx512"])
@settings(max_examples=25)
@given(pooling=poolings(dtypes=("float32", "float64", "float16", "uint8", "int64")), seed=st.integers(0, 999))
def test_every_kind_of_vector(vectors: str, pooling: Pooling, seed: int) -> None:
    check(pooling, seed, machine_with(vectors))


LARGE = {  # sizes with several of everything: items, bands, shares of the channels, blocks of columns
    "long signal": Pooling((Sliding(12_003, 5, 2, 1, 2, 2),)),
    "long signal, one window": Pooling((Sliding(12_003, 12_003),), channels=2),
    "long signal, transposed stride": Pooling((Sliding(9_011, 7, 3, 1, 1, 3),), "avg"),
    "picture": Pooling((Sliding(131, 3, 2, 1, 1, 1), Sliding(167, 3, 2, 1, 1, 1))),
    "many channels": Pooling((Sliding(20, 3, 1, 1, 1, 1), Sliding(19, 3, 1, 1, 1, 1)), channels=300, layout="channels_last", batch=2),
    "large windows": Pooling((Sliding(61, 40), Sliding(90, 50)), "avg", channels=3, layout="channels_last"),
    "one window, elements left over": Pooling((Sliding(40, 9, 40),), channels=70),
    "global": Pooling((Sliding(56, 56), Sliding(57, 57)), "avg", channels=70, batch=2),
    "global, channels last": Pooling((Sliding(56, 56), Sliding(57, 57)), channels=70, batch=2, layout="channels_last"),
    "large stride": Pooling((Sliding(50, 17, 17), Sliding(300, 21, 21)), "avg", channels=3),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_sizes(name: str) -> None:
    for dtype in ("float32", "uint8"):
        check(dataclasses.replace(LARGE[name], dtype=dtype), seed=len(name))


# Figures by hand -------------------------------------------------------------------------------------------------------

PLANE = np.array([[3.0, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [3, 2, 3, 8, 4], [6, 2, 6, 4, 3]])[None, None]


def test_maxima_and_their_places() -> None:
    """Three windows of a PyTorch user: overlapping and padded, past the end, dilated. The places are flat in the plane."""
    for arguments, values, places in (
        ({"size": 3, "stride": 2, "padding": 1}, [[9, 6, 5], [9, 9, 9], [6, 8, 8]], [[5, 7, 4], [5, 12, 14], [20, 18, 18]]),
        ({"size": 2, "ceil_mode": True}, [[9, 6, 5], [8, 9, 9], [6, 6, 3]], [[5, 7, 4], [11, 12, 14], [20, 22, 24]]),
        (
            {"size": 2, "stride": 1, "dilation": 2},
            [[9, 8, 9], [9, 8, 6], [9, 8, 9]],
            [[12, 11, 12], [5, 18, 7], [12, 11, 12]],
        ),
    ):
        y, found = jj.pool(PLANE, **arguments, return_indices=True)
        np.testing.assert_array_equal(y[0, 0], values)
        np.testing.assert_array_equal(found[0, 0], places)
        assert found.dtype == np.int64


def test_averages_with_and_without_the_padding() -> None:
    for arguments, values in (
        ({"stride": 2, "count_include_pad": True}, [[15 / 9, 19 / 9, 14 / 9], [29 / 9, 50 / 9, 36 / 9], [13 / 9, 25 / 9, 19 / 9]]),
        ({"stride": 2}, [[15 / 4, 19 / 6, 14 / 4], [29 / 6, 50 / 9, 36 / 6], [13 / 4, 25 / 6, 19 / 4]]),
        ({"stride": 3, "ceil_mode": True, "count_include_pad": True}, [[15 / 9, 24 / 9], [26 / 9, 53 / 9]]),
        ({"stride": 3, "ceil_mode": True}, [[15 / 4, 24 / 6], [26 / 6, 53 / 9]]),
    ):
        y = jj.pool(PLANE, 3, padding=1, kind="avg", **arguments)
        np.testing.assert_allclose(y[0, 0], values, rtol=1e-14)


def test_windows_past_the_end_count_what_is_there() -> None:
    y = jj.pool(PLANE[..., :4, :4], 2, stride=3, kind="avg", ceil_mode=True, count_include_pad=True)
    np.testing.assert_allclose(y[0, 0], [[3.75, 3], [2.5, 8]])


def test_a_window_may_not_start_beyond_the_end() -> None:
    assert jj.pool(np.zeros((1, 1, 5)), 2, stride=3, ceil_mode=True).shape == (1, 1, 2)
    assert jj.pool(np.zeros((1, 1, 5)), 1, stride=5, padding=((0, 1),), ceil_mode=True).shape == (1, 1, 1)


def test_norms() -> None:
    x = np.array([[[[3.0, -4], [0, 12]]]])
    for p, norm in ((1, 19.0), (2, 13.0), (3, (27 + 64 + 1728) ** (1 / 3)), (math.inf, 12.0)):
        np.testing.assert_allclose(jj.pool(x, 2, kind="lp", p=p), norm, rtol=1e-14)


def test_adaptive_windows() -> None:
    np.testing.assert_allclose(jj.adaptive_pool(PLANE, (2, 3), kind="avg")[0, 0], [[28 / 6, 43 / 9, 5], [26 / 6, 49 / 9, 35 / 6]])
    y, places = jj.adaptive_pool(PLANE, (2, 3), return_indices=True)
    np.testing.assert_array_equal(y[0, 0], [[9, 9, 9], [8, 9, 9]])
    np.testing.assert_array_equal(places[0, 0], [[5, 12, 14], [11, 12, 14]])


def test_a14_pooling_keeps_channels_apart() -> None:
    """Maximum, average, L2 norm, and an average weighted by the distance from the centre."""
    x = np.stack([np.arange(16.0).reshape(4, 4), -np.arange(16.0).reshape(4, 4)])[None]
    for kind, weights, first in (("max", None, 5), ("avg", None, 2.5), ("lp", None, math.sqrt(42)), ("weighted", "gaussian", 2.5)):
        y = jj.pool(x, 2, kind=kind, weights=weights)
        assert y.shape == (1, 2, 2, 2)
        np.testing.assert_allclose(y[0, 0, 0, 0], first)
        np.testing.assert_array_equal(y[0, 1], jj.pool(x[:, 1:], 2, kind=kind, weights=weights)[0, 0])
        last = jj.pool(x.transpose(0, 2, 3, 1), 2, kind=kind, weights=weights, layout="channels_last")
        np.testing.assert_allclose(last.transpose(0, 3, 1, 2), y)


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_a15_pyramids_of_any_picture_have_one_length(kind: str, layout: str) -> None:
    for height, width in ((4, 4), (13, 7), (224, 199), (1, 3)):
        x = np.random.default_rng(height).random((2, 3, height, width) if layout == "channels_first" else (2, height, width, 3))
        y = jj.pyramid_pool(x, (1, 2, 4), kind=kind, layout=layout)
        assert y.shape == (2, 21 * 3)
        np.testing.assert_array_equal(y[:, :3], jj.adaptive_pool(x, 1, kind=kind, layout=layout).reshape(2, 3))
    assert jj.pyramid_pool(np.ones((1, 2, 9)), (1, 2, 4)).shape == (1, 7 * 2)


def test_d3_errors_go_back_to_where_the_maxima_were() -> None:
    """2×2 regions whose maxima stand top left, bottom right, top right, bottom left."""
    x = np.array([[[[9.0, 1, 1, 1], [1, 1, 1, 9], [1, 9, 1, 1], [1, 1, 9, 1]]]])
    dy = np.array([[[[1.0, 2], [3, 4]]]])
    np.testing.assert_array_equal(jj.pool_grad(x, dy, 2)[0, 0], [[1, 0, 0, 0], [0, 0, 0, 2], [0, 3, 0, 0], [0, 0, 4, 0]])
    spread = np.repeat(np.repeat(dy, 2, 2), 2, 3)
    np.testing.assert_array_equal(jj.pool_grad(x, dy, 2, kind="avg"), spread / 4)
    np.testing.assert_allclose(jj.pool_grad(x, dy, 2, kind="lp"), spread * x / math.sqrt(84))
    np.testing.assert_allclose(jj.pool_grad(x, dy, 2, kind="weighted", weights="linear"), spread / 4)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_overlapping_windows_add_up_at_a_shared_maximum(layout: str) -> None:
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    x = np.broadcast_to(x, (1, 5, 3, 3))
    x = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
    dx = jj.pool_grad(x, np.ones((1, 5, 2, 2) if layout == "channels_first" else (1, 2, 2, 5)), 2, stride=1, layout=layout)
    np.testing.assert_array_equal(dx, 4 * x)


# Special values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_ties_nan_and_least_values(layout: str) -> None:
    rows: Any = [[1.0, 1, 1], [2, math.nan, math.nan], [-math.inf, -math.inf, -math.inf], [math.nan, 5, 9], [3, 7, 7], [0.0, -0.0, 0.0]]
    wanted: list[float] = [1, math.nan, -math.inf, math.nan, 7, 0]
    places = [0, 1, 0, 0, 1, 0]
    for width in (3, 40):  # 40: lanes that reach over many windows
        x = np.full((1, len(rows), width), -math.inf, np.float32)
        x[0, :, :3] = rows
        x = x if layout == "channels_first" else x.transpose(0, 2, 1)
        y, found = jj.pool(x, width, padding=width // 2, stride=2 * width, layout=layout, return_indices=True)
        np.testing.assert_array_equal(y.ravel(), wanted)
        np.testing.assert_array_equal(found.ravel(), places)
        y, found = jj.adaptive_pool(x, 1, layout=layout, return_indices=True)
        np.testing.assert_array_equal(y.ravel(), wanted)
        np.testing.assert_array_equal(found.ravel(), places)


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
def test_nan_and_infinity_reach_only_their_windows(kind: str) -> None:
    x = np.ones((1, 1, 6, 40), np.float32)
    x[0, 0, 2, 17] = math.nan
    y = jj.pool(x, 2, kind=kind)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 1, 8]]
    x[0, 0, 2, 17] = math.inf
    y = jj.pool(x, 3, stride=1, padding=1, kind=kind)
    assert np.isinf(y).sum() == 9
    assert not np.isnan(y).any()


def test_the_gradient_of_a_norm_is_zero_where_the_norm_is() -> None:
    x = np.zeros((1, 1, 4), np.float32)
    x[..., 3] = 2
    for p in (1.5, 2, 3):
        np.testing.assert_allclose(jj.pool_grad(x, np.ones((1, 1, 2), np.float32), 2, kind="lp", p=p)[0, 0], [0, 0, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("at_end", [False, True])
def test_ratios_are_zero_where_the_divisor_is(dtype: str, at_end: bool) -> None:
    extremes = [0.0, -0.0, math.nan, math.inf, -math.inf, 3.0, 1e-45]
    grid = np.array([(a, b) for a in extremes for b in extremes], dtype)
    one, other, ratio = *(beside(column, at_end) for column in grid.T), guarded((len(grid),), dtype, at_end)
    elementwise.ready(("ratio", 0, 1), [one, other], ratio, 1)()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(ratio, np.where(other == 0, 0, one / other))


def test_the_share_of_an_error_is_rounded_once_where_windows_are_alike() -> None:
    x = np.zeros((1, 1, 12, 15), np.float32)
    dy = np.array([[[[0.1, 3, 7, 1e-30, -5], [1, 2, 0.3, 9, 1e30]]]], np.float32)
    expected = np.repeat(np.repeat(dy * np.float32(1 / 18), 6, axis=2), 3, axis=3)
    for layout, axis in (("channels_first", 1), ("channels_last", -1)):
        dx = jj.pool_grad(np.moveaxis(x, 1, axis), np.moveaxis(dy, 1, axis), (6, 3), kind="avg", layout=layout)
        np.testing.assert_array_equal(np.moveaxis(dx, axis, 1), expected)


def test_an_average_of_equal_values_is_that_value() -> None:
    x = np.full((1, 1, 30, 50), 0.1, np.float32)
    for window in (2, 4):
        np.testing.assert_array_equal(jj.pool(x, window, kind="avg"), np.float32(0.1))
    np.testing.assert_array_equal(jj.pool(np.full((1, 1, 30, 50), 7, np.float32), 3, stride=1, padding=1, kind="avg"), 7)


# Gradients -------------------------------------------------------------------------------------------------------------

CASES: dict[str, dict[str, Any]] = {
    "plain": {"size": 2},
    "overlapping": {"size": (3, 2), "stride": (2, 1), "padding": ((1, 0), (1, 1))},
    "dilated": {"size": 2, "stride": 2, "dilation": (1, 2), "padding": 1, "ceil_mode": True},
    "gaps": {"size": 2, "stride": 3},
}
KINDS: dict[str, dict[str, Any]] = {
    "max": {},
    "avg": {"kind": "avg"},
    "avg with padding": {"kind": "avg", "count_include_pad": True},
    "l1": {"kind": "lp", "p": 1},
    "l2": {"kind": "lp"},
    "l3": {"kind": "lp", "p": 3},
    "gaussian": {"kind": "weighted", "weights": ("gaussian", 0.7)},
    "linear": {"kind": "weighted", "weights": "linear"},
}


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_finite_differences(case: str, kind: str, layout: str) -> None:
    """Values far apart, so that a small step moves no maximum and crosses no zero."""
    arguments = {**CASES[case], **KINDS[kind], "layout": layout}
    rng = np.random.default_rng(5)
    x = (rng.permutation(2 * 3 * 7 * 6) - 125.5).reshape((2, 3, 7, 6) if layout == "channels_first" else (2, 7, 6, 3))
    y = jj.pool(x, **arguments)
    dy, direction = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    step = 1e-4
    difference = (jj.pool(x + step * direction, **arguments) - jj.pool(x - step * direction, **arguments)) / (2 * step)
    np.testing.assert_allclose(np.sum(jj.pool_grad(x, dy, **arguments) * direction), np.sum(dy * difference), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["avg", "avg with padding", "gaussian", "linear"])
@pytest.mark.parametrize("case", CASES)
def test_linear_kinds_have_exact_adjoints(case: str, kind: str) -> None:
    """⟨Ax, y⟩ = ⟨x, Aᵀy⟩."""
    arguments = {**CASES[case], **KINDS[kind]}
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 3, 9, 20))
    y = rng.standard_normal(jj.pool(x, **arguments).shape)
    np.testing.assert_allclose(np.sum(jj.pool(x, **arguments) * y), np.sum(x * jj.pool_grad(x, y, **arguments)), rtol=1e-12)


def test_what_the_forward_pass_found_saves_the_search() -> None:
    rng = np.random.default_rng(7)
    for layout in ("channels_first", "channels_last"):
        x = rng.standard_normal((2, 6, 8, 4))
        y, places = jj.pool(x, 3, stride=2, padding=1, layout=layout, return_indices=True)
        dy = rng.standard_normal(y.shape)
        arguments = {"size": 3, "stride": 2, "padding": 1, "layout": layout}
        np.testing.assert_array_equal(jj.pool_grad(x, dy, indices=places, **arguments), jj.pool_grad(x, dy, **arguments))
        norm = jj.pool(x, kind="lp", **arguments)
        np.testing.assert_array_equal(jj.pool_grad(x, dy, kind="lp", y=norm, **arguments), jj.pool_grad(x, dy, kind="lp", **arguments))


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_gradients_of_adaptive_pooling_and_pyramids(layout: str) -> None:
    rng = np.random.default_rng(8)
    x = rng.permutation(2 * 3 * 7 * 6).reshape((2, 3, 7, 6) if layout == "channels_first" else (2, 7, 6, 3)) + 0.5
    direction, step = rng.standard_normal(x.shape), 1e-4
    for kind in ("max", "avg", "lp"):
        for function, gradient, size in (
            (jj.adaptive_pool, jj.adaptive_pool_grad, (3, 4)),
            (jj.adaptive_pool, jj.adaptive_pool_grad, 1),
            (jj.pyramid_pool, jj.pyramid_pool_grad, (1, 2, 4)),
        ):
            dy = rng.standard_normal(function(x, size, kind=kind, layout=layout).shape)
            ends = [function(x + sign * step * direction, size, kind=kind, layout=layout) for sign in (1, -1)]
            slope = np.sum(dy * (ends[0] - ends[1])) / (2 * step)
            np.testing.assert_allclose(np.sum(gradient(x, dy, size, kind=kind, layout=layout) * direction), slope, rtol=1e-6)


# Weighted means --------------------------------------------------------------------------------------------------------


def test_weights() -> None:
    x = np.zeros((1, 1, 5, 7))
    x[0, 0, 2, 3] = 1
    y = jj.pool(x, (3, 5), kind="weighted", weights="linear", stride=1)[0, 0]
    high, wide = np.array([1, 2, 1]) / 2, np.array([1, 2, 3, 2, 1]) / 3
    np.testing.assert_allclose(y, np.outer(high, wide)[:, 1:4] / (high.sum() * wide.sum()))
    y = jj.pool(x, 4, kind="weighted", weights="gaussian", stride=1)[0, 0]
    bell = np.exp(-(np.array([1.5, 0.5, 0.5, 1.5]) ** 2) / 2)  # sigma = 4/4
    np.testing.assert_allclose(y[0, 0], bell[2] * bell[3] / bell.sum() ** 2)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16"])
def test_weighted_means_divide_by_the_weights_inside(layout: str, dtype: str) -> None:
    rng = np.random.default_rng(9)
    axes = (Sliding(8, 3, 2, 1, 1, 1, True), Sliding(21, 4, 3, 2, 2, 3))
    pooling = Pooling(axes, "weighted", 2, 5, layout, dtype)
    x = rng.integers(-9, 9, pooling.x_shape).astype(dtype)
    w = rng.random((3, 4)) + 0.1
    arguments: dict[str, Any] = {"stride": (2, 3), "dilation": (1, 2), "padding": ((1, 1), (2, 3)), "layout": layout, "ceil_mode": True}
    arguments |= {"kind": "weighted", "weights": w}
    y = jj.pool(x, (3, 4), **arguments)
    wanted = dataclasses.replace(pooling, axes=(axes[0], dataclasses.replace(axes[1], ceil=True)))
    assert_close(y, reference.pool(wanted, x, w), dtype if dtype != "int16" else "float64", 12)
    if dtype != "int16":
        dy = rng.standard_normal(y.shape).astype(dtype)
        assert_close(jj.pool_grad(x, dy, (3, 4), **arguments), reference.gradient(wanted, x, dy, w), dtype, 24)


# Unpooling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "int64", "bool"])
def test_unpooling_puts_values_back(dtype: str) -> None:
    rng = np.random.default_rng(10)
    y = rng.integers(0, 2 if dtype == "bool" else 100, (2, 37, 3, 4)).astype(dtype)
    places = rng.integers(0, 6 * 9, y.shape)  # some places twice: the later value stays
    wanted = reference.unpool(y, places, (6, 9))
    assert wanted.dtype == y.dtype
    np.testing.assert_array_equal(jj.unpool(y, places, (6, 9)), wanted)
    np.testing.assert_array_equal(jj.unpool(y[1], places[1], (6, 9)), wanted[1])
    np.testing.assert_array_equal(jj.unpool(y, places, (2, 37, 6, 9)), wanted)
    last = jj.unpool(np.moveaxis(y, 1, -1), np.moveaxis(places, 1, -1), (6, 9), layout="channels_last")
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), wanted)


def test_unpooling_undoes_pooling_at_the_maxima() -> None:
    y, places = jj.pool(PLANE, 2, return_indices=True)
    x = jj.unpool(y, places, (5, 5))
    assert x.sum() == 9 + 6 + 8 + 9
    np.testing.assert_array_equal(x[x > 0], PLANE[x > 0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_errors_that_are_fetched_or_sent_add_up_to_the_same_bits(dtype: str) -> None:
    over, strided = Sliding(13, 5, 1, 1, 2, 2), Sliding(14, 3, 2, 1, 1, 1)
    tables: list[tuple[Sliding | Bins, ...]] = [(over, over), (strided, strided), (Bins(13, 4), over), (Sliding(70, 20),)]
    for axes in tables:
        pooling = Pooling(axes, batch=2, channels=150, layout="channels_last", dtype=dtype)
        x, dy = (np.random.default_rng(2).standard_normal(shape).astype(dtype) for shape in (pooling.x_shape, pooling.y_shape))
        found = []
        for fetches in (False, True):
            plan = Pooler(pooling, machines.probe())
            plan.__dict__["fetches"] = fetches
            found.append(backward(plan, x, dy))
        first = dataclasses.replace(pooling, layout="channels_first")
        turned = backward(pooler(first), np.moveaxis(x, -1, 1), np.ascontiguousarray(np.moveaxis(dy, -1, 1)))
        for other in (found[1], np.moveaxis(turned, 1, -1)):
            np.testing.assert_array_equal(np.ascontiguousarray(other).view(np.uint8), found[0].view(np.uint8))


@pytest.mark.parametrize("channels", [100, 512])
def test_errors_of_small_windows_are_fetched(channels: int) -> None:
    machine = dataclasses.replace(machines.probe(), l2=2 << 20)

    def fetches(*axes: Sliding | Bins) -> bool:
        return Pooler(Pooling(axes, channels=channels, layout="channels_last"), machine).fetches

    assert fetches(Sliding(14, 2, 2), Sliding(14, 2, 2))
    assert not fetches(Sliding(13, 5, 1, 1, 2, 2), Sliding(13, 5, 1, 1, 2, 2))
    assert not fetches(Bins(13, 4), Bins(13, 4))
    assert fetches(Sliding(200, 3, 1, 1, 1, 1), Sliding(200, 3, 1, 1, 1, 1))  # of which places and errors come from memory


@pytest.mark.parametrize("wrong", [-1, 400, 2**40])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_a_single_place_outside_its_plane_is_found(layout: str, wrong: int) -> None:
    """Wherever it stands, by every way of using places: found anew for each element, or sent in blocks, vectors and single ones."""
    pooling = Pooling((Sliding(20, 3, 1, 1, 1, 1), Sliding(20, 3, 1, 1, 1, 1)), channels=37, layout=layout)
    overlapping = dataclasses.replace(pooling, axes=(Sliding(20, 5, 1, 1, 2, 2),) * 2)  # of which 25 windows meet an element
    x = numbers(pooling, 1)
    for one in (pooling, overlapping):
        plan = pooler(one)
        _, places = forward(plan, x, True)
        assert places is not None
        backward(plan, x, x, places)
        for where in (0, 511, 512, 37 * 400 - 1, 37 * 123 + 36):
            bad = places.copy()
            bad.flat[where] = wrong
            with pytest.raises(ArgumentError, match="must lie between 0 and 399"):
                backward(plan, x, x, bad)
            with pytest.raises(ArgumentError, match="must lie between 0 and 399"):
                jj.unpool(x, bad, (20, 20), layout=layout)


# Arrays ----------------------------------------------------------------------------------------------------------------

JOBS = {
    "lanes along rows": Pooling((Sliding(23, 3, 2, 1, 1, 1), Sliding(45, 3, 2, 1, 1, 1)), batch=3, channels=5),
    "lanes along channels": Pooling((Sliding(23, 3, 2, 1, 1, 1), Sliding(45, 3, 1, 1, 1, 1)), batch=3, channels=37, layout="channels_last"),
    "one window": Pooling((Sliding(23, 23), Sliding(45, 45)), batch=3, channels=5),
    "one window of many planes": Pooling((Sliding(23, 23), Sliding(45, 45)), batch=3, channels=21),
    "unequal windows of many planes": Pooling((Bins(23, 4), Bins(45, 4)), batch=3, channels=21),
    "unequal windows": Pooling((Bins(23, 4), Bins(45, 4)), batch=3, channels=5),
    "small unequal windows of many planes": Pooling((Bins(9, 4), Bins(11, 5)), batch=3, channels=21),
    "large windows of many planes": Pooling((Sliding(24, 8, 8), Sliding(41, 8, 8)), batch=3, channels=21),
    "windows over windows": Pooling((Sliding(13, 5, 1, 1, 2, 2),) * 2, batch=3, channels=5),
    "small windows, channels last": Pooling((Sliding(20, 2, 2), Sliding(21, 2, 2)), batch=3, channels=37, layout="channels_last"),
    "windows over windows, channels last": Pooling((Sliding(13, 5, 1, 1, 2, 2),) * 2, batch=3, channels=150, layout="channels_last"),
    "long signal": Pooling((Sliding(10_000, 5, 3),), batch=3, channels=2),
    "small planes": Pooling((Sliding(7, 3, 2, 1, 1, 1), Sliding(9, 3, 2, 1, 1, 1)), batch=3, channels=21),
}


def everything(pooling: Pooling, x: Array, threads: int | None = None) -> list[Array]:
    """Values, places and gradients, whatever of them the kind has."""
    plan = pooler(pooling)
    dy = np.random.default_rng(0).standard_normal(pooling.y_shape).astype(pooling.dtype)[: len(x)]
    if pooling.batch != len(x):
        plan = pooler(dataclasses.replace(pooling, batch=len(x)))
    y, places = forward(plan, x, pooling.kind == "max", threads)
    return [y, backward(plan, x, dy, None, threads), *([] if places is None else [places])]


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
@pytest.mark.parametrize("name", JOBS)
def test_bits_do_not_depend_on_threads_batch_or_strides(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pooling = dataclasses.replace(JOBS[name], kind=kind)
    x = np.random.default_rng(1).standard_normal(pooling.x_shape).astype(np.float32)
    monkeypatch.setattr(run, "THREAD_CYCLES", 1.0)  # small work on several threads too
    wanted = everything(pooling, x, threads=1)
    room = np.full((6, *(2 * n + 3 for n in x.shape[1:])), np.nan, np.float32)
    gaps = room[(slice(0, 6, 2), *(slice(1, 1 + 2 * n, 2) for n in x.shape[1:]))]
    gaps[...] = x
    backwards = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    fortran = np.asfortranarray(x)
    swapped = x.astype(x.dtype.newbyteorder())
    for other in (gaps, backwards, fortran, swapped):
        same = poolers.numbers("x", other)
        for got, expected in zip(everything(pooling, same, threads=3), wanted, strict=True):
            np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8))
    for got, expected in zip(everything(pooling, x[1:2]), everything(pooling, x)[:1], strict=False):
        np.testing.assert_array_equal(got[0], expected[1])


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_results_go_where_they_are_wanted(layout: str) -> None:
    x = np.random.default_rng(2).standard_normal((2, 6, 6, 6)).astype(np.float32)
    wanted = jj.pool(x, 2, layout=layout)
    out = np.zeros_like(wanted)
    assert jj.pool(x, 2, layout=layout, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    gaps = np.zeros((*wanted.shape[:-1], 2 * wanted.shape[-1]), np.float32)[..., ::2]
    assert jj.pool(x, 2, layout=layout, out=gaps) is gaps
    np.testing.assert_array_equal(gaps, wanted)
    inside = x.copy()
    overlapping = inside[tuple(slice(n) for n in wanted.shape)]
    jj.pool(inside, 2, layout=layout, out=overlapping)
    np.testing.assert_array_equal(overlapping, wanted)
    single = np.zeros_like(wanted[0])
    assert jj.pool(x[0], (2, 2), layout=layout, out=single) is single
    np.testing.assert_array_equal(single, wanted[0])


def test_without_a_batch() -> None:
    x = np.random.default_rng(3).standard_normal((3, 8, 10))
    y, places = jj.pool(x, (2, 2), return_indices=True)
    assert y.shape == places.shape == (3, 4, 5)
    np.testing.assert_array_equal(y, jj.pool(x[None], 2)[0])
    assert jj.pool_grad(x, y, (2, 2), indices=places).shape == x.shape
    assert jj.adaptive_pool(x, (1, 1)).shape == (3, 1, 1)
    assert jj.pool(x, 2).shape == (3, 8, 5)  # an integer: one spatial axis, and a batch of 3


@pytest.mark.parametrize("kind", ["max", "avg", "lp", "weighted"])
def test_an_empty_batch(kind: str) -> None:
    x, weights = np.zeros((0, 3, 8, 8), np.float32), "linear" if kind == "weighted" else None
    y = jj.pool(x, 2, kind=kind, weights=weights)
    assert y.shape == (0, 3, 4, 4)
    assert jj.pool_grad(x, y, 2, kind=kind, weights=weights).shape == x.shape
    assert jj.pyramid_pool(x).shape == (0, 63)
    assert jj.unpool(y, np.zeros(y.shape, np.int64), (8, 8)).shape == x.shape


def test_the_tables_meet_every_loop() -> None:
    met = set()
    for pooling in (*LARGE.values(), *JOBS.values()):
        plan = pooler(pooling)
        met |= {reducer.kernel.code.lanes for reducer in (plan.forward, plan.spread)}
    assert met == {"channels", "planes", "whole", "slide", "spread", "run", "steps"}
    plans = [pooler(pooling) for pooling in JOBS.values()]
    codes = [plan.forward.kernel.code for plan in plans]
    assert {(code.lanes, code.lined) for code in codes} >= {("planes", False), ("planes", True)}
    assert {code.together > 1 for code in codes if code.lanes == "slide"} == {False, True}
    assert {(plan.fetches, plan.sender.kernel.code.beside) for plan in plans} == {(False, 1), (False, 2), (True, 1)}


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
@pytest.mark.parametrize("name", JOBS)
def test_what_is_asked_for_ahead_changes_nothing(name: str, kind: str) -> None:
    pooling = dataclasses.replace(JOBS[name], kind=kind)
    x, dy = (np.random.default_rng(3).standard_normal(shape).astype(np.float32) for shape in (pooling.x_shape, pooling.y_shape))
    results = []
    for l2 in (1 << 40, 1):  # nothing lies beyond the second cache, or everything
        plan = Pooler(pooling, dataclasses.replace(machines.probe(), l2=l2))
        results.append((forward(plan, x, False)[0], backward(plan, x, dy)))
        assert plan.sender.kernel.code.far == (l2 == 1 and pooling.layout == "channels_first")
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(got.view(np.uint8), wanted.view(np.uint8))


def test_a_new_size_compiles_nothing() -> None:
    for layout in ("channels_first", "channels_last"):
        first = Pooler(Pooling((Sliding(112, 3, 2, 1, 1, 1),) * 2, channels=64, layout=layout), machines.probe())
        second = Pooler(Pooling((Sliding(255, 3, 2, 1, 0, 1),) * 2, "max", 3, 21, layout), machines.probe())
        for name in ("forward", "with_places", "spread"):
            if name != "spread" or layout == "channels_last":  # a spread knows its low padding modulo the stride
                assert getattr(first, name).kernel.code == getattr(second, name).kernel.code


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int64"])
@pytest.mark.parametrize("name", JOBS)
def test_code_for_another_processor_calls_nothing(name: str, dtype: str) -> None:
    """Linking refuses what would have to come from outside."""
    machine = dataclasses.replace(machines.probe(), target=ARM)
    for kind in ("max", "lp"):
        plan = Pooler(dataclasses.replace(JOBS[name], kind=kind, dtype=dtype), machine)
        backward = (plan.spread, plan.spread_times, plan.spread_means, plan.sender) if dtype == "float32" else ()
        for each in (plan.forward, plan.with_places, *backward):
            assert compile_ir(each.kernel.emit(each.kernel.code, ARM), ARM)


# Memory ----------------------------------------------------------------------------------------------------------------


def beside_pages(pooling: Pooling, at_end: bool, machine: Machine | None = None) -> None:
    """Everything that a kernel reads and writes beside protected pages."""
    print(repr(pooling), at_end, flush=True)
    plan = pooler(pooling) if machine is None else Pooler(pooling, machine)
    x = beside(numbers(pooling, 1), at_end)
    setattr(run._thread, "scratch", lambda size: scratch(size, at_end))  # noqa: B010
    y, places = guarded(pooling.y_shape, pooling.y_dtype, at_end), guarded(pooling.y_shape, np.int64, at_end)
    if pooling.kind == "max":
        plan.with_places(x, y, places, 1)
        np.testing.assert_array_equal(y, reference.pool(pooling, x))
        np.testing.assert_array_equal(places, reference.indices(pooling, x))
    code = plan.forward.kernel.code
    plan.forward(beside(x.astype(code.x), at_end), guarded(pooling.y_shape, code.y, at_end), None, 1)
    if pooling.dtype in FLOATS and pooling.dtype == plan.total:
        dy, dx = beside(np.ones(pooling.y_shape, plan.total), at_end), guarded(pooling.x_shape, plan.total, at_end)
        plan.spread(dy, dx, None, 1)
        scaled = guarded(pooling.x_shape, plan.total, at_end)
        plan.spread_times(dy, scaled, x, 1)
        np.testing.assert_array_equal(scaled, dx * x)
        plan.spread_means(dy, scaled, None, 1)
        assert_close(scaled, reference.gradient(dataclasses.replace(pooling, kind="avg"), x, dy), pooling.dtype, terms(pooling))
        if pooling.kind == "max" and pooling.layout == "channels_last" and pooling.channels > 1:
            plan.matched(dy, dx, places, 1)
            np.testing.assert_array_equal(dx, reference.gradient(pooling, x, dy))
        if pooling.kind == "max":
            np.testing.assert_array_equal(backward(plan, x, dy, places), reference.gradient(pooling, x, dy))


def guarded_run(vectors: str | None) -> None:
    machine = None if vectors is None else machine_with(vectors)

    @settings(max_examples=60, database=None, deadline=None)
    @given(pooling=poolings(dtypes=("float32", "float64", "uint8", "float16", "int64")), at_end=st.booleans())
    def each(pooling: Pooling, at_end: bool) -> None:
        beside_pages(pooling, at_end, machine)

    for name in ("global", "global, channels last", "large windows", "large stride"):
        for at_end in (True, False):
            beside_pages(LARGE[name], at_end, machine)
    each()


@pytest.mark.parametrize("vectors", [None, "avx2"])
def test_nothing_outside_the_arrays_is_touched(vectors: str | None) -> None:
    if vectors is not None:
        machine_with(vectors)  # skips where there is none
    ended = python(f"import test_pooling; test_pooling.guarded_run({vectors!r})")
    last = ended.stdout.strip().splitlines()[-1:]
    assert ended.returncode == 0, f"exit status {ended.returncode} at {last}\n{ended.stderr[-3000:]}"


# Errors ----------------------------------------------------------------------------------------------------------------

X = np.zeros((1, 2, 6, 6), np.float32)
DY = np.zeros((1, 2, 3, 3), np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "kind": (lambda: jj.pool(X, 2, kind="mean"), ArgumentError, "kind (='mean') must be one of max, avg, lp, weighted"),
    "layout": (lambda: jj.pool(X, 2, layout="NCHW"), ArgumentError, "layout (='NCHW') must be one of channels_first, channels_last"),
    "window too large": (lambda: jj.pool(X, 7), ShapeError, "window of size 7, but axis 0 is 6 + 0 + 0 padding = 6"),
    "dilated": (lambda: jj.pool(X, 4, dilation=3), ShapeError, "window of size 4 with dilation 3 spans 10, but axis 0 is 6 + 0 + 0"),
    "only padding": (lambda: jj.pool(X, 2, padding=2), ShapeError, "window 0 of axis 0 (from -2 to -1) meets only padding"),
    "between": (lambda: jj.pool(X[..., :1, :1], 2, dilation=3, padding=2), ShapeError, "(from -2 in steps of 3) meets only padding"),
    "size 0": (lambda: jj.pool(X, 0), ArgumentError, "size (=0) must be at least 1"),
    "stride 0": (lambda: jj.pool(X, 2, stride=0), ArgumentError, "stride (=0) must be at least 1"),
    "float": (lambda: jj.pool(X, 2.0), ArgumentError, "size (=2.0) must be an integer"),
    "axes": (lambda: jj.pool(X, (2, 2, 2, 2)), ShapeError, "x of shape (1, 2, 6, 6) must have a channel axis and 4 spatial axes"),
    "no batch": (lambda: jj.pool(X[0, 0], 2), ShapeError, "for an integer size"),
    "p": (lambda: jj.pool(X, 2, kind="lp", p=0.5), ArgumentError, "p (=0.5) must be a number of at least 1"),
    "p NaN": (lambda: jj.pool(X, 2, kind="lp", p=math.nan), ArgumentError, "p (=nan) must be a number of at least 1"),
    "complex": (lambda: jj.pool(X + 1j, 2), DtypeError, "x has dtype complex64, but must be bool, an integer, float16"),
    "weights missing": (lambda: jj.pool(X, 2, kind="weighted"), ArgumentError, "weights must be given for kind 'weighted'"),
    "weights needless": (lambda: jj.pool(X, 2, weights="linear"), ArgumentError, "weights are given, but kind (='max') is not 'weighted'"),
    "weights unknown": (lambda: jj.pool(X, 2, kind="weighted", weights="cubic"), ArgumentError, "weights (='cubic') must be 'gaussian'"),
    "weights shape": (lambda: jj.pool(X, 2, kind="weighted", weights=[1.0]), ShapeError, "weights of shape (1,) must have the window's"),
    "weights zero": (lambda: jj.pool(X, 2, kind="weighted", weights=[[1, -1], [0, 0]]), ArgumentError, "weights must have a finite sum"),
    "sigma": (lambda: jj.pool(X, 2, kind="weighted", weights=("gaussian", 0)), ArgumentError, "must have a sigma above 0"),
    "places of a mean": (lambda: jj.pool(X, 2, kind="avg", return_indices=True), ArgumentError, "return_indices is meant for kind 'max'"),
    "adaptive weighted": (lambda: jj.adaptive_pool(X, 2, kind="weighted"), ArgumentError, "must be max, avg or lp"),
    "levels": (lambda: jj.pyramid_pool(X, ()), ArgumentError, "levels (=()) must be a sequence of at least one integer"),
    "pyramid dy": (lambda: jj.pyramid_pool_grad(X, np.zeros((1, 41))), ShapeError, "dy has shape (1, 41)"),
    "pyramid dy long": (lambda: jj.pyramid_pool_grad(X, np.zeros((1, 43))), ShapeError, "dy has shape (1, 43)"),
    "gradient dtype": (lambda: jj.pool_grad(X.astype(int), DY, 2), DtypeError, "x has dtype int64, but a gradient needs float16"),
    "dy shape": (lambda: jj.pool_grad(X, DY[..., :2], 2), ShapeError, "dy has shape (1, 2, 3, 2), but the output has (1, 2, 3, 3)"),
    "indices range": (lambda: jj.pool_grad(X, DY, 2, indices=np.full(DY.shape, 36)), ArgumentError, "indices from 36 to 36 must lie"),
    "indices below": (lambda: jj.unpool(DY, np.full(DY.shape, -1), (6, 6)), ArgumentError, "indices from -1 to -1 must lie"),
    "indices dtype": (lambda: jj.unpool(DY, DY, (6, 6)), DtypeError, "indices have dtype float32, but must be integers"),
    "indices shape": (lambda: jj.unpool(DY, np.zeros((3, 3), int), (6, 6)), ShapeError, "indices have shape (3, 3), but must have"),
    "indices of a mean": (lambda: jj.pool_grad(X, DY, 2, kind="avg", indices=DY), ArgumentError, "indices are meant for kind 'max'"),
    "y of a maximum": (lambda: jj.pool_grad(X, DY, 2, y=DY), ArgumentError, "y is meant for kind 'lp'"),
    "unpool shape": (lambda: jj.unpool(DY, DY.astype(int), (6,)), ShapeError, "shape (=(6,)) must name the spatial axes of y"),
    "out shape": (lambda: jj.pool(X, 2, out=np.zeros((1, 2, 3, 4), np.float32)), ShapeError, "out has shape (1, 2, 3, 4), but"),
    "out dtype": (lambda: jj.pool(X, 2, out=np.zeros((1, 2, 3, 3))), DtypeError, "out has dtype float64, but the result has float32"),
    "threads": (lambda: jj.pool(X, 2, threads=0), ArgumentError, "threads (=0) must be an integer of at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_one_line(name: str) -> None:
    call, kind, words = WRONG[name]
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
