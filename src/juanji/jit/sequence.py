"""Kernels called one after another: what makes many small ones cost no more than their work.

Every call from Python costs a microsecond, as long as a small layer takes; from machine code it costs a few nanoseconds. An item is a
list of calls, each in its order; lists may run beside each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.emit import I64, PTR, Emitter
from juanji.jit.target import Target

WORD = 8  # bytes


@dataclass(frozen=True)
class SequenceCode:
    """The code depends on nothing.

    names: map_lists, for each list where its calls are and how many; a call is the address of a kernel and of the row for it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return (*HEAD, "map_lists")


def emit_sequence(code: SequenceCode, target: Target) -> str:
    """The IR of one kernel. Each kernel sets and restores the arithmetic's mode itself."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,):
        a = Arguments(e, row, code.names)
        with e.loop(a["begin"], a["end"]) as item:
            place = a["map_lists"] + item * (2 * WORD)
            calls, count = e.load(PTR, place, WORD), e.load(I64, place + WORD, WORD)
            with e.loop(0, count) as i:
                call = calls + i * (2 * WORD)
                kernel, argument = e.load(PTR, call, WORD), e.load(PTR, call + WORD, WORD)
                e.store(a["scratch"], argument + WORD * HEAD.index("scratch"), WORD)
                e.call_at(kernel, argument)
    return e.text()
