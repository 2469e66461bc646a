"""The code of the way from the interpreter into a kernel: a function of the interpreter's own kind, made of machine code.

It is called with a template, an address and arrays,

    enter(template, scratch, x, w, bias, y)

and calls the template's kernel with a row of arguments made on the stack: the template's words, to which the places of the arrays are
added. By ctypes the same takes a microsecond and a half, longer than many a kernel: it makes objects for a row and for each address.

What it needs to know of the interpreter is what every compiled extension knows: functions that are called with (self, arguments, count),
and that an array's first word behind an object's own is where its elements lie. It looks at no type: its callers hand it arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD
from juanji.jit.emit import I64, PTR, Emitter, Value
from juanji.jit.target import Target

WORD = 8  # bytes
TEMPLATE = ("kernel", "apart", "words")  # and the words themselves; apart: other threads of the interpreter may run meanwhile
FUNCTIONS = ("Py_IncRef", "PyLong_AsVoidPtr", "PyEval_SaveThread", "PyEval_RestoreThread")  # their addresses stand behind that of None
ARRAYS = ("x", "w", "bias", "y")
MOST_WORDS = 256  # of a row, for which there is room on the stack


@dataclass(frozen=True)
class EntryCode:
    """The code depends on the bytes of the interpreter's own words at the beginning of each object."""

    own: int


def emit_entry(code: EntryCode, target: Target) -> str:
    """The IR of the function."""
    e = Emitter(target.vector_bits, target.masks)

    def elements(array: Value) -> Value:
        return e.load(PTR, array + code.own, WORD)

    with e.function("kernel", PTR, PTR, I64) as (table, arguments, _):
        facts = elements(table)
        none, keep, number, leave, come_back = (e.load(PTR, facts + WORD * i, WORD) for i in range(1 + len(FUNCTIONS)))
        template, scratch, *arrays = (e.load(PTR, arguments + WORD * i, WORD) for i in range(2 + len(ARRAYS)))
        words = elements(template)
        kernel, apart, count = e.load(PTR, words, WORD), e.load(I64, words + WORD, WORD), e.load(I64, words + 2 * WORD, WORD)
        row = e.stack(I64, MOST_WORDS)
        with e.loop(0, count) as i:
            e.store(e.load(I64, words + (i + len(TEMPLATE)) * WORD, WORD), row + i * WORD, WORD)
        e.store(e.emit(PTR, f"call ptr {number.name}({scratch})"), row + WORD * HEAD.index("scratch"), WORD)
        for name, array in zip(ARRAYS, arrays, strict=True):
            with e.when(e.compare("ne", array, none)):
                place = row + WORD * HEAD.index(name)
                e.store(elements(array) + e.load(I64, place, WORD), place, WORD)
        together = e.compare("eq", apart, e.integer(0))
        with e.when(together):
            e.call_at(kernel, row)
        with e.otherwise(together):
            state = e.emit(PTR, f"call ptr {leave.name}()")
            e.call_at(kernel, row)
            e.call_at(come_back, state)
        e.call_at(keep, none)  # what is returned belongs to the caller
        e.result = none
    return e.text()
