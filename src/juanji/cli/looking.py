"""`juanji look`: a page about what a network makes of a photo."""

from pathlib import Path
from typing import Annotated

import typer

from juanji.cli.talk import advancing, talk
from juanji.errors import ArgumentError
from juanji.messages import current, say

app = typer.Typer()


@app.command(help=say("look"), epilog=say("look.example"))
def look(
    network: Annotated[str, typer.Argument(help=say("option.network"))],
    photo: Annotated[Path, typer.Argument(help=say("predict.photo"))],
    output: Annotated[Path, typer.Option("--output", "-o", help=say("look.output"))],
    filters: Annotated[int, typer.Option(min=1, help=say("look.filters"))] = 16,
) -> None:
    from juanji.image import files
    from juanji.nn.graph import Graph
    from juanji.nn.opened import open_network
    from juanji.show.reports import report

    image = files.read(photo)
    net = open_network(network)
    if not isinstance(net, Graph):
        raise ArgumentError(say("predict.no_picture", network=network))
    with advancing(say("look.waiting", network=network)) as progress:
        report(net, image, output, name=Path(network).name, language=current(), filters=filters, progress=progress)
    talk(say("look.done", size=f"{output.stat().st_size / 1e6:.1f}"))
    print(output)
