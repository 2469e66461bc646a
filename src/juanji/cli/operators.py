"""`juanji matrix` and `juanji trace`: one operator on small arrays, as a matrix and as arithmetic."""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from juanji.cli.options import Json, boundary_of, numbers, padding_of
from juanji.cli.talk import print_json
from juanji.errors import ArgumentError
from juanji.image import kernels
from juanji.messages import say

if TYPE_CHECKING:
    from juanji.explain.arguments import Array

app = typer.Typer()

Input = Annotated[str, typer.Option("--input", help=say("operators.input"))]
Kernel = Annotated[str, typer.Option("--kernel", "-k", help=say("operators.kernel"))]
Channels = Annotated[int, typer.Option(min=1, help=say("operators.channels"))]
Features = Annotated[int, typer.Option(min=1, help=say("operators.features"))]
Stride = Annotated[str, typer.Option(help=say("explain.stride"))]
Padding = Annotated[str, typer.Option(help=say("explain.padding"))]
Dilation = Annotated[str, typer.Option(help=say("explain.dilation"))]
BoundaryOption = Annotated[str, typer.Option("--boundary", help=say("option.boundary"))]
Flip = Annotated[bool, typer.Option("--flip", help=say("operators.flip"))]


@app.command(help=say("matrix"), epilog=say("matrix.example"))
def matrix(
    x: Input,
    kernel: Kernel,
    channels: Channels = 1,
    features: Features = 1,
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    boundary: BoundaryOption = "zero",
    flip: Flip = False,
    as_json: Json = False,
) -> None:
    from juanji import explain
    from juanji.explain.arithmetic import number_of

    picture, w = _array("--input", x, (channels,)), _array("--kernel", kernel, (features, channels))
    _same_axes(picture, w, x, kernel)
    told = explain.toeplitz(picture.shape, w, **_geometry(stride, padding, dilation, boundary), flip=flip)
    entries = told.coordinates
    if as_json:
        found = {name: getattr(entries, name).tolist() for name in ("rows", "columns", "values")}
        print_json({"output": told.spec.y_shape[1:], "shape": told.shape, **found, "offset": told.offset.tolist()})
        return
    shape, rows, columns = ("×".join(map(str, sizes)) for sizes in (told.shape, told.spec.y_shape[1:], told.spec.x_shape[1:]))
    print(say("matrix.shape", shape=shape, outputs=rows, inputs=columns))
    least, most = told.per_row
    print(say("matrix.entries", count=entries.nnz, each=least if least == most else f"{least}…{most}"))
    if told.offset.any():
        print(say("matrix.offset", least=number_of(told.offset.min()), most=number_of(told.offset.max())))
    for row in told.grid:
        print(row)


@app.command(help=say("trace"), epilog=say("trace.example"))
def trace(
    x: Input,
    kernel: Kernel,
    position: Annotated[str, typer.Option(help=say("trace.position"))],
    channels: Channels = 1,
    features: Features = 1,
    bias: Annotated[float | None, typer.Option(help=say("trace.bias"))] = None,
    stride: Annotated[str | None, typer.Option(help=say("explain.stride"))] = None,
    padding: Padding = "0",
    dilation: Dilation = "1",
    boundary: BoundaryOption = "zero",
    flip: Flip = False,
    transposed: Annotated[bool, typer.Option("--transposed", help=say("trace.transposed"))] = False,
    activation: Annotated[str | None, typer.Option(help=say("trace.activation"))] = None,
    pool: Annotated[str | None, typer.Option(help=say("trace.pool"))] = None,
    as_json: Json = False,
) -> None:
    picture, at = _array("--input", x, (channels,)), _position(position)
    if pool is not None:
        _belongs_to_convolution(boundary != "zero", flip, transposed, activation, bias)
        _print_pooling(picture, at, pool, kernel, stride, padding, dilation, as_json)
        return
    from juanji import explain

    w = _array("--kernel", kernel, (channels, features) if transposed else (features, channels))
    _same_axes(picture, w, x, kernel)
    each = None if bias is None else [bias] * features
    geometry = _geometry(stride or "1", padding, dilation, boundary)
    call = explain.trace_transpose if transposed else explain.trace
    told = call(picture, w, at, each, **geometry, flip=flip, activation=activation, out_dtype="float64")
    if as_json:
        numbered = ("weight", "value", "product")
        terms = [{**term._asdict(), **{name: _plain(getattr(term, name)) for name in numbered}} for term in told.terms]
        sums = {name: _plain(getattr(told, name)) for name in ("sum", "bias", "total", "activated", "result")}
        print_json({"index": told.index, "terms": terms, **sums})
        return
    print(told.head)
    if told.outside:
        print(say("trace.outside", boundary=told.outside))
    for line in told.arithmetic:
        print(line)


def _print_pooling(
    picture: "Array", at: tuple[int, ...], kind: str, kernel: str, stride: str | None, padding: str, dilation: str, as_json: bool
) -> None:
    from juanji import explain

    window = numbers("--kernel", kernel, "2x2")
    told = explain.trace_pool(
        picture,
        (window,) * (picture.ndim - 1) if isinstance(window, int) else window,
        at,
        kind=kind,
        weights="gaussian" if kind == "weighted" else None,
        stride=None if stride is None else numbers("--stride", stride, "2x1"),
        padding=padding_of(padding),
        dilation=numbers("--dilation", dilation, "2x1"),
    )
    if as_json:
        weights = None if told.weights is None else told.weights.tolist()
        found = {"values": told.values.tolist(), "places": told.places, "weights": weights, "divisor": told.divisor}
        print_json({"index": told.index, "kind": kind, **found, "result": told.result.item()})
        return
    print(told)


def _plain(number: Any) -> Any:
    """A number of NumPy as Python's."""
    return number.item() if hasattr(number, "item") else number


def _geometry(stride: str, padding: str, dilation: str, boundary: str) -> dict[str, Any]:
    return {
        "stride": numbers("--stride", stride, "2x1"),
        "padding": padding_of(padding),
        "dilation": numbers("--dilation", dilation, "2x1"),
        "boundary": boundary_of(boundary),
    }


def _same_axes(picture: "Array", w: "Array", x: str, kernel: str) -> None:
    if w.ndim != picture.ndim + 1:
        raise ArgumentError(say("operators.axes", kernel=kernel, axes=w.ndim - 2, input=x, others=picture.ndim - 1))


def _belongs_to_convolution(boundary: bool, flip: bool, transposed: bool, activation: str | None, bias: float | None) -> None:
    """Refuse what pooling does not have."""
    given = {"--boundary": boundary, "--flip": flip, "--transposed": transposed, "--activation": activation, "--bias": bias is not None}
    for option, used in given.items():
        if used:
            raise ArgumentError(say("trace.no_pool", option=option))


def _position(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(say("trace.bad_position", value=text)) from None


def _array(option: str, text: str, lead: tuple[int, ...]) -> "Array":
    """The numbers that an option gives, of one channel; or of sizes joined by x, with the leading axes before them, 1, 2, 3, …

    A kernel may also be one of those that have names.
    """
    import numpy as np

    if option == "--kernel" and text in kernels.names():
        values = np.asarray(kernels.get(text))
    elif text.lstrip().startswith("["):
        values = _numbers_in(option, text)
    else:
        given = numbers(option, text, "4x4")
        sizes = (given,) if isinstance(given, int) else given
        if min(sizes) < 1:
            raise ArgumentError(say("bad_sizes", option=option, value=text, example="4x4"))
        return np.arange(1, math.prod((*lead, *sizes)) + 1).reshape(*lead, *sizes)
    if max(lead) > 1:
        raise ArgumentError(say("operators.one_channel", option=option))
    return values.reshape(*lead, *values.shape)


def _numbers_in(option: str, text: str) -> "Array":
    """Nested lists of finite numbers."""
    import numpy as np

    try:
        values = np.asarray(json.loads(text))
        if values.size and values.dtype.kind in "if" and np.isfinite(values).all():
            return values
    except ValueError:
        pass
    raise ArgumentError(say("operators.bad_array", option=option, value=text))
