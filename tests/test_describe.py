"""The door: what is written becomes one canonical description, or one line that names the argument, its value and the rule."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji.boundary import Boundary
from juanji.describe import describe, parse_padding, per_axis, spatial_axes
from juanji.errors import ArgumentError, DtypeError, JuanjiError, NotBuiltError, ShapeError
from juanji.spec import Convolution, Dtypes
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
        if taps.all():
            return  # every tap kept is written as None
    name, slope = spec.epilogue[1:]
    again = describe(
        spec.x_shape, spec.w_shape, dtype=spec.dtypes.x, bias=spec.epilogue.bias, stride=spec.stride, padding=spec.padding,
        dilation=spec.dilation, groups=spec.groups, boundary=spec.boundary, flip=spec.flip, layout=spec.layout,
        sharing="shared" if spec.sites is None else "tiled", weight_layout=spec.weight_layout, taps=taps,
        activation=(name, slope) if name == "leaky_relu" else name,
    )  # fmt: skip
    assert again == spec
    assert hash(again) == hash(spec)


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
    assert describe((1, 1, 9), (1, 1, 3), dtype=">f4").dtypes == Dtypes()
    assert describe((1, 1, 9), (1, 1, 3), taps=np.ones(3, bool)).taps is None


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
        ((1, 4, 5), (3, 2, 3), {"groups": 2}, "output channels (=3) must be divisible by groups (=2)"),
        ((1, 5, 5), (4, 2, 3), {"groups": 2}, "x has 5 channels, but w of shape (4, 2, 3) takes 2 in each of 2 groups = 4"),
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
        ((1, 1, 1), (1, 1, 1), {"padding": 2**62, "stride": 2**60}, "x of shape 1×1×1 has more elements than a 64-bit address reaches"),
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
        ({"overflow": "ignore"}, "overflow (='ignore') must be one of saturate, wrap, raise"),
    ],
)  # fmt: skip
def test_arguments_that_break_a_rule(arguments: dict[str, Any], message: str) -> None:
    error = refusal((1, 1, 8, 8), (1, 1, 3, 3), **arguments)
    assert str(error) == message
    assert isinstance(error, ArgumentError)
    assert isinstance(error, ValueError)


def test_dtypes() -> None:
    assert describe((1, 1, 5), (1, 1, 3), dtype="float64").dtypes == Dtypes(*["float64"] * 4)
    assert describe((1, 1, 5), (1, 1, 3), dtype="float32", w_dtype="float64").dtypes == Dtypes("float32", "float64", "float64", "float64")
    assert describe((1, 1, 5), (1, 1, 3), dtype="uint8", w_dtype="float32").dtypes == Dtypes("uint8", "float32", "float32", "float32")
    assert describe((1, 1, 5), (1, 1, 3), dtype="uint8", w_dtype="float32", out_dtype="uint8").dtypes.y == "uint8"
    for dtype in ("S3", "datetime64[s]", object):
        assert isinstance(refusal((1, 1, 5), (1, 1, 3), dtype=dtype), DtypeError)
    assert isinstance(refusal((1, 1, 5), (1, 1, 3), dtype="float16"), NotBuiltError)


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
    assert spatial_axes((1, 1, 3, 3)) == 2
    assert spatial_axes((2, 2, 1, 1, 3, 3), "local") == 2
