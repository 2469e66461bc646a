"""Pickles read as data: what a pickle would call is written down, and nothing is imported or called.

A pickle is a program for a stack machine, and Python's machine calls whatever the program names. This one knows the opcodes that
build numbers, strings, lists, tuples and dicts, and answers the two that name and call something with a `Name` and a `Call`, which its
user compares with what the file may hold.
"""

import pickletools
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KEYS = (str, bytes, int)  # of dicts; a nested tuple could be hashed only by recursion


@dataclass(frozen=True)
class Name:
    """Something a pickle names, as "module name"."""

    text: str


@dataclass
class Call:
    """A call that a pickle asks for, and the state that it would give to the result."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


def read(data: bytes) -> Any:
    """The object that a pickle describes, made of dicts, lists, tuples, numbers, strings, bytes, `Name` and `Call`.

    Strings of Python 2, which are bytes, come as str with one character for each byte.

    Raises ValueError for anything else, damage included.

    >>> import fractions, pickle
    >>> read(pickle.dumps({"size": [3, 4], "half": fractions.Fraction(1, 2)}, protocol=4))
    {'size': [3, 4], 'half': Call(name='fractions Fraction', args=(1, 2), state=None)}
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python no longer likes
            for opcode, argument, _ in pickletools.genops(data):
                machine.step(opcode.name, argument)
    except (IndexError, KeyError) as error:
        raise ValueError("is a pickle that takes something from an empty place") from error
    (result,) = machine.stack or (None,)
    return result


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """One instruction."""
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                if len(self.stack) != 1 or self.below:
                    raise ValueError("is a pickle that ends with something left over")
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(opcode == "NEWTRUE")
            case "INT" | "BININT" | "BININT1" | "BININT2" | "BINFLOAT" | "STRING" | "BINSTRING" | "SHORT_BINSTRING":
                self.stack.append(argument)
            case "UNICODE" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES":
                self.stack.append(argument)
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case _:
                self._build(opcode, argument)

    def _build(self, opcode: str, argument: Any) -> None:
        """The instructions that make something of what lies on the stack."""
        match opcode:
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(reversed([self.stack.pop() for _ in range(int(opcode[-1]))])))
            case "TUPLE":
                items = self._marked()
                self.stack.append(tuple(items))
            case "EMPTY_LIST":
                self.stack.append([])
            case "LIST":
                items = self._marked()
                self.stack.append(items)
            case "APPEND" | "APPENDS":
                items = self._marked() if opcode == "APPENDS" else [self.stack.pop()]
                _expect(self.stack[-1], list).extend(items)
            case "EMPTY_DICT":
                self.stack.append({})
            case "DICT":
                items = self._marked()
                self.stack.append(dict(_pairs(items)))
            case "SETITEM" | "SETITEMS":
                items = self._marked() if opcode == "SETITEMS" else [self.stack.pop(), self.stack.pop()][::-1]
                _expect(self.stack[-1], dict).update(_pairs(items))
            case "GLOBAL":
                self.stack.append(Name(argument))
            case "STACK_GLOBAL":
                name, module = _expect(self.stack.pop(), str), _expect(self.stack.pop(), str)
                self.stack.append(Name(f"{module} {name}"))
            case "REDUCE":
                args, called = _expect(self.stack.pop(), tuple), _expect(self.stack.pop(), Name)
                self.stack.append(Call(called.text, args))
            case "BUILD":
                state = self.stack.pop()
                _expect(self.stack[-1], Call).state = state
            case _:
                raise ValueError(f"is a pickle with the instruction {opcode}, which plain data have no need of")

    def _marked(self) -> list[Any]:
        """What lies above the last mark, which goes."""
        items, self.stack = self.stack, self.below.pop()
        return items


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"is a pickle with a {type(value).__name__} where a {kind.__name__.lower()} must stand")
    return value


def _pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    keys, values = items[::2], items[1::2]
    for key in keys:
        if not isinstance(key, KEYS):
            raise ValueError(f"is a pickle with a {type(key).__name__} as a key")
    if len(keys) != len(values):
        raise ValueError("is a pickle with a key that has no value")
    return zip(keys, values, strict=True)
