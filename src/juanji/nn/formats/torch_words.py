"""The words that the pickle of a state dict may use, and the notes that are made of them.

A storage is a persistent id, ("storage", type, key, place, elements), and a tensor a call of
`_rebuild_tensor_v2(storage, offset, size, strides, requires_grad, hooks)`. Neither becomes an array here: a tensor may be described
before it is known where its storage lies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from juanji.errors import quoted
from juanji.nn.formats.elements import WIDTHS
from juanji.pickles import Maker, Name

STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip
TYPES = {
    **{f"torch.{name}Storage": dtype for name, dtype in STORAGES.items()},
    **{f"torch.cuda.{name}Storage": dtype for name, dtype in STORAGES.items()},
    "torch.storage.UntypedStorage": "uint8",
}
DTYPES = {f"torch.{dtype}": dtype for dtype in WIDTHS}
NAMES = frozenset((*TYPES, *DTYPES))


@dataclass(frozen=True)
class Storage:
    """A persistent id: `count` elements of a type under a key; a view of old files begins at an offset into them."""

    key: str
    dtype: str
    count: int
    begin: int
    end: int


@dataclass(frozen=True)
class Tensor:
    """What a pickle says of a tensor: its elements, in units of its own type."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


def _sizes(value: object) -> bool:
    return isinstance(value, tuple) and len(value) <= 64 and all(type(item) is int and 0 <= item < 2**63 for item in value)


def storage_of(saved: Any) -> Storage:
    """The storage that a persistent id means. Raises ValueError for anything else."""
    match saved:
        case ("storage", Name(kind), str(key), str(), int(count)) | ("storage", Name(kind), str(key), str(), int(count), None):
            begin, end = 0, count
        case ("storage", Name(kind), str(key), str(), int(count), (str(), int(begin), int(length))):
            end = begin + length
        case _:
            raise ValueError("has a persistent id that is no storage")
    if kind not in TYPES:
        raise ValueError(f"has a storage of {kind}, which is no storage's type")
    if not 0 <= begin <= end <= count < 2**62:
        raise ValueError(f"has a storage {quoted(key)} of {count} elements of which {begin} to {end} are used")
    return Storage(key, TYPES[kind], count, begin, end)


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    """Of (storage, offset, size, strides), and then whether it has a gradient, hooks and conjugation, none of which is needed."""
    match arguments:
        case (Storage() as storage, int(offset), size, strides, *_) if _sizes((offset,)) and _sizes(size) and _sizes(strides):
            if len(size) != len(strides):
                raise ValueError(f"has a tensor of {len(size)} axes with {len(strides)} strides")
        case _:
            raise ValueError("has a tensor that is not described by storage, offset, size and strides")
    if len(arguments) > 6 and arguments[6]:
        raise ValueError("has a tensor that is conjugated or negated lazily; save its .resolve_conj().resolve_neg()")
    return Tensor(storage, storage.dtype, offset, size, strides)


def _tensor_with_type(arguments: tuple[Any, ...]) -> Tensor:
    """Of those and a type, for types that have no storage of their own."""
    if len(arguments) < 7 or type(arguments[6]) is not Name or arguments[6].text not in DTYPES:
        raise ValueError("has a tensor whose type is none of torch's")
    plain = _tensor((*arguments[:6], *arguments[7:]))
    return Tensor(plain.storage, DTYPES[arguments[6].text], plain.offset, plain.size, plain.strides)


def _parameter(arguments: tuple[Any, ...]) -> Tensor:
    if not arguments or not isinstance(arguments[0], Tensor):
        raise ValueError("has a parameter that is no tensor")
    return arguments[0]


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise ValueError("makes a dict of something that is not empty")
    return {}


MAKERS: Mapping[str, Maker] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_type,
    "torch._utils._rebuild_parameter": _parameter,
}
