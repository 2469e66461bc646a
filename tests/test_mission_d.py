"""The acceptance list's rows D1 to D3, through the public functions."""

from typing import Any

import numpy as np
import pytest

import juanji as jj

DTYPES = ("float32", "float64")
ERROR = np.array([[1.0, -2.0], [3.0, 5.0]])
KERNEL = np.array([[1.0, 2.0], [3.0, 4.0]])
NINE = np.arange(1.0, 10.0).reshape(3, 3)
MEMBERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 2, 5, 6), (3, 2, 2, 3), {}),
    "strides": ((1, 2, 7, 9), (2, 2, 3, 2), {"stride": (2, 3), "padding": 1}),
    "stride beyond the kernel": ((1, 1, 9, 9), (1, 1, 2, 2), {"stride": 4}),
    "padding on each side": ((1, 2, 4, 5), (2, 2, 3, 3), {"padding": ((0, 3), (2, 1))}),
    "same": ((1, 1, 6, 5), (2, 1, 3, 4), {"padding": "same", "stride": 2}),
    "edge": ((1, 2, 4, 5), (2, 2, 3, 3), {"padding": 2, "boundary": "edge"}),
    "reflect": ((1, 1, 4, 5), (1, 1, 3, 3), {"padding": 6, "boundary": "reflect"}),
    "symmetric": ((1, 1, 4, 5), (1, 1, 3, 3), {"padding": (1, 2), "boundary": "symmetric", "stride": 2}),
    "wrap": ((1, 1, 4, 5), (1, 1, 3, 3), {"padding": 3, "boundary": "wrap", "dilation": 2}),
    "dilation": ((1, 2, 9, 8), (2, 2, 3, 2), {"dilation": (3, 2), "stride": 2}),
    "groups": ((2, 6, 5, 5), (4, 3, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 5, 5, 4), (3, 3, 1, 8), {"groups": 4, "layout": "channels_last"}),
    "one axis": ((2, 3, 11), (4, 3, 5), {"padding": "full", "stride": 3}),
    "three axes": ((1, 2, 4, 5, 3), (2, 2, 3, 2, 2), {"padding": (1, 0, 1), "stride": (1, 2, 1)}),
    "four axes": ((1, 1, 3, 4, 3, 3), (2, 1, 2, 2, 1, 3), {"padding": "causal"}),
    "tiled": ((2, 2, 6, 7), (2, 3, 3, 2, 2, 3), {"sharing": "tiled", "padding": 1, "boundary": "edge"}),
    "local": ((2, 2, 4, 5), (3, 4, 2, 2, 2, 2), {"sharing": "local"}),
}  # fmt: skip


def operands(name: str, integers: bool) -> tuple[Any, ...]:
    """x, w and dy of a member, and its arguments."""
    x_shape, w_shape, arguments = MEMBERS[name]
    rng = np.random.default_rng(len(name))
    y_shape = jj.conv(np.zeros(x_shape), np.zeros(w_shape), **arguments).shape
    drawn = (rng.integers(-5, 6, shape).astype(float) if integers else rng.standard_normal(shape) for shape in (x_shape, w_shape, y_shape))
    return (*drawn, arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_d1_the_error_padded_and_convolved_with_the_turned_kernel(dtype: str) -> None:
    error, kernel = ERROR[None, None].astype(dtype), KERNEL[None, None].astype(dtype)
    dx = jj.conv_grad_input(error, kernel, (1, 1, 3, 3))
    assert dx.dtype == dtype
    assert dx[0, 0].tolist() == [[1, 0, -4], [6, 9, 2], [9, 27, 20]]
    padded = np.pad(ERROR, 1).astype(dtype)
    assert padded.shape == (4, 4)
    np.testing.assert_array_equal(jj.conv(padded[None, None], kernel, flip=True), dx)
    np.testing.assert_array_equal(jj.convolve(error[0, 0], kernel[0, 0]), dx[0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_d2_the_error_as_a_kernel_on_the_input(dtype: str) -> None:
    x, error = NINE[None, None].astype(dtype), ERROR[None, None].astype(dtype)
    dw = jj.conv_grad_weight(x, error, (1, 1, 2, 2))
    assert dw.dtype == dtype
    assert dw[0, 0].tolist() == [[34, 41], [55, 62]]
    np.testing.assert_array_equal(dw, jj.conv(x, error))
    assert jj.conv_grad_bias(error).tolist() == [7]
    many = np.arange(48.0, dtype=dtype).reshape(2, 3, 4, 2)
    np.testing.assert_array_equal(jj.conv_grad_bias(many), many.sum((0, 2, 3)))
    np.testing.assert_array_equal(jj.conv_grad_bias(many, layout="channels_last"), many.sum((0, 1, 2)))


@pytest.mark.parametrize("name", MEMBERS)
def test_d1_d2_adjoints(name: str) -> None:
    x, w, dy, arguments = operands(name, integers=True)
    dx, dw = jj.conv_grad_input(dy, w, x.shape, **arguments), jj.conv_grad_weight(x, dy, w.shape, **arguments)
    expected = np.vdot(jj.conv(x, w, **arguments), dy)
    assert np.vdot(x, dx) == expected
    assert np.vdot(w, dw) == expected


@pytest.mark.parametrize("name", MEMBERS)
def test_d1_d2_finite_differences(name: str) -> None:
    x, w, weight, arguments = operands(name, integers=False)
    sites = w.shape[: x.ndim - 2] if "sharing" in arguments else ()
    features = weight.shape[-1 if "layout" in arguments else 1]
    bias = np.random.default_rng(3).standard_normal((*sites, features))

    def loss(x: Any, w: Any, bias: Any) -> float:
        return float((weight * jj.conv(x, w, bias, activation="tanh", **arguments)).sum())

    y = jj.conv(x, w, bias, activation="tanh", **arguments)
    dy = weight * (1 - y * y)
    layout = {"layout": arguments["layout"]} if "layout" in arguments else {}
    gradients = (
        jj.conv_grad_input(dy, w, x.shape, **arguments),
        jj.conv_grad_weight(x, dy, w.shape, **arguments),
        jj.conv_grad_bias(dy, bias.shape, **layout),
    )
    rng = np.random.default_rng(4)
    for number, gradient in enumerate(gradients):
        for _ in range(4):
            at = tuple(rng.integers(length) for length in gradient.shape)
            arrays = [np.array(a) for a in (x, w, bias)]
            found = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in arrays]
                moved[number][at] += step
                found.append(loss(*moved))
            assert gradient[at] == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-6, abs=1e-7)


CORNERS = np.array([[9.0, 1, 2, 3], [4, 5, 6, 8], [1, 7, 2, 3], [2, 3, 9, 4]])  # top left, bottom right, top right, bottom left


@pytest.mark.parametrize("dtype", DTYPES)
def test_d3_the_maximum_gets_the_error(dtype: str) -> None:
    x, error = CORNERS[None, None].astype(dtype), np.array([[[[1, 2], [3, 4]]]], dtype)
    assert jj.pool(x, 2)[0, 0].tolist() == [[9, 8], [7, 9]]
    dx = jj.pool_grad(x, error, 2)
    assert dx[0, 0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 2], [0, 3, 0, 0], [0, 0, 4, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_d3_an_average_sends_a_quarter_to_each(dtype: str) -> None:
    x, error = CORNERS[None, None].astype(dtype), np.array([[[[1, 2], [3, 4]]]], dtype)
    dx = jj.pool_grad(x, error, 2, kind="avg")
    np.testing.assert_array_equal(dx[0, 0], np.kron([[1, 2], [3, 4]], np.full((2, 2), 0.25)))


WEIGHTED = [{"kind": "weighted", "weights": "gaussian"}, {"kind": "weighted", "weights": "linear"}]


@pytest.mark.parametrize("arguments", [{"kind": "lp"}, *WEIGHTED])
@pytest.mark.parametrize("size", [2, 3])
def test_d3_norms_and_weighted_averages(size: int, arguments: dict[str, Any]) -> None:
    rng = np.random.default_rng(size)
    x = rng.uniform(1, 2, (2, 3, 7, 8))
    y = jj.pool(x, size, stride=2, **arguments)
    weight = rng.standard_normal(y.shape)
    dx = jj.pool_grad(x, weight, size, stride=2, **arguments)
    for _ in range(8):
        at = tuple(rng.integers(length) for length in x.shape)
        found = []
        for step in (1e-5, -1e-5):
            moved = x.copy()
            moved[at] += step
            found.append(float((weight * jj.pool(moved, size, stride=2, **arguments)).sum()))
        assert dx[at] == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-6, abs=1e-8)
    if arguments["kind"] == "weighted":
        np.testing.assert_allclose(jj.pool(np.ones_like(x), size, stride=2, **arguments), 1, rtol=1e-15)
