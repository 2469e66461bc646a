"""safetensors files, read and written: a header of JSON, then the arrays' bytes.

    8 bytes         the header's length n, unsigned, little-endian
    n bytes         {"__metadata__": {"any": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    the rest        the arrays, little-endian, in C order; offsets count from here

The rules are those of the format's own description (huggingface/safetensors, "Format"), all of them checked: the header is at most
100 MB and may end in spaces, no name stands twice, the arrays cover the rest of the file without a gap or an overlap. No code is in
such a file and nothing in it has to be unpacked, so reading maps it and touches only the header.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.atomic import atomic_write
from juanji.describe import array_of
from juanji.errors import ArgumentError, DtypeError, quoted
from juanji.nn.formats.elements import WIDTHS, elements
from juanji.nn.formats.mapped import Array, MappedFile, Weights

HEADER = 100_000_000  # bytes, the format's own limit
METADATA = "__metadata__"
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """Where one array lies, in bytes after the header."""

    begin: int
    end: int
    name: str
    dtype: str
    shape: tuple[int, ...]


def is_safetensors(file: MappedFile) -> bool:
    """Whether a file begins as safetensors files do."""
    return file.size > 8 and file.map[8:9] == b"{"


def read(path: str | os.PathLike[str]) -> Weights:
    """The arrays of a safetensors file by name, in the header's order, and its metadata, which is text.

    Arrays are read-only views of the mapped file; `.copy()` gives one to write on. BF16 comes as ml_dtypes.bfloat16 if that package
    is there, else widened to float32.

    Raises FileError for a file that cannot be read, FormatError for one that breaks a rule above or has 8-bit floats.
    """
    file = MappedFile(path)
    header, start = _header(file)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise file.error(METADATA, "must be an object of strings")
    entries = [_entry(file, name, fields) for name, fields in header.items()]
    _check_cover(file, entries, file.size - start)
    return {entry.name: _array(file, entry, start) for entry in entries}, metadata


def write(path: str | os.PathLike[str], arrays: Mapping[str, npt.ArrayLike], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays by name, and metadata of text by name, as a safetensors file.

    dtypes are those of the table above; the arrays lie in the file by falling element size, so that each is aligned. The file appears
    whole or not at all.

    Raises ArgumentError for a name or a metadata value that is no text, DtypeError for other elements, FileError for a place that
    cannot be written.
    """
    listed = {_text("name", name): _stored(name, array) for name, array in arrays.items()}
    header: dict[str, Any] = {}
    if metadata:
        header[METADATA] = {_text("metadata key", key): _text(f"metadata[{key!r}]", value) for key, value in metadata.items()}
    if METADATA in listed:
        raise ArgumentError(f"an array is named {METADATA!r}, which is the place of the metadata")
    laid = sorted(listed, key=lambda name: -WIDTHS[listed[name].dtype.name])
    begins = dict(zip(laid, np.cumsum([0, *(listed[name].nbytes for name in laid)]).tolist(), strict=False))
    for name, array in listed.items():
        offsets = [begins[name], begins[name] + array.nbytes]
        header[name] = {"dtype": NAMES[array.dtype.name], "shape": array.shape, "data_offsets": offsets}
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > HEADER:
        raise ArgumentError(f"the names and metadata take {len(encoded)} bytes of header; a file holds {HEADER}")
    with atomic_write(path) as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in laid:
            file.write(_little(listed[name]))


def _header(file: MappedFile) -> tuple[dict[str, Any], int]:
    """The header, and the byte at which the arrays begin."""
    length = int.from_bytes(file.bytes("length of the header", 0, 8).tobytes(), "little")
    if length > HEADER:
        raise file.error("length of the header", f"{length} bytes; at most {HEADER} are read")
    text = file.bytes("header", 8, length).tobytes()
    if not text.startswith(b"{"):
        raise file.error("header", "must begin with '{'")
    try:
        # Trailing spaces pad the header; JSON's other blanks do not.
        header = json.loads(text.decode().rstrip(" "), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise file.error("header", "is nested too deeply") from None
    except ValueError as error:  # of JSON, of UTF-8, of a number without end, of `_object`
        raise file.error("header", f"is not JSON of safetensors ({' '.join(str(error).split())[:120]})") from None
    return header, 8 + length


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{quoted(name)} stands twice")
        for text in (name, value):
            if isinstance(text, str):
                text.encode()  # half a surrogate pair, which JSON can spell, is no text
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _entry(file: MappedFile, name: str, fields: object) -> Entry:
    place = f"array {quoted(name)}"
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise file.error(place, "must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise file.error(place, f"has dtype {quoted(dtype)}; read are {', '.join(DTYPES)}")
    if not _sizes(shape) or len(shape) > 64:
        raise file.error(place, "shape must be a list of at most 64 sizes")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise file.error(place, "data_offsets must be [begin, end]")
    needed = math.prod(shape) * WIDTHS[DTYPES[dtype]]
    if offsets[1] - offsets[0] != needed:
        raise file.error(place, f"{dtype} of shape {tuple(shape)} takes {needed} bytes, not {offsets[1] - offsets[0]}")
    return Entry(offsets[0], offsets[1], name, DTYPES[dtype], tuple(shape))


def _sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_cover(file: MappedFile, entries: list[Entry], size: int) -> None:
    """The arrays, one after the other, are the rest of the file."""
    end = 0
    for entry in sorted(entries):
        if entry.begin != end:
            fault = "overlaps the array before it" if entry.begin < end else "leaves a gap before it"
            raise file.error(f"array {quoted(entry.name)}", f"{fault}: begins at {entry.begin}, but must at {end}")
        end = entry.end
    if end != size:
        raise file.error("end", f"the arrays take {end} bytes, but {size} follow the header")


def _array(file: MappedFile, entry: Entry, start: int) -> Array:
    place = f"array {quoted(entry.name)}"
    try:
        values = elements(file.bytes(place, start + entry.begin, entry.end - entry.begin), entry.dtype)
        return values.reshape(entry.shape)
    except ValueError as error:
        raise file.error(place, str(error)) from None


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{what} is of type {type(value).__name__}, but must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{what} (={value!r}) must be text that UTF-8 can hold") from None
    return value


def _stored(name: str, array: npt.ArrayLike) -> Array:
    taken = array_of(name, array)
    if taken.dtype.name not in NAMES:
        raise DtypeError(f"{name} has dtype {taken.dtype}; safetensors holds {', '.join(NAMES)}")
    return taken


def _little(array: Array) -> bytes:
    """The elements in C order, little-endian."""
    if array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
