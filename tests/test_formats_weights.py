"""The door to files of weights: what a file is, its bytes say. And the real ones of the sample data."""

import os
from pathlib import Path

import numpy as np
import pytest

import torch_files as tf
from juanji.errors import ArgumentError, FileError, FormatError
from juanji.nn.formats import read_weights, safetensors_files

ONES = np.ones((2, 3), np.float32)


def test_content_decides(tmp_path: Path) -> None:
    path = tmp_path / "net.jpg"
    safetensors_files.write(path, {"w": ONES}, {"a": "b"})
    assert read_weights(path)[1] == {"a": "b"}
    tree = {"model": {"w": tf.tensor("0", (2, 3))}}
    for data in (tf.old_file(tree, {"0": ONES.tobytes()}), tf.zip_file(tree, {"0": ONES.tobytes()})):
        path.write_bytes(data)
        assert (read_weights(path)[0]["model.w"] == ONES).all()
        assert list(read_weights(path, key="model")[0]) == ["w"]


def test_keras(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the extra h5")
    with h5py.File(tmp_path / "net", "w") as root:
        root["layers/conv/vars/0"] = ONES
    assert (read_weights(tmp_path / "net")[0]["layers/conv/vars/0"] == ONES).all()


def test_a_key_is_for_checkpoints(tmp_path: Path) -> None:
    safetensors_files.write(tmp_path / "net", {"w": ONES})
    with pytest.raises(ArgumentError, match=r"key \(='model'\) chooses an entry of a PyTorch checkpoint, which .*net is not"):
        read_weights(tmp_path / "net", key="model")


@pytest.mark.parametrize("data", [b"\x93NUMPY", b"#!/bin/sh\n", b"{}", b"\x08\x07\x12\x07pytorch", b"ustar" * 100])
def test_what_is_not_understood(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net").write_bytes(data)
    with pytest.raises(FormatError, match=r"net: start: is of no kind that is understood: safetensors, PyTorch's \.pt and \.pth .*, HDF5"):
        read_weights(tmp_path / "net")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, rule in (("no", "no such file"), (".", "is a folder"), ("empty", "the file is empty")):
        with pytest.raises(FileError, match=rule):
            read_weights(tmp_path / name)
    with pytest.raises(ArgumentError, match="must be the name of a file"):
        read_weights(3)  # type: ignore[arg-type]


@pytest.fixture
def models() -> Path:
    if "JUANJI_DATA" not in os.environ:
        pytest.skip("needs the sample data: set JUANJI_DATA to their folder")
    return Path(os.environ["JUANJI_DATA"], "models")


def test_efficientnet_lite0(models: Path) -> None:
    """A file of the old kind: 4.65 million parameters and 42,000 running means and variances of 49 normalisations."""
    arrays, metadata = read_weights(models / "efficientnet-lite0.pth")
    assert len(arrays) == 296
    assert metadata == {}
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    counted = [name for name in arrays if name.endswith("num_batches_tracked")]
    assert {arrays[name].dtype.name for name in counted} == {"int64"}
    running = sum(array.size for name, array in arrays.items() if "running_" in name)
    assert sum(array.size for array in arrays.values()) - running - len(counted) == 4_652_008
    assert all(np.isfinite(array).all() and array.flags.aligned for array in arrays.values())


def test_vgg16_edges(models: Path) -> None:
    arrays, metadata = read_weights(models / "vgg16-edges.safetensors")
    assert "mean (122.67892,116.66877,104.00699)" in str(metadata["input"])
    trunk = {name: array for name, array in arrays.items() if name.startswith("features.")}
    assert len(trunk) == 26
    assert {array.dtype.name for array in trunk.values() if array.ndim == 4} == {"float16"}
    assert trunk["features.28.weight"].shape == (512, 512, 3, 3)
    assert sum(array.size for array in trunk.values()) == 14_714_688
