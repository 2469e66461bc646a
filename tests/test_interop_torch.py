"""juanji inside PyTorch: derivatives of every order against finite differences, values against torch's own layers, no copies."""

import copy
import doctest
import importlib
import io
import pickle
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji import plans, reference
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.spec import Convolution, Epilogue
from strategies import convolutions, operands

torch = pytest.importorskip("torch")
jt, autograd = (importlib.import_module(f"juanji.interop.{name}") for name in ("torch", "autograd"))
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.torch

Tensor = Any  # torch may be missing where types are checked

CONVS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "signal": ((2, 2, 7), (3, 2, 3), {}),
    "signal, causal, dilated": ((2, 2, 7), (2, 2, 3), {"padding": "causal", "dilation": 2}),
    "signal, full, flipped": ((1, 2, 4), (2, 2, 3), {"padding": "full", "flip": True}),
    "unbatched": ((2, 5, 4), (3, 2, 3, 2), {"padding": 1}),
    "picture": ((2, 2, 5, 4), (3, 2, 3, 2), {"padding": 1}),
    "stride beyond the kernel": ((1, 2, 7, 8), (2, 2, 2, 2), {"stride": (3, 4)}),
    "same with stride 2": ((1, 2, 6, 5), (2, 2, 3, 3), {"stride": 2, "padding": "same"}),
    "padding on four sides": ((1, 2, 4, 5), (2, 2, 3, 3), {"padding": ((0, 2), (3, 1))}),
    "groups": ((1, 4, 5, 4), (6, 2, 2, 3), {"groups": 2}),
    "depthwise": ((2, 3, 5, 5), (3, 1, 3, 3), {"groups": 3, "padding": 1, "boundary": "edge"}),
    "a constant outside": ((1, 2, 5, 4), (2, 2, 3, 3), {"padding": 2, "boundary": ("constant", 3.0)}),
    "a boundary per axis": ((1, 2, 5, 4), (2, 2, 3, 3), {"padding": 2, "boundary": ("wrap", ("constant", -2.0)), "stride": (1, 2)}),
    "reflect and symmetric": ((1, 1, 5, 4), (2, 1, 3, 3), {"padding": "same", "boundary": ("reflect", "symmetric")}),
    "channels last": ((2, 5, 4, 2), (3, 2, 2, 3), {"layout": "channels_last", "padding": 1, "boundary": "wrap"}),
    "channels last, weights as torch has them": ((2, 5, 4, 2), (3, 2, 3, 2), {"layout": "channels_last", "weight_layout": "OI*"}),
    "weights with the channels last": ((1, 2, 5, 4), (3, 3, 2, 2), {"weight_layout": "O*I", "stride": 2}),
    "volume": ((1, 2, 3, 4, 4), (2, 2, 2, 3, 2), {"padding": 1, "stride": (1, 2, 1), "boundary": ("wrap", "zero", "edge")}),
    "four axes": ((1, 1, 3, 3, 2, 3), (2, 1, 2, 2, 1, 2), {"dilation": (2, 1, 1, 1)}),
}  # fmt: skip
SITED: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "tiled signal": ((2, 2, 7), (3, 2, 2, 3), {"sharing": "tiled", "padding": 1}),
    "tiled picture": ((2, 2, 5, 4), (2, 3, 2, 2, 3, 2), {"sharing": "tiled", "padding": 1, "boundary": ("wrap", ("constant", 2.0))}),
    "tiled volume": ((1, 1, 3, 4, 4), (1, 2, 2, 2, 1, 2, 2, 2), {"sharing": "tiled"}),
    "tiled, channels last": ((1, 5, 4, 2), (2, 2, 2, 2, 2, 3), {"sharing": "tiled", "layout": "channels_last", "stride": (2, 1)}),
    "local signal": ((2, 4, 7), (3, 2, 2, 3), {"sharing": "local", "stride": 2, "groups": 2}),
    "local picture": ((2, 2, 4, 4), (4, 2, 2, 2, 3, 3), {"sharing": "local", "padding": "same", "stride": (1, 2), "boundary": "reflect"}),
    "local volume": ((1, 1, 3, 3, 3), (2, 2, 1, 2, 1, 2, 2, 3), {"sharing": "local"}),
}  # fmt: skip
TRANSPOSED: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "signal": ((2, 2, 4), (2, 3, 3), {"stride": 2}),
    "output padding": ((1, 2, 3, 4), (2, 2, 3, 3), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}),
    "unbatched": ((2, 3, 4), (2, 3, 2, 2), {"stride": 2}),
    "same with stride 2": ((1, 2, 3, 3), (2, 2, 3, 3), {"stride": 2, "padding": "same"}),
    "groups": ((1, 4, 3, 4), (4, 2, 2, 3), {"groups": 2, "dilation": (2, 1)}),
    "wrapped": ((1, 2, 4, 4), (2, 2, 3, 3), {"padding": 1, "boundary": "wrap", "flip": True}),
    "a constant outside": ((1, 2, 4, 4), (2, 2, 3, 3), {"padding": 1, "boundary": ("constant", 5.0)}),
    "channels last": ((2, 3, 4, 2), (3, 2, 3, 2), {"layout": "channels_last", "stride": 2}),
    "volume": ((1, 2, 2, 3, 2), (2, 1, 2, 3, 2), {"stride": (1, 2, 2), "padding": (0, 1, 0), "output_padding": (0, 1, 1)}),
}  # fmt: skip


def leaf(*shape: int, dtype: Any = torch.float64) -> Tensor:
    """A random tensor that wants a gradient."""
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def features(w_shape: tuple[int, ...], arguments: dict[str, Any], n: int) -> tuple[int, ...]:
    """The shape of the bias of a convolution."""
    sites = w_shape[:n] if "sharing" in arguments else ()
    last = arguments.get("weight_layout", "*IO" if arguments.get("layout") == "channels_last" else "OI*") == "*IO"
    return (*sites, w_shape[-1] if last else w_shape[len(sites)])


# Derivatives ------------------------------------------------------------------------------------------------------------


def check_derivatives(function: Any, *leaves: Tensor) -> None:
    """Both orders against finite differences; the same numbers each time."""
    assert torch.autograd.gradcheck(function, leaves, nondet_tol=0.0)
    assert torch.autograd.gradgradcheck(function, leaves, nondet_tol=0.0, fast_mode=True)


@pytest.mark.parametrize("name", [*CONVS, *SITED])
def test_derivatives_of_conv(name: str) -> None:
    torch.manual_seed(0)
    x_shape, w_shape, arguments = (CONVS | SITED)[name]
    n = (len(w_shape) - 2) // (2 if name in SITED else 1)
    check_derivatives(
        lambda x, w, bias: jt.conv(x, w, bias, **arguments), leaf(*x_shape), leaf(*w_shape), leaf(*features(w_shape, arguments, n))
    )


@pytest.mark.parametrize("name", TRANSPOSED)
def test_derivatives_of_conv_transpose(name: str) -> None:
    torch.manual_seed(1)
    x_shape, w_shape, arguments = TRANSPOSED[name]
    out = w_shape[-2 if arguments.get("layout") == "channels_last" else 1] * arguments.get("groups", 1)
    check_derivatives(lambda x, w, bias: jt.conv_transpose(x, w, bias, **arguments), leaf(*x_shape), leaf(*w_shape), leaf(out))


@pytest.mark.parametrize("function", ["conv", "conv_transpose"])
def test_derivatives_of_complex_numbers(function: str) -> None:
    torch.manual_seed(2)
    x, w, bias = (leaf(*shape, dtype=torch.complex128) for shape in ((1, 2, 5), (2, 2, 3), (2,)))
    check_derivatives(lambda *leaves: getattr(jt, function)(*leaves, padding=1, stride=2), x, w, bias)


def test_third_derivatives() -> None:
    torch.manual_seed(3)
    x, w = leaf(1, 1, 4, 4), leaf(2, 1, 3, 3)

    def squares(x: Tensor, w: Tensor) -> Tensor:
        y = jt.conv(x, w, padding=1, boundary=("constant", 1.5)).square().sum()
        for_x, for_w = torch.autograd.grad(y, (x, w), create_graph=True)
        return for_x.square().sum() + for_w.square().sum()

    check_derivatives(squares, x, w)


def arguments_of(spec: Convolution) -> dict[str, Any]:
    """The keyword arguments that give a description."""
    names = ("stride", "padding", "dilation", "groups", "boundary", "flip", "layout", "weight_layout")
    sharing = "shared" if spec.sites is None else "local" if spec.sites == spec.output else "tiled"
    return {name: getattr(spec, name) for name in names} | {"sharing": sharing}


@settings(max_examples=25)
@given(
    spec=convolutions(sites=True, dtypes=("float64",), max_axes=2, max_groups=2),
    seed=st.integers(0, 999),
    kept=st.tuples(st.booleans(), st.booleans()),
)
def test_any_member(spec: Convolution, seed: int, kept: tuple[bool, bool]) -> None:
    """Values as the reference has them, derivatives as finite differences do, of whichever operands want one."""
    torch.manual_seed(seed)
    arrays = operands(spec, seed)
    x, w, bias = (None if array is None else torch.from_numpy(array) for array in arrays)
    leaves: list[Tensor] = [tensor.requires_grad_() for tensor, wanted in zip((x, w), kept, strict=True) if tensor is not None and wanted]
    y = jt.conv(x, w, bias, **arguments_of(spec))
    inactive = replace(spec, epilogue=Epilogue(spec.epilogue.bias))
    np.testing.assert_allclose(y.detach().numpy(), reference.conv(inactive, *arrays), rtol=1e-12, atol=1e-12)
    assert y.requires_grad == any(kept)
    if leaves:
        assert torch.autograd.gradcheck(lambda *_: jt.conv(x, w, bias, **arguments_of(spec)), leaves, fast_mode=True)


# Values, beside torch's own ---------------------------------------------------------------------------------------------


def assert_same(ours: Tensor, theirs: Tensor, *leaves: Tensor) -> None:
    """Equal up to rounding, with their first derivatives along a random direction and the second ones along others."""
    torch.manual_seed(7)
    assert ours.shape == theirs.shape
    close = {"rtol": 1e-4, "atol": 1e-4} if theirs.dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(ours, theirs, **close)
    direction = torch.randn_like(theirs, requires_grad=True)
    first = [torch.autograd.grad(y, leaves, direction, create_graph=True) for y in (ours, theirs)]
    torch.testing.assert_close(*first, **close)
    turned = [torch.randn_like(leaf) for leaf in leaves]
    second = [torch.autograd.grad(of, (*leaves, direction), turned, allow_unused=True, materialize_grads=True) for of in first]
    torch.testing.assert_close(*second, **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 1), (3, 2, 2, 1), (1, 1, 2, 2), (2, 1, 1, 4)]
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolution_equals_torch(n: int, stride: int, padding: int, dilation: int, groups: int, dtype: Any) -> None:
    torch.manual_seed(n)
    size = {1: (23,), 2: (12, 13), 3: (7, 6, 8)}[n]
    x, w, bias = leaf(2, 4, *size, dtype=dtype), leaf(8, 4 // groups, *(3,) * n, dtype=dtype), leaf(8, dtype=dtype)
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    theirs = getattr(F, f"conv{n}d")(x, w, bias, **arguments)
    assert_same(jt.conv(x, w, bias, **arguments), theirs, x, w, bias)


@pytest.mark.parametrize(("stride", "padding", "output_padding", "dilation", "groups"), [(1, 0, 0, 1, 1), (2, 1, 1, 1, 1), (3, 1, 2, 2, 2)])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_transposed_convolution_equals_torch(n: int, stride: int, padding: int, output_padding: int, dilation: int, groups: int) -> None:
    torch.manual_seed(n)
    x, w, bias = leaf(2, 4, *(4, 5, 3)[:n]), leaf(4, 6 // groups, *(3,) * n), leaf(6)
    arguments = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation, "groups": groups}
    theirs = getattr(F, f"conv_transpose{n}d")(x, w, bias, **arguments)
    assert_same(jt.conv_transpose(x, w, bias, **arguments), theirs, x, w, bias)


@pytest.mark.parametrize(("boundary", "mode"), [("edge", "replicate"), ("reflect", "reflect"), ("wrap", "circular"), ("zero", "constant")])
def test_boundaries_equal_padding_by_torch(boundary: str, mode: str) -> None:
    torch.manual_seed(0)
    x, w = leaf(2, 3, 9, 8), leaf(4, 3, 3, 3)
    padded = F.pad(x, (3, 1, 0, 2), mode=mode)  # the last axis first
    assert_same(jt.conv(x, w, padding=((0, 2), (3, 1)), boundary=boundary, stride=2), F.conv2d(padded, w, stride=2), x, w)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_other_numbers_equal_torch(dtype: Any) -> None:
    if dtype == torch.bfloat16:
        pytest.importorskip("ml_dtypes")
    torch.manual_seed(0)
    x, w, bias = (torch.randint(-3, 4, shape).to(dtype).requires_grad_() for shape in ((2, 3, 7, 7), (4, 3, 3, 3), (4,)))
    ours, theirs = jt.conv(x, w, bias, padding=1), F.conv2d(x, w, bias, padding=1)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs)
    direction = torch.randint_like(theirs.real, -2, 3).to(dtype)
    torch.testing.assert_close(*(torch.autograd.grad(y, (x, w, bias), direction) for y in (ours, theirs)))


def test_weights_learn_from_pictures_of_bytes() -> None:
    torch.manual_seed(0)
    x, w = torch.randint(0, 256, (2, 3, 9, 8), dtype=torch.uint8), leaf(4, 3, 3, 3, dtype=torch.float32)
    ours, theirs = jt.conv(x, w, padding=1), F.conv2d(x.float(), w, padding=1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), w)[0] for y in (ours, theirs)))


def test_integers_are_exact() -> None:
    x, w = torch.randint(-9, 9, (1, 2, 6, 6)), torch.randint(-9, 9, (3, 2, 3, 3))
    y = jt.conv(x, w)
    assert (y.dtype, y.requires_grad) == (torch.int64, False)
    torch.testing.assert_close(y.double(), F.conv2d(x.double(), w.double()))


# Memory -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the NumPy functions get and return, and the inputs that the kernels read, from now on."""
    calls: dict[str, list[Any]] = {"read": []}

    def spy(module: Any, name: str) -> None:
        function, calls[name] = getattr(module, name), []

        def called(*arrays: Any, **arguments: Any) -> Any:
            result = function(*arrays, **arguments)
            calls[name].append((arrays[:2], result))
            return result

        monkeypatch.setattr(module, name, called)

    spy(autograd.convolution, "conv")
    for name in ("conv_transpose", "conv_grad_input", "conv_grad_weight"):
        spy(autograd.gradients, name)
    check = plans.Plan._check_first

    def checked(self: Any, x: Any) -> Any:
        calls["read"].append(check(self, x))
        return calls["read"][-1]

    monkeypatch.setattr(plans.Plan, "_check_first", checked)
    return calls


def shares(array: Any, tensor: Tensor) -> bool:
    return bool(np.shares_memory(array, tensor.detach().numpy()))


VIEWS = {
    "contiguous": lambda: torch.randn(2, 8, 12, 16),
    "channels_last": lambda: torch.randn(2, 8, 12, 16).to(memory_format=torch.channels_last),
    "a part": lambda: torch.randn(4, 10, 16, 20)[::2, 1:9, 2:-2, 2:-2],
    "a part, channels_last": lambda: torch.randn(4, 16, 20, 8).permute(0, 3, 1, 2)[::2, :, 2:-2, 2:-2],
    "every other row": lambda: torch.randn(2, 8, 24, 16)[:, :, ::2],
    "turned axes": lambda: torch.randn(12, 2, 8, 16).permute(1, 2, 0, 3),
}
CLOSED = {"a part, channels_last"}  # whose gaps the plan itself closes by a copy, because its panels want whole rows


@pytest.mark.parametrize("view", VIEWS)
def test_views_are_read_where_they_lie(view: str, seen: dict[str, list[Any]]) -> None:
    torch.manual_seed(0)
    x, w = VIEWS[view](), leaf(8, 8, 3, 3, dtype=torch.float32)
    assert x.shape == (2, 8, 12, 16)
    x.requires_grad_()
    y = jt.conv(x, w, padding=1)
    (arrays, result), read = seen["conv"][0], seen["read"][0]
    assert shares(arrays[0], x)
    assert shares(arrays[1], w)
    assert shares(result, y)
    if view not in CLOSED:
        assert shares(read, x)
        assert read.__array_interface__["data"][0] == x.data_ptr()
    dy = torch.randn(2, 8, 12, 16).to(memory_format=torch.channels_last if "last" in view else torch.contiguous_format)
    dx, dw = torch.autograd.grad(y, (x, w), dy)
    (dy_seen, w_seen), dx_array = seen["conv_grad_input"][0]
    (x_seen, dy_again), dw_array = seen["conv_grad_weight"][0]
    for array, tensor in ((dy_seen, dy), (w_seen, w), (dx_array, dx), (x_seen, x), (dy_again, dy), (dw_array, dw)):
        assert shares(array, tensor)
    assert any(shares(read, dy) for read in seen["read"])
    theirs = F.conv2d(x, w, padding=1)
    torch.testing.assert_close((y, dx, dw), (theirs, *torch.autograd.grad(theirs, (x, w), dy)), rtol=1e-4, atol=1e-4)


def test_the_result_keeps_the_memory_format() -> None:
    x, w = torch.randn(2, 8, 6, 7).to(memory_format=torch.channels_last).requires_grad_(), torch.randn(4, 8, 3, 3)
    y, z = jt.conv(x, w), jt.conv_transpose(x, w.transpose(0, 1))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert z.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, jt.conv(x.contiguous(), w))
    assert torch.equal(z, jt.conv_transpose(x.contiguous(), w.transpose(0, 1)))
    (dx,) = torch.autograd.grad(y, x, torch.randn_like(y))
    assert dx.is_contiguous(memory_format=torch.channels_last)
    planes = torch.randn(2, 8, 6, 7).permute(0, 2, 3, 1)  # channels last to the caller, first in memory
    last = jt.conv(planes, w, layout="channels_last", weight_layout="OI*")
    assert torch.equal(last, jt.conv(planes.contiguous(), w, layout="channels_last", weight_layout="OI*"))
    assert last.permute(0, 3, 1, 2).is_contiguous()


def test_only_what_is_wanted_is_computed_and_kept(seen: dict[str, list[Any]]) -> None:
    x, w = leaf(1, 2, 5, 5), leaf(3, 2, 3, 3)
    y = jt.conv(x, w.detach())
    assert [kept is None for kept in y.grad_fn.saved_tensors] == [True, False]
    y.sum().backward()
    assert (len(seen["conv_grad_input"]), len(seen["conv_grad_weight"])) == (1, 0)
    jt.conv(x.detach(), w).sum().backward()
    assert (len(seen["conv_grad_input"]), len(seen["conv_grad_weight"])) == (1, 1)
    with torch.no_grad():
        assert not jt.conv(x, w).requires_grad


def test_a_change_between_forward_and_backward_is_noticed() -> None:
    x, w = leaf(1, 2, 5, 5), leaf(3, 2, 3, 3)
    y = jt.conv(x * 1, w)
    with torch.no_grad():
        w += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# Modules ----------------------------------------------------------------------------------------------------------------


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Conv1d": (lambda **o: jt.Conv1d(4, 6, 3, 2, "same", **o), (2, 4, 9)),
    "Conv2d": (lambda **o: jt.Conv2d(4, 6, (3, 2), padding=((0, 2), (1, 0)), boundary=("reflect", "wrap"), groups=2, **o), (2, 4, 6, 5)),
    "Conv3d": (lambda **o: jt.Conv3d(2, 3, 2, **o), (1, 2, 3, 4, 3)),
    "Conv": (lambda **o: jt.Conv(2, 3, (1, 2, 2, 1), **o), (1, 2, 2, 3, 3, 2)),
    "Conv2d, channels last": (lambda **o: jt.Conv2d(4, 6, 3, layout="channels_last", **o), (2, 6, 5, 4)),
    "ConvTranspose1d": (lambda **o: jt.ConvTranspose1d(4, 6, 3, 2, "same", **o), (2, 4, 5)),
    "ConvTranspose2d": (lambda **o: jt.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, **o), (2, 4, 4, 3)),
    "ConvTranspose3d": (lambda **o: jt.ConvTranspose3d(2, 3, 2, dilation=2, **o), (1, 2, 3, 2, 2)),
    "ConvTranspose": (lambda **o: jt.ConvTranspose(2, 3, (2, 2), **o), (1, 2, 3, 3)),
}  # fmt: skip
SITED_LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "TiledConv1d": (lambda **o: jt.TiledConv1d(4, 6, 3, 2, padding=1, **o), (2, 4, 9)),
    "TiledConv2d": (lambda **o: jt.TiledConv2d(4, 6, 3, (2, 1), boundary="wrap", padding="same", stride=2, **o), (2, 4, 6, 6)),
    "TiledConv3d": (lambda **o: jt.TiledConv3d(2, 3, 2, 2, **o), (1, 2, 3, 4, 3)),
    "LocallyConnected1d": (lambda **o: jt.LocallyConnected1d(4, 6, 9, 3, 2, "same", **o), (2, 4, 9)),
    "LocallyConnected2d": (lambda **o: jt.LocallyConnected2d(4, 6, (5, 6), 3, groups=2, **o), (2, 4, 5, 6)),
    "LocallyConnected3d": (lambda **o: jt.LocallyConnected3d(2, 3, 3, (2, 1, 2), layout="channels_last", **o), (1, 3, 3, 3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", [*LAYERS, *SITED_LAYERS])
def test_layers(name: str, bias: bool) -> None:
    torch.manual_seed(0)
    make, x_shape = (LAYERS | SITED_LAYERS)[name]
    layer = make(bias=bias, dtype=torch.float64)
    assert type(layer).__name__ == name.split(",")[0]
    assert (layer.bias is not None) == bias == ("bias=False" not in repr(layer))
    x = leaf(*x_shape)
    y = layer(x)
    function = jt.conv_transpose if "Transpose" in name else jt.conv
    assert torch.equal(y, function(x, layer.weight, layer.bias, **layer.options))
    y.square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad.shape == parameter.shape
        assert parameter.grad.abs().sum() > 0
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other = make(bias=bias, dtype=torch.float64)
    other.load_state_dict(torch.load(buffer))
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), y)
    assert layer.float()(x.float()).dtype == torch.float32


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_initial_values_are_those_of_torch(n: int, transposed: bool) -> None:
    name = f"Conv{'Transpose' * transposed}{n}d"
    layers = []
    for family in (jt, nn):
        torch.manual_seed(5)
        layers.append(getattr(family, name)(4, 6, 3, groups=2))
    ours, theirs = (layer.state_dict() for layer in layers)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", SITED_LAYERS)
def test_initial_values_of_weights_with_sites(name: str) -> None:
    layer = SITED_LAYERS[name][0]()
    n = layer.axes
    depth = layer.in_channels // layer.options["groups"]
    bound = (depth * np.prod(layer.kernel_size)) ** -0.5
    for parameter in layer.parameters():
        assert 0.5 * bound < parameter.abs().max() <= bound
    assert layer.bias.shape == (*layer.weight.shape[:n], layer.out_channels)


def network(layers: Any) -> Any:
    return nn.Sequential(
        layers.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), layers.Conv2d(6, 8, 3, stride=2), nn.ReLU(),
        layers.ConvTranspose2d(8, 4, 3), nn.Flatten(), nn.Linear(4 * 5 * 5, 2),
    )  # fmt: skip


def test_training_follows_torch() -> None:
    torch.manual_seed(11)
    theirs, ours = network(nn), network(jt)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(32, 1, 14, 14)
    target = (x[:, :, :, :7].mean((1, 2, 3)) > x[:, :, :, 7:].mean((1, 2, 3))).long()
    losses = []
    for net in (ours, theirs):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        values = []
        for _ in range(12):
            loss = F.cross_entropy(net(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        losses.append(values)
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-4)
    assert losses[0][-1] < 0.9 * losses[0][0]


def test_extra_repr() -> None:
    assert repr(jt.Conv2d(3, 8, 3)) == "Conv2d(3, 8, kernel_size=(3, 3))"
    assert repr(jt.TiledConv2d(4, 6, 3, tiles=(2, 1), bias=False)) == "TiledConv2d(4, 6, kernel_size=(3, 3), sites=(2, 1), bias=False)"
    assert repr(jt.ConvTranspose1d(4, 6, 3, 2, 1, 1)) == (
        "ConvTranspose1d(4, 6, kernel_size=(3,), stride=(2,), padding=1, output_padding=1)"
    )


# Errors -----------------------------------------------------------------------------------------------------------------


def test_errors_name_the_tensor() -> None:
    x, w = torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3)
    with pytest.raises(ArgumentError, match=r"x is on device meta, but juanji computes on the CPU: move it with x\.cpu\(\)"):
        jt.conv(x.to("meta"), w)
    with pytest.raises(ArgumentError, match=r"w is on device meta"):
        jt.conv_transpose(x, w.to("meta"))
    with pytest.raises(ArgumentError, match=r"bias is on device meta"):
        jt.conv(x, w, torch.ones(3, device="meta"))
    with pytest.raises(ArgumentError, match=r"x has layout torch.sparse_coo, but must be dense: x\.to_dense\(\)"):
        jt.conv(x.to_sparse(), w)
    with pytest.raises(ArgumentError, match=r"w is a ndarray, but must be a torch.Tensor"):
        jt.conv(x, w.numpy())
    with pytest.raises(DtypeError, match=r"x of torch.float32, w of torch.float64: they must have one dtype"):
        jt.conv(x, w.double())
    with pytest.raises(DtypeError, match=r"a tensor of torch.float8_e4m3fn has no counterpart in NumPy"):
        jt.conv(x.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn))
    with pytest.raises(ShapeError, match="x has 2 channels, but w"):
        jt.conv(x, torch.ones(3, 1, 3, 3))
    with pytest.raises(ShapeError, match="kernel of size 7"):
        jt.conv(x, torch.ones(3, 2, 7, 7, requires_grad=True))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: jt.Conv(3, 8, 3), ArgumentError, r"kernel_size \(=3\) must have one integer per spatial axis; Conv2d takes one for all"),
        (lambda: jt.Conv2d(3, 8, (3, 3, 3)), ArgumentError, r"kernel_size .* there are 2"),
        (lambda: jt.Conv2d(3, 8, 3, groups=2), ShapeError, r"in_channels \(=3\) must be divisible by groups \(=2\)"),
        (lambda: jt.Conv2d(4, 7, 3, groups=2), ShapeError, r"out_channels \(=7\) must be divisible by groups \(=2\)"),
        (lambda: jt.Conv2d(3, 8, 3, stride=0), ArgumentError, r"stride \(=0\) must be at least 1"),
        (lambda: jt.Conv2d(3, 8, 3, padding="sam"), ArgumentError, r"padding \(='sam'\) must be one of"),
        (lambda: jt.Conv2d(3, 8, 3, boundary="rap"), ArgumentError, r"boundary \(='rap'\) must be one of"),
        (lambda: jt.Conv2d(3, 8, 3, layout="NCHW"), ArgumentError, r"layout \(='NCHW'\) must be one of"),
        (lambda: jt.Conv2d(3, 8, 3, weight_layout="OIHW"), ArgumentError, r"weight_layout \(='OIHW'\) must be one of"),
        (lambda: jt.Conv2d(3, 8, 3, dtype=torch.int32), DtypeError, r"dtype \(=torch.int32\) must be a floating type"),
        (lambda: jt.Conv2d(3, 8, 3, colour=1), TypeError, "colour"),
        (lambda: jt.TiledConv2d(3, 8, 3, tiles=0), ArgumentError, r"tiles \(=0\) must be at least 1"),
        (lambda: jt.LocallyConnected2d(3, 8, 4, 5), ShapeError, r"kernel of size 5, but axis 0 is"),
    ],
)
def test_errors_of_layers(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_bfloat16_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    autograd._bfloat16.cache_clear()
    with pytest.raises(DtypeError, match="need the package ml_dtypes"):
        jt.conv(torch.ones(1, 1, 3, dtype=torch.bfloat16), torch.ones(1, 1, 3, dtype=torch.bfloat16))


def test_documentation_runs() -> None:
    for module in (jt, autograd):
        assert doctest.testmod(module).failed == 0
