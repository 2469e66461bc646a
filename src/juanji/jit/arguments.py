"""How a compiled kernel gets its arguments: one pointer to a row of 64-bit words, each with a name.

Sizes, strides, paddings and boundaries all travel here, so that one piece of code serves every picture size, view,
batch and boundary. `HEAD` changes from call to call; the rest is fixed when a plan is made. A call is for the items from `begin` to
before `end`; scratch memory may still be as the items before `behind` left it, unless that is 0.
"""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from juanji.jit.emit import I64, PTR, Emitter, Value
from juanji.jit.ieee import ieee_mode
from juanji.jit.target import Target

HEAD = ("x", "w", "bias", "y", "scratch", "begin", "end", "behind")
Row = ctypes.Array[ctypes.c_int64]
POINTERS = frozenset(("x", "w", "bias", "y", "scratch", "constants"))


class Arguments:
    """Names to values inside a function whose argument is the row's pointer. All are loaded where it is made."""

    def __init__(self, e: Emitter, row: Value, names: Sequence[str]):
        self.row = row
        self.values = {
            name: e.load(PTR if name in POINTERS or name.startswith("map") else I64, row + 8 * place, 8)
            for place, name in enumerate(names)
        }

    def __getitem__(self, name: str) -> Value:
        return self.values[name]


@contextmanager
def kernel(e: Emitter, target: Target, names: Sequence[str]) -> Iterator[Arguments]:
    """The function that runs some items of a call, with arithmetic as IEEE says: its arguments."""
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        yield Arguments(e, row, names)


@contextmanager
def each_item(e: Emitter, a: Arguments) -> Iterator[Value]:
    """The items of a call, one after the other; then, where outputs went past the caches, a fence for whoever reads them."""
    with e.loop(a["begin"], a["end"]) as item:
        yield item
    with e.when(e.compare("ne", a["stream"], e.integer(0))):
        e.fence()


def pack(names: Sequence[str], values: Mapping[str, int]) -> Row:
    """The row, with its fixed words in order; what `HEAD` names is 0 until a call fills it."""
    missing = [name for name in names if name not in HEAD and name not in values]
    if missing:
        raise KeyError(f"no value for {', '.join(missing)}")
    return (ctypes.c_int64 * len(names))(*[0 if name in HEAD else values[name] for name in names])
