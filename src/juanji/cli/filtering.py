"""`juanji filter`: a picture through a kernel."""

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from juanji.cli.options import Json, Threads, boundary_of, numbers
from juanji.cli.talk import duration, print_json, talk, waiting
from juanji.errors import ArgumentError, FileError
from juanji.image import kernels
from juanji.messages import say

if TYPE_CHECKING:
    from juanji.image.picture import Array
    from juanji.image.prepared import Prepared

app = typer.Typer()


@app.command(name="filter", help=say("filter"), epilog=say("filter.note") + "\n\n" + say("filter.example"))
def filter_command(
    photo: Annotated[Path, typer.Argument(help=say("filter.photo"))],
    kernel: Annotated[str, typer.Option("--kernel", "-k", help=say("filter.kernel", names=", ".join([*kernels.PAIRS, *kernels.names()])))],
    output: Annotated[str, typer.Option("--output", "-o", help=say("filter.output"))],
    size: Annotated[int | None, typer.Option(help=say("filter.size"))] = None,
    sigma: Annotated[float | None, typer.Option(help=say("filter.sigma"))] = None,
    amount: Annotated[float | None, typer.Option(help=say("filter.amount"))] = None,
    angle: Annotated[float | None, typer.Option(help=say("filter.angle"))] = None,
    boundary: Annotated[str, typer.Option(help=say("option.boundary"))] = "reflect",
    stride: Annotated[str, typer.Option(help=say("filter.stride"))] = "1",
    signed: Annotated[bool, typer.Option("--signed", help=say("filter.signed"))] = False,
    threads: Threads = None,
    whole_plan: Annotated[bool, typer.Option("--plan", help=say("filter.plan"))] = False,
    as_json: Json = False,
) -> None:
    from juanji.image import files
    from juanji.image.prepared import is_derivative, on_grey, prepare

    given = {"size": size, "sigma": sigma, "amount": amount, "angle": angle}
    parameters = {name: value for name, value in given.items() if value is not None}
    chosen = _kernel(kernel, parameters)
    if signed and kernel in kernels.PAIRS:
        first, second = kernels.PAIRS[kernel]
        raise ArgumentError(say("filter.no_sign", kernel=kernel, first=first, second=second))
    derivative = is_derivative(chosen)
    if signed and not derivative:
        raise ArgumentError(say("filter.no_derivative", kernel=kernel))
    target = Path(output)
    if target.suffix.lower() not in files.SUFFIXES:
        raise ArgumentError(say("filter.bad_output", output=output, suffixes=", ".join(files.SUFFIXES)))
    if target.exists() and photo.exists() and target.samefile(photo):
        raise ArgumentError(say("filter.itself", output=output))
    image = _read(photo)
    relief = image.dtype.kind == "u" and derivative
    prepared = prepare(
        image,
        chosen,
        boundary=boundary_of(boundary),
        dtype="float32" if relief else None,
        stride=numbers("--stride", stride, "2x1"),
    )
    with waiting(say("filter.waiting", photo=photo.name)):
        result, first_call, warm = _timed(prepared, threads)
    if relief:
        result = on_grey(result, prepared, signed=signed)
    files.write(target, result)
    plan = prepared.plan
    used = plan.workers(threads)
    share = plan.share(warm) / min(used, plan.machine.cores)
    talk(say("filter.done", **_seen(photo, prepared), kernel=kernel, output=output))
    talk(str(plan) if whole_plan else say("filter.in_short", algorithm=plan.algorithm, schedule=str(plan.schedule).partition(",")[0]))
    told = {"warm": duration(warm), "threads": used, "share": f"{share:.0%}", "limit": say(f"limit.{plan.limit.name}")}
    talk(say("filter.time" if warm < first_call else "filter.once", first=duration(first_call), **told))
    if as_json:
        print_json(
            {
                "photo": photo,
                "output": output,
                "kernel": kernel,
                "shape": result.shape,
                "dtype": result.dtype,
                "first_call": first_call,
                "warm": warm,
                "threads": used,
                "share": share,
                "plan": plan.explain(),
            }
        )
    else:
        print(output)


def _timed(prepared: "Prepared", threads: int | None) -> tuple["Array", float, float]:
    """The result, the seconds that the first call took, and those of its convolution when the code is there."""
    start = time.perf_counter()
    result = prepared.run(threads)
    first = time.perf_counter() - start
    if first > 0.3:  # long calls are not repeated for the sake of a figure
        return result, first, first
    warm, until = first, time.perf_counter() + 0.2
    while time.perf_counter() < until:
        start = time.perf_counter()
        prepared.convolve(threads)
        warm = min(warm, time.perf_counter() - start)
    return result, first, warm


def _read(photo: Path) -> "Array":
    """The picture, with what the reader warns of as a line of talk."""
    from juanji.image import files

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        image = files.read(photo)
    for warning in caught:
        talk(str(warning.message))
    if image.dtype.name not in ("uint8", "uint16", "float32", "float64"):
        raise FileError(f"{photo}: holds {image.dtype}; a picture is uint8, uint16, float32 or float64")
    if image.ndim not in (2, 3) or (image.ndim == 3 and not 1 <= image.shape[2] <= 4):
        raise FileError(say("filter.bad_shape", photo=photo, shape="×".join(map(str, image.shape))))
    return image


def _seen(photo: Path, prepared: "Prepared") -> dict[str, object]:
    """What the picture is, as fields of a message."""
    shape = prepared.picture.pixels.shape
    names = {1: "channels.grey", 2: "channels.alpha", 3: "channels.colour", 4: "channels.both"}
    channels = say(names[1 if prepared.picture.channels is None else shape[-1]])
    return {"photo": photo.name, "width": shape[1], "height": shape[0], "channels": channels, "dtype": prepared.picture.pixels.dtype}


def _kernel(text: str, parameters: dict[str, float]) -> "str | Array":
    """The kernel that `--kernel` means: a name where the filter needs it, else its numbers."""
    import numpy as np

    if text in kernels.MADE:
        return kernels.get(text, **parameters)
    if text in kernels.FIXED or text in kernels.PAIRS:
        if parameters:
            kernels.get(text, **parameters)  # says what the kernel takes
        return text
    if parameters:
        raise ArgumentError(say("filter.no_parameter", parameter=next(iter(parameters))))
    path = Path(text)
    inline = text.lstrip().startswith("[")
    if not inline and path.suffix.lower() not in (".npy", ".json", ".txt"):
        raise ArgumentError(say("filter.bad_kernel", kernel=text, names=", ".join([*kernels.PAIRS, *kernels.names()])))
    try:
        if inline:
            return _rows(json.loads(text))
        match path.suffix.lower():
            case ".npy":
                return _rows(np.load(path, allow_pickle=False))
            case ".json":
                return _rows(json.loads(path.read_text("utf-8")))
            case _:
                lines = [line.partition("#")[0].replace(",", " ").split() for line in path.read_text("utf-8").splitlines()]
                return _rows([[float(word) for word in line] for line in lines if line])
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        reason = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        if inline:
            raise ArgumentError(say("filter.bad_rows", kernel=text) + reason) from None
        raise FileError(say("filter.bad_rows_in", path=path) + reason) from None


def _rows(values: Any) -> "Array":
    """Rows of numbers, or an array, as a kernel; ValueError if it is none whose weights float32 holds."""
    import numpy as np

    if isinstance(values, list):
        numbers = [[type(value) in (int, float) for value in row] for row in values if isinstance(row, list)]
        if len(numbers) < len(values) or len({len(row) for row in numbers}) > 1 or not all(map(all, numbers)):
            raise ValueError
    largest = float(np.finfo(np.float32).max)
    kernel = np.asarray(values)
    if kernel.ndim != 2 or kernel.size == 0 or kernel.dtype.kind not in "fiu" or not (np.abs(kernel) <= largest).all():
        raise ValueError
    return kernel.astype(np.float64)
