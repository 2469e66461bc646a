"""What the commands print: the result on standard output, talk and progress on standard error, quantities in words."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def talk(text: str) -> None:
    print(text, file=sys.stderr)


def print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False, default=str))


@contextmanager
def waiting(text: str) -> Iterator[None]:
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


@contextmanager
def advancing(text: str) -> Iterator[Callable[[float], None]]:
    """A bar with the time that is left, moved by the share that is done; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(compact=True)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def duration(seconds: float) -> str:
    """
    >>> duration(0.00213), duration(2.5), duration(3e-5)
    ('2.13 ms', '2.5 s', '30 µs')
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def memory(count: int) -> str:
    """
    >>> memory(512), memory(49152), memory(2 << 20)
    ('512 B', '48 KiB', '2 MiB')
    """
    for scale, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"
