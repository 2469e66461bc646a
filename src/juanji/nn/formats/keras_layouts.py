"""The two layouts in which Keras keeps weights in HDF5, and what such a file may not do.

    .h5 of Keras 1 and 2, and of `model.save("x.h5")`     groups of layers, each with a list "weight_names"; the groups are listed in
                                                          "layer_names" of the root or of its group "model_weights"
    .weights.h5 of Keras 3                                .../layers/LAYER/vars/0, 1, ..., and optimizer/vars/0, 1, ...

HDF5 can send its reader elsewhere: links into other files, datasets that lie in other files or are put together from them, filters
that are loaded as plug-ins. All of that is refused before anything is read, as are data of other kinds than numbers.

`keras_h5` runs this module in a child process.
"""

from typing import Any

import numpy as np

from juanji.errors import JuanjiError, quoted
from juanji.nn.formats.mapped import Array, MappedFile, Scalar, Weights
from juanji.nn.formats.safetensors_files import NAMES, write

FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}  # those that HDF5 has in itself and Keras can write
DEPTH = 64  # groups in groups
REFUSED = 3  # the exit status that says so
Group = Any  # and datasets: h5py may be missing where types are checked


def read_layout(file: MappedFile) -> Weights:
    """The weights and the texts of a file, read in this process. Raises FormatError."""
    import h5py

    try:
        with h5py.File(file.path, "r") as root:
            return _Reader(file, h5py).read(root)
    except JuanjiError:
        raise
    except Exception as error:  # h5py raises nearly everything for damaged files: OSError, RuntimeError, KeyError, ValueError ...
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise file.error("HDF5", f"is damaged ({reason})") from error


class _Reader:
    def __init__(self, file: MappedFile, h5py: Any) -> None:
        self.file, self.h5py = file, h5py
        self.left = file.plenty
        self.arrays: dict[str, Array] = {}
        self.metadata: dict[str, Scalar] = {}

    def read(self, root: Group) -> Weights:
        self.take_texts(root, "")
        group = self.member(root, "model_weights") if self.has(root, "model_weights") else root
        if self.has_names(group, "layer_names"):
            self.layers(group)
        else:
            self.variables(root, "", 0)
            if not self.arrays:
                raise self.file.error("HDF5", "has neither Keras' layer_names nor .../vars/0: it is no file of weights")
        return self.arrays, self.metadata

    def layers(self, group: Group) -> None:
        """The old layout: lists of names."""
        layers = self.names(group, "layer_names")
        if self.has(group, "top_level_model_weights"):
            layers.append("top_level_model_weights")
        for layer in layers:
            members = self.member(group, layer)
            for name in self.names(members, "weight_names"):
                self.take(name, self.member(members, name))

    def variables(self, group: Group, path: str, depth: int) -> None:
        """The new layout: a tree of groups, whose weights are in those called "vars"."""
        if depth > DEPTH:
            raise self.file.error(quoted(path), f"is nested more than {DEPTH} deep")
        for name in group:
            member, inner = self.member(group, name), f"{path}/{name}".lstrip("/")
            if isinstance(member, self.h5py.Group):
                if name == "vars":
                    self.take_texts(member, f"{inner}.")
                self.variables(member, inner, depth + 1)
            elif path.split("/")[-1] == "vars":
                self.take(inner, member)

    def member(self, group: Group, name: str) -> Group:
        """What lies in a group under a path, each of whose links stays inside the file."""
        for part in name.split("/"):
            label = quoted(f"{group.name}/{part}".replace("//", "/"))
            if not self.has(group, part):
                raise self.file.error(label, "is listed, but not there")
            if group.id.links.get_info(part.encode()).type != self.h5py.h5l.TYPE_HARD:
                raise self.file.error(label, "is a soft or external link, which is not followed")
            group = group[part]
        return group

    def has(self, group: Group, part: str) -> bool:
        """Whether a group has a link of this name; `in` would follow the link."""
        return isinstance(group, self.h5py.Group) and part not in ("", ".", "..") and group.id.links.exists(part.encode())

    def has_names(self, group: Group, attribute: str) -> bool:
        return attribute in group.attrs or f"{attribute}0" in group.attrs

    def names(self, group: Group, attribute: str) -> list[str]:
        """A list of names, which Keras cuts into attribute0, attribute1, ... where it is long."""
        if not isinstance(group, self.h5py.Group) or not self.has_names(group, attribute):
            raise self.file.error(attribute, "must be an attribute of every group of a layer")
        if attribute in group.attrs:
            parts = [group.attrs[attribute]]
        else:
            parts = []
            while f"{attribute}{len(parts)}" in group.attrs:
                parts.append(group.attrs[f"{attribute}{len(parts)}"])
        found = [item.decode() if isinstance(item, bytes) else item for part in parts for item in part]
        if not all(isinstance(item, str) for item in found):
            raise self.file.error(attribute, "must be a list of names")
        return [str(item) for item in found]

    def take_texts(self, group: Group, prefix: str) -> None:
        for name, value in group.attrs.items():
            text = value.decode() if isinstance(value, bytes) else value
            if isinstance(text, str):
                self.metadata[f"{prefix}{name}"] = text

    def take(self, name: str, data: Group) -> None:
        label = quoted(name)
        if name in self.arrays:
            raise self.file.error(label, "is the name of two weights")
        if not isinstance(data, self.h5py.Dataset):
            raise self.file.error(label, "must be a dataset")
        self.check(label, data)
        self.arrays[name] = np.asarray(data[()], dtype=data.dtype.newbyteorder("="))
        self.arrays[name].flags.writeable = False

    def check(self, label: str, data: Group) -> None:
        """A dataset of numbers, inside the file, of no more bytes than it can mean."""
        if data.dtype.name not in NAMES:
            raise self.file.error(label, f"has elements of type {data.dtype}, which are no numbers")
        if data.shape is None:
            raise self.file.error(label, "is a dataset without elements")
        if data.is_virtual or data.external:
            raise self.file.error(label, "lies in other files, which are not read")
        properties = data.id.get_create_plist()
        filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
        if strange := filters - FILTERS.keys():
            raise self.file.error(label, f"has a filter of number {max(strange)}; {', '.join(FILTERS.values())} are read")
        stored = data.id.get_storage_size()
        if stored > self.file.size or (1 not in filters and stored < data.nbytes):
            raise self.file.error(label, f"has {data.nbytes} bytes, of which {stored} are in a file of {self.file.size}")
        self.left -= data.nbytes
        if self.left < 0:
            raise self.file.error(label, self.file.too_much())


def convert(path: str, out: str, seconds: int) -> int:
    """What the child process does: write a file's contents as safetensors, or print place and rule; the exit status.

    It has `seconds` of processor time and the memory that a file of this size can be worth.
    """
    import resource

    file = MappedFile(path)
    for limit, value in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, 2 * file.plenty + file.size + 2**32)):
        resource.setrlimit(limit, (value, value))
    try:
        arrays, metadata = read_layout(file)
        write(out, arrays, {name: str(text) for name, text in metadata.items()})
    except JuanjiError as error:
        print(str(error).removeprefix(f"{file.path}: "))
        return REFUSED
    return 0
