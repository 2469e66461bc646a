"""What PyTorch's exporter writes for usual modules, with and without lengths left open, is read and equals the module."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from juanji import nn

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

tn, F = torch.nn, torch.nn.functional
Module: Any = tn.Module


class Made(Module):  # type: ignore[misc]
    """A module of a few parts and what is done with them."""

    def __init__(self, forward: Callable[[Any, Any], Any], *parts: Any):
        super().__init__()
        self.made, self.parts = forward, tn.ModuleList(parts)

    def forward(self, x: Any) -> Any:
        return self.made(self.parts, x)


def shuffled(m: Any, x: Any) -> Any:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


MODULES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "classifier": (lambda: tn.Sequential(
        tn.Conv2d(3, 8, 3, padding=1, bias=False), tn.BatchNorm2d(8), tn.ReLU(), tn.MaxPool2d(2), tn.Conv2d(8, 8, 3, groups=8),
        tn.Hardswish(), tn.AdaptiveAvgPool2d(1), tn.Flatten(), tn.Linear(8, 5)), (2, 3, 16, 16)),
    "view": (lambda: Made(lambda m, x: m[0](x).view(x.size(0), -1), tn.Conv2d(3, 4, 3)), (2, 3, 8, 8)),
    "bilinear": (lambda: Made(lambda m, x: F.interpolate(m[0](x), scale_factor=2, mode="bilinear"), tn.Conv2d(3, 4, 3)), (2, 3, 8, 8)),
    "resized like": (lambda: Made(
        lambda m, x: F.interpolate(m[0](x), size=x.shape[2:], mode="bilinear", align_corners=True), tn.Conv2d(3, 4, 3)), (2, 3, 8, 8)),
    "resized to": (lambda: Made(lambda m, x: F.interpolate(x, size=(13, 9), mode="nearest")), (2, 3, 8, 8)),
    "lstm": (lambda: Made(lambda m, x: m[0](x)[0][:, -1], tn.LSTM(4, 6, batch_first=True, bidirectional=True)), (2, 5, 4)),
    "gru": (lambda: Made(lambda m, x: m[0](x)[0], tn.GRU(4, 6, num_layers=2, batch_first=True)), (2, 5, 4)),
    "norms": (lambda: tn.Sequential(tn.GroupNorm(2, 4), tn.InstanceNorm2d(4, affine=True), tn.LayerNorm(6)), (2, 4, 5, 6)),
    "pixel shuffle": (lambda: tn.PixelShuffle(2), (2, 8, 4, 3)),
    "channel shuffle": (lambda: Made(shuffled), (2, 8, 4, 3)),
    "squeeze": (lambda: Made(
        lambda m, x: x * torch.sigmoid(m[1](F.relu(m[0](x.mean((2, 3), keepdim=True))))), tn.Conv2d(4, 2, 1), tn.Conv2d(2, 4, 1)),
        (2, 4, 5, 5)),
    "skip": (lambda: Made(
        lambda m, x: torch.cat([x, m[1](F.max_pool2d(m[0](x), 2))], 1), tn.Conv2d(3, 4, 3, padding=1), tn.ConvTranspose2d(4, 4, 2, 2)),
        (2, 3, 8, 8)),
    "padding": (lambda: tn.Sequential(
        tn.ReflectionPad2d((1, 2, 0, 1)), tn.ReplicationPad2d(1), tn.ZeroPad2d(1),
        tn.Conv2d(3, 2, 3, padding="same", padding_mode="circular")), (2, 3, 6, 6)),
    "activations": (lambda: tn.Sequential(
        tn.GELU(), tn.SiLU(), tn.ELU(), tn.SELU(), tn.Softplus(), tn.PReLU(3), tn.Mish(), tn.Hardsigmoid(), tn.LogSoftmax(1)),
        (2, 3, 4, 4)),
    "attention": (lambda: Made(
        lambda m, x: torch.softmax(m[0](x) @ m[1](x).transpose(1, 2) / 2.0, -1) @ m[2](x), *(tn.Linear(4, 4) for _ in range(3))),
        (2, 5, 4)),
    "chunks": (lambda: Made(lambda m, x: torch.add(*[part.abs().sqrt() for part in x.chunk(2, 1)])), (2, 4, 5, 5)),
    "lengths": (lambda: Made(lambda m, x: F.normalize(x, dim=1) + x.norm(dim=1, keepdim=True)), (2, 4, 5, 5)),
    "volume": (lambda: tn.Sequential(tn.Conv3d(2, 3, 3, dilation=2, padding=2), tn.AvgPool3d(2)), (2, 2, 6, 6, 6)),
    "response norm": (lambda: tn.LocalResponseNorm(5), (2, 8, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("open_lengths", ["none", "batch", "all but channels"])
@pytest.mark.parametrize("name", MODULES)
def test_exported_modules_are_read(name: str, open_lengths: str) -> None:
    make, shape = MODULES[name]
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(*shape)
    axes = {"none": [], "batch": [0], "all but channels": [i for i in range(len(shape)) if i != 1]}[open_lengths]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (x,), file, dynamo=False, input_names=["x"], output_names=["y"], opset_version=17, dynamic_axes={"x": axes}
        )  # fmt: skip
    net = nn.from_onnx(onnx.load_from_string(file.getvalue()))
    for times in (1, 2) if axes else (1,):
        inputs = x.repeat(times, *[1] * (len(shape) - 1))
        np.testing.assert_allclose(net(inputs.numpy()), module(inputs).detach().numpy(), rtol=1e-5, atol=1e-5)
