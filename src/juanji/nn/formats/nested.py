"""Nested dicts and lists to one flat dict: the names are joined by dots, as PyTorch joins those of modules.

What a file's few bytes share they can unfold to any size: a list that holds another one twice, which holds another one twice ... A
walk is therefore given an allowance of characters to name things with, and ends in an error when it is spent.
"""

from collections.abc import Iterator
from typing import Any

from juanji.errors import quoted

DEPTH = 64  # dicts in dicts


def flatten(tree: Any, allowance: int) -> dict[str, Any]:
    """The leaves of dicts, lists and tuples by their dotted names; empty ones leave nothing.

    Raises ValueError for names that meet, for deeper nesting than `DEPTH` and for more than `allowance` characters of names.

    >>> flatten({"layer": {"weight": 1.0, "bias": 2.0}, "epochs": [3, 4]}, 1000)
    {'layer.weight': 1.0, 'layer.bias': 2.0, 'epochs.0': 3, 'epochs.1': 4}
    """
    found: dict[str, Any] = {}
    pending: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", _items(tree))]
    while pending:
        prefix, items = pending[-1]
        for key, value in items:
            allowance -= len(prefix) + len(str(key)) + 1
            if allowance < 0:
                raise ValueError("unfolds to more names than a file of its size can have")
            name = f"{prefix}{key}"
            if isinstance(value, dict | list | tuple):
                if len(pending) == DEPTH:
                    raise ValueError(f"is nested more than {DEPTH} deep")
                pending.append((f"{name}.", _items(value)))
                break
            if name in found:
                raise ValueError(f"has two entries that come to be named {quoted(name)}")
            found[name] = value
        else:
            pending.pop()
    return found


def _items(tree: Any) -> Iterator[tuple[Any, Any]]:
    return iter(tree.items()) if isinstance(tree, dict) else iter(enumerate(tree))
