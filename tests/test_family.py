"""Any member of the family, as people call it, against the definition: forward, both gradients, transposed, planned, bound."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from juanji.describe import choose_dtypes
from juanji.errors import NotBuiltError
from juanji.spec import NO_EPILOGUE, Dtypes
from members import FEW_PAIRS, HALVES, Member, assert_is, forward, gradient, members, wide
from strategies import Array
from test_bits import VIEWS, same_bits

FLOAT_PAIRS = [pair for pair in FEW_PAIRS if np.dtype(pair[0]).kind not in "biu"]


class Case:
    """The arrays of a member, and the calls that are made of it."""

    def __init__(self, member: Member):
        self.member, self.spec = member, member.spec
        spec = member.spec
        self.x, self.w = member.numbers(spec.x_shape, spec.dtypes.x, 0), member.numbers(spec.w_shape, spec.dtypes.w, 1)
        self.dy = member.numbers(spec.y_shape, member.dy, 2)
        self.input_shape = spec.x_shape[1:] if member.single else spec.x_shape

    def conv(self, **more: Any) -> Array:
        """The convolution as its user calls it."""
        m, activation = self.member, self.activation
        bias = m.bias(self.spec.bias_shape, self.spec.dtypes)
        seen = m.seen(self.x, 0), m.seen(self.w, 1)
        return m.result(jj.conv(*seen, bias, **m.geometry, activation=activation, out_dtype=m.out_dtype, **more))

    @property
    def terms(self) -> int:
        """Products in one sum."""
        return self.spec.macs // math.prod(self.spec.y_shape)

    @property
    def activation(self) -> Any:
        name, parameter = self.spec.epilogue.activation, self.spec.epilogue.parameter
        return (name, parameter) if name == "leaky_relu" else name

    def gradient(self, produces: str, **more: Any) -> Array:
        m = self.member
        if produces == "x":
            dx = jj.conv_grad_input(m.seen(self.dy, 2), m.seen(self.w, 1), self.input_shape, **m.geometry, **more)
            return m.result(dx)
        dw: Array = jj.conv_grad_weight(m.seen(self.x, 0), m.seen(self.dy, 2), self.spec.w_shape, **m.geometry, **more)
        return dw

    def of(self, produces: str, out: str | None = None) -> Dtypes:
        """The types of a gradient: of what is read, of the sum, of the result."""
        read = (self.dy, self.w) if produces == "x" else (self.x, self.dy)
        return choose_dtypes(read[0].dtype, read[1].dtype, None if out is None else np.dtype(out))

    def gradients_are_right(self, produces: str) -> None:
        read = (self.dy, self.w) if produces == "x" else (self.x, self.dy)
        out = self.member.out_dtype if self.spec.dtypes.integers else None
        of = self.of(produces, out)
        truth = gradient(self.member, produces, *read, of)
        assert_is(lambda: self.gradient(produces, out_dtype=out), truth, of.y, NO_EPILOGUE, self.spec.overflow)

    def transposed_is_right(self) -> None:
        """A transposed convolution is the gradient of the input, a bias per channel and an activation."""
        m, spec = self.member, self.spec
        if m.output_padding is None:
            return
        of = self.of("x")
        name = spec.epilogue.activation if of.sum != "int64" or spec.epilogue.activation in ("relu", "relu6") else None
        epilogue = spec.epilogue._replace(activation=name)
        bias = m.bias((spec.channels,), of)
        spread = bias if bias is None or spec.layout == "channels_last" else bias.reshape(-1, *(1,) * spec.n)
        truth = gradient(m, "x", self.dy, self.w, of).plus(spread)

        def call() -> Array:
            seen = m.seen(self.dy, 2), m.seen(self.w, 1)
            activation = self.activation if name else None
            return m.result(jj.conv_transpose(*seen, bias, **m.geometry, output_padding=m.output_padding, activation=activation))

        assert_is(call, truth, of.y, epilogue, spec.overflow)


def check(member: Member) -> None:
    """Everything of a member."""
    case, spec = Case(member), member.spec
    kept = [array.copy() for array in (case.x, case.w, case.dy)]
    truth = forward(member, case.x, case.w, member.bias(spec.bias_shape, spec.dtypes))
    y = assert_is(case.conv, truth, spec.dtypes.y, spec.epilogue, spec.overflow)
    for right in (partial(case.gradients_are_right, "x"), partial(case.gradients_are_right, "w"), case.transposed_is_right):
        try:
            right()
        except NotBuiltError:  # sums that may leave int64
            assert spec.dtypes.integers
            assert member.values == "any"
    if y is not None:
        planned(case, y)
    if member.values == "whole":
        adjoint(case)
    for array, before in zip((case.x, case.w, case.dy), kept, strict=True):
        assert same_bits(array, before)


def planned(case: Case, y: Array) -> None:
    """A plan, and a plan with its weights, give the bits of the call."""
    m, spec = case.member, case.spec
    bias = m.bias(spec.bias_shape, spec.dtypes)
    if spec.dtypes.x == spec.dtypes.w:
        plan = jj.plan(
            spec.x_shape, spec.w_shape, dtype=spec.dtypes.x, bias=bias is not None, activation=case.activation, out_dtype=m.out_dtype,
            **m.geometry,
        )  # fmt: skip
        assert plan.spec == spec
        assert same_bits(plan(case.x, case.w, bias), y)
        assert same_bits(plan.bind(case.w, bias)(case.x), y)


def adjoint(case: Case) -> None:
    """⟨A x, dy⟩ = ⟨x, Aᵀ dy⟩ = ⟨w, dw⟩ of whole numbers, exactly: A is conv without what a constant outside adds."""
    m, spec = case.member, case.spec
    zero = {name: value for name, value in m.geometry.items() if name not in ("boundary", "overflow")}
    zero["boundary"] = ["zero" if b.constant else b.mode for b in spec.boundary]
    out = {"i": "int64", "f": "float64", "c": "complex128"}["i" if spec.dtypes.integers else "f" if spec.dtypes.sum[0] != "c" else "c"]
    x, w, dy = (a.astype(np.float32) if a.dtype.kind == "V" else a for a in (case.x, case.w, case.dy))
    dy = dy.astype(out) if spec.dtypes.sum[0] == "c" else dy
    y = jj.conv(x, w, out_dtype=out, **zero)
    dx, dw = jj.conv_grad_input(dy, w, x.shape, out_dtype=out, **zero), jj.conv_grad_weight(x, dy, w.shape, out_dtype=out, **zero)
    expected = np.vdot(y, wide(dy).astype(y.dtype))
    assert np.vdot(wide(x).astype(dx.dtype), dx) == expected
    assert np.vdot(wide(w).astype(dw.dtype), dw) == expected


@settings(max_examples=120)
@given(member=members(pairs=FEW_PAIRS, few=True))
def test_any_member(member: Member) -> None:
    check(member)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(20))
@settings(max_examples=1000)
@given(member=members())
def test_twenty_thousand_members(shard: int, member: Member) -> None:
    check(member)


@settings(max_examples=20)
@given(member=members(few=True, float64=True, max_axes=3))
def test_finite_differences(member: Member) -> None:
    """Of Σ e·tanh(conv(x, w)), whose derivative the caller multiplies in, along a random direction of x and of w."""
    case, geometry, seen = Case(member), member.geometry, member.spec
    rng = np.random.default_rng(member.seed)
    x, w, error = (rng.standard_normal(shape) / 4 for shape in (seen.x_shape, seen.w_shape, seen.y_shape))
    y = jj.conv(x, w, activation="tanh", **geometry)
    dy = error * (1 - y * y)
    for produces in "xw":
        found = jj.conv_grad_input(dy, w, x.shape, **geometry) if produces == "x" else jj.conv_grad_weight(x, dy, w.shape, **geometry)
        step = rng.standard_normal(found.shape) * 1e-4
        moved = [(x + t * step, w) if produces == "x" else (x, w + t * step) for t in (1, -1)]
        above, below = (float((error * jj.conv(*pair, activation="tanh", **geometry)).sum()) for pair in moved)
        size = float(np.abs(error).sum() * (1 + np.abs(step).max() * case.terms * 10) ** 3) * 1e-7
        assert abs((above - below) / 2 - float((found * step).sum())) < size


# Bits -------------------------------------------------------------------------------------------------------------------------


def calls(case: Case, x: Array, w: Array, dy: Array, **geometry: Any) -> list[Array]:
    """The output and both gradients, of arrays as they lie."""
    given = case.member.geometry | geometry
    dx = jj.conv_grad_input(dy, w, x.shape, **given)
    return [jj.conv(x, w, activation=case.activation, **given), dx, jj.conv_grad_weight(x, dy, w.shape, **given)]


def normal(member: Member) -> Case:
    """The member with values of all kinds, whose sums show every change of order."""
    return Case(replace(member, values="any", out_dtype=None))


SHARED = members(pairs=FLOAT_PAIRS, few=True).filter(lambda m: m.spec.sites is None)
SITED = members(pairs=FLOAT_PAIRS, few=True).filter(lambda m: m.spec.sites is not None)


@settings(max_examples=25)
@given(member=SHARED)
def test_one_tile_is_shared_and_a_tile_per_position_is_local(member: Member) -> None:
    case, spec = normal(member), member.spec
    sites = (1,) * spec.n
    shared = calls(case, case.x, case.w, case.dy)
    tiled = calls(case, case.x, case.w.reshape(sites + case.w.shape), case.dy, sharing="tiled")
    for one, other in zip(shared, tiled, strict=True):
        assert same_bits(one, other.reshape(one.shape))
    many = np.random.default_rng(member.seed).standard_normal(spec.output + case.w.shape).astype(case.w.dtype)
    local = calls(case, case.x, many, case.dy, sharing="local")
    for one, other in zip(local, calls(case, case.x, many, case.dy, sharing="tiled"), strict=True):
        assert same_bits(one, other)
    equal = calls(case, case.x, np.broadcast_to(case.w, spec.output + case.w.shape), case.dy, sharing="local")
    assert_near(equal[0], shared[0])
    assert_near(equal[1], shared[1])


def assert_near(one: Array, other: Array) -> None:
    """Equal but for the order of a sum: what rounding does to numbers of about 1."""
    one, other = (a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) for a in (one, other))
    assert (np.abs(one - other) <= 2e-2 * (np.abs(one) + 1)).all()


@settings(max_examples=25)
@given(member=SHARED)
def test_a_stride_samples_what_stride_one_gives(member: Member) -> None:
    case, spec = normal(member), member.spec
    given = member.geometry | {"padding": spec.padding, "activation": case.activation}
    every = [slice(None, None, step) for step in spec.stride]
    every = [slice(None), *every, slice(None)] if spec.layout == "channels_last" else [slice(None), slice(None), *every]
    dense = jj.conv(case.x, case.w, **given | {"stride": 1})
    assert same_bits(jj.conv(case.x, case.w, **given), np.ascontiguousarray(dense[tuple(every)]))


@settings(max_examples=40)
@given(member=st.one_of(SHARED, SITED), three=st.booleans())
def test_batch_threads_and_runs(member: Member, three: bool) -> None:
    case = normal(member)
    one = calls(case, case.x, case.w, case.dy, threads=1)
    for threads in (2, 3):
        for expected, found in zip(one, calls(case, case.x, case.w, case.dy, threads=threads), strict=True):
            assert same_bits(found, expected)
    x, dy = (np.concatenate([a[:1], -a[:1], a[:1], a[:1]][: 4 - three]) for a in (case.x, case.dy))
    y, dx, _ = calls(case, x, case.w, dy)
    for i in (0, 2):
        assert same_bits(y[i], one[0][0])
        assert same_bits(dx[i], one[1][0])


LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[str, str], dict[str, Any]]] = {
    "halves": ((2, 20, 40, 41), (34, 20, 3, 3), (HALVES[-1], HALVES[-1]), {"padding": 1, "boundary": "wrap"}),
    "complex": ((2, 9, 40, 41), (11, 9, 3, 3), ("complex64", "complex64"), {"padding": "same", "stride": 2, "boundary": "reflect"}),
    "real by complex": ((2, 40, 41, 9), (3, 3, 9, 11), ("float32", "complex64"), {"layout": "channels_last", "boundary": "edge"}),
    "bytes": ((2, 20, 60, 41), (34, 20, 3, 3), ("uint8", "int8"), {"padding": 1}),
    "long integers": ((2, 9, 40, 41), (11, 9, 3, 3), ("int64", "int64"), {"overflow": "wrap"}),
    "local": ((3, 8, 30, 31), (30, 31, 9, 8, 3, 3), ("float32", "float32"), {"padding": 1, "sharing": "local", "boundary": "symmetric"}),
    "tiled": ((3, 40, 41, 16), (2, 3, 3, 3, 16, 20), ("float64", "float64"), {"padding": 1, "sharing": "tiled", "layout": "channels_last"}),
    "volume": ((2, 6, 12, 13, 17), (18, 3, 3, 3, 3), ("float16", "float32"), {"padding": 1, "groups": 2, "dilation": (1, 2, 1)}),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large_members_whoever_computes_them(name: str) -> None:
    x_shape, w_shape, types, given = LARGE[name]
    rng = np.random.default_rng(len(name))

    def array(shape: tuple[int, ...], dtype: str) -> Array:
        drawn: Array = rng.integers(-100, 100, shape) if np.dtype(dtype).kind in "iu" else rng.standard_normal(shape)
        return (drawn + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else drawn).astype(dtype)

    x, w = array(x_shape, types[0]), array(w_shape, types[1])
    y = jj.conv(x, w, threads=1, **given)
    dy = array(y.shape, types[1])
    one = [y, jj.conv_grad_input(dy, w, x.shape, threads=1, **given), jj.conv_grad_weight(x, dy, w.shape, threads=1, **given)]
    for threads in (2, 3, None):
        again = jj.conv(x, w, threads=threads, **given), jj.conv_grad_input(dy, w, x.shape, threads=threads, **given)
        assert all(same_bits(a, b) for a, b in zip(again, one, strict=False))
        assert same_bits(jj.conv_grad_weight(x, dy, w.shape, threads=threads, **given), one[2])
    for i in range(len(x)):
        assert same_bits(jj.conv(x[i], w, **given), y[i])
        assert same_bits(jj.conv_grad_input(dy[i], w, x.shape[1:], **given), one[1][i])
    swapped = [a if a.dtype.kind == "V" else a.astype(a.dtype.newbyteorder()) for a in (x, w, dy)]
    for views in ([np.asfortranarray(a) for a in (x, w, dy)], swapped, [VIEWS["gaps in every axis"](a) for a in (x, w, dy)]):
        assert same_bits(jj.conv(views[0], views[1], **given), one[0])
        assert same_bits(jj.conv_grad_input(views[2], views[1], x.shape, **given), one[1])
        assert same_bits(jj.conv_grad_weight(views[0], views[2], w.shape, **given), one[2])


# Where random members found faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [">f4", "float64", "float16", "int8"])
@pytest.mark.parametrize("sharing", ["shared", "tiled", "local"])
def test_a_plan_takes_weights_of_other_types(sharing: str, dtype: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 6, 7)).astype(np.float32)
    sites = {"shared": (), "tiled": (2, 3), "local": (4, 5)}[sharing]
    w = np.random.default_rng(2).integers(-4, 5, (*sites, 18, 4, 3, 3)).astype(np.float32)
    plan = jj.plan(x.shape, w.shape, sharing=sharing)
    assert same_bits(plan(x, w.astype(dtype)), plan(x, w))
    assert same_bits(plan.bind(w.astype(dtype))(x), plan(x, w))


@pytest.mark.parametrize("half", HALVES)
def test_a_bias_of_half_floats(half: str) -> None:
    x, w, bias = np.ones((1, 2, 5), half), np.ones((3, 2, 3), half), np.arange(3).astype(half)
    y = jj.conv(x, w, bias).astype(np.float32)
    np.testing.assert_array_equal(y[0], [[6, 6, 6], [7, 7, 7], [8, 8, 8]])


def test_gradients_of_real_errors_and_complex_weights() -> None:
    dy, w = np.array([[[1.0, 2.0]]]), np.array([[[1 + 2j, 3j]]])
    assert jj.conv_grad_input(dy, w, (1, 1, 3)).tolist() == [[[1 - 2j, 2 - 7j, -6j]]]
    narrow = jj.conv_grad_input(dy.astype(np.float32), w.astype(np.complex64), (1, 1, 3), out_dtype="complex128")
    assert narrow.dtype == np.complex128
    assert narrow.tolist() == [[[1 - 2j, 2 - 7j, -6j]]]


@pytest.mark.parametrize("arguments", [{"sharing": "local"}, {"stride": 3}])
def test_an_epilogue_after_sums_of_several_words(arguments: dict[str, Any]) -> None:
    x = np.full((1, 1, 3), 2**40)
    w = np.full((3, 1, 1, 2) if "sharing" in arguments else (1, 1, 2), 2**40)
    with pytest.raises(NotBuiltError, match="may leave int64"):
        jj.conv_transpose(x, w, activation="relu", **arguments)
    assert (jj.conv_transpose(x, w, **arguments) >= 0).all()
