"""IEEE arithmetic through the public functions: subnormal numbers, infinities and NaN, in the output and in both gradients."""

from typing import Any

import numpy as np
import pytest

import juanji as jj
from members import HALVES
from strategies import Array

# Shapes of x and w: one for each tile, groups among them.
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "signal": ((2, 2, 40), (4, 1, 5), {"padding": 2, "groups": 2}),
    "picture": ((1, 1, 20, 21), (1, 1, 3, 3), {"padding": 1}),
    "dense": ((2, 18, 12, 13), (34, 9, 3, 3), {"padding": 1, "groups": 2}),
    "dense, channels last": ((2, 12, 13, 18), (3, 3, 9, 34), {"padding": 1, "groups": 2, "layout": "channels_last", "stride": 2}),
    "depthwise": ((2, 12, 13, 18), (3, 3, 1, 18), {"groups": 18, "layout": "channels_last", "padding": 1}),
    "tiled": ((2, 4, 12, 13), (2, 3, 6, 2, 3, 3), {"groups": 2, "sharing": "tiled"}),
    "local": ((2, 12, 13, 4), (10, 11, 3, 3, 2, 6), {"groups": 2, "sharing": "local", "layout": "channels_last"}),
}  # fmt: skip
PRODUCTS = ("y", "x", "w")


def product(produces: str, name: str, x: Array, w: Array, dy: Array, **more: Any) -> Array:
    """The output, or the gradient of "x" or "w"."""
    given = LAYERS[name][2] | more
    function, operands = {
        "y": (jj.conv, (x, w)), "x": (jj.conv_grad_input, (dy, w, x.shape)), "w": (jj.conv_grad_weight, (x, dy, w.shape)),
    }[produces]  # fmt: skip
    result: Array = function(*operands, **given)
    return result


def ones(name: str, dtype: str) -> dict[str, Array]:
    """x, w and dy of a layer, all of them ones."""
    x, w = (np.ones(shape, dtype) for shape in LAYERS[name][:2])
    return {"x": x, "w": w, "dy": np.ones_like(jj.conv(x, w, **LAYERS[name][2]))}


def middle(array: Array) -> tuple[int, ...]:
    return tuple(length // 2 for length in array.shape)


@pytest.mark.parametrize("produces", PRODUCTS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64"])
def test_what_is_not_finite_stays_where_arithmetic_takes_it(dtype: str, bad: float, name: str, produces: str) -> None:
    arrays = ones(name, dtype)
    strict: dict[str, Any] = {"precision": "strict"}  # without it an algorithm may carry them as far as its tile reaches
    clean = product(produces, name, **arrays, **strict)
    for spoilt in {"y": ("x", "w"), "x": ("dy", "w"), "w": ("x", "dy")}[produces]:
        array = arrays[spoilt].copy()
        array[middle(array)] = 3
        marked = product(produces, name, **arrays | {spoilt: array}, **strict) != clean  # all whole numbers: what the element reaches
        assert marked.any()
        array[middle(array)] = bad
        with np.errstate(invalid="ignore"):
            found = product(produces, name, **arrays | {spoilt: array}, **strict)
        np.testing.assert_array_equal(~np.isfinite(found), marked)
        np.testing.assert_array_equal(found[~marked], clean[~marked])
        if dtype != "complex64":
            assert np.isnan(found[marked]).all() if np.isnan(bad) else (found[marked] == bad).all()


@pytest.mark.parametrize("produces", PRODUCTS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", *HALVES])
def test_subnormal_numbers_are_kept(dtype: str, name: str, produces: str) -> None:
    arrays = ones(name, dtype)
    count = product(produces, name, **{key: a.astype(np.float64) for key, a in arrays.items()})
    tiny = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}[dtype]
    read = {"y": "x", "x": "dy", "w": "dy"}[produces]
    small = (arrays[read].astype(np.float64) * tiny).astype(dtype)
    assert (small != 0).all()
    found = product(produces, name, **arrays | {read: small}, precision="strict")  # without it the matrix unit may take them for zeros
    np.testing.assert_array_equal(found.astype(np.float64), (count * tiny).astype(dtype).astype(np.float64))
    assert (found[count > 0] != 0).all()


@pytest.mark.parametrize("produces", PRODUCTS)
@pytest.mark.parametrize("name", LAYERS)
def test_half_floats_overflow_only_where_the_result_does(name: str, produces: str) -> None:
    arrays = ones(name, "float16")
    read = {"y": "x", "x": "dy", "w": "dy"}[produces]
    count = product(produces, name, **arrays).astype(np.float64)
    large = np.full_like(arrays[read], 60000)
    found = product(produces, name, **arrays | {read: large})
    np.testing.assert_array_equal(found, np.where(count > 1, np.inf, count * 60000))
    large.reshape(-1)[::2] = -60000  # partial sums leave float16, results need not
    exact = product(produces, name, **{key: a.astype(np.float64) for key, a in (arrays | {read: large}).items()})
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(product(produces, name, **arrays | {read: large}), exact.astype(np.float16))


@pytest.mark.parametrize("produces", PRODUCTS)
@pytest.mark.parametrize("name", LAYERS)
def test_integers_that_do_not_fit(name: str, produces: str) -> None:
    arrays = {key: np.full_like(a, 3) for key, a in ones(name, "int8").items()}
    arrays["dy"] = arrays["dy"].astype(np.int8)
    total = product(produces, name, **arrays)
    assert total.dtype == np.int64

    def narrow(overflow: str) -> Array:
        return product(produces, name, **arrays, out_dtype="int8", overflow=overflow)

    np.testing.assert_array_equal(narrow("saturate"), np.clip(total, -128, 127))
    np.testing.assert_array_equal(narrow("wrap"), total.astype(np.int8))
    if (total > 127).any():
        place = tuple(int(i) for i in np.argwhere(total > 127)[0])
        with pytest.raises(jj.errors.ArgumentError) as raised:
            narrow("raise")
        assert str(raised.value) == f"sum at {place} does not fit out_dtype (=int8), and overflow is 'raise'"
    else:
        np.testing.assert_array_equal(narrow("raise"), total)
