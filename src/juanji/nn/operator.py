"""What an operator of a network is: its parameters, its shape rule, forward and backward, its cost, and what its outputs see.

Arrays are (N, C, *S). An operator is a frozen description; it holds no arrays of its own, save fixed ones that it was given. Parameters
live in the graph, under the node's name, and are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError
from juanji.nn.initial import Initial

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Parameters = Mapping[str, Array]
Box = tuple[tuple[int, int], ...]  # per spatial axis the first and the last element, which may lie outside


@dataclass(frozen=True)
class Parameter:
    """What a node needs an array for. fans: numbers of inputs of each output and of outputs of each input, for the initialisers."""

    shape: Shape
    initial: Initial
    fans: tuple[int, int] = (1, 1)


class Run(NamedTuple):
    """How a walk runs: whether batch statistics and dropout are those of training, and what random numbers grow from."""

    training: bool = False
    seed: tuple[int, ...] = (0,)

    def random(self) -> np.random.Generator:
        """A generator that depends on the seed alone."""
        return np.random.default_rng(list(self.seed))


class Back(NamedTuple):
    """What `backward` gives: the gradient of each input, None where it was not wanted or has none, and of parameters by name."""

    inputs: tuple[Array | None, ...]
    parameters: Mapping[str, Array] = {}


OPERATORS: dict[str, type[Operator]] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """One kind of operator with its settings. Called on symbols it builds a graph: `nn.ReLU()(x)`.

    `forward` returns the output (a tuple where there are several) and whatever `backward` will need; `backward` gets that and the
    gradient of the output, and which inputs' gradients are wanted.
    """

    stem: ClassVar[str] = ""  # what nodes are called that have no name of their own: "conv" makes conv1, conv2 …
    outputs: ClassVar[int] = 1
    name: str | None = field(default=None, metadata={"saved": False}, repr=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.stem and not cls.__name__.startswith("_"):
            OPERATORS[cls.__name__] = cls

    def __call__(self, *inputs: Symbol) -> Symbol:
        return Symbol(Applied(self, inputs))

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        """The arrays that it needs for inputs of these shapes."""
        return {}

    def trains(self, parameter: str) -> bool:
        """Whether training changes a parameter by its gradient."""
        return True

    def shape(self, *shapes: Shape) -> Shape:
        """The shape of its output, batch included. Raises ShapeError."""
        return shapes[0]

    def shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """The shapes of all outputs."""
        return (self.shape(*shapes),) * self.outputs

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Any, Any]:
        """The output, and what `backward` needs."""
        raise NotImplementedError

    def backward(self, p: Parameters, saved: Any, dy: Any, wanted: tuple[bool, ...]) -> Back:
        """The gradients of the inputs and of the parameters. dy has one entry per output where there are several, None for unused ones."""
        raise NotImplementedError

    def macs(self, *shapes: Shape) -> int:
        """Multiply-adds for inputs of these shapes."""
        return 0

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        """The region of each input that a region of the output depends on; it may reach into the padding.

        The answer for two neighbouring elements gives size, stride and padding of the receptive field.
        """
        return tuple(box if len(shape) == len(shapes[0]) else whole(shape) for shape in shapes)

    def settings(self) -> dict[str, Any]:
        """The fields that a saved network keeps."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("saved", True)}

    def __str__(self) -> str:
        shown = ((f.name, getattr(self, f.name), f.default) for f in fields(self) if f.repr)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value, default in shown if repr(value) != repr(default))})"


@dataclass(frozen=True, eq=False)
class Applied:
    """An operator applied to values."""

    op: Operator
    inputs: tuple[Symbol, ...]


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value of a network that is being written down: an output of an applied operator, or an input of the network."""

    source: Applied | Source
    output: int = 0

    def __getitem__(self, output: int) -> Symbol:
        """One of several outputs."""
        count = self.source.op.outputs if isinstance(self.source, Applied) else 1
        if not 0 <= output < count:
            raise IndexError(f"output (={output}) must be below {count}")
        return Symbol(self.source, output)


@dataclass(frozen=True, eq=False)
class Source:
    """An input of a network. shape: (C, *S), without the batch; None where it, or a length, may vary."""

    name: str
    shape: tuple[int | None, ...] | None = None


def whole(shape: Shape) -> Box:
    """All elements of an input."""
    return tuple((0, size - 1) for size in shape[2:])


def spatial(op: Operator, shape: Shape, least: int = 1) -> int:
    """How many spatial axes an input has."""
    if len(shape) < 2 + least:
        raise ShapeError(f"{op} needs an input (N, C, ...) with at least {least} spatial axes, not {shape}")
    return len(shape) - 2


def same_shape(op: Operator, shapes: Iterable[Shape]) -> None:
    """Refuse inputs whose shapes differ."""
    found = set(shapes)
    if len(found) != 1:
        raise ShapeError(f"{op} takes inputs of one shape, not {' and '.join(map(str, sorted(found)))}")


def one_of(name: str, value: object, valid: Iterable[str]) -> None:
    """Refuse a setting that is not in the list."""
    names = tuple(valid)
    if value not in names:
        raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(names)}")
