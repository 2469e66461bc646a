"""What the functions of the family say to bad arguments: one line that names the argument, its value and the rule; inputs unchanged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import juanji as jj
from juanji.errors import ArgumentError, DtypeError, ShapeError
from test_arguments import refused

X, W, DY = np.ones((2, 4, 8, 9), np.float32), np.ones((6, 2, 3, 3), np.float32), np.ones((2, 6, 6, 7), np.float32)
LOCAL = np.ones((6, 7, 6, 2, 3, 3), np.float32)

CALLS: dict[str, Callable[..., object]] = {
    "conv": lambda **more: jj.conv(X, W, **{"groups": 2} | more),
    "conv_transpose": lambda **more: jj.conv_transpose(DY, W, **{"groups": 2} | more),
    "conv_grad_input": lambda **more: jj.conv_grad_input(DY, W, X.shape, **{"groups": 2} | more),
    "conv_grad_weight": lambda **more: jj.conv_grad_weight(X, DY, W.shape, **{"groups": 2} | more),
    "plan": lambda **more: jj.plan(X.shape, W.shape, **{"groups": 2} | more),
    "plan, gradient of the input": lambda **more: jj.plan(X.shape, W.shape, gradient="input", **{"groups": 2} | more),
    "plan, gradient of the weights": lambda **more: jj.plan(X.shape, W.shape, gradient="weight", **{"groups": 2} | more),
}
EVERYWHERE: list[tuple[dict[str, Any], type[ArgumentError | DtypeError], tuple[str, ...]]] = [
    ({"stride": 0}, ArgumentError, ("stride (=0)", "at least 1")),
    ({"stride": -(2**40)}, ArgumentError, ("stride (=-1099511627776)", "at least 1")),
    ({"stride": 2.0}, ArgumentError, ("stride (=2.0)", "integer")),
    ({"stride": np.float32(2)}, ArgumentError, ("stride", "2.0", "integer")),
    ({"stride": (1, 2, 3)}, ArgumentError, ("stride (=(1, 2, 3))", "2")),
    ({"stride": "1"}, ArgumentError, ("stride (='1')",)),
    ({"stride": None}, ArgumentError, ("stride (=None)",)),
    ({"stride": np.array([[1, 1]])}, ArgumentError, ("stride",)),
    ({"stride": {1, 2}}, ArgumentError, ("stride",)),
    ({"dilation": 0}, ArgumentError, ("dilation (=0)", "at least 1")),
    ({"dilation": [1, 2.5]}, ArgumentError, ("dilation (=2.5)", "integer")),
    ({"padding": -1}, ArgumentError, ("padding (=-1)", "at least 0")),
    ({"padding": "SAME"}, ArgumentError, ("padding (='SAME')", "same", "valid")),
    ({"padding": ((1, 1),)}, ArgumentError, ("padding (=((1, 1),))",)),
    ({"padding": ((1, 1, 1), 0)}, ArgumentError, ("(1, 1, 1)",)),
    ({"padding": 2**62}, ShapeError, ()),
    ({"groups": 5}, ShapeError, ("groups (=5)",)),
    ({"groups": 0}, ArgumentError, ("groups (=0)",)),
    ({"groups": 2.0}, ArgumentError, ("groups (=2.0)", "integer")),
    ({"groups": 2**40}, ShapeError, ("groups",)),
    ({"boundary": "mirror"}, ArgumentError, ("boundary (='mirror')", "reflect")),
    ({"boundary": ("zero",)}, ArgumentError, ("boundary", "2")),
    ({"boundary": ("constant", "1")}, ArgumentError, ("boundary",)),
    ({"boundary": ("constant", 1j)}, ArgumentError, ("boundary",)),
    ({"sharing": "both"}, ArgumentError, ("sharing (='both')", "shared", "tiled", "local")),
    ({"sharing": "tiled"}, ShapeError, ("(6, 2, 3, 3)", "1 spatial axes")),
    ({"layout": "NHWC"}, ArgumentError, ("layout (='NHWC')", "channels_last")),
    ({"weight_layout": "IO*"}, ArgumentError, ("weight_layout (='IO*')", "*IO")),
    ({"overflow": "clip"}, ArgumentError, ("overflow (='clip')", "saturate")),
    ({"out_dtype": "number"}, DtypeError, ("out_dtype (='number')",)),
    ({"out_dtype": "complex64"}, DtypeError, ("out_dtype (=complex64)", "complex")),
    ({"out_dtype": object}, DtypeError, ("out",)),
    ({"algorithm": "fastest"}, ArgumentError, ("algorithm (='fastest')", "direct")),
    ({"precision": 64}, ArgumentError, ("precision (=64)", "strict")),
]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("more", "error", "words"), EVERYWHERE, ids=[str(row[0]).replace("/", "") for row in EVERYWHERE])
def test_arguments_of_all_functions(more: dict[str, Any], error: Any, words: tuple[str, ...], name: str) -> None:
    kept = [array.copy() for array in (X, W, DY)]
    refused(error, lambda: CALLS[name](**more), *words)
    for array, before in zip((X, W, DY), kept, strict=True):
        np.testing.assert_array_equal(array, before)


SHAPES: list[tuple[str, Callable[[], object], type[ArgumentError | DtypeError], tuple[str, ...]]] = [
    ("too few channels", lambda: jj.conv(X[:, :3], W, groups=1), ShapeError, ("3 channels", "(6, 2, 3, 3)", "2")),
    ("no batch, no channels", lambda: jj.conv(X[0, 0], W), ShapeError, ("(8, 9)", "4 axes")),
    ("too many axes", lambda: jj.conv(X[None], W, groups=2), ShapeError, ("4 axes",)),
    ("a kernel beyond x", lambda: jj.conv(X[:, :, :2], W, groups=2), ShapeError, ("kernel of size 3", "axis 0", "2")),
    ("no pixels", lambda: jj.conv(X[:, :, :0], W, groups=2), ShapeError, ("at least one element",)),
    ("no features", lambda: jj.conv(X, W[:0], groups=2), ArgumentError, ("features (=0)",)),
    ("no channels", lambda: jj.conv(X[:, :0], W[:, :0]), ArgumentError, ("channels (=0)",)),
    ("features and groups", lambda: jj.conv(X, W[:5], groups=2), ShapeError, ("features (=5)", "groups (=2)")),
    ("sites beyond the output", lambda: jj.conv(X, np.ones((7, 7, 6, 2, 3, 3), "f4"), groups=2, sharing="tiled"), ShapeError,
     ("sites (=7)", "axis 0", "6")),
    ("sites of another output", lambda: jj.conv(X, LOCAL[:5], groups=2, sharing="local"), ShapeError, ("(5, 7)", "(6, 7)")),
    ("local, odd axes", lambda: jj.conv(X, LOCAL[0], groups=2, sharing="local"), ShapeError, ("(7, 6, 2, 3, 3)",)),
    ("local, transposed", lambda: jj.conv_transpose(DY, LOCAL[:, :5], groups=2, sharing="local"), ShapeError, ("(6, 5)", "(6, 7)")),
    ("bias with sites", lambda: jj.conv(X, LOCAL, np.ones(6, "f4"), groups=2, sharing="local"), ShapeError, ("bias", "(6, 7, 6)")),
    ("bias without sites", lambda: jj.conv(X, W, np.ones((6, 7, 6), "f4"), groups=2), ShapeError, ("bias", "(6,)")),
    ("dx of another size", lambda: jj.conv_grad_input(DY, W, (2, 4, 9, 9), groups=2), ShapeError, ("(2, 6, 6, 7)", "(2, 6, 7, 7)")),
    ("dx of one error", lambda: jj.conv_grad_input(DY[0], W, X.shape, groups=2), ShapeError, ("(6, 6, 7)", "input_shape (2, 4, 8, 9)")),
    ("dx of no array", lambda: jj.conv_grad_input(DY, W, (2, 4, 2**40, 9), groups=2), ShapeError, ("dy has shape", str(2**40 - 2))),
    ("dx beyond 64 bits", lambda: jj.conv_grad_input(DY, W, (2, 4, 2**40, 2**40), groups=2), ShapeError, ("64-bit",)),
    ("dx of floats", lambda: jj.conv_grad_input(DY, W, (2, 4, 8.0, 9), groups=2), ArgumentError, ("input_shape",)),
    ("dx of negative size", lambda: jj.conv_grad_input(DY, W, (2, 4, -8, 9), groups=2), ArgumentError, ("-8",)),
    ("dx of no shape", lambda: jj.conv_grad_input(DY, W, None, groups=2), ArgumentError, ("input_shape (=None)",)),
    ("dw of another size", lambda: jj.conv_grad_weight(X, DY, (6, 2, 3, 4), groups=2), ShapeError, ("(2, 6, 6, 7)", "(2, 6, 6, 6)")),
    ("dw of one error", lambda: jj.conv_grad_weight(X, DY[0], W.shape, groups=2), ShapeError, ("(6, 6, 7)", "x of shape (2, 4, 8, 9)")),
    ("dw of one", lambda: jj.conv_grad_weight(X[0], DY[0], (6, 2, 3, 4), groups=2), ShapeError, ("(6, 6, 7)", "(6, 6, 6)")),
    ("dw of another batch", lambda: jj.conv_grad_weight(X[:1], DY, W.shape, groups=2), ShapeError, ("dy has shape (2, 6, 6, 7)",)),
    ("dw beyond 64 bits", lambda: jj.conv_grad_weight(X, DY, (2**61, 2, 3, 3), groups=2), ShapeError, ()),
    ("dw with other sites", lambda: jj.conv_grad_weight(X, DY, (6, 8, 6, 2, 3, 3), groups=2, sharing="local"), ShapeError, ("8", "7")),
    ("db of other features", lambda: jj.conv_grad_bias(DY, (5,)), ShapeError, ("bias_shape", "(5,)", "6")),
    ("db of other sites", lambda: jj.conv_grad_bias(DY, (7, 7, 6)), ShapeError, ("bias_shape", "(7, 7, 6)")),
    ("db without axes", lambda: jj.conv_grad_bias(DY[0, 0]), ShapeError, ("dy",)),
    ("output_padding", lambda: jj.conv_transpose(DY, W, stride=2, output_padding=2), ArgumentError, ("output_padding (=2)", "stride (=2)")),
    ("output_padding of floats", lambda: jj.conv_transpose(DY, W, stride=3, output_padding=1.0), ArgumentError, ("output_padding (=1.0)",)),
    ("padding beyond the output", lambda: jj.conv_transpose(DY[:, :, :1], W, padding=2), ShapeError, ("-1 elements", "axis 0")),
    ("transposed channels", lambda: jj.conv_transpose(X, W), ShapeError, ("x has 4 channels", "takes 6")),
    ("transposed beyond 64 bits", lambda: jj.conv_transpose(DY, W, stride=2**40), ShapeError, ("64-bit",)),
    ("out of another shape", lambda: jj.conv_transpose(DY, W, out=np.empty((2, 2, 8, 8), "f4")), ShapeError, ("out", "(2, 2, 8, 9)")),
    ("out of another type", lambda: jj.conv(X, W, groups=2, out=np.empty(DY.shape)), DtypeError, ("out", "float64")),
    ("out read-only", lambda: jj.conv(X, W, groups=2, out=np.broadcast_to(np.float32(0), DY.shape)), ArgumentError, ("out is read-only",)),
    ("words", lambda: jj.conv([["a"]], W), DtypeError, ("x has dtype",)),
    ("objects", lambda: jj.conv_grad_weight(X, np.array([None]), W.shape), DtypeError, ("dy has dtype object",)),
    ("a number", lambda: jj.conv(1.0, W), ShapeError, ("x is a single number",)),
    ("unsigned and signed", lambda: jj.conv(X.astype("u8"), W.astype("i8"), groups=2), DtypeError, ("uint64",)),
    ("a half constant", lambda: jj.conv_grad_weight(X.astype(int), DY.astype(int), W.shape, groups=2, boundary=("constant", 0.5)),
     ArgumentError, ("boundary (=('constant', 0.5))", "integer")),
    ("sigmoid of integers", lambda: jj.conv_transpose(DY.astype(int), W.astype(int), activation="sigmoid"), DtypeError, ("'sigmoid'",)),
    ("relu of complex", lambda: jj.conv_transpose(DY * 1j, W, activation="relu"), DtypeError, ("'relu'", "complex")),
    ("a plan's gradient", lambda: jj.plan(X.shape, W.shape, groups=2, gradient="dx"), ArgumentError, ("gradient (='dx')", "weight")),
    ("an epilogue of dw", lambda: jj.plan(X.shape, W.shape, groups=2, gradient="weight", bias=True), ArgumentError, ("bias (=True)",)),
    ("a plan for floats", lambda: jj.plan((2, 4, 8.0, 9), W.shape), ArgumentError, ("x_shape (=8.0)",)),
    ("a plan for less", lambda: jj.plan((2, 4, -8, 9), W.shape), ArgumentError, ("x_shape (=-8)",)),
    ("a plan beyond 64 bits", lambda: jj.plan((2**40, 4, 2**40, 9), W.shape, groups=2), ShapeError, ("64-bit",)),
    ("a mode of convolve", lambda: jj.convolve(X, W, "most"), ArgumentError, ("mode (='most')", "full")),
    ("axes of convolve", lambda: jj.convolve(X, W[0, 0], axes=(1, 4)), ArgumentError, ("axes (=(1, 4))",)),
    ("axes twice", lambda: jj.correlate(X, W[0, 0], axes=(1, -3)), ArgumentError, ("axes (=(1, -3))", "repeat")),
    ("axes missing", lambda: jj.correlate(X, W[0, 0]), ShapeError, ("2 axes", "4")),
    ("neither fits", lambda: jj.convolve(X[0, 0], np.ones((9, 3)), "valid"), ShapeError, ("(8, 9)", "(9, 3)")),
    ("strides of convolve", lambda: jj.convolve(X[0, 0], W[0, 0], stride=-1), ArgumentError, ("stride (=-1)",)),
    ("words to convolve", lambda: jj.convolve("word", [1.0]), DtypeError, ("a ",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "error", "words"), SHAPES, ids=[row[0] for row in SHAPES])
def test_arrays_that_do_not_go_together(name: str, call: Callable[[], object], error: Any, words: tuple[str, ...]) -> None:
    refused(error, call, *words)


def test_numpy_scalars_are_integers() -> None:
    given: dict[str, Any] = {
        "stride": np.int8(2), "padding": np.array([1, 2]), "dilation": np.uint64(1), "groups": np.int64(2), "flip": np.True_,
        "boundary": ("constant", np.float16(2)),
    }  # fmt: skip
    plain: dict[str, Any] = {"stride": 2, "padding": (1, 2), "dilation": 1, "groups": 2, "flip": True, "boundary": ("constant", 2.0)}
    y = jj.conv(X, W, **plain)
    np.testing.assert_array_equal(jj.conv(X, W, **given), y)
    shape, weights = np.array(X.shape), [np.int16(length) for length in W.shape]
    np.testing.assert_array_equal(jj.conv_grad_input(y, W, shape, **given), jj.conv_grad_input(y, W, X.shape, **plain))
    np.testing.assert_array_equal(jj.conv_grad_weight(X, y, weights, **given), jj.conv_grad_weight(X, y, W.shape, **plain))
    np.testing.assert_array_equal(jj.plan(tuple(shape), tuple(weights), **given)(X, W), y)


@pytest.mark.parametrize("sharing", ["shared", "tiled", "local"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "complex64"])
def test_batches_of_none(dtype: str, sharing: str) -> None:
    w = (W if sharing == "shared" else LOCAL[:2, :3] if sharing == "tiled" else LOCAL).astype(dtype)
    given: dict[str, Any] = {"groups": 2, "sharing": sharing}
    x, dy = X[:0].astype(dtype), DY[:0].astype(dtype)
    of = "int64" if dtype == "int8" else dtype
    y, dx, dw = jj.conv(x, w, **given), jj.conv_grad_input(dy, w, x.shape, **given), jj.conv_grad_weight(x, dy, w.shape, **given)
    assert [(a.shape, a.dtype.name) for a in (y, dx, dw)] == [(dy.shape, of), (x.shape, of), (w.shape, of)]
    assert not dw.any()
    assert jj.conv_transpose(dy, w, **given).shape == (0, 4, 8, 9)
    assert not jj.conv_grad_bias(dy).any()


@pytest.mark.parametrize("produces", ["y", "x", "w"])
def test_the_first_sum_that_does_not_fit_is_named(produces: str) -> None:
    x, w, dy = np.zeros((2, 1, 5, 6), np.int16), np.ones((1, 1, 1, 1), np.int16), np.zeros((2, 1, 5, 6), np.int16)
    x[1, 0, 2, 3] = dy[1, 0, 2, 3] = x[1, 0, 4, 4] = dy[1, 0, 4, 4] = 200
    kept = x.copy(), w.copy(), dy.copy()
    given: dict[str, Any] = {"out_dtype": "int8", "overflow": "raise"}
    place, call = {
        "y": ((1, 0, 2, 3), lambda: jj.conv(x, w, **given)),
        "x": ((1, 0, 2, 3), lambda: jj.conv_grad_input(dy, w, x.shape, **given)),
        "w": ((0, 0, 0, 0), lambda: jj.conv_grad_weight(x, dy, w.shape, **given)),
    }[produces]
    refused(ArgumentError, call, f"sum at {place} does not fit out_dtype (=int8)", "overflow is 'raise'")
    for array, before in zip((x, w, dy), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("sharing", ["shared", "tiled", "local"])
@pytest.mark.parametrize("boundary", ["edge", "reflect"])
def test_sums_are_whole_before_they_are_asked_whether_they_fit(boundary: str, sharing: str) -> None:
    """Gradients of borders are folded back, in parts that need not fit."""
    rng = np.random.default_rng(0)
    w = rng.integers(-(2**20), 2**20, (3, 2, 3, 3)).astype(np.int32)  # sums beyond what floats carry
    w = np.broadcast_to(w, ({"shared": (), "tiled": (2, 2), "local": (5, 5)}[sharing]) + w.shape)
    dy = rng.integers(-(2**30), 2**30, (1, 3, 5, 5)).astype(np.int32)
    given: dict[str, Any] = {"padding": 1, "boundary": boundary, "sharing": sharing}
    sums = jj.conv_grad_input(dy, w, (1, 2, 5, 5), **given)
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax((sums < 0) | (sums > 255))), sums.shape))
    given |= {"out_dtype": "uint8", "overflow": "raise"}
    refused(ArgumentError, lambda: jj.conv_grad_input(dy, w, (1, 2, 5, 5), **given), f"sum at {place} does not fit")
    small = jj.conv_grad_input(np.ones_like(dy), np.ones_like(w), (1, 2, 5, 5), **given)
    assert small.dtype == np.uint8
    assert small.min() > 0


def test_sums_of_floats_that_do_not_fit_are_named() -> None:
    x, w = np.ones((1, 1, 1, 3), bool), np.full((1, 1, 1, 1), 300.0)
    refused(ArgumentError, lambda: jj.conv(x, w, out_dtype="uint8", overflow="raise"), "sum at (0, 0, 0, 0) does not fit")
    assert jj.conv(x, w / 3, out_dtype="uint8", overflow="raise").tolist() == [[[[100, 100, 100]]]]
