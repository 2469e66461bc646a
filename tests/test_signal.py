"""convolve and correlate on plain arrays: SciPy's conventions, against NumPy and the definition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji.errors import ArgumentError, DtypeError, JuanjiError, NotBuiltError, ShapeError
from juanji.signal import convolve, correlate

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(11)


def full(a: Array, k: Array) -> Array:
    """Every element of `a` launches a copy of `k`: the definition of convolution."""
    total = np.zeros([m + n - 1 for m, n in zip(a.shape, k.shape, strict=True)])
    for place in np.ndindex(a.shape):
        total[tuple(slice(p, p + n) for p, n in zip(place, k.shape, strict=True))] += a[place] * k
    return total


def middle(whole: Array, shape: tuple[int, ...]) -> Array:
    """As many elements of `whole` as `shape`, starting at half of what is left out."""
    return whole[tuple(slice((w - s) // 2, (w - s) // 2 + s) for w, s in zip(whole.shape, shape, strict=True))]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
def test_one_axis_as_in_numpy(mode: Any, length: int) -> None:
    a, k = RANDOM.normal(size=9), RANDOM.normal(size=length)
    np.testing.assert_allclose(convolve(a, k, mode), np.convolve(a, k, mode), atol=1e-12)
    expected = np.correlate(a, k, mode)
    if mode == "same":  # NumPy's middle of an even kernel is the other one
        expected = middle(np.correlate(a, k, "full"), a.shape)
    np.testing.assert_allclose(correlate(a, k, mode), expected, atol=1e-12)


def test_lengths() -> None:
    a, k = np.ones(10), np.ones(4)
    assert [len(convolve(a, k, mode)) for mode in ("valid", "same", "full")] == [7, 10, 13]


def test_modes_by_default() -> None:
    a, k = np.ones(10), np.ones(4)
    assert (len(convolve(a, k)), len(correlate(a, k))) == (13, 7)


def test_weighted_superposition() -> None:
    (a, b, c), (i, j, k) = (2.0, 3.0, 5.0), (7.0, 11.0, 13.0)
    assert convolve([a, b, c], [i, j, k]).tolist() == [a * i, a * j + b * i, a * k + b * j + c * i, b * k + c * j, c * k]


def test_two_dice() -> None:
    die = np.full(6, 1 / 6)
    assert convolve(die, die)[4 - 2] == pytest.approx(3 / 36)


def test_polynomial_product_is_the_sum_over_diagonals() -> None:
    p, q = RANDOM.normal(size=5), RANDOM.normal(size=4)
    outer = np.outer(p, q)[:, ::-1]
    np.testing.assert_allclose(convolve(p, q), [np.trace(outer, offset) for offset in range(3, -5, -1)], atol=1e-12)


def test_stride_keeps_every_other_of_each_mode() -> None:
    a, k = np.arange(6.0), np.array([1.0, 2.0, 4.0])
    assert correlate(a, k, "same", stride=2).tolist() == [4.0, 17.0, 31.0]
    for mode in ("full", "same", "valid"):
        assert (convolve(a, k, mode, stride=2) == convolve(a, k, mode)[::2]).all()


def test_turning_the_kernel_exchanges_the_two() -> None:
    a, k = RANDOM.integers(-9, 9, (7, 8)).astype(float), RANDOM.integers(-9, 9, (3, 2)).astype(float)
    for mode in ("full", "same", "valid"):
        assert (convolve(a, k, mode) == correlate(a, k[::-1, ::-1], mode)).all()


def test_correlation_on_paper() -> None:
    a = np.arange(1.0, 10.0).reshape(3, 3)
    assert correlate(a, [[0.0, 1.0], [2.0, 3.0]]).tolist() == [[25.0, 31.0], [43.0, 49.0]]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_agrees_with_the_definition(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 3))
    a_shape, k_shape = (tuple(data.draw(st.lists(st.integers(1, 6), min_size=n, max_size=n))) for _ in range(2))
    seed = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    a, k = seed.normal(size=a_shape).astype(dtype), seed.normal(size=k_shape).astype(dtype)
    stride = tuple(data.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)))
    steps = tuple(slice(None, None, s) for s in stride)
    backwards = (slice(None, None, -1),) * n
    for function, whole in ((convolve, full(a, k)), (correlate, full(a, k[backwards]))):
        for mode in ("full", "same"):
            result = function(a, k, mode, stride=stride)
            assert result.dtype == a.dtype
            expected = whole if mode == "full" else middle(whole, a_shape)
            np.testing.assert_allclose(result, expected[steps], atol=1e-4 if dtype == "float32" else 1e-12)
        if all(x >= y for x, y in zip(a_shape, k_shape, strict=True)) or all(x <= y for x, y in zip(a_shape, k_shape, strict=True)):
            valid = middle(whole, tuple(abs(x - y) + 1 for x, y in zip(a_shape, k_shape, strict=True)))
            result = function(a, k, "valid", stride=stride)
            np.testing.assert_allclose(result, valid[steps], atol=1e-4 if dtype == "float32" else 1e-12)
        else:
            with pytest.raises(ShapeError, match="at least as long as the other"):
                function(a, k, "valid")


def test_a_longer_kernel_reverses_valid_correlation() -> None:
    # scipy.signal.correlate([1, 2, 3], [1, 10, 100, 1000, 10000], "valid")
    assert correlate([1.0, 2.0, 3.0], [1.0, 10.0, 100.0, 1000.0, 10000.0]).tolist() == [32100.0, 3210.0, 321.0]


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric", "wrap"])
def test_boundaries(boundary: Any) -> None:
    a, k = RANDOM.normal(size=(5, 6)), RANDOM.normal(size=(3, 3))
    expected = middle(full(np.pad(a, 1, boundary), k), (5, 6))
    np.testing.assert_allclose(convolve(a, k, "same", boundary=boundary), expected, atol=1e-12)
    assert convolve(np.ones(3), np.ones(5), "same", boundary=boundary).tolist() == [5.0, 5.0, 5.0]


def test_a_constant_outside() -> None:
    assert convolve([1.0, 1.0], [1.0, 1.0], boundary=("constant", 5)).tolist() == [6.0, 2.0, 6.0]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("axes", [0, 1, 2, -1, (0, 1), (1, 0), (0, 2), (2, 1)])
def test_axes(axes: Any, mode: str) -> None:
    a = RANDOM.normal(size=(5, 6, 7))
    along = tuple(axis % 3 for axis in np.atleast_1d(axes))
    k = RANDOM.normal(size=(2, 3)[: len(along)])
    rest = [axis for axis in range(3) if axis not in along]
    moved = np.transpose(a, (*rest, *along))
    batch = moved.shape[: len(rest)]
    one_by_one = np.array([convolve(moved[place], k, mode) for place in np.ndindex(batch)])
    expected = np.transpose(one_by_one.reshape(*batch, *one_by_one.shape[1:]), np.argsort([*rest, *along]))
    np.testing.assert_allclose(convolve(a, k, mode, axes=axes), expected, atol=1e-12)


def test_axes_name_every_axis() -> None:
    a, k = RANDOM.normal(size=(5, 6)), RANDOM.normal(size=(2, 3))
    np.testing.assert_allclose(convolve(a, k, axes=(1, 0)), convolve(a, k.T), atol=1e-12)
    longer = RANDOM.normal(size=(7, 6))
    np.testing.assert_allclose(correlate(a, longer, "valid", axes=(1, 0)), correlate(a, longer.T, "valid"), atol=1e-12)


def test_stride_belongs_to_the_kernels_axes() -> None:
    a, k = RANDOM.normal(size=(5, 6)), RANDOM.normal(size=(2, 3))
    assert (convolve(a, k, axes=(1, 0), stride=(3, 2)) == convolve(a, k, axes=(1, 0))[::2, ::3]).all()


def test_element_types() -> None:
    single, double = np.ones(4, "float32"), np.ones(3)
    assert convolve(single, single).dtype == np.float32
    assert convolve(single, double).dtype == np.float64
    assert convolve([1.0, 2.0], [1, -1]).tolist() == [1.0, 1.0, -2.0]
    whole = convolve(np.array([1, 2], np.uint8), np.array([1, -1], np.int8))
    assert whole.dtype == np.int64
    assert whole.tolist() == [1, 1, -2]
    assert convolve([1 + 1j, 2], [1, -1j]).tolist() == [1 + 1j, 3 - 1j, -2j]
    assert correlate([1.0, 2.0], [1j], "full").tolist() == [-1j, -2j]  # the kernel's conjugate, as in NumPy and SciPy
    assert correlate([1j], [1.0, 2j]).tolist() == np.correlate([1j], [1.0, 2j]).tolist()


def test_views_are_left_alone() -> None:
    a = np.arange(24.0).reshape(4, 6)
    view = a[::-1, ::2]
    before = a.copy()
    view.flags.writeable = False
    np.testing.assert_allclose(convolve(view, [[1.0, 2.0]]), full(view, np.array([[1.0, 2.0]])))
    assert (a == before).all()
    assert (convolve(a.astype(">f8"), [[1.0, 2.0]]) == convolve(a, [[1.0, 2.0]])).all()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: convolve([1.0], [1.0], "ful"), ArgumentError, "mode (='ful') must be one of full, same, valid"),
        (lambda: convolve(1.0, [1.0]), ShapeError, "at least one axis"),
        (lambda: convolve(np.ones((3, 3)), np.ones(3)), ShapeError, "`axes` says along which of a's axes k runs"),
        (lambda: convolve(np.ones((3, 3)), np.ones(3), axes=2), ArgumentError, "axes (=2) must name 1 of a's 2 axes"),
        (lambda: convolve(np.ones((3, 3)), np.ones(3), axes=(0, 1)), ArgumentError, "must name 1 of a's 2 axes"),
        (lambda: convolve(np.ones((3, 3)), np.ones((3, 3)), axes=(0, 0)), ArgumentError, "must not repeat"),
        (lambda: convolve(np.ones(0), np.ones(3)), ShapeError, "at least one element"),
        (lambda: convolve(np.ones(3), np.ones(3), stride=0), ArgumentError, "stride (=0)"),
        (lambda: convolve(np.ones(3), np.ones(3), stride=-1), ArgumentError, "stride (=-1)"),
        (lambda: convolve(np.ones((2, 3)), np.ones(3), "valid", axes=0), ShapeError, "must fit inside a"),
        (lambda: convolve(np.ones(3, object), np.ones(3)), JuanjiError, "object"),
        (lambda: convolve(["a"], [1.0]), JuanjiError, "dtype"),
        (lambda: convolve("abc", "d"), DtypeError, "a is of type str, but must be an array of numbers"),
        (lambda: convolve(np.array(None), np.array(None)), DtypeError, "a is of type ndarray"),
        (lambda: convolve([1.0], np.zeros(2, "M8[s]")), DtypeError, "k has dtype datetime64[s]"),
        (lambda: convolve(np.zeros(2, "f4,f4"), [1.0]), DtypeError, "a has dtype"),
        (lambda: convolve([[1.0, 2.0], [3.0]], [1.0]), ShapeError, "a must be an array, but its rows have different lengths"),
        (lambda: convolve([1.0], [[1.0, 2.0], [3.0]]), ShapeError, "k must be an array"),
        (lambda: convolve(np.ones(3, np.longdouble), [1.0]), NotBuiltError, "is not built yet"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], Array], kind: type[JuanjiError], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
