"""PyTorch's own files, of both kinds, against what PyTorch reads from them."""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from juanji.errors import FormatError
from juanji.nn.formats import read_weights
from juanji.nn.formats.torch_pickles import read

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

TYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool",
         "complex64", "complex128")  # fmt: skip
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"_use_new_zipfile_serialization": False},
    {"pickle_protocol": 4},
    {"pickle_protocol": 5, "_use_new_zipfile_serialization": False},
)


@st.composite
def tensors(draw: st.DrawFn) -> Any:
    """A tensor of any type, some of them views: turned, strided, spread, of the tail of a storage."""
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    name = draw(st.sampled_from(TYPES))
    values = torch.randint(0, 2 if name == "bool" else 100, (*shape, 4)).to(getattr(torch, name))
    views = [
        lambda: values,
        lambda: values.contiguous()[..., 1],
        lambda: values[..., ::2],
        lambda: values.transpose(0, -1),
        lambda: values[..., :1].expand(*shape, 5),
        lambda: torch.nn.Parameter(values) if values.is_floating_point() else values,
    ]
    return draw(st.sampled_from(views))()


@st.composite
def trees(draw: st.DrawFn) -> Any:
    leaves = st.one_of(tensors(), st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=5))
    keys = st.one_of(st.text(st.characters(exclude_characters=".", codec="utf-8"), max_size=5), st.integers(-(2**63), 2**63 - 1))
    tree = draw(
        st.recursive(
            leaves, lambda inner: st.one_of(st.dictionaries(keys, inner, max_size=3), st.lists(inner, max_size=3).map(tuple)), max_leaves=6
        )
    )
    first = draw(tensors())
    return OrderedDict(weights=first, again=first, tree=tree, more={"inner": [tree]})


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """The dotted names, by recursion."""
    if not isinstance(tree, dict | list | tuple):
        return {prefix[:-1]: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        for name, leaf in flat(value, f"{prefix}{key}.").items():
            assert name not in found
            found[name] = leaf
    return found


def compare(path: Path, tree: Any) -> None:
    arrays, metadata = read(path)
    expected = flat(tree)
    assert [*arrays, *metadata] == [name for name in expected if isinstance(expected[name], torch.Tensor)] + list(metadata)
    assert arrays.keys() | metadata.keys() == expected.keys()
    for name, array in arrays.items():
        tensor = expected[name].detach()
        assert array.shape == tensor.shape
        if tensor.dtype == torch.bfloat16:
            assert array.dtype.name in ("bfloat16", "float32")
            array, tensor = array.astype(np.float32), tensor.float()
        assert array.dtype == tensor.numpy().dtype
        assert (array == tensor.numpy()).all()
    for name, value in metadata.items():
        assert type(value) is type(expected[name])
        assert value == expected[name]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees(), kind=st.sampled_from(KINDS))
def test_what_torch_writes(tmp_path: Path, tree: Any, kind: dict[str, Any]) -> None:
    path = tmp_path / "net.pt"
    try:
        flat(tree)
    except AssertionError:
        return  # two names that meet, such as those of "1" and 1: another test
    torch.save(tree, path, **kind)
    compare(path, tree)
    if torch_reads(tree, kind):
        compare(path, torch.load(path, weights_only=True))


def torch_reads(tree: Any, kind: dict[str, Any]) -> bool:
    """Its restricted reader knows protocol 2 only, and the one of old files no type without a storage of its own."""
    new = (torch.uint16, torch.uint32, torch.uint64)
    old = "_use_new_zipfile_serialization" in kind
    return "pickle_protocol" not in kind and not (old and any(getattr(leaf, "dtype", None) in new for leaf in flat(tree).values()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_training(tmp_path: Path, kind: dict[str, Any]) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    optimizer = torch.optim.Adam(net.parameters(), amsgrad=True)
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "checkpoint.pth"
    checkpoint = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(checkpoint, path, **kind)
    compare(path, checkpoint)
    arrays, _ = read_weights(path, key="model")
    assert list(arrays) == list(net.state_dict())
    assert read_weights(path)[1]["epoch"] == 3


def test_files_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"x": torch.arange(5)}, tmp_path / "net.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read(tmp_path / "net.pt")[0]["x"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Linear(2, 3),
        lambda: torch.zeros(2, dtype=torch.complex64).conj(),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        lambda: torch.eye(3).to_sparse(),
        lambda: np.ones(3),
        lambda: torch.zeros(2, dtype=torch.float8_e4m3fn),
        lambda: torch.device("cpu"),
        lambda: {1, 2},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_refused(tmp_path: Path, kind: dict[str, Any], make: Any) -> None:
    torch.save({"x": make()}, tmp_path / "net.pt", **kind)
    with pytest.raises(FormatError):
        read(tmp_path / "net.pt")


@pytest.mark.skipif("JUANJI_DATA" not in os.environ, reason="needs the sample data: set JUANJI_DATA")
def test_efficientnet_lite0() -> None:
    path = Path(os.environ["JUANJI_DATA"], "models", "efficientnet-lite0.pth")
    compare(path, torch.load(path, weights_only=True))
