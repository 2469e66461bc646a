"""Data sets: loaded by name or from files, augmented, and handed out in mini-batches."""

from juanji.data import archive, cifar, idx, pictures, series, tiff
from juanji.data.augment import Augmentation, Crop, Flip, Shift
from juanji.data.batches import Batches
from juanji.data.loading import load
from juanji.data.masks import borders, cut, patches
from juanji.data.named import NAMES
from juanji.data.samples import Samples

__all__ = [
    "NAMES",
    "Augmentation",
    "Batches",
    "Crop",
    "Flip",
    "Samples",
    "Shift",
    "archive",
    "borders",
    "cifar",
    "cut",
    "idx",
    "load",
    "patches",
    "pictures",
    "series",
    "tiff",
]
