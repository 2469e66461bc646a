"""The command line: parse, call, print.

Standard output is the result, standard error the talk. Exit status: 0, 1 (failed), 2 (wrong usage), or
130 after Ctrl-C.
"""

import dataclasses
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from juanji import __version__, messages
from juanji.errors import ArgumentError, FileError, JuanjiError
from juanji.image import kernels
from juanji.messages import say

if TYPE_CHECKING:
    from juanji.image.filters import Array, Prepared
    from juanji.spec import Convolution

messages.use(messages.choose(sys.argv[1:], os.environ))  # the help texts below are fixed when this module is loaded


class Language(StrEnum):
    EN = "en"
    ZH = "zh"


Json = Annotated[bool, typer.Option("--json", help=say("option.json"))]
Threads = Annotated[int | None, typer.Option(min=1, help=say("option.threads"))]

INTERRUPTED = 130  # the shells' status for Ctrl-C, which Typer gives too

app = typer.Typer(add_completion=False, no_args_is_help=True, help=say("app"), rich_markup_mode="rich")
explain = typer.Typer(no_args_is_help=True)
app.add_typer(explain, name="explain", help=say("explain"))


def _version(asked: bool) -> None:
    if asked:
        print(f"juanji {__version__}")
        raise typer.Exit


@app.callback()
def common(
    lang: Annotated[Language | None, typer.Option(help=say("option.lang"))] = None,
    debug: Annotated[bool, typer.Option("--debug", help=say("option.debug"))] = False,
    version: Annotated[bool, typer.Option("--version", help=say("option.version"), callback=_version, is_eager=True)] = False,
) -> None:
    if lang is not None:
        messages.use(lang.value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    given = _common_first(sys.argv[1:] if arguments is None else arguments)
    try:
        status = app(given, prog_name="juanji", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if "--debug" in given:
            raise
        return _explain(error, _command(given))
    if status == INTERRUPTED:
        _talk(say("interrupted"))
    return status if isinstance(status, int) else 0


def _explain(error: Exception, command: str) -> int:
    """Tell of an error in one line, and return the exit status it means."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2  # Typer has printed the help
    if hasattr(error, "format_message"):  # one of Typer's usage errors, whose class has moved between its versions
        text = error.format_message().rstrip(".").replace("Value error, ", "")
    else:
        text = " ".join(str(error).split())
        if not isinstance(error, ArgumentError):
            _talk(say("error", text=text if isinstance(error, JuanjiError) else f"{type(error).__name__}: {text} (--debug)"))
            return 1
    _talk(say("usage", text=text, command=command))
    return 2


def _common_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--lang` and `--debug` in front, where they belong to every command."""
    front, rest = [], []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--lang":
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        elif argument == "--debug" or argument.startswith("--lang="):
            front.append(argument)
        else:
            rest.append(argument)
    return [*front, *rest]


def _command(arguments: Sequence[str]) -> str:
    """The command that a usage error belongs to."""
    words = [a for a in arguments if not a.startswith("-") and a not in messages.LANGUAGES]
    known = {"filter": 1, "info": 1, "bench": 1, "explain": 2}
    return " ".join(["juanji", *words[: known.get(words[0] if words else "", 0)]])


def _talk(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False, default=str))


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
    from juanji.image import files, filters

    given = {"size": size, "sigma": sigma, "amount": amount, "angle": angle}
    parameters = {name: value for name, value in given.items() if value is not None}
    chosen = _kernel(kernel, parameters)
    if signed and kernel in kernels.PAIRS:
        first, second = kernels.PAIRS[kernel]
        raise ArgumentError(say("filter.no_sign", kernel=kernel, first=first, second=second))
    derivative = filters.is_derivative(chosen)
    if signed and not derivative:
        raise ArgumentError(say("filter.no_derivative", kernel=kernel))
    target = Path(output)
    if target.suffix.lower() not in files.SUFFIXES:
        raise ArgumentError(say("filter.bad_output", output=output, suffixes=", ".join(files.SUFFIXES)))
    if target.exists() and photo.exists() and target.samefile(photo):
        raise ArgumentError(say("filter.itself", output=output))
    image = _read(photo)
    on_grey = image.dtype.kind == "u" and derivative
    prepared = filters.prepare(
        image,
        chosen,
        boundary=_boundary(boundary),
        dtype="float32" if on_grey else None,
        stride=_numbers("--stride", stride, "2x1"),
    )
    with _waiting(say("filter.waiting", photo=photo.name)):
        result, first_call, warm = _timed(prepared, threads)
    if on_grey:
        result = filters.on_grey(result, prepared, signed=signed)
    files.write(target, result)
    plan = prepared.plan
    used = plan.workers(threads)
    share = plan.share(warm) / min(used, plan.machine.cores)
    _talk(say("filter.done", **_seen(photo, prepared), kernel=kernel, output=output))
    _talk(str(plan) if whole_plan else say("filter.in_short", algorithm=plan.algorithm, schedule=str(plan.schedule).partition(",")[0]))
    told = {"warm": _time(warm), "threads": used, "share": f"{share:.0%}", "limit": say(f"limit.{plan.limit.name}")}
    _talk(say("filter.time" if warm < first_call else "filter.once", first=_time(first_call), **told))
    if as_json:
        _print_json(
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
        _talk(str(warning.message))
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


def _boundary(text: str) -> str | tuple[str, float]:
    mode, equals, value = text.partition("=")
    if not equals:
        return text
    try:
        if mode == "constant":
            return mode, float(value)
    except ValueError:
        pass
    raise ArgumentError(say("bad_boundary", value=text))


def _numbers(option: str, text: str, example: str) -> tuple[int, ...] | int:
    """An integer, or several joined by x."""
    try:
        numbers = tuple(int(part) for part in text.lower().replace("×", "x").split("x"))
    except ValueError:
        raise ArgumentError(say("bad_numbers", option=option, value=text, example=example)) from None
    return numbers[0] if len(numbers) == 1 else numbers


@app.command(help=say("info"), epilog=say("info.example"))
def info(as_json: Json = False) -> None:
    import platform
    from importlib import metadata

    from juanji import machine
    from juanji.jit import store

    with _waiting(say("info.machine")):
        probed = machine.probe()
    versions = {"juanji": __version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in ("numpy", "llvmlite", "pillow")}
    (files, size), folder = store.size(), store.folder()
    if as_json:
        kept = {"folder": str(folder), "files": files, "bytes": size}
        _print_json({"versions": versions, "machine": dataclasses.asdict(probed), "store": kept})
        return
    peak = say(
        "info.peak.value",
        f32=f"{probed.peak_f32 / 1e9:.0f} GFLOP/s",
        f64=f"{probed.peak_f64 / 1e9:.0f} GFLOP/s",
        bandwidth=f"{probed.bandwidth / 1e9:.1f} GB/s",
    )
    lines = {
        "info.versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "info.machine": f"{probed.name}, {platform.system()} {platform.machine()}",
        "info.cores": probed.cores,
        "info.vectors": say("info.vectors.value", bits=probed.vector_bits, registers=probed.registers),
        "info.caches": f"L1 {_size(probed.l1)}, L2 {_size(probed.l2)}",
        "info.peak": peak,
        "info.store": say("info.store.value", files=files, size=_size(size), folder=folder),
    }
    for key, value in lines.items():
        print(f"{say(key)}: {value}")


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
    from juanji.kinds import plan_for
    from juanji.spec import span

    spec = _described(shape, kernel, batch, groups, layout, dtype, stride=stride, padding=padding, dilation=dilation, boundary=boundary)
    plan = plan_for(spec)
    weights, biases = spec.parameters
    flops = 2 * spec.macs
    if as_json:
        _print_json({**plan.explain(), "parameters": {"weights": weights, "biases": biases}, "flops": flops})
        return
    print(say("explain.shape", x="×".join(map(str, spec.x_shape)), y="×".join(map(str, spec.y_shape))))
    for axis, (low, high) in enumerate(spec.padding):
        sizes = {"size": spec.size[axis], "low": low, "high": high, "span": span(spec.kernel[axis], spec.dilation[axis])}
        print("  " + say("explain.axis", axis=axis, **sizes, stride=spec.stride[axis], output=spec.output[axis]))
    print(say("explain.counts", weights=weights, biases=biases))
    print(say("explain.work", macs=spec.macs, flops=flops, bytes=_size(spec.bytes_moved), intensity=flops / max(spec.bytes_moved, 1)))
    print(plan)


def _described(
    shape: str, kernel: str, batch: int, groups: int, layout: str, dtype: str, *, stride: str, padding: str, dilation: str, boundary: str
) -> "Convolution":
    """The description of what the options say; they name channels first, whatever the layout in memory."""
    import numpy as np

    from juanji.describe import describe

    channels, *sizes = _several("--input", shape, "3x224x224")
    features, *extents = _several("--kernel", kernel, "64x7x7")
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
        stride=_numbers("--stride", stride, "2x1"),
        padding=_padding(padding),
        dilation=_numbers("--dilation", dilation, "2x1"),
        groups=groups,
        boundary=_boundary(boundary),
        layout=layout,
    )


def _several(option: str, text: str, example: str) -> tuple[int, ...]:
    numbers = _numbers(option, text, example)
    if isinstance(numbers, int):
        raise ArgumentError(say("bad_numbers", option=option, value=text, example=example))
    if min(numbers) < 1:
        raise ArgumentError(say("bad_sizes", option=option, value=text, example=example))
    return numbers


def _padding(text: str) -> Any:
    if text.isalpha() or "_" in text:
        return text
    if ":" not in text:
        return _numbers("--padding", text, "3 or 0:1x0:1")
    return [
        sides if isinstance(sides, tuple) else (sides, sides)
        for sides in (_numbers("--padding", axis.replace(":", "x"), "3 or 0:1x0:1") for axis in text.split("x"))
    ]


@app.command(help=say("bench"), epilog=say("bench.example"), context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    only: Annotated[list[str] | None, typer.Option(help=say("bench.only"))] = None,
) -> None:
    import importlib

    repository = Path(__file__).resolve().parents[2]
    if not (repository / "bench" / "__main__.py").is_file():
        raise FileError(say("bench.missing"))
    sys.path.insert(0, str(repository))
    arguments = [word for name in only or [] for word in ("--only", name)]
    status = importlib.import_module("bench.__main__").main([*arguments, *context.args])
    raise typer.Exit(status or 0)


@contextmanager
def _waiting(text: str) -> Iterator[None]:
    """A moving line with the time gone by, once it takes more than a second; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    progress.add_task(text)
    timer = threading.Timer(1.0, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


def _time(seconds: float) -> str:
    """
    >>> _time(0.00213), _time(2.5), _time(3e-5)
    ('2.13 ms', '2.5 s', '30 µs')
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _size(count: int) -> str:
    """
    >>> _size(512), _size(49152), _size(2 << 20)
    ('512 B', '48 KiB', '2 MiB')
    """
    for scale, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"
