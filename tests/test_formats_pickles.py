"""PyTorch's files, made by hand: what is read, and what is refused without being run."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import torch_files as tf
from damaged import check_read, damages
from juanji.errors import ArgumentError, FileError, FormatError
from juanji.nn.formats.nested import flatten
from juanji.nn.formats.torch_pickles import read

SIX = np.arange(6, dtype=np.float32)
Make = Callable[..., bytes]
both = pytest.mark.parametrize("make", tf.BOTH.values(), ids=tf.BOTH.keys())


def read_bytes(folder: Path, data: bytes, key: str | None = None) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    path = folder / "net.pth"
    path.write_bytes(data)
    return read(path, key)


@both
def test_a_checkpoint(tmp_path: Path, make: Make) -> None:
    ordered = tf.call("collections.OrderedDict") + tf.value({"_metadata": {"": {"version": 1}}}) + b"b"
    bias = tf.call("torch._utils._rebuild_parameter", tf.tensor("2", (3,)), True, b"N")
    tree = {
        "state_dict": ordered + b"(" + tf.value("conv.weight") + tf.tensor("1", (2, 3)) + tf.value("conv.bias") + bias + b"u",
        "optimizer": {"state": {0: {"step": 5}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "none": None, "fused": False}]},
        "name": "net",
        "dtype": tf.word("torch.float32"),
        "empty": {},
    }
    data = make(tree, {"1": SIX.tobytes(), "2": SIX[3:].tobytes()})
    arrays, metadata = read_bytes(tmp_path, data)
    assert list(arrays) == ["state_dict.conv.weight", "state_dict.conv.bias"]
    assert arrays["state_dict.conv.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["state_dict.conv.bias"].tolist() == [3, 4, 5]
    assert metadata == {
        "optimizer.state.0.step": 5,
        "optimizer.param_groups.0.lr": 0.1,
        "optimizer.param_groups.0.betas.0": 0.9,
        "optimizer.param_groups.0.betas.1": 0.99,
        "optimizer.param_groups.0.none": None,
        "optimizer.param_groups.0.fused": False,
        "name": "net",
        "dtype": "torch.float32",
    }
    assert list(read_bytes(tmp_path, data, "state_dict")[0]) == ["conv.weight", "conv.bias"]
    with pytest.raises(
        ArgumentError, match=r"key \(='model'\) is not in .*, whose keys are 'state_dict', 'optimizer', 'name', 'dtype', 'empty'"
    ):
        read_bytes(tmp_path, data, "model")
    with pytest.raises(ArgumentError, match="names a single value"):
        read_bytes(tmp_path, data, "name")


@both
def test_views_share_their_storage(tmp_path: Path, make: Make) -> None:
    tree = {
        "whole": tf.tensor("1", (6,)),
        "turned": tf.tensor("1", (3, 2), count=6, strides=(1, 3)),
        "tail": tf.tensor("1", (2,), count=6, offset=4),
        "spread": tf.tensor("1", (4, 2), count=6, offset=5, strides=(0, 0)),
        "one": tf.tensor("1", (), count=6, offset=3),
        "lone axis": tf.tensor("1", (1, 2), count=6, strides=(2**62, 1)),
        "none": tf.tensor("1", (0, 2**40), count=6, offset=99),
    }
    arrays, _ = read_bytes(tmp_path, make(tree, {"1": SIX.tobytes()}))
    assert arrays["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["tail"].tolist() == [4, 5]
    assert arrays["spread"].tolist() == [[5, 5]] * 4
    assert arrays["one"].tolist() == 3
    assert arrays["lone axis"].tolist() == [[0, 1]]
    assert arrays["none"].shape == (0, 2**40)
    assert all(np.shares_memory(arrays["whole"], arrays[name]) for name in ("turned", "tail", "spread", "one", "lone axis"))
    assert not any(array.flags.writeable for array in arrays.values())


def test_old_views_of_storages(tmp_path: Path) -> None:
    tree = {"a": tf.tensor("1", (2,), count=6, view=(("1v", 3, 3),)), "b": tf.tensor("1", (6,), view=(b"N",))}
    arrays, _ = read_bytes(tmp_path, tf.old_file(tree, {"1": SIX.tobytes()}))
    assert arrays["a"].tolist() == [3, 4]
    assert arrays["b"].tolist() == SIX.tolist()
    beyond = {"a": tf.tensor("1", (4,), count=6, view=(("1v", 3, 3),))}
    with pytest.raises(FormatError, match="reaches element 3 of a storage of 3"):
        read_bytes(tmp_path, tf.old_file(beyond, {"1": SIX.tobytes()}))


KINDS = {
    "Double": "float64", "Float": "float32", "Half": "float16", "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8",
    "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_types_and_byte_orders(tmp_path: Path, kind: str) -> None:
    expected = np.array([0, 1, 3, 120]).astype(KINDS[kind])
    big = expected.astype(expected.dtype.newbyteorder(">")).tobytes()
    tree = {"x": tf.tensor("0", (4,), kind=f"torch.{kind}Storage")}
    files = (
        tf.old_file(tree, {"0": expected.tobytes()}, {"0": expected.itemsize}),
        tf.zip_file(tree, {"0": expected.tobytes()}),
        tf.zip_file(tree, {"0": expected.tobytes()}, order=None),
        tf.zip_file(tree, {"0": big}, order="big"),
    )
    for data in files:
        found = read_bytes(tmp_path, data)[0]["x"]
        assert found.dtype == expected.dtype
        assert found.flags.aligned
        assert (found == expected).all()


def test_types_without_storage(tmp_path: Path) -> None:
    """uint16 to uint64 say their type in the call; their storage is of bytes."""
    held = tf.storage("0", "torch.storage.UntypedStorage", 8)
    tree = {"x": tf.call("torch._utils._rebuild_tensor_v3", held, 1, (2,), (2,), False, b"N", tf.word("torch.uint16"))}
    arrays, _ = read_bytes(tmp_path, tf.zip_file(tree, {"0": np.array([1, 2, 3, 40000], "<u2").tobytes()}))
    assert arrays["x"].tolist() == [2, 40000]
    assert arrays["x"].dtype == np.uint16


def test_bfloat16(tmp_path: Path) -> None:
    tree = {
        "x": tf.tensor("0", (2,), kind="torch.BFloat16Storage"),
        "y": tf.tensor("0", (1,), count=2, offset=1, kind="torch.BFloat16Storage"),
    }
    stored = np.array([0x3FC0, 0xC000], np.uint16)
    for data in (
        tf.old_file(tree, {"0": stored.tobytes()}, {"0": 2}),
        tf.zip_file(tree, {"0": stored.tobytes()}),
        tf.zip_file(tree, {"0": stored.astype(">u2").tobytes()}, order="big"),
    ):
        arrays, _ = read_bytes(tmp_path, data)
        assert arrays["x"].astype(np.float64).tolist() == [1.5, -2.0]
        assert arrays["y"].astype(np.float64).tolist() == [-2.0]


def test_text_of_python_2_and_pickles_of_protocol_4(tmp_path: Path) -> None:
    latin = b"\x80\x02}U\x04caf\xe9Ns."
    good = b"\x80\x02}U\x05caf\xc3\xa9T\x02\x00\x00\x00ons."
    header = tf.MAGIC + tf.VERSION + tf.pickled({})
    assert read_bytes(tmp_path, header + good + tf.pickled([]))[1] == {"café": "on"}
    with pytest.raises(FormatError):
        read_bytes(tmp_path, header + latin + tf.pickled([]))
    for protocol in (2, 3, 4, 5):
        tree = {"a": [1, 2.5, "x", None, True, (1, 2, 3, 4), -(2**40)], "b": {"a" * 300: "a" * 300}}
        data = tf.MAGIC + tf.VERSION + tf.pickled({}) + pickle.dumps(tree, protocol) + pickle.dumps([], protocol)
        assert read_bytes(tmp_path, data)[1] == flatten(tree, 10**6)


# What would run, if anything ran. Each is a value, in opcodes; FLAG is replaced by the name of a file.

ONE = tf.storage("0", "torch.FloatStorage", 1)
BAD = {
    "REDUCE": tf.word("os.system") + tf.value(("touch FLAG",)) + b"R",
    "REDUCE eval": tf.word("builtins.eval") + tf.value(("open('FLAG', 'w')",)) + b"R",
    "REDUCE getattr": tf.word("builtins.getattr") + tf.value((1, "real")) + b"R",
    "GLOBAL alone": tf.word("posix.system"),
    "GLOBAL of torch": tf.word("torch.load"),
    "GLOBAL of the module": tf.word("torch._utils.os.system"),
    "GLOBAL with a space": b"ctorch._utils os\nsystem\n",
    "GLOBAL of numpy": tf.word("numpy.core.multiarray._reconstruct"),
    "GLOBAL of a whole model": tf.word("torchvision.models.resnet.ResNet"),
    "STACK_GLOBAL": tf.value("os") + tf.value("system") + b"\x93" + tf.value(("touch FLAG",)) + b"R",
    "STACK_GLOBAL of no text": tf.value(1) + tf.value("system") + b"\x93",
    "INST": b"(" + tf.value("touch FLAG") + b"ios\nsystem\n",
    "OBJ": b"(" + tf.word("os.system") + tf.value("touch FLAG") + b"o",
    "OBJ of an allowed name": b"(" + tf.word("collections.OrderedDict") + b"o",
    "NEWOBJ": tf.word("collections.OrderedDict") + b")\x81",
    "NEWOBJ_EX": tf.word("collections.OrderedDict") + b")}\x92",
    "BUILD of a name": tf.word("torch._utils._rebuild_tensor_v2") + tf.value({"__code__": 1}) + b"b",
    "BUILD of a name, slots": tf.word("collections.OrderedDict") + tf.value((b"N", {"__init__": 1})) + b"b",
    "BUILD of a list": b"]" + tf.value({"a": 1}) + b"b",
    "EXT1": b"\x82\x01",
    "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "PERSID": b"P0\n",
    "BINPERSID of text": tf.value("os.system") + b"Q",
    "BINPERSID of a module": tf.value(("module", tf.word("torch.FloatStorage"), "a.py", "import os")) + b"Q",
    "BINPERSID of no type": tf.value(("storage", "FloatStorage", "0", "cpu", 1)) + b"Q",
    "storage of a dtype": tf.storage("0", "torch.float32", 1),
    "REDUCE of a memo": tf.word("os.system") + b"q\x09" + tf.value(("touch FLAG",)) + b"R",
    "a name changed in the memo": tf.word("collections.OrderedDict") + b"q\x010h\x01" + tf.value(("touch FLAG",)) + b"R",
    "memo that is not there": b"h\x63",
    "REDUCE of text": tf.value("os.system") + tf.value(("touch FLAG",)) + b"R",
    "REDUCE of a type": tf.word("torch.FloatStorage") + tf.value((3,)) + b"R",
    "REDUCE without a tuple": tf.word("collections.OrderedDict") + b"]R",
    "REDUCE of too few": tf.call("torch._utils._rebuild_tensor_v2"),
    "parameter of text": tf.call("torch._utils._rebuild_parameter", "x", True, b"N"),
    "a dict made of pairs": tf.call("collections.OrderedDict", [("a", 1)]),
    "key of a tuple": b"}" + tf.value((1,)) + b"Ns",
    "key beyond 64 bits": tf.value({2**64: 1}),
    "key of a float": tf.value({0.5: 1}),
    "APPEND to a dict": b"}NNa",
    "SETITEM of a list": b"]NNs",
    "odd SETITEMS": b"}(Nu",
    "POP": b"NN0",
    "EMPTY_SET": b"\x8f",
    "bytes": b"C\x01a",
    "quantised": tf.word("torch._utils._rebuild_qtensor"),
    "quantised storage": tf.storage("0", "torch.QInt8Storage", 1),
    "sparse": tf.word("torch._utils._rebuild_sparse_tensor"),
    "conjugated": tf.call("torch._utils._rebuild_tensor_v2", ONE, 0, (1,), (1,), False, b"N", {"conj": True}),
    "a storage alone": ONE,
    "itself": b"]q\x01h\x01a",
    "empty stack": b"(l000",
    "mark missing": b"t",
}  # fmt: skip


@both
@pytest.mark.parametrize("case", BAD)
def test_nothing_runs(tmp_path: Path, make: Make, case: str) -> None:
    flag = tmp_path / "flag"
    assert len(str(flag)) < 256
    opcodes = BAD[case]
    for text in (b"touch FLAG", b"open('FLAG', 'w')"):
        true = text.replace(b"FLAG", bytes(flag))
        opcodes = opcodes.replace(struct.pack("<I", len(text)) + text, struct.pack("<I", len(true)) + true)
    with pytest.raises(FormatError) as caught:
        read_bytes(tmp_path, make({"weight": opcodes}, {"0": bytes(4)}))
    assert "\n" not in str(caught.value)
    assert not flag.exists()


def test_these_files_would_run(tmp_path: Path) -> None:
    """The same opcodes in Python's own machine do what they say, so the test above tests something."""
    flag = tmp_path / "flag"
    for case in ("REDUCE", "STACK_GLOBAL", "INST", "OBJ"):
        true = b"touch " + bytes(flag)
        opcodes = BAD[case].replace(struct.pack("<I", 10) + b"touch FLAG", struct.pack("<I", len(true)) + true)
        pickle.loads(tf.pickled({"weight": opcodes}))
        assert flag.exists()
        flag.unlink()


@both
def test_what_asks_for_code_is_named(tmp_path: Path, make: Make) -> None:
    with pytest.raises(
        FormatError, match=r"asks for 'torchvision.models.resnet.ResNet', which is code .*; of a whole model, save its state_dict"
    ):
        read_bytes(tmp_path, make({"model": BAD["GLOBAL of a whole model"]}, {}))
    with pytest.raises(FormatError, match="has the opcode NEWOBJ, which plain data have no need of"):
        read_bytes(tmp_path, make({"model": BAD["NEWOBJ"]}, {}))


OUTSIDE = {
    "offset": (tf.tensor("1", (6,), offset=1), "reaches element 6 of a storage of 6"),
    "size": (tf.tensor("1", (7,), count=6), "reaches element 6"),
    "stride": (tf.tensor("1", (2, 3), strides=(4, 1)), "reaches element 6"),
    "large stride": (tf.tensor("1", (2,), count=6, strides=(2**63 - 1,)), "reaches element"),
    "negative stride": (tf.tensor("1", (6,), strides=(-1,)), "not described by"),
    "negative offset": (tf.tensor("1", (1,), count=6, offset=-1), "not described by"),
    "negative size": (tf.tensor("1", (-6,), count=6), "not described by"),
    "strides missing": (tf.tensor("1", (2, 3), strides=(1,)), "2 axes with 1 strides"),
    "65 axes": (tf.tensor("1", (1,) * 65, count=6), "not described by"),
    "too large to be": (tf.tensor("1", (0, 2**62, 2**62), count=6, strides=(1, 1, 1)), "tensor 'x'"),
    "spread to a terabyte": (tf.tensor("1", (2**40,), count=6, strides=(0,)), "has more than 1073741824 bytes"),
    "count": (tf.tensor("1", (7,)), "in the archive|in the pickle"),
    "huge count": (tf.tensor("1", (1,), count=2**62), "of which 0 to"),
    "negative count": (tf.tensor("1", (1,), count=-1), "of which 0 to"),
    "another key": (tf.tensor("2", (6,)), "not in the archive|each once"),
    "a key outside": (tf.tensor("../../x", (6,)), "not in the archive|each once"),
}


@both
@pytest.mark.parametrize("case", OUTSIDE)
def test_elements_lie_in_their_storage(tmp_path: Path, make: Make, case: str) -> None:
    opcodes, rule = OUTSIDE[case]
    with pytest.raises(FormatError, match=rule):
        read_bytes(tmp_path, make({"x": opcodes}, {"1": SIX.tobytes()}))


def test_a_bool_is_0_or_1(tmp_path: Path) -> None:
    tree, stored = {"x": tf.tensor("1", (4,), kind="torch.BoolStorage")}, {"1": b"\0\1\2\1"}
    for data in (tf.old_file(tree, stored, {"1": 1}), tf.zip_file(tree, stored)):
        with pytest.raises(FormatError, match="must be stored as 0 or 1"):
            read_bytes(tmp_path, data)


@both
def test_what_unfolds_without_end(tmp_path: Path, make: Make) -> None:
    """Forty lists, each of which holds the one before twice; and as many dicts around a tensor."""
    lists = tf.value([1]) + b"q\x01" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(1, 41))
    with pytest.raises(FormatError, match="unfolds to more names"):
        read_bytes(tmp_path, make({"x": b"(" + lists + b"l"}, {}))
    deep: object = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(FormatError, match="nested more than 64 deep"):
        read_bytes(tmp_path, make({"x": deep, "y": "y" * 9000}, {}))
    with pytest.raises(FormatError, match=r"two entries that come to be named 'a\.b'"):
        read_bytes(tmp_path, make({"a.b": 1, "a": {"b": 2}, "c": "c" * 100}, {}))


def test_nested_tuples_do_not_recurse(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nested more than 64 deep"):
        read_bytes(tmp_path, tf.zip_file({"x": b"N" + b"\x85" * 200_000}, {}))


@both
def test_what_is_no_dict(tmp_path: Path, make: Make) -> None:
    with pytest.raises(FormatError, match="holds a single value"):
        read_bytes(tmp_path, make(tf.tensor("1", (6,)), {"1": SIX.tobytes()}))


GOOD = {"x": tf.tensor("1", (6,))}


def test_zip_archives(tmp_path: Path) -> None:
    stored = {"1": SIX.tobytes()}
    whole = tf.zip_file(GOOD, stored)
    assert read_bytes(tmp_path, whole)[0]["x"].tolist() == SIX.tolist()
    refused = {
        "compressed or encrypted": tf.zip_file(GOOD, {"1": bytes(10**6)}, compressed=True),
        "must be little or big": tf.zip_file(GOOD, stored, order="middle"),
        "is TorchScript": tf.zip_file(GOOD, stored, more={"net/constants.pkl": b""}),
        "take model.weights.h5 out": tf.zip_file(GOOD, stored, more={"model.weights.h5": b""}),
        "its checksum is another": whole.replace(SIX.tobytes(), SIX[::-1].tobytes()),
        "has 0": whole.replace(b"data.pkl", b"date.pkl"),
        "has 2": tf.zip_file(GOOD, stored, more={"other/data.pkl": b""}),
        "two records of one name": tf.zip_file(GOOD, {**stored, "2": b""}).replace(b"net/data/2", b"net/data/1"),
        "is damaged": whole[:-10],
    }
    for rule, data in refused.items():
        with pytest.raises(FormatError, match=rule):
            read_bytes(tmp_path, data)


def test_records_that_overlap(tmp_path: Path) -> None:
    """Two entries of the directory that mean one record: what makes small archives large."""
    stored = {"1": bytes(10_000), "2": b""}
    data = bytearray(tf.zip_file(GOOD, stored))
    entry = data.rindex(b"PK\1\2")
    data[entry + 20 : entry + 28] = struct.pack("<II", 10_000, 10_000)
    data[entry + 42 : entry + 46] = struct.pack("<I", data.index(b"net/data/1") - 30)
    with pytest.raises(FormatError, match="records that overlap"):
        read_bytes(tmp_path, bytes(data))


def test_checksums_that_were_not_computed(tmp_path: Path) -> None:
    data = bytearray(tf.zip_file(GOOD, {"1": SIX.tobytes()}))
    at = 0
    while (at := data.find(b"PK\1\2", at)) >= 0:
        data[at + 16 : at + 20] = bytes(4)
        at += 4
    assert read_bytes(tmp_path, bytes(data))[0]["x"].tolist() == SIX.tolist()


def test_old_files(tmp_path: Path) -> None:
    whole = tf.old_file(GOOD, {"1": SIX.tobytes()})
    start = tf.MAGIC + tf.VERSION + tf.pickled({}) + tf.pickled(GOOD)
    refused = {
        "magic number: is not PyTorch's": tf.pickled({"a": 1}),
        "version: must be 1001": tf.MAGIC + tf.pickled(1000),
        "end: 3 bytes follow": whole + b"abc",
        "storage '1': 24 bytes from byte .* on lie outside": whole[:-1],
        "has 5 elements, but 6 in the pickle": start + tf.pickled(["1"]) + struct.pack("<q", 5) + bytes(20),
        "has 18446744073709551615 elements": start + tf.pickled(["1"]) + struct.pack("<q", -1) + bytes(24),
        "each once": start + tf.pickled(["1", "1"]) + whole[-32:],
        "storage keys: must be those": start + tf.pickled({"1": 1}) + whole[-32:],
        "of two types or lengths": tf.old_file({**GOOD, "y": tf.tensor("1", (6,), kind="torch.IntStorage")}, {"1": SIX.tobytes()}),
        "asks for 'torch.FloatStorage'": tf.pickled(tf.storage("1", "torch.FloatStorage", 1)),
        "has a persistent id where none": tf.pickled(tf.value(("storage",)) + b"Q"),
        "ends in the middle": b"\x80\x02",
    }  # fmt: skip
    for rule, data in refused.items():
        with pytest.raises(FormatError, match=rule):
            read_bytes(tmp_path, data)
    for path, rule in [(tmp_path, "is a folder"), (tmp_path / "no", "no such file")]:
        with pytest.raises(FileError, match=rule):
            read(path)


SMALL = {"w": tf.tensor("a", (2, 3), kind="torch.HalfStorage"), "m": [tf.tensor("b", (3,), kind="torch.BoolStorage"), 1.5], "name": "x"}
STORED = {"a": SIX.astype(np.float16).tobytes(), "b": b"\0\1\1"}


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(tf.old_file(SMALL, STORED, {"a": 2, "b": 1})))
def test_damaged_old_files_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    check_read(read, tmp_path / "net.pth", data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(tf.zip_file(SMALL, STORED)))
def test_damaged_archives_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    check_read(read, tmp_path / "net.pth", data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(tf.pickled(SMALL)))
def test_damaged_pickles_in_whole_archives(tmp_path: Path, data: bytes) -> None:
    """The archive's checksum is right, so the damage reaches the machine."""
    whole = tf.zip_file(data[2:-1], STORED)
    check_read(read, tmp_path / "net.pth", whole)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.sampled_from(
            [*BAD.values(), b"(", b"q\1", b"h\1", b"t", b"d", b"l", b"s", b"u", b"a", b"e", b"R", b"b", b"Q", b"N", b"}", b"]"]
        ),
        max_size=30,
    )
)
def test_any_opcodes(tmp_path: Path, data: list[bytes]) -> None:
    check_read(read, tmp_path / "net.pth", tf.zip_file(b"".join(data), {"0": bytes(4)}))
