"""Files that appear whole or not at all, whatever happens while they are written: an exception, a full disk, a kill, a power cut.

The bytes go to a part file in the same folder, which is synced and then moved over its target: `rename` is atomic, so whoever opens
the target finds the old file or the new one. A process that is killed leaves its part file behind; `remove_parts` clears those away.
"""

import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from juanji.errors import FileError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write, which replaces `path` when the block ends, or vanishes if it raises.

    A file that was there keeps its permissions; one that is read-only stays. A symbolic link keeps pointing where it did.

    Raises FileError for a place that cannot be written and for a disk that is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "weights")
    ...     with atomic_write(path) as file:
    ...         _ = file.write(b"all of it")
    ...     path.read_bytes()
    b'all of it'
    """
    target = _target(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
        _sync_folder(target.parent)
    except FileError:
        raise
    except PermissionError:
        raise FileError(f"{path}: the folder {target.parent} may not be written") from None
    except OSError as error:
        raise FileError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(path: str | os.PathLike[str]) -> None:
    """Remove what killed writers of `path` left beside it; for the owner of the folder, while nobody writes there."""
    target = Path(os.path.realpath(path))
    for part in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.part"):
        part.unlink(missing_ok=True)


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise FileError(f"{path}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileError(f"{path}: the folder {target.parent} does not exist; make it first")
    if target.exists() and not os.access(target, os.W_OK):
        raise FileError(f"{path}: is read-only; name another file, or change its permissions")
    return target


def _sync_folder(folder: Path) -> None:
    """The new name reaches the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
