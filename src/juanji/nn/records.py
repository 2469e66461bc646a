"""Operators and nodes as records that JSON can hold, and back.

An operator is kept by name with its settings; the name is looked up in the table of known operators, so a file cannot name code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from juanji.errors import FormatError
from juanji.nn.nodes import Node
from juanji.nn.operator import OPERATORS, Operator


def of_nodes(found: Iterable[Node]) -> list[dict[str, Any]]:
    """Nodes as records."""
    return [
        {
            "name": node.name, "op": type(node.op).__name__, "settings": plain(node.op.settings()), "inputs": list(node.inputs),
            "outputs": list(node.outputs), "owner": node.owner,
        }
        for node in found
    ]  # fmt: skip


def nodes(found: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Nodes from their records; those that share parameters share their operator."""
    operators: dict[str, Operator] = {}
    made = []
    for entry in found:
        if entry["owner"] not in operators:
            operators[entry["owner"]] = operator(entry["op"], entry["settings"])
        made.append(Node(entry["name"], operators[entry["owner"]], tuple(entry["inputs"]), tuple(entry["outputs"]), entry["owner"]))
    return made


def operator(name: str, settings: Mapping[str, Any]) -> Operator:
    """An operator from its name and its settings. Raises FormatError for names and settings that there are not."""
    kind = OPERATORS.get(name)
    if kind is None:
        raise FormatError(f"there is no operator {name!r}")
    known = {field.name for field in fields(kind) if field.metadata.get("saved", True)}
    if not known >= settings.keys():
        raise FormatError(f"{name} has no setting {min(settings.keys() - known)!r}")
    made = object.__new__(kind)  # its fields as they were: what it started from is in the arrays
    for field in fields(kind):
        object.__setattr__(made, field.name, tuples(settings[field.name]) if field.name in settings else field.default)
    return made


def plain(value: Any) -> Any:
    """Tuples and arrays as lists, NumPy's numbers as Python's."""
    match value:
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case np.ndarray():
            return value.tolist()
        case np.generic():
            return value.item()
        case list() | tuple():
            return [plain(item) for item in value]
    return value


def tuples(value: Any) -> Any:
    """Lists as the tuples that they were."""
    match value:
        case dict():
            return {name: tuples(item) for name, item in value.items()}
        case list():
            return tuple(tuples(item) for item in value)
    return value
