"""IDX, the format of MNIST: two zero bytes, a type, the number of axes, their lengths in 4 bytes each, then the elements.

All of it is big-endian. Files may be packed by gzip. Source: the description at the end of http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import math
import os
from contextlib import nullcontext
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.reading import DEFLATE, counted, damaged, opened, size
from juanji.data.samples import Samples
from juanji.errors import FileError

Array = npt.NDArray[Any]

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 32


def read(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, plain or packed by gzip, in this machine's byte order.

    Raises FileError if the file is missing, or its header and its length disagree: a plain file must hold exactly the elements that
    its header claims, and a packed one must be long enough to unfold to them, which is checked before memory is taken.
    """
    path = Path(path)
    with opened(path) as file:
        stored = size(file)
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.GzipFile(fileobj=file) if packed else nullcontext(file) as content:
            dtype, shape = _header(content, path)
            return _elements(content, dtype, shape, stored * DEFLATE if packed else stored, path)


def _header(content: BufferedIOBase, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = content.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise damaged(path, f"starts with {magic.hex(' ') or 'nothing'}, but an IDX file with 00 00 and a type from 08 to 0e")
    if not 1 <= magic[3] <= MOST_AXES:
        raise damaged(path, f"claims {magic[3]} axes, but must have 1 to {MOST_AXES}")
    lengths = content.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise damaged(path, "ends in the middle of its header")
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    if 0 in shape:
        raise damaged(path, f"claims the shape {shape}, which is empty")
    return np.dtype(TYPES[magic[2]]), shape


def _elements(content: BufferedIOBase, dtype: np.dtype[Any], shape: tuple[int, ...], most: int, path: Path) -> Array:
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > most:
        raise damaged(path, f"claims the shape {shape} of {dtype.name}, {counted(wanted, 'byte')}, which it is too short to hold")
    elements = np.empty(wanted, np.uint8)
    room, filled = elements.data, 0
    while filled < wanted:
        count = content.readinto(room[filled:])
        if not count:
            raise damaged(path, f"ends after {filled:,} of the {counted(wanted, 'byte')} that its header claims")
        filled += count
    if content.read(1):  # which also makes gzip compare its checksum
        raise damaged(path, f"goes on after the {counted(wanted, 'byte')} that its header claims")
    return elements.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_folder(path: str | os.PathLike[str], classes: tuple[str, ...] | None = None) -> tuple[Samples, Samples]:
    """Training and test samples of a folder with the four files of MNIST: train- and t10k-, images and labels.

    Raises FileError naming the file that is missing or damaged.
    """
    train, test = (_pair(_find(path, f"{part}-images", 3), _find(path, f"{part}-labels", 1), classes) for part in ("train", "t10k"))
    return train, test


def is_folder(path: Path) -> bool:
    """Whether a folder holds pictures as MNIST's does."""
    return any(name.exists() for name in _names(path, "train-images", 3))


def _names(folder: str | os.PathLike[str], part: str, axes: int) -> list[Path]:
    return [Path(folder, f"{part}{dot}idx{axes}-ubyte{gz}") for dot in "-." for gz in ("", ".gz")]


def _find(folder: str | os.PathLike[str], part: str, axes: int) -> Path:
    for name in _names(folder, part, axes):
        if name.exists():
            return name
    raise FileError(f"{Path(folder, f'{part}-idx{axes}-ubyte.gz')}: no such file, packed or plain; put it there")


def _pair(images: Path, labels: Path, classes: tuple[str, ...] | None) -> Samples:
    x, y = read(images), read(labels)
    if x.ndim < 2:
        raise damaged(images, f"has the shape {x.shape}, but pictures must have an axis of samples and one or more of space")
    if y.ndim != 1 or y.dtype.kind not in "iu" or len(y) != len(x):
        raise damaged(labels, f"has the shape {y.shape} of {y.dtype}, but must have a class number for each of {len(x)} pictures")
    if y.min() < 0 or (classes is not None and y.max() >= len(classes)):
        most = "" if classes is None else f" to {len(classes) - 1}"
        raise damaged(labels, f"has labels from {y.min()} to {y.max()}, but they must run from 0{most}")
    return Samples(x[:, np.newaxis], y.astype(np.int64), classes)
