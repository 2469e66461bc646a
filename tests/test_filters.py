"""Pictures through kernels, against padding and loops in plain NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from juanji import image as ji
from juanji.errors import ArgumentError, DtypeError, JuanjiError, ShapeError
from juanji.image import kernels
from juanji.image.magnitudes import magnitude
from juanji.image.picture import PIXELS, store
from juanji.image.prepared import on_grey, prepare
from juanji.jit.compile import assembly
from juanji.jit.magnitude import MagnitudeCode, emit_magnitude
from test_codegen import ARM, VECTORS, called, machine_with

Array = npt.NDArray[Any]

MODES = ("zero", "edge", "reflect", "symmetric", "wrap")
RANDOM = np.random.default_rng(20)
COLOUR = RANDOM.integers(0, 256, (13, 17, 3), "uint8")
GREY = RANDOM.integers(0, 256, (14, 19), "uint8")


def plain(image: Array, kernel: Array, boundary: Any = "reflect", stride: tuple[int, int] = (1, 1)) -> Array:
    """The correlation of one H×W plane in float64: the definition."""
    sides = [(k // 2, k - 1 - k // 2) for k in kernel.shape]
    if isinstance(boundary, tuple):
        padded = np.pad(image.astype(np.float64), sides, "constant", constant_values=boundary[1])
    else:
        padded = np.pad(image.astype(np.float64), sides, "constant" if boundary == "zero" else boundary)
    rows, columns = image.shape
    total = np.zeros(image.shape)
    for u, v in np.ndindex(kernel.shape):
        if kernel[u, v]:
            total += float(kernel[u, v]) * padded[u : u + rows, v : v + columns]
    return total[:: stride[0], :: stride[1]]


def assert_pixels(result: Array, exact: Array, scale: float = 1.0) -> None:
    """`result` holds `exact`, rounded and saturated if it is of an integer type, within float32's rounding of the sums."""
    if result.dtype.kind == "f":
        np.testing.assert_allclose(result, exact, rtol=0, atol=scale * (1e-5 if result.dtype == np.float32 else 1e-12))
        return
    top = np.iinfo(result.dtype).max
    low, high = (np.clip(np.rint(exact + shift * scale * 1e-5), 0, top) for shift in (-1, 1))
    assert ((result >= low) & (result <= high)).all()


# The figures of the acceptance list


@pytest.fixture
def half_white() -> npt.NDArray[np.float32]:
    """50×50, 1 left of column 30 and 0 from there."""
    picture = np.zeros((50, 50), np.float32)
    picture[:, :30] = 1
    return picture


def test_edge_detector_on_the_half_white_picture(half_white: npt.NDArray[np.float32]) -> None:
    answers = ji.filter(half_white, [[1, 0, -1]], boundary="zero")
    valid = answers[:, 1:-1]
    assert valid.shape == (50, 48)
    expected = np.zeros((50, 48))
    expected[:, [28, 29]] = 1
    assert (valid == expected).all()
    assert (answers[:, 0] == -1).all(), "zero padding shows a false edge"
    assert (ji.filter(half_white, [[1, 0, -1]], boundary="edge")[:, 0] == 0).all()


@pytest.mark.parametrize("name", [*kernels.names()])
@pytest.mark.parametrize("picture", [GREY, COLOUR], ids=["grey", "colour"])
def test_every_named_kernel(name: str, picture: Array) -> None:
    kernel = kernels.get(name)
    planes = [picture] if picture.ndim == 2 else list(np.moveaxis(picture, -1, 0))
    exact = [plain(plane, kernel) for plane in planes]
    together = exact[0] if picture.ndim == 2 else np.stack(exact, -1)
    if name == "outline":
        together = np.sum(exact, axis=0)
    result = ji.filter(picture, name)
    assert result.dtype == picture.dtype
    assert_pixels(result, together, 2000)
    signed = ji.filter(picture, name, dtype="float32")
    assert signed.dtype == np.float32
    assert_pixels(signed, together, 2000)


def test_integer_kernels_are_exact() -> None:
    for name in ("identity", "sharpen", "sharpen_5", "sobel_x", "scharr_y", "laplacian", "laplacian_8", "emboss", "prewitt_x"):
        exact = plain(GREY, kernels.get(name))
        assert (ji.filter(GREY, name) == np.clip(exact, 0, 255)).all()
        assert (ji.filter(GREY, name, dtype="float32") == exact).all()


def test_horizontal_and_vertical_lines() -> None:
    across = np.zeros((9, 9), np.float32)
    across[4] = 1
    assert np.abs(ji.filter(across, "prewitt_y")).max() == 3
    assert np.abs(ji.filter(across, "prewitt_x")).max() == 0
    assert np.abs(ji.filter(across.T.copy(), "gradient_x")).max() == 3
    assert np.abs(ji.filter(across.T.copy(), "gradient_y")).max() == 0


@pytest.mark.parametrize("name", kernels.PAIRS)
def test_pairs_are_magnitudes(name: str) -> None:
    exact = np.stack([np.hypot(*(plain(plane, kernels.get(k)) for k in kernels.PAIRS[name])) for plane in np.moveaxis(COLOUR, -1, 0)], -1)
    function: Callable[..., Array] = getattr(ji, name)
    assert function(COLOUR).dtype == np.float32
    assert_pixels(function(COLOUR), exact, 2000)
    kept = ji.filter(COLOUR, name)
    assert kept.dtype == np.uint8
    assert_pixels(kept, exact, 2000)
    as_double = function(COLOUR.astype(np.float64))
    assert as_double.dtype == np.float64
    assert_pixels(as_double, exact, 2000)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 2, 3, 5), (2, 2, 40, 77), (1, 2, 120, 301), (3, 2, 20, 30, 3)])
def test_magnitudes_are_those_of_numpy(shape: tuple[int, ...], dtype: str) -> None:
    pairs = (np.random.default_rng(1).standard_normal(shape) * 200).astype(dtype)
    pairs.flat[:3] = np.nan, np.inf, 1e30
    with np.errstate(over="ignore"):
        lengths = np.sqrt(np.square(pairs[:, :1]) + np.square(pairs[:, 1:]))
        for stored in PIXELS:
            expected = store(lengths, np.dtype(stored))
            np.testing.assert_array_equal(magnitude(pairs, np.dtype(stored), 1 + shape[0]), expected)


@pytest.mark.parametrize("vectors", VECTORS)
def test_magnitudes_call_nothing(vectors: str) -> None:
    for target in (machine_with(vectors).target, ARM):
        for stored in PIXELS:
            assert called(assembly(emit_magnitude(MagnitudeCode("float32", stored), target), target)) == set()


def test_named_functions() -> None:
    same = [
        (ji.mean(COLOUR, 5), ji.filter(COLOUR, kernels.mean(5))),
        (ji.gaussian(COLOUR, 1.3), ji.filter(COLOUR, kernels.gaussian(1.3))),
        (ji.gaussian(COLOUR, 1.3, size=5), ji.filter(COLOUR, kernels.gaussian(1.3, 5))),
        (ji.motion_blur(COLOUR, 5, 20), ji.filter(COLOUR, kernels.motion_blur(5, 20))),
        (ji.unsharp(COLOUR, 2, 0.5), ji.filter(COLOUR, kernels.unsharp(2, 0.5))),
        (ji.sharpen(COLOUR), ji.filter(COLOUR, "sharpen")),
        (ji.sharpen(COLOUR, 5), ji.filter(COLOUR, "sharpen_5")),
        (ji.emboss(COLOUR, boundary="wrap"), ji.filter(COLOUR, "emboss", boundary="wrap")),
        (ji.laplacian(COLOUR), ji.filter(COLOUR, "laplacian", dtype="float32")),
        (ji.laplacian(COLOUR, 8), ji.filter(COLOUR, "laplacian_8", dtype="float32")),
        (ji.outline(COLOUR), ji.filter(COLOUR, "outline", dtype="float32")),
        (ji.outline(COLOUR, dtype="uint8"), ji.filter(COLOUR, "outline")),
    ]
    for i, (named, general) in enumerate(same):
        assert named.dtype == general.dtype, i
        assert (named == general).all(), i


# Arrangements of axes


def test_a_stack_of_grey_pictures() -> None:
    stack = RANDOM.integers(0, 256, (4, 9, 11), "uint8")  # four planes, and yet no alpha among them
    result = ji.filter(stack, "sharpen", channel_axis=0)
    assert (result == [ji.filter(plane, "sharpen") for plane in stack]).all()


def test_a_stack_of_colour_pictures() -> None:
    stack = RANDOM.integers(0, 256, (5, 9, 11, 3), "uint8")
    for name in ("mean", "outline", "sobel"):
        result = ji.filter(stack, name, channel_axis=-1)
        assert (result == [ji.filter(picture, name) for picture in stack]).all()


@pytest.mark.parametrize("axis", [0, 1, -3])
def test_channels_elsewhere(axis: int) -> None:
    moved = np.moveaxis(COLOUR, -1, axis)
    assert (np.moveaxis(ji.filter(moved, "emboss", channel_axis=axis), axis, -1) == ji.filter(COLOUR, "emboss")).all()
    assert (ji.filter(moved, "outline", channel_axis=axis) == ji.filter(COLOUR, "outline")).all()


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_carried_along(channels: int) -> None:
    picture = RANDOM.integers(0, 256, (8, 9, channels), "uint8")
    colours, alpha = picture[..., :-1], picture[..., -1]
    for name in ("mean", "sobel", "laplacian"):
        result = ji.filter(picture, name, stride=2)
        assert result.shape == (4, 5, channels)
        assert (result[..., -1] == alpha[::2, ::2]).all()
        assert (result[..., :-1] == ji.filter(colours, name, channel_axis=-1, stride=2)).all()
    outlined = ji.filter(picture, "outline")
    assert outlined.shape == (8, 9, 2)
    assert (outlined[..., 1] == alpha).all()
    assert (outlined[..., 0] == ji.filter(colours, "outline", channel_axis=-1)).all()
    as_float = ji.sobel(picture)
    assert (as_float[..., -1] == alpha).all()
    # a 16-bit alpha saturates as its colours do
    assert (ji.filter(picture.astype("uint16") * 257, "identity", dtype="uint8")[..., -1] == np.minimum(alpha * 257.0, 255)).all()


def test_five_channels_and_one() -> None:
    many = RANDOM.random((6, 7, 5))
    assert ji.filter(many, "mean", channel_axis=2).shape == (6, 7, 5)
    assert (ji.filter(GREY[..., None], "mean", channel_axis=2)[..., 0] == ji.filter(GREY, "mean")).all()
    for name in ("mean", "sobel"):
        assert (ji.filter(GREY[..., None], name) == ji.filter(GREY, name)[..., None]).all(), "one channel is seen as such"
    assert (ji.outline(GREY[..., None]) == ji.outline(GREY)).all()


def test_parameters_of_named_kernels() -> None:
    assert (ji.filter(GREY, "mean", size=5) == ji.mean(GREY, 5)).all()
    assert (ji.filter(COLOUR, "gaussian", sigma=2, size=7, boundary="edge") == ji.gaussian(COLOUR, 2, 7, boundary="edge")).all()


def test_a_constant_that_is_not_finite_passes_into_float_pictures() -> None:
    assert np.isnan(ji.mean(GREY.astype("float32"), boundary=("constant", np.nan))[0]).all()


# Any picture, kernel, boundary and stride


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_agrees_with_the_definition(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    channels = data.draw(st.sampled_from([None, 3]))
    dtype = data.draw(st.sampled_from(PIXELS))
    seed = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    full = shape if channels is None else (*shape, channels)
    picture = seed.random(full).astype(dtype) if dtype.startswith("f") else seed.integers(0, np.iinfo(dtype).max + 1, full, dtype)
    sides = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    kernel = seed.normal(size=sides) * (seed.random(sides) < data.draw(st.sampled_from([0.3, 1.0])))
    boundary: Any = data.draw(st.sampled_from([*MODES, ("constant", 3.5)]))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    out = data.draw(st.sampled_from([None, *PIXELS]))

    result = ji.filter(picture, kernel, boundary=boundary, stride=stride, dtype=out)
    planes = [picture] if channels is None else list(np.moveaxis(picture, -1, 0))
    exact = [plain(plane, kernel, boundary, stride) for plane in planes]
    expected = exact[0] if channels is None else np.stack(exact, -1)
    assert result.dtype == np.dtype(out or dtype)
    assert result.shape == expected.shape
    scale = float(np.abs(kernel).sum() * max(float(picture.max()), 3.5)) + 1e-9
    if result.dtype == np.float64 and picture.dtype != np.float32:
        assert_pixels(result, expected, scale)
    else:
        np.testing.assert_allclose(
            result, expected if result.dtype.kind == "f" else np.clip(expected, 0, np.iinfo(result.dtype).max),
            rtol=0, atol=scale * 1e-5 + (0.5 if result.dtype.kind == "u" else 0),
        )  # fmt: skip


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (1, 1, 3), (2, 1, 4)])
def test_smaller_than_the_kernel(shape: tuple[int, ...], boundary: str) -> None:
    picture = RANDOM.integers(0, 256, shape, "uint8")
    result = ji.filter(picture, kernels.mean(9), boundary=boundary)
    first = picture if picture.ndim == 2 else picture[..., 0]
    assert_pixels(result if picture.ndim == 2 else result[..., 0], plain(first, kernels.mean(9), boundary), 300)


def test_a_boundary_for_each_axis() -> None:
    result = ji.filter(COLOUR[..., 0].astype("float64"), kernels.mean(5), boundary=("wrap", "edge"))
    padded = np.pad(np.pad(COLOUR[..., 0].astype("float64"), ((2, 2), (0, 0)), "wrap"), ((0, 0), (2, 2)), "edge")
    expected = sum(padded[u : u + 13, v : v + 17] for u, v in np.ndindex(5, 5)) / 25
    np.testing.assert_allclose(result, expected, atol=1e-10)
    both = ji.filter(COLOUR, "mean", boundary=("reflect", "reflect"))
    assert (both == ji.filter(COLOUR, "mean")).all()


def test_even_kernels_are_centred_on_element_k_over_2() -> None:
    spot = np.zeros((7, 7), "uint8")
    spot[3, 3] = 1
    assert np.argwhere(ji.filter(spot, np.ones((2, 4)))).min(axis=0).tolist() == [3, 2]


def test_rounds_half_to_even_and_saturates() -> None:
    picture = np.array([[1, 3, 5, 255]], "uint8")
    assert ji.filter(picture, [[0.5]]).tolist() == [[0, 2, 2, 128]]
    assert ji.filter(picture, [[-1.0]]).tolist() == [[0, 0, 0, 0]]
    assert ji.filter(picture, [[100.0]]).tolist() == [[100, 255, 255, 255]]
    assert ji.filter(picture.astype("uint16"), [[300.0]]).tolist() == [[300, 900, 1500, 65535]]
    assert ji.filter(picture.astype("float64"), [[0.5]], dtype="uint8").tolist() == [[0, 2, 2, 128]]


def test_16_bits_are_kept() -> None:
    picture = RANDOM.integers(0, 65536, (9, 10, 3), "uint16")
    result = ji.filter(picture, "mean")
    assert result.dtype == np.uint16
    assert_pixels(result[..., 1], plain(picture[..., 1], kernels.mean(3)), 70000)


def test_views_byte_orders_and_read_only_pictures_are_left_alone() -> None:
    expected = ji.filter(COLOUR, "sharpen")
    wide = np.zeros((26, 17, 6), "uint8")
    wide[::-2, :, ::-2] = COLOUR
    for picture in (np.asfortranarray(COLOUR), wide[::-2, :, ::-2], COLOUR.astype(">u2"), COLOUR.astype(">f8")):
        before = picture.copy()
        picture.flags.writeable = False
        result = ji.filter(picture, "sharpen", dtype="uint8")
        assert (result == expected).all()
        assert (picture == before).all()
        assert result.dtype.isnative
    broadcast = np.broadcast_to(np.uint8(9), (5, 6))
    assert (ji.filter(broadcast, "mean") == 9).all()


def test_nan_and_infinity_pass() -> None:
    picture = np.ones((5, 9), "float32")
    picture[2, 2], picture[2, 7] = np.nan, np.inf
    blurred = ji.mean(picture)
    assert np.isnan(blurred[1:4, 1:4]).all()
    assert np.isinf(blurred[1:4, 6:9]).all()
    assert np.isfinite(blurred[0]).all()
    assert not np.isnan(ji.filter(picture, "laplacian")[1, 1]), "zeros in the kernel are skipped"


def test_threads_do_not_change_bits() -> None:
    picture = RANDOM.random((64, 65, 3)).astype("float32")
    assert (ji.gaussian(picture, 2, threads=1) == ji.gaussian(picture, 2, threads=2)).all()


def test_bool() -> None:
    mask = GREY > 128
    assert (ji.filter(mask, "mean", dtype="float32") == ji.filter(mask.astype("uint8"), "mean", dtype="float32")).all()
    assert ji.sobel(mask).dtype == np.float32


def test_signed_results_on_grey() -> None:
    step = np.zeros((4, 6, 4), "uint8")
    step[:, 3:, :3], step[..., 3] = 255, 77
    prepared = prepare(step, "sobel_x", dtype="float32")
    values = prepared.run()
    centred = on_grey(values, prepared, signed=True)
    assert centred.dtype == np.uint8
    assert centred[0, :, 0].tolist() == [128, 128, 255, 255, 128, 128]
    assert (centred[..., 3] == 77).all()
    assert on_grey(-values, prepared, signed=False)[0, :, 0].tolist() == [0, 0, 255, 255, 0, 0]


# What bad input gets


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ji.filter(GREY, "soble"), ArgumentError, "kernel (='soble') must be an array or one of"),
        (lambda: ji.filter(GREY[0], "mean"), ShapeError, "image of shape (19,) must have two axes"),
        (lambda: ji.filter(5, "mean"), JuanjiError, "image"),
        (lambda: ji.filter(GREY[:0], "mean"), ShapeError, "image of shape (0, 19) has no pixels"),
        (lambda: ji.filter(np.zeros((4, 5, 6), "uint8"), "mean"), ShapeError, "channel_axis says which axis"),
        (lambda: ji.filter(GREY, "mean", channel_axis=5), ArgumentError, "channel_axis (=5)"),
        (lambda: ji.filter(GREY, "mean", channel_axis=0), ShapeError, "besides its channels"),
        (lambda: ji.filter(GREY.astype("int64"), "mean"), DtypeError, "image has dtype int64"),
        (lambda: ji.filter(GREY.astype(object), "mean"), DtypeError, "image has dtype object"),
        (lambda: ji.filter(GREY > 3, "mean"), DtypeError, "dtype='float32'"),
        (lambda: ji.filter(GREY, "mean", dtype="int16"), DtypeError, "dtype (=int16) must be one of"),
        (lambda: ji.filter(GREY, [1, 0, -1]), ShapeError, "kernel of shape (3,) must have two axes; a row is kernel[None, :]"),
        (lambda: ji.filter(GREY, np.ones((2, 2, 2))), ShapeError, "kernel of shape (2, 2, 2)"),
        (lambda: ji.filter(GREY, np.ones((0, 3))), ShapeError, "no elements"),
        (lambda: ji.filter(GREY, np.ones((3, 3), complex)), DtypeError, "kernel has dtype complex128"),
        (lambda: ji.filter(GREY, [["a"]]), DtypeError, "kernel has dtype"),
        (lambda: ji.filter(GREY, [[np.nan]]), ArgumentError, "kernel must be finite"),
        (lambda: ji.filter(GREY, [[1e300]]), ArgumentError, "kernel must be finite"),
        (lambda: ji.filter(GREY, "mean", stride=0), ArgumentError, "stride (=0) must be at least 1"),
        (lambda: ji.filter(GREY, "mean", stride=(1, 2, 3)), ArgumentError, "stride"),
        (lambda: ji.filter(GREY, "mean", boundary="mirror"), ArgumentError, "boundary (='mirror')"),
        (lambda: ji.sharpen(GREY, 7), ArgumentError, "centre (=7) must be 9 or 5"),
        (lambda: ji.sharpen(GREY, centre=[9]), ArgumentError, "centre (=[9]) must be 9 or 5"),  # type: ignore[arg-type]
        (lambda: ji.filter(GREY, "mean", dtype="float99"), DtypeError, "dtype (='float99') must be an element type"),
        (lambda: ji.filter(GREY, [[1, 2], [3]]), ShapeError, "kernel must be an array, but its rows have different lengths"),
        (lambda: ji.gaussian([[1, 2], [3]]), ShapeError, "image must be an array"),
        (lambda: ji.sobel([[1, 2], [3]]), ShapeError, "image must be an array"),
        (lambda: ji.filter(GREY, "sobel", sigma=2), ArgumentError, "kernel (='sobel') takes no parameter, not sigma"),
        (lambda: ji.filter(GREY, "mean", boundry="edge"), ArgumentError, "kernel (='mean') takes size, not boundry"),
        (lambda: ji.filter(GREY, [[1]], size=3), ArgumentError, "size is no argument of filter"),
        (lambda: ji.mean(GREY, boundary=("constant", np.nan)), ArgumentError, "boundary (=nan) must be finite for a picture of uint8"),
        (lambda: ji.mean(GREY, boundary=("edge", ("constant", -np.inf))), ArgumentError, "(=-inf) must be finite"),
        (lambda: ji.mean(GREY > 9, boundary=("constant", np.nan), dtype="float32"), ArgumentError, "for a picture of bool"),
        (lambda: ji.laplacian(GREY, 5), ArgumentError, "neighbours (=5) must be 4 or 8"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], Array], kind: type[JuanjiError], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
