"""Files as `torch.save` writes them, and as it never would, put together by hand: tests of their reader need no PyTorch."""

import io
import struct
import zipfile
from collections.abc import Mapping

Storages = Mapping[str, bytes]

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = b"\x80\x02M\xe9\x03."


def word(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def value(item: object) -> bytes:
    """The opcodes of text, numbers, tuples, lists and dicts; bytes are opcodes already."""
    match item:
        case bytes():
            return item
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[item]
        case int():
            return b"\x8a\x12" + item.to_bytes(18, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", item)
        case str():
            return b"X" + struct.pack("<I", len(item.encode())) + item.encode()
        case tuple():
            return b"(" + b"".join(map(value, item)) + b"t"
        case list():
            return b"](" + b"".join(map(value, item)) + b"e"
        case dict():
            return b"}(" + b"".join(value(key) + value(inner) for key, inner in item.items()) + b"u"
    raise TypeError(type(item))


def call(name: str, *arguments: object) -> bytes:
    return word(name) + value(arguments) + b"R"


def storage(key: str, kind: str, count: int, *view: object) -> bytes:
    return value(("storage", word(kind), key, "cpu", count, *view)) + b"Q"


def tensor(
    key: str,
    shape: tuple[int, ...],
    *,
    kind: str = "torch.FloatStorage",
    count: int | None = None,
    offset: int = 0,
    strides: tuple[int, ...] | None = None,
    view: tuple[object, ...] = (),
) -> bytes:
    """A tensor in C order unless strides are given, in a storage that it fills unless a count is given."""
    steps, total = [], 1
    for size in shape[::-1]:
        steps.append(total)
        total *= size
    held = storage(key, kind, total if count is None else count, *view)
    return call("torch._utils._rebuild_tensor_v2", held, offset, shape, tuple(steps[::-1]) if strides is None else strides, False, b"N")


def pickled(tree: object) -> bytes:
    return b"\x80\x02" + value(tree) + b"."


def old_file(tree: object, storages: Storages, widths: Mapping[str, int] | None = None) -> bytes:
    """The five pickles and the storages; their elements take 4 bytes unless said."""
    sizes = pickled({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}})
    parts = [MAGIC, VERSION, sizes, pickled(tree), pickled(list(storages))]
    for key, stored in storages.items():
        parts += [struct.pack("<q", len(stored) // (widths or {}).get(key, 4)), stored]
    return b"".join(parts)


def zip_file(
    tree: object, storages: Storages, *, order: str | None = "little", compressed: bool = False, more: Storages | None = None
) -> bytes:
    """The archive; `more` are further records by their whole name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("net/data.pkl", pickled(tree))
        if order is not None:
            archive.writestr("net/byteorder", order)
        for key, stored in storages.items():
            archive.writestr(f"net/data/{key}", stored)
        for name, stored in (more or {}).items():
            archive.writestr(name, stored)
    return stream.getvalue()


BOTH = {"old": old_file, "zip": zip_file}
