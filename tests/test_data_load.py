"""`jj.data.load`: names, paths, where files come from; `Samples`; and the real files, where they are there."""

import hashlib
import os
import sys
import tarfile
import threading
import types
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import juanji as jj
from compiled import run_python
from juanji.data import Samples, named, sources
from juanji.errors import ArgumentError, ExtraError, FileError, FormatError, ShapeError
from test_data_formats import GOOD, cifar_folder, digits_folder, npz, records, ts
from test_data_pictures import frames, image

REAL = os.environ.get("JUANJI_DATA", "")
real = pytest.mark.skipif(not Path(REAL, "mnist").is_dir(), reason="JUANJI_DATA names no folder with the real data sets")


# Samples


def test_samples_check_themselves() -> None:
    x = np.zeros((3, 1, 4, 5), np.uint8)
    with pytest.raises(ShapeError, match=r"x of shape \(3, 4\) must have at least 3 axes"):
        Samples(x[:, 0, :, 0], np.zeros(3))
    with pytest.raises(ShapeError, match=r"y of shape \(2,\) must have one entry for each of the 3 samples"):
        Samples(x, np.zeros(2, int))
    with pytest.raises(ArgumentError, match="y has class numbers from 0 to 2, but they must run from 0 to 1"):
        Samples(x, np.arange(3), ("a", "b"))
    with pytest.raises(ArgumentError, match=r"y has class numbers from -1 to 1, but they must run from 0$"):
        Samples(x, np.arange(3) - 1)


def test_samples_are_indexed_together() -> None:
    samples = Samples(np.arange(24).reshape(6, 1, 4), np.arange(6), tuple("abcdef"))
    for index in (slice(1, 5, 2), [3, 0, 3], np.array([True, False] * 3)):
        part = samples[index]
        np.testing.assert_array_equal(part.x[:, 0, 0], 4 * part.y)
        assert part.classes == samples.classes
    assert len(samples[2:4]) == 2
    with pytest.raises(ArgumentError, match=r"index .=2. must be a slice or an array; \[2:3\] has one sample"):
        samples[2]
    shuffled = samples.shuffled(seed=3)
    assert sorted(shuffled.y) == list(range(6))
    np.testing.assert_array_equal(shuffled.y, samples.shuffled(seed=3).y)
    assert shuffled.y.tolist() != samples.y.tolist()


def test_samples_print_one_line() -> None:
    x = np.zeros((1, 3, 4), np.float32)
    assert repr(Samples(x, np.array([4]))) == "1 sample of float32 (3, 4); class numbers up to 4"
    assert repr(Samples(x, np.array([[0.5, 1]]))) == "1 sample of float32 (3, 4); targets of float64 (2,)"
    assert repr(Samples(x, np.zeros((1, 4), np.uint8), ("no", "yes"))) == "1 sample of float32 (3, 4); 2 classes at every pixel: no, yes"
    many = Samples(np.zeros((1200, 1, 1)), np.zeros(1200, int), tuple(map(str, range(100))))
    assert repr(many) == "1,200 samples of float64 (1, 1); 100 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, …"


@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_split_parts_and_shares_out_classes(labels: list[int], fraction: float, seed: int) -> None:
    y = np.array(labels)
    samples = Samples(np.arange(len(y)).reshape(-1, 1, 1), y)
    if not 0 < round(fraction * len(y)) < len(y):
        with pytest.raises(ArgumentError, match="must leave at least one"):
            samples.split(fraction, seed)
        return
    first, second = samples.split(fraction, seed)
    assert len(second) == round(fraction * len(y))
    np.testing.assert_array_equal(np.sort(np.concatenate([first.x, second.x]), axis=0), samples.x)
    assert (np.diff(second.x.ravel()) > 0).all()
    share = len(second) / len(y)
    assert (np.abs(np.bincount(second.y, minlength=4) - share * np.bincount(y, minlength=4)) < 1).all()


# names and paths


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"name_or_path .='mnits'. must be one of mnist, fashion-mnist, cifar10, .*digits, or a file or folder"
    ):
        jj.data.load("mnits")
    with pytest.raises(ArgumentError, match=r"name_or_path .=''. must be one of"):
        jj.data.load("")
    with pytest.raises(ArgumentError, match="name_or_path is of type int"):
        jj.data.load(3)  # type: ignore[arg-type]
    with pytest.raises(FileError, match=r"nothing\.npz: no such file or folder"):
        jj.data.load(tmp_path / "nothing.npz")
    (tmp_path / "a.txt").touch()
    with pytest.raises(
        FileError, match=r"a\.txt: must be a folder or a file in \.npz, \.ts, \.tif, \.tiff; of MNIST and CIFAR-10 name the folder"
    ):
        jj.data.load(tmp_path / "a.txt")


def test_every_kind_of_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(tmp_path / "idx")
    train, test = jj.data.load(tmp_path / "idx")
    assert (len(train), len(test)) == (6, 3)
    cifar_folder(tmp_path / "cifar", [1, 2])
    assert [len(part) for part in jj.data.load(str(tmp_path / "cifar"))] == [4, 2]
    npz(tmp_path / "a.npz", x=np.zeros((8, 2, 5), np.uint8), y=[0, 1] * 4)
    train, test = jj.data.load(tmp_path / "a.npz", layout="channels_last", test_fraction=0.5, seed=3)
    assert train.x.shape == (4, 5, 2)
    assert test.y.tolist().count(1) == 2
    ts(tmp_path, GOOD, "A_TRAIN.ts")
    ts(tmp_path, GOOD, "A_TEST.ts")
    assert [len(part) for part in jj.data.load(tmp_path / "A_TRAIN.ts", pad=0)] == [2, 2]
    assert [len(part) for part in jj.data.load(tmp_path / "A_TEST.ts", test_fraction=0.5)] == [1, 1]
    frames(tmp_path / "img.tif", np.zeros((9, 4, 5), np.uint8))
    frames(tmp_path / "mask.tif", np.ones((9, 4, 5), np.uint8))
    train, test = jj.data.load(tmp_path / "img.tif", test_fraction=1 / 3)
    assert (train.y.shape, test.x.shape) == ((1, 6, 4, 5), (1, 1, 3, 4, 5))
    monkeypatch.chdir(tmp_path)
    assert len(jj.data.load("idx")[0]) == 6  # a folder whose name is no data set's


def test_folders_divided_already(tmp_path: Path) -> None:
    for part, names in (("train", ("a", "b")), ("test", ("a", "b"))):
        for name in names:
            for i in range(2):
                image(tmp_path / "p" / part / name / f"{i}.png", (4, 5))
    train, test = jj.data.load(tmp_path / "p", size=3, channels=3)
    assert train.x.shape == test.x.shape == (4, 3, 3, 3)
    train, test = jj.data.load(tmp_path / "p" / "train")  # in one piece
    assert (len(train), len(test)) == (3, 1)
    image(tmp_path / "p" / "test" / "c" / "1.png", (4, 5))
    with pytest.raises(FileError, match=r"test: has 5 samples of .* which does not fit train's 4 samples"):
        jj.data.load(tmp_path / "p")
    (tmp_path / "q").mkdir()
    for part in ("train", "test"):
        digits_folder(tmp_path / "q" / part)
    with pytest.raises(FileError, match="train: is divided into training and test samples itself"):
        jj.data.load(tmp_path / "q")


def test_options_without_a_use(tmp_path: Path) -> None:
    digits_folder(tmp_path / "idx")
    with pytest.raises(ArgumentError, match=r"size .=3. has no meaning for .*idx, which takes no options"):
        jj.data.load(tmp_path / "idx", size=3)
    with pytest.raises(ArgumentError, match=r"layout .='x'. has no meaning for nuclei, which takes masks"):
        jj.data.load("nuclei", layout="x")
    with pytest.raises(ArgumentError, match=r"test_fraction .=0.5. has no meaning here"):
        jj.data.load(tmp_path / "idx", test_fraction=0.5)


# where files come from


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data anywhere, and an empty cache in this folder."""
    monkeypatch.delenv("JUANJI_DATA", raising=False)
    monkeypatch.setenv("JUANJI_CACHE_DIR", str(tmp_path))
    return tmp_path


def pooch_that(monkeypatch: pytest.MonkeyPatch, retrieve: Callable[..., None]) -> list[str]:
    """A stand-in for pooch, whose downloads are `retrieve`; gives the addresses that are asked."""
    asked: list[str] = []

    def record(url: str, known_hash: str, fname: str, path: Path) -> None:
        assert known_hash.startswith("sha256:")
        assert len(known_hash) == 7 + 64
        asked.append(url)
        path.mkdir(parents=True, exist_ok=True)
        retrieve(url, path / fname)

    module: Any = types.ModuleType("pooch")
    module.retrieve = record
    monkeypatch.setitem(sys.modules, "pooch", module)
    return asked


def test_the_folder_then_the_cache_then_a_download(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, path: Path) -> None:
        raise OSError("no route\nto host")

    asked = pooch_that(monkeypatch, fail)
    with pytest.raises(FileError) as caught:
        jj.data.load("mnist")
    first, second = named.NAMED["mnist"][0].remotes[0].urls
    assert asked == [first, second]
    message = str(caught.value)
    assert f"train-images-idx3-ubyte.gz could not be downloaded from {first} or {second} (no route to host; no route to host)" in message
    assert f"put it into {nowhere / 'data' / 'mnist'}, or set JUANJI_DATA to a folder with mnist/train-images-idx3-ubyte.gz" in message
    with pytest.raises(FileError, match=r"mnist is not in .*data.mnist; download=True fetches it, or put the files of https"):
        jj.data.load("mnist", download=False)
    (nowhere / "data").mkdir(exist_ok=True)
    (nowhere / "data" / "mnist").rmdir()
    digits_folder(nowhere / "data" / "mnist", gz=".gz", train=4)
    assert len(jj.data.load("mnist", download=False)[0]) == 4
    (nowhere / "mine").mkdir()
    digits_folder(nowhere / "mine" / "mnist", train=5)
    monkeypatch.setenv("JUANJI_DATA", str(nowhere / "mine"))
    train, _ = jj.data.load("mnist", download=False)
    assert len(train) == 5
    assert train.classes == tuple("0123456789")
    assert len(asked) == 2


def test_a_download_is_kept(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(url: str, path: Path) -> None:
        path.write_text(GOOD.replace("up down", "up down left right"))

    asked = pooch_that(monkeypatch, give)
    assert jj.data.load("basicmotions")[0].x.shape == (2, 2, 3)
    assert len(asked) == 2
    jj.data.load("basicmotions", download=False)
    assert len(asked) == 2


def test_a_download_that_broke_off_goes_on(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(nowhere / "there", gz=".gz")
    broken = True

    def give(url: str, path: Path) -> None:
        if broken and "labels" in url:
            raise OSError("no route to host")
        path.write_bytes((nowhere / "there" / path.name).read_bytes())

    pooch_that(monkeypatch, give)
    with pytest.raises(FileError, match=r"train-labels-idx1-ubyte\.gz could not be downloaded"):
        jj.data.load("mnist")
    broken = False
    assert [len(part) for part in jj.data.load("mnist")] == [6, 3]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which this machine serves it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    handler = partial(SilentHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_pooch_fetches_checks_and_goes_to_the_next_address(nowhere: Path, served: tuple[Path, str]) -> None:
    """The real one, over HTTP: a mirror that is gone, a file that was tampered with, and one that is right."""
    pytest.importorskip("pooch")
    folder, address = served
    content = b"the right bytes"
    (folder / "good.bin").write_bytes(content)
    (folder / "bad.bin").write_bytes(b"other bytes")
    checksum = hashlib.sha256(content).hexdigest()

    def source(*names: str) -> sources.Source:
        remote = sources.Remote("file.bin", checksum, tuple(f"{address}/{name}" for name in names))
        return sources.Source("set", (remote,), lambda folder: False)

    with pytest.raises(FileError, match=r"file\.bin could not be downloaded from .*gone\.bin or .*bad\.bin \(.*404.*hash"):
        sources.find("set", source("gone.bin", "bad.bin"), download=True)
    assert not (nowhere / "data" / "set" / "file.bin").exists()
    found = sources.find("set", source("gone.bin", "bad.bin", "good.bin"), download=True)
    assert (found / "file.bin").read_bytes() == content
    (folder / "good.bin").unlink()
    assert sources.find("set", source("good.bin"), download=False) == found


def test_an_archive_is_unpacked(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar_folder(nowhere / "cifar-10-batches-bin", [1, 2, 3, 4, 5])
    (nowhere / "cifar-10-batches-bin" / "readme.html").touch()
    archives = []

    def give(url: str, path: Path) -> None:
        with tarfile.open(path, "w:gz") as tar:
            tar.add(nowhere / "cifar-10-batches-bin", "cifar-10-batches-bin")
        archives.append(path)

    pooch_that(monkeypatch, give)
    train, test = jj.data.load("cifar10")
    assert (len(train), len(test)) == (10, 2)
    folder = nowhere / "data" / "cifar-10-batches-bin"
    assert sorted(file.name for file in folder.iterdir()) == [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]

    for file in folder.iterdir():
        file.unlink()
    (nowhere / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(FormatError, match=r"binary\.tar\.gz: does not hold .*data_batch_3"):
        jj.data.load("cifar10")
    assert [file.name for file in folder.iterdir()] == ["cifar-10-binary.tar.gz"]  # none of the parts


def test_packages_that_are_missing(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        ExtraError, match=r"pooch is not installed; pip install 'juanji\[data\]' brings it, to download http.*; or set JUANJI_DATA to"
    ):
        jj.data.load("fashion-mnist")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ExtraError, match=r"sklearn is not installed; pip install 'juanji\[data\]' brings it"):
        jj.data.load("digits")


def test_a_part_that_is_missing_is_named(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(nowhere / "mnist")
    (nowhere / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setenv("JUANJI_DATA", str(nowhere))
    with pytest.raises(FileError, match=r"mnist.t10k-labels-idx1-ubyte\.gz: no such file, packed or plain; put it there"):
        jj.data.load("mnist")
    with open(nowhere / "mnist" / "t10k-labels-idx1-ubyte", "wb") as file:
        file.write(b"\0\0\x08\1\0\0\0\3\0\1\x0a")
    with pytest.raises(FormatError, match="has labels from 0 to 10, but they must run from 0 to 9"):
        jj.data.load("mnist")
    monkeypatch.setenv("JUANJI_DATA", str(nowhere / "nowhere"))
    with pytest.raises(FileError, match="nowhere: is no folder; set JUANJI_DATA to the folder that holds mnist, or unset it"):
        jj.data.load("mnist")


def test_pooch_itself_checks(tmp_path: Path) -> None:
    """What `sources` asks of pooch is what pooch does: a file whose checksum is right stays, and a wrong one is refused."""
    pytest.importorskip("pooch", reason="the extra data is not installed")
    content = records(np.zeros((1, 3072), np.uint8), [1])
    (tmp_path / "file").write_bytes(content)
    right = sources.Remote("file", hashlib.sha256(content).hexdigest(), ("http://localhost:9/file",))
    source = sources.Source("folder", (right,), lambda path: False)
    sources._fetch(right, tmp_path, source)
    wrong = sources.Remote("file", "0" * 64, ("http://localhost:9/file",))
    with pytest.raises(FileError, match="file could not be downloaded from http://localhost:9/file"):
        sources._fetch(wrong, tmp_path, source)


def test_checksums_are_of_the_form() -> None:
    for source, _ in named.NAMED.values():
        for remote in source.remotes:
            assert len(remote.sha256) == 64
            assert int(remote.sha256, 16)
            assert all(url.endswith(f"/{remote.name}") for url in remote.urls)


def test_importing_is_light() -> None:
    code = "import sys, juanji as jj; jj.data.load; print(sorted({'PIL', 'pooch', 'sklearn', 'tifffile', 'llvmlite'} & sys.modules.keys()))"
    assert run_python(code).strip() == "[]"


# the real files


def digest(*arrays: Any) -> str:
    """The start of a SHA-256; those below were taken of the files with np.fromfile, tifffile and np.fromstring instead of these readers."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:16]


@real
def test_real_mnist() -> None:
    """The pixels and labels are the official ones: SHA-256 of the unpacked files, without their headers, is known."""
    train, test = jj.data.load("mnist", download=False)
    assert train.x.shape == (60000, 1, 28, 28)
    assert test.x.shape == (10000, 1, 28, 28)
    assert train.x.dtype == np.uint8
    assert np.bincount(train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    header = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")
    whole = hashlib.sha256(header + train.x.tobytes()).hexdigest()
    assert whole == "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"  # of train-images-idx3-ubyte, unpacked


@real
def test_real_pictures_in_colour() -> None:
    train, test = jj.data.load("cifar10", download=False)
    assert train.x.shape[1:] == test.x.shape[1:] == (3, 32, 32)
    if len(train) == 10_000:  # the sample, not the whole of CIFAR-10
        assert np.bincount(train.y).tolist() == [1000] * 10
        assert np.bincount(test.y).tolist() == [200] * 10
        assert (digest(train.x, train.y), digest(test.x, test.y)) == ("07add0909d1be2c7", "396b1b27325a4561")


@real
def test_real_nuclei() -> None:
    train, test = jj.data.load("nuclei", download=False)
    assert train.x.shape == (1, 1, 384, 512)
    assert test.y.shape == (1, 128, 512)
    assert train.x.dtype == np.uint16
    assert train.classes == ("background", "nucleus")
    objects = np.concatenate([part.y for part in jj.data.load("nuclei", download=False, masks="stored")], 1)
    assert len(np.unique(objects)) == 126
    np.testing.assert_array_equal(objects > 0, np.concatenate([train.y, test.y], 1))
    assert digest(np.concatenate([train.x, test.x], 2), objects) == "34e5550a939b2ffa"
    volume, rest = jj.data.load("nuclei3d", download=False, masks="stored")
    assert volume.x.shape == (1, 1, 31, 46, 57)
    together = np.concatenate([volume.y, rest.y], 2)
    assert len(np.unique(together)) == 52
    assert digest(np.concatenate([volume.x, rest.x], 3), together) == "ed1c89abf24e831f"


@real
@pytest.mark.parametrize(
    ("name", "counts", "shape", "classes", "known"),
    [
        ("gunpoint", ([24, 26], [76, 74]), (1, 150), ("1", "2"), "fdb77b297c3e263a"),
        ("basicmotions", ([10] * 4, [10] * 4), (6, 100), ("Standing", "Running", "Walking", "Badminton"), "d2412814626718c3"),
    ],
)
def test_real_series(name: str, counts: tuple[list[int], list[int]], shape: tuple[int, int], classes: tuple[str, ...], known: str) -> None:
    parts = jj.data.load(name, download=False)
    for part, count in zip(parts, counts, strict=True):
        assert part.x.shape[1:] == shape
        assert np.bincount(part.y).tolist() == count
        assert part.classes == classes
    assert digest(*(array for part in parts for array in (part.x, part.y))) == known


def test_real_digits() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    train, test = jj.data.load("digits")
    assert len(train) + len(test) == 1797
    assert train.x.shape[1:] == (1, 8, 8)
    assert train.x.max() == 16
    assert np.ptp(np.bincount(test.y)) <= 3
