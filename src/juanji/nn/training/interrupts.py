"""Ctrl-C while something runs that should stop between two steps and not within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed."""

    asked = False


@contextmanager
def postponed() -> Iterator[Interrupt]:
    """The first Ctrl-C in this block is only noted; a second one interrupts at once. Nothing changes outside the main thread."""
    interrupt, before = Interrupt(), signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:  # None: a handler that is not Python's
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
