"""Bytes of a file to elements of an array: byte order, alignment, and the two types whose bytes need care.

bfloat16 is the upper half of a float32. NumPy has no such type: with the package ml_dtypes the bytes are taken as they are, without
it they are widened to float32, which is exact. A bool is a byte that is 0 or 1; any other value is refused, because what NumPy does
with it is not defined.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from juanji.nn.formats.mapped import Array, Bytes

WIDTHS = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip


def elements(stored: Bytes, name: str, order: Literal["<", ">"] = "<") -> Array:
    """The elements of type `name` (a key of `WIDTHS`) that are stored in `order`: 1-D, native and read-only.

    Nothing is copied unless bytes must be turned, aligned or widened. Raises ValueError for a bool that is neither 0 nor 1.

    >>> import numpy as np
    >>> elements(np.array([0, 0, 128, 63], np.uint8), "float32")
    array([1.], dtype=float32)
    """
    if name == "bool" and stored.max(initial=0) > 1:
        raise ValueError("a bool must be stored as 0 or 1")
    if name == "bfloat16":
        values = _bfloat16(_native(stored, np.dtype(f"{order}u2")))
    else:
        values = _native(stored, np.dtype(name).newbyteorder(order))
    values.flags.writeable = False
    return values


def _native(stored: Bytes, dtype: np.dtype[Any]) -> Array:
    return np.require(stored.view(dtype), dtype.newbyteorder("="), "A")


def _bfloat16(halves: npt.NDArray[np.uint16]) -> Array:
    try:
        import ml_dtypes
    except ImportError:
        return (halves.astype(np.uint32) << 16).view(np.float32)
    return halves.view(ml_dtypes.bfloat16)
