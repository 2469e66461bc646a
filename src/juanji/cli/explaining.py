"""`juanji explain`: shapes, counts, plans and receptive fields, without data."""

from typing import Annotated

import typer

from juanji.cli.options import Json, described, several
from juanji.cli.talk import memory, print_json, waiting
from juanji.errors import ArgumentError
from juanji.messages import say

app = typer.Typer()
explain = typer.Typer(no_args_is_help=True)
app.add_typer(explain, name="explain", help=say("explain"))


@explain.command(name="conv", help=say("explain.conv"), epilog=say("explain.example"))
def explain_conv(
    shape: Annotated[str, typer.Option("--input", help=say("explain.input"))],
    kernel: Annotated[str, typer.Option(help=say("explain.kernel"))],
    stride: Annotated[str, typer.Option(help=say("explain.stride"))] = "1",
    padding: Annotated[str, typer.Option(help=say("explain.padding"))] = "0",
    dilation: Annotated[str, typer.Option(help=say("explain.dilation"))] = "1",
    groups: Annotated[int, typer.Option(help=say("explain.groups"))] = 1,
    batch: Annotated[int, typer.Option(help=say("explain.batch"))] = 1,
    boundary: Annotated[str, typer.Option(help=say("option.boundary"))] = "zero",
    dtype: Annotated[str, typer.Option(help=say("explain.dtype"))] = "float32",
    layout: Annotated[str, typer.Option(help=say("explain.layout"))] = "channels_first",
    as_json: Json = False,
) -> None:
    from juanji.explain.arguments import runs
    from juanji.explain.shapes import unmet
    from juanji.kinds import plan_for
    from juanji.spec import span

    spec = described(shape, kernel, batch, groups, layout, dtype, stride=stride, padding=padding, dilation=dilation, boundary=boundary)
    plan = plan_for(spec)
    weights, biases = spec.parameters
    flops = 2 * spec.macs
    if as_json:
        print_json({**plan.explain(), "parameters": {"weights": weights, "biases": biases}, "flops": flops})
        return
    print(say("explain.shape", x="×".join(map(str, spec.x_shape)), y="×".join(map(str, spec.y_shape))))
    for axis, ((low, high), unused) in enumerate(zip(spec.padding, unmet(spec), strict=True)):
        sizes = {"size": spec.size[axis], "low": low, "high": high, "span": span(spec.kernel[axis], spec.dilation[axis])}
        formula = say("explain.axis", axis=axis, **sizes, stride=spec.stride[axis], output=spec.output[axis])
        print(f"  {formula}" + (say("explain.unused", elements=runs(unused)) if unused else ""))
    print(say("explain.counts", weights=weights, biases=biases))
    print(say("explain.work", macs=spec.macs, flops=flops, bytes=memory(spec.bytes_moved), intensity=flops / max(spec.bytes_moved, 1)))
    print(plan)


@explain.command(name="net", help=say("explain.net"), epilog=say("explain.net.example"))
def explain_net(
    network: Annotated[str, typer.Argument(help=say("option.network"))],
    shape: Annotated[str | None, typer.Option("--input", help=say("explain.net.input"))] = None,
    layer: Annotated[str | None, typer.Option(help=say("explain.net.layer"))] = None,
    unit: Annotated[str | None, typer.Option(help=say("explain.net.unit"))] = None,
    as_json: Json = False,
) -> None:
    from dataclasses import asdict

    from juanji.explain.layers import layer_table
    from juanji.explain.receptive import receptive_field
    from juanji.nn.graph import Graph
    from juanji.nn.opened import open_network

    size = None if shape is None else several("--input", shape, "3x224x224")
    with waiting(say("explain.net.waiting", network=network)):
        net = open_network(network, trained=False)
        if not isinstance(net, Graph):
            raise ArgumentError(say("predict.no_picture", network=network))
        if unit is not None and layer is None:
            raise ArgumentError(say("explain.net.unit_of"))
        found = layer_table(net, size) if layer is None else None
        place = None if unit is None else _place(unit)
        field = None if layer is None else receptive_field(net, layer, place, input_shape=size)
    if as_json:
        print_json(asdict(found) if found is not None else asdict(field) if field is not None else {})
    else:
        print(found if found is not None else field)


def _place(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(say("bad_list", option="--unit", value=text, example="7,7")) from None
