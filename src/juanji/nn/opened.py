"""The network that a name or a path stands for: what the commands are given."""

from __future__ import annotations

import os
from pathlib import Path

from juanji.errors import ArgumentError, FileError
from juanji.nn.formats.onnx_reader import from_onnx
from juanji.nn.graph import Graph, load
from juanji.nn.models import NAMES, get
from juanji.nn.models.named import MODELS, unbuilt
from juanji.nn.shaped import ShapedGraph


def open_network(source: str | os.PathLike[str], *, trained: bool = True) -> Graph | ShapedGraph:
    """A network from the name of a model, the folder of a training run, a file that `save` wrote, or an ONNX file.

    trained: whether a model by name needs its trained weights; without, it comes without parameters, for those who
    only count.

    Raises ArgumentError for a name that is none, FileError or FormatError for files that are missing or damaged.
    """
    path = Path(source)
    if str(source) in MODELS and not path.is_file():
        if MODELS[str(source)].file is not None and trained:
            return get(str(source), weights="pretrained")
        if trained:
            raise ArgumentError(f"model (={str(source)!r}) has no trained weights to be had; train it: juanji train {source} --out run/")
        return unbuilt(str(source))
    if path.is_dir():
        if not (path / "net.safetensors").exists():
            raise FileError(f"{path}: is a folder without net.safetensors; a run that has finished an epoch has one")
        return load(path / "net.safetensors")
    if not path.exists():
        raise ArgumentError(f"network (={str(source)!r}) must be a file, the folder of a run, or one of {', '.join(NAMES)}")
    return from_onnx(path) if path.suffix.lower() == ".onnx" else load(path)
