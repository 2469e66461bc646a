"""The process's own threads: started when they are first wanted, and then at home in machine code, where they wait for work.

What a caller has for others it offers to those who have nothing to do. Whoever has not come when the caller is done, with its own share
and with what it could take of the others', is no longer wanted. So nobody waits for a thread that sleeps, and calls from many threads, or
from inside of one another, share the crew without waiting for each other. How a slice, a seat and a bell work: `jit/crew.py`.
"""

from __future__ import annotations

import ctypes
import os
import threading

from juanji import machine as machines
from juanji.jit.arguments import Row
from juanji.jit.crew import JOB, SEAT, LeaderCode, MemberCode, emit_leader, emit_member, job_bytes
from juanji.jit.lock import compiling
from juanji.jit.memory import LINE, zeroed
from juanji.jit.store import Code
from juanji.kept import kept

MOST_THREADS = max(32, os.cpu_count() or 1)
LEFT, STOP = JOB.index("left"), JOB.index("stop")

_python = ctypes.pythonapi
_new_lock = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThread_allocate_lock", _python))
_shut = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(("PyThread_acquire_lock", _python))
_locks = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in (_python.PyThread_acquire_lock, _python.PyThread_release_lock)]


class _Crew:
    """Threads on their seats, and bells that no caller has. Neither are ever given back: a thread may be looking at them, or ringing."""

    def __init__(self) -> None:
        self.size = 0
        self.bells: list[int] = []
        self.seats, self._room = zeroed(MOST_THREADS * LINE)

    @kept
    def leader(self) -> Code:
        """The caller's part of a job."""
        return machines.loaded(LeaderCode(), emit_leader)

    def enlarge(self, size: int) -> None:
        """At least as many threads."""
        member = machines.loaded(MemberCode(), emit_member)
        with compiling:  # so that no fork falls between a thread's start and its first step
            while self.size < size:
                seat = self.seats + self.size * LINE
                (ctypes.c_int64 * len(SEAT)).from_address(seat)[:] = [0, _bell()]
                row = (ctypes.c_int64 * len(MemberCode().names))(seat, *_locks)
                threading.Thread(target=_serve, args=(member, row, self._room), name=f"juanji-{self.size}", daemon=True).start()
                self.size += 1

    def take_bell(self) -> int:
        """A bell for one caller at a time."""
        try:
            return self.bells.pop()
        except IndexError:
            return _bell()


def _serve(member: Code, row: Row, _seats: object) -> None:
    """Without an end, so that all that the code needs stays in this frame."""
    member.call(row)


def _bell() -> int:
    """A lock that is shut."""
    lock: int | None = _new_lock()
    if not lock:
        raise MemoryError("the system has no lock left")
    _shut(lock, 1)
    return lock


_crew = _Crew()


def share_out(code: Code, row: Row, items: int, length: int, count: int, patience: int, scratch: int, stride: int) -> None:
    """Run slices of so many items on the caller's thread and, as far as they come, on count − 1 others, until all have ended.

    Each uses the scratch memory a stride after the last one's. Ctrl-C is heard after as many slices of the caller's as it has patience
    for; then, as on any other error, the others are waited for: nobody writes into the arrays once this call has ended.
    """
    crew, others = _crew, min(count - 1, MOST_THREADS)
    if crew.size < others:
        crew.enlarge(others)
    at, _kept = zeroed(job_bytes(count, len(row)))
    bell = crew.take_bell()
    job = (ctypes.c_int64 * len(JOB)).from_address(at)
    job[:] = [
        True, False, False, 0,
        code.address, ctypes.addressof(row), len(row), items, length, -(-items // length), count, patience,
        scratch, stride, crew.seats, crew.size, bell, *_locks,
    ]  # fmt: skip
    lead = crew.leader.call
    try:
        while job[LEFT]:
            lead(at)
    finally:  # Python looks for signals after a call, not before: nothing can come between an interrupt and this one
        if job[LEFT]:
            job[STOP] = True
            lead(at)
        crew.bells.append(bell)


def _forget() -> None:
    """A forked child has none of its parent's threads, and nobody who would ring their bells."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
