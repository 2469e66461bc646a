"""safetensors: there and back, against the format's own package, and every rule broken."""

import builtins
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from damaged import check_read, damages
from juanji.errors import ArgumentError, DtypeError, FileError, FormatError
from juanji.nn.formats.safetensors_files import DTYPES, read, write

Array = npt.NDArray[Any]
IN_NUMPY = [dtype for dtype in DTYPES.values() if dtype != "bfloat16"]


@st.composite
def dicts(draw: st.DrawFn, dtypes: list[str] = IN_NUMPY) -> dict[str, Array]:
    names = draw(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: name != "__metadata__"), unique=True, max_size=5)
    )
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    arrays = {}
    for name in names:
        dtype = np.dtype(draw(st.sampled_from(dtypes))).newbyteorder(draw(st.sampled_from("<>")))
        arrays[name] = draw(hnp.arrays(dtype, draw(shapes)))
        arrays[name] = draw(st.sampled_from([arrays[name], arrays[name].T, arrays[name][..., None][..., 0]]))
    return arrays


def same(found: dict[str, Array], given: dict[str, Array]) -> None:
    assert found.keys() == given.keys()
    for name, array in given.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=dicts(), metadata=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=3))
def test_there_and_back(tmp_path: Path, arrays: dict[str, Array], metadata: dict[str, str]) -> None:
    path = tmp_path / "weights"
    write(path, arrays, metadata)
    found, notes = read(path)
    same(found, arrays)
    assert list(found) == list(arrays)
    assert notes == metadata
    assert all(not array.flags.writeable and array.flags.aligned for array in found.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=dicts([dtype for dtype in IN_NUMPY if dtype != "complex64"]))
def test_the_package_agrees(tmp_path: Path, arrays: dict[str, Array]) -> None:
    package = pytest.importorskip("safetensors.numpy", reason="needs the package safetensors")
    write(tmp_path / "ours", arrays, {"a": "b"})
    same(package.load_file(tmp_path / "ours"), arrays)
    package.save_file(
        {name: np.ascontiguousarray(a, a.dtype.newbyteorder("=")).reshape(a.shape) for name, a in arrays.items()}, tmp_path / "theirs"
    )
    same(read(tmp_path / "theirs")[0], arrays)


def test_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's type if it is there; else float32 of the same values, infinities, NaN and subnormals too."""
    bits = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = tmp_path / "halves"
    path.write_bytes(_file({"x": ("BF16", (256, 256), 0, 131072)}, bits.tobytes()))
    true_import = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "ml_dtypes":
            raise ImportError
        return true_import(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        widened = read(path)[0]["x"]
    assert widened.dtype == np.float32
    assert (widened.view(np.uint32) == bits.astype(np.uint32) << 16).all()
    ml_dtypes = pytest.importorskip("ml_dtypes")
    halves = read(path)[0]["x"]
    assert halves.dtype == ml_dtypes.bfloat16
    assert (halves.view(np.uint16) == bits).all()
    write(tmp_path / "again", {"x": halves.T})
    assert (read(tmp_path / "again")[0]["x"].view(np.uint16) == bits.T).all()


def test_what_is_not_written(tmp_path: Path) -> None:
    path, one = tmp_path / "weights", np.ones(3)
    for arrays, metadata in [
        ({"__metadata__": one}, {}),
        ({1: one}, {}),
        ({"a": one}, {"epochs": 3}),
        ({"\ud800": one}, {}),
        ({}, {"a": "\udc00"}),
    ]:
        with pytest.raises(ArgumentError):
            write(path, arrays, metadata)  # type: ignore[arg-type]
    for dtype in ("object", "complex128", "U3", "M8[s]"):
        with pytest.raises(DtypeError, match="a has dtype"):
            write(path, {"a": np.empty(2, dtype)})
    assert not path.exists()
    with pytest.raises(FileError, match="make it first"):
        write(tmp_path / "no" / "weights", {})


def _file(header: object, rest: bytes = b"") -> bytes:
    if isinstance(header, dict):
        header = {
            name: {"dtype": row[0], "shape": row[1], "data_offsets": row[2:]} if isinstance(row, tuple) else row
            for name, row in header.items()
        }
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


BROKEN = {
    "header longer than the file": (struct.pack("<Q", 99) + b"{}", "lie outside the file"),
    "header longer than any": (struct.pack("<Q", 10**8 + 1) + b"{}", "at most 100000000 are read"),
    "short": (b"\2\0\0", "lie outside the file's 3 bytes"),
    "no JSON": (_file(b"{'a'}"), "is not JSON of safetensors"),
    "a list": (_file(b"[]"), "must begin with"),
    "blank before": (_file(b" {}"), "must begin with"),
    "newline behind": (_file(b'{"a"\n}\n'), "is not JSON"),
    "not UTF-8": (_file(b'{"\xff": 1}'), "is not JSON"),
    "half a surrogate": (_file(rb'{"\ud800": 1}'), "is not JSON"),
    "not a number": (_file(b'{"a": NaN}'), "NaN is no number"),
    "a number without end": (_file(b'{"a": %s}' % (b"9" * 5000)), "is not JSON"),
    "deep": (_file(b'{"a": ' + b"[" * 100_000), "nested too deeply"),
    "twice": (_file(b'{"a": 1, "a": 1}'), "'a' stands twice"),
    "twice inside": (_file(b'{"a": {"dtype": "U8", "dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}'), "'dtype' stands twice"),
    "metadata a list": (_file({"__metadata__": []}), "must be an object of strings"),
    "metadata a number": (_file({"__metadata__": {"a": 1}}), "must be an object of strings"),
    "missing field": (_file({"a": {"dtype": "U8", "shape": [0]}}), "must have dtype, shape and data_offsets"),
    "one field more": (_file({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0], "b": 1}}), "and nothing else"),
    "entry a number": (_file({"a": 3}), "must have dtype"),
    "8-bit float": (_file({"a": ("F8_E4M3", [1], 0, 1)}, b"1"), "has dtype 'F8_E4M3'; read are F64"),
    "dtype a list": (_file({"a": (["U8"], [1], 0, 1)}, b"1"), "has dtype list"),
    "negative size": (_file({"a": ("U8", [-1, -1], 0, 1)}, b"1"), "shape must be"),
    "size a float": (_file({"a": ("U8", [1.0], 0, 1)}, b"1"), "shape must be"),
    "size true": (_file({"a": ("U8", [True], 0, 1)}, b"1"), "shape must be"),
    "65 axes": (_file({"a": ("U8", [1] * 65, 0, 1)}, b"1"), "at most 64 sizes"),
    "too large to be": (_file({"a": ("U8", [0, 2**62, 2**62], 0, 0)}), "array 'a'"),
    "wrap around": (_file({"a": ("F64", [2**32, 2**32], 0, 0)}), "takes 147573952589676412928 bytes, not 0"),
    "backwards": (_file({"a": ("U8", [1], 1, 0)}, b"1"), "must be \\[begin, end\\]"),
    "three offsets": (_file({"a": ("U8", [1], 0, 1, 2)}, b"1"), "must be \\[begin, end\\]"),
    "too few bytes": (_file({"a": ("F32", [2], 0, 4)}, b"1234"), "takes 8 bytes, not 4"),
    "behind the end": (_file({"a": ("U8", [4], 0, 4)}, b"123"), "the arrays take 4 bytes, but 3 follow"),
    "bytes left over": (_file({"a": ("U8", [4], 0, 4)}, b"12345"), "the arrays take 4 bytes, but 5 follow"),
    "gap": (_file({"a": ("U8", [1], 0, 1), "b": ("U8", [1], 2, 3)}, b"123"), "leaves a gap before it: begins at 2, but must at 1"),
    "overlap": (_file({"a": ("U8", [2], 0, 2), "b": ("U8", [2], 1, 3)}, b"123"), "'b': overlaps the array before it"),
    "bool of 2": (_file({"a": ("BOOL", [2], 0, 2)}, b"\0\2"), "a bool must be stored as 0 or 1"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(tmp_path: Path, case: str) -> None:
    path = tmp_path / "weights"
    path.write_bytes(BROKEN[case][0])
    with pytest.raises(FormatError, match=BROKEN[case][1]) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_old_headers_without_alignment(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for spaces in range(9):
        text = b'{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}' + b" " * spaces
        path.write_bytes(_file(text, np.array([1.5, -2.0]).tobytes()))
        found = read(path)[0]["a"]
        assert found.flags.aligned
        assert found.tolist() == [1.5, -2.0]


VALID = _file(
    {"__metadata__": {"made": "here"}, "w": ("F32", (2, 3), 4, 28), "b": ("BF16", (2,), 0, 4), "m": ("BOOL", (3,), 28, 31)},
    bytes(28) + b"\0\1\1",
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(VALID))
def test_damaged_files_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    check_read(read, tmp_path / "weights", data)


def test_reading_maps(tmp_path: Path) -> None:
    """A file of 256 MiB is opened within 16 MiB: only what is looked at is read."""
    write(tmp_path / "large", {"x": np.zeros(2**26, np.float32)})
    code = f"""
import resource
from juanji.nn.formats.safetensors_files import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
x = read({str(tmp_path / "large")!r})[0]["x"]
assert x[2**25] == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(said) < 16 * 1024
