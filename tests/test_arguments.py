"""What bad input gets: one line that names the argument, its value and the rule; never a crash or a wrong answer."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import juanji as jj
from compiled import f32
from juanji.boundary import Boundary
from juanji.errors import ArgumentError, DtypeError, JuanjiError, NotBuiltError, ShapeError

X, W, B = np.ones((2, 3, 8, 9), np.float32), np.ones((4, 3, 3, 3), np.float32), np.ones(4, np.float32)


def refused(kind: type[JuanjiError], call: Callable[[], object], *words: str) -> None:
    """The call raises an error of this kind, in one line, with these words in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind) as raised:
            call()
    message = str(raised.value)
    assert type(raised.value) in (kind, *kind.__subclasses__())
    assert message
    assert "\n" not in message
    assert len(message) < 300
    for word in words:
        assert word in message, message


def both(kind: type[JuanjiError], arguments: dict[str, Any], *words: str) -> None:
    """conv and plan refuse the arguments alike."""
    refused(kind, lambda: jj.conv(X, W, **arguments), *words)
    refused(kind, lambda: jj.plan(X.shape, W.shape, **arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stride": 0}, ("stride (=0)", "at least 1")),
        ({"stride": -1}, ("stride (=-1)", "at least 1")),
        ({"stride": (1, 0)}, ("stride (=0)", "at least 1")),
        ({"stride": (1, 2, 3)}, ("stride (=(1, 2, 3))", "2")),
        ({"stride": ()}, ("stride (=())",)),
        ({"stride": 1.5}, ("stride (=1.5)", "integer")),
        ({"stride": "2"}, ("stride (='2')", "integer")),
        ({"stride": None}, ("stride (=None)", "integer")),
        ({"stride": (1, None)}, ("stride (=None)", "integer")),
        ({"dilation": 0}, ("dilation (=0)", "at least 1")),
        ({"dilation": (-2, 1)}, ("dilation (=-2)", "at least 1")),
        ({"dilation": 2.0}, ("dilation (=2.0)", "integer")),
        ({"padding": -1}, ("padding (=-1)", "at least 0")),
        ({"padding": ((1, -1), (0, 0))}, ("padding (=-1)", "at least 0")),
        ({"padding": (1, 2, 3)}, ("padding (=(1, 2, 3))",)),
        ({"padding": ((1, 2, 3), 1)}, ("(1, 2, 3)",)),
        ({"padding": "some"}, ("padding (='some')", "same", "valid", "full", "causal")),
        ({"padding": 0.5}, ("padding (=0.5)", "integer")),
        ({"padding": None}, ("padding (=None)", "integer")),
        ({"groups": 0}, ("groups (=0)", "at least 1")),
        ({"groups": -3}, ("groups (=-3)", "at least 1")),
        ({"groups": 1.0}, ("groups (=1.0)", "integer")),
        ({"boundary": "mirror"}, ("boundary (='mirror')", "reflect", "edge", "wrap")),
        ({"boundary": ("zero", "zero", "zero")}, ("boundary", "2")),
        ({"boundary": 5}, ("boundary (=5)",)),
        ({"boundary": ("constant", "red")}, ("boundary",)),
        ({"boundary": None}, ("boundary (=None)",)),
        ({"layout": "NCHW"}, ("layout (='NCHW')", "channels_first", "channels_last")),
        ({"weight_layout": "IO*"}, ("weight_layout (='IO*')", "OI*", "*IO", "O*I")),
        ({"sharing": "none"}, ("sharing (='none')", "shared", "tiled", "local")),
        ({"activation": "softplus"}, ("activation", "softplus", "relu", "tanh")),
        ({"activation": ("relu", 3)}, ("activation", "relu", "no parameter")),
        ({"overflow": "ignore"}, ("overflow (='ignore')", "saturate", "wrap", "raise")),
        ({"algorithm": "winograd3"}, ("algorithm (='winograd3')", "auto", "direct")),
        ({"precision": "high"}, ("precision (='high')", "default", "strict")),
    ],
)
def test_arguments(arguments: dict[str, Any], words: tuple[str, ...]) -> None:
    both(ArgumentError, arguments, *words)


@pytest.mark.parametrize("name", ["layout", "sharing", "overflow", "algorithm", "precision", "weight_layout"])
@pytest.mark.parametrize("value", [3, ("a", "b"), b"direct"])
def test_names_that_are_no_strings(name: str, value: object) -> None:
    both(ArgumentError, {name: value}, name)


STRANGE: tuple[Any, ...] = ({"a": 1}, {1, 2}, ["a", ["b"]], [[]], np.nan, np.ones(2), np.ones((2, 2)), object())


@pytest.mark.parametrize("name", ["stride", "padding", "dilation", "groups", "boundary", "layout", "sharing", "activation", "overflow"])
def test_values_of_strange_kinds(name: str) -> None:
    for value in STRANGE:
        for call in (lambda v=value: jj.conv(X, W, **{name: v}), lambda v=value: jj.plan(X.shape, W.shape, **{name: v})):
            refused(ArgumentError, call, name)


def test_what_ran_before_does_not_matter() -> None:
    # 1, 1.0 and True are equal and hash alike: a plan kept for one must not be found by the others.
    x, w = np.ones((1, 1, 5, 6), np.float32), np.ones((1, 1, 2, 2), np.float32)
    jj.conv(x, w, stride=1, dilation=(1, 1), padding=0, groups=1)
    refused(ArgumentError, lambda: jj.conv(x, w, stride=1.0), "stride (=1.0)")
    refused(ArgumentError, lambda: jj.conv(x, w, stride=1, dilation=(1.0, 1), padding=0, groups=1), "dilation (=1.0)")
    refused(ArgumentError, lambda: jj.conv(x, w, stride=1, dilation=(1, 1), padding=0.0, groups=1), "padding (=0.0)")
    refused(ArgumentError, lambda: jj.conv(x, w, stride=1, dilation=(1, 1), padding=0, groups=1.0), "groups (=1.0)")


def test_shapes_show_their_arithmetic() -> None:
    both(ShapeError, {"dilation": 5}, "kernel of size 3 with dilation 5 spans 11, but axis 0 is 8 + 0 + 0 padding = 8")
    refused(
        ShapeError,
        lambda: jj.conv(np.ones((1, 1, 4, 9)), np.ones((1, 1, 5, 1)), padding=((1, 1), (0, 0)), dilation=(2, 1)),
        "kernel of size 5 with dilation 2 spans 9, but axis 0 is 4 + 1 + 1 padding = 6",
    )
    refused(ShapeError, lambda: jj.conv(X, np.ones((4, 2, 3, 3), np.float32)), "3 channels", "2")
    refused(ShapeError, lambda: jj.conv(X, W, groups=3), "3 channels", "3 in each of 3 groups = 9")
    refused(ShapeError, lambda: jj.conv(X, np.ones((4, 1, 3, 3), np.float32), groups=3), "4", "divisible by groups (=3)")
    refused(ShapeError, lambda: jj.conv(X, np.ones((4, 3, 3), np.float32)), "x of shape", "axes")
    refused(ShapeError, lambda: jj.conv(X, np.ones((4, 3), np.float32)), "w of shape (4, 3)")
    refused(ShapeError, lambda: jj.conv(X, np.ones(3, np.float32)), "w of shape (3,)")
    refused(ShapeError, lambda: jj.conv(X[0, 0, 0], W), "x of shape")
    refused(ShapeError, lambda: jj.conv(np.float32(3), W), "x is a single number")
    refused(ShapeError, lambda: jj.conv(X, np.float32(3)), "w is a single number")
    refused(ShapeError, lambda: jj.plan((8, 9), (3, 3)), "w of shape (3, 3)")


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("side", range(4))
def test_zero_sized_arrays(side: int, layout: str) -> None:
    body = (4, 3, 3, 3) if layout == "channels_first" else (3, 3, 3, 4)
    shape = [2, 3, 8, 9] if layout == "channels_first" else [2, 8, 9, 3]
    shape[side] = 0
    x, w = np.ones(shape, np.float32), np.ones(body, np.float32)
    if side == 0:  # no pictures in, no pictures out
        for threads in (1, 3):
            y = jj.conv(x, w, layout=layout, threads=threads, padding=1)
            assert y.shape == ((0, 4, 8, 9) if layout == "channels_first" else (0, 8, 9, 4))
            assert y.dtype == np.float32
        assert jj.conv(x, w, np.ones(4, np.float32), layout=layout, out=np.empty_like(y), padding=1).size == 0
    else:
        refused(ShapeError, lambda: jj.conv(x, w, layout=layout, padding=1))
    wrong = list(body)
    wrong[side] = 0
    whole = np.ones((2, 3, 8, 9) if layout == "channels_first" else (2, 8, 9, 3), np.float32)
    refused(ArgumentError, lambda: jj.conv(whole, np.ones(wrong, np.float32), layout=layout))


def test_zero_sized_signals() -> None:
    for a, k in (([], [1.0]), ([1.0], []), ([], []), (np.ones((3, 0)), np.ones((1, 1)))):
        for mode in ("full", "same", "valid"):
            refused(ArgumentError, lambda a=a, k=k, mode=mode: jj.convolve(a, k, mode))  # type: ignore[misc]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[[None]]]),
        np.array([[["a"]]]),
        np.array([[[b"a"]]]),
        np.zeros((1, 1, 1), "datetime64[s]"),
        np.zeros((1, 1, 1), "timedelta64[s]"),
        np.zeros((1, 1, 1), [("a", "f4"), ("b", "i4")]),
        np.array([[[10**30]]]),
    ],
    ids=["object", "string", "bytes", "datetime", "timedelta", "record", "large integer"],
)
def test_elements_that_are_no_numbers(array: Any) -> None:
    one = np.ones((1, 1, 1), np.float32)
    plan = jj.plan(one.shape, one.shape)
    calls: list[Callable[[], object]] = [
        lambda: jj.conv(array, one),
        lambda: jj.conv(one, array),
        lambda: jj.conv(one, one, array[0, 0]),
        lambda: jj.convolve(array, one),
        lambda: jj.plan(array.shape, one.shape, dtype=array.dtype),
        lambda: jj.plan(one.shape, array),
        lambda: plan(array, one),
        lambda: plan(one, array),
        lambda: plan.bind(array),
        lambda: plan.bind(one)(array),
    ]
    for call in calls:
        with pytest.raises((DtypeError, NotBuiltError)) as raised:
            call()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", ["longdouble", "clongdouble"])
def test_numbers_that_are_not_built_yet(dtype: str) -> None:
    x, w = np.ones((1, 1, 5), dtype), np.ones((1, 1, 2), dtype)
    for call in (lambda: jj.conv(x, w), lambda: jj.convolve(x[0, 0], w[0, 0]), lambda: jj.plan(x.shape, w.shape, dtype=dtype)):
        refused(NotBuiltError, call, "not built yet", np.dtype(dtype).name)


@pytest.mark.parametrize("dtype", ["nothing", "float33", 3.5, object(), "V8", "O", "U3"])
def test_types_that_are_none(dtype: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: jj.conv(X, W, out_dtype=dtype),
        lambda: jj.plan(X.shape, W.shape, dtype=dtype),
        lambda: jj.plan(X.shape, W.shape, out_dtype=dtype),
    ]
    for call in calls:
        with pytest.raises((DtypeError, NotBuiltError)) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_ragged_lists() -> None:
    ragged: Any = [[1.0], [1.0, 2.0]]
    calls: list[Callable[[], object]] = [lambda: jj.conv(ragged, W), lambda: jj.conv(X, ragged), lambda: jj.convolve(ragged, [1.0])]
    for call in calls:
        with pytest.raises(ValueError, match=r"differ in length|ragged|length") as raised:
            call()
        assert "\n" not in str(raised.value)


def test_sizes_whose_product_leaves_64_bits() -> None:
    one = np.zeros(1, np.float32)
    kernel = np.ones((1, 1, 1, 1), np.float32)
    for shape in ((1, 1, 2**40, 2**40), (2**31, 1, 2**31, 2**10), (2**62, 1, 1, 1), (1, 1, 2**31, 2**31)):
        refused(ShapeError, lambda shape=shape: jj.plan(shape, kernel.shape), "64-bit")  # type: ignore[misc]
        try:
            view = as_strided(one, shape, (0, 0, 0, 0))
        except ValueError:
            continue  # NumPy refuses it itself
        refused(ShapeError, lambda view=view: jj.conv(view, kernel), "64-bit")  # type: ignore[misc]
    refused(ShapeError, lambda: jj.plan((1, 1, 4, 4), (2**61, 1, 1, 1)), "64-bit")
    refused(ShapeError, lambda: jj.plan((1, 2**40, 4, 4), (2**40, 2**40, 1, 1)), "64-bit")
    refused(ShapeError, lambda: jj.plan((1, 1, 4, 4), (1, 1, 2, 2), padding=2**62), "64-bit")
    refused(ShapeError, lambda: jj.conv(np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 2, 2), np.float32), padding=2**62), "64-bit")


def test_results_larger_than_memory() -> None:
    # Valid descriptions that no memory holds: MemoryError as NumPy raises it, or one of ours; the process lives.
    x = as_strided(np.ones(1, np.float32), (1, 1, 2**20, 2**24), (0, 0, 0, 0))
    for arguments in ({}, {"padding": 1}):
        with pytest.raises((MemoryError, JuanjiError)):
            jj.conv(x, np.ones((64, 1, 1, 1), np.float32), **arguments)
    for side in (2**31, 2**33):
        with pytest.raises((MemoryError, JuanjiError)):
            jj.conv(np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 2, 2), np.float32), padding=side)


def test_long_axes_that_are_broadcast() -> None:
    x = as_strided(np.full(1, 3, np.float32), (1, 1, 3, 2**22), (0, 0, 0, 0))
    for layout, w in (("channels_first", np.ones((1, 1, 3, 1), np.float32)), ("channels_last", np.ones((3, 1, 1, 1), np.float32))):
        view = x if layout == "channels_first" else x[0, :, :, :, None]
        y = jj.conv(view, w, stride=(1, 2**12), layout=layout)
        assert y.size == 2**10
        assert (y == 9).all()


@pytest.mark.parametrize("far", [2**20, 2**40, 2**61, 2**62, 2**63, 2**70])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_strides_and_dilations_beyond_the_input(layout: str, far: int) -> None:
    x, w = (X, W) if layout == "channels_first" else (np.moveaxis(X, 1, -1), np.ones((3, 3, 3, 4), np.float32))
    corner = x[..., :3, :3] if layout == "channels_first" else x[:, :3, :3]
    first = jj.conv(corner, w, layout=layout)
    np.testing.assert_array_equal(jj.conv(x, w, stride=far, layout=layout), first)
    one = w[..., :1, :1] if layout == "channels_first" else w[:1, :1]
    np.testing.assert_array_equal(jj.conv(x, one, dilation=far, layout=layout), jj.conv(x, one, layout=layout))
    np.testing.assert_array_equal(
        jj.conv(x, one, stride=(1, far), dilation=far, layout=layout), jj.conv(x, one, stride=(1, 9), layout=layout)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e-300])
def test_nan_and_infinity_outside(value: float) -> None:
    y = jj.conv(np.ones((1, 1, 3)), np.ones((1, 1, 3)), padding=1, boundary=("constant", value))
    np.testing.assert_array_equal(y, [[[value + 2, 3, 2 + value]]])
    y = jj.conv(np.ones((1, 1, 3)), np.ones((1, 1, 3)), padding=1, boundary=("constant", np.float32(2)))
    assert y.tolist() == [[[4, 3, 4]]]


def test_a_constant_that_float32_does_not_hold() -> None:
    y = jj.conv(np.ones((1, 1, 3), np.float32), np.ones((1, 1, 3), np.float32), padding=1, boundary=("constant", 1e300))
    assert y.tolist() == [[[np.inf, 3, np.inf]]]


@pytest.mark.parametrize("bias", [np.ones(3), np.ones(5), np.ones((4, 1)), np.ones((1, 4)), np.ones(0), np.float32(1), 1.0, [[1.0]]])
def test_biases_of_another_shape(bias: Any) -> None:
    refused(ShapeError, lambda: jj.conv(X, W, bias), "bias", "(4,)" if np.ndim(bias) else "bias")


def test_biases_that_are_no_numbers() -> None:
    for bias in (["a"] * 4, [None] * 4, np.ones(4, complex), np.zeros(4, "datetime64[s]")):
        with pytest.raises((DtypeError, NotBuiltError)) as raised:
            jj.conv(X, W, bias)
        assert "\n" not in str(raised.value)


def test_biases_of_other_types_are_converted() -> None:
    expected = jj.conv(X, W, f32([1, 2, 3, 4]))
    for dtype in ("int8", "uint64", "float64", "float16", ">f4"):
        np.testing.assert_array_equal(jj.conv(X, W, np.array([1, 2, 3, 4], dtype)), expected)
    np.testing.assert_array_equal(jj.conv(X, W, [1, 2, 3, 4]), expected)


def test_a_plan_holds_to_its_shapes() -> None:
    plan, biased = jj.plan(X.shape, W.shape), jj.plan(X.shape, W.shape, bias=True)
    bound = plan.bind(W)
    refused(ShapeError, lambda: plan(X[:1], W), "x has shape (1, 3, 8, 9)", "(2, 3, 8, 9)")
    refused(ShapeError, lambda: bound(X[:1]), "x has shape (1, 3, 8, 9)", "(2, 3, 8, 9)")
    refused(ShapeError, lambda: plan(X, W[:2]), "w has shape (2, 3, 3, 3)", "(4, 3, 3, 3)")
    refused(ShapeError, lambda: plan.bind(W[:2]), "w has shape")
    refused(DtypeError, lambda: plan(X.astype(np.float64), W), "x has dtype float64", "float32")
    refused(DtypeError, lambda: bound(X.astype("uint8")), "x has dtype uint8", "float32")
    refused(ArgumentError, lambda: plan(X, W, B), "bias is given")
    refused(ArgumentError, lambda: plan.bind(W, B), "bias is given")
    refused(ArgumentError, lambda: biased(X, W), "bias is missing")
    refused(ArgumentError, lambda: biased.bind(W), "bias is missing")
    refused(ShapeError, lambda: biased(X, W, B[:3]), "bias has shape (3,)", "(4,)")
    refused(ShapeError, lambda: biased.bind(W, B[:3]), "bias has shape (3,)", "(4,)")


def test_a_plan_for_a_kernel_with_zeros_wants_the_zeros() -> None:
    sobel = f32([[[[-1, -2, -1], [0, 0, 0], [1, 2, 1]]]])
    x = np.ones((1, 1, 8, 9), np.float32)
    plan = jj.plan(x.shape, sobel)
    assert (plan(x, sobel) == 0).all()
    for call in (lambda: plan(x, np.ones_like(sobel)), lambda: plan.bind(np.ones_like(sobel))):
        refused(ArgumentError, call, "taps")


@pytest.mark.parametrize(
    "shape", [(2, 3, 8.5, 9), ("a", 3, 8, 9), (2, 3, -8, 9), (2, -3, 8, 9), (-1, 3, 8, 9), (2, 3, None, 9), 5, None, "abcd"]
)
def test_shapes_that_are_none(shape: Any) -> None:
    for call in (lambda: jj.plan(shape, W.shape), lambda: jj.plan(X.shape, shape)):
        refused(ArgumentError, call)


@pytest.mark.parametrize("parameter", [None, "a", (1, 2), np.ones(2), 1j])
def test_activation_parameters_that_are_no_numbers(parameter: Any) -> None:
    both(ArgumentError, {"activation": ("leaky_relu", parameter)}, "activation")


def test_boundary_objects_are_taken() -> None:
    expected = jj.conv(X, W, padding=2, boundary="reflect")
    np.testing.assert_array_equal(jj.conv(X, W, padding=2, boundary=Boundary("reflect")), expected)
    np.testing.assert_array_equal(jj.conv(X, W, padding=2, boundary=(Boundary("reflect"), "reflect")), expected)
    expected = jj.conv(X, W, padding=2, boundary=("constant", 5))
    np.testing.assert_array_equal(jj.conv(X, W, padding=2, boundary=(("constant", 5), Boundary("constant", 5.0))), expected)


def test_what_numpy_users_may_write() -> None:
    expected = jj.conv(X, W, stride=2, padding=1, dilation=1)
    for two, one in ((np.int64(2), np.uint8(1)), ([2, 2], [1, 1]), (np.array([2, 2]), np.array([1, 1])), (np.array(2), np.array(1))):
        np.testing.assert_array_equal(jj.conv(X, W, stride=two, padding=one, dilation=one), expected)
    np.testing.assert_array_equal(jj.conv(X, W, stride=2, padding=np.array([[1, 1], [1, 1]])), expected)
    np.testing.assert_array_equal(jj.conv(X.tolist(), W.tolist(), stride=2, padding=1), expected)
    np.testing.assert_array_equal(jj.conv(X, W, stride=2, padding=1, boundary=["zero", "zero"]), expected)
    np.testing.assert_array_equal(jj.conv(X.data, W, stride=2, padding=1), expected)


@pytest.mark.parametrize("sharing", ["tiled", "local"])
def test_weights_without_sites(sharing: str) -> None:
    refused(ShapeError, lambda: jj.conv(X, W, sharing=sharing))


def test_inputs_are_kept_when_an_error_is_raised() -> None:
    x, w, out = X.copy(), W.copy(), np.full((2, 4, 6, 7), 5, np.float32)
    refused(ShapeError, lambda: jj.conv(x, w, B[:2], out=out))
    refused(ArgumentError, lambda: jj.conv(x, w, out=out, threads=0))
    assert (out == 5).all()
    np.testing.assert_array_equal(x, X)
