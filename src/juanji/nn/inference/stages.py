"""A stage of a network that is made ready to run: a node with its own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from juanji.describe import Activation
from juanji.nn.operator import Array, Operator


@dataclass
class Stage:
    """A node with its arrays, which are replaced by what they become when more is folded in.

    activation: that of a dense layer, or relu behind a sum.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: Mapping[str, Array]
    activation: Activation = None
