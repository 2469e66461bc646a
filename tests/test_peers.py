"""The same operators in PyTorch and in JAX, where they have them: forward, transposed, both gradients; run with -m torch and -m jax."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import juanji as jj
from strategies import Array

Layer = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]

LAYERS: dict[str, Layer] = {
    "signal": ((2, 3, 40), (5, 3, 4), {"stride": 2, "padding": 3}),
    "picture": ((2, 3, 20, 21), (6, 3, 3, 5), {"padding": (1, 2)}),
    "dense": ((2, 18, 11, 12), (35, 18, 3, 3), {"padding": 1}),
    "strided, dilated": ((2, 4, 23, 24), (6, 4, 3, 2), {"stride": (3, 2), "padding": (2, 1), "dilation": (2, 3)}),
    "groups": ((2, 6, 12, 13), (9, 2, 3, 3), {"groups": 3, "padding": 1, "stride": 2}),
    "depthwise": ((2, 19, 12, 13), (38, 1, 3, 3), {"groups": 19, "padding": 1}),
    "pointwise": ((2, 40, 7, 8), (20, 40, 1, 1), {}),
    "volume": ((1, 4, 7, 8, 9), (6, 2, 3, 2, 3), {"groups": 2, "padding": (1, 0, 2), "stride": (1, 2, 1)}),
}  # fmt: skip
# How far two orders of some hundreds of additions may lie apart, beside the size of the largest result; halves are rounded when stored.
NEAR = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-13, "complex64": 1e-5, "complex128": 1e-13}


def arrays(name: str, dtype: str, transposed: bool) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
    """x, w, a bias and the error of a layer, and its arguments."""
    x_shape, w_shape, given = LAYERS[name]
    rng = np.random.default_rng(len(name))

    def normal(shape: tuple[int, ...]) -> Array:
        drawn: Array = rng.standard_normal(shape)
        return (drawn + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else drawn).astype(dtype)

    y = jj.conv(np.zeros(x_shape), np.zeros(w_shape), **given)
    x, w = normal(y.shape if transposed else x_shape), normal(w_shape)
    given = given | ({"output_padding": missing(x_shape, y.shape, w_shape, given)} if transposed else {})
    out = x_shape if transposed else y.shape
    return x, w, normal(out[1:2]), normal(out), given


def missing(x_shape: tuple[int, ...], y_shape: tuple[int, ...], w_shape: tuple[int, ...], given: dict[str, Any]) -> tuple[int, ...]:
    """What the smallest x that could have given y lacks of x."""
    smallest = jj.conv_transpose(np.zeros(y_shape), np.zeros(w_shape), **given).shape
    return tuple(int(a - b) for a, b in zip(x_shape[2:], smallest[2:], strict=True))


def ours(x: Array, w: Array, bias: Array, dy: Array, given: dict[str, Any], transposed: bool) -> list[Array]:
    """The output, and the gradients of input, weights and bias."""
    if not transposed:
        gradients = [jj.conv_grad_input(dy, w, x.shape, **given), jj.conv_grad_weight(x, dy, w.shape, **given)]
        return [jj.conv(x, w, bias, **given), *gradients, jj.conv_grad_bias(dy)]
    forward = {name: value for name, value in given.items() if name != "output_padding"}
    if w.dtype.kind == "c":  # the peer multiplies by the transposed matrix, conv_transpose by the Hermitian adjoint
        w = np.conj(w)
    gradients = [jj.conv(dy, w, **forward), jj.conv_grad_weight(dy, x, w.shape, **forward)]
    if w.dtype.kind == "c":
        gradients[1] = np.conj(gradients[1])
    return [jj.conv_transpose(x, w, bias, **given), *gradients, jj.conv_grad_bias(dy)]


def assert_near(found: list[Array], expected: list[Array], dtype: str) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype.name == dtype
        wide = np.complex128 if dtype.startswith("complex") else np.float64
        difference = np.abs(one.astype(wide) - other.astype(wide)).max()
        assert difference <= NEAR[dtype] * np.abs(other.astype(wide)).max()


@pytest.mark.torch
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("name", LAYERS)
def test_torch(name: str, dtype: str, transposed: bool) -> None:
    torch = pytest.importorskip("torch")
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    x, w, bias, dy, given = arrays(name, dtype, transposed)
    n = x.ndim - 2
    function: Callable[..., Any] = getattr(torch.nn.functional, f"conv{'_transpose' if transposed else ''}{n}d")

    def tensor(array: Array) -> Any:
        if dtype == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    leaves = [tensor(array).requires_grad_() for array in (x, w, bias)]
    y = function(*leaves, **given)
    y.backward(tensor(dy))
    results = [y.detach(), *(leaf.grad for leaf in leaves)]
    plain = [t.float().numpy() if dtype == "bfloat16" else t.numpy() for t in results]
    assert_near(ours(x, w, bias, dy, given, transposed), plain, dtype)


@pytest.mark.jax
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
@pytest.mark.parametrize("name", LAYERS)
def test_jax(name: str, dtype: str, layout: str) -> None:
    jax: Any = pytest.importorskip("jax")
    lax = importlib.import_module("jax.lax")
    x, w, _, dy, given = arrays(name, dtype, False)
    n = x.ndim - 2
    first, last = (f"NC{'DHW'[-n:]}", f"OI{'DHW'[-n:]}"), (f"N{'DHW'[-n:]}C", f"{'DHW'[-n:]}IO")
    in_order, of_weights = first if layout == "channels_first" else last
    if layout == "channels_last":
        x, dy, w = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1), np.moveaxis(w, (0, 1), (-1, -2))

    def per_axis(key: str, default: int) -> tuple[int, ...]:
        value = given.get(key, default)
        return value if isinstance(value, tuple) else (value,) * n

    def compute(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, per_axis("stride", 1), [(p, p) for p in per_axis("padding", 0)], rhs_dilation=per_axis("dilation", 1),
            feature_group_count=given.get("groups", 1), precision=lax.Precision.HIGHEST,
            dimension_numbers=(in_order, of_weights, in_order),
        )  # fmt: skip

    y, pull = jax.vjp(compute, x, w)
    dx, dw = pull(np.conj(dy))  # JAX gives the transpose, the gradients here are Hermitian adjoints
    expected = [np.asarray(y), np.conj(np.asarray(dx)), np.conj(np.asarray(dw))]
    given = given | {"layout": layout}
    found = [jj.conv(x, w, **given), jj.conv_grad_input(dy, w, x.shape, **given), jj.conv_grad_weight(x, dy, w.shape, **given)]
    assert_near(found, expected, dtype)
