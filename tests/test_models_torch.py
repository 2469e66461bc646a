"""EfficientNet-Lite0 with its trained weights against PyTorch's own functions, and whole networks' gradients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from juanji import nn

torch: Any = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
DATA = Path(os.environ.get("JUANJI_DATA") or "nowhere")


def forward(net: nn.Graph, x: Any, arrays: Mapping[str, Any]) -> Any:
    """The graph of EfficientNet-Lite0, operator by operator, in PyTorch's functions."""
    F = torch.nn.functional  # noqa: N806 - as everyone calls it
    values = {"input": x}
    for node in net.nodes:
        inputs, op = [values[name] for name in node.inputs], node.op
        own = {name: arrays[f"{node.owner}.{name}"] for name in ("weight", "bias", "mean", "variance") if f"{node.owner}.{name}" in arrays}
        match op:
            case nn.Conv():
                assert isinstance(op.size, int)
                assert isinstance(op.stride, int)
                pads = []
                for size in reversed(inputs[0].shape[2:]):  # TensorFlow's padding, the odd element at the end
                    whole = max((-(-size // op.stride) - 1) * op.stride + op.size - size, 0)
                    pads += [whole // 2, whole - whole // 2]
                groups = inputs[0].shape[1] if op.groups == "each" else 1
                y = F.conv2d(F.pad(inputs[0], pads), own["weight"], own.get("bias"), op.stride, groups=groups)
            case nn.BatchNorm():
                y = F.batch_norm(inputs[0], own["mean"], own["variance"], own["weight"], own["bias"], eps=op.epsilon)
            case nn.ReLU6():
                y = F.relu6(inputs[0])
            case nn.Add():
                y = inputs[0] + inputs[1]
            case nn.GlobalPool():
                y = inputs[0].mean((2, 3))
            case nn.Dropout():
                y = inputs[0]
            case nn.Dense():
                y = F.linear(inputs[0], own["weight"], own["bias"])
            case _:
                raise AssertionError(op)
        values[node.outputs[0]] = y
    return values[net.outputs["output"]]


@pytest.fixture
def net() -> nn.Graph:
    if not (DATA / "models").exists():
        pytest.skip("needs JUANJI_DATA")
    return nn.models.get("efficientnet-lite0", weights="pretrained")


def test_outputs_of_the_trained_network(net: nn.Graph) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    arrays = {name: torch.from_numpy(array) for name, array in (net.parameters | net.buffers).items()}
    with torch.no_grad():
        expected = forward(net, torch.from_numpy(x), arrays).numpy()
    for found in (net(x), net.compile((3, 224, 224))(x)):
        assert np.abs(found - expected).max() < 1e-3


def test_gradients_of_the_trained_network(net: nn.Graph) -> None:
    x = np.random.default_rng(1).normal(size=(1, 3, 96, 96)).astype(np.float32)
    arrays = {name: torch.from_numpy(array) for name, array in net.buffers.items()}
    arrays |= {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in net.parameters.items()}
    loss = torch.nn.functional.cross_entropy(forward(net.astype("float32"), torch.from_numpy(x), arrays), torch.tensor([281]))
    loss.backward()
    wide = nn.Graph.of_nodes({"input": (3, None, None)}, net.nodes, net.outputs, net.parameters | net.buffers)
    found = wide.gradients(x, np.array([281]))
    for name, gradient in found.items():
        expected = arrays[name].grad.numpy()
        assert np.abs(gradient - expected).max() <= 1e-4 * max(1.0, float(np.abs(expected).max())), name
