"""Networks whose structure depends on the shapes of their inputs: one graph for each, made when first met, all with the same arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.nn.graph import Graph
from juanji.nn.losses import Loss
from juanji.nn.operator import Array, Shape
from juanji.nn.tape import Tape

Given = Mapping[str, npt.ArrayLike]
KEPT = 128  # graphs; the one that was made first is forgotten for a further one


class Specialised:
    """A graph made for one set of shapes. own: the keys of arrays that follow from those shapes and are not shared with other graphs."""

    def __init__(self, graph: Graph, shapes: dict[str, Shape], own: frozenset[str]):
        self.graph, self.shapes, self.own = graph, shapes, own


class ShapedGraph:
    """A network like `Graph`, of which `at(inputs)` gives the graph for the shapes of some inputs.

    settings: the names of inputs that are no values of the network but decide what it is, such as a sampling rate; they are handed in
    like the others. Parameters are there after the first run or `at`; arrays that come with the same name and the same content are one
    array in all graphs, so that training any of them trains all.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        settings: Sequence[str],
        outputs: Sequence[str],
        make: Callable[[dict[str, Shape], dict[str, Array]], Specialised],
    ):
        self.inputs, self.settings, self.outputs = tuple(inputs), tuple(settings), tuple(outputs)
        self._make = make
        self._made: dict[Any, Specialised] = {}
        self._shared: dict[tuple[str, Shape, bytes], Array] = {}

    # The graphs --------------------------------------------------------------------------------------------------------------

    def at(self, inputs: Given | Mapping[str, Sequence[int]]) -> Graph:
        """The graph for inputs like these: arrays, or shapes with the batch; settings by value."""
        return self._at(self._described(inputs)).graph

    def shapes(self, inputs: Given | Mapping[str, Sequence[int]]) -> dict[str, Shape]:
        """The shape of every value for inputs like these."""
        return self._at(self._described(inputs)).shapes

    def _described(self, inputs: Given | Mapping[str, Sequence[int]]) -> tuple[dict[str, Shape], dict[str, Array]]:
        if inputs.keys() != set(self.inputs):
            raise ArgumentError(f"inputs must be named {', '.join(self.inputs)}, not {', '.join(map(str, inputs))}")
        shapes, settings = {}, {}
        for name, value in inputs.items():
            if name in self.settings:
                settings[name] = np.asarray(value)
            elif isinstance(value, tuple) and all(isinstance(length, int) for length in value):
                shapes[name] = value
            else:
                shapes[name] = np.shape(value)
        return shapes, settings

    def _at(self, described: tuple[dict[str, Shape], dict[str, Array]]) -> Specialised:
        shapes, settings = described
        key = (tuple(sorted(shapes.items())), tuple((name, settings[name].shape, settings[name].tobytes()) for name in sorted(settings)))
        if key not in self._made:
            if len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = self._sharing(self._make(shapes, settings))
        return self._made[key]

    def _sharing(self, made: Specialised) -> Specialised:
        """The same, with the arrays of the graphs before it. They are told by what they came with, whatever training made of them."""
        arrays = made.graph.arrays
        for name, array in arrays.items():
            if name not in made.own:
                arrays[name] = self._shared.setdefault((name, array.shape, hashlib.sha256(array.data).digest()), array)
        made.graph.set_arrays(arrays)
        return made

    # Parameters --------------------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Array]:
        """What training changes, by "node.name", of all graphs so far."""
        return self._all("parameters")

    @property
    def buffers(self) -> dict[str, Array]:
        """Arrays that training does not change by gradients."""
        return self._all("buffers")

    def _all(self, which: str) -> dict[str, Array]:
        if not self._made:
            raise ArgumentError("the network has no parameters yet: call it once, or net.at(inputs)")
        return {name: array for made in self._made.values() for name, array in getattr(made.graph, which).items()}

    # Forward -----------------------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: npt.ArrayLike) -> Any:
        """The output for inputs with a batch; several outputs as a tuple."""
        if len(inputs) != len(self.inputs):
            raise ArgumentError(f"the network takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), not {len(inputs)}")
        values = tuple(self.run(dict(zip(self.inputs, inputs, strict=True))).values())
        return values[0] if len(values) == 1 else values

    def run(self, inputs: Given) -> dict[str, Array]:
        """All outputs by name, for inputs by name."""
        graph, values = self._taken(inputs)
        return graph.run(values)

    def features(self, x: npt.ArrayLike | Given, names: Iterable[str]) -> dict[str, Array]:
        """What the named layers or values are for an input."""
        graph, values = self._taken(x)
        return graph.features(values, names)

    def record(self, x: npt.ArrayLike | Given, *, training: bool = False, step: int = 0, seed: int = 0) -> Tape:
        """A run that remembers what the way back needs."""
        graph, values = self._taken(x)
        return graph.record(values, training=training, step=step, seed=seed)

    def gradients(self, x: npt.ArrayLike | Given, target: npt.ArrayLike, loss: str | Loss = "softmax_cross_entropy") -> dict[str, Array]:
        """The gradient of the mean loss in every parameter, as in inference."""
        graph, values = self._taken(x)
        return graph.gradients(values, target, loss)

    def _taken(self, x: npt.ArrayLike | Given) -> tuple[Graph, dict[str, Array]]:
        given = x if isinstance(x, Mapping) else {self.inputs[0]: x}
        arrays = {name: np.asarray(value) for name, value in given.items()}
        graph = self.at(arrays)
        return graph, {name: array for name, array in arrays.items() if name not in self.settings}
