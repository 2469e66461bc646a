"""Networks from ONNX files.

The structure of a network does not depend on data here, so what a file computes from shapes is folded away while the network is built.
Files that fold away without knowing any shape give one `Graph` for inputs of every size; others give one for each shape that they meet.
"""

from __future__ import annotations

import os
from typing import Any

from juanji.errors import FormatError, JuanjiError, ShapeError
from juanji.nn.formats.onnx_building import PLURAL, Builder, Call, Flowing, Known, NeedsShapes, Value
from juanji.nn.formats.onnx_files import Array, FileGraph, FileInput, FileNode, OnnxFile, read_onnx
from juanji.nn.formats.onnx_folding import FOLDS, fold
from juanji.nn.formats.onnx_operators import TRANSLATORS
from juanji.nn.graph import Graph
from juanji.nn.operator import Shape
from juanji.nn.shaped import ShapedGraph, Specialised

UNDERSTOOD = frozenset({*TRANSLATORS, *FOLDS, "If"})
Scope = dict[str, Value]


def from_onnx(path_or_model: str | os.PathLike[str] | Any) -> Graph | ShapedGraph:
    """The network of an ONNX file, or of an onnx.ModelProto: inputs, values and outputs are named as in the file.

    Parameters are named after the file's nodes, "node.weight" (a node without a name after its first output); stored arrays of floats
    that arithmetic takes are "array.value" and train too, single numbers do not. Operator sets 7 to 28 are read; the table of operators
    is `juanji.nn.formats.onnx_operators`. The result is a `Graph` for inputs of every size, or a `ShapedGraph` where the file computes
    with the shapes of its inputs or takes settings, integers that decide what it does. A batch that the file fixes is not insisted on
    where nothing was computed from it.

    No code is run and nothing is read but the file and, in its folder, files that it names for its arrays.
    Raises FileError for a file that cannot be read, FormatError for one that is damaged or has operators that are not understood (all are
    listed), ExtraError where the package onnx is missing: pip install 'juanji[onnx]'.
    """
    file = read_onnx(path_or_model, UNDERSTOOD)
    inputs = file.graph.inputs
    settings = [value.name for value in inputs if value.setting]
    if not settings:
        try:
            return _specialised(file, {}, {}).graph
        except NeedsShapes:
            declared = {value.name: _whole(value) for value in inputs}
            shapes = {name: shape for name, shape in declared.items() if shape is not None}
            if len(shapes) == len(inputs):
                return _specialised(file, shapes, {}).graph
    names = [value.name for value in inputs]
    return ShapedGraph(names, settings, file.graph.outputs, lambda shapes, values: _specialised(file, shapes, values))


def _whole(value: FileInput) -> Shape | None:
    """The declared shape where no length is left open."""
    if value.shape is None:
        return None
    lengths = tuple(length for length in value.shape if length is not None)
    return lengths if len(lengths) == len(value.shape) else None


def _specialised(file: OnnxFile, shapes: dict[str, Shape], settings: dict[str, Array]) -> Specialised:
    """The network for inputs of these shapes, or of any if none are given."""
    flowing = {value.name: value for value in file.graph.inputs if not value.setting}
    builder = Builder(file.place, file.opset, list(flowing), sum(array.size for array in file.graph.arrays.values()))
    scope: Scope = {name: Known(array, name, stored=False) for name, array in settings.items()}
    for name, value in flowing.items():
        _check(file, value, shapes.get(name))
        scope[name] = Flowing(name, shapes.get(name), "float" if value.kind == "f" else "integer")
    outputs = _run(file.graph, scope, builder)
    named = {}
    for name, found in zip(file.graph.outputs, outputs, strict=True):
        if isinstance(found, Flowing) and found.kind != "float":
            raise FormatError(f"{file.place}: output {name} is of {PLURAL[found.kind]}, which are no output here")
        named[name] = builder.flowing(found).name
    graph = Graph.of_nodes(
        {name: None if value.shape is None else value.shape[1:] for name, value in flowing.items()}, builder.nodes, named, builder.arrays
    )
    return Specialised(graph, {**shapes, **builder.shapes}, frozenset(builder.made))


def _check(file: OnnxFile, value: FileInput, shape: Shape | None) -> None:
    if shape is None or value.shape is None:
        return
    if len(shape) != len(value.shape) or any(own not in (None, length) for own, length in zip(value.shape, shape, strict=True)):
        raise ShapeError(f"input {value.name} has shape {shape}, but {file.place} takes {value.shape}")


def _run(graph: FileGraph, scope: Scope, builder: Builder) -> list[Value]:
    """Translate the nodes of a graph in their order, which checked files have right; give its outputs."""
    scope |= {name: Known(array, name) for name, array in graph.arrays.items()}
    for node in graph.nodes:
        call = Call(node, [scope[name] if name else None for name in node.inputs], builder)
        made = _translated(call, scope, builder)
        if len(made) < sum(map(bool, node.outputs)):
            raise call.refuse(f"gives {len(made)} outputs here, and the file uses more")
        scope |= {name: value for name, value in zip(node.outputs, made, strict=False) if name}
    return [scope[name] for name in graph.outputs]


def _translated(call: Call, scope: Scope, builder: Builder) -> tuple[Value, ...]:
    kind = call.node.kind
    if kind == "If":
        return _chosen(call, call.node, scope, builder)
    try:
        return (fold(call),) if kind in FOLDS else TRANSLATORS[kind](call)
    except JuanjiError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError) as error:  # numbers of a damaged file, which no shape rule foresees
        raise call.refuse(f"does not fit its inputs ({' '.join(str(error).split())[:120]})") from error


def _chosen(call: Call, node: FileNode, scope: Scope, builder: Builder) -> tuple[Value, ...]:
    """The outputs of the branch that is taken; what the branch computes is not seen outside."""
    condition = call.known(0, "condition")
    branch = node.attributes["then_branch" if condition.reshape(-1)[0] else "else_branch"]
    return tuple(_run(branch, dict(scope), builder))
