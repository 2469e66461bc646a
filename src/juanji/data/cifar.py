"""CIFAR-10 as its authors give it away: binary batches, and the batches that Python 2 pickled.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. A binary batch is a row of records of 3073 bytes, one label and then the planes of red,
green and blue, each 32×32 row by row.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import pickles
from juanji.data.reading import counted, damaged, opened, size
from juanji.data.samples import Samples
from juanji.errors import FileError

Array = npt.NDArray[Any]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PICTURE = (3, 32, 32)
PLANES = 3 * 32 * 32
RECORD = 1 + PLANES
MOST_PICKLE = 1 << 28  # bytes; an official batch has 31 million
NO_PLANES = f"must hold data of shape (N, {PLANES}) in unsigned bytes"


def read(path: str | os.PathLike[str]) -> Samples:
    """The samples of one batch: binary if its name ends in .bin, a pickle otherwise.

    A pickle is read as data and can run no code. Raises FileError for a file that is missing or damaged, or has a label above 9.
    """
    path = Path(path)
    with opened(path) as file:
        stored = size(file)
        if path.suffix != ".bin" and stored > MOST_PICKLE:
            raise damaged(path, f"has {counted(stored, 'byte')}, more than a batch can have")
        content = file.read()
    labels, planes = _records(content, path) if path.suffix == ".bin" else _pickled(content, path)
    if max(labels) >= len(CLASSES) or min(labels) < 0:
        raise damaged(path, f"has labels from {min(labels)} to {max(labels)}, but they must run from 0 to {len(CLASSES) - 1}")
    return Samples(planes.reshape(-1, *PICTURE), np.array(labels, np.int64), CLASSES)


def _records(content: bytes, path: Path) -> tuple[list[int], Array]:
    if len(content) % RECORD or not content:
        raise damaged(path, f"has {counted(len(content), 'byte')}, but must have some records of {RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return records[:, 0].tolist(), records[:, 1:].copy()


def _pickled(content: bytes, path: Path) -> tuple[list[int], Array]:
    try:
        return _fields(pickles.load(BytesIO(content), MAKERS, NAMES, encoding="latin-1"))
    except ValueError as error:
        raise damaged(path, " ".join(str(error).split())) from None


def _fields(batch: object) -> tuple[list[int], Array]:
    if not isinstance(batch, dict):
        raise ValueError(f"holds a {type(batch).__name__}, but must hold a dict with data and labels")
    planes, labels = batch.get("data"), batch.get("labels")
    if not isinstance(planes, _Planes) or planes.array is None:
        raise ValueError(NO_PLANES)
    count = len(planes.array)
    if not isinstance(labels, list) or len(labels) != count or any(type(label) is not int for label in labels):
        raise ValueError(f"must hold a list of {count} labels, one for each picture")
    return labels, planes.array


@dataclass
class _Planes:
    """The (N, 3072) bytes that NumPy would make of a pickled array.

    Its pickle calls _reconstruct and gives the result a version, the shape, the type, whether the order is Fortran's, and the bytes.
    """

    array: Array | None = None

    def take(self, state: Any) -> None:
        match state:
            case (_, (int(count), 3072), _Dtype("u1"), False, content):
                elements = _bytes(content)
                if count > 0 and len(elements) == count * PLANES:
                    self.array = np.frombuffer(elements, np.uint8).reshape(count, PLANES).copy()
                    return
        raise ValueError(NO_PLANES)


@dataclass
class _Dtype:
    """An array's type. Its state is a version, the byte order and fields, none of which bytes have."""

    code: str

    def take(self, state: Any) -> None:
        pass


def _dtype(arguments: tuple[Any, ...]) -> _Dtype:
    match arguments:
        case (str(code), *_):
            return _Dtype(code)
    raise ValueError("has an array whose type has no name")


def _encoded(arguments: tuple[Any, ...]) -> bytes:
    """Bytes as Python 3 pickles them for Python 2."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            return text.encode("latin-1")
    raise ValueError("encodes something that is no text of bytes")


def _bytes(content: object) -> bytes:
    """Bytes as Python 3 pickles them, and as Python 2 does."""
    if isinstance(content, str):
        return content.encode("latin-1")
    return content if isinstance(content, bytes) else b""


MAKERS: Mapping[str, pickles.Maker] = {
    "numpy.core.multiarray._reconstruct": lambda arguments: _Planes(),
    "numpy._core.multiarray._reconstruct": lambda arguments: _Planes(),
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
}
NAMES = frozenset(("numpy.ndarray",))


def read_folder(path: str | os.PathLike[str]) -> tuple[Samples, Samples]:
    """Training and test samples of a folder with data_batch_1, data_batch_2 … and test_batch, all .bin or all pickles.

    There may be any number of training batches; they follow one another by number. Raises FileError naming what is missing or damaged.
    """
    folder = Path(path)
    batches = _batches(folder)
    if not batches:
        raise FileError(f"{folder / 'data_batch_1.bin'}: no such file; put the batches there")
    test = folder / f"test_batch{batches[0].suffix}"
    parts = [read(batch) for batch in batches]
    x, y = (np.concatenate([getattr(part, field) for part in parts]) for field in "xy")
    return Samples(x, y, CLASSES), read(test)


def is_folder(path: Path) -> bool:
    """Whether a folder holds batches of CIFAR."""
    return bool(_batches(path))


def _batches(folder: Path) -> list[Path]:
    """The training batches in order: the binary ones, or the pickles where there are none."""
    names = os.listdir(folder) if folder.is_dir() else []
    for suffix in (".bin", ""):
        found = [re.fullmatch(rf"data_batch_([1-9]\d{{0,5}}){re.escape(suffix)}", name) for name in names]
        numbers = sorted(int(match[1]) for match in found if match)
        if numbers:
            return [folder / f"data_batch_{number}{suffix}" for number in numbers]
    return []
