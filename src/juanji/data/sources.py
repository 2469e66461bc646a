"""Where the files of a named data set are: $JUANJI_DATA, the cache, or their official source.

Downloads are checked by SHA-256. The checksums of MNIST, Fashion-MNIST and CIFAR-10 are those that TensorFlow Datasets and others have
published since 2018; those of the series and the nuclei are of the files in the releases of aeon 1.3.0 and stardist 0.9.2, which the
addresses lead to as well.
"""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from juanji.data.reading import damaged
from juanji.errors import FileError, JuanjiError
from juanji.extras import optional
from juanji.jit import store

VARIABLE = "JUANJI_DATA"


@dataclass(frozen=True)
class Remote:
    """A file of a data set, and where it can be had."""

    name: str
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A data set: its folder and its files.

    is_there: whether a folder of the user's holds it, or a part of it.
    unpacked: the files to take out of the one archive that `remotes` then is.
    """

    folder: str
    remotes: tuple[Remote, ...]
    is_there: Callable[[Path], bool]
    unpacked: tuple[str, ...] = ()

    def is_whole(self, folder: Path) -> bool:
        """Whether a folder holds every file, as a download leaves them."""
        names = [Path(name).name for name in self.unpacked] or [remote.name for remote in self.remotes]
        return all((folder / name).is_file() for name in names)


def cache() -> Path:
    """The folder that downloads are kept in: `data` in the folder of compiled code."""
    return store.folder() / "data"


def find(name: str, source: Source, *, download: bool) -> Path:
    """The folder that holds the files of a data set; they are downloaded if they are nowhere and may be.

    Raises FileError naming the files, their address and where to put them if they cannot be had; ExtraError if pooch is missing.
    """
    own, kept = _own(source), cache() / source.folder
    if own is not None and source.is_there(own):
        return own
    if source.is_whole(kept):
        return kept
    if not download:
        looked = f"{own} nor in {kept}" if own is not None else str(kept)
        raise FileError(f"{name} is not in {looked}; download=True fetches it, or put the files of {source.remotes[0].urls[0]} there")
    for remote in source.remotes:
        _fetch(remote, kept, source)
    if source.unpacked:
        _unpack(kept / source.remotes[0].name, kept, source.unpacked)
    return kept


def _own(source: Source) -> Path | None:
    """The data set's folder in $JUANJI_DATA, if that is set."""
    root = os.environ.get(VARIABLE)
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileError(f"{root}: is no folder; set {VARIABLE} to the folder that holds {source.folder}, or unset it")
    return Path(root, source.folder)


def _fetch(remote: Remote, folder: Path, source: Source) -> None:
    """One file downloaded into a folder, from the first of its addresses that answers; a file that is there and right is kept."""
    try:
        pooch = optional("pooch", "data")
    except JuanjiError as error:
        other = f"or set {VARIABLE} to a folder with {source.folder}/{remote.name}"
        raise type(error)(f"{error}, to download {remote.urls[0]}; {other}") from None
    reasons = []
    for url in remote.urls:
        try:
            pooch.retrieve(url, known_hash=f"sha256:{remote.sha256}", fname=remote.name, path=folder)
        except Exception as error:  # what requests, urllib3, the file system and pooch raise has no common ancestor
            reasons.append(" ".join(str(error).split())[:200] or type(error).__name__)
        else:
            return
    raise FileError(
        f"{remote.name} could not be downloaded from {' or '.join(remote.urls)} ({'; '.join(reasons)});"
        f" fetch it by another way and put it into {folder}, or set {VARIABLE} to a folder with {source.folder}/{remote.name}"
    )


def _unpack(archive: Path, folder: Path, names: tuple[str, ...]) -> None:
    """The named files out of an archive, all of them or none, and the archive removed."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            with tarfile.open(archive) as tar:
                for name in names:
                    content = tar.extractfile(name)
                    if content is None:
                        raise damaged(archive, f"has {name} as something other than a file")
                    with content, open(Path(scratch, Path(name).name), "wb") as file:
                        shutil.copyfileobj(content, file)
        except (tarfile.TarError, KeyError, EOFError) as error:
            raise damaged(archive, f"does not hold {', '.join(names)} ({error})") from None
        except FileError:
            raise
        except OSError as error:
            raise FileError(f"{archive}: could not be unpacked ({error.strerror or error})") from error
        for name in names:
            os.replace(Path(scratch, Path(name).name), folder / Path(name).name)
    archive.unlink(missing_ok=True)
