"""Nodes: operators in their places, with names; from symbols to the order in which they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from juanji.errors import ArgumentError, JuanjiError
from juanji.nn.operator import Applied, Operator, Source, Symbol


class Node(NamedTuple):
    """An operator in its place. owner: the node under whose name its parameters are kept, itself unless they are shared."""

    name: str
    op: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    owner: str


def Input(shape: Sequence[int | None] | None = None, name: str = "input") -> Symbol:  # noqa: N802 - reads like the operators
    """An input of a network, to be handed to operators. shape: (C, *S), without the batch; None for what may vary."""
    return Symbol(Source(name, None if shape is None else tuple(shape)))


class named:  # noqa: N801 - used as a statement
    """Errors of the library in this block begin with the layer's name."""

    def __init__(self, node: Node):
        self.node = node

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, JuanjiError) and error.args and not str(error).startswith("layer "):
            error.args = (f"layer {self.node.name}: {error.args[0]}", *error.args[1:])


def value_name(name: str, output: int) -> str:
    return f"{name}:{output}" if output else name


def ordered(names: dict[Source | Applied, str], outputs: Iterable[Symbol]) -> tuple[Node, ...]:
    """The nodes that the outputs need, each after what it takes; `names` learns the name of each."""
    order: list[Applied] = []
    seen: set[Applied] = set()
    for output in outputs:
        stack = [(output.source, False)]
        while stack:
            source, ready = stack.pop()
            if isinstance(source, Source):
                if source not in names:
                    raise ArgumentError(f"the outputs depend on an input ({source.name!r}) that is not among the inputs")
            elif ready:
                order.append(source)
            elif source not in seen:
                seen.add(source)
                stack.append((source, True))
                stack += [(symbol.source, False) for symbol in reversed(source.inputs)]
    counts: Counter[str] = Counter()
    owners: dict[int, str] = {}
    given = Counter(applied.op.name for applied in order if applied.op.name)
    nodes = []
    for applied in order:
        op = applied.op
        name = op.name or ""
        if not name or given[name] > 1:
            stem = name or op.stem
            counts[stem] += 1
            name = f"{stem}{counts[stem]}"
        if name in names.values() or ":" in name:
            raise ArgumentError(f"name (={name!r}) must be one that no other layer has, without ':'")
        names[applied] = name
        owner = owners.setdefault(id(op), name)
        inputs = tuple(value_name(names[symbol.source], symbol.output) for symbol in applied.inputs)
        nodes.append(Node(name, op, inputs, tuple(value_name(name, i) for i in range(op.outputs)), owner))
    return tuple(nodes)
