"""A network is one graph of operators. Running it, recording it for the way back, counting it and saving it are walks over its nodes.

Written down with symbols,

    x = nn.Input((3, 32, 32))
    y = nn.ReLU()(nn.Conv(16, 3, padding=1)(x))
    net = nn.Graph(x, nn.Add()(y, nn.Conv(16, 1)(x)))

or as a list, `nn.Sequential(nn.Conv(16, 3), nn.ReLU())`. Values flow along names: an input's, or a node's (with ":1", ":2" … for further
outputs). Parameters are arrays under "conv1.weight" and so on; an operator object that stands in several places has one set of them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, FormatError, JuanjiError, ShapeError
from juanji.nn import records
from juanji.nn.formats import safetensors_files
from juanji.nn.inference.compiled import Compiled
from juanji.nn.inference.fusing import fused
from juanji.nn.losses import Loss, loss_of
from juanji.nn.nodes import Input, Node, named, ordered, value_name
from juanji.nn.operator import Applied, Array, Operator, Parameter, Run, Shape, Source, Symbol
from juanji.nn.preprocessing import BYTES, Preprocessing
from juanji.nn.tape import Tape

InputShape = tuple[int | None, ...] | None
RECORD, VERSION = "juanji.graph", 1  # the metadata that holds a network, and its form


class Graph:
    """A network: outputs made from inputs. Called on an array it gives the output; see `run`, `features`, `record`, `gradients`.

    preprocessing: what is done to integer pictures before anything else. seed: what parameters start from, in `build`.
    """

    def __init__(
        self,
        inputs: Symbol | Sequence[Symbol],
        outputs: Symbol | Sequence[Symbol] | Mapping[str, Symbol],
        *,
        preprocessing: Preprocessing | None = BYTES,
        classes: Sequence[str] | None = None,
        seed: int = 0,
    ):
        sources = [inputs] if isinstance(inputs, Symbol) else list(inputs)
        if isinstance(outputs, Symbol):
            outputs = {"output": outputs}
        elif not isinstance(outputs, Mapping):
            outputs = {f"output{i}": symbol for i, symbol in enumerate(outputs)}
        names: dict[Source | Applied, str] = {}
        for symbol in sources:
            if not isinstance(symbol.source, Source) or symbol.source.name in names.values():
                raise ArgumentError("inputs must be symbols made by Input(), each with a name of its own")
            names[symbol.source] = symbol.source.name
        nodes = ordered(names, outputs.values())
        self._set(
            {s.source.name: s.source.shape for s in sources if isinstance(s.source, Source)},
            nodes,
            {name: value_name(names[symbol.source], symbol.output) for name, symbol in outputs.items()},
        )
        self.preprocessing, self.seed = preprocessing, seed
        self.classes = None if classes is None else tuple(classes)

    @classmethod
    def of_nodes(
        cls,
        inputs: Mapping[str, InputShape],
        nodes: Iterable[Node],
        outputs: Mapping[str, str],
        arrays: Mapping[str, Array] | None = None,
        *,
        preprocessing: Preprocessing | None = None,
        classes: Sequence[str] | None = None,
    ) -> Graph:
        """A network from nodes in an order in which they can run, and arrays for all their parameters, or none yet."""
        net = Graph.__new__(Graph)
        net._set(dict(inputs), tuple(nodes), dict(outputs))
        net.preprocessing, net.seed = preprocessing, 0
        net.classes = None if classes is None else tuple(classes)
        if arrays is not None:
            net.set_arrays(arrays)
        return net

    def _set(self, inputs: dict[str, InputShape], nodes: tuple[Node, ...], outputs: dict[str, str]) -> None:
        self.inputs, self.nodes, self.outputs = inputs, nodes, outputs
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._trained: dict[str, Array] = {}
        self._fixed: dict[str, Array] = {}
        self._places: dict[str, tuple[tuple[str, str, dict[str, Array]], ...]] = {}  # by owner: short name, key, and which of the two
        self.built = False

    # Parameters --------------------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Array]:
        """What training changes, by "node.name"."""
        self._need_built()
        return self._trained

    @property
    def buffers(self) -> dict[str, Array]:
        """Arrays that training does not change by gradients: fixed kernels, running statistics."""
        self._need_built()
        return self._fixed

    @property
    def arrays(self) -> dict[str, Array]:
        """Parameters and buffers."""
        return self.parameters | self.buffers

    def _need_built(self) -> None:
        if self.built:
            return
        shapes = [self._whole_shape(shape) for shape in self.inputs.values()]
        if None in shapes:
            raise ArgumentError("the network has no parameters yet: build it with net.build(input_shape), or call it once")
        self.build()

    @staticmethod
    def _whole_shape(shape: InputShape) -> tuple[int, ...] | None:
        if shape is None or any(length is None for length in shape):
            return None
        return tuple(length for length in shape if length is not None)

    def build(self, *shapes: Sequence[int], seed: int | None = None) -> Graph:
        """Give every parameter its start, for inputs of these shapes (without the batch; those of the inputs unless said).

        Each parameter draws from a generator of its own, so that adding a layer does not change the others'.
        """
        if seed is not None:
            self.seed = seed
        if self.seed < 0:
            raise ArgumentError(f"seed (={self.seed}) must be an integer from 0 on")
        found = self.shapes(*shapes)
        self._trained, self._fixed, self._places = {}, {}, {}
        shared: dict[str, Shape] = {}
        for node in self.nodes:
            for name, parameter in self._parameters(node, found).items():
                key = f"{node.owner}.{name}"
                if shared.setdefault(key, parameter.shape) != parameter.shape:
                    raise ShapeError(f"layer {node.name}: shares {key} of shape {shared[key]}, but needs {parameter.shape}")
                if node.owner == node.name:
                    random = np.random.default_rng([self.seed, zlib.crc32(key.encode())])
                    self._keep(node.op, node.name, name, parameter.initial(random, parameter.shape, parameter.fans))
        self.built = True
        return self

    def _parameters(self, node: Node, shapes: Mapping[str, Shape]) -> dict[str, Parameter]:
        with named(node):
            return node.op.parameters(*(shapes[name] for name in node.inputs))

    def set_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Take parameters and buffers from arrays by name; the operators say which of them train."""
        self._trained, self._fixed, self._places = {}, {}, {}
        owners = {node.owner: node.op for node in reversed(self.nodes)}
        for key, array in arrays.items():
            owner, _, name = key.rpartition(".")
            if owner not in owners:
                raise ArgumentError(f"{key} belongs to no layer of this network")
            self._keep(owners[owner], owner, name, array)
        self.built = True

    def _keep(self, op: Operator, owner: str, name: str, array: Array) -> None:
        kept, key = self._trained if op.trains(name) else self._fixed, f"{owner}.{name}"
        kept[key] = np.asarray(array, self.dtype, order="C")
        self._places[owner] = (*self._places.get(owner, ()), (name, key, kept))

    def astype(self, dtype: npt.DTypeLike) -> Graph:
        """The same network in another type of floats; its arrays are copies."""
        net = Graph.of_nodes(self.inputs, self.nodes, self.outputs, preprocessing=self.preprocessing, classes=self.classes)
        net.seed, net.dtype = self.seed, np.dtype(dtype)
        if self.built:
            net.set_arrays({key: array.copy() for key, array in (self._trained | self._fixed).items()})
        return net

    # On disk -----------------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as safetensors: its arrays, and in the metadata the graph. The file appears whole or not at all."""
        safetensors_files.write(path, self.arrays, {RECORD: json.dumps(self.record_of())})

    def record_of(self) -> dict[str, Any]:
        """The network without its arrays, as what JSON can hold."""
        return {
            "version": VERSION,
            "inputs": records.plain(self.inputs),
            "nodes": records.of_nodes(self.nodes),
            "outputs": self.outputs,
            "preprocessing": None if self.preprocessing is None else records.plain(asdict(self.preprocessing)),
            "classes": records.plain(self.classes),
            "dtype": self.dtype.name,
            "seed": self.seed,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> Graph:
        """The network of a record and its arrays. Raises FormatError for a record of another kind."""
        if record["version"] != VERSION:
            raise FormatError(f"version {record['version']!r} is not {VERSION}")
        preprocessing = record["preprocessing"]
        net = cls.of_nodes(
            records.tuples(record["inputs"]),
            records.nodes(record["nodes"]),
            record["outputs"],
            preprocessing=None if preprocessing is None else Preprocessing(**records.tuples(preprocessing)),
            classes=record["classes"],
        )
        net.dtype, net.seed = np.dtype(record["dtype"]), int(record["seed"])
        net.set_arrays({key: array.copy() for key, array in arrays.items()})
        return net

    # Shapes and counts -------------------------------------------------------------------------------------------------------

    def shapes(self, *shapes: Sequence[int], batch: int = 1) -> dict[str, Shape]:
        """The shape of every value, for inputs of these shapes (without the batch; those of the inputs unless said)."""
        if len(shapes) > len(self.inputs):
            raise ArgumentError(f"{len(shapes)} shapes are given for {len(self.inputs)} inputs")
        found: dict[str, Shape] = {}
        for i, (name, own) in enumerate(self.inputs.items()):
            shape = tuple(int(length) for length in shapes[i]) if i < len(shapes) else self._whole_shape(own)
            if shape is None:
                raise ArgumentError(f"the shape of {name} must be given: (C, ...) without the batch, like {own or '(3, 224, 224)'}")
            self._check_shape(name, own, shape)
            found[name] = (batch, *shape)
        for node in self.nodes:
            with named(node):
                made = node.op.shapes(*(found[name] for name in node.inputs))
            found.update(zip(node.outputs, made, strict=True))
        return found

    @staticmethod
    def _check_shape(name: str, own: InputShape, shape: tuple[int, ...]) -> None:
        if own is not None and (len(own) != len(shape) or any(o is not None and o != s for o, s in zip(own, shape, strict=True))):
            raise ShapeError(f"{name} has shape {shape} without the batch, but the network takes {own}")

    def node(self, name: str) -> Node:
        """The node of a name. Raises ArgumentError that lists the names."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ArgumentError(f"layer (={name!r}) must be one of {', '.join(node.name for node in self.nodes)}")

    def __str__(self) -> str:
        width = max((len(node.name) for node in self.nodes), default=0)
        lines = [f"{node.name:<{width}}  {node.op}  of {', '.join(node.inputs)}" for node in self.nodes]
        return "\n".join([f"network of {', '.join(self.inputs)}", *lines])

    # Forward -----------------------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: npt.ArrayLike) -> Any:
        """The output for inputs (N, C, *S), or (C, *S) if the network knows its shape; several outputs as a tuple."""
        if len(inputs) != len(self.inputs):
            raise ArgumentError(f"the network takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), not {len(inputs)}")
        found = self.run(dict(zip(self.inputs, inputs, strict=True)))
        values = tuple(found.values())
        return values[0] if len(values) == 1 else values

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """All outputs by name, for inputs by name."""
        values, single = self._prepared(inputs)
        found = self._walk(values, Run(), set(self.outputs.values()))
        return {name: found[value][0] if single else found[value] for name, value in self.outputs.items()}

    def features(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike], names: Iterable[str]) -> dict[str, Array]:
        """What the named layers give for an input; a name may also be that of any value."""
        made = {*self.inputs, *(name for node in self.nodes for name in node.outputs)}
        wanted = {name: name if name in made else self.node(name).outputs[0] for name in names}
        values, single = self._prepared(x)
        found = self._walk(values, Run(), set(wanted.values()))
        return {name: found[value][0] if single else found[value] for name, value in wanted.items()}

    def record(
        self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike], *, training: bool = False, step: int = 0, seed: int = 0
    ) -> Tape:
        """A run that remembers what the way back needs. step, seed: what dropout draws from, for each node anew."""
        values, _ = self._prepared(x)
        saved: dict[str, Any] = {}
        found = self._walk(values, Run(training, (seed, step)), None, saved)
        return Tape(self.nodes, self.arrays_of, self._trained, found, saved)

    def compile(self, *shapes: Sequence[int], layout: str | None = None, threads: int | None = None) -> Compiled:
        """The network fused and planned for inputs of these shapes (without the batch; those of the inputs unless said).

        layout: what values inside lie in, "channels_first" or "channels_last"; the one that is expected to be faster unless said.
        """
        known = self.shapes(*shapes)
        if not self.built:
            self.build(*shapes)
        sizes = [known[name][1:] for name in self.inputs]

        def prepare(inputs: Any) -> tuple[dict[str, Array], bool]:
            named_inputs = inputs if isinstance(inputs, Mapping) else dict(zip(self.inputs, inputs, strict=True))
            values, single = self._prepared(named_inputs, sizes)
            return values, single

        return Compiled(
            fused(self.nodes, self.arrays_of, self.outputs.values(), known),
            self.outputs,
            lambda batch: self.shapes(*sizes, batch=batch),
            prepare,
            self.dtype,
            layout=layout,
            threads=threads,
        )

    def gradients(
        self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike], target: npt.ArrayLike, loss: str | Loss = "softmax_cross_entropy"
    ) -> dict[str, Array]:
        """The gradient of the mean loss in every parameter, as in inference: no dropout, running statistics."""
        tape = self.record(x)
        (output,) = self.outputs.values()
        _, dy = loss_of(loss)(tape.values[output], np.asarray(target))
        return tape.backward({output: dy}).parameters

    def _prepared(
        self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike], sizes: Sequence[Shape] | None = None
    ) -> tuple[dict[str, Array], bool]:
        """Inputs as floats with a batch, by name, and whether they came without one. sizes: what they must have, if not their own."""
        given = x if isinstance(x, Mapping) else {next(iter(self.inputs)): x}
        if given.keys() != self.inputs.keys():
            raise ArgumentError(f"inputs must be named {', '.join(self.inputs)}, not {', '.join(map(str, given))}")
        values, singles = {}, set()
        for name, own in self.inputs.items() if sizes is None else zip(self.inputs, sizes, strict=True):
            array = np.asarray(given[name])
            single = own is not None and array.ndim == len(own)
            array = array[None] if single else array
            singles.add(single)
            if array.ndim < 2 and own is None:
                raise ShapeError(f"{name} has shape {array.shape}, but must be (N, C, ...)")
            self._check_shape(name, own, array.shape[1:])
            if array.dtype.kind in "iub" and self.preprocessing is not None:
                array = self.preprocessing(array)
            values[name] = array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array
        if len(singles) > 1:
            raise ShapeError("some inputs have a batch and some have not")
        if not self.built:
            self.build(*(array.shape[1:] for array in values.values()))
        return values, singles == {True}

    def arrays_of(self, node: Node) -> dict[str, Array]:
        """The arrays of a node by their short names."""
        return {name: kept[key] for name, key, kept in self._places.get(node.owner, ())}

    def _walk(self, values: dict[str, Array], run: Run, keep: set[str] | None, saved: dict[str, Any] | None = None) -> dict[str, Array]:
        """Run every node in order. keep: the values that are wanted; others are let go after their last use. None keeps all."""
        left = Counter(name for node in self.nodes for name in node.inputs)
        for node in self.nodes:
            inputs = [values[name] for name in node.inputs]
            with named(node):
                y, kept = node.op.forward(self.arrays_of(node), *inputs, run=Run(run.training, (*run.seed, zlib.crc32(node.name.encode()))))
            values.update(zip(node.outputs, y if node.op.outputs > 1 else (y,), strict=True))
            if saved is not None:
                saved[node.name] = kept
            if keep is not None:
                left.subtract(node.inputs)
                for name in {*node.inputs, *node.outputs}:
                    if not left[name] and name not in keep:
                        del values[name]
        return values


class Sequential(Graph):
    """A network that is a row of operators.

    shape: of the input, (C, *S) without the batch; found at the first call if it is missing. The others are those of `Graph`.
    """

    def __init__(self, *operators: Operator, shape: Sequence[int | None] | None = None, **options: Any):
        x = y = Input(shape)
        for op in operators:
            y = op(y)
        super().__init__(x, y, **options)


def load(path: str | os.PathLike[str]) -> Graph:
    """The network that `save` wrote.

    Raises FileError or FormatError for a file that is missing, damaged or holds no network.
    """
    arrays, metadata = safetensors_files.read(path)
    if RECORD not in metadata:
        raise FormatError(f"{os.fspath(path)}: holds arrays but no network; nn.models.get(name, weights=path) puts them into one")
    try:
        return Graph.of_record(json.loads(str(metadata[RECORD])), arrays)
    except (JuanjiError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FormatError(f"{os.fspath(path)}: {RECORD}: describes no network: {error}") from error
