"""`juanji slide`: a window sliding over its input, as an animation."""

import json
from typing import Annotated, Any

import typer

from juanji.cli.operators import BoundaryOption, Channels, Dilation, Features, Flip, Padding
from juanji.cli.options import boundary_of, numbers, padding_of
from juanji.cli.talk import talk, waiting
from juanji.errors import ArgumentError
from juanji.image import kernels
from juanji.messages import current, say

app = typer.Typer()


@app.command(name="slide", help=say("slide"), epilog=say("slide.example"))
def slide_command(
    x: Annotated[str, typer.Option("--input", help=say("slide.input"))],
    kernel: Annotated[str, typer.Option("--kernel", "-k", help=say("slide.kernel"))],
    output: Annotated[str | None, typer.Option("--output", "-o", help=say("slide.output"))] = None,
    operator: Annotated[str, typer.Option(help=say("slide.operator"))] = "conv",
    scatter: Annotated[bool, typer.Option("--scatter", help=say("slide.scatter"))] = False,
    channels: Channels = 1,
    features: Features = 1,
    stride: Annotated[str | None, typer.Option(help=say("explain.stride"))] = None,
    padding: Padding = "0",
    dilation: Dilation = "1",
    boundary: BoundaryOption = "zero",
    flip: Flip = False,
    kind: Annotated[str, typer.Option(help=say("slide.kind"))] = "max",
    view: Annotated[str, typer.Option(help=say("slide.view"))] = "perspective",
    dark: Annotated[bool, typer.Option("--dark", help=say("slide.dark"))] = False,
    seconds: Annotated[float, typer.Option(help=say("slide.seconds"))] = 0.5,
) -> None:
    from juanji.show import slide

    arguments: dict[str, Any] = {"padding": padding_of(padding), "dilation": numbers("--dilation", dilation, "2x1")}
    if stride is not None:
        arguments["stride"] = numbers("--stride", stride, "1x2")
    w: Any
    if operator.startswith("pool"):
        w = numbers("--kernel", kernel, "2x2")
        arguments |= {"kind": kind} | ({"weights": "gaussian"} if kind == "weighted" else {})
        if boundary != "zero" or flip or features > 1:
            raise ArgumentError(say("slide.no_pool"))
    else:
        w = _numbers("--kernel", kernel, (features, channels) if operator == "conv" else (channels, features))
        arguments |= {"boundary": boundary_of(boundary), "flip": flip}
    made = slide(
        _numbers("--input", x, (channels,)), w, operator=operator, scatter=scatter,
        view=view, dark=dark, seconds=seconds, language=current(), **arguments,
    )  # fmt: skip
    if output is None:
        _open(made)
        return
    with waiting(say("slide.waiting", count=len(made))):
        written = made.save(output)
    width, height = made.pictures.size
    talk(say("slide.done", count=len(made), width=width, height=height, seconds=seconds))
    for path in written:
        print(path)


def _numbers(option: str, text: str, lead: tuple[int, ...]) -> Any:
    """An array given as nested lists, or a kernel by its name; sizes as a tuple, the channels in front where there are several."""
    if option == "--kernel" and text in kernels.names():
        values = kernels.get(text).tolist()
    elif text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError:
            raise ArgumentError(say("operators.bad_array", option=option, value=text)) from None
    else:
        sizes = numbers(option, text, "5x5")
        spatial = (sizes,) if isinstance(sizes, int) else sizes
        return (*lead, *spatial) if max(lead) > 1 else spatial
    if max(lead) > 1:
        raise ArgumentError(say("operators.one_channel", option=option))
    return values


def _open(made: Any) -> None:
    """A window with a time slider, until it is closed."""
    from juanji.extras import optional

    plt = optional("matplotlib.pyplot", "show")
    if plt.get_backend().lower() == "agg":
        raise ArgumentError(say("slide.no_window"))
    made.figure()
    plt.show()
