"""The readers of data files: small files written here, whole, damaged at every place, and mutated at random."""

import gzip
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import damages
from juanji import pickles
from juanji.data import archive, cifar, idx, series
from juanji.data.reading import DEFLATE
from juanji.data.samples import Samples
from juanji.errors import ArgumentError, FileError, FormatError

Array = npt.NDArray[Any]
CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(array: Array, code: int | None = None) -> bytes:
    """An IDX file, as its description says."""
    big = array.astype(array.dtype.newbyteorder(">")) if array.dtype.itemsize > 1 else array
    kind = code if code is not None else CODES[big.dtype.str.replace("|", "")]
    return struct.pack(f">2xBB{array.ndim}I", kind, array.ndim, *array.shape) + big.tobytes()


def check_line(error: FileError, path: Path) -> None:
    """The message is one line that starts with the file."""
    assert str(error).startswith(f"{path}: ")
    assert "\n" not in str(error)


def refused(read: Callable[[Path], object], path: Path, data: bytes) -> str:
    """The one line that a damaged file is refused with; no more memory is taken than a small file may."""
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(FileError) as caught:
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    check_line(caught.value, path)
    assert peak < 100 * len(data) + (1 << 20)
    return str(caught.value)


def read_or_refused(read: Callable[[Path], object], path: Path, data: bytes) -> None:
    """A mutated file is read, or refused in one line."""
    path.write_bytes(data)
    try:
        read(path)
    except FileError as error:
        check_line(error, path)


# IDX


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", CODES)
def test_idx_holds_every_type(tmp_path: Path, dtype: str, packed: bool) -> None:
    array = np.random.default_rng(0).integers(-100, 100, (3, 4, 5)).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    found = idx.read(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.dtype.isnative


@pytest.mark.parametrize("packed", [False, True])
def test_idx_cut_at_every_byte(tmp_path: Path, packed: bool) -> None:
    whole = idx_bytes(np.random.default_rng(0).integers(0, 255, (2, 3, 4)).astype(np.uint8))
    whole = gzip.compress(whole) if packed else whole
    for length in range(len(whole)):
        refused(idx.read, tmp_path / "cut", whole[:length])
    message = refused(idx.read, tmp_path / "long", whole + b"\1" * 9)
    assert "goes on after the 24 bytes" in message or "compressed data are wrong" in message


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\0\1\x08\1\0\0\0\1\5", "starts with 00 01 08 01"),
        (b"\0\0\x0a\1\0\0\0\1\5", "a type from 08 to 0e"),
        (b"\0\0\x08\0\5", "claims 0 axes"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\5", "claims 255 axes"),
        (b"\0\0\x08\2\0\0\0\0\0\0\0\1", "is empty"),
        (b"\0\0\x0e\3" + b"\xff" * 12 + b"\5", "too short to hold"),
        (b"\0\0\x08\1\0\0\0\x20\5", "32 bytes, which it is too short to hold"),
        (gzip.compress(b"\0\0\x08\2\0\x0f\x42\x40\0\x0f\x42\x40\5", mtime=0), "1,000,000,000,000 bytes, which it is too short to hold"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\x10" + bytes(50_000_000), mtime=0), "goes on after the 16 bytes"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\2\1\2", mtime=0)[:-6] + b"123456", "compressed data are wrong"),
    ],
)
def test_idx_headers_that_lie(tmp_path: Path, data: bytes, rule: str) -> None:
    assert rule in refused(idx.read, tmp_path / "lie", data)


def test_deflate_never_unfolds_more_than_the_limit() -> None:
    assert len(gzip.compress(bytes(1 << 24))) * DEFLATE > 1 << 24


@given(st.data())
def test_idx_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = idx_bytes(np.arange(60, dtype=data.draw(st.sampled_from(["u1", ">i4", ">f8"]))).reshape(3, 4, 5))
    whole = data.draw(st.sampled_from([whole, gzip.compress(whole)]))
    read_or_refused(idx.read, tmp_path_factory.getbasetemp() / "mutated.idx", data.draw(damages(whole)))


def digits_folder(folder: Path, dot: str = "-", gz: str = "", train: int = 6, test: int = 3) -> None:
    """A folder like MNIST's."""
    folder.mkdir()
    for part, count in (("train", train), ("t10k", test)):
        images = np.arange(count * 20, dtype=np.uint8).reshape(count, 4, 5)
        for name, axes, array in (("images", 3, images), ("labels", 1, np.arange(count, dtype=np.uint8))):
            content = idx_bytes(array)
            (folder / f"{part}-{name}{dot}idx{axes}-ubyte{gz}").write_bytes(gzip.compress(content) if gz else content)


@pytest.mark.parametrize(("dot", "gz"), [("-", ".gz"), ("-", ""), (".", "")])
def test_idx_folder(tmp_path: Path, dot: str, gz: str) -> None:
    digits_folder(tmp_path / "digits", dot, gz)
    train, test = idx.read_folder(tmp_path / "digits", tuple("0123456789"))
    assert train.x.shape == (6, 1, 4, 5)
    assert test.x[2, 0, 3, 4] == 59
    assert train.y.dtype == np.int64
    np.testing.assert_array_equal(test.y, [0, 1, 2])


def test_idx_folder_that_does_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    digits_folder(folder)
    labels = folder / "train-labels-idx1-ubyte"
    with pytest.raises(FormatError, match="train-labels-idx1-ubyte: has labels from 0 to 5, but they must run from 0 to 2"):
        idx.read_folder(folder, ("a", "b", "c"))
    labels.write_bytes(idx_bytes(np.arange(5, dtype=np.uint8)))
    with pytest.raises(FormatError, match="must have a class number for each of 6 pictures"):
        idx.read_folder(folder)
    labels.unlink()
    with pytest.raises(FileError, match=r"train-labels-idx1-ubyte\.gz: no such file, packed or plain; put it there"):
        idx.read_folder(folder)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        idx.read(tmp_path / "nothing")
    with pytest.raises(FileError, match="is a folder"):
        idx.read(tmp_path)
    with pytest.raises(FileError, match="could not be read"):
        idx.read("a\0b")
    with pytest.raises(FileError, match="not a regular file"):
        idx.read("/dev/null")


# CIFAR-10


def pictures(count: int) -> Array:
    return np.random.default_rng(count).integers(0, 256, (count, 3072)).astype(np.uint8)


def records(planes: Array, labels: list[int]) -> bytes:
    return b"".join(bytes([label]) + plane.tobytes() for label, plane in zip(labels, planes, strict=True))


def python_2_pickle(planes: Array, labels: list[int]) -> bytes:
    """The words of the official batches: protocol 2 by Python 2, whose strings are bytes."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    content = planes.tobytes()
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87RK\3" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    dtype = dtype.replace(b"K\3" + text(b"|"), b"(K\3" + text(b"|"))
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\1cnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    array += b"(K\1" + b"M" + struct.pack("<H", len(planes)) + b"M" + struct.pack("<H", 3072) + b"\x86" + dtype
    array += b"\x89T" + struct.pack("<I", len(content)) + content + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items = text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + numbers + text(b"data") + array
    return b"\x80\2}(" + items + b"u."


def test_cifar_binary(tmp_path: Path) -> None:
    planes, labels = pictures(4), [9, 0, 3, 3]
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(records(planes, labels))
    found = cifar.read(path)
    np.testing.assert_array_equal(found.x, planes.reshape(4, 3, 32, 32))
    np.testing.assert_array_equal(found.y, labels)
    assert found.classes == cifar.CLASSES
    assert "has 12,291 bytes" in refused(cifar.read, path, records(planes, labels)[:-1])
    assert "has 0 bytes" in refused(cifar.read, path, b"")
    assert "labels from 0 to 10" in refused(cifar.read, path, records(planes, [0, 1, 10, 2]))


@pytest.mark.parametrize("protocol", ["Python 2", 0, 1, 2, 3, 4])
def test_cifar_pickles(tmp_path: Path, protocol: str | int) -> None:
    planes, labels = pictures(3), [7, 0, 9]
    path = tmp_path / "data_batch_1"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps({"labels": labels, "data": planes}, protocol))
    else:
        path.write_bytes(python_2_pickle(planes, labels))
        known = pickle.loads(path.read_bytes(), encoding="bytes")  # Python's own reading of this file of ours
        np.testing.assert_array_equal(known[b"data"], planes)
    found = cifar.read(path)
    np.testing.assert_array_equal(found.x.reshape(3, 3072), planes)
    np.testing.assert_array_equal(found.y, labels)


class Evil:
    """Runs code when Python unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_run_no_code(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    for content in (Evil(mark), {"data": Evil(mark), "labels": [1]}, {"labels": [Evil(mark)], "data": pictures(1)}):
        data = pickle.dumps(content, protocol)
        refused(cifar.read, tmp_path / "data_batch_1", data)
        assert not mark.exists()
    pickle.loads(pickle.dumps(Evil(mark)))
    assert mark.exists()  # it would have


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (pickle.dumps([1, 2], 2), "holds a list"),
        (pickle.dumps({"labels": [1]}, 2), "must hold data"),
        (pickle.dumps({"data": pictures(2), "labels": [1]}, 2), "a list of 2 labels"),
        (pickle.dumps({"data": pictures(1), "labels": [True]}, 2), "a list of 1 labels"),
        (pickle.dumps({"data": pictures(1), "labels": [10]}, 2), "labels from 10 to 10"),
        (pickle.dumps({"data": pictures(1), "labels": [-1]}, 2), "labels from -1 to -1"),
        (pickle.dumps({"data": pictures(1), "labels": [1 << 30]}, 2), "labels from 1073741824 to 1073741824"),
        (pickle.dumps({"data": pictures(1).astype(np.int8), "labels": [1]}, 2), "unsigned bytes"),
        (pickle.dumps({"data": pictures(1)[:, :5], "labels": [1]}, 2), "unsigned bytes"),
        (pickle.dumps({"data": np.asfortranarray(pictures(2)), "labels": [1, 1]}, 2), "unsigned bytes"),
        (b"\x80\2r\xff\xff\xff\x7f.", "takes from an empty stack"),
        (b"\x80\2Nr\xff\xff\xff\x7f.", "holds a NoneType"),
        (b"\x80\2T\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
        (b"\x80\2" + b"(" * 100_000 + b".", "takes from an empty stack"),
        (b")" + b"\x85" * 20_000 + b"N\x86.", "holds a tuple"),
        (b"})" + b"\x85" * 20_000 + b"Ns.", "has a key that is a tuple"),
        (b"", "is no pickle, or ends in the middle"),
        (b"\x80\2ccopyreg\n_reconstructor\n.", "asks for 'copyreg._reconstructor'"),
        (b"\x80\2c__builtin__\neval\nU\1x\x85R}b.", "asks for '__builtin__.eval'"),
        (b"\x80\2]}b.", "BUILD for a list"),
        (b"\x80\2(i__builtin__\neval\n.", "the opcode INST"),
    ],
)
def test_pickles_that_are_no_batch(tmp_path: Path, data: bytes, rule: str) -> None:
    assert rule in refused(cifar.read, tmp_path / "data_batch_1", data)


def test_pickle_cut_at_every_byte(tmp_path: Path) -> None:
    whole = python_2_pickle(pictures(1), [3])
    for length in (*range(200), *range(len(whole) - 200, len(whole))):
        refused(cifar.read, tmp_path / "cut", whole[:length])


@given(st.data())
def test_cifar_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = {"labels": [1, 2], "data": pictures(2)}
    whole = data.draw(st.sampled_from([python_2_pickle(pictures(2), [1, 2]), pickle.dumps(content, 4), pickle.dumps(content, 0)]))
    read_or_refused(cifar.read, tmp_path_factory.getbasetemp() / "mutated", data.draw(damages(whole)))


LEAVES = st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text() | st.floats(allow_nan=False)
PLAIN = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner))


@given(PLAIN, st.integers(1, 4))
def test_pickles_of_plain_data(value: object, protocol: int) -> None:
    assert pickles.load(io.BytesIO(pickle.dumps(value, protocol)), {}, frozenset()) == value


def cifar_folder(folder: Path, batches: list[int], suffix: str = ".bin") -> None:
    """A folder like CIFAR's; every picture of a batch is filled with the batch's number."""
    folder.mkdir()
    for name, number in [*((f"data_batch_{number}", number) for number in batches), ("test_batch", 0)]:
        planes = np.full((2, 3072), number, np.uint8)
        content = records(planes, [1, 2]) if suffix else python_2_pickle(planes, [1, 2])
        (folder / f"{name}{suffix}").write_bytes(content)


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_cifar_folder(tmp_path: Path, suffix: str) -> None:
    cifar_folder(tmp_path / "batches", [10, 2, 1], suffix)
    train, test = cifar.read_folder(tmp_path / "batches")
    assert train.x[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 10, 10]
    assert len(test) == 2
    (tmp_path / "batches" / f"test_batch{suffix}").unlink()
    with pytest.raises(FileError, match=rf"test_batch{suffix}: no such file"):
        cifar.read_folder(tmp_path / "batches")
    with pytest.raises(FileError, match=r"data_batch_1\.bin: no such file; put the batches there"):
        cifar.read_folder(tmp_path)


# .ts series

GOOD = """# a remark
@problemName Small
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength true
@seriesLength 3
@classLabel true up down
@data
1,2,3:4,5,6:down
-1.5,2e1,0:0,0,0:up
"""


def ts(tmp_path: Path, text: str, name: str = "small.ts") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_series(tmp_path: Path) -> None:
    found = series.read(ts(tmp_path, GOOD))
    np.testing.assert_array_equal(found.x, np.array([[[1, 2, 3], [4, 5, 6]], [[-1.5, 20, 0], [0, 0, 0]]], np.float32))
    assert found.x.dtype == np.float32
    assert found.y.tolist() == [1, 0]
    assert found.classes == ("up", "down")
    assert series.read(ts(tmp_path, GOOD.replace("\n", "\r\n").replace("@data", "@DATA\n"))).y.tolist() == [1, 0]


def test_series_with_numbers_to_regress(tmp_path: Path) -> None:
    found = series.read(ts(tmp_path, "@univariate true\n@classLabel false\n@targetLabel true\n@data\n1,2:0.5\n3,4:-2\n"))
    assert found.y.dtype == np.float64
    assert found.y.tolist() == [0.5, -2.0]
    assert found.classes is None


def test_series_of_unequal_lengths_and_with_gaps(tmp_path: Path) -> None:
    path = ts(tmp_path, "@univariate true\n@seriesLength 0\n@classLabel true a b\n@data\n1,2,3:a\n4:b\n")
    with pytest.raises(FileError, match=r"small\.ts: has series of 1 to 3 values; pad=0\.0 or another number"):
        series.read(path)
    np.testing.assert_array_equal(series.read(path, pad=-1).x, [[[1, 2, 3]], [[4, -1, -1]]])
    path = ts(tmp_path, "@univariate true\n@classLabel true a b\n@data\n1,?,3:a\n4,5,NaN:b\n")
    with pytest.raises(FileError, match=r"line 4 has 1 missing value; missing=0\.0"):
        series.read(path)
    np.testing.assert_array_equal(series.read(path, missing=9).x, [[[1, 9, 3]], [[4, 5, 9]]])
    assert np.isnan(series.read(path, missing=float("nan")).x).sum() == 2
    many = "".join(f"{i}:a\n" for i in range(40_000)) + ",".join(["1"] * 40_000) + ":a\n"
    path = ts(tmp_path, f"@univariate true\n@classLabel true a b\n@data\n{many}")
    with pytest.raises(FileError, match="would take 6,400,160,000 bytes; cut the longest series"):
        series.read(path, pad=0)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("@data", "", "line 11 starts with '1,2,3:4,5,6:down'"),
        ("@timeStamps false", "@timeStamps true", "has time stamps"),
        ("@timeStamps false", "@timeStamps maybe", "line 3: @timestamps must say true or false"),
        ("@timeStamps false", "@timeStamps", "line 3: @timestamps must say true or false"),
        ("@classLabel true up down", "@classLabel true", "line 9: @classlabel must name each class once"),
        ("@classLabel true up down", "@classLabel true up up", "line 9: @classlabel must name each class once"),
        ("@classLabel true up down", "@classLabel false", "has neither @classLabel true nor @targetLabel true"),
        ("@dimensions 2", "@dimensions two", "line 6: @dimensions must be followed by a number"),
        ("@dimensions 2", "@dimensions 9999999999", "line 6: @dimensions must be followed by a number"),
        ("@dimensions 2", "@dimensions 3", "line 11 has 2 channels and a target, but must have 3"),
        ("@univariate false", "@univariate true\n@dimensions 1\n", "has 2 channels"),
        ("@seriesLength 3", "@seriesLength 4", "has series of length 3, but @seriesLength says 4"),
        (":down", ":sideways", "line 11 is of class 'sideways'"),
        (":down", "", "line 11 has 1 channel and a target, but must have 2"),
        ("4,5,6", "4,5,x", "line 11: could not convert string to float"),
        ("4,5,6", "", "line 11: could not convert string to float"),
        ("4,5,6", "4,5,1e99", "line 11 has 1e+99, which float32 cannot hold"),
        ("1,2,3:4,5,6:down\n-1.5,2e1,0:0,0,0:up\n", "", "has no cases after @data"),
        ("4,5,6", "4,5,6,7", "has series of length 4, but @seriesLength says 3"),
    ],
)
def test_series_that_break_the_format(tmp_path: Path, old: str, new: str, rule: str) -> None:
    text = GOOD.replace(old, new, 1)
    if "@dimensions 1" in new:
        text = text.replace("@dimensions 2\n", "")
    assert rule in refused(series.read, tmp_path / "bad.ts", text.encode())


def test_series_cut_at_every_byte(tmp_path: Path) -> None:
    """What is left is refused, unless the cut leaves a whole line; a case more or less is not seen."""
    for length in range(len(GOOD) - 2):
        path = tmp_path / "cut.ts"
        path.write_bytes(GOOD.encode()[:length])
        try:
            found = series.read(path)
        except FileError as error:
            check_line(error, path)
        else:
            assert len(found) == 1
    assert "is no UTF-8 text" in refused(series.read, tmp_path / "cut.ts", b"@problemName \xff\n")


@given(st.data())
def test_series_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.ts"
    read_or_refused(lambda file: series.read(file, pad=0, missing=0), path, data.draw(damages(GOOD.encode())))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.data())
@settings(max_examples=30)
def test_series_are_what_was_written(tmp_path_factory: pytest.TempPathFactory, n: int, c: int, length: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(width=32, allow_nan=False), min_size=n * c * length, max_size=n * c * length))
    x = np.array(values, np.float32).reshape(n, c, length)
    lines = [":".join(",".join(str(float(v)) for v in channel) for channel in case) + ":b" for case in x]
    path = tmp_path_factory.getbasetemp() / "drawn.ts"
    path.write_text(f"@dimensions {c}\n@classLabel true a b\n@data\n" + "\n".join(lines))
    np.testing.assert_array_equal(series.read(path).x, x)


def test_series_pairs(tmp_path: Path) -> None:
    train = ts(tmp_path, GOOD, "A_TRAIN.ts")
    with pytest.raises(FileError, match=r"A_TEST\.ts: no such file"):
        series.read_pair(train)
    ts(tmp_path, GOOD.replace("up down", "down up"), "A_TEST.ts")
    with pytest.raises(FileError, match=r"A_TEST\.ts: has 2 samples of .*, which does not fit the training set's"):
        series.read_pair(train)
    longer = GOOD.replace("@seriesLength 3\n", "").replace("1,2,3:4,5,6", "1,2,3,4:4,5,6,7").replace("-1.5,2e1,0:0,0,0", "1,2,3,4:1,2,3,4")
    ts(tmp_path, longer, "A_TEST.ts")
    with pytest.raises(FileError, match=r"A_TEST\.ts: has series of another length"):
        series.read_pair(train)
    first, second = series.read_pair(train, pad=7)
    assert first.x.shape == second.x.shape == (2, 2, 4)
    assert (first.x[..., 3] == 7).all()


# .npz


def npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def one(found: Samples | tuple[Samples, Samples]) -> Samples:
    assert isinstance(found, Samples)
    return found


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "wanted"),
    [
        ((4, 5, 6), "u1", None, (4, 1, 5, 6)),
        ((4, 5, 6), "f4", None, (4, 5, 6)),
        ((4, 5, 6), "f4", "no_channels", (4, 1, 5, 6)),
        ((4, 5, 6, 3), "u1", None, (4, 3, 5, 6)),
        ((4, 3, 5, 6), "u1", None, (4, 3, 5, 6)),
        ((4, 3, 5, 3), "u1", None, (4, 3, 5, 3)),
        ((4, 3, 5, 3), "u1", "channels_last", (4, 3, 3, 5)),
        ((4, 5, 6, 3), "f8", None, (4, 5, 6, 3)),
        ((4, 5, 6, 7, 1), ">f8", "channels_last", (4, 1, 5, 6, 7)),
    ],
)
def test_archive_layouts(tmp_path: Path, shape: tuple[int, ...], dtype: str, layout: str | None, wanted: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    found = one(archive.read(npz(tmp_path / "a.npz", x=x, y=[[0], [1], [2], [1]], classes=["a", "b", "c"]), layout=layout))
    assert found.x.shape == wanted
    assert found.x.dtype.isnative
    if wanted[1] == shape[-1] and shape != wanted:
        np.testing.assert_array_equal(found.x[1, 0], x[1, ..., 0])
    np.testing.assert_array_equal(found.y, [0, 1, 2, 1])
    assert found.classes == ("a", "b", "c")


def test_archive_targets(tmp_path: Path) -> None:
    x = np.zeros((2, 1, 3, 4), np.uint8)
    assert one(archive.read(npz(tmp_path / "a.npz", x=x, y=[0.5, 1.5]))).y.tolist() == [0.5, 1.5]
    assert one(archive.read(npz(tmp_path / "a.npz", x=x, y=np.ones((2, 3, 4), np.uint8)))).masked
    for names in (("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")):
        parts = archive.read(npz(tmp_path / "a.npz", **dict(zip(names, (x, [0, 1], x[:1], [1]), strict=True))))
        assert isinstance(parts, tuple)
        assert [len(part) for part in parts] == [2, 1]
    with pytest.raises(ArgumentError, match=r"layout .='rows'. must be one of channels_first, channels_last, no_channels"):
        archive.read(tmp_path / "a.npz", layout="rows")


def zipped(tmp_path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with y as it should be and `content` as x.npy."""
    buffer, y = io.BytesIO(), io.BytesIO()
    np.save(y, np.array([1]))
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("y.npy", y.getvalue())
        file.writestr("x.npy", content)
    return buffer.getvalue()


def saved(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_archives_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    good = saved(np.zeros((1, 1, 3, 4)))
    huge = good.replace(b"(1, 1, 3, 4), }" + b" " * 9, b"(9999, 99999, 3, 4), }  ")
    assert len(huge) == len(good)
    objects = np.empty((1, 1, 2), object)
    objects[...] = Evil(tmp_path / "mark")
    for data, rule in (
        (b"", "is no archive"),
        (zipped(tmp_path, good)[:-30], "is no archive"),
        (zipped(tmp_path, huge), "claims the shape (9999, 99999, 3, 4) of float64 for x"),
        (zipped(tmp_path, good + b"more"), "claims the shape (1, 1, 3, 4)"),
        (zipped(tmp_path, good[:-1]), "claims the shape (1, 1, 3, 4)"),
        (zipped(tmp_path, b"not an array"), "is no archive that can be read"),
        (zipped(tmp_path, saved(objects)), "x holds Python objects, which could run code"),
        (zipped(tmp_path, saved(np.zeros((2, 1, 3)))), "must have one target for each input"),
        (zipped(tmp_path, saved(np.array(["a"]))), "must have one target for each input"),
        (zipped(tmp_path, saved(np.zeros((1, 3)))), "must have at least 3 axes"),
    ):
        assert rule in refused(archive.read, path, data)
    assert not (tmp_path / "mark").exists()
    npz(path, x=[1], z=[2])
    with pytest.raises(FileError, match=r"has the arrays x, z, but must have x_train, y_train, x_test, y_test; or .*; or x, y"):
        archive.read(path)
    npz(path, x=np.zeros((2, 1, 3)), y=[0, 2], classes=["a", "b"])
    with pytest.raises(FileError, match="y has class numbers from 0 to 2, but they must run from 0 to 1"):
        archive.read(path)
    lying = bytearray(zipped(tmp_path, good))
    place = lying.rindex(b"PK\1\2")  # the directory's entry of x, whose size unpacked stands 24 bytes on
    lying[place + 24 : place + 28] = struct.pack("<I", 1 << 31)
    assert "claims 2,147,483,648 bytes for x" in refused(archive.read, path, bytes(lying))


@given(st.data())
def test_archive_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    whole = zipped(folder, saved(np.arange(12.0).reshape(1, 1, 3, 4)), method)
    read_or_refused(archive.read, folder / "mutated.npz", data.draw(damages(whole)))
