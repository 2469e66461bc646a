"""The door: what is written becomes one canonical description, or one line that names the argument, its value and the rule."""

import copy
import math
import pickle
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji import reference
from juanji.boundary import Boundary
from juanji.describe import describe, parse_boundaries, parse_dtype, parse_padding, per_axis, spatial_axes
from juanji.errors import ArgumentError, DtypeError, JuanjiError, NotBuiltError, ShapeError
from juanji.planner import plan_for
from juanji.spec import Convolution, Dtypes, Epilogue
from strategies import convolutions


def refusal(x_shape: tuple[Any, ...], w_shape: tuple[Any, ...], **arguments: Any) -> JuanjiError:
    with pytest.raises(JuanjiError) as raised:
        describe(x_shape, w_shape, **arguments)
    assert "\n" not in str(raised.value)
    return raised.value


@settings(deadline=None, max_examples=200)
@given(
    size=st.integers(1, 40), kernel=st.integers(1, 9), stride=st.integers(1, 9), dilation=st.integers(1, 5),
    low=st.integers(0, 50), high=st.integers(0, 50),
)  # fmt: skip
def test_output_size_counts_the_places_that_fit(size: int, kernel: int, stride: int, dilation: int, low: int, high: int) -> None:
    reach = dilation * (kernel - 1)
    places = len(range(0, low + size + high - reach, stride))
    arguments: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": ((low, high),)}
    if places:
        assert describe((1, 1, size), (1, 1, kernel), **arguments).output == (places,)
    else:
        assert isinstance(refusal((1, 1, size), (1, 1, kernel), **arguments), ShapeError)


@settings(deadline=None, max_examples=200)
@given(size=st.integers(1, 40), kernel=st.integers(1, 9), stride=st.integers(1, 9), dilation=st.integers(1, 5))
def test_padding_modes_give_their_sizes(size: int, kernel: int, stride: int, dilation: int) -> None:
    def padded(mode: str) -> Convolution:
        return describe((1, 1, size), (1, 1, kernel), stride=stride, dilation=dilation, padding=mode)

    reach = dilation * (kernel - 1)
    for mode, odd in (("same", 1), ("same_lower", 0)):
        spec = padded(mode)
        assert spec.output == (math.ceil(size / stride),)
        assert spec.padding[0][odd] - spec.padding[0][1 - odd] in (0, 1)
    assert padded("full").output == ((size + reach - 1) // stride + 1,)
    assert padded("causal").output == ((size - 1) // stride + 1,)
    assert padded("causal").padding == ((reach, 0),)
    if size > reach:
        assert padded("valid").padding == ((0, 0),)


@settings(deadline=None, max_examples=100)
@given(spec=convolutions(sites=True, taps=True, max_axes=4))
def test_descriptions_are_described_as_themselves(spec: Convolution) -> None:
    taps = None
    if spec.taps is not None:
        taps = np.zeros(spec.kernel, bool)
        taps[tuple(np.transpose(spec.taps))] = True
    name, slope = spec.epilogue[1:]
    again = describe(
        spec.x_shape, spec.w_shape, dtype=spec.dtypes.x, bias=spec.epilogue.bias, stride=spec.stride, padding=spec.padding,
        dilation=spec.dilation, groups=spec.groups, boundary=spec.boundary, flip=spec.flip, layout=spec.layout,
        sharing="shared" if spec.sites is None else "tiled", weight_layout=spec.weight_layout, taps=taps,
        activation=(name, slope) if name == "leaky_relu" else name,
    )  # fmt: skip
    assert again == spec
    assert hash(again) == hash(spec)
    assert hash(replace(spec, batch=spec.batch + 1)) != hash(spec)


def test_every_form_of_an_argument_means_the_same() -> None:
    def nine(**arguments: Any) -> Convolution:
        return describe((1, 1, 9, 9), (1, 1, 3, 3), **arguments)

    one = nine(stride=2, padding=1, dilation=1, boundary="replicate")
    assert one == nine(stride=[2, 2], padding=(1, 1), dilation=np.array([1, 1]), boundary=["edge", "edge"])
    assert one == nine(stride=np.int64(2), padding=((1, 1), [1, 1]), boundary=Boundary("edge"))
    assert nine(padding=(1, (0, 2))).padding == ((1, 1), (0, 2))
    assert nine(boundary=("constant", 7)).boundary == (Boundary("constant", 7.0),) * 2
    assert nine(boundary=("constant", "wrap")).boundary == (Boundary(), Boundary("wrap"))
    assert nine(boundary=("wrap", ("constant", 7))).boundary == (Boundary("wrap"), Boundary("constant", 7.0))
    assert nine(boundary=("constant", Boundary("wrap"))).boundary == (Boundary(), Boundary("wrap"))
    assert nine(boundary=["constant", 7]).boundary == nine(boundary=("constant", np.uint8(7))).boundary
    assert nine(stride=np.array(2), padding=np.array([[1, 1], [1, 1]]), boundary=np.array(["edge", "edge"])) == one
    assert nine(padding=[np.int8(1), (1, np.array(1))], stride=range(2, 4)).padding == ((1, 1), (1, 1))
    assert nine(activation=("leaky_relu", np.float32(0.5))) == nine(activation=["leaky_relu", 0.5])
    assert nine(activation="leaky_relu") == nine(activation=("leaky_relu", 0.01))
    assert describe(np.array([1, 1, 9]), [1, np.uint8(1), 3], groups=np.int64(1)) == describe((1, 1, 9), (1, 1, 3))
    assert describe((1, 1, 9), (1, 1, 3), dtype=">f4").dtypes == Dtypes()
    assert describe((1, 1, 9), (1, 1, 3), taps=np.ones(3, bool)).taps is None


def test_taps_stand_in_row_order_as_the_weights_do() -> None:
    mask = np.array([[False, True, True], [True, False, False]])
    for arguments in ({}, {"flip": True}, {"layout": "channels_last"}):
        w_shape = (2, 3, 1, 1) if "layout" in arguments else (1, 1, 2, 3)
        x_shape = (1, 9, 9, 1) if "layout" in arguments else (1, 1, 9, 9)
        assert describe(x_shape, w_shape, taps=mask, **arguments).taps == ((0, 1), (0, 2), (1, 0))
    assert describe((1, 1, 9, 9), (1, 1, 2, 3), taps=np.asfortranarray(mask)).taps == ((0, 1), (0, 2), (1, 0))
    assert describe((1, 1, 9), (1, 1, 3), taps=np.zeros(3, bool)).taps == ()


@pytest.mark.parametrize(
    ("taps", "kind", "message"),
    [
        (np.ones(2, bool), ShapeError, "taps of shape (2,) must have the kernel's shape (3,)"),
        (np.ones((1, 1, 3), bool), ShapeError, "taps of shape (1, 1, 3) must have the kernel's shape (3,)"),
        (np.array([0, 2, 1]), DtypeError, "taps has dtype int64, but a mask of the kernel is bool"),
    ],
)
def test_masks_that_are_none_of_the_kernel(taps: Any, kind: type[JuanjiError], message: str) -> None:
    error = refusal((1, 1, 9), (1, 1, 3), taps=taps)
    assert str(error) == message
    assert isinstance(error, kind)


def test_a_description_holds_canonical_values_only() -> None:
    spec = describe((1, 1, 9), (1, 1, 3))
    bad: list[tuple[dict[str, Any], str]] = [
        ({"taps": ((1,), (0,))}, "taps must stand in row order, each once"),
        ({"taps": ((1,), (1,))}, "taps must stand in row order, each once"),
        ({"taps": ((0,), (1,), (2,))}, "taps must be None where they keep all 3 positions of the kernel"),
        ({"taps": ((1,), (3,))}, "taps (=(3,) among them) must lie inside the kernel 3"),
        ({"taps": ((1, 0),)}, "taps (=(1, 0) among them) must lie inside the kernel 3"),
        ({"batch": np.int64(1)}, "batch (=np.int64(1)) must be an int of at least 0"),
        ({"size": (9.0,)}, "size (=9.0) must be an int of at least 1"),
        ({"padding": ((0, -1),)}, "high padding (=-1) must be an int of at least 0"),
        ({"epilogue": Epilogue(False, "leaky_relu", math.nan)}, "parameter (=nan) of activation leaky_relu must be finite"),
    ]
    for fields, message in bad:
        with pytest.raises(ArgumentError) as raised:
            replace(spec, **fields)
        assert str(raised.value) == message


def test_counts_are_pythons_integers_and_do_not_overflow() -> None:
    long = np.int64(2**29)
    spec = describe(np.array([1, 64, long]), (np.int64(2**20), 64, np.int64(2**8)), padding="full", stride=np.int16(2), bias=True)
    counts = [spec.macs, spec.bytes_moved, *spec.parameters, *spec.x_shape, *spec.w_shape, *spec.y_shape]
    assert {type(count) for count in counts} == {int}
    assert spec.macs == 2**20 * ((2**29 + 2**8) // 2) * 2**14


def test_nan_outside_makes_equal_keys() -> None:
    calls = []

    @lru_cache
    def planned(spec: Convolution) -> int:
        calls.append(spec)
        return len(calls)

    def of(value: Any) -> Convolution:
        return describe((1, 1, 9), (1, 1, 3), padding=1, boundary=("constant", value))

    specs = [of(value) for value in (math.nan, float("nan"), np.float32("nan"), np.float64("nan"))]
    specs += [pickle.loads(pickle.dumps(specs[1])), copy.deepcopy(specs[1])]
    specs += [replace(specs[1], boundary=(Boundary("constant", float("nan")),))]
    assert len(set(specs)) == 1
    assert {planned(spec) for spec in specs} == {1}
    assert math.isnan(specs[0].boundary[0].value)
    assert of(math.inf) != of(-math.inf)
    assert math.copysign(1, of(-0.0).boundary[0].value) == 1


def test_a_pickled_description_leaves_its_hash_behind() -> None:
    spec = describe((1, 1, 9), (1, 1, 3))
    key = hash(spec)
    again = pickle.loads(pickle.dumps(spec))
    assert "_hash" not in vars(again)
    assert (again, hash(again)) == (spec, key)


def test_weight_layouts_and_sites() -> None:
    assert describe((1, 6, 9), (4, 3, 5), groups=2).features == 4
    assert describe((1, 9, 6), (5, 3, 4), groups=2, layout="channels_last").features == 4
    assert describe((1, 9, 6), (4, 5, 3), groups=2, layout="channels_last", weight_layout="O*I").features == 4
    tiled = describe((1, 6, 9, 9), (2, 3, 4, 6, 5, 5), sharing="tiled", bias=True)
    assert (tiled.sites, tiled.bias_shape, tiled.shared) == ((2, 3), (2, 3, 4), False)
    local = describe((1, 6, 9), (5, 4, 6, 5), sharing="local")
    assert local.parameters == (5 * 4 * 6 * 5, 5 * 4)
    assert describe((1, 6, 9), (1, 4, 6, 5), sharing="tiled").shared


def test_counts() -> None:
    spec = describe((2, 3, 5, 5), (4, 3, 3, 3), bias=True)
    assert spec.macs == 2 * 4 * 9 * 27
    assert spec.bytes_moved == 4 * (2 * 3 * 25 + 4 * 27 + 2 * 4 * 9 + 4)
    assert describe((1, 1, 5), (1, 1, 3), taps=np.array([True, False, True])).macs == 3 * 2


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "arguments", "message"),
    [
        ((1, 1, 4), (1, 1, 5), {}, "kernel of size 5, but axis 0 is 4 + 0 + 0 padding = 4"),
        ((1, 1, 4), (1, 1, 5), {"padding": 1, "dilation": 2},
         "kernel of size 5 with dilation 2 spans 9, but axis 0 is 4 + 1 + 1 padding = 6"),
        ((1, 1, 9, 4), (1, 1, 3, 7), {"padding": ((0, 0), (0, 2))}, "kernel of size 7, but axis 1 is 4 + 0 + 2 padding = 6"),
        ((1, 4, 5), (3, 2, 3), {"groups": 2}, "features (=3) must be divisible by groups (=2)"),
        ((1, 6, 5), (4, 1, 3), {"groups": 4}, "channels (=6) must be divisible by groups (=4)"),
        ((1, 6, 5), (4, 2, 3), {"groups": 2}, "x has 6 channels, but w of shape (4, 2, 3) takes 2 in each of 2 groups = 4"),
        ((1, 3, 5), (4, 2, 3), {}, "x has 3 channels, but w of shape (4, 2, 3) takes 2"),
        ((1, 5), (1, 1, 3), {}, "x of shape (1, 5) must have 3 axes: batch, channels and the 1 spatial axes of w (1, 1, 3)"),
        ((1, 5), (1, 3), {}, "w of shape (1, 3) must have O, I and the spatial axes"),
        ((1, 1, 5), (3, 1, 1), {"sharing": "tiled"},
         "w of shape (3, 1, 1) must have one site axis per spatial axis, O, I and the spatial axes"),
        ((1, 1, 5), (4, 1, 1, 3), {"sharing": "tiled"}, "sites (=4) of axis 0 must not exceed its output size (=3)"),
        ((1, 1, 5), (2, 1, 1, 3), {"sharing": "local"}, "w has sites (2,), but sharing='local' needs one per output position (3,)"),
        ((1, 1, 5), (1, 1, 0), {}, "x (size 5) and w (size 0) must have at least one element along spatial axis 0"),
        ((1, 1, 0), (1, 1, 3), {"padding": 9}, "x (size 0) and w (size 3) must have at least one element along spatial axis 0"),
        ((1, 1, 2**40, 2**40), (1, 1, 1, 1), {}, f"x of shape 1×1×{2**40}×{2**40} has more elements than a 64-bit address reaches"),
        ((1, 1, 2**20), (2**40, 1, 1), {}, f"output of shape 1×{2**40}×{2**20} has more elements than a 64-bit address reaches"),
        (
            (1, 1, 1),
            (1, 1, 1),
            {"padding": 2**62, "stride": 2**60},
            f"padded x of shape 1×1×{2**63 + 1} has more elements than a 64-bit address reaches",
        ),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(x_shape: tuple[int, ...], w_shape: tuple[int, ...], arguments: dict[str, Any], message: str) -> None:
    error = refusal(x_shape, w_shape, **arguments)
    assert str(error) == message
    assert isinstance(error, ShapeError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 1.5}, "stride (=1.5) must be an integer"),
        ({"stride": 0}, "stride (=0) must be at least 1"),
        ({"stride": "2"}, "stride (='2') must be an integer"),
        ({"stride": (1, 2, 3)}, "stride (=(1, 2, 3)) must be one integer or one per spatial axis, and there are 2"),
        ({"dilation": -1}, "dilation (=-1) must be at least 1"),
        ({"dilation": None}, "dilation (=None) must be an integer"),
        ({"groups": 2.0}, "groups (=2.0) must be an integer"),
        ({"groups": 0}, "groups (=0) must be at least 1"),
        ({"padding": -1}, "padding (=-1) must be at least 0"),
        ({"padding": 0.5}, "padding (=0.5) must be an integer"),
        ({"padding": (1, -2)}, "padding (=-2) must be at least 0"),
        ({"padding": (1, 2, 3, 4)},
         "padding (=(1, 2, 3, 4)) must be an integer, one per spatial axis, pairs or a mode, and there are 2 axes"),
        ({"padding": ((1, 2, 3), (1, 1))}, "padding (=((1, 2, 3), (1, 1))) must give (low, high) for an axis, not (1, 2, 3)"),
        ({"padding": "some"}, "padding (='some') must be one of valid, same, same_lower, full, causal"),
        ({"boundary": "mirror"}, "boundary (='mirror') must be one of constant, edge, reflect, symmetric, wrap, zero"),
        ({"boundary": ("wrap", "wrap", "edge")},
         "boundary (=('wrap', 'wrap', 'edge')) must be one mode or one per spatial axis, and there are 2"),
        ({"boundary": 0}, "boundary (=0) must be one mode or one per spatial axis, and there are 2"),
        ({"layout": "NCHW"}, "layout (='NCHW') must be one of channels_first, channels_last"),
        ({"weight_layout": "IO*"}, "weight_layout (='IO*') must be one of OI*, *IO, O*I"),
        ({"sharing": "untied"}, "sharing (='untied') must be one of shared, tiled, local"),
        ({"activation": "gelu"}, "activation (='gelu') must be one of relu, relu6, leaky_relu, sigmoid, tanh"),
        ({"activation": ("relu", 0.1)}, "activation (=('relu', 0.1)): relu takes no parameter"),
        ({"activation": 3}, "activation (=3) must be None, a name or (name, number)"),
        ({"activation": ("leaky_relu", 0.1, 5)}, "activation (=('leaky_relu', 0.1, 5)) must be None, a name or (name, number)"),
        ({"activation": ("leaky_relu", "0.1")}, "activation (=('leaky_relu', '0.1')) must be None, a name or (name, number)"),
        ({"activation": ("leaky_relu", math.nan)}, "activation (=('leaky_relu', nan)) must have a finite parameter"),
        ({"activation": ("leaky_relu", math.inf)}, "activation (=('leaky_relu', inf)) must have a finite parameter"),
        ({"activation": ("gelu", 0.1)}, "activation (='gelu') must be one of relu, relu6, leaky_relu, sigmoid, tanh"),
        ({"boundary": ("constant", "constant", 0)},
         "boundary (=('constant', 'constant', 0)) must be one mode or one per spatial axis, and there are 2"),
        ({"boundary": ("wrap", 0)}, "boundary (=0) must be a name or ('constant', value)"),
        ({"sharing": ["tiled"]}, "sharing (=['tiled']) must be one of shared, tiled, local"),
        ({"weight_layout": ""}, "weight_layout (='') must be one of OI*, *IO, O*I"),
        ({"overflow": "ignore"}, "overflow (='ignore') must be one of saturate, wrap, raise"),
    ],
)  # fmt: skip
def test_arguments_that_break_a_rule(arguments: dict[str, Any], message: str) -> None:
    error = refusal((1, 1, 8, 8), (1, 1, 3, 3), **arguments)
    assert str(error) == message
    assert isinstance(error, ArgumentError)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "message"),
    [
        ((1, 1, 8.5), (1, 1, 3), "x_shape (=8.5) must be an integer"),
        ((1, 1, 8), (1, 1, 3.0), "w_shape (=3.0) must be an integer"),
        ((1, -1, 8), (1, 1, 3), "x_shape (=-1) must be at least 0"),
        ("118", (1, 1, 3), "x_shape (='118') must be a sequence of integers"),
        (8, (1, 1, 3), "x_shape (=8) must be a sequence of integers"),
        ((1, 1, 8), None, "w_shape (=None) must be a sequence of integers"),
    ],
)
def test_shapes_are_integers(x_shape: Any, w_shape: Any, message: str) -> None:
    error = refusal(x_shape, w_shape)
    assert str(error) == message
    assert isinstance(error, ArgumentError)


def test_dtypes() -> None:
    assert describe((1, 1, 5), (1, 1, 3), dtype="float64").dtypes == Dtypes(*["float64"] * 4)
    assert describe((1, 1, 5), (1, 1, 3), dtype="float32", w_dtype="float64").dtypes == Dtypes("float32", "float64", "float64", "float64")
    assert describe((1, 1, 5), (1, 1, 3), dtype="uint8", w_dtype="float32").dtypes == Dtypes("uint8", "float32", "float32", "float32")
    assert describe((1, 1, 5), (1, 1, 3), dtype="uint8", w_dtype="float32", out_dtype="uint8").dtypes.y == "uint8"
    for dtype in ("S3", "datetime64[s]", object, "f4,f4", "V4", (np.float32, 2)):
        assert isinstance(refusal((1, 1, 5), (1, 1, 3), dtype=dtype), DtypeError)
        assert isinstance(refusal((1, 1, 5), (1, 1, 3), out_dtype=dtype), DtypeError)
    assert isinstance(refusal((1, 1, 5), (1, 1, 3), dtype="longdouble"), NotBuiltError)


@pytest.mark.parametrize("x", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("w", ["float32", "float64"])
def test_sums_have_the_type_that_numpy_promotes_to_and_can_be_rounded_to_pictures(x: str, w: str) -> None:
    total = np.result_type(np.dtype(x), np.dtype(w)).name
    assert describe((1, 1, 5), (1, 1, 3), dtype=x, w_dtype=w).dtypes == Dtypes(x, w, total, total)
    for y in ("uint8", "uint16", total):
        assert describe((1, 1, 5), (1, 1, 3), dtype=x, w_dtype=w, out_dtype=y).dtypes == Dtypes(x, w, total, y)
    other = "float32" if total == "float64" else "float64"
    assert describe((1, 1, 5), (1, 1, 3), dtype=x, w_dtype=w, out_dtype=other).dtypes == Dtypes(x, w, "float64", other)


@pytest.mark.parametrize("name", ["dtype", "w_dtype", "out_dtype"])
def test_words_that_are_no_dtype(name: str) -> None:
    for value in ("nonsense", 3, ("f4", -1), "{"):
        error = refusal((1, 1, 5), (1, 1, 3), **{name: value})
        assert str(error) == f"{name} (={value!r}) must be an element type of NumPy"
        assert isinstance(error, DtypeError)
        assert isinstance(error, TypeError)


def test_pictures_with_double_weights_are_summed_in_double() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 2**16, (1, 1, 20, 33), dtype=np.uint16), rng.normal(size=(2, 1, 3, 3))
    for out in (None, "uint16"):
        spec = describe(x.shape, w.shape, dtype=x.dtype, w_dtype=w.dtype, out_dtype=out, padding=1, boundary="reflect")
        y = plan_for(spec)(x, w)
        np.testing.assert_allclose(y, reference.conv(spec, x, w), rtol=1e-13 if out is None else 0, atol=0 if out else 1e-9)


def test_a_description_prints_itself() -> None:
    spec = describe((1, 4, 8, 8), (6, 2, 3, 3), groups=2, stride=2, padding=1, boundary="reflect", bias=True, activation="relu")
    assert str(spec).splitlines() == [
        "input   1×4×8×8 float32, channels_first",
        "weights 6×2×3×3 float32, OI*",
        "output  1×6×4×4 float32",
        "        stride 2×2, padding 1+1 reflect, 1+1 reflect, groups 2, bias, relu",
    ]


def test_the_pieces() -> None:
    assert per_axis("stride", 3, 2, 1) == (3, 3)
    assert parse_padding("same_lower", (6,), (3,), (2,), (1,)) == ((1, 0),)
    assert parse_boundaries(("edge", "zero"), 2) == (Boundary("edge"), Boundary())
    assert parse_dtype("dtype", float) == np.float64
    assert spatial_axes((1, 1, 3, 3)) == 2
    assert spatial_axes((2, 2, 1, 1, 3, 3), "local") == 2
