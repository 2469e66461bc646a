"""`juanji bench`: the benchmarks, where the repository is at hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from juanji.errors import FileError
from juanji.messages import say

app = typer.Typer()


@app.command(help=say("bench"), epilog=say("bench.example"), context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    only: Annotated[list[str] | None, typer.Option(help=say("bench.only"))] = None,
) -> None:
    import importlib

    repository = Path(__file__).resolve().parents[3]
    if not (repository / "bench" / "__main__.py").is_file():
        raise FileError(say("bench.missing"))
    sys.path.insert(0, str(repository))
    arguments = [word for name in only or [] for word in ("--only", name)]
    status = importlib.import_module("bench.__main__").main([*arguments, *context.args])
    raise typer.Exit(status or 0)
