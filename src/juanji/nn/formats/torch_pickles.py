"""PyTorch's state dicts (.pth, .pt) of both kinds that `torch.save` has written, without PyTorch and without running anything.

A file is opened by `torch_archives` and its pickle read by `juanji.pickles` with the words of `torch_words`. Here its dicts become one
flat dict, and its tensors arrays: every element of an array lies inside its storage, every storage inside the file.
"""

import math
import os
from typing import Any

from numpy.lib.stride_tricks import as_strided

from juanji.errors import ArgumentError, quoted
from juanji.nn.formats.elements import WIDTHS, elements
from juanji.nn.formats.mapped import Array, MappedFile, Scalar, Weights
from juanji.nn.formats.nested import flatten
from juanji.nn.formats.torch_archives import Archive, open_archive
from juanji.nn.formats.torch_words import Storage, Tensor
from juanji.pickles import Name


def read(path: str | os.PathLike[str], key: str | None = None) -> Weights:
    """The tensors of a file of `torch.save` by name, and its numbers and texts.

    key: of a checkpoint that holds more than the weights, the entry to read, such as "state_dict" or "model"; all of it if None.

    Dicts in dicts are joined by dots ("optimizer.state.0.exp_avg"), lists by their index. Arrays are read-only views of the mapped
    file, and keep the strides that they were saved with; bfloat16 comes as ml_dtypes.bfloat16 if that package is there, else widened to
    float32. Numbers, texts, None and types are metadata.

    Raises FileError for a file that cannot be read, ArgumentError for a key that is not there, FormatError for a damaged file and
    for one that asks for code: whole modules, quantised or sparse tensors, NumPy's pickles.
    """
    file = MappedFile(path)
    archive = open_archive(file)
    if not isinstance(archive.tree, dict | list | tuple):
        raise file.error("pickle", "holds a single value, not a dict of names")
    tree = archive.tree if key is None else _entry(file, archive.tree, key)
    try:
        leaves = flatten(tree, 16 * archive.size)
    except ValueError as error:
        raise file.error("pickle", str(error)) from None
    arrays, metadata, taker = dict[str, Array](), dict[str, Scalar](), _Arrays(file, archive)
    for name, value in leaves.items():
        if isinstance(value, Tensor):
            arrays[name] = taker.of(name, value)
        elif isinstance(value, Storage):
            raise file.error(quoted(name), "is a storage without a tensor")
        elif isinstance(value, bytes):
            raise file.error(quoted(name), "is bytes, which are no metadata")
        else:
            metadata[name] = value.text if isinstance(value, Name) else value
    return arrays, metadata


def _entry(file: MappedFile, tree: Any, key: str) -> Any:
    keys = list(tree) if isinstance(tree, dict) else []
    if key not in keys:
        listed = ", ".join(quoted(name) for name in keys[:8]) + (", ..." if len(keys) > 8 else "")
        raise ArgumentError(f"key (={key!r}) is not in {file.path}, whose keys are {listed or 'none'}")
    if not isinstance(tree[key], dict | list | tuple):
        raise ArgumentError(f"key (={key!r}) names a single value in {file.path}, not a dict of names")
    return tree[key]


class _Arrays:
    """Arrays over the storages of a file, each storage taken once."""

    def __init__(self, file: MappedFile, archive: Archive) -> None:
        self.file, self.archive = file, archive
        self.left = file.plenty
        self.taken: dict[tuple[str, str], Array] = {}

    def of(self, name: str, tensor: Tensor) -> Array:
        label, width = f"tensor {quoted(name)}", WIDTHS[tensor.dtype]
        self.left -= math.prod(tensor.size) * width
        if self.left < 0:
            raise self.file.error(label, self.file.too_much())
        try:
            values = self._storage(tensor)
            if not math.prod(tensor.size):
                return values[:0].reshape(tensor.size)
            steps = [(size - 1) * stride for size, stride in zip(tensor.size, tensor.strides, strict=True)]
            if tensor.offset + sum(steps) >= len(values):
                raise ValueError(f"reaches element {tensor.offset + sum(steps)} of a storage of {len(values)}")
            # The stride of an axis of one element is never gone, and may be any number.
            strides = [stride * width if size > 1 else width for size, stride in zip(tensor.size, tensor.strides, strict=True)]
            return as_strided(values[tensor.offset :], tensor.size, strides, writeable=False)
        except ValueError as error:
            raise self.file.error(label, str(error)) from None

    def _storage(self, tensor: Tensor) -> Array:
        """The elements of a tensor's storage, or of the view of it that an old file may name."""
        storage, width = tensor.storage, WIDTHS[tensor.dtype]
        if (storage.key, tensor.dtype) not in self.taken:
            stored = self.archive.records[storage.key]
            whole = stored[: len(stored) // width * width]
            self.taken[storage.key, tensor.dtype] = elements(whole, tensor.dtype, self.archive.order)
        begin, end = (place * WIDTHS[storage.dtype] // width for place in (storage.begin, storage.end))
        return self.taken[storage.key, tensor.dtype][begin:end]
