"""A pickle read as data: a stack machine that has no instruction for running anything.

A pickle is a program. Python's own machine calls what the program names (REDUCE, BUILD, INST, OBJ, NEWOBJ), looks names up by
importing modules, and sizes its memo by a number out of the file; overriding `find_class` stops the lookups, but BUILD still writes
attributes onto whatever the allowed names gave. This machine is the other way round. It knows the opcodes below, which build
numbers, text, tuples, lists and dicts; a GLOBAL becomes a `Name`, which is text; and REDUCE turns a `Name` of the caller's table and
its arguments into what the table's own function makes of them. Everything else is refused by name. Nothing is imported or called that is
not in the caller's table, nothing is allocated that the pickle's bytes do not pay for. What a pickle says after a call, the state of the
result (BUILD), is given to a result that is `Stateful`, and to nothing else.

Opcodes and their arguments are decoded by the standard library's `pickletools`, which checks lengths and calls nothing.
"""

import pickletools
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol, runtime_checkable

from juanji.errors import quoted

Maker = Callable[[Any], object]


class CodeError(ValueError):
    """A pickle asks for something that is not in the caller's table."""


@dataclass(frozen=True)
class Name:
    """What a pickle calls a global: never looked up."""

    text: str


@runtime_checkable
class Stateful(Protocol):
    """What a maker makes of a call that a pickle gives a state afterwards."""

    def take(self, state: Any) -> None:
        """The state. Raises ValueError for one that has no meaning."""


def load(
    stream: IO[bytes], makers: Mapping[str, Maker], names: frozenset[str], persistent: Maker | None = None, encoding: str = "utf-8"
) -> Any:
    """The value of the pickle that begins at the stream's place; the stream stands behind it afterwards.

    makers: what each global that may be called makes of the tuple of its arguments. names: globals that may stand as values.
    persistent: what is made of a persistent id. encoding: of the strings of Python 2, which are bytes.

    Raises CodeError, a ValueError, for a pickle that asks for anything else, and ValueError for a damaged one, as makers do for
    arguments that are not theirs.

    >>> import io, pickle
    >>> load(io.BytesIO(pickle.dumps({"a": (1, 2.5)})), {}, frozenset())
    {'a': (1, 2.5)}
    >>> load(io.BytesIO(pickle.dumps(print)), {}, frozenset())
    Traceback (most recent call last):
    juanji.pickles.CodeError: asks for 'builtins.print', which is code that is not run
    """
    machine = _Machine(makers, names, persistent, encoding)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python no longer likes
            for name, argument in _opcodes(stream):
                machine.step(name, argument)
        return machine.pop()
    except IndexError:
        raise ValueError("takes from an empty stack") from None
    except struct.error as error:
        raise ValueError(f"is damaged ({error})") from None


def _opcodes(stream: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Each opcode and its argument up to STOP, the last; the argument of an opcode that is refused is not even decoded."""
    while True:
        opcode = OPCODES.get(stream.read(1).decode("latin-1"))
        if opcode is None:
            raise ValueError("is no pickle, or ends in the middle")
        if opcode.name == "STOP":
            return
        if opcode.name not in KNOWN:
            raise CodeError(f"has the opcode {opcode.name}, which plain data have no need of")
        if opcode.name == "GLOBAL":
            yield opcode.name, f"{_line(stream)}.{_line(stream)}"
        else:
            yield opcode.name, opcode.arg.reader(stream) if opcode.arg else None


def _line(stream: IO[bytes]) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("ends in the middle of a name")
    return line[:-1].decode()


class _Machine:
    def __init__(self, makers: Mapping[str, Maker], names: frozenset[str], persistent: Maker | None, encoding: str) -> None:
        self.makers, self.names, self.persistent, self.encoding = makers, names, persistent, encoding
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in ARGUMENTS:
            self.stack.append(argument)
        elif name in VALUES:
            self.stack.append(VALUES[name]())
        elif name in TUPLES:
            self.stack.append(self.tops(TUPLES[name]))
        elif name in ACTIONS:
            ACTIONS[name](self, argument)

    def pop(self) -> Any:
        return self.stack.pop()

    def tops(self, count: int) -> tuple[Any, ...]:
        return tuple([self.pop() for _ in range(count)][::-1])

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def store(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        if place not in self.memo:
            raise ValueError(f"recalls memo {place}, which it never stored")
        self.stack.append(self.memo[place])

    def memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def make_tuple(self, _: object) -> None:
        items = tuple(self.marked())
        self.stack.append(items)

    def make_list(self, _: object) -> None:
        items = self.marked()
        self.stack.append(items)

    def make_dict(self, _: object) -> None:
        items = self.marked()
        self.stack.append({})
        self.put(items)

    def append(self, _: object) -> None:
        item = self.pop()
        self.extend([item])

    def appends(self, _: object) -> None:
        self.extend(self.marked())

    def extend(self, items: Any) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError(f"appends to a {type(target).__name__}")
        target.extend(items)

    def setitem(self, _: object) -> None:
        pair = self.tops(2)
        self.put(pair)

    def setitems(self, _: object) -> None:
        self.put(self.marked())

    def put(self, items: Any) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise ValueError(f"sets items of a {type(target).__name__}")
        if len(items) % 2:
            raise ValueError("sets an item that has a key and no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def name(self, text: str) -> None:
        if text not in self.makers and text not in self.names:
            raise CodeError(f"asks for {quoted(text)}, which is code that is not run")
        self.stack.append(Name(text))

    def stack_name(self, _: object) -> None:
        module, name = self.tops(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("names a global by something that is no text")
        self.name(f"{module}.{name}")

    def call(self, _: object) -> None:
        function, arguments = self.tops(2)
        if type(function) is not Name or function.text not in self.makers:
            raise ValueError(f"calls {quoted(function.text if type(function) is Name else function)}")
        if type(arguments) is not tuple:
            raise ValueError(f"calls {function.text} with no tuple of arguments")
        self.stack.append(self.makers[function.text](arguments))

    def build(self, _: object) -> None:
        """The state of an ordered dict, which is notes of versions, is dropped."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Stateful):
            target.take(state)
        elif type(target) is not dict:
            raise ValueError(f"has the opcode BUILD for a {type(target).__name__}, which may have no state")

    def refer(self, _: object) -> None:
        if self.persistent is None:
            raise ValueError("has a persistent id where none has a meaning")
        self.stack.append(self.persistent(self.pop()))

    def bytes_text(self, argument: str) -> None:
        """A string of Python 2: bytes, which `pickletools` gives as Latin-1."""
        self.stack.append(argument.encode("latin-1").decode(self.encoding))


def checked_key(key: object) -> str | int:
    """A key of a dict: text, or an integer of 64 bits (larger ones could be made to collide)."""
    if type(key) is str:
        return key
    if type(key) is int and -(2**63) <= key < 2**63:
        return key
    raise ValueError(f"has a key that is a {type(key).__name__}, but keys are text or 64-bit integers")


OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
# Opcodes that push their argument, and those that push a new value.
ARGUMENTS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES",
))  # fmt: skip
VALUES: dict[str, Callable[[], object]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark, "TUPLE": _Machine.make_tuple, "LIST": _Machine.make_list, "DICT": _Machine.make_dict,
    "APPEND": _Machine.append, "APPENDS": _Machine.appends, "SETITEM": _Machine.setitem, "SETITEMS": _Machine.setitems,
    "PUT": _Machine.store, "BINPUT": _Machine.store, "LONG_BINPUT": _Machine.store,
    "GET": _Machine.recall, "BINGET": _Machine.recall, "LONG_BINGET": _Machine.recall,
    "MEMOIZE": _Machine.memoize, "GLOBAL": _Machine.name, "STACK_GLOBAL": _Machine.stack_name, "REDUCE": _Machine.call,
    "BUILD": _Machine.build, "BINPERSID": _Machine.refer,
    "STRING": _Machine.bytes_text, "BINSTRING": _Machine.bytes_text, "SHORT_BINSTRING": _Machine.bytes_text,
}  # fmt: skip
KNOWN = frozenset((*ARGUMENTS, *VALUES, *TUPLES, *ACTIONS, "PROTO", "FRAME"))
