"""What a path holds, and the samples in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from juanji.data import archive, cifar, idx, masks, pictures, series, tiff
from juanji.data.readers import Parts, Reader
from juanji.data.samples import Samples
from juanji.errors import FileError

# the first that says yes reads the folder
FOLDERS: tuple[tuple[Callable[[Path], bool], Reader], ...] = (
    (idx.is_folder, Reader(idx.read_folder)),
    (cifar.is_folder, Reader(cifar.read_folder)),
    (masks.is_folder, Reader(masks.read_folder, ("size", "channels", "masks"))),
    (Path.is_dir, Reader(pictures.read_folder, ("size", "channels"))),
)
PARTS = (("train", "test"), ("train", "val"))  # sub-folders of a folder that is divided already


def _series(path: Path, **options: Any) -> Parts:
    return series.read_pair(path, **options) if path.name.endswith("_TRAIN.ts") else series.read(path, **options)


def _with_mask(path: Path, **options: Any) -> Samples:
    return masks.read_pairs([masks.pair_of(path)], **options)


FILES = {
    ".npz": Reader(archive.read, ("layout",)),
    ".ts": Reader(_series, ("pad", "missing")),
    **dict.fromkeys(tiff.SUFFIXES, Reader(_with_mask, ("masks",))),
}


def read(path: Path, options: dict[str, Any]) -> Parts:
    """The samples in a file or folder.

    Raises FileError if it holds nothing that is known.
    """
    if path.is_dir():
        return _folder(path, options)
    reader = FILES.get(path.suffix.lower())
    if reader is None:
        raise FileError(f"{path}: must be a folder or a file in {', '.join(FILES)}; of MNIST and CIFAR-10 name the folder")
    return reader(path, options)


def _folder(path: Path, options: dict[str, Any]) -> Parts:
    for names in PARTS:
        if all((path / name).is_dir() for name in names):
            return _divided(path / names[0], path / names[1], options)
    return _undivided(path)(path, options)


def _undivided(path: Path) -> Reader:
    return next(reader for is_kind, reader in FOLDERS if is_kind(path))


def _divided(first: Path, second: Path, options: dict[str, Any]) -> tuple[Samples, Samples]:
    train, test = (_undivided(part)(part, options) for part in (first, second))
    if not isinstance(train, Samples) or not isinstance(test, Samples):
        raise FileError(f"{first}: is divided into training and test samples itself; name it instead of {first.parent}")
    if train.classes != test.classes or train.x.shape[1] != test.x.shape[1] or train.x.dtype != test.x.dtype:
        raise FileError(f"{second}: has {test}, which does not fit {first.name}'s {train}")
    return train, test
