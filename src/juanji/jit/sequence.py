"""Kernels called one after another: what makes many small ones cost no more than their work.

Every call from Python costs a microsecond, as long as a small layer takes; from machine code it costs a few nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD
from juanji.jit.emit import I64, PTR, Emitter
from juanji.jit.target import Target

WORD = 8  # bytes


@dataclass(frozen=True)
class SequenceCode:
    """The code depends on nothing.

    names: map_calls, pairs of addresses, of a kernel and of the row that it is called with; count, of the pairs; scratch, for all.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return ("map_calls", "count", "scratch")


def emit_sequence(code: SequenceCode, target: Target) -> str:
    """The IR of one kernel. Each kernel sets and restores the arithmetic's mode itself."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,):
        calls, count, scratch = (e.load(kind, row + WORD * place, WORD) for place, kind in enumerate((PTR, I64, I64)))
        with e.loop(0, count) as i:
            call = calls + i * (2 * WORD)
            kernel, argument = e.load(PTR, call, WORD), e.load(PTR, call + WORD, WORD)
            e.store(scratch, argument + WORD * HEAD.index("scratch"), WORD)
            e.call_at(kernel, argument)
    return e.text()
