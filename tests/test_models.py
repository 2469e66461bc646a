"""Networks by name: their sizes as published, and trained weights of others on real pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from juanji import nn
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.formats import safetensors_files
from juanji.nn.models import named
from juanji.nn.models.named import unbuilt

DATA = Path(os.environ.get("JUANJI_DATA") or "nowhere")
has_weights = pytest.mark.skipif(not (DATA / "models").exists(), reason="needs JUANJI_DATA")

# of trained numbers: those of torchvision, of the PyTorch port of EfficientNet-Lite, of the texts
PARAMETERS = {
    "lenet-5": 61_706, "three-stages": 22_466, "vgg-16": 138_357_544, "resnet-18": 11_689_512, "resnet-50": 25_557_032,
    "mobilenet-v2": 3_504_872, "efficientnet-lite0": 4_652_008, "vgg16-edges": 14_714_688 + 1_477 + 6,
}  # fmt: skip
# millions of multiply-adds of one picture
MACS = {"vgg-16": 15_470, "resnet-18": 1_814, "resnet-50": 4_089, "mobilenet-v2": 301, "efficientnet-lite0": 385}


def count(net: nn.Graph, shape: tuple[int, ...]) -> int:
    """Numbers that training changes, without making them."""
    shapes = net.shapes(shape)
    found = 0
    for node in net.nodes:
        parameters = node.op.parameters(*(shapes[name] for name in node.inputs))
        found += sum(int(np.prod(p.shape)) for name, p in parameters.items() if node.op.trains(name))
    return found


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_as_published(name: str) -> None:
    assert count(unbuilt(name), named.MODELS[name].shape) == PARAMETERS[name]


@pytest.mark.parametrize("name", MACS)
def test_multiply_adds_as_published(name: str) -> None:
    net = unbuilt(name)
    shapes = net.shapes(named.MODELS[name].shape)
    macs = sum(node.op.macs(*(shapes[value] for value in node.inputs)) for node in net.nodes)
    assert round(macs / 1e6) == MACS[name]


@pytest.mark.parametrize("name", named.NAMES)
def test_every_model_has_its_shape(name: str) -> None:
    model = named.MODELS[name]
    shapes = unbuilt(name).shapes(model.shape)
    (output,) = unbuilt(name).outputs.values()
    expected = (1, model.classes) if name not in ("unet", "vgg16-edges") else (1, model.classes, *model.shape[1:])
    assert shapes[output] == expected


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet-5", "three-stages", "series", "volume", "unet"])
def test_small_models_run_and_go_back(name: str) -> None:
    net = nn.models.get(name, seed=2)
    shape = named.MODELS[name].shape
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    tape = net.record(x, training=True)
    (output,) = net.outputs.values()
    back = tape.backward({output: np.ones_like(tape.values[output])}, ["input"])
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in back.parameters.values() if gradient.size > 8)
    assert back.values["input"].any()


def test_layers_of_the_reference_network() -> None:
    net = nn.models.get("three-stages")
    shapes = net.shapes()
    made = [shapes[name][1:] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3")]
    assert made == [(16, 32, 32), (16, 16, 16), (20, 16, 16), (20, 8, 8), (20, 8, 8), (20, 4, 4)]


def test_other_sizes_and_classes() -> None:
    net = nn.models.get("resnet-18", classes=7, shape=(1, 64, 64))
    assert net(np.zeros((1, 1, 64, 64), np.float32)).shape == (1, 7)


def test_weights_from_a_file_must_fit(tmp_path: Path) -> None:
    net = nn.models.get("mlp", seed=3)
    path = tmp_path / "w.safetensors"
    safetensors_files.write(path, net.parameters)
    assert (nn.models.get("mlp", weights=path).parameters["dense1.weight"] == net.parameters["dense1.weight"]).all()
    with pytest.raises(ShapeError, match=r"dense3\.weight of shape \(10, 100\)"):
        nn.models.get("mlp", classes=5, weights=path)
    with pytest.raises(ShapeError, match="no place for"):
        nn.models.get("linear", weights=path, shape=(1, 28, 28), classes=300)
    with pytest.raises(ArgumentError, match="vgg16-edges, efficientnet-lite0"):
        nn.models.get("mlp", weights="pretrained")
    with pytest.raises(ArgumentError, match="lenet-5"):
        nn.models.get("lenet")


@has_weights
def test_efficientnet_names_what_pictures_show() -> None:
    """The classes and probabilities that are known for these weights; the pictures are those of scikit-image."""
    folder = Path(pytest.importorskip("skimage").__file__).parent / "data"
    from juanji import image

    net = nn.models.get("efficientnet-lite0", weights="pretrained")
    assert net.preprocessing is not None
    assert net.classes is not None
    known = (("chelsea.png", "tiger cat", 0.39), ("coffee.png", "espresso", 0.95), ("camera.png", "tripod", 0.94))
    for file, expected, probability in known:
        scores = net(net.preprocessing.picture(image.read(folder / file), 3))[0].astype(np.float64)
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        assert net.classes[int(shares.argmax())].split(",")[0] == expected
        assert shares.max() == pytest.approx(probability, abs=0.01)


@has_weights
def test_edges_are_where_brightness_jumps() -> None:
    net = nn.models.get("vgg16-edges", weights="pretrained")
    picture = np.zeros((1, 3, 64, 96), np.uint8)
    picture[..., 48:] = 200
    edges = net(picture)[0, 0]
    assert edges.shape == (64, 96)
    assert edges[16:48, 46:50].max(axis=1).min() > 0.5
    assert edges[16:48, 16:32].max() < 0.1
