"""The way back through a recorded run: back-propagation, from the last node to the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from juanji.errors import ArgumentError
from juanji.nn.nodes import Node, named
from juanji.nn.operator import Array, Back, Operator

Rule = Callable[[Operator, Mapping[str, Array], Any, Any, tuple[bool, ...]], Back]


class Gradients(NamedTuple):
    """∂L/∂value by the names that were asked for, and ∂L/∂parameter for all that train."""

    values: dict[str, Array]
    parameters: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Tape:
    """A run that was recorded. values: of every name; saved: what each node's backward needs; parameters: what trains."""

    nodes: tuple[Node, ...]
    arrays_of: Callable[[Node], Mapping[str, Array]]
    parameters: Mapping[str, Array]
    values: dict[str, Array]
    saved: dict[str, Any]

    def backward(
        self,
        gradients: Mapping[str, Array],
        to: Iterable[str] = (),
        *,
        parameters: bool = True,
        rules: Mapping[type[Operator], Rule] | None = None,
    ) -> Gradients:
        """Back-propagation: the chain rule from the last node to the first.

        gradients: ∂L/∂value by name. to: names of values whose gradients are wanted beside those of the parameters.
        rules: by kind of operator, a way back that takes the place of its own (guided back-propagation and its kin).
        """
        wanted = set(to)
        unknown = {*gradients, *wanted} - self.values.keys()
        if unknown:
            raise ArgumentError(f"{min(unknown)!r} is no value of this network; its values are {', '.join(self.values)}")
        needed = self._needed(wanted, parameters)
        flowing = dict(gradients)
        found: dict[str, Array] = {}
        for node in reversed(self.nodes):
            arriving = [flowing.pop(name, None) if name not in wanted else flowing.get(name) for name in node.outputs]
            if all(dy is None for dy in arriving) or not (needed & {*node.inputs, node.name + "."}):
                continue
            rule = (rules or {}).get(type(node.op))
            want = tuple(name in needed for name in node.inputs)
            own = self.arrays_of(node)
            with named(node):
                dy = tuple(arriving) if node.op.outputs > 1 else arriving[0]
                saved = self.saved[node.name]
                back = node.op.backward(own, saved, dy, want) if rule is None else rule(node.op, own, saved, dy, want)
            for name, want_it, dx in zip(node.inputs, want, back.inputs, strict=True):
                if want_it and dx is not None:
                    flowing[name] = flowing[name] + dx if name in flowing else dx
            if parameters:
                for name, gradient in back.parameters.items():
                    key = f"{node.owner}.{name}"
                    found[key] = found[key] + gradient if key in found else gradient
        if parameters:
            for key, array in self.parameters.items():
                if key not in found:  # nothing of it reaches the loss
                    found[key] = np.zeros_like(array)
        return Gradients({name: flowing.get(name, np.zeros_like(self.values[name])) for name in wanted}, found)

    def _needed(self, wanted: set[str], parameters: bool) -> set[str]:
        """The values that a gradient must pass through; "node." stands for a node's own parameters."""
        needed, owners = set(wanted), {key.rpartition(".")[0] for key in self.parameters} if parameters else set()
        for node in self.nodes:
            if node.owner in owners:
                needed |= {node.name + ".", *node.outputs}
            if needed & set(node.inputs):
                needed |= set(node.outputs)
        return needed
