"""`juanji match`: where a template stands in a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from juanji.cli.options import Json
from juanji.cli.talk import print_json, talk, waiting
from juanji.errors import ArgumentError
from juanji.messages import say

if TYPE_CHECKING:
    from juanji.image.matching import Array

app = typer.Typer()


@app.command(name="match", help=say("match"), epilog=say("match.example"))
def match_command(
    photo: Annotated[Path, typer.Argument(help=say("filter.photo"))],
    template: Annotated[Path, typer.Argument(help=say("match.template"))],
    output: Annotated[Path | None, typer.Option("--output", "-o", help=say("match.output"))] = None,
    mask: Annotated[Path | None, typer.Option(help=say("match.mask"))] = None,
    method: Annotated[str, typer.Option(help=say("match.method"))] = "ncc",
    as_json: Json = False,
) -> None:
    import numpy as np

    from juanji.image import files, match_template

    if output is not None and output.suffix.lower() not in files.SUFFIXES:
        raise ArgumentError(say("filter.bad_output", output=str(output), suffixes=", ".join(files.SUFFIXES)))
    image, pattern = _colours(files.read(photo)), _colours(files.read(template))
    if image.ndim != pattern.ndim:  # one of them is grey
        image, pattern = _grey(image), _grey(pattern)
    weights = None if mask is None else _grey(_colours(files.read(mask)))
    with waiting(say("match.waiting", photo=photo.name)):
        likeness = match_template(image, pattern, mask=weights, method=method)
    row, column = (int(place) for place in np.unravel_index(likeness.argmax(), likeness.shape))
    best = float(likeness[row, column])
    height, width = pattern.shape[:2]
    talk(say("match.done", row=row, column=column, height=height, width=width, best=best))
    if output is not None:
        seen = likeness.clip(0, None) / max(best, np.finfo(np.float64).tiny)
        files.write(output, np.rint(seen * 255).astype(np.uint8))
    if as_json:
        print_json({"row": row, "column": column, "height": height, "width": width, "likeness": best, "output": output})
    else:
        print(f"{row} {column} {best:.6g}")


def _colours(picture: "Array") -> "Array":
    """The picture without alpha."""
    if picture.ndim == 3 and picture.shape[-1] in (2, 4):
        picture = picture[..., :-1]
    return picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture


def _grey(picture: "Array") -> "Array":
    return picture.mean(axis=-1) if picture.ndim == 3 else picture
