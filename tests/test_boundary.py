"""A boundary is an index map: it must say what np.pad does, and fold must be its adjoint."""

import math
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji import boundary
from juanji.boundary import MODES, Boundary
from juanji.errors import ArgumentError
from strategies import Array

SIZES = st.integers(1, 6)
SIDES = st.integers(0, 20)


def by_numpy(array: Array, axis: int, low: int, high: int, b: Boundary) -> Array:
    width = [(0, 0)] * array.ndim
    width[axis] = (low, high)
    if b.constant:
        return np.pad(array, width, "constant", constant_values=b.value)
    return np.pad(array, width, b.mode)  # type: ignore[call-overload, no-any-return]


@settings(deadline=None, max_examples=300)
@given(size=SIZES, low=SIDES, high=SIDES, mode=st.sampled_from(list(MODES)))
def test_map_is_that_of_numpy(size: int, low: int, high: int, mode: str) -> None:
    array = np.arange(size)
    expected = by_numpy(array, 0, low, high, Boundary(mode, -1.0))
    np.testing.assert_array_equal(boundary.index_map(size, low, high, mode), expected)


@pytest.mark.parametrize("mode", MODES)
def test_one_element_stands_everywhere_or_the_constant_does(mode: str) -> None:
    filled = boundary.index_map(1, 7, 5, mode)
    assert filled[7] == 0
    assert set(np.delete(filled, 7).tolist()) == ({-1} if mode == "constant" else {0})


@settings(deadline=None, max_examples=100)
@given(
    shape=st.tuples(SIZES, SIZES, SIZES), axis=st.integers(0, 2), low=SIDES, high=SIDES,
    mode=st.sampled_from(list(MODES)), value=st.integers(-3, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_pad_is_numpys_and_fold_its_adjoint(
    shape: tuple[int, ...], axis: int, low: int, high: int, mode: str, value: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    b = Boundary(mode, value)
    array: Array = rng.integers(-9, 9, shape)
    padded = boundary.pad(array, axis, low, high, b)
    np.testing.assert_array_equal(padded, by_numpy(array, axis, low, high, b))

    linear: Array = boundary.pad(array, axis, low, high, Boundary(mode))
    dual: Array = rng.integers(-9, 9, linear.shape)
    folded: Array = boundary.fold(dual, axis, low, high, b)
    assert (linear * dual).sum() == (array * folded).sum()


def test_no_padding_is_no_change_and_inputs_are_kept() -> None:
    array = np.arange(4.0)
    for mode in MODES:
        np.testing.assert_array_equal(boundary.pad(array, 0, 0, 0, Boundary(mode, 7)), array)
        np.testing.assert_array_equal(boundary.fold(array, 0, 0, 0, Boundary(mode, 7)), array)
        boundary.pad(array, 0, 3, 3, Boundary(mode, 7))[:] = -1
    np.testing.assert_array_equal(array, np.arange(4.0))


def test_the_map_cannot_be_written() -> None:
    for size in (3, boundary.KEPT_TABLE):
        with pytest.raises(ValueError, match="read-only"):
            boundary.index_map(size, 1, 1, "edge")[0] = 2


def test_only_short_maps_are_kept() -> None:
    assert boundary.index_map(boundary.KEPT_TABLE - 2, 1, 1, "wrap") is boundary.index_map(boundary.KEPT_TABLE - 2, 1, 1, "wrap")
    alive = weakref.ref(boundary.index_map(boundary.KEPT_TABLE - 1, 1, 1, "wrap"))
    assert alive() is None


def test_boundaries_that_mean_the_same_are_equal() -> None:
    nan, other = Boundary("constant", math.nan), Boundary("constant", float("nan"))
    assert (nan, hash(nan)) == (other, hash(other))
    assert pickle.loads(pickle.dumps(other)) == nan
    assert Boundary("wrap", 3.0) == Boundary("wrap")
    assert math.copysign(1, Boundary("constant", -0.0).value) == 1
    assert str(nan) == "constant nan"
    assert repr(Boundary("edge")) == "Boundary(mode='edge', value=0.0)"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.5, -7.0])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_any_constant_pads_floats(value: float, dtype: str) -> None:
    padded = boundary.pad(np.ones(2, dtype), 0, 1, 2, Boundary("constant", value))
    np.testing.assert_array_equal(padded, np.array([value, 1, 1, value, value], dtype))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", 0.5), ("uint8", 300.0), ("uint8", -1.0), ("int64", 2.0**63), ("int32", math.nan), ("uint16", math.inf), ("bool", 2.0),
     ("object", 0.5)],
)  # fmt: skip
def test_integers_are_not_padded_with_what_they_cannot_hold(dtype: str, value: float) -> None:
    with pytest.raises(ArgumentError) as raised:
        boundary.pad(np.ones(2, dtype), 0, 1, 0, Boundary("constant", value))
    assert str(raised.value) == f"boundary (={('constant', value)!r}) must be a value that an array of {dtype} holds"
    assert boundary.pad(np.ones(2, dtype), 0, 0, 0, Boundary("constant", value)).tolist() == [1, 1]
    assert boundary.pad(np.ones(2, dtype), 0, 1, 0, Boundary("constant", 1.0)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("zero", Boundary("constant", 0.0)), ("zeros", Boundary("constant", 0.0)), ("constant", Boundary("constant", 0.0)),
        ("replicate", Boundary("edge")), ("nearest", Boundary("edge")), ("circular", Boundary("wrap")),
        (("constant", 128), Boundary("constant", 128.0)), (("constant", np.float32(0.5)), Boundary("constant", 0.5)),
        (Boundary("reflect"), Boundary("reflect")),
    ],
)  # fmt: skip
def test_parse(written: object, meant: Boundary) -> None:
    assert boundary.parse(written) == meant


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("mirror", "boundary (='mirror') must be one of constant, edge, reflect, symmetric, wrap, zero"),
        (("constant", "white"), "boundary (=('constant', 'white')) must be a name or ('constant', value)"),
        (3, "boundary (=3) must be a name or ('constant', value)"),
    ],
)
def test_parse_refuses(written: object, message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        boundary.parse(written)
    assert str(raised.value) == message


def test_names_for_people() -> None:
    assert [str(b) for b in (Boundary(), Boundary("constant", 0.5), Boundary("wrap"))] == ["zero", "constant 0.5", "wrap"]
