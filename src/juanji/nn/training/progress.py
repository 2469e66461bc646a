"""A training while it runs: epoch, loss, metrics, samples per second, the time that is left. Silent where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from juanji.nn.training.history import shown

SHOWN_EVERY = 0.1  # seconds


class Display:
    """A line that moves on standard error, and one that stays for every epoch; nothing unless it is a terminal."""

    def __init__(self, total: int, done: int, batch_size: int, *, quiet: bool):
        self._total, self._start, self._batch_size = total, done, batch_size
        self._began = self._shown = time.monotonic()
        self._progress: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[numbers]}"),
            )  # fmt: skip
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._task = self._progress.add_task("", total=total, completed=done, numbers="")

    def __enter__(self) -> Display:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def iteration(self, done: int, epoch: int, loss: float) -> None:
        """After an iteration."""
        now = time.monotonic()
        if self._progress is None or (now - self._shown < SHOWN_EVERY and done < self._total):
            return
        self._shown = now
        speed = (done - self._start) * self._batch_size / max(now - self._began, 1e-9)
        self._progress.update(self._task, completed=done, description=f"epoch {epoch + 1}", numbers=f"loss {loss:.4f}  {speed:,.0f}/s")

    def epoch(self, numbers: Mapping[str, float]) -> None:
        """After an epoch."""
        if self._progress is not None:
            told = "  ".join(f"{name} {value:.4g}" for name, value in shown(numbers).items())
            self._progress.console.print(f"epoch {numbers['epoch']}  {told}  {numbers['seconds']:.1f} s", highlight=False)

    def say(self, text: str) -> None:
        """A remark, once."""
        if self._progress is not None:
            self._progress.console.print(text, highlight=False)
