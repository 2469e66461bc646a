"""The two containers of `torch.save`: where the pickle of a file lies, and where its storages.

    since 1.6   a zip archive: NAME/data.pkl, one pickle; NAME/data/0, 1, ..., the bytes of its storages; NAME/byteorder
    before      five pickles in a row: a magic number, a version, the writer's type sizes, the tree, the list of storage keys;
                then for each key the number of elements, eight bytes, and the elements, both little-endian on every machine

`torch.save` compresses nothing, so a compressed record, which could unfold to any size, is refused; what is read is views of the file.
Checksums are compared, except where they are 0: PyTorch writes that if it is told not to compute them.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

from juanji.errors import quoted
from juanji.nn.formats.elements import WIDTHS
from juanji.nn.formats.mapped import Bytes, MappedFile
from juanji.nn.formats.torch_words import MAKERS, NAMES, Storage, storage_of
from juanji.pickles import CodeError, load

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
LOCAL = struct.Struct("<4s22xHH")  # a record's own header: its signature, and the lengths of its name and of its extra field


@dataclass(frozen=True)
class Archive:
    """What a file holds: the pickle's tree and size in bytes, the storages' bytes by key, and their byte order."""

    tree: Any
    size: int
    records: Mapping[str, Bytes]
    order: Literal["<", ">"]


def is_pickle(file: MappedFile) -> bool:
    """Whether a file begins as a pickle of protocol 2 or later does."""
    return file.map[:1] == b"\x80"


def is_zip(file: MappedFile) -> bool:
    """Whether a file begins as a zip archive does."""
    return file.map[:4] == b"PK\x03\x04"


def open_archive(file: MappedFile) -> Archive:
    """The contents of a file of either kind.

    Raises FormatError for a file of neither kind, a damaged one, and one that asks for code.
    """
    return _zip(file) if is_zip(file) else _old(file)


def _tree(file: MappedFile, place: str, stream: IO[bytes], check: Callable[[Storage], None]) -> Any:
    """The tree of a pickle, each of its storages checked on the way."""

    def persistent(saved: Any) -> Storage:
        storage = storage_of(saved)
        check(storage)
        return storage

    try:
        return load(stream, MAKERS, NAMES, persistent)
    except CodeError as error:
        raise file.error(place, f"{error}; of a whole model, save its state_dict()") from None
    except ValueError as error:
        raise file.error(place, str(error)) from None


def _old(file: MappedFile) -> Archive:
    stream, storages = cast("IO[bytes]", file.map), dict[str, Storage]()  # a mapping reads as a file does
    stream.seek(0)

    def check(storage: Storage) -> None:
        first = storages.setdefault(storage.key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise ValueError(f"has a storage {quoted(storage.key)} of two types or lengths")

    if _plain(file, stream, "magic number") != MAGIC:
        raise file.error("magic number", "is not PyTorch's: this is some other pickle")
    if _plain(file, stream, "version") != VERSION:
        raise file.error("version", f"must be {VERSION}")
    _plain(file, stream, "type sizes")  # the writer's, which say nothing of the file
    start = stream.tell()
    tree = _tree(file, "pickle", stream, check)
    size = stream.tell() - start
    keys = _plain(file, stream, "storage keys")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise file.error("storage keys", "must be those of the pickle's storages, each once")
    records, place = {}, stream.tell()
    for key in keys:
        label, storage = f"storage {quoted(key)}", storages[key]
        count = int.from_bytes(file.bytes(label, place, 8).tobytes(), "little")
        if count != storage.count:
            raise file.error(label, f"has {count} elements, but {storage.count} in the pickle")
        records[key] = file.bytes(label, place + 8, count * WIDTHS[storage.dtype])
        place += 8 + len(records[key])
    if place != file.size:
        raise file.error("end", f"{file.size - place} bytes follow the last storage")
    return Archive(tree, size, records, "<")


def _plain(file: MappedFile, stream: IO[bytes], place: str) -> Any:
    """The next pickle of an old file, which has neither tensors nor names in it."""
    try:
        return load(stream, {}, frozenset())
    except ValueError as error:
        raise file.error(place, str(error)) from None


def _zip(file: MappedFile) -> Archive:
    entries = _entries(file)
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if "model.weights.h5" in entries:
        raise file.error("zip archive", "is a whole model of Keras 3; take model.weights.h5 out of it")
    if len(pickles) != 1:
        raise file.error("zip archive", f"must have one NAME/data.pkl to be PyTorch's, but has {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise file.error("zip archive", "is TorchScript, a program; save its state_dict() with torch.save")
    order = _record(file, entries[f"{root}byteorder"]).tobytes() if f"{root}byteorder" in entries else b"little"
    if order not in (b"little", b"big"):
        raise file.error("byteorder", "must be little or big")

    def check(storage: Storage) -> None:
        name, size = f"{root}data/{storage.key}", storage.count * WIDTHS[storage.dtype]
        if name not in entries:
            raise ValueError(f"has a storage {quoted(storage.key)} that is not in the archive")
        if entries[name].file_size != size:
            raise ValueError(f"has a storage {quoted(storage.key)} of {size} bytes, but {entries[name].file_size} in the archive")
        if storage.key not in records:
            records[storage.key] = _record(file, entries[name])

    records: dict[str, Bytes] = {}
    pickled = _record(file, entries[pickles[0]])
    tree = _tree(file, "data.pkl", io.BytesIO(pickled.tobytes()), check)
    return Archive(tree, len(pickled), records, "<" if order == b"little" else ">")


def _entries(file: MappedFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's directory."""
    try:
        listed = zipfile.ZipFile(file.map).infolist()  # type: ignore[call-overload]  # it reads, seeks and tells, as mappings do
    except (zipfile.BadZipFile, NotImplementedError, struct.error, OverflowError, ValueError) as error:
        raise file.error("zip archive", f"is damaged ({error})") from None
    entries = {info.filename: info for info in listed}
    if len(entries) < len(listed):
        raise file.error("zip archive", "has two records of one name")
    if sum(info.compress_size for info in listed) > file.size:
        raise file.error("zip archive", "has records that overlap")
    return entries


def _record(file: MappedFile, info: zipfile.ZipInfo) -> Bytes:
    """The bytes of a record, which lie in the file as they are."""
    label = f"record {quoted(info.filename)}"
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        raise file.error(label, "is compressed or encrypted; torch.save stores records as they are")
    signature, name, extra = LOCAL.unpack(file.bytes(label, info.header_offset, LOCAL.size).tobytes())
    if signature != b"PK\x03\x04":
        raise file.error(label, "has no header where the archive says")
    stored = file.bytes(label, info.header_offset + LOCAL.size + name + extra, info.file_size)
    if info.CRC and zlib.crc32(stored.data) != info.CRC:
        raise file.error(label, "is damaged: its checksum is another")
    return stored
