"""The code of the crew: threads that wait in machine code and share out the slices of a job, with no interpreter between them.

A job is a kernel, a row of arguments, and items in slices. It has a share for each thread that may take part: a run of slices, and a row
and scratch memory of the thread's own. A thread takes the slices of its own share one after another, and then what others have left of
theirs; to take one is to count up `next` of its share, so that nobody else has the same.

Each thread of the crew has a seat, whose state is one word:

    FREE                     it looks for work
    ASLEEP                   it waits for its bell
    share                    it is offered this share, but has not come yet
    share + TAKEN            it is at work
    share + TAKEN + AWAITED  and the caller waits until its own bell is rung

    caller  FREE or ASLEEP → share, and rings the bell;  share → FREE, where nobody came;  + TAKEN → + AWAITED, where somebody did
    thread  FREE → ASLEEP;  share → + TAKEN;  + TAKEN → FREE;  + AWAITED → FREE, and rings the caller's

Every step is one compare-and-swap or exchange, so that each side knows what the other did. Whoever waits looks `LOOKS` times, some tens
of microseconds, and then sleeps. A bell is one of the interpreter's locks, for which nobody needs to hold the interpreter, and which
there are on every system: it is shut, who waits shuts it once more, and who rings opens it.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD
from juanji.jit.emit import I32, I64, LINE, PTR, Emitter, Value
from juanji.jit.target import Target

WORD = 8  # bytes
FREE, ASLEEP = 0, 1
TAKEN, AWAITED = 1, 2  # added to the address of a share
LOOKS = 1000  # of some ten to fifty nanoseconds each
ALL = 1 << 62

SEAT = ("state", "bell")  # a line each, of which only its owner and who calls it write
SHARE = ("next", "end", "who", "job", "row", "scratch", "seat")  # a line each, behind the job's own words
JOB = (
    "left", "stop", "laid", "offered",  # what changes; left: the job is not over yet
    "kernel", "row", "words", "items", "length", "slices", "count", "patience",  # patience: slices of the caller's before it looks up
    "scratch", "stride", "seats", "seated", "bell", "acquire", "release",
)  # fmt: skip
JOB_BYTES = -(-len(JOB) * WORD // LINE) * LINE


def job_bytes(count: int, words: int) -> int:
    """Of a job with as many shares, for rows of as many words; every row has lines of its own."""
    return JOB_BYTES + count * (LINE + -(-words * WORD // LINE) * LINE)


@dataclass(frozen=True)
class MemberCode:
    """The code depends on nothing. names: the seat, and how a lock is shut and opened."""

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return ("seat", "acquire", "release")


@dataclass(frozen=True)
class LeaderCode:
    """The code depends on nothing. Its row is a job."""


class _Record:
    """Words with names, at an address."""

    def __init__(self, e: Emitter, at: Value, names: tuple[str, ...]):
        self.e, self.at, self.names = e, at, names

    def place(self, name: str) -> Value:
        return self.at + WORD * self.names.index(name)

    def __getitem__(self, name: str) -> Value:
        return self.e.load(I64, self.place(name), WORD)

    def __setitem__(self, name: str, value: int | Value) -> None:
        self.e.store(self.e.integer(value), self.place(name), WORD)

    def pointer(self, name: str) -> Value:
        return self.e.load(PTR, self.place(name), WORD)

    def number(self) -> Value:
        """The address as a number."""
        return self.e.emit(I64, f"ptrtoint {self.at} to i64")


def emit_member(code: MemberCode, target: Target) -> str:
    """The IR of what a thread of the crew does all its life."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,):
        arguments = _Record(e, row, code.names)
        seat = _Record(e, arguments.pointer("seat"), SEAT)
        looks = e.var(I64, e.integer(0))
        with e.repeat():
            state = e.load_shared(seat.place("state"))
            with e.when(e.compare("ugt", state, e.integer(ASLEEP))):
                with e.when(e.swap_if(seat.place("state"), state, state + TAKEN)):
                    share = _Record(e, e.emit(PTR, f"inttoptr {state} to ptr"), SHARE)
                    bell = _Record(e, share.pointer("job"), JOB).pointer("bell")
                    e.call("work", share.at, e.integer(ALL))
                    before = e.swap("xchg", seat.place("state"), FREE)  # from here on the job may be gone
                    with e.otherwise(e.compare("eq", before, state + TAKEN)):
                        _ring(e, arguments, bell)
                looks.set(e.integer(0))
            _pause(e, target)
            looks.set(looks.get() + 1)
            with e.when(e.compare("sgt", looks.get(), e.integer(LOOKS))):
                with e.when(e.swap_if(seat.place("state"), FREE, ASLEEP)):
                    _wait(e, arguments, seat.pointer("bell"))
                looks.set(e.integer(0))
    _emit_work(e)
    return e.text()


def emit_leader(_: LeaderCode, target: Target) -> str:
    """The IR of the caller's part: it offers shares, does its own and, when nothing is left or it is to stop, waits for those who came.

    It comes back with `left` set when its patience is at an end before the slices are, and goes on where it is called again.
    """
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (at,):
        job = _Record(e, at, JOB)
        with e.when(e.compare("eq", job["laid"], e.integer(0))):
            _lay_out(e, job)
            job["laid"] = 1
        job["left"] = 0
        with e.when(e.compare("eq", job["stop"], e.integer(0))):
            _offer(e, job)
            e.call("work", _share(e, job, 0).at, job["patience"])
        with e.when(e.compare("eq", job["left"], e.integer(0))):
            _settle(e, job, target)
    _emit_work(e)
    return e.text()


def _share(e: Emitter, job: _Record, who: int | Value) -> _Record:
    return _Record(e, job.at + (JOB_BYTES + who * LINE), SHARE)


def _lay_out(e: Emitter, job: _Record) -> None:
    """Equal shares of the slices."""
    count, slices = job["count"], job["slices"]
    rows, lines = job.number() + JOB_BYTES + count * LINE, (job["words"] * WORD + (LINE - 1)) // LINE
    with e.loop(0, count) as who:
        share = _share(e, job, who)
        share["next"], share["end"] = slices * who // count, slices * (who + 1) // count
        share["who"], share["job"] = who, job.number()
        share["row"], share["scratch"] = rows + who * lines * LINE, job["scratch"] + who * job["stride"]
    job["offered"] = 1  # the caller's


def _offer(e: Emitter, job: _Record) -> None:
    """Offer the next shares to those who have nothing to do."""
    with e.loop(0, job["seated"]) as place, e.when(e.compare("slt", job["offered"], job["count"])):
        seat = _Record(e, job.pointer("seats") + place * LINE, SEAT)
        share = _share(e, job, job["offered"])
        state = e.load_shared(seat.place("state"))
        with e.when(e.compare("ule", state, e.integer(ASLEEP))), e.when(e.swap_if(seat.place("state"), state, share.number())):
            share["seat"] = seat.number()
            job["offered"] = job["offered"] + 1
            with e.when(e.compare("eq", state, e.integer(ASLEEP))):
                _ring(e, job, seat.pointer("bell"))


def _settle(e: Emitter, job: _Record, target: Target) -> None:
    """Withdraw what nobody took, and wait for those who are at work."""
    with e.loop(1, job["offered"]) as who:
        share = _share(e, job, who)
        seat, offered = _Record(e, share.pointer("seat"), SEAT), share.number()
        with e.otherwise(e.swap_if(seat.place("state"), offered, FREE)):
            looks = e.var(I64, e.integer(0))
            with e.repeat() as leave:
                leave(e.compare("ne", e.load_shared(seat.place("state")), offered + TAKEN))
                leave(e.compare("sgt", looks.get(), e.integer(LOOKS)))
                _pause(e, target)
                looks.set(looks.get() + 1)
            with e.when(e.swap_if(seat.place("state"), offered + TAKEN, offered + (TAKEN + AWAITED))):
                _wait(e, job, job.pointer("bell"))


def _emit_work(e: Emitter) -> None:
    """A thread's slices: those of its own share, and then those of the ones behind it, in a circle; no more than its patience bears."""
    with e.function("work", PTR, I64, internal=True) as (at, patience):
        share = _Record(e, at, SHARE)
        job = _Record(e, share.pointer("job"), JOB)
        row, template, kernel = share.pointer("row"), job.pointer("row"), job.pointer("kernel")
        items, length, count, who = job["items"], job["length"], job["count"], share["who"]
        begin, end, behind, scratch = (row + WORD * HEAD.index(name) for name in ("begin", "end", "behind", "scratch"))
        with e.loop(0, job["words"]) as word:
            e.store(e.load(I64, template + word * WORD, WORD), row + word * WORD, WORD)
        e.store(share["scratch"], scratch, WORD)
        done = e.var(I64, e.integer(0))
        with e.loop(0, count) as turn, e.repeat() as leave:
            leave(e.compare("ne", e.load_shared(job.place("stop")), e.integer(0)))
            tired = e.compare("sge", done.get(), patience)
            with e.when(tired):
                job["left"] = 1
            leave(tired)
            whose = _share(e, job, (who + turn) % count)
            slice_ = e.swap("add", whose.place("next"), 1)
            leave(e.compare("sge", slice_, whose["end"]))
            start = slice_ * length
            e.store(start, begin, WORD)
            e.store(e.least(start + length, items), end, WORD)
            e.call_at(kernel, row)
            e.store(e.load(I64, end, WORD), behind, WORD)  # what the next slice may find in scratch memory
            done.set(done.get() + 1)


def _wait(e: Emitter, locks: _Record, lock: Value) -> None:
    e.emit(I32, f"call i32 {locks.pointer('acquire').name}({lock}, i32 1)")


def _ring(e: Emitter, locks: _Record, lock: Value) -> None:
    e.call_at(locks.pointer("release"), lock)


def _pause(e: Emitter, target: Target) -> None:
    """Leave the core to its other half for a moment."""
    if target.triple.startswith("x86_64"):
        e.plain("llvm.x86.sse2.pause")
    elif target.triple.startswith("aarch64"):
        e.plain("llvm.aarch64.isb", e.integer(15, I32))
