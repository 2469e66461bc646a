"""Folders of pictures, one sub-folder for each class."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.samples import Samples
from juanji.describe import per_axis
from juanji.errors import ArgumentError, FileError
from juanji.image import files

Array = npt.NDArray[Any]

SUFFIXES = (*files.SUFFIXES, ".gif")
LUMA = (0.299, 0.587, 0.114)  # of R, G and B in grey: ITU-R BT.601, as Pillow takes them


def read_folder(path: str | os.PathLike[str], *, size: object = None, channels: int | None = None) -> Samples:
    """The pictures in a folder's sub-folders, x (N, C, H, W) in the files' type; y counts the sub-folders in the order of their names.

    size: (height, width), or one number for both, that every picture is stretched to; without it they must agree.
    channels: 1 for grey or 3 for colour; without it 3 if any picture is in colour. Alpha is left out.

    Hidden files and files with other suffixes are passed over. Raises FileError naming the folder or the picture that is wrong.
    """
    folder = Path(path)
    classes = {part.name: listed(part) for part in _inside(folder) if part.is_dir()}
    for name, found in classes.items():
        if not found:
            raise FileError(f"{folder / name}: has no pictures; remove the folder or put pictures of its class there")
    if not classes:
        raise FileError(f"{folder}: has no sub-folders; put the pictures of each class in a folder of its name")
    x = stack([file for found in classes.values() for file in found], size=size, channels=channels)
    y = np.repeat(np.arange(len(classes), dtype=np.int64), [len(found) for found in classes.values()])
    return Samples(x, y, tuple(classes))


def listed(folder: Path) -> list[Path]:
    """The picture files of a folder by name."""
    return [file for file in _inside(folder) if file.suffix.lower() in SUFFIXES and file.is_file()]


def _inside(folder: Path) -> list[Path]:
    return sorted(part for part in folder.iterdir() if not part.name.startswith("."))


def stack(paths: Sequence[Path], *, size: object = None, channels: int | None = None) -> Array:
    """Pictures as one array (N, C, H, W), with `size` and `channels` as for `read_folder`."""
    if channels not in (None, 1, 3):
        raise ArgumentError(f"channels (={channels!r}) must be 1 for grey or 3 for colour")
    pictures = [planes(path) for path in paths]
    wanted = channels or max(len(picture) for picture in pictures)
    pictures = [_channels(picture, wanted) for picture in pictures]
    if size is not None:
        height_width = per_axis("size", size, 2, 1)
        pictures = [resized(picture, height_width) for picture in pictures]
    agreed(paths, pictures)
    return np.stack(pictures)


def planes(path: Path) -> Array:
    """A picture file as (1, H, W) or (3, H, W)."""
    picture = files.read(path)
    if picture.ndim not in (2, 3) or picture.dtype.kind not in "uif" or (picture.ndim == 3 and picture.shape[2] > 4) or picture.size == 0:
        raise FileError(f"{path}: has shape {picture.shape} of {picture.dtype}, but a picture must be H×W or H×W×C with up to 4 channels")
    return layered(picture)


def layered(picture: Array, channels: int | None = None) -> Array:
    """A picture H×W or H×W×C as (1, H, W) or (3, H, W), without alpha; channels: 1 for grey or 3 for colour."""
    if picture.ndim == 2:
        layers = picture[np.newaxis]
    else:
        layers = np.ascontiguousarray(picture[:, :, : 3 if picture.shape[2] >= 3 else 1].transpose(2, 0, 1))
    return layers if channels is None else _channels(layers, channels)


def agreed(paths: Iterable[Path], pictures: Sequence[Array]) -> None:
    """Refuse pictures of which one differs from the first in size or type."""
    first = pictures[0]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape != first.shape:
            raise FileError(f"{path}: is {_size(picture)}, but the first picture {_size(first)}; size=(height, width) makes them equal")
        if picture.dtype != first.dtype:
            raise FileError(f"{path}: holds {picture.dtype}, but the first picture {first.dtype}; save them with the same depth")


def _size(picture: Array) -> str:
    return "×".join(str(length) for length in picture.shape[1:])


def _channels(picture: Array, wanted: int) -> Array:
    if len(picture) == wanted:
        return picture
    if wanted == 3:
        return np.repeat(picture, 3, axis=0)
    return _typed(np.tensordot(LUMA, picture, 1)[np.newaxis], picture.dtype)


def _typed(values: Array, dtype: np.dtype[Any]) -> Array:
    return (np.rint(values) if dtype.kind in "ui" else values).astype(dtype)


def resized(picture: Array, size: Sequence[int], *, nearest: bool = False) -> Array:
    """(C, H, W) stretched to another height and width: bilinear, averaging where it shrinks, or the nearest pixel."""
    from PIL import Image

    height, width = size
    if nearest:
        rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, picture.shape[1:], strict=True))
        return picture[:, rows[:, np.newaxis], columns]
    layers = [Image.fromarray(layer.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR) for layer in picture]
    return _typed(np.stack([np.asarray(layer) for layer in layers]), picture.dtype)
