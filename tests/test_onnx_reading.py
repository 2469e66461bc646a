"""Networks read from ONNX files: onnx's own cases of every operator, two real networks, structure that depends on shapes, hostile files."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiled import run_python
from juanji import nn
from juanji.errors import ArgumentError, ExtraError, FileError, FormatError, JuanjiError, ShapeError
from juanji.nn.formats.onnx_reader import UNDERSTOOD

onnx = pytest.importorskip("onnx")

Array = np.ndarray
DATA = Path(os.environ.get("JUANJI_DATA", "no data")) / "models"


# onnx's own cases ----------------------------------------------------------------------------------------------------------

# What these cases ask for is refused by name, beside integers and truth values that flow.
REFUSED = (
    "_training_mode", "training_dropout", "dropout_default_mask", "_peepholes", "_empty_set", "allowzero", "exclude_outside", "antialias",
    "not_larger", "not_smaller", "tf_crop_and_resize", "maxpool_with_argmax", "maxunpool", "equal_string", "_opt", "_seq",
    "normalization_2d_axis0", "normalization_2d_axis_negative_2", "normalization_3d_axis0", "normalization_3d_axis_negative_3",
    "normalization_4d_axis0", "normalization_4d_axis_negative_4",
)  # fmt: skip
# onnx divides by the length S·r before it is rounded down, onnxruntime and juanji by the one after; bfloat16 is computed in float32.
OTHERWISE = ("downsample_scales_cubic_align_corners", "downsample_scales_linear_align_corners", "celu_bfloat16")


SLOW = {"averagepool", "lppool", "maxpool"}  # whose expected outputs onnx computes in plain Python when they are imported


def onnx_cases(every: bool) -> Iterator[tuple[str, Any, list[Any], list[Any]]]:
    package = pytest.importorskip("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(package.__path__):
            if every or module.name not in SLOW:
                importlib.import_module(f"{package.__name__}.{module.name}")
    for case in package._NodeTestCases:
        if not every and "_expanded" in case.name:  # functions written out as other operators
            continue
        opset = max((entry.version for entry in case.model.opset_import if entry.domain == ""), default=0)
        if {node.op_type for node in case.model.graph.node} <= UNDERSTOOD and "cast" not in case.name and opset >= 7:
            values, expected = case.data_sets[0]
            if [node.op_type for node in case.model.graph.node] == ["LayerNormalization"]:  # whose mean and deviation are refused
                del case.model.graph.node[0].output[1:], case.model.graph.output[1:]
                expected = expected[:1]
            yield case.name, case.model, values, expected


def stored(model: Any, values: list[Any], flowing: list[int]) -> Any:
    """The model with all inputs as arrays of the file but those that flow."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.ir_version = 10  # since 4, arrays need not be inputs as well
    for i, (value, array) in enumerate(zip(model.graph.input, values, strict=False)):
        if i not in flowing:
            copy.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), value.name))
            copy.graph.input.remove(value)
    return copy


def outputs_of(model: Any, values: list[Any], flowing: list[int]) -> list[Array]:
    net = nn.from_onnx(stored(model, values, flowing))
    found = net.run({model.graph.input[i].name: values[i] for i in flowing})
    return [found[value.name] for value in model.graph.output]


def alike(ours: Array, theirs: Any) -> bool:
    loose = 1e-2 if np.asarray(theirs).dtype == np.float16 else 1e-5
    return ours.shape == np.shape(theirs) and np.allclose(ours, np.asarray(theirs, ours.dtype), rtol=max(loose, 1e-3), atol=loose)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_onnx_agrees_case_by_case(every: bool) -> None:
    """Each case with as many of its inputs flowing as may: all, those of floats, the first; weights are arrays of a file, so not all."""
    flowed = folded = 0
    wrong = []
    for name, model, values, expected in onnx_cases(every):
        floats = [i for i, value in enumerate(values) if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
        said = ""
        for flowing in ([*range(len(values))], floats, floats[:1], []):
            try:
                found = outputs_of(model, values, flowing)
            except (JuanjiError, ValueError) as error:
                said = str(error)
                continue
            flowed, folded = flowed + bool(flowing), folded + (not flowing)
            if not all(map(alike, found, expected)) and not name.endswith(OTHERWISE) and "edge_cases" not in name:
                wrong.append(f"{name}: {found} {expected}")
            break
        else:
            if not any(part in name for part in REFUSED):
                wrong.append(f"{name}: {said}")
    assert not wrong, "\n".join(wrong)
    assert flowed > (550 if every else 350)
    assert folded > 50


# Real networks -------------------------------------------------------------------------------------------------------------


def sample(name: str) -> tuple[Any, Any]:
    ort = pytest.importorskip("onnxruntime")
    path = DATA / name
    if not path.exists():
        pytest.skip("JUANJI_DATA has no models")
    return nn.from_onnx(path), ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_text_detector_equals_onnxruntime_at_every_size() -> None:
    net, theirs = sample("text-detector.onnx")
    assert type(net) is nn.Graph
    random = np.random.default_rng(0)
    for shape in ((2, 3, 96, 64), (1, 3, 32, 128)):
        x = random.normal(size=shape).astype(np.float32)
        (ours,) = net.run({"x": x}).values()
        np.testing.assert_allclose(ours, theirs.run(None, {"x": x})[0], atol=1e-4)
        assert ours.shape == (shape[0], 1, *shape[2:])


def test_text_detector_finds_text() -> None:
    """White letters on black: the map is high on them and low beside them. Its gradient leads uphill."""
    draw = pytest.importorskip("PIL.ImageDraw")
    image = pytest.importorskip("PIL.Image").new("RGB", (128, 32))
    draw.Draw(image).text((12, 2), "juanji", fill="white", font_size=24)
    net, theirs = sample("text-detector.onnx")
    x = (np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255 - 0.45) / 0.225
    (found,) = net.run({"x": x}).values()
    columns = found[0, 0].max(axis=0)
    assert columns[24:60].min() > 0.9
    assert max(columns[:12].max(), columns[80:].max()) < 0.1
    np.testing.assert_allclose(found, theirs.run(None, {"x": x})[0], atol=1e-4)
    (logits,) = net.nodes[-1].inputs
    tape = net.record(x)
    gradient = tape.backward({logits: np.ones_like(found)}, ["x"], parameters=False).values["x"]
    step = 1e-3 / np.abs(gradient).max() * gradient  # uphill
    ends = [net.features({"x": x + sign * step}, [logits])[logits].sum(dtype=np.float64) for sign in (1, -1)]
    assert ends[0] - ends[1] == pytest.approx(2 * (gradient * step).sum(dtype=np.float64), rel=0.02)


@pytest.mark.slow
def test_text_detector_compiles() -> None:
    net, theirs = sample("text-detector.onnx")
    x = np.random.default_rng(0).normal(size=(1, 3, 96, 160)).astype(np.float32)
    np.testing.assert_allclose(net.compile((3, 96, 160))(x), theirs.run(None, {"x": x})[0], atol=1e-4)


@pytest.mark.slow
def test_text_detector_has_exact_gradients() -> None:
    net, _ = sample("text-detector.onnx")
    double = net.astype(np.float64)
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32))
    tape = double.record(x)
    (output,) = double.nodes[-1].inputs  # of the sigmoid, which is flat where there is no text
    back = tape.backward({output: np.ones_like(tape.values[output])}, ["x"])
    assert back.parameters.keys() == double.parameters.keys()
    random, name = np.random.default_rng(1), "p2o.Conv.1.weight"
    for array, gradient in ((x, back.values["x"]), (double.parameters[name], back.parameters[name])):
        direction, start, step, sums = random.normal(size=array.shape), array.copy(), 1e-6, []
        for sign in (1, -1):
            array[...] = start + sign * step * direction
            sums.append(double.features({"x": x}, [output])[output].sum())
        array[...] = start
        assert (gradient * direction).sum() == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-4)


def test_voice_activity_carries_its_state_like_onnxruntime() -> None:
    net, theirs = sample("voice-activity-16k.onnx")
    assert isinstance(net, nn.ShapedGraph)
    assert (net.inputs, net.settings) == (("input", "state", "sr"), ("sr",))
    random, rate = np.random.default_rng(0), np.array(16000)
    for batch in (1, 2):
        ours = expected = np.zeros((2, batch, 128), np.float32)
        for i in range(6):
            x = (random.normal(size=(batch, 576)) * 0.1 * i).astype(np.float32)
            found = net.run({"input": x, "state": ours, "sr": rate})
            answer, expected = theirs.run(None, {"input": x, "state": expected, "sr": rate})
            np.testing.assert_allclose(found["output"], answer, atol=1e-4)
            np.testing.assert_allclose(found["stateN"], expected, atol=1e-4)
            ours = found["stateN"]
    graphs = [net.at({"input": (batch, 576), "state": (2, batch, 128), "sr": 16000}) for batch in (1, 2)]
    assert graphs[0] is not graphs[1]
    for name, array in graphs[0].parameters.items():
        assert array is graphs[1].parameters[name]
    assert "/model/decoder/rnn/LSTM.recurrent" in net.parameters
    shapes = net.shapes({"input": x, "state": ours, "sr": rate})
    assert shapes["output"] == (2, 1)
    tape = net.record({"input": x, "state": ours, "sr": rate})
    back = tape.backward({"output": np.ones((2, 1), np.float32)}, ["input", "state"])
    assert back.values["input"].shape == x.shape
    assert all(np.abs(gradient).max() > 0 for gradient in back.parameters.values())


# Small models --------------------------------------------------------------------------------------------------------------


def make(kind: str, inputs: list[str], outputs: list[str], **settings: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, outputs, **settings)


def model_of(nodes: list[Any], arrays: dict[str, Any], shape: list[Any], opset: int = 17, more: dict[str, list[Any]] | None = None) -> Any:
    info, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        nodes,
        "made",
        [info("x", kinds.FLOAT, shape), *(info(name, kinds.INT64, size) for name, size in (more or {}).items())],
        [info("y", kinds.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_shapes_that_are_computed_with_make_a_graph_for_each() -> None:
    """Flattened as PyTorch's exporters write x.view(x.size(0), -1), then multiplied by a matrix that all graphs share."""
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Gather", ["shape", "zero"], ["n"], axis=0),
        make("Unsqueeze", ["n", "axes"], ["row"]),
        make("Concat", ["row", "rest"], ["to"], axis=0),
        make("Reshape", ["x", "to"], ["flat"]),
        make("MatMul", ["flat", "w"], ["y"]),
    ]
    w = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    net = nn.from_onnx(model_of(nodes, {"zero": np.int64(0), "axes": [0], "rest": [-1], "w": w}, ["N", 3, 4]))
    assert isinstance(net, nn.ShapedGraph)
    with pytest.raises(ArgumentError, match="no parameters yet"):
        _ = net.parameters
    for x in (X, X[:1]):
        np.testing.assert_allclose(net(x), x.reshape(len(x), 12) @ w, rtol=1e-5)
    ((name, array),) = net.parameters.items()
    array *= 2  # training works in place
    np.testing.assert_allclose(net(X[:1]), 2 * X[:1].reshape(1, 12) @ w, rtol=1e-5)
    assert net.gradients(X, np.array([0, 1])).keys() == {name}
    assert net.features(X, ["flat"])["flat"].shape == (2, 12)
    with pytest.raises(ArgumentError, match="named x"):
        net.run({"z": X})
    with pytest.raises(ShapeError, match="input x has shape"):
        net(X[0])


def test_a_file_that_declares_its_shapes_is_one_graph() -> None:
    nodes = [make("Shape", ["x"], ["shape"]), make("Reshape", ["x", "shape"], ["z"]), make("Relu", ["z"], ["y"])]
    net = nn.from_onnx(model_of(nodes, {}, [2, 3, 4]))
    assert type(net) is nn.Graph
    assert (net(X) == X).all()


def test_a_condition_chooses_its_branch() -> None:
    info = onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)
    then, other = (onnx.helper.make_graph([make(kind, ["x"], ["z"])], kind, [], [info]) for kind in ("Neg", "Abs"))
    chosen = make("If", ["condition"], ["y"], then_branch=then, else_branch=other)
    nodes = [make("Greater", ["rate", "limit"], ["condition"]), chosen]
    net = nn.from_onnx(model_of(nodes, {"limit": np.int64(8)}, ["N", 3, 4], more={"rate": []}))
    assert (net(X, 9) == -X).all()
    assert (net(-X, 8) == X).all()
    assert [str(node.op) for node in net.at({"x": (2, 3, 4), "rate": 9}).nodes] == ["Function(function='negative')"]


def test_parameters_are_named_after_nodes_and_scalars_do_not_train() -> None:
    nodes = [
        make("Conv", ["x", "kernel", "offset"], ["a"], name="first"),
        make("Conv", ["a", "kernel", "offset"], ["b"], name="second"),
        make("Mul", ["b", "scale"], ["c"]),
        make("Add", ["c", "shift"], ["y"]),
    ]
    arrays = {"kernel": np.ones((3, 3, 1), "f4"), "offset": np.ones(3, "f4"), "scale": np.ones((3, 1), "f4"), "shift": np.float32(1)}
    net = nn.from_onnx(model_of(nodes, arrays, ["N", 3, "L"]))
    assert list(net.parameters) == ["first.weight", "first.bias", "scale.value"]  # shared arrays are there once
    assert list(net.buffers) == ["shift.value"]
    assert net(X).shape == X.shape
    gradients = net.record(X).backward({"y": np.ones_like(X)}).parameters
    assert gradients["first.bias"].tolist() == [32.0] * 3  # 8 places · (itself, and three times through the second)


def test_integer_pictures_are_cast() -> None:
    model = model_of([make("Cast", ["x"], ["z"], to=1), make("Relu", ["z"], ["y"])], {}, ["N", 3, 4])
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    assert (nn.from_onnx(model)(X.astype(np.uint8)) == X).all()


@pytest.mark.parametrize(("opset", "expected"), [(11, X.reshape(2, 12)), (13, X)])
def test_softmax_means_what_its_operator_set_says(opset: int, expected: Array) -> None:
    net = nn.from_onnx(model_of([make("Softmax", ["x"], ["y"], axis=1)], {}, ["N", 3, 4], opset))
    powers = np.exp(expected - expected.max(axis=1, keepdims=True))
    np.testing.assert_allclose(net(X), (powers / powers.sum(axis=1, keepdims=True)).reshape(X.shape), rtol=1e-5)


def test_old_operator_sets_have_attributes_where_new_ones_have_inputs() -> None:
    nodes = [
        make("Clip", ["x"], ["a"], min=1.0, max=20.0),
        make("Pad", ["a"], ["b"], pads=[0, 0, 1, 0, 0, 0], value=5.0),
        make("Slice", ["b"], ["c"], starts=[1], ends=[9], axes=[2]),
        make("Unsqueeze", ["c"], ["d"], axes=[0]),
        make("Squeeze", ["d"], ["e"], axes=[0]),
        make("Split", ["e"], ["f", "g"], axis=2, split=[1, 3]),
        make("ReduceSum", ["g"], ["h"], axes=[2], keepdims=1),
        make("Upsample", ["h"], ["y"], mode="nearest", scales=[1.0, 1.0, 2.0]),
    ]
    y = nn.from_onnx(model_of(nodes, {}, ["N", 3, 4], 7))(X)
    np.testing.assert_allclose(y, np.repeat(np.clip(X, 1, 20)[:, :, 1:].sum(2, keepdims=True), 2, 2))


def test_it_imports_onnx_only_when_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_python("import sys, juanji.nn as nn; nn.from_onnx, nn.to_onnx; print('onnx' in sys.modules)").strip() == "False"
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ExtraError, match=r"pip install 'juanji\[onnx\]'"):
        nn.from_onnx(tmp_path / "net.onnx")
    with pytest.raises(ExtraError, match=r"pip install 'juanji\[onnx\]'"):
        nn.to_onnx(nn.Sequential(nn.ReLU(), shape=(1, 2, 2)), tmp_path / "net.onnx")


# Hostile and foreign files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "arrays", "said"),
    [
        ([make("Det", ["x"], ["z"]), make("Loop", ["", "", "z"], ["y"])], {}, "not understood: Det, Loop$"),
        ([make("Relu", ["x"], ["z"], domain="com.maker"), make("Relu", ["z"], ["y"])], {}, "not understood: com.maker::Relu$"),
        ([make("Relu", ["z"], ["y"])], {}, "is not valid ONNX"),
        ([make("Relu", ["x"], ["y"], alpha=1.0)], {}, "is not valid ONNX"),
        ([make("Conv", ["x", "x"], ["y"], name="c")], {}, "node c .Conv.: its weights must not depend"),
        ([make("Conv", ["x", "w"], ["y"], strides=[1, 1])], {"w": np.ones((1, 3, 2), "f4")}, "strides .* must have 1 entries"),
        ([make("Resize", ["x", "", "s"], ["y"], antialias=1)], {"s": np.ones(3, "f4")}, "is not valid ONNX|antialias"),
        ([make("Equal", ["x", "x"], ["z"]), make("Cast", ["z"], ["y"], to=1)], {}, "must not depend on what the network computes"),
        ([make("ConstantOfShape", ["s"], ["z"]), make("Add", ["x", "z"], ["y"])], {"s": np.array([10**6, 10**6])}, "more than is made"),
        ([make("Range", ["a", "b", "c"], ["z"]), make("Add", ["x", "z"], ["y"])],
         {"a": np.int64(0), "b": np.int64(2**40), "c": np.int64(1)}, "more than is made"),
        ([make("Expand", ["s", "t"], ["z"]), make("Add", ["x", "z"], ["y"])],
         {"s": np.ones(1, "f4"), "t": np.array([10**6, 10**6])}, "more than is made"),
        ([make("LSTM", ["x", "w", "r"], ["y"], hidden_size=1, clip=1.0)],
         {"w": np.ones((1, 4, 4), "f4"), "r": np.ones((1, 4, 1), "f4")}, "clip"),
        ([make("MaxPool", ["x"], ["z", "y"], kernel_shape=[2])], {}, "output y is of places"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_in_one_line(nodes: list[Any], arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match=said) as error:
        nn.from_onnx(model_of(nodes, arrays, ["N", 3, 4]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("opset", [6, 99])
def test_operator_sets_that_are_not_understood(opset: int) -> None:
    with pytest.raises(FormatError, match="operator set"):
        nn.from_onnx(model_of([make("Relu", ["x"], ["y"])], {}, [1, 2], opset))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(FileError, match="no such file"):
        nn.from_onnx(path)
    for damaged in (b"", b"no model at all", os.urandom(1000)):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"net\.onnx"):
            nn.from_onnx(path)
    with pytest.raises(ArgumentError, match="must be a path"):
        nn.from_onnx(3)


def test_every_cut_and_every_flip_of_a_file_is_read_or_refused(tmp_path: Path) -> None:
    """Damage may go unnoticed, as it does in weights; it must not raise anything but the library's own errors."""
    nodes = [make("Conv", ["x", "w", "b"], ["a"], kernel_shape=[2], pads=[1, 0]), make("Slice", ["a", "s", "e"], ["y"])]
    arrays = {"w": np.ones((2, 3, 2), "f4"), "b": np.ones(2, "f4"), "s": np.array([0]), "e": np.array([1])}
    whole = model_of(nodes, arrays, ["N", 3, 4]).SerializeToString()
    path, random = tmp_path / "net.onnx", np.random.default_rng(0)
    for i in range(300):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(bytes(data if i % 2 else whole[: random.integers(1, len(whole))]))
        with contextlib.suppress(JuanjiError):
            nn.from_onnx(path)


def external(tmp_path: Path, **entries: str) -> Path:
    """A model whose weights are said to be in another file."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    w = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    (folder / "weights.bin").write_bytes(b"....".ljust(16, b".") + w.tobytes())
    model = model_of([make("Conv", ["x", "w"], ["y"])], {"w": w}, ["N", 3, 4])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_arrays_beside_the_model_are_read(tmp_path: Path) -> None:
    net = nn.from_onnx(external(tmp_path, location="weights.bin", offset="16", length="48"))
    assert net(X).ravel().tolist() == [float((X[i] * np.arange(12).reshape(3, 4)).sum()) for i in range(2)]
    net.parameters["y.weight"][...] = 0  # they can be trained
    assert not net(X).any()


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../secret.bin"},
        {"location": "link.bin"},
        {"location": "/etc/hostname"},
        {"location": ""},
        {"location": "."},
        {"location": "missing.bin"},
        {"location": "weights.bin", "offset": "20"},
        {"location": "weights.bin", "offset": "-16"},
        {"location": "weights.bin", "offset": "16", "length": "4"},
        {"location": "weights.bin", "offset": "many"},
    ],
    ids=str,
)
def test_arrays_elsewhere_are_not_read(entries: dict[str, str], tmp_path: Path) -> None:
    path = external(tmp_path, **entries)
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(FormatError) as error:
        nn.from_onnx(path)
    assert "\n" not in str(error.value)
    with pytest.raises(FormatError):
        nn.from_onnx(onnx.load(path, load_external_data=False))
