"""The acceptance list's rows A1 to A17, through the public functions."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import juanji as jj
from compiled import f32

Array = npt.NDArray[Any]

DTYPES = ("float32", "float64")
NINE = np.arange(1.0, 10.0).reshape(3, 3)
CORNER = np.array([[0.0, 1.0], [2.0, 3.0]])
BOTH = ("channels_first", "channels_last")


def conv(x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, layout: str = "channels_first", **arguments: Any) -> Array:
    """One channel to one feature of one sample: the arrays bare, whatever the layout."""
    x, w = np.asarray(x), np.asarray(w)
    if layout == "channels_first":
        y: Array = jj.conv(x[None, None], w[None, None], bias, layout=layout, **arguments)
        return y[0, 0]  # type: ignore[no-any-return]
    y = jj.conv(x[None, ..., None], w[..., None, None], bias, layout=layout, **arguments)
    return y[0, ..., 0]


def integers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a1_correlation(dtype: str, layout: str) -> None:
    x, w = NINE.astype(dtype), CORNER.astype(dtype)
    y = conv(x, w, layout=layout)
    assert y.dtype == dtype
    assert y.tolist() == [[25, 31], [43, 49]]
    assert conv(x, w, np.ones(1, dtype), layout=layout).tolist() == [[26, 32], [44, 50]]
    assert jj.correlate(x, w).tolist() == [[25, 31], [43, 49]]


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a2_convolution_is_correlation_with_the_kernel_turned(dtype: str, layout: str) -> None:
    x, w = NINE.astype(dtype), CORNER.astype(dtype)
    assert conv(x, w, flip=True, layout=layout).tolist() == [[11, 17], [29, 35]]
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((31, 37)).astype(dtype), rng.standard_normal((4, 5)).astype(dtype)
    np.testing.assert_array_equal(conv(x, w, flip=True, layout=layout), conv(x, w[::-1, ::-1], layout=layout))
    np.testing.assert_array_equal(conv(x, w, layout=layout), conv(x, w[::-1, ::-1], flip=True, layout=layout))
    for mode in ("full", "same", "valid"):
        np.testing.assert_array_equal(jj.convolve(x, w[:3], mode), jj.correlate(x, w[2::-1, ::-1], mode))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a3_channels_features_batch(dtype: str) -> None:
    x, w, bias = integers((2, 3, 12, 14), dtype), integers((2, 3, 3, 4), dtype, 1), integers((2,), dtype, 2)
    y = jj.conv(x, w, bias)
    assert y.shape == (2, 2, 10, 11)
    for n, o in np.ndindex(2, 2):
        parts = [jj.correlate(x[n, c], w[o, c]) for c in range(3)]
        np.testing.assert_array_equal(y[n, o], bias[o] + parts[0] + parts[1] + parts[2])
    np.testing.assert_array_equal(jj.conv(x[1], w, bias), y[1])  # without the batch axis


def test_a3_a_picture_through_32_kernels() -> None:
    x, w, bias = integers((224, 224, 3), "float32"), integers((5, 5, 3, 32), "float32", 1), np.arange(32.0, dtype=np.float32)
    y = jj.conv(x, w, bias, layout="channels_last")
    assert y.shape == (220, 220, 32)
    assert (w.size, bias.size) == (2400, 32)
    window = np.einsum("uvc,uvco->o", x[100:105, 219:224], w) + bias
    np.testing.assert_array_equal(y[100, 219], window)
    plan = jj.plan((1, 224, 224, 3), w.shape, layout="channels_last", bias=True)
    assert plan.spec.parameters == (2400, 32)
    assert jj.plan((1, 3, 9, 9), (1, 3, 3, 3)).spec.parameters[0] == 27


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize(("padding", "side"), [(0, 2), (1, 4), (2, 6)])
def test_a4_padding(padding: int, side: int, layout: str) -> None:
    x, w = integers((4, 4), "float32"), integers((3, 3), "float32", 1)
    y = conv(x, w, padding=padding, layout=layout)
    assert y.shape == (side, side)
    np.testing.assert_array_equal(y, jj.correlate(np.pad(x, padding), w))


@pytest.mark.parametrize("layout", BOTH)
def test_a4_each_side_separately(layout: str) -> None:
    top, bottom, left, right = 1, 2, 0, 3
    y = conv(f32([[5]]), f32([[2]]), padding=((top, bottom), (left, right)), layout=layout)
    assert y.tolist() == [[0, 0, 0, 0], [10, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a5_modes(dtype: str, layout: str) -> None:
    m, k = np.arange(7, dtype=dtype), np.ones(3, dtype)
    assert [len(conv(m, k, padding=mode, layout=layout)) for mode in ("valid", "same", "full")] == [5, 7, 9]
    assert [len(jj.convolve(m, k, mode)) for mode in ("valid", "same", "full")] == [5, 7, 9]
    x, k = np.arange(6, dtype=dtype), np.array([1, 2, 4], dtype)
    assert conv(x, k, stride=2, padding="same", layout=layout).tolist() == [10, 24, 14]
    assert conv(x, k, stride=2, padding=1, layout=layout).tolist() == [4, 17, 31]


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize(
    ("boundary", "before", "after"),
    [
        ("zero", 0, 0), ("edge", 1, 3), ("replicate", 1, 3), ("reflect", 2, 2), ("symmetric", 1, 3), ("wrap", 3, 1), ("circular", 3, 1),
        (("constant", 2.0), 2, 2),
    ],
)  # fmt: skip
def test_a6_what_lies_outside(boundary: Any, before: int, after: int, layout: str) -> None:
    x, k = f32([1, 2, 3]), f32([1, 0, 10])
    assert conv(x, k, padding=1, boundary=boundary, layout=layout).tolist() == [before + 20, 1 + 30, 2 + 10 * after]


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("boundary", ["zero", "edge", "reflect", "symmetric", "wrap", ("constant", 7.0)])
def test_a6_as_numpy_pads(boundary: Any, layout: str) -> None:
    x, k = integers((6, 5), "float32"), integers((3, 5), "float32", 1)
    sides = ((4, 9), (2, 7))
    if boundary == "zero" or isinstance(boundary, tuple):
        padded = np.pad(x, sides, constant_values=0 if boundary == "zero" else boundary[1])
    else:
        padded = np.pad(x, sides, boundary)
    y = conv(x, k, padding=sides, boundary=boundary, layout=layout)
    np.testing.assert_array_equal(y, conv(padded, k, layout=layout))
    mixed = conv(x, k, padding=sides, boundary=("wrap", boundary), layout=layout)
    assert mixed.shape == y.shape


def test_a6_the_mean_outside_and_dropping_the_edge() -> None:
    x = f32([[1, 2], [3, 6]])
    y = conv(x, np.ones((3, 3), np.float32), padding=1, boundary=("constant", float(x.mean())))
    assert y.tolist() == [[12 + 15, 12 + 15], [12 + 15, 12 + 15]]
    assert conv(x, np.ones((2, 2), np.float32)).tolist() == [[12]]


@pytest.mark.parametrize("layout", BOTH)
def test_a7_stride(layout: str) -> None:
    x, w = integers((100, 100), "float32"), integers((3, 3), "float32", 1)
    y = conv(x, w, padding=1, stride=2, layout=layout)
    assert y.shape == (50, 50)
    np.testing.assert_array_equal(y, conv(x, w, padding=1, layout=layout)[::2, ::2])
    y = conv(x[:5, :5], w, stride=(1, 2), layout=layout)
    assert y.shape == (3, 2)
    np.testing.assert_array_equal(y, conv(x[:5, :5], w, layout=layout)[:, ::2])


def test_a7_the_first_layer_of_alexnet() -> None:
    x, w = integers((1, 3, 227, 227), "float32"), integers((96, 3, 11, 11), "float32", 1)
    y = jj.conv(x, w, stride=4)
    assert y.shape == (1, 96, 55, 55)
    assert y[0, 95, 54, 54] == (x[0, :, 216:, 216:] * w[95]).sum()
    last = jj.conv(np.moveaxis(x, 1, -1), w.transpose(2, 3, 1, 0), stride=4, layout="channels_last")
    np.testing.assert_array_equal(last, np.moveaxis(y, 1, -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a8_layouts_agree(dtype: str) -> None:
    x, w, bias = integers((1, 12, 32, 48), dtype), integers((24, 12, 3, 3), dtype, 1), integers((24,), dtype, 2)
    y = jj.conv(x, w, bias, stride=2, padding=1)
    assert y.shape == (1, 24, 16, 24)
    assert (w.size, bias.size) == (2592, 24)
    for weight_layout, axes in ((None, (2, 3, 1, 0)), ("*IO", (2, 3, 1, 0)), ("O*I", (0, 2, 3, 1)), ("OI*", (0, 1, 2, 3))):
        last = jj.conv(
            np.moveaxis(x, 1, -1), w.transpose(axes), bias, stride=2, padding=1, layout="channels_last", weight_layout=weight_layout
        )
        np.testing.assert_array_equal(last, np.moveaxis(y, 1, -1))
        if weight_layout is not None:
            np.testing.assert_array_equal(jj.conv(x, w.transpose(axes), bias, stride=2, padding=1, weight_layout=weight_layout), y)


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_a9_any_number_of_axes(n: int, layout: str) -> None:
    assert conv(np.ones((4,) * n, np.float32), np.ones((3,) * n, np.float32), layout=layout).tolist() == np.full((2,) * n, 3.0**n).tolist()


@pytest.mark.parametrize("layout", BOTH)
def test_a9_kernels_that_are_not_square(layout: str) -> None:
    x, row = integers((6, 9), "float32"), integers((1, 5), "float32", 1)
    expected = np.array([np.correlate(line, row[0]) for line in x])
    np.testing.assert_array_equal(conv(x, row, layout=layout), expected)
    np.testing.assert_array_equal(conv(x.T, row.T, layout=layout), expected.T)


def test_a9_text() -> None:
    words, w = integers((7, 50), "float32"), integers((4, 3, 50), "float32", 1)  # 7 words of 50 numbers, windows of 3 words
    y = jj.conv(words, w, layout="channels_last", weight_layout="O*I")
    assert y.shape == (5, 4)
    assert y[2, 3] == (words[2:5] * w[3]).sum()


@pytest.mark.parametrize("layout", BOTH)
def test_a10_dilation(layout: str) -> None:
    assert conv(f32([1, 2, 3, 4, 5, 6]), f32([1, 10]), dilation=3, layout=layout).tolist() == [41, 52, 63]
    x, w = integers((20, 21), "float32"), integers((3, 2), "float32", 1)
    spread = np.zeros((5, 4), np.float32)
    spread[::2, ::3] = w
    np.testing.assert_array_equal(conv(x, w, dilation=(2, 3), layout=layout), conv(x, spread, layout=layout))


def test_a10_groups_and_depthwise() -> None:
    x, w = integers((2, 6, 9, 11), "float32"), integers((9, 2, 3, 3), "float32", 1)
    y = jj.conv(x, w, groups=3)
    for g in range(3):
        np.testing.assert_array_equal(y[:, 3 * g : 3 * g + 3], jj.conv(x[:, 2 * g : 2 * g + 2], w[3 * g : 3 * g + 3]))
    last = jj.conv(np.moveaxis(x, 1, -1), w.transpose(2, 3, 1, 0), groups=3, layout="channels_last")
    np.testing.assert_array_equal(last, np.moveaxis(y, 1, -1))
    depthwise = integers((6, 1, 3, 3), "float32", 2)
    y = jj.conv(x, depthwise, groups=6, padding=1)
    for c in range(6):
        np.testing.assert_array_equal(y[:, c], jj.conv(x[:, c : c + 1], depthwise[c : c + 1], padding=1)[:, 0])
    last = jj.conv(np.moveaxis(x, 1, -1), depthwise.transpose(2, 3, 1, 0), groups=6, padding=1, layout="channels_last")
    np.testing.assert_array_equal(last, np.moveaxis(y, 1, -1))
    multiplied = integers((12, 1, 3, 3), "float32", 3)  # two features from each channel
    y = jj.conv(x, multiplied, groups=6)
    np.testing.assert_array_equal(y[:, 10:12], jj.conv(x[:, 5:6], multiplied[10:]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a11_transposed_convolution_multiplies_by_the_transposed_matrix(dtype: str) -> None:
    x, w = np.arange(1.0, 5).reshape(1, 1, 2, 2).astype(dtype), np.arange(1.0, 10).reshape(1, 1, 3, 3).astype(dtype)
    y = jj.conv_transpose(x, w)
    assert y.shape == (1, 1, 4, 4)
    units = np.eye(16, dtype=dtype).reshape(16, 1, 4, 4)
    matrix = jj.conv(units, w).reshape(16, 4).T
    assert matrix.shape == (4, 16)
    np.testing.assert_array_equal(y.reshape(16), matrix.T @ x.reshape(4))
    back = jj.conv_transpose(np.eye(4, dtype=dtype).reshape(4, 1, 2, 2), w).reshape(4, 16)
    np.testing.assert_array_equal(back, matrix)


@pytest.mark.parametrize("layout", BOTH)
def test_a11_strides_leave_room(layout: str) -> None:
    x, w = f32([[1, 2], [3, 4]]), f32([[1, 10], [100, 1000]])
    seen = (x[None, None], w[None, None]) if layout == "channels_first" else (x[None, ..., None], w[..., None, None])
    y = jj.conv_transpose(*seen, stride=2, layout=layout).reshape(4, 4)
    np.testing.assert_array_equal(y, np.kron(x, w))
    wider = jj.conv_transpose(*seen, stride=3, output_padding=1, layout=layout)
    assert wider.size == 6 * 6
    same = jj.conv_transpose(*seen, stride=3, padding="same", layout=layout)
    assert same.size == 6 * 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_a12_local_layers_of_signals(dtype: str) -> None:
    x, w = np.array([[[1, 2, 3, 4]]], dtype), np.array([[1, 0], [0, 1], [1, 1]], dtype).reshape(3, 1, 1, 2)
    assert jj.conv(x, w, sharing="local").tolist() == [[[1, 3, 7]]]
    assert jj.conv(x, w, np.array([[10], [20], [30]], dtype), sharing="local").tolist() == [[[11, 23, 37]]]


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a12_local_layers_of_pictures(dtype: str, layout: str) -> None:
    x, w = integers((2, 3, 6, 7), dtype), integers((4, 5, 8, 3, 3, 3), dtype, 1)
    assert w.ndim == 6
    equal = np.broadcast_to(w[0, 0], w.shape)
    first = (0, 1, 4, 5, 3, 2)
    last: dict[str, Any] = {"layout": layout}
    if layout == "channels_last":
        x, w, equal = np.moveaxis(x, 1, -1), w.transpose(first), equal.transpose(first)
    y = jj.conv(x, w, sharing="local", **last)
    for i, j in ((0, 0), (3, 4), (2, 1)):
        window = x[:, :, i : i + 3, j : j + 3] if layout == "channels_first" else x[:, i : i + 3, j : j + 3]
        alone = jj.conv(window, w[i, j], **last)
        np.testing.assert_array_equal(y[:, :, i, j] if layout == "channels_first" else y[:, i, j], alone.reshape(2, 8))
    np.testing.assert_array_equal(jj.conv(x, equal, sharing="local", **last), jj.conv(x, equal[0, 0], **last))


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a13_tiles_in_turn(dtype: str, layout: str) -> None:
    x, w = integers((9,), dtype), integers((2, 3), dtype, 1)
    given: dict[str, Any] = {"layout": layout, "sharing": "tiled"}
    seen = (x[None, None], w[:, None, None]) if layout == "channels_first" else (x[None, :, None], w[..., None, None])
    y = jj.conv(*seen, **given).reshape(-1)
    for p in range(7):
        assert y[p] == (x[p : p + 3] * w[p % 2]).sum()


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a13_both_ends(dtype: str, layout: str) -> None:
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((2, 5, 8, 9)).astype(dtype), rng.standard_normal((8, 9, 6, 5, 3, 3)).astype(dtype)
    given: dict[str, Any] = {"layout": layout, "padding": 1, "boundary": "wrap"}
    if layout == "channels_last":
        x, w = np.moveaxis(x, 1, -1), w.transpose(0, 1, 4, 5, 3, 2)
    np.testing.assert_array_equal(jj.conv(x, w[:1, :1], sharing="tiled", **given), jj.conv(x, w[0, 0], **given))  # to the last bit
    np.testing.assert_array_equal(jj.conv(x, w, sharing="tiled", **given), jj.conv(x, w, sharing="local", **given))


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arguments", [{}, {"kind": "avg"}, {"kind": "lp"}, {"kind": "weighted", "weights": "gaussian"}])
def test_a14_pooling_acts_on_each_channel_alone(arguments: dict[str, Any], dtype: str, layout: str) -> None:
    x = np.random.default_rng(6).uniform(1, 2, (2, 5, 6, 8)).astype(dtype)
    seen = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
    y = jj.pool(seen, 2, layout=layout, **arguments)
    y = y if layout == "channels_first" else np.moveaxis(y, -1, 1)
    assert y.shape == (2, 5, 3, 4)
    for c in range(5):
        np.testing.assert_allclose(jj.pool(x[:, c : c + 1], 2, **arguments)[:, 0], y[:, c], rtol=1e-6)


def test_a14_what_each_kind_gives() -> None:
    x = np.array([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    assert jj.pool(x, 3).item() == 9
    assert jj.pool(x, 3, kind="avg").item() == 5
    assert jj.pool(x, 3, kind="lp").item() == pytest.approx(np.sqrt((x * x).sum()), rel=1e-15)
    near = np.exp(-(np.hypot(*np.mgrid[-1:2, -1:2]) ** 2) / (2 * 0.75**2))
    assert jj.pool(x, 3, kind="weighted", weights="gaussian").item() == pytest.approx((x * near).sum() / near.sum(), rel=1e-14)
    x[..., 1, 1] = 50  # the centre counts for most
    assert jj.pool(x, 3, kind="weighted", weights="linear").item() > jj.pool(x, 3, kind="avg").item()


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("size", [(4, 4), (13, 29), (5, 224), (57, 31)])
def test_a15_any_size_to_the_same_length(size: tuple[int, int], layout: str) -> None:
    x = integers((2, 6, *size), "float32")
    seen = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
    assert jj.pyramid_pool(seen, layout=layout).shape == (2, 21 * 6)
    y = jj.adaptive_pool(seen, (3, 2), layout=layout)
    assert y.shape == ((2, 6, 3, 2) if layout == "channels_first" else (2, 3, 2, 6))
    np.testing.assert_array_equal(jj.pyramid_pool(seen, (1,), layout=layout), x.max((2, 3)))


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [(2, 2), (3, 1), (1, 4), (5, 7)])
def test_a16_a_stride_samples_the_stride_one_output(stride: tuple[int, int], dtype: str, layout: str) -> None:
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((1, 20, 33, 41)).astype(dtype), rng.standard_normal((18, 20, 3, 3)).astype(dtype)
    bias = rng.standard_normal(18).astype(dtype)
    arguments: dict[str, Any] = {"padding": 1, "boundary": "reflect", "layout": layout, "algorithm": "direct", "activation": "tanh"}
    if layout == "channels_last":
        x, w = np.moveaxis(x, 1, -1), w.transpose(2, 3, 1, 0)
    every = (slice(None), slice(None, None, stride[0]), slice(None, None, stride[1]), slice(None))
    dense, sampled = jj.conv(x, w, bias, **arguments), jj.conv(x, w, bias, stride=stride, **arguments)
    if layout == "channels_first":
        dense, sampled = np.moveaxis(dense, 1, -1), np.moveaxis(sampled, 1, -1)
    np.testing.assert_array_equal(sampled, dense[every])  # to the last bit


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a16_pictures_and_signals(stride: int, layout: str) -> None:
    rng = np.random.default_rng(4)
    for shape, kernel in (((300,), (9,)), ((47, 61), (5, 5)), ((9, 10, 23), (3, 2, 3))):
        x, w = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(kernel).astype(np.float32)
        dense = conv(x, w, padding="full", layout=layout)
        np.testing.assert_array_equal(
            conv(x, w, padding="full", stride=stride, layout=layout), dense[(slice(None, None, stride),) * x.ndim]
        )
        np.testing.assert_array_equal(jj.convolve(x, w, stride=stride), jj.convolve(x, w)[(slice(None, None, stride),) * x.ndim])


@pytest.mark.parametrize("layout", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a17_a_kernel_as_large_as_the_input(dtype: str, layout: str) -> None:
    assert conv(NINE.astype(dtype), NINE.astype(dtype), layout=layout).tolist() == [[285]]
    x, w = integers((150, 170), dtype), integers((150, 170), dtype, 1)
    assert conv(x, w, layout=layout).tolist() == [[(x * w).sum()]]
    same = conv(x, w, padding="same", layout=layout, precision="strict")
    assert same.shape == x.shape
    assert same[74, 84] == (x * w).sum()  # the odd pixel of padding stands at the end
    assert jj.convolve(x, w, "valid").tolist() == [[(x * w[::-1, ::-1]).sum()]]
    full = jj.convolve(x[:40, :30], w[:40, :30])
    assert full.shape == (79, 59)
    assert full.sum() == x[:40, :30].sum() * w[:40, :30].sum()


def test_a17_a_large_kernel_on_many_channels() -> None:
    x, w = integers((2, 9, 31, 33), "float32"), integers((17, 9, 31, 33), "float32", 1)
    np.testing.assert_array_equal(jj.conv(x, w)[..., 0, 0], np.einsum("nchw,ochw->no", x, w))
