"""A network of ours as a PyTorch module with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from juanji import nn

layers: Any = torch.nn


def twin(net: nn.Graph, shape: tuple[int, ...]) -> Any:
    """The same graph in PyTorch's own layers for inputs of a shape (C, *S); raises KeyError for an operator that has none here."""
    module = _Twin(net, shape)
    with torch.no_grad():
        ours = net.parameters
        for name, theirs in module.named_parameters():
            theirs.copy_(torch.from_numpy(ours[name.removeprefix("layers.")]))
    return module.train()


class _Twin(layers.Module):  # type: ignore[misc]
    def __init__(self, net: nn.Graph, shape: tuple[int, ...]):
        super().__init__()
        shapes = net.shapes(shape)
        self.nodes, (self.output,), (self.input,) = net.nodes, net.outputs.values(), net.inputs
        made = {node.name: LAYERS[type(node.op)](node.op, *(shapes[name] for name in node.inputs)) for node in net.nodes}
        self.layers = layers.ModuleDict(made)

    def forward(self, x: Any) -> Any:
        values = {self.input: x}
        for node in self.nodes:
            values[node.outputs[0]] = self.layers[node.name](*(values[name] for name in node.inputs))
        return values[self.output]


class _Concatenate(layers.Module):  # type: ignore[misc]
    def forward(self, *values: Any) -> Any:
        return torch.cat(values, 1)


class _Mean(layers.Module):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x.flatten(2).mean(2)


def _of(kind: str, n: int) -> Any:
    return getattr(layers, f"{kind}{n}d")


def _conv(op: Any, shape: tuple[int, ...]) -> Any:
    n = len(shape) - 2
    return _of("Conv", n)(shape[1], op.features, op.size, op.stride, op.padding, op.dilation, bias=bool(op.has_bias))


def _transposed(op: Any, shape: tuple[int, ...]) -> Any:
    return _of("ConvTranspose", len(shape) - 2)(shape[1], op.features, op.size, op.stride, op.padding, bias=bool(op.has_bias))


LAYERS: dict[type[nn.Operator], Callable[..., Any]] = {
    nn.Conv: _conv,
    nn.ConvTranspose: _transposed,
    nn.Dense: lambda op, shape: layers.Linear(shape[1], op.features),
    nn.ReLU: lambda op, shape: layers.ReLU(),
    nn.MaxPool: lambda op, shape: _of("MaxPool", len(shape) - 2)(op.size, op.stride),
    nn.BatchNorm: lambda op, shape: _of("BatchNorm", max(len(shape) - 2, 1))(shape[1]),
    nn.Flatten: lambda op, shape: layers.Flatten(),
    nn.GlobalPool: lambda op, shape: _Mean(),
    nn.Concatenate: lambda op, *shapes: _Concatenate(),
    nn.Dropout: lambda op, shape: layers.Dropout(op.rate),
}
