"""Explanations of random members of the family against the definition."""

import builtins
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import adjoints
import juanji as jj
import members
from juanji import contraction, reference
from juanji.errors import ArgumentError, JuanjiError, ShapeError
from juanji.explain import matrix
from juanji.spec import NO_EPILOGUE, Convolution
from members import Member, wide
from strategies import convolutions, operands

ex = jj.explain
Array = npt.NDArray[Any]
GEOMETRY = ("stride", "padding", "dilation", "groups", "boundary", "flip", "sharing", "layout", "weight_layout")


def some(shape: tuple[int, ...], seed: int, count: int = 3) -> list[tuple[int, ...]]:
    """Indices of an array's elements."""
    rng = np.random.default_rng(seed)
    return [tuple(int(rng.integers(size)) for size in shape) for _ in range(count)]


def arguments(member: Member) -> dict[str, Any]:
    """Those of `conv` that change its result."""
    name, slope = member.spec.epilogue.activation, member.spec.epilogue.parameter
    chosen = (name, slope) if name == "leaky_relu" else name
    return {**member.geometry, "out_dtype": member.out_dtype, "activation": chosen}


def geometry(member: Member) -> dict[str, Any]:
    return {name: member.geometry[name] for name in GEOMETRY}


def operands_of(member: Member) -> tuple[Array, Array]:
    return member.numbers(member.spec.x_shape, member.spec.dtypes.x, 0), member.numbers(member.spec.w_shape, member.spec.dtypes.w, 1)


def linear(spec: Convolution) -> contraction.Contraction:
    return contraction.lower(replace(spec, epilogue=NO_EPILOGUE))


# trace


@settings(max_examples=150)
@given(members.members())
def test_a_trace_is_the_definition(member: Member) -> None:
    """Of the definition term by term to the last bit; of the one tap by tap wherever no sum can be rounded differently."""
    spec = member.spec
    x, w = operands_of(member)
    bias = member.bias(spec.bias_shape, spec.dtypes)
    one_by_one = contraction.execute(linear(spec), x=wide(x, spec.dtypes.integers), w=wide(w, spec.dtypes.integers))
    by_taps = reference._sum(spec, x, w, bias)
    rounds = member.rounds(spec.dtypes.sum)
    fused = rounds and by_taps.dtype.kind == "c"
    same_order = not rounds or (spec.channels == spec.groups and not spec.flip and not fused)
    for index in some(spec.y_shape, member.seed):
        call = (x[0], w, index[1:], bias) if member.single else (x, w, index, bias)
        try:
            traced = ex.trace(*call, **arguments(member))
            total_of = np.array([by_taps[index]], by_taps.dtype)
            expected = reference.stored(reference.activate(spec, total_of), np.dtype(spec.dtypes.y), spec.overflow)[0]
        except ArgumentError:
            if spec.overflow != "raise":
                raise
            continue
        assert traced.sum == (pytest.approx(one_by_one[index], rel=1e-12, abs=1e-12) if fused else one_by_one[index])
        total: Any = 0
        for term in traced.terms:
            total = total + term.product
        assert traced.sum == total
        if same_order:
            assert traced.total == by_taps[index]
            assert traced.result == expected
        else:
            within = members.forward(member, x, w, bias)
            assert within.size is not None
            assert abs(traced.total - by_taps[index]) <= 8 * spec.macs * np.finfo(float).eps * within.size[index]
        assert str(traced).startswith("y[")


@settings(max_examples=100)
@given(members.members())
def test_a_trace_of_the_transpose_is_the_definition(member: Member) -> None:
    spec = member.spec
    assume(member.output_padding is not None and all(0 <= more < s for more, s in zip(member.output_padding, spec.stride, strict=True)))
    dy, w = member.numbers(spec.y_shape, spec.dtypes.x, 0), member.numbers(spec.w_shape, spec.dtypes.w, 1)
    bias = member.bias((spec.channels,), spec.dtypes)
    options = {**arguments(member), "output_padding": member.output_padding}
    exact = spec.dtypes.integers
    one_by_one = contraction.execute(linear(spec).producing("x"), y=wide(dy, exact), w=wide(w, exact))
    for index in some(spec.x_shape, member.seed):
        try:
            traced = ex.trace_transpose(dy, w, index, bias, **options)
        except ArgumentError:
            if spec.overflow != "raise":
                raise
            continue
        if not member.rounds(spec.dtypes.sum) or one_by_one.dtype.kind != "c":
            assert traced.sum == one_by_one[index]
        else:
            assert traced.sum == pytest.approx(one_by_one[index], rel=1e-12, abs=1e-12)


def test_a_trace_tells_where_each_value_came_from() -> None:
    x, w = np.arange(1, 5).reshape(1, 1, 4), np.array([[[1, -1, 2]]])
    edge = ex.trace(x, w, (0,), padding=1, boundary="edge")
    assert [term.place for term in edge.terms] == [(-1,), (0,), (1,)]
    assert [term.source for term in edge.terms] == [(0,), (0,), (1,)]
    assert "1·[1] + (−1)·1 + 2·2 = 4" in str(edge)
    assert "[ ] stands outside x: edge" in str(edge)
    seven = ex.trace(x, w, (3,), padding=1, boundary=("constant", 7))
    assert [term.source for term in seven.terms] == [(2,), (3,), None]
    assert seven.window.tolist() == [[3, 4, 7]]
    assert seven.result == 13
    turned = ex.trace(x, w, (0,), flip=True)
    assert [(term.tap, term.weight, term.value) for term in turned.terms] == [((2,), 2, 1), ((1,), -1, 2), ((0,), 1, 3)]


def test_a_trace_ends_as_the_call_does() -> None:
    rng = np.random.default_rng(4)
    x, w, bias = (rng.standard_normal(shape).astype("float32") for shape in ((2, 4, 7, 6), (6, 2, 3, 2), (6,)))
    options: dict[str, Any] = {"groups": 2, "stride": (2, 1), "padding": 1, "dilation": (1, 2), "activation": "sigmoid"}
    y = jj.conv(x, w, bias, **options)
    for index in some(y.shape, 0, 10):
        traced = ex.trace(x, w, index, bias, **options)
        assert traced.result == pytest.approx(y[index], rel=1e-6)
        assert traced.result.dtype == np.float32
    told = str(traced).splitlines()
    assert told[-1].startswith("sigmoid(")
    assert sum(line.startswith("c = ") for line in told) == 2


@pytest.mark.parametrize("kind", ["max", "avg", "lp", "weighted"])
def test_a_pooling_trace_is_what_pool_gives(kind: str) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 7, 6))
    weights = "gaussian" if kind == "weighted" else None
    options: dict[str, Any] = {"kind": kind, "stride": 2, "padding": 1, "ceil_mode": True, "p": 3}
    y = jj.pool(x, 3, weights=weights, **options)
    for index in some(y.shape, 1, 10):
        traced = ex.trace_pool(x, 3, index, weights=weights, **options)
        assert traced.result == pytest.approx(y[index], rel=1e-12)
        assert str(traced).count("\n") == 1
    last = jj.pool(np.moveaxis(x, 1, -1), 3, weights=weights, layout="channels_last", **options)
    place = (1, 2, 0, 1)
    traced = ex.trace_pool(np.moveaxis(x, 1, -1), 3, place, weights=weights, layout="channels_last", **options)
    assert traced.result == pytest.approx(last[place])


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ((2, 0), r"position \(=\(2, 0\)\) must lie inside the output 1×1×2×2, or inside its spatial axes 2×2"),
        ((0,), "must lie inside the output"),
        ((-1, 0), "must lie inside the output"),
        ((0.5, 0), "position .* must be a sequence of integers"),
    ],
)
def test_positions_outside_are_refused(position: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ex.trace(np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 2, 2)), position)


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"strides \(=2\) must be one of .*stride"):
        ex.trace(np.zeros((1, 1, 3)), np.zeros((1, 1, 2)), (0,), strides=2)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match=r"activation \(='relu'\) must be one of"):
        ex.toeplitz((1, 3), np.zeros((1, 1, 2)), activation="relu")  # type: ignore[call-arg]
    with pytest.raises(ShapeError, match=r"bias of shape \(2,\) must have shape \(1,\)"):
        ex.trace(np.zeros((1, 1, 3)), np.zeros((1, 1, 2)), (0,), [1.0, 2.0])


# toeplitz


@settings(max_examples=150)
@given(members.members(max_axes=4))
def test_the_matrix_is_the_convolution_and_its_transpose_the_gradient(member: Member) -> None:
    member = replace(member, values="whole")
    spec = member.spec
    x, w = operands_of(member)
    c = ex.toeplitz(x.shape[1:] if member.single else x.shape, w, **geometry(member))
    y = reference._sum(replace(spec, epilogue=NO_EPILOGUE), x, w, None)
    dy = member.numbers(spec.y_shape, spec.dtypes.x, 2)
    dx = adjoints.grad_input(spec, dy, w)
    for sample in range(spec.batch):
        np.testing.assert_array_equal(c(x[sample]), y[sample].astype(c(x[sample]).dtype))
        np.testing.assert_array_equal(c.transpose(dy[sample]), dx[sample])
    assert c.shape == (math.prod(spec.y_shape[1:]), math.prod(spec.x_shape[1:]))


@settings(max_examples=30)
@given(convolutions(sites=True, taps=True, dtypes=("float64", "complex128"), epilogue=False), st.integers(0, 9))
def test_the_matrix_of_a_description(spec: Convolution, seed: int) -> None:
    x, w, _ = operands(spec, seed)
    c = ex.toeplitz(spec, w)
    expected = reference.conv(spec, x, w)
    np.testing.assert_allclose(c(x[0]), expected[0], rtol=1e-11, atol=1e-11)


def test_without_scipy_the_matrix_is_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy.sparse")
    w = np.random.default_rng(1).integers(-4, 5, (2, 3, 2, 2))
    c, again = (ex.toeplitz((3, 5, 4), w, stride=2, padding=1, boundary="reflect") for _ in range(2))
    with_scipy = again.matrix
    imported = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert isinstance(c.matrix, ex.Coordinates)
    np.testing.assert_array_equal(c.matrix.toarray(), with_scipy.toarray())
    np.testing.assert_array_equal(c.matrix.T.toarray(), with_scipy.T.toarray())
    assert (np.diff(c.matrix.T.rows) >= 0).all()
    several = np.arange(60 * 2).reshape(60, 2)
    np.testing.assert_array_equal(c.matrix @ several, with_scipy @ several)
    with pytest.raises(ShapeError, match="multiplies vectors of 60 elements"):
        c.matrix @ np.zeros(3)
    assert c.matrix.nnz == with_scipy.nnz


def test_matrices_that_are_too_large_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"the matrix would have 2,\d\d\d,\d\d\d,\d\d\d entries, more than 67,108,864"):
        ex.toeplitz((3, 1000, 1000), np.zeros((100, 3, 3, 3)))
    with pytest.raises(ArgumentError, match=r"w holds 18446744073709551615, which is no integer of 64 bits"):
        ex.toeplitz((1, 3), np.full((1, 1, 2), 2**64 - 1, np.uint64))
    with pytest.raises(ShapeError, match=r"x of shape \(2, 1, 3\) must be one sample, 1×3"):
        ex.toeplitz((1, 3), np.ones((1, 1, 2)))(np.zeros((2, 1, 3)))
    with pytest.raises(ArgumentError, match="stride is part of the description"):
        ex.toeplitz(jj.plan((1, 1, 4), (1, 1, 2)).spec, np.zeros((1, 1, 2)), stride=2)


def test_zeros_are_no_entries() -> None:
    c = ex.toeplitz((1, 3, 3), np.array([[[[0, 1], [2, 3]]]]))
    assert c.coordinates.nnz == c.matrix.nnz == 12
    assert c.grid[0] == "· 1 · 2 3 · · · ·"


def test_large_matrices_print_in_two_lines() -> None:
    c = ex.toeplitz((3, 32, 32), np.ones((16, 3, 3, 3)), padding=1)
    assert c.shape == (16384, 3072)
    head, second = str(c).splitlines()
    assert head == "C is 16384×3072: outputs 16×32×32 by inputs 3×32×32"
    assert second == "424,128 non-zeros (0.00843 of 50,331,648 places), 12 to 27 to a row"
    assert matrix.MOST_PRINTED < 3072


# im2col


@settings(max_examples=100)
@given(members.members(max_axes=4))
def test_windows_times_weights_are_the_convolution(member: Member) -> None:
    assume(member.spec.shared and member.spec.sites is None)
    member = replace(member, values="whole")
    spec = member.spec
    x, w = operands_of(member)
    product = ex.matrix_product(x[0] if member.single else x, w, **geometry(member))
    expected = reference._sum(replace(spec, epilogue=NO_EPILOGUE), x, w, None)
    np.testing.assert_array_equal(member.result(product.y).astype(expected.dtype), expected)
    assert str(product).count("\n") == 1


@settings(max_examples=100)
@given(members.members(max_axes=4))
def test_col2im_is_the_adjoint_of_im2col(member: Member) -> None:
    spec = member.spec
    assume(all(b.value == 0 for b in spec.boundary))
    options = {name: member.geometry[name] for name in ("stride", "padding", "dilation", "boundary", "layout")}
    rng = np.random.default_rng(member.seed)
    x = rng.integers(-9, 10, spec.x_shape[1:] if member.single else spec.x_shape)
    rows = ex.im2col(x, spec.kernel, **options)
    assert rows.shape == (spec.batch * math.prod(spec.output), spec.channels * math.prod(spec.kernel))
    errors = rng.integers(-9, 10, rows.shape)
    back = ex.col2im(errors, x.shape, spec.kernel, **options)
    assert back.shape == x.shape
    assert (rows * errors).sum() == (x * back).sum()


def test_bad_windows_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"columns of shape \(3, 4\) must have shape \(4, 4\)"):
        ex.col2im(np.ones((3, 4)), (1, 3, 3), (2, 2))
    with pytest.raises(ShapeError, match=r"x of shape \(3,\) must have channels"):
        ex.im2col(np.ones(3), (2, 2))
    with pytest.raises(ArgumentError, match=r"sharing \(='local'\) must be 'shared'"):
        ex.matrix_product(np.ones((1, 1, 3)), np.ones((2, 1, 1, 2)), sharing="local")


# output_shape


@settings(max_examples=100)
@given(members.members())
def test_output_shapes_are_those_of_the_description(member: Member) -> None:
    spec = member.spec
    told = ex.output_shape(spec.x_shape, spec.w_shape, **geometry(member))
    assert (told.y_shape, told.output) == (spec.y_shape, spec.output)
    assert tuple((axis.low, axis.high) for axis in told.axes) == spec.padding
    for number, axis in enumerate(told.axes):
        formula = axis.formula.replace("⌊", "(").replace("⌋", ")").replace("−", "-").replace("/", "//")
        assert eval(formula) == spec.output[number]
    ones = np.ones(spec.y_shape)
    reached = adjoints.grad_input(replace(spec, dtypes=spec.dtypes._replace(x="float64")), ones, np.ones(spec.w_shape))
    reached = np.moveaxis(reached, -1, 1) if spec.layout == "channels_last" else reached
    unseen = np.argwhere(reached[0, 0] == 0)
    expected = {tuple(at) for at in np.ndindex(spec.size) if any(i in axis.unused for i, axis in zip(at, told.axes, strict=True))}
    assert {tuple(at) for at in unseen.tolist()} == expected


def test_modes_say_what_they_stand_for() -> None:
    told = ex.output_shape((1, 6), (1, 1, 3), stride=2, padding="same")
    assert told.modes["same"] == (((0, 1),), (3,))
    assert told.modes["full"] == (((2, 2),), (4,))
    assert "the kernel does not fit" in str(ex.output_shape((1, 2), (1, 1, 3), padding=1))
    for mode, (pairs, output) in told.modes.items():
        again = ex.output_shape((1, 6), (1, 1, 3), stride=2, padding=mode)
        assert (tuple((axis.low, axis.high) for axis in again.axes), again.output) == (pairs, output)


def test_shapes_of_the_transpose_and_of_pooling() -> None:
    up = ex.output_shape_transpose((3, 5, 4), (3, 2, 2, 2), stride=(3, 2), output_padding=(1, 0))
    assert up.y_shape == jj.conv_transpose(np.zeros((3, 5, 4)), np.zeros((3, 2, 2, 2)), stride=(3, 2), output_padding=(1, 0)).shape
    assert "gets nothing: 2, 5, 8, 11, 14" in str(up)
    for ceil_mode in (False, True):
        told = ex.output_shape_pool((2, 3, 7, 8), 2, stride=3, padding=1, ceil_mode=ceil_mode)
        assert told.y_shape == jj.pool(np.zeros((2, 3, 7, 8)), 2, stride=3, padding=1, ceil_mode=ceil_mode).shape
    assert ex.output_shape_pool((1, 1, 7), 2, stride=3).axes[0].unused == (2, 5, 6)
    with pytest.raises(JuanjiError, match="size 9"):
        ex.output_shape_pool((1, 1, 7), 9)


# gradients as convolutions


@settings(max_examples=60)
@given(members.members(max_axes=3, few=True, pairs=(("float64", "float64"), ("int16", "int16"), ("complex128", "complex128"))))
def test_each_gradient_is_the_convolution_that_is_told(member: Member) -> None:
    assume(member.spec.sites is None)
    member = replace(member, values="whole")
    spec = member.spec
    told = ex.gradients_as_convolutions(spec.x_shape, spec.w_shape, **geometry(member))
    x, w = operands_of(member)
    dy = member.numbers(spec.y_shape, spec.dtypes.x, 2)
    np.testing.assert_array_equal(told.input(dy, w), adjoints.grad_input(spec, dy, w))
    np.testing.assert_array_equal(told.weight(x, dy), adjoints.grad_weight(spec, x, dy))
    features_last = np.moveaxis(dy, 1, -1) if spec.layout == "channels_first" else dy
    np.testing.assert_array_equal(told.bias(dy), features_last.reshape(-1, spec.features).sum(0))
    assert str(told).startswith("dx ")


def test_gradients_with_sites_are_no_convolution() -> None:
    with pytest.raises(ArgumentError, match=r"sharing \(='tiled'\) must be 'shared'"):
        ex.gradients_as_convolutions((1, 5), (2, 1, 1, 2), sharing="tiled")


# measurements


def test_measurements_are_refused_where_nothing_is_left() -> None:
    x = np.zeros((1, 1, 4, 4))
    with pytest.raises(ShapeError, match="no output is left to compare"):
        ex.equivariance(lambda x: x, x, border=2)
    with pytest.raises(ShapeError, match="it must keep the number of axes"):
        ex.equivariance(lambda x: x.reshape(-1), x)
    with pytest.raises(ArgumentError, match="windows, which must be more than their 9 weights"):
        ex.permuted_pixels(x, np.zeros((1, 1, 3, 3)))
    with pytest.raises(ArgumentError, match=r"groups \(=2\) must be 1 here"):
        ex.permuted_pixels(x, np.zeros((1, 1, 3, 3)), groups=2)
    with pytest.raises(ShapeError, match="at least two elements along its last axis"):
        ex.shift_through_pooling(x[..., :1])


def test_measurements_of_one_axis_have_no_rotation() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 30))
    told = ex.equivariance(lambda x: np.asarray(np.abs(x)), x, shift=4)
    assert told.rotation is None
    assert (told.shift.same, told.scale.same) == (1, 1)
