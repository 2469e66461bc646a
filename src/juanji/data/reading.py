"""Files that nobody vouches for: opened and measured, and every failure told in one line that names the file and what to do.

A header is believed only as far as the file can bear it out: no more bytes are asked for than it holds, or than its compressed bytes
can unfold to. A deflate stream unfolds at most 1032 times: its shortest code, 1 bit for a length and 1 for a distance, copies 258 bytes.
"""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from juanji.errors import FileError, FormatError

DEFLATE = 1032  # bytes that one byte of a deflate stream can unfold to, at most
MOST_BYTES = 1 << 32  # of one array made of a file whose size does not bound it: 4 GiB


def damaged(path: Path, what: str) -> FormatError:
    """The error for a file whose content contradicts itself."""
    return FormatError(f"{path}: {what}; the file is damaged or not what its name says, get it again")


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, open for reading; what goes wrong in the block for the file's sake is raised as FileError."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path}: is a folder; name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{path}: is not a regular file")
        with open(path, "rb") as file:
            yield file
    except FileError:
        raise
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except PermissionError:
        raise FileError(f"{path}: may not be read; check its permissions") from None
    except EOFError:
        raise damaged(path, "ends in the middle of its compressed data") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"its compressed data are wrong ({error})") from error
    except MemoryError:
        raise FileError(f"{path}: needs more memory than there is") from None
    except (OSError, ValueError) as error:  # a disk that fails; a name with a null byte
        raise FileError(f"{path}: could not be read ({error})") from error


def size(file: IO[bytes]) -> int:
    """The bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "byte"), counted(12345, "byte")
    ('1 byte', '12,345 bytes')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
