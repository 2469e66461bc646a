"""`juanji predict`: what a network says of a picture."""

from pathlib import Path
from typing import Annotated

import typer

from juanji.cli.options import Json, numbers
from juanji.cli.talk import print_json, talk, waiting
from juanji.errors import ArgumentError
from juanji.messages import say

app = typer.Typer()


@app.command(help=say("predict"), epilog=say("predict.example"))
def predict(
    network: Annotated[str, typer.Argument(help=say("option.network"))],
    photo: Annotated[Path, typer.Argument(help=say("predict.photo"))],
    output: Annotated[Path | None, typer.Option("--output", "-o", help=say("predict.output"))] = None,
    top: Annotated[int, typer.Option(min=1, help=say("predict.top"))] = 5,
    mean: Annotated[str | None, typer.Option(help=say("predict.mean"))] = None,
    deviation: Annotated[str | None, typer.Option(help=say("predict.deviation"))] = None,
    size: Annotated[str | None, typer.Option(help=say("predict.size"))] = None,
    as_json: Json = False,
) -> None:
    from dataclasses import replace

    from juanji.image import files
    from juanji.nn.graph import Graph
    from juanji.nn.opened import open_network
    from juanji.nn.predicting import predict as predicted
    from juanji.nn.preprocessing import BYTES

    image = files.read(photo)
    with waiting(say("predict.waiting", network=network)):
        net = open_network(network)
        if not isinstance(net, Graph):
            raise ArgumentError(say("predict.no_picture", network=network))
        own = net.preprocessing or BYTES
        if mean is not None:
            own = replace(own, mean=_values("--mean", mean))
        if deviation is not None:
            own = replace(own, deviation=_values("--deviation", deviation))
        if size is not None:
            sides = numbers("--size", size, "224x224")
            own = replace(own, size=(sides, sides) if isinstance(sides, int) else (sides[0], sides[-1]))
        found = predicted(net, image, own)
    if found.kind in ("mask", "labels"):
        if output is None:
            raise ArgumentError(say("predict.needs_output"))
        files.write(output, found.picture())
        talk(say(f"predict.{found.kind}", share=f"{(found.values > 0.5).mean():.1%}", output=output))
    if as_json:
        shown = {"best": found.best(top)} if found.kind == "classes" else {"values": found.values.tolist()} if output is None else {}
        print_json({"network": network, "photo": photo, "kind": found.kind, "output": output, **shown})
    elif found.kind == "classes":
        for name, share in found.best(top):
            print(f"{share:7.2%}  {name}")
    elif found.kind == "numbers":
        print(" ".join(f"{value:.6g}" for value in found.values))
    else:
        print(output)


def _values(option: str, text: str) -> float | tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(say("bad_list", option=option, value=text, example="123.7,116.3,103.5")) from None
    return values[0] if len(values) == 1 else values
