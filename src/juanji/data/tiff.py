"""TIFF pictures and volumes: every frame of a file is one slice.

Pillow reads them where it keeps every bit; for the other kinds (16-bit colour, 32-bit unsigned, more than 4 channels …) tifffile does.
"""

import os
import struct
import warnings
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.data.reading import MOST_BYTES, counted, damaged, opened, size
from juanji.errors import FileError, JuanjiError
from juanji.extras import optional

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

SUFFIXES = (".tif", ".tiff")
# (Pillow's mode, bits of a sample, format of a sample in TIFF's numbers: 1 unsigned, 2 signed, 3 float) that Pillow reads bit for bit
EXACT: dict[tuple[Any, ...], npt.DTypeLike] = {
    ("1", 1, 1): np.uint8,
    ("L", 8, 1): np.uint8,
    ("RGB", 8, 1): np.uint8,
    ("RGBA", 8, 1): np.uint8,
    ("I;16", 16, 1): np.uint16,
    ("I;16B", 16, 1): np.uint16,
    ("I", 16, 2): np.int16,
    ("I", 32, 2): np.int32,
    ("F", 32, 3): np.float32,
}
BITS, SAMPLE_FORMAT = 258, 339  # tags


def read(path: str | os.PathLike[str]) -> Array:
    """A TIFF file as (C, H, W) or, if it has several frames, as a volume (C, D, H, W), in the type of its samples.

    Alpha is left out. Raises FileError if the file is missing or damaged, its frames differ, or it would unfold to more than 4 GiB;
    ExtraError if only tifffile can read it and is not installed.
    """
    path = Path(path)
    with opened(path) as file:
        _directories(file, path)
    try:
        frames = _by_pillow(path)
        volume = _by_tifffile(path) if frames is None else np.stack(frames)
    except JuanjiError:
        raise
    except Exception as error:  # decoders raise nearly everything for damaged files
        raise damaged(path, f"is no TIFF that can be read ({' '.join(str(error).split()) or type(error).__name__})") from error
    if volume.ndim == 3:
        volume = volume[..., np.newaxis]
    volume = np.moveaxis(volume, -1, 0)[:3]  # (C, D, H, W), without alpha
    return np.ascontiguousarray(volume[:, 0] if volume.shape[1] == 1 else volume)


def _by_pillow(path: Path) -> list[Array] | None:
    """The frames as H×W or H×W×C, or None if Pillow would lose bits."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large pictures and of odd tags; what it refuses, it raises
        try:
            found = Image.open(path, formats=["TIFF"])
        except UnidentifiedImageError:  # of a type that it does not know, or damaged
            return None
        with found as picture:
            count = getattr(picture, "n_frames", 1)
            dtype = _exact(picture)
            if dtype is None:
                return None
            _affordable(path, count * picture.width * picture.height * len(picture.getbands()) * np.dtype(dtype).itemsize)
            kind = (picture.mode, picture.size)
            frames = []
            for frame in range(count):
                picture.seek(frame)
                if (picture.mode, picture.size) != kind or _exact(picture) != dtype:
                    raise FileError(f"{path}: frame {frame} differs in size or type from the first, so that they make no volume")
                frames.append(np.asarray(picture).astype(dtype))
            return frames


def _exact(picture: "Image") -> npt.DTypeLike | None:
    tags: Any = getattr(picture, "tag_v2", {})
    bits, formats = set(tags.get(BITS, (1,))), set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) > 1 or len(formats) > 1:
        return None
    return EXACT.get((picture.mode, *bits, *formats))


def _by_tifffile(path: Path) -> Array:
    """D×H×W or D×H×W×C."""
    with optional("tifffile", "data").TiffFile(path) as file:
        series = file.series[0]
        _affordable(path, series.nbytes)
        volume: Array = series.asarray()
        colours = series.axes.endswith("S")
    axes = 4 if colours else 3
    volume = volume[np.newaxis] if volume.ndim == axes - 1 else volume
    if volume.ndim != axes or volume.dtype.kind not in "uif" or volume.size == 0:
        raise FileError(f"{path}: has axes {series.axes} of {volume.dtype}, but must be a picture or a volume of numbers")
    return volume


def _directories(file: BufferedReader, path: Path) -> None:
    """Follow the chain of frame directories to its end: the decoders give the frames before a break as if there were no others."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = start[2:4] if order != ">" else start[3:1:-1]
    if order is None or version not in (b"*\0", b"+\0"):
        raise damaged(path, f"starts with {start[:4].hex(' ') or 'nothing'}, which is not a TIFF's mark")
    big = version == b"+\0"  # BigTIFF, with 8 bytes for every offset
    count, entry, offset = (f"{order}Q", 20, f"{order}Q") if big else (f"{order}H", 12, f"{order}L")
    place = _number(start[8:] if big else start[4:8], offset, path)
    seen: set[int] = set()
    while place:
        if place in seen:
            raise damaged(path, f"leads from one frame back to an earlier one, at byte {place}")
        seen.add(place)
        if place >= size(file):
            raise damaged(path, f"has a frame at byte {place}, but ends before")
        file.seek(place)
        entries = _number(file.read(struct.calcsize(count)), count, path)
        file.seek(min(place + struct.calcsize(count) + entries * entry, size(file)))
        place = _number(file.read(struct.calcsize(offset)), offset, path)


def _number(content: bytes, form: str, path: Path) -> int:
    if len(content) < struct.calcsize(form):
        raise damaged(path, "ends in the middle of a frame's directory")
    number: int = struct.unpack(form, content)[0]
    return number


def _affordable(path: Path, unfolded: int) -> None:
    if unfolded > MOST_BYTES:
        raise FileError(f"{path}: unfolds to {counted(unfolded, 'byte')}, above the {MOST_BYTES:,} that are read; cut it into pieces")
