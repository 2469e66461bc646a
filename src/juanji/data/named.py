"""The data sets that have a name: their files, official sources and checksums, and how they are read."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from juanji.data import cifar, idx, masks, series, sources
from juanji.data.readers import Parts, Reader
from juanji.data.samples import Samples
from juanji.data.sources import Remote, Source
from juanji.extras import optional

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
NUCLEI = ("background", "nucleus")


def _mnist(folder: str, addresses: tuple[str, ...], checksums: dict[str, str]) -> Source:
    remotes = tuple(Remote(name, checksum, tuple(f"{address}/{name}" for address in addresses)) for name, checksum in checksums.items())
    return Source(folder, remotes, idx.is_folder)


def _files(folder: str, address: str, checksums: dict[str, str]) -> Source:
    remotes = tuple(Remote(name, checksum, (f"{address}/{name}",)) for name, checksum in checksums.items())
    return Source(folder, remotes, lambda path: any((path / name).is_file() for name in checksums))


def _pair(mask: str, image: str, folder: Path, **options: Any) -> Samples:
    return masks.read_pairs([(folder / image, folder / mask)], classes=NUCLEI, **options)


AEON = "https://raw.githubusercontent.com/aeon-toolkit/aeon/v1.3.0/aeon/datasets/data"
STARDIST = "https://raw.githubusercontent.com/stardist/stardist/HEAD/stardist/data/images"

NAMED: dict[str, tuple[Source, Reader]] = {
    "mnist": (
        _mnist(
            "mnist",
            ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
            {
                "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            },
        ),
        Reader(partial(idx.read_folder, classes=DIGITS)),
    ),
    "fashion-mnist": (
        _mnist(
            "fashion-mnist",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
            {
                "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
        ),
        Reader(partial(idx.read_folder, classes=CLOTHES)),
    ),
    "cifar10": (
        Source(
            "cifar-10-batches-bin",
            (
                Remote(
                    "cifar-10-binary.tar.gz",
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                ),
            ),
            cifar.is_folder,
            tuple(f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")),
        ),
        Reader(cifar.read_folder),
    ),
    "nuclei": (
        _files(
            "nuclei",
            STARDIST,
            {
                "img2d.tif": "f9ccc1571b92c861ff87e28463068b43f61bd47357ed0503f711e5cd1eb97750",
                "mask2d.tif": "59ad5e820b7982ca9d13e946fa6e7f64e2714899e00a2ae6c69aa79aad53d46f",
            },
        ),
        Reader(partial(_pair, "mask2d.tif", "img2d.tif"), ("masks",)),
    ),
    "nuclei3d": (
        _files(
            "nuclei",
            STARDIST,
            {
                "img3d.tif": "f5626d500c7a738cd321698f43df36e2ac149d98456579c5cbcf8af48c7253e8",
                "mask3d.tif": "a2ff51b712941a90cf3a5628b11f04f5d7fa3f29c808c065d3be6ff938b215a1",
            },
        ),
        Reader(partial(_pair, "mask3d.tif", "img3d.tif"), ("masks",)),
    ),
    "gunpoint": (
        _files(
            "ucr",
            f"{AEON}/GunPoint",
            {
                "GunPoint_TRAIN.ts": "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5",
                "GunPoint_TEST.ts": "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e",
            },
        ),
        Reader(lambda folder: series.read_pair(folder / "GunPoint_TRAIN.ts")),
    ),
    "basicmotions": (
        _files(
            "ucr",
            f"{AEON}/BasicMotions",
            {
                "BasicMotions_TRAIN.ts": "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6",
                "BasicMotions_TEST.ts": "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc",
            },
        ),
        Reader(lambda folder: series.read_pair(folder / "BasicMotions_TRAIN.ts")),
    ),
}
NAMES = (*NAMED, "digits")  # the last comes with scikit-learn


def read(name: str, options: dict[str, Any], *, download: bool) -> Parts:
    """The samples of a named data set."""
    if name == "digits":
        return Reader(lambda _: _digits())(Path(name), options)
    source, reader = NAMED[name]
    reader.check(Path(name), options)  # before anything is downloaded
    return reader(sources.find(name, source, download=download), options)


def _digits() -> Samples:
    """The 1,797 handwritten digits of 8×8 pixels from 0 to 16 that scikit-learn brings."""
    found = optional("sklearn.datasets", "data").load_digits()
    return Samples(found.images.astype(np.uint8)[:, np.newaxis], found.target.astype(np.int64), DIGITS)
