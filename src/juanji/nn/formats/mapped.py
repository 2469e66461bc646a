"""A file mapped into memory, from which every format takes its bytes through one checked door.

Mapped bytes are read from the disk when they are looked at, and shared between processes. Arrays over them are read-only. As with
every mapping, a file that is *shortened in place* while arrays of it are in use kills the process that looks at them; files that
are replaced, as `atomic_write` does, are safe.
"""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, FileError, FormatError

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Scalar = str | int | float | bool | None
Weights = tuple[dict[str, Array], dict[str, Scalar]]  # arrays and metadata, both by name

PLENTY = 2**30  # bytes


class MappedFile:
    """The bytes of a file, read-only.

    Raises FileError for a file that is missing or may not be read, FormatError for one that is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"path is of type {type(path).__name__}, but must be the name of a file")
        self.path = Path(path)
        if self.path.is_dir():
            raise FileError(f"{path}: is a folder; name a file in it")
        try:
            with open(self.path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if not self.size:
                    raise self.error("start", "the file is empty")
                self.map = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise FileError(f"{path}: no such file") from None
        except PermissionError:
            raise FileError(f"{path}: may not be read; check its permissions") from None

    def error(self, place: str, rule: str) -> FormatError:
        """The one line that says what is wrong, where."""
        return FormatError(f"{self.path}: {place}: {rule}")

    def bytes(self, place: str, start: int, count: int) -> Bytes:
        """`count` bytes from `start` on, if the file has them; nothing is copied."""
        if start < 0 or count < 0 or start + count > self.size:
            raise self.error(place, f"{count} bytes from byte {start} on lie outside the file's {self.size} bytes")
        return np.frombuffer(self.map, np.uint8, count, start)

    @property
    def plenty(self) -> int:
        """The most bytes that the file's arrays may have together: beyond it the file is an attack, not a network.

        Files of real networks hold what they say. More is said by broadcast and shared arrays and by compression, never 16 times
        as much, except in files that are small anyway.
        """
        return max(PLENTY, 16 * self.size)

    def too_much(self) -> str:
        """The rule that arrays beyond it break."""
        return f"with those before it has more than {self.plenty} bytes, in a file of {self.size}"
