"""The process's own threads, which wait for work: started when they are first wanted, kept for the next call.

What they are handed is an offer: whoever wakes up first takes the next share of it, and what nobody has taken when the caller is done
with its own share, and with what it could take from others, is withdrawn. So nobody waits for a thread that sleeps, and calls from many
threads, or from inside of one another, share the crew without waiting for each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from juanji.jit.lock import compiling

MOST_THREADS = max(32, os.cpu_count() or 1)

class _Offer:
    """A call of `beside`: shares that nobody has taken yet, and who has come and gone.

    Threads say that they have come before they look whether the offer is closed, so that once it is, all who may be at work are known.
    Nothing is counted that Ctrl-C, between any two steps of the caller, could leave wrong.
    """

    def __init__(self, work: Callable[[int], None], count: int):
        self.work, self.left, self.closed = work, iter(range(1, count)), False
        self.came, self.gone, self.raised = list[bool](), list[bool](), list[BaseException]()
        self.bell: SimpleQueue[bool] = SimpleQueue()

    def take(self) -> None:
        """Do a share, if one is left."""
        self.came.append(True)
        try:
            if not self.closed and (who := next(self.left, None)) is not None:
                self.work(who)
        except BaseException as error:
            self.raised.append(error)
        finally:
            self.gone.append(True)
            self.bell.put(True)

    def settle(self) -> None:
        """Withdraw what is left, and wait for those who came. May be called again after an interrupt."""
        self.closed = True
        while len(self.gone) < len(self.came):
            self.bell.get()


class _Crew:
    """Threads, and the offers that they take up."""

    def __init__(self) -> None:
        self.offers: SimpleQueue[_Offer] = SimpleQueue()
        self.size = 0

    def enlarge(self, size: int) -> None:
        """At least as many threads."""
        with compiling:  # so that no fork falls between a thread's start and its first step
            while self.size < size:
                threading.Thread(target=self._serve, name=f"juanji-{self.size}", daemon=True).start()
                self.size += 1

    def _serve(self) -> None:
        while True:
            self.offers.get().take()


_crew = _Crew()


def beside(work: Callable[[int], None], count: int, stop: threading.Event) -> None:
    """work(0) on the caller's thread and, as far as threads come to it, work(1) … work(count − 1) on others, until all have ended.

    What is offered to others may be left undone: work(0) has to see to it before it ends. On Ctrl-C, and on any other error of the
    caller's, `stop` is set, and the others are waited for: nobody writes into the arrays once this call has ended. What one of the others
    raises is raised.
    """
    offer, others = _Offer(work, count), min(count - 1, MOST_THREADS)
    if _crew.size < others:
        _crew.enlarge(others)
    try:
        for _ in range(others):
            _crew.offers.put(offer)
        work(0)
        offer.settle()
    except BaseException:
        stop.set()
        offer.settle()
        raise
    if offer.raised:
        raise offer.raised[0]


def _forget() -> None:
    """A forked child has none of its parent's threads, and nobody who would release their locks."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
