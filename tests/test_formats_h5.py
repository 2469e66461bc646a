"""HDF5 of Keras, in files laid out as Keras 2 and Keras 3 write them, and what such files may not do."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damaged import check_read, damages
from juanji.errors import FileError, FormatError
from juanji.nn.formats import keras_h5, keras_layouts
from juanji.nn.formats.mapped import MappedFile, Weights

h5py = pytest.importorskip("h5py", reason="needs the extra h5")

KERNEL, BIAS = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2), np.array([1.5, -2.0], np.float32)


def read(path: Path) -> Weights:
    """In this process, which is quicker; the files here are not of the kind that crashes it."""
    return keras_layouts.read_layout(MappedFile(path))


def old_layout(group: Any, layers: dict[str, dict[str, Any]]) -> None:
    """Keras 1 and 2: lists of names as attributes."""
    group.attrs["layer_names"] = np.array([name.encode() for name in layers])
    group.attrs["keras_version"] = b"2.15.0"
    for layer, weights in layers.items():
        inner = group.create_group(layer)
        inner.attrs["weight_names"] = np.array([name.encode() for name in weights]) if weights else np.array([], "S1")
        for name, values in weights.items():
            inner[name] = values


def new_layout(root: Any) -> None:
    """Keras 3: a tree of groups."""
    root["layers/conv2d/vars/0"], root["layers/conv2d/vars/1"] = KERNEL, BIAS
    root["layers/conv2d/vars"].attrs["name"] = "first"
    root.create_group("layers/re_lu/vars")
    root["layers/sequential/layers/dense/vars/0"] = np.full((1, 1), 3, "f2")
    root["optimizer/vars/0"] = np.int64(7)


LAYERS: dict[str, dict[str, Any]] = {
    "conv": {"conv/kernel:0": KERNEL, "conv/bias:0": BIAS},
    "relu": {},
    "block/dense": {"dense/kernel:0": np.full((1, 1), 3, "f8")},
}


@pytest.mark.parametrize("inside", ["/", "model_weights"])
def test_old_layout(tmp_path: Path, inside: str) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as root:
        root.attrs["model_config"] = "{}"
        old_layout(root.require_group(inside), LAYERS)
        root["optimizer_weights/adam/iteration"] = 3
    arrays, metadata = read(tmp_path / "net.h5")
    assert list(arrays) == ["conv/kernel:0", "conv/bias:0", "dense/kernel:0"]
    assert (arrays["conv/kernel:0"] == KERNEL).all()
    assert arrays["dense/kernel:0"].dtype == np.float64
    assert not any(array.flags.writeable for array in arrays.values())
    assert metadata["model_config"] == "{}"
    assert metadata.get("keras_version") == ("2.15.0" if inside == "/" else None)


def test_long_lists_of_names(tmp_path: Path) -> None:
    """An attribute holds 64 KiB; Keras cuts longer lists into numbered ones."""
    with h5py.File(tmp_path / "net.h5", "w") as root:
        for part, names in enumerate((["a", "b"], ["c"])):
            root.attrs[f"layer_names{part}"] = names
            for name in names:
                root[f"{name}/kernel"] = np.full(1, part, "f4")
                root[name].attrs["weight_names"] = ["kernel"] if name == "a" else [f"{name}2"]
                root[f"{name}/{name}2"] = np.full(1, part, "f4")
        top = root.create_group("top_level_model_weights")
        top.attrs["weight_names"] = ["scale"]
        top["scale"] = 2.5
    arrays, _ = read(tmp_path / "net.h5")
    assert list(arrays) == ["kernel", "b2", "c2", "scale"]
    assert arrays["scale"].shape == ()


def test_new_layout(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.weights.h5", "w") as root:
        new_layout(root)
    arrays, metadata = read(tmp_path / "net.weights.h5")
    assert set(arrays) == {"layers/conv2d/vars/0", "layers/conv2d/vars/1", "layers/sequential/layers/dense/vars/0", "optimizer/vars/0"}
    assert (arrays["layers/conv2d/vars/0"] == KERNEL).all()
    assert arrays["optimizer/vars/0"].shape == ()
    assert metadata == {"layers/conv2d/vars.name": "first"}


def test_filters_that_hdf5_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as root:
        group = root.create_group("layers/conv/vars")
        group.create_dataset("0", data=KERNEL, compression="gzip", shuffle=True, fletcher32=True)
        group.create_dataset("1", data=KERNEL.astype(">f4"))
    arrays, _ = read(tmp_path / "net.h5")
    assert all((array == KERNEL).all() and array.dtype == "=f4" for array in arrays.values())


def _bad(what: str, root: Any, folder: Path) -> None:
    variables = root.create_group("layers/conv/vars")
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = KERNEL
    match what:
        case "external link":
            variables["0"] = h5py.ExternalLink(str(folder / "other.h5"), "x")
        case "external link of a group":
            root["layers/more"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
        case "soft link":
            root["x"] = KERNEL
            variables["0"] = h5py.SoftLink("/x")
        case "external link in a list" | "soft link of the root":
            del root["layers"]
            link = h5py.ExternalLink(str(folder / "other.h5"), "/") if what.startswith("external") else h5py.SoftLink("/x")
            root["model_weights" if what.startswith("soft") else "conv"] = link
            root.attrs["layer_names"] = ["conv"]
        case "external data":
            (folder / "raw").write_bytes(KERNEL.tobytes())
            variables.create_dataset("0", KERNEL.shape, "f4", external=[(str(folder / "raw"), 0, KERNEL.nbytes)])
        case "virtual data":
            layout = h5py.VirtualLayout((3, 1, 2, 2), "f4")
            layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (3, 1, 2, 2))
            variables.create_virtual_dataset("0", layout)
        case "plug-in":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_chunk((2,))
            properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
            h5py.h5d.create(variables.id, b"0", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((2,)), properties)
        case "text":
            variables["0"] = "words"
        case "compound":
            variables["0"] = np.zeros(2, [("a", "f4")])
        case "reference":
            variables.create_dataset("0", data=root.ref, dtype=h5py.ref_dtype)
        case "empty":
            variables["0"] = h5py.Empty("f4")
        case "never written":
            variables.create_dataset("0", (10**12,), "f4")
        case "never written chunks":
            variables.create_dataset("0", (10**12,), "f4", chunks=(10**6,), compression="gzip")
        case "group in a list":
            root.attrs["layer_names"] = ["conv"]
            root.create_group("conv/kernel").attrs["x"] = 1
            root["conv"].attrs["weight_names"] = ["kernel"]
        case "listed only":
            root.attrs["layer_names"] = ["conv"]
        case "twice":
            old_layout(root, {"a": {"kernel": BIAS}, "b": {"kernel": BIAS}})
        case "upward":
            root.attrs["layer_names"] = ["../layers"]
        case "numbers for names":
            root.attrs["layer_names"] = [1, 2]
        case "in itself":
            variables["round"] = root["layers"]
        case "nothing":
            pass


RULES = {
    "external link": "is a soft or external link",
    "external link of a group": "is a soft or external link",
    "soft link": "is a soft or external link",
    "external link in a list": "is a soft or external link",
    "soft link of the root": "is a soft or external link",
    "external data": "lies in other files",
    "virtual data": "lies in other files",
    "plug-in": "has a filter of number 32015; deflate, shuffle, fletcher32 are read",
    "text": "are no numbers",
    "compound": "are no numbers",
    "reference": "are no numbers",
    "empty": "without elements",
    "never written": "4000000000000 bytes, of which 0 are in a file",
    "never written chunks": "has more than 1073741824 bytes",
    "group in a list": "must be a dataset",
    "listed only": "'/conv': is listed, but not there",
    "twice": "the name of two weights",
    "upward": "is listed, but not there",
    "numbers for names": "must be a list of names",
    "in itself": "nested more than 64 deep",
    "nothing": "it is no file of weights",
}


@pytest.mark.parametrize("case", RULES)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as root:
        _bad(case, root, tmp_path)
    with pytest.raises(FormatError, match=RULES[case]) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as root:
        new_layout(root)
    monkeypatch.chdir(tmp_path)
    Path("h5py.py").write_text("raise SystemExit('imported from where the user is')")
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    arrays, metadata = keras_h5.read("net.h5")
    here, texts = read(path)
    assert arrays.keys() == here.keys()
    assert all((arrays[name] == here[name]).all() and not arrays[name].flags.writeable for name in here)
    assert metadata == texts
    with h5py.File(path, "w") as root:
        _bad("external link", root, tmp_path)
    with pytest.raises(FormatError, match=r"^net\.h5: '/layers/conv/vars/0': is a soft or external link"):
        keras_h5.read("net.h5")


def test_a_crash_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that dies, and one that never ends, leave this process whole."""
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setattr(keras_h5, "SECONDS", 1)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    for body, said in (("import os; os.abort()", "status -6"), ("while True: pass", "more than 1 s.*status -9")):
        (tmp_path / "h5py.py").write_text(body)
        with pytest.raises(FormatError, match=said):
            keras_h5.read(tmp_path / "net.h5")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileError, match=r"needs h5py: pip install 'juanji\[h5\]'"):
        keras_h5.read(tmp_path / "net.h5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A file of each layout."""
    folder = tmp_path_factory.mktemp("h5")
    with h5py.File(folder / "old", "w") as root:
        old_layout(root, LAYERS)
    with h5py.File(folder / "new", "w") as root:
        new_layout(root)
    return [(folder / name).read_bytes() for name in ("old", "new")]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path: Path, whole: list[bytes], data: st.DataObject) -> None:
    check_read(keras_h5.read, tmp_path / "net.h5", data.draw(st.sampled_from(whole).flatmap(damages)))


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_many_damaged_files_are_read_or_refused(tmp_path: Path, whole: list[bytes], data: st.DataObject) -> None:
    check_read(keras_h5.read, tmp_path / "net.h5", data.draw(st.sampled_from(whole).flatmap(damages)))
