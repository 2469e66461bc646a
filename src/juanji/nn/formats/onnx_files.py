"""ONNX files at the door: checked, and turned from protocol buffers into a few plain types. Nothing in them is executed.

Arrays may stand in files of their own beside the model ("external data"). Such a file must lie in the model's folder, links resolved,
and must be long enough for what it is said to hold.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, FormatError
from juanji.extras import optional
from juanji.nn.formats.elements import WIDTHS, elements
from juanji.nn.formats.mapped import MappedFile

Array = npt.NDArray[Any]
LARGEST = 2**31 - 1  # bytes of a model without its external data: the limit of protocol buffers
OPSETS = (7, 28)


@dataclass(frozen=True, eq=False)
class FileInput:
    """An input as declared. shape: None where it, or a length, is left open; kind: "f", "i" or "b" for floats, integers, truth values."""

    name: str
    shape: tuple[int | None, ...] | None
    kind: str

    @property
    def setting(self) -> bool:
        """Whether it is a number or a row of integers that the structure may depend on, such as a sampling rate."""
        return self.shape is not None and (len(self.shape) == 0 or (len(self.shape) == 1 and self.kind != "f"))


@dataclass(frozen=True, eq=False)
class FileNode:
    """A node. Attributes are ints, floats, texts, lists of them, arrays or graphs."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class FileGraph:
    """A graph with its arrays by name."""

    inputs: tuple[FileInput, ...]
    nodes: tuple[FileNode, ...]
    outputs: tuple[str, ...]
    arrays: dict[str, Array]


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A model. place: what errors call it."""

    place: str
    opset: int
    graph: FileGraph


def read_onnx(path_or_model: Any, understood: frozenset[str]) -> OnnxFile:
    """A model from a path or an onnx.ModelProto, all of whose operators are among the understood.

    Raises FileError for a file that cannot be read, FormatError for one that breaks the format or has other operators.
    """
    onnx = optional("onnx", "onnx")
    if isinstance(path_or_model, onnx.ModelProto):
        model, place, folder = path_or_model, "the model", None
    elif isinstance(path_or_model, str | os.PathLike):
        place, folder = os.fspath(path_or_model), Path(path_or_model).resolve().parent
        model = _parsed(onnx, path_or_model)
    else:
        raise ArgumentError(f"path_or_model is of type {type(path_or_model).__name__}, but must be a path or an onnx.ModelProto")
    opset = _opset(model, place)
    foreign = sorted({_title(node) for node in _all_nodes(model.graph)} - understood)
    if foreign:
        raise FormatError(f"{place}: operators that are not understood: {', '.join(foreign)}")
    try:
        onnx.checker.check_model(_checkable(model))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise FormatError(f"{place}: is not valid ONNX ({' '.join(str(error).split())[:200]})") from None
    return OnnxFile(place, opset, _Reader(onnx, place, folder).graph(model.graph))


def _parsed(onnx: Any, path: str | os.PathLike[str]) -> Any:
    file = MappedFile(path)
    if file.size > LARGEST:
        raise file.error("length", f"{file.size} bytes; at most {LARGEST} are read, larger models keep their arrays beside them")
    try:
        model = onnx.ModelProto.FromString(file.bytes("all of it", 0, file.size).tobytes())
    except Exception as error:  # google.protobuf.message.DecodeError, by whichever name this protobuf has it
        raise file.error("start", f"is not ONNX ({' '.join(str(error).split())[:120]})") from None
    if not model.HasField("graph"):
        raise file.error("start", "is not ONNX: it has no graph")
    return model


def _checkable(model: Any) -> Any:
    """The model, or a copy for the checker, which insists on what files do without: that outputs have shapes, and arrays their elements.

    The arrays that stand in other files are read by `_Reader.outside`, which checks them itself.
    """
    shapeless = any(not value.type.tensor_type.HasField("shape") for value in model.graph.output)
    if not shapeless and not any(_external(tensor) for tensor in _tensors(model.graph)):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    for value in copy.graph.output:
        value.type.tensor_type.shape.SetInParent()
    for tensor in _tensors(copy.graph):
        if _external(tensor):
            tensor.ClearField("external_data")
            tensor.data_location, tensor.dims[:] = tensor.DEFAULT, [0]
    return copy


def _opset(model: Any, place: str) -> int:
    found = [int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(found) != 1 or not OPSETS[0] <= found[0] <= OPSETS[1]:
        raise FormatError(f"{place}: operator set {found or 'of no version'}; read are {OPSETS[0]} to {OPSETS[1]}")
    return found[0]


def _title(node: Any) -> str:
    """What an operator is called: with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _all_nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _external(tensor: Any) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


class _Reader:
    """From protocol buffers to the types above."""

    def __init__(self, onnx: Any, place: str, folder: Path | None):
        self.onnx, self.place, self.folder = onnx, place, folder
        self.taken = 0  # bytes of external data

    def graph(self, graph: Any) -> FileGraph:
        if graph.sparse_initializer:
            raise FormatError(f"{self.place}: sparse initializers are not understood")
        arrays = {tensor.name: self.array(tensor) for tensor in graph.initializer}
        inputs = tuple(self.input(value) for value in graph.input if value.name not in arrays)
        nodes = tuple(self.node(node) for node in graph.node)
        return FileGraph(inputs, nodes, tuple(value.name for value in graph.output), arrays)

    def input(self, value: Any) -> FileInput:
        if not value.type.HasField("tensor_type"):
            raise FormatError(f"{self.place}: input {value.name} is no tensor")
        tensor = value.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(int(dim.dim_value) if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
        try:
            kind = self.onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).kind
        except (KeyError, TypeError, ValueError):
            kind = "O"
        if kind not in "fiub":
            raise FormatError(f"{self.place}: input {value.name} has elements of type {tensor.elem_type}, which is not understood")
        return FileInput(value.name, shape, "i" if kind == "u" else kind)

    def node(self, node: Any) -> FileNode:
        attributes = {attribute.name: self.attribute(attribute) for attribute in node.attribute}
        return FileNode(
            node.op_type, node.name or next(filter(None, node.output), node.op_type), tuple(node.input), tuple(node.output), attributes
        )

    def attribute(self, attribute: Any) -> Any:
        kinds = self.onnx.AttributeProto
        match attribute.type:
            case kinds.FLOAT:
                return float(attribute.f)
            case kinds.INT:
                return int(attribute.i)
            case kinds.STRING:
                return attribute.s.decode("utf-8", "replace")
            case kinds.TENSOR:
                return self.array(attribute.t)
            case kinds.GRAPH:
                return self.graph(attribute.g)
            case kinds.FLOATS:
                return [float(value) for value in attribute.floats]
            case kinds.INTS:
                return [int(value) for value in attribute.ints]
            case kinds.STRINGS:
                return [value.decode("utf-8", "replace") for value in attribute.strings]
        raise FormatError(f"{self.place}: attribute {attribute.name} is of a kind that is not understood")

    def array(self, tensor: Any) -> Array:
        name = tensor.name or "of an attribute"
        try:
            found = self.outside(tensor) if _external(tensor) else np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (TypeError, ValueError, KeyError, OverflowError, AssertionError) as error:
            raise FormatError(f"{self.place}: array {name} is damaged ({' '.join(str(error).split())[:120]})") from None
        if found.dtype.kind not in "fiubV" or found.dtype.hasobject:
            raise FormatError(f"{self.place}: array {name} has elements of type {found.dtype}, which are not understood")
        return found.astype(np.float32) if found.dtype.kind == "V" else found  # bfloat16 and its kin

    def outside(self, tensor: Any) -> Array:
        """An array of a file beside the model's."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if self.folder is None:
            raise FormatError(f"{self.place}: array {tensor.name} is in the file {location!r}; read the model from its path")
        path = (self.folder / location).resolve()
        if not location or Path(location).is_absolute() or not path.is_relative_to(self.folder) or not path.is_file():
            raise FormatError(f"{self.place}: array {tensor.name} is in {location!r}, which is no file in the model's folder")
        file, dtype = MappedFile(path), self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        shape, offset = tuple(tensor.dims), int(entries.get("offset", 0))
        length = math.prod(shape) * WIDTHS[dtype]
        if min(shape, default=0) < 0 or int(entries.get("length", length)) != length:
            raise file.error(f"array {tensor.name}", f"shape {shape} of {dtype} does not take {entries.get('length')} bytes")
        self.taken += length
        if self.taken > file.plenty:
            raise file.error(f"array {tensor.name}", file.too_much())
        return elements(file.bytes(f"array {tensor.name}", offset, length), dtype).reshape(shape)
