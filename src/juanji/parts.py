"""One kernel of a plan: its program, its code, the rows of arguments of the inputs that it met, and its packed operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.direct import Job
from juanji.algorithms.problem import contiguous_strides
from juanji.entry import Entry
from juanji.jit.arguments import HEAD
from juanji.jit.load import load
from juanji.jit.store import Code
from juanji.jit.target import Target
from juanji.kept import kept
from juanji.run import THREAD_CYCLES, Ready, longest_share, slice_length, workers
from juanji.run import threads as as_many

Array = npt.NDArray[Any]
T = TypeVar("T")

X, Y = HEAD.index("x"), HEAD.index("y")
LEAST_SHARED = 2 * THREAD_CYCLES  # work of which two threads have enough each
MOST_ITEMS = 1 << 30
ITEM_CYCLES = 50e3  # that an item made for many threads has at least
SPLITS = (1, 2, 3, 4, 6, 8)  # items of a thread, in which work may be cut
EVEN = 1.03  # by which the largest share may exceed the mean, and by which another must be smaller to be worth more items
FEW_BYTES = 1 << 16  # of weights that one thread packs sooner than two
MOST_ENTRIES = 64  # that a kernel keeps, one for each way in which its input may lie


class Operands(NamedTuple):
    """Weights and biases as the program of a part reads them."""

    part: Part
    w: Array
    bias: Array | None


def in_order(pack: Callable[[Array], T], w: Array, threads: int | None) -> T:
    """What `pack` makes of weights, on the threads that are asked for where there are enough weights for them."""
    if threads is None or w.nbytes < FEW_BYTES:
        return pack(w)
    with as_many(threads):
        return pack(w)


class Entries(dict[tuple[int, ...], Entry]):
    """A kernel with its arguments for each way in which its input may lie, by the strides of these."""

    def new(self, x: Array, make: Callable[[tuple[int, ...]], Entry]) -> Entry:
        """The one for an input that lies as x does, made from strides in bytes; kept unless there are many."""
        # An axis of one element may have any stride; the one of a close array is what the addresses are reckoned with.
        close = contiguous_strides(x.shape, x.itemsize)
        entry = make(tuple(c if length == 1 else s for length, s, c in zip(x.shape, x.strides, close, strict=True)))
        if len(self) < MOST_ENTRIES:
            self[x.strides] = entry
        return entry


class Part:
    """One job of a plan with the schedule that was chosen for it: a program, its code, and the rows of arguments of the inputs met."""

    def __init__(self, schedule: Any, cycles: float, job: Job, target: Target):
        self.schedule, self.cycles, self.job, self.target = schedule, cycles, job, target
        self.program = job.program(schedule)
        self._entries = Entries()
        self._finer: dict[int, Part] = {}

    def pack(self, w: Array, bias: Array | None, threads: int | None) -> Operands:
        """Weights and biases in the program's order."""
        return self.packed(in_order(self.program.pack_weights, w, threads), bias)

    def packed(self, w: Array, bias: Array | None) -> Operands:
        """The same of weights that are in order."""
        return Operands(self, w, None if bias is None else self.program.pack_bias(bias))

    @kept
    def once(self) -> Part:
        """This part for weights that come with a single call."""
        schedule = self.job.once(self.schedule)
        return self if schedule is None else Part(schedule, self.cycles, self.job, self.target)

    def for_threads(self, asked: int | None) -> Part:
        """This part in as many items as suit the threads that a call takes; the code and the packed operands are the same."""
        count = workers(MOST_ITEMS, self.cycles, asked)
        if count == 1:
            return self
        found = self._finer.get(count)
        if found is None:
            found = self._finer[count] = self._split(count)
        return found

    def _split(self, count: int) -> Part:
        """The part in the fewest items of which equally fast threads get almost equal shares."""
        found, least = self, self._largest_share(count)
        for times in SPLITS:
            items = min(times * count, int(self.cycles / ITEM_CYCLES))
            schedule = self.job.finer(self.schedule, items)
            if least < EVEN / count or items <= self.program.items or schedule in (self.schedule, found.schedule):
                continue
            part = Part(schedule, self.cycles, self.job, self.target)
            share = part._largest_share(count)
            if share < least / EVEN:
                found, least = part, share
        return found

    def _largest_share(self, count: int) -> float:
        items = self.program.items
        return longest_share(items, slice_length(items, self.cycles, count), count) / max(items, 1)

    @kept
    def code(self) -> Code:
        """The machine code, compiled or read from disk when it is first wanted."""
        return load(self.program.code, self.program.emit, self.target, machines.identity())

    def run(self, x: Array, operands: Operands, y: Array, threads: int | None) -> None:
        """Run the program that the operands are for on an input as it lies and the array that it writes."""
        part = operands.part if self.cycles < LEAST_SHARED else operands.part.for_threads(threads)
        entry = part._entries.get(x.strides) or part._entries.new(x, part._entry)
        entry(x, operands.w, operands.bias, y, threads)

    def ready(self, x: Array, operands: Operands, y: Array, threads: int | None) -> Ready:
        """`run` for arrays that stay where they are, with nothing left to look up; not for two threads at a time."""
        part = operands.part.for_threads(threads)
        entry, program = part._entries.get(x.strides) or part._entries.new(x, part._entry), part.program
        row = entry.filled(x, operands.w, operands.bias, y)
        return Ready(part.code, row, program.items, program.scratch, self.cycles, threads, (x, operands, y, program.tables))

    def _entry(self, strides: tuple[int, ...]) -> Entry:
        program = self.program
        row = program.row(strides)
        row[X], row[Y] = program.x_start(strides), program.y_start
        return Entry(self.code, row, program.items, program.scratch, self.cycles)
