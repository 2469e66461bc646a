"""`load`: a data set by its name, or what a path holds."""

import os
from pathlib import Path

from juanji.data import named, paths
from juanji.data.masks import cut
from juanji.data.samples import Samples
from juanji.errors import ArgumentError, FileError

FRACTION = 0.25  # of the samples, for the test, where the data come in one piece


def load(
    name_or_path: str | os.PathLike[str],
    *,
    download: bool = True,
    test_fraction: float | None = None,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    masks: str | None = None,
    pad: float | None = None,
    missing: float | None = None,
    layout: str | None = None,
) -> tuple[Samples, Samples]:
    """Training and test samples of a named data set or of files of your own.

    name_or_path: one of "mnist", "fashion-mnist", "cifar10", "digits", "nuclei", "nuclei3d", "gunpoint", "basicmotions"; or

        - a folder with one sub-folder of pictures for each class, or with image + mask pairs, or with such folders train and test;
        - a folder with the files of MNIST or the batches of CIFAR-10;
        - a .npz archive with x and y, or with x_train, y_train, x_test and y_test;
        - NAME_TRAIN.ts with NAME_TEST.ts beside it, or another .ts file;
        - a TIFF picture or volume with its mask beside it.

    download: whether a named data set may be fetched from its official source if it is neither in the folder $JUANJI_DATA nor in the
        cache.
    test_fraction: the part that becomes the test set where the data come in one piece, 0.25 unless said, drawn with `seed` as by
        `Samples.split`; of a single picture with its mask, the last part of its longest axis.
    size, channels: of pictures, see `pictures.read_folder`. masks: "binary" or "stored". pad, missing: of series, see `series.read`.
    layout: of .npz archives, see `archive.read`.

    Raises ArgumentError for an unknown name, or an option that these data have no use for; FileError for a file that is missing or
    damaged, saying what to do; ExtraError for an optional package that is needed and missing.
    """
    options = {"size": size, "channels": channels, "masks": masks, "pad": pad, "missing": missing, "layout": layout}
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(name_or_path, str) and name_or_path in named.NAMES:
        parts = named.read(name_or_path, given, download=download)
    else:
        parts = paths.read(_existing(name_or_path), given)
    if isinstance(parts, tuple):
        if test_fraction is not None:
            raise ArgumentError(f"test_fraction (={test_fraction!r}) has no meaning here: {name_or_path} comes with a test set of its own")
        return parts
    fraction = FRACTION if test_fraction is None else test_fraction
    return cut(parts, fraction) if len(parts) == 1 and parts.masked else parts.split(fraction, seed)


def _existing(name_or_path: str | os.PathLike[str]) -> Path:
    if not isinstance(name_or_path, str | os.PathLike):
        raise ArgumentError(f"name_or_path is of type {type(name_or_path).__name__}, but must be a name or a path")
    text = os.fspath(name_or_path)
    path = Path(text)
    if os.path.exists(text):
        return path
    if path.name == text and not path.suffix:
        raise ArgumentError(f"name_or_path (={text!r}) must be one of {', '.join(named.NAMES)}, or a file or folder that exists")
    raise FileError(f"{path}: no such file or folder")
