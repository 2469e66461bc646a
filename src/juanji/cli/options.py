"""What the options of several commands mean."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from juanji.errors import ArgumentError
from juanji.messages import say

if TYPE_CHECKING:
    from juanji.spec import Convolution

Json = Annotated[bool, typer.Option("--json", help=say("option.json"))]
Threads = Annotated[int | None, typer.Option(min=1, help=say("option.threads"))]


def boundary_of(text: str) -> str | tuple[str, float]:
    """A mode, or constant=NUMBER."""
    mode, equals, value = text.partition("=")
    if not equals:
        return text
    try:
        if mode == "constant":
            return mode, float(value)
    except ValueError:
        pass
    raise ArgumentError(say("bad_boundary", value=text))


def numbers(option: str, text: str, example: str) -> tuple[int, ...] | int:
    """An integer, or several joined by x."""
    try:
        values = tuple(int(part) for part in text.lower().replace("×", "x").split("x"))
    except ValueError:
        raise ArgumentError(say("bad_numbers", option=option, value=text, example=example)) from None
    return values[0] if len(values) == 1 else values


def described(
    shape: str, kernel: str, batch: int, groups: int, layout: str, dtype: str, *, stride: str, padding: str, dilation: str, boundary: str
) -> "Convolution":
    """The description of what the options say; they name channels first, whatever the layout in memory."""
    import numpy as np

    from juanji.describe import describe

    channels, *sizes = several("--input", shape, "3x224x224")
    features, *extents = several("--kernel", kernel, "64x7x7")
    if len(sizes) != len(extents):
        raise ArgumentError(f"--kernel (={kernel}) must have as many sizes after its channels as --input (={shape}), {len(sizes)}")
    if groups < 1 or channels % groups:
        raise ArgumentError(f"--groups (={groups}) must divide the {channels} channels of --input (={shape})")
    last = layout == "channels_last"
    try:
        element = np.dtype(dtype)
    except TypeError:
        raise ArgumentError(f"--dtype (={dtype!r}) must be a NumPy element type such as float32") from None
    return describe(
        (batch, *sizes, channels) if last else (batch, channels, *sizes),
        (*extents, channels // groups, features) if last else (features, channels // groups, *extents),
        dtype=element,
        w_dtype="float32" if element.kind == "u" else None,
        stride=numbers("--stride", stride, "2x1"),
        padding=padding_of(padding),
        dilation=numbers("--dilation", dilation, "2x1"),
        groups=groups,
        boundary=boundary_of(boundary),
        layout=layout,
    )


def several(option: str, text: str, example: str) -> tuple[int, ...]:
    """Two integers of at least 1, or more, joined by x."""
    sizes = numbers(option, text, example)
    if isinstance(sizes, int):
        raise ArgumentError(say("bad_numbers", option=option, value=text, example=example))
    if min(sizes) < 1:
        raise ArgumentError(say("bad_sizes", option=option, value=text, example=example))
    return sizes


def padding_of(text: str) -> Any:
    """A number, numbers per axis, low:high per axis, or the word that `conv` takes."""
    if text.isalpha() or "_" in text:
        return text
    if ":" not in text:
        return numbers("--padding", text, "3 or 0:1x0:1")
    return [
        sides if isinstance(sides, tuple) else (sides, sides)
        for sides in (numbers("--padding", axis.replace(":", "x"), "3 or 0:1x0:1") for axis in text.split("x"))
    ]
