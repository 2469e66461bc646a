"""Pictures and volumes with a mask: read as pairs, cut into two parts, cut into patches."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data import pictures, tiff
from juanji.data.samples import Samples
from juanji.describe import array_of, per_axis
from juanji.errors import ArgumentError, FileError, ShapeError

Array = npt.NDArray[Any]

KINDS = ("binary", "stored")
FOLDERS = (("images", "masks"), ("img", "mask"), ("images", "labels"))
BINARY = ("background", "object")


def read_folder(path: str | os.PathLike[str], *, size: object = None, channels: int | None = None, masks: str = "binary") -> Samples:
    """The image + mask pairs of a folder: x (N, C, *S) as stored and y (N, *S).

    Pairs are images/NAME and masks/NAME, in any formats, or stand in one folder as NAME and NAME_mask, or imgNAME and maskNAME.

    masks: "binary" makes 1 of everything above 0, in bytes; "stored" keeps the numbers, of objects or of classes.
    size, channels: as for folders of classes; masks are resized to the nearest pixel.

    Raises FileError naming the picture that has no mask, or a mask that does not fit it.
    """
    return read_pairs(pairs(Path(path)), size=size, channels=channels, masks=masks)


def read_pairs(
    found: Sequence[tuple[Path, Path]],
    *,
    size: object = None,
    channels: int | None = None,
    masks: str = "binary",
    classes: tuple[str, ...] = BINARY,
) -> Samples:
    """The pairs whose files are given; the classes name the numbers of a binary mask."""
    if masks not in KINDS:
        raise ArgumentError(f"masks (={masks!r}) must be one of {', '.join(KINDS)}")
    images = [image for image, _ in found]
    if any(image.suffix.lower() in tiff.SUFFIXES for image in images):
        if size is not None or channels is not None:
            raise ArgumentError("size and channels have no meaning for TIFF volumes; they are read as they are")
        layers = [_planes(image) for image in images]
        pictures.agreed(images, layers)
        x = np.stack(layers)
    else:
        x = pictures.stack(images, size=size, channels=channels)
    y = np.stack([_mask(target, x.shape[2:], image, resize=size is not None) for image, target in found])
    if masks == "binary":
        return Samples(x, (y > 0).astype(np.uint8), classes)
    return Samples(x, y)


def _planes(path: Path) -> Array:
    return tiff.read(path) if path.suffix.lower() in tiff.SUFFIXES else pictures.planes(path)


def _mask(path: Path, size: tuple[int, ...], image: Path, *, resize: bool) -> Array:
    layers = _planes(path)
    if (layers != layers[:1]).any():
        raise FileError(f"{path}: is in colour, but a mask must have one number at each pixel; save it in grey")
    if layers.dtype.kind not in "ui" or layers.min() < 0:
        raise FileError(f"{path}: holds {layers.dtype} from {layers.min()}, but a mask must have whole numbers from 0")
    if resize:
        layers = pictures.resized(layers[:1], size, nearest=True)
    if layers.shape[1:] != size:
        raise FileError(f"{path}: is {layers.shape[1:]}, but its picture {image.name} {size}")
    mask: Array = layers[0]
    return mask


def is_folder(path: Path) -> bool:
    """Whether a folder holds image + mask pairs."""
    divided = any(all((path / part).is_dir() for part in parts) for parts in FOLDERS)
    return divided or any("mask" in file.stem.lower() for file in pictures.listed(path))


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The image and mask files that belong together, by name."""
    for images, masks in FOLDERS:
        if (folder / images).is_dir() and (folder / masks).is_dir():
            targets = {file.stem: file for file in pictures.listed(folder / masks)}
            return _paired({file.stem: file for file in pictures.listed(folder / images)}, targets, folder / masks)
    found = {file.stem: file for file in pictures.listed(folder)}
    targets = {stem: file for stem, file in found.items() if "mask" in stem.lower()}
    images_by_mask = {_mask_of(stem, targets): file for stem, file in found.items() if stem not in targets}
    return _paired(images_by_mask, targets, folder)


def pair_of(image: Path) -> tuple[Path, Path]:
    """A picture and the mask beside it."""
    targets = {file.stem: file for file in pictures.listed(image.parent) if "mask" in file.stem.lower()}
    return _paired({_mask_of(image.stem, targets): image}, targets, image.parent)[0]


def _mask_of(stem: str, targets: dict[str, Path]) -> str:
    """The stem of the mask of a picture: the one of its possible names that is there, or the first."""
    names = (f"{stem}_mask", f"{stem}-mask", stem.replace("image", "mask", 1), stem.replace("img", "mask", 1), f"mask_{stem}")
    return next((name for name in names if name in targets), names[0])


def _paired(images: dict[str, Path], targets: dict[str, Path], where: Path) -> list[tuple[Path, Path]]:
    if not images:
        raise FileError(f"{where}: has no pictures with masks")
    for stem, image in images.items():
        if stem not in targets:
            raise FileError(f"{image}: has no mask; put it at {where / stem}{image.suffix}")
    for stem, target in targets.items():
        if stem not in images:
            raise FileError(f"{target}: is the mask of no picture; put its picture beside it")
    return [(image, targets[stem]) for stem, image in images.items()]


def cut(samples: Samples, fraction: float) -> tuple[Samples, Samples]:
    """Two parts of every picture, cut across its longest axis: the second is its last `fraction`. A way to test on one picture.

    >>> train, test = cut(Samples(np.zeros((1, 1, 8, 6)), np.zeros((1, 8, 6), np.uint8)), 0.25)
    >>> train.x.shape, test.y.shape
    ((1, 1, 6, 6), (1, 2, 6))
    """
    if not samples.masked:
        raise ShapeError(f"y of shape {samples.y.shape} must be a mask over the pixels of x {samples.x.shape}")
    size = samples.x.shape[2:]
    axis = size.index(max(size))
    taken = round(fraction * size[axis]) if 0 < fraction < 1 else 0
    if not 0 < taken < size[axis]:
        raise ArgumentError(f"fraction (={fraction!r}) must leave at least one of {size[axis]} rows in both parts")
    ends = np.array([size[axis] - taken])
    (x, x_rest), (y, y_rest) = np.split(samples.x, ends, axis + 2), np.split(samples.y, ends, axis + 1)
    return Samples(x, y, samples.classes), Samples(x_rest, y_rest, samples.classes)


def patches(image: npt.ArrayLike, mask: npt.ArrayLike, size: object, step: object = None) -> Samples:
    """Windows of a large picture and its mask: x (N, C, *size) and y (N, *size), by rows.

    image: (C, *S), or (*S) as one channel; mask: (*S).
    size, step: one number or one per axis; a step is the distance from a window to the next, `size` if not given. The last
        window of each axis is moved back to the edge, so that every pixel is in one.

    Raises ShapeError if they do not fit or a window is larger than the picture.

    >>> patches(np.arange(35).reshape(5, 7), np.zeros((5, 7), np.uint8), 3).x[:, 0, 0, 0]
    array([ 0,  3,  4, 14, 17, 18])
    """
    x, y = array_of("image", image), array_of("mask", mask)
    if x.ndim == y.ndim:
        x = x[np.newaxis]
    if y.ndim == 0 or x.shape[1:] != y.shape:
        raise ShapeError(f"image of shape {x.shape} must be C×S for a mask of shape {y.shape}")
    sizes = per_axis("size", size, y.ndim, 1)
    steps = sizes if step is None else per_axis("step", step, y.ndim, 1)
    if any(window > length for window, length in zip(sizes, y.shape, strict=True)):
        raise ShapeError(f"size {sizes} must fit into the picture of {y.shape}")
    starts = [_starts(*axis) for axis in zip(y.shape, sizes, steps, strict=True)]
    return Samples(np.stack([_windows(layer, sizes, starts) for layer in x], axis=1), _windows(y, sizes, starts))


def _starts(length: int, window: int, step: int) -> Array:
    return np.unique(np.append(np.arange(0, length - window + 1, step), length - window))


def _windows(layer: Array, sizes: tuple[int, ...], starts: Sequence[Array]) -> Array:
    every = np.lib.stride_tricks.sliding_window_view(layer, sizes)
    return every[np.ix_(*starts)].reshape(-1, *sizes)


def borders(objects: npt.ArrayLike) -> Array:
    """Three classes at each pixel of masks (N, *S) of numbered objects: 0 background, 1 border, 2 inside, in bytes.

    A pixel of an object is border if a neighbour along a spatial axis is background or another object; what lies beyond the edge
    makes no border. Raises ArgumentError if the masks have no whole numbers.

    >>> borders([[0, 1, 1, 1, 2]])
    array([[0, 1, 2, 1, 1]], dtype=uint8)
    """
    numbers = array_of("objects", objects)
    if numbers.dtype.kind not in "ui":
        raise ArgumentError(f"objects has dtype {numbers.dtype}, but must have whole numbers")
    edge = np.zeros(numbers.shape, bool)
    for axis in range(1, numbers.ndim):
        low, high = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        change = numbers[low] != numbers[high]
        edge[low] |= change
        edge[high] |= change
    return np.where(numbers == 0, 0, np.where(edge, 1, 2)).astype(np.uint8)
