"""NumPy archives (.npz) of inputs and targets, such as Keras and MedMNIST are given away in."""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from juanji.data.reading import DEFLATE, counted, damaged, opened
from juanji.data.samples import Samples
from juanji.errors import ArgumentError, FileError

Array = npt.NDArray[Any]

# the names of the arrays: training inputs and targets, test inputs and targets
NAMES = (("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels"), ("x", "y"))
LAYOUTS = ("channels_first", "channels_last", "no_channels")


def read(path: str | os.PathLike[str], *, layout: str | None = None) -> Samples | tuple[Samples, Samples]:
    """The samples of an archive with arrays x and y, or with x_train, y_train, x_test and y_test, and perhaps classes.

    layout: where the channels of x stand: "channels_first", "channels_last" or "no_channels". Without it, bytes with three axes are
        grey pictures without an axis of channels, bytes with four whose last is 1 or 3 and whose second is not have it last, and all
        else has it first.

    Integer targets of shape (N,) or (N, 1) are class numbers. No archive can run code. Raises FileError for one that is damaged, lacks
    an array, holds Python objects, or claims more than its bytes can unfold to; ArgumentError for an unknown layout.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ArgumentError(f"layout (={layout!r}) must be one of {', '.join(LAYOUTS)}")
    path = Path(path)
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                found = {name.removesuffix(".npy") for name in archive.namelist()}
                names = next((names for names in NAMES if found.issuperset(names)), None)
                if names is None:
                    wanted = "; or ".join(", ".join(names) for names in NAMES)
                    raise FileError(f"{path}: has the arrays {', '.join(sorted(found))}, but must have {wanted}")
                arrays = [_member(archive, name, path) for name in names]
                classes = tuple(str(name) for name in _member(archive, "classes", path).ravel()) if "classes" in found else None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OverflowError) as error:
            raise damaged(path, f"is no archive that can be read ({' '.join(str(error).split())})") from error
    parts = [_samples(x, y, classes, layout, path) for x, y in zip(arrays[::2], arrays[1::2], strict=True)]
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Array:
    """One array, once its header and the archive's directory agree about its size and its packed bytes can unfold to that."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > max(info.compress_size * DEFLATE, 1):
        raise damaged(path, f"claims {counted(info.file_size, 'byte')} for {name}, which it is too short to hold")
    with archive.open(info) as content:
        shape, dtype = _header(content)
        if dtype.hasobject:
            raise FileError(f"{path}: {name} holds Python objects, which could run code; save plain numbers")
        if content.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise damaged(path, f"claims the shape {shape} of {dtype} for {name}, which does not fit its {counted(info.file_size, 'byte')}")
    with archive.open(info) as content:
        array: Array = np.lib.format.read_array(content, allow_pickle=False)
    return array


def _header(content: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(content)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"version {version} of the format .npy")
    shape, _, dtype = headers[version](content)
    return shape, dtype


def _samples(x: Array, y: Array, classes: tuple[str, ...] | None, layout: str | None, path: Path) -> Samples:
    if x.dtype.kind not in "uif" or y.dtype.kind not in "uifb" or x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or x.size == 0:
        raise FileError(f"{path}: has inputs {x.dtype} {x.shape} and targets {y.dtype} {y.shape}, but must have one target for each input")
    x, y = x.astype(x.dtype.newbyteorder("="), copy=False), y.astype(y.dtype.newbyteorder("="), copy=False)
    match layout or _guessed(x):
        case "no_channels":
            x = x[:, np.newaxis]
        case "channels_last":
            x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    if y.dtype.kind in "uib" and y.shape[1:] in ((), (1,)):
        y = y.reshape(len(y)).astype(np.int64)
    try:
        return Samples(x, y, classes)
    except ArgumentError as error:
        raise FileError(f"{path}: {error}") from None


def _guessed(x: Array) -> str:
    if x.dtype != np.uint8:
        return "channels_first"
    if x.ndim == 3:
        return "no_channels"
    return "channels_last" if x.ndim == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3) else "channels_first"
