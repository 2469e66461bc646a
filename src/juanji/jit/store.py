"""Compiled code kept between processes, and the memory that it runs from.

A file holds one kernel: a header, a checksum, the code. It is trusted only if the folder and the file belong to this user,
are writable by nobody else, are no links, and the checksum fits; anything else is ignored and replaced. Files appear
under their final name only when they are complete.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import mmap
import os
import stat
import sys
from functools import lru_cache
from pathlib import Path

MAGIC = b"juanji 1\n"
MOST_BYTES = 1 << 24  # of one file
READING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # no links, and no waiting for a pipe's writer
MOST_FILES = 4096  # of a kind in the folder; beyond that the oldest quarter goes
SWEEP = 16  # files that a process writes from one look at how many there are to the next


_written = itertools.count()


def folder() -> Path:
    """Where compiled code is kept: $JUANJI_CACHE_DIR, or `juanji` in the user's cache folder."""
    chosen = os.environ.get("JUANJI_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "juanji"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "juanji"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "juanji"


def size() -> tuple[int, int]:
    """How many files the folder holds, and their bytes."""
    try:
        sizes = [entry.stat().st_size for entry in os.scandir(folder()) if entry.name.endswith(".code")]
    except OSError:
        return 0, 0
    return len(sizes), sum(sizes)


def read(key: str, kind: str = "code") -> bytes | None:
    """The content kept under a key, or None if there is none that can be trusted. kind: the ending of the file's name."""
    directory = _open_folder(create=False)
    if directory is None:
        return None
    try:
        file = os.open(f"{key}.{kind}", READING, dir_fd=directory)
    except OSError:
        return None
    finally:
        os.close(directory)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not _ours(status) or status.st_size > MOST_BYTES:
            return None
        with os.fdopen(os.dup(file), "rb") as stream:
            content = stream.read(MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(file)
    body = content[len(MAGIC) + 32 :]
    sound = content.startswith(MAGIC) and content[len(MAGIC) : len(MAGIC) + 32] == _digest(key, body)
    return body if sound else None


def write(key: str, content: bytes, kind: str = "code") -> None:
    """Keep content under a key. A folder that cannot be used is no error: the next process compiles again."""
    directory = _open_folder(create=True)
    if directory is None:
        return
    temporary = f".{key[:16]}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(MAGIC + _digest(key, content) + content)
            os.replace(temporary, f"{key}.{kind}", src_dir_fd=directory, dst_dir_fd=directory)
            if next(_written) % SWEEP == 0:
                _prune(directory, kind)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
    except OSError:
        pass
    finally:
        os.close(directory)


def remove(kind: str) -> None:
    """Remove every file of a kind from the folder, if it is ours."""
    directory = _open_folder(create=False)
    if directory is None:
        return
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(f".{kind}")]
        for name in names:
            with contextlib.suppress(OSError):  # another process may have been faster
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def _prune(directory: int, kind: str) -> None:
    """Keep the folder from growing without bound: what other versions and problems of long ago left is the oldest."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(f".{kind}")]
    if len(names) <= MOST_FILES:
        return
    ages = sorted((os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime, name) for name in names)
    for _, name in ages[: len(ages) // 4]:
        with contextlib.suppress(OSError):  # another process may have been faster
            os.unlink(name, dir_fd=directory)


def _open_folder(create: bool) -> int | None:
    """The folder, checked on the open descriptor; None where it is missing, foreign or open to others."""
    if os.open not in os.supports_dir_fd:
        return None
    path = folder()
    try:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(path, READING | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return None
    if not _ours(os.fstat(directory)):
        os.close(directory)
        return None
    return directory


def _ours(status: os.stat_result) -> bool:
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + content).digest()


@lru_cache(maxsize=1)
def generator_hash() -> str:
    """A hash of the code generator's source: code made by another version is never used."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Code:
    """Machine code in executable memory, called with one pointer; the memory lives as long as this object.

    `call` releases the interpreter lock. `call_briefly` keeps it: where many threads want the lock, to have it back would take a
    thousand times as long as the shortest kernels.
    """

    def __init__(self, content: bytes):
        size = -(-len(content) // mmap.PAGESIZE) * mmap.PAGESIZE
        if sys.platform == "win32":
            self._memory: object = _windows_pages(content, size)
            address = self._memory
        else:
            pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
            pages.write(content)
            address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
            self._memory = pages
            # Never writable and executable at once.
            if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
                raise OSError(ctypes.get_errno(), "the system refuses executable memory")
        self.bytes, self.address = len(content), int(address)
        self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        self.call_briefly = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(address)


def _windows_pages(content: bytes, size: int) -> int:
    kernel = ctypes.CDLL("kernel32")
    kernel.VirtualAlloc.restype = ctypes.c_void_p
    address = int(kernel.VirtualAlloc(None, ctypes.c_size_t(size), 0x3000, 0x04))
    ctypes.memmove(address, content, len(content))
    kernel.VirtualProtect(ctypes.c_void_p(address), ctypes.c_size_t(size), 0x20, ctypes.byref(ctypes.c_ulong()))
    return address
