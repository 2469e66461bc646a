"""The definition: against single elements summed by hand, and against the figures that the product is held to (A1 to A13)."""

import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji import reference
from juanji.boundary import Boundary, index_map
from juanji.describe import describe
from juanji.errors import ArgumentError
from juanji.spec import Convolution, Dtypes, Epilogue
from strategies import Array, convolutions, operands

NINE = np.arange(1.0, 10.0).reshape(3, 3)
CORNER = np.array([[0.0, 1.0], [2.0, 3.0]])


def conv(x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, **arguments: object) -> Array:
    """One channel to one feature of one sample, the arrays bare; in float64."""
    x, w = np.asarray(x, np.float64)[None, None], np.asarray(w, np.float64)
    w = w[None, None] if w.ndim == x.ndim - 2 else w
    spec = describe(x.shape, w.shape, dtype=np.float64, bias=bias is not None, **arguments)  # type: ignore[arg-type]
    return reference.conv(spec, x, w, None if bias is None else np.asarray(bias, np.float64))[0, 0]  # type: ignore[no-any-return]


def element(spec: Convolution, x: Array, w: Array, n: int, o: int, position: tuple[int, ...]) -> float:
    """One output before bias and activation, term by term with Python's numbers."""
    inner, outer = spec.channels // spec.groups, spec.features // spec.groups
    total = 0.0
    for k in spec.taps if spec.taps is not None else itertools.product(*map(range, spec.kernel)):
        place, outside = [], None
        for i in range(spec.n):
            turned = spec.kernel[i] - 1 - k[i] if spec.flip else k[i]
            low, high = spec.padding[i]
            come = int(index_map(spec.size[i], low, high, spec.boundary[i].mode)[position[i] * spec.stride[i] + turned * spec.dilation[i]])
            outside = spec.boundary[i].value if come < 0 else outside
            place.append(come)
        for c in range(inner):
            channel = (o // outer) * inner + c
            at = (n, channel, *place) if spec.layout == "channels_first" else (n, *place, channel)
            value = x[at] if outside is None else outside
            site = tuple(p % t for p, t in zip(position, spec.sites or (), strict=spec.sites is not None))
            body = {"OI*": (o, c, *k), "*IO": (*k, c, o), "O*I": (o, *k, c)}[spec.weight_layout]
            total += float(value) * float(w[site + body])
    return total


@settings(deadline=None, max_examples=150)
@given(
    spec=convolutions(sites=True, taps=True, epilogue=False, dtypes=("float32", "float64", "uint8"), max_axes=4),
    data=st.data(), seed=st.integers(0, 99),
)  # fmt: skip
def test_an_element_is_the_sum_of_its_terms(spec: Convolution, data: st.DataObject, seed: int) -> None:
    x, w, _ = operands(spec, seed, integers=True)
    spec = replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    y = reference.conv(spec, x, w)
    assert y.shape == spec.y_shape
    n, o = data.draw(st.integers(0, spec.batch - 1)), data.draw(st.integers(0, spec.features - 1))
    position = tuple(data.draw(st.integers(0, p - 1)) for p in spec.output)
    at = (n, o, *position) if spec.layout == "channels_first" else (n, *position, o)
    assert y[at] == element(spec, x, w, n, o, position)


@settings(deadline=None, max_examples=50)
@given(spec=convolutions(sites=True), seed=st.integers(0, 99))
def test_epilogue_follows_the_sum(spec: Convolution, seed: int) -> None:
    x, w, bias = operands(spec, seed, integers=True)
    plain = replace(spec, epilogue=Epilogue(), dtypes=Dtypes(y="float64"))
    total = reference.conv(plain, x, w)
    if bias is not None:
        by_position = bias
        for axis, (p, t) in enumerate(zip(spec.output, spec.sites or (), strict=spec.sites is not None)):
            by_position = np.take(by_position, np.arange(p) % t, axis)
        if spec.layout == "channels_first":
            by_position = by_position.reshape(-1, *(1,) * spec.n) if spec.sites is None else np.moveaxis(by_position, -1, 0)
        total = total + by_position
    with np.errstate(over="ignore"):
        expected = {
            None: total, "relu": np.where(total > 0, total, 0), "relu6": np.minimum(np.where(total > 0, total, 0), 6),
            "leaky_relu": np.where(total > 0, total, 0.01 * total), "sigmoid": 1 / (1 + np.exp(-total)), "tanh": np.tanh(total),
        }[spec.epilogue.activation]  # fmt: skip
    y = reference.conv(spec, x, w, bias)
    assert y.dtype == spec.dtypes.y
    np.testing.assert_allclose(y, expected, rtol=3e-7, atol=1e-15)


@settings(deadline=None, max_examples=50)
@given(spec=convolutions(sites=True, epilogue=False, dtypes=("float32",)), seed=st.integers(0, 99))
def test_magnitude_bounds_the_sum(spec: Convolution, seed: int) -> None:
    x, w, _ = operands(spec, seed)
    spec = replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    bound = reference.magnitude(spec, x, w)
    assert (np.abs(reference.conv(spec, x, w)) <= bound * (1 + 1e-12)).all()
    np.testing.assert_array_equal(bound, reference.magnitude(spec, -x, w))


def test_a1_correlation() -> None:
    assert conv(NINE, CORNER).tolist() == [[25, 31], [43, 49]]
    assert conv(NINE, CORNER, [1]).tolist() == [[26, 32], [44, 50]]


def test_a2_convolution_is_correlation_with_the_kernel_turned() -> None:
    turned = CORNER[::-1, ::-1]
    np.testing.assert_array_equal(conv(NINE, CORNER, flip=True), conv(NINE, turned))
    np.testing.assert_array_equal(conv(NINE, CORNER), conv(NINE, turned, flip=True))
    assert conv(NINE, CORNER, flip=True).tolist() == [[11, 17], [29, 35]]
    assert conv([1, 0, 0], [1, 2, 3], flip=True, padding="full").tolist() == [1, 2, 3, 0, 0]


def test_a3_channels_features_batch_and_counts() -> None:
    spec = describe((2, 3, 8, 9), (2, 3, 3, 3), bias=True)
    x, w, bias = operands(spec)
    assert reference.conv(spec, x, w, bias).shape == (2, 2, 6, 7)
    pictures = describe((1, 224, 224, 3), (5, 5, 3, 32), layout="channels_last")
    assert (pictures.y_shape, pictures.parameters) == ((1, 220, 220, 32), (2400, 32))
    assert describe((1, 3, 9, 9), (1, 3, 3, 3)).parameters[0] == 27


@pytest.mark.parametrize(("padding", "side"), [(0, 2), (1, 4), (2, 6)])
def test_a4_padding(padding: int, side: int) -> None:
    assert conv(np.ones((4, 4)), np.ones((3, 3)), padding=padding).shape == (side, side)


def test_a4_each_side_separately() -> None:
    y = conv([[1.0]], [[1.0]], padding=((1, 2), (0, 3)))
    assert y.shape == (4, 4)
    assert np.argwhere(y).tolist() == [[1, 0]]


def test_a5_modes() -> None:
    m, k = np.arange(7.0), np.ones(3)
    assert [len(conv(m, k, padding=mode)) for mode in ("valid", "same", "full")] == [5, 7, 9]
    x, k = np.arange(6.0), np.array([1.0, 2.0, 4.0])
    assert conv(x, k, stride=2, padding="same").tolist() == [10, 24, 14]
    assert conv(x, k, stride=2, padding=1).tolist() == [4, 17, 31]
    assert conv(x, k, padding="causal").tolist() == [0, 4, 10, 17, 24, 31]


@pytest.mark.parametrize(
    ("boundary", "before", "after"),
    [("zero", 0, 0), ("edge", 1, 3), ("reflect", 2, 2), ("symmetric", 1, 3), ("wrap", 3, 1), (("constant", 9), 9, 9)],
)
def test_a6_what_lies_outside(boundary: object, before: int, after: int) -> None:
    y = conv([1, 2, 3], [1, 0, 10], padding=1, boundary=boundary)
    assert y.tolist() == [before + 20, 1 + 30, 2 + 10 * after]


def test_a6_where_two_constants_meet_the_later_axis_stands() -> None:
    y = conv([[0.0]], [[1.0]], padding=1, boundary=(("constant", 1), ("constant", 2)))
    assert y.tolist() == [[2, 1, 2], [2, 0, 2], [2, 1, 2]]


def test_a7_stride() -> None:
    assert conv(np.ones((100, 100)), np.ones((3, 3)), padding=1, stride=2).shape == (50, 50)
    assert conv(np.ones((5, 5)), np.ones((3, 3)), stride=(1, 2)).shape == (3, 2)
    assert describe((1, 3, 227, 227), (96, 3, 11, 11), stride=4).y_shape == (1, 96, 55, 55)


def test_a8_layouts_agree() -> None:
    first = describe((1, 12, 32, 48), (24, 12, 3, 3), stride=2, padding=1, bias=True, dtype="float64")
    assert (first.y_shape, first.parameters) == ((1, 24, 16, 24), (2592, 24))
    x, w, bias = operands(first, integers=True)
    y = reference.conv(first, x, w, bias)
    for weight_layout, axes in (("*IO", (2, 3, 1, 0)), ("O*I", (0, 2, 3, 1))):
        moved = w.transpose(axes)
        last = describe(
            (1, 32, 48, 12), moved.shape, stride=2, padding=1, bias=True, dtype="float64",
            layout="channels_last", weight_layout=weight_layout,
        )  # fmt: skip
        assert (last.y_shape, last.parameters) == ((1, 16, 24, 24), (2592, 24))
        np.testing.assert_array_equal(reference.conv(last, np.moveaxis(x, 1, -1), moved, bias), np.moveaxis(y, 1, -1))


def test_a9_any_number_of_axes_and_kernels_that_are_not_square() -> None:
    for n in (1, 2, 3, 4):
        assert conv(np.ones((4,) * n), np.ones((3,) * n)).tolist() == np.full((2,) * n, 3.0**n).tolist()
    text = describe((1, 50, 7), (4, 50, 3))  # 7 words of 50 numbers, windows of 3 words
    assert text.y_shape == (1, 4, 5)
    assert conv(np.ones((4, 6)), np.ones((1, 5))).tolist() == np.full((4, 2), 5.0).tolist()


def test_a10_dilation_and_groups() -> None:
    assert conv([1, 2, 3, 4, 5, 6], [1, 10], dilation=3).tolist() == [41, 52, 63]
    spec = describe((1, 2, 3), (2, 1, 1), groups=2, dtype="float64")
    x = np.arange(6.0).reshape(1, 2, 3)
    assert reference.conv(spec, x, np.array([[[2.0]], [[3.0]]])).tolist() == [[[0, 2, 4], [9, 12, 15]]]


@pytest.mark.parametrize("shape", [(7,), (5, 6)])
def test_a12_and_a13_unshared_weights_that_are_equal_are_a_convolution(shape: tuple[int, ...]) -> None:
    n = len(shape)
    shared = describe((2, 3, *shape), (4, 3, *(2,) * n), stride=2, padding=1)
    x, w, _ = operands(shared, seed=3)
    y = reference.conv(shared, x, w)
    for sites, sharing in ((shared.output, "local"), ((1,) * n, "tiled"), ((2,) * n, "tiled")):
        repeated = np.broadcast_to(w, (*sites, *w.shape))
        assert repeated.ndim == 2 * n + 2
        spec = describe(x.shape, repeated.shape, stride=2, padding=1, sharing=sharing)
        np.testing.assert_allclose(reference.conv(spec, x, repeated), y, rtol=1e-6)


def test_a13_kernels_in_turn() -> None:
    x, w = np.ones((1, 1, 5)), np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1)
    assert reference.conv(describe(x.shape, w.shape, sharing="tiled", dtype="float64"), x, w).tolist() == [[[1, 10, 100, 1, 10]]]
    local = np.random.default_rng(0).integers(-4, 5, (4, 1, 1, 2)).astype(float)
    tiled, own = (describe(x.shape, local.shape, sharing=sharing, dtype="float64") for sharing in ("tiled", "local"))
    np.testing.assert_array_equal(reference.conv(tiled, x, local), reference.conv(own, x, local))


@settings(deadline=None, max_examples=40)
@given(spec=convolutions(epilogue=False, dtypes=("float64",)), seed=st.integers(0, 99))
def test_a16_a_stride_samples_the_stride_one_output(spec: Convolution, seed: int) -> None:
    x, w, _ = operands(spec, seed, integers=True)
    dense = reference.conv(replace(spec, stride=(1,) * spec.n), x, w)
    steps = tuple(slice(None, None, s) for s in spec.stride)
    every = (slice(None), slice(None), *steps) if spec.layout == "channels_first" else (slice(None), *steps)
    np.testing.assert_array_equal(reference.conv(spec, x, w), dense[every])


def test_a17_a_kernel_as_large_as_the_input() -> None:
    assert conv(NINE, NINE).tolist() == [[285]]


def whole(x: list[int], w: list[int], x_type: str, y_type: str, w_type: str = "int64", overflow: str = "saturate") -> Array:
    spec = Convolution(
        size=(len(x),), kernel=(len(w),), stride=(1,), dilation=(1,), padding=((0, 0),), boundary=(Boundary(),),
        dtypes=Dtypes(x_type, w_type, "int64", y_type), overflow=overflow,
    )  # fmt: skip
    return reference.conv(spec, np.array([[x]], x_type), np.array([[w]], w_type))[0, 0]  # type: ignore[no-any-return]


def test_integers_are_exact() -> None:
    assert whole([2**53 + 1, 0], [1], "int64", "int64").tolist() == [2**53 + 1, 0]
    assert whole([2**62, 2**62], [2, -2], "int64", "int64").tolist() == [0]  # each product leaves 64 bits, the sum does not
    assert whole([2**64 - 1], [1], "uint64", "uint64", "uint8").tolist() == [2**64 - 1]
    assert whole([-128], [-128], "int8", "int64", "int8").tolist() == [16384]


def test_overflow() -> None:
    assert whole([100, 200], [2], "int64", "uint8").tolist() == [200, 255]
    assert whole([-1, 300, 2**63 - 1], [1], "int64", "uint8").tolist() == [0, 255, 255]
    assert whole([-1, 300, 256], [1], "int64", "uint8", overflow="wrap").tolist() == [255, 44, 0]
    assert whole([2**63 - 1], [2], "int64", "int64", overflow="wrap").tolist() == [-2]
    assert whole([2**63 - 1], [2], "int64", "int64").tolist() == [2**63 - 1]
    assert whole([255], [1], "int64", "uint8", overflow="raise").tolist() == [255]
    with pytest.raises(ArgumentError, match=r"sum at \(0, 0, 0\) does not fit out_dtype \(=uint8\), and overflow is 'raise'"):
        whole([256], [1], "int64", "uint8", overflow="raise")


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("uint16", 0, 65535), ("int64", -(2**63), 2**63 - 1)])
def test_pictures_round_half_to_even_and_saturate(dtype: str, low: int, high: int) -> None:
    x = np.array([[[0.5, 1.5, 2.5, 2.51, 1e30, -1e30, np.inf, -np.inf, np.nan]]])
    spec = replace(describe(x.shape, (1, 1, 1), dtype="float64"), dtypes=Dtypes("float64", "float64", "float64", dtype))
    y = reference.conv(spec, x, np.ones((1, 1, 1)))
    assert y.tolist() == [[[0, 2, 2, 3, high, low, high, low, 0]]]
    assert y.dtype == dtype


def test_nan_and_infinity_pass() -> None:
    x = np.array([[[np.nan, 1.0, np.inf, -1.0]]])
    for activation, expected in (("relu", [np.nan, 1, np.inf, 0]), ("sigmoid", [np.nan, 1 / (1 + np.exp(-1)), 1, 1 / (1 + np.e)])):
        spec = describe(x.shape, (1, 1, 1), dtype="float64", activation=activation)
        np.testing.assert_allclose(reference.conv(spec, x, np.ones((1, 1, 1)))[0, 0], expected)


def test_taps_name_positions_of_the_weights_as_given() -> None:
    only_first = np.array([True, False, False])
    for flip, expected in ((False, [1, 2]), (True, [3, 4])):
        spec = describe((1, 1, 4), (1, 1, 3), taps=only_first, flip=flip, dtype="float64")
        y = reference.conv(spec, np.array([[[1.0, 2, 3, 4]]]), np.array([[[1.0, np.nan, np.nan]]]))
        assert y.tolist() == [[expected]]


def test_arrays_that_do_not_match_the_description() -> None:
    spec = describe((1, 1, 4), (1, 1, 3), bias=True)
    with pytest.raises(ArgumentError, match=r"w has shape \(1, 1, 2\), but the description says \(1, 1, 3\)"):
        reference.conv(spec, np.zeros((1, 1, 4)), np.zeros((1, 1, 2)))


def test_inputs_are_kept() -> None:
    x = np.random.default_rng(0).standard_normal((1, 1, 5, 5))
    w, bias = x[..., :3, :3].copy(), np.ones(1)
    before = x.copy(), w.copy(), bias.copy()
    spec = describe(x.shape, w.shape, dtype="float64", padding=2, boundary=("constant", 3), bias=True, activation="relu")
    reference.conv(spec, x, w, bias)
    for array, kept in zip((x, w, bias), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_macs_are_the_terms() -> None:
    spec = describe((2, 4, 6, 5), (6, 2, 3, 2), groups=2, padding=1)
    assert spec.macs == math.prod(spec.y_shape) * 2 * 6
