"""PyTorch's pooling, forward and backward, in both memory formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.peers.peer import Contestant
from bench.problems import FIRST, LAST, Array, PoolRow


def contestants(torch: Any, row: PoolRow, x: Array, dy: Array) -> Iterator[Contestant]:
    """Backward has what its forward pass left: the places of the maxima, the norms."""
    n = row.describe().n
    if row.layout == LAST:
        x, dy = np.moveaxis(x, -1, 1), np.moveaxis(dy, -1, 1)
    formats = {FIRST: torch.contiguous_format, LAST: {2: torch.channels_last, 3: torch.channels_last_3d}.get(n)}

    def read(result: Any) -> Array:
        array: Array = result.numpy()
        return np.moveaxis(array, 1, -1) if row.layout == LAST else array

    for layout, memory_format in formats.items():
        if memory_format is None:
            continue  # a signal, whose format torch does not know
        tensors = [torch.from_numpy(np.ascontiguousarray(array)).contiguous(memory_format=memory_format) for array in (x, dy)]
        run = _forward(torch, row, tensors[0]) if row.product == "y" else _backward(torch, row, *tensors)
        yield Contestant("torch", layout, run, read, same=layout == row.layout)


def _forward(torch: Any, row: PoolRow, x: Any) -> Callable[[], Any]:
    functional, n = torch.nn.functional, row.describe().n
    if row.adaptive:
        pool = getattr(functional, f"adaptive_{row.op}_pool{n}d")
        return lambda: pool(x, row.size)
    if row.op == "lp":
        norm = getattr(functional, f"lp_pool{n}d")
        return lambda: norm(x, 2.0, row.size, row.stride)
    pool = getattr(functional, f"{row.op}_pool{n}d")
    if row.op == "avg":
        return lambda: pool(x, row.size, row.stride, row.padding, count_include_pad=False)
    return lambda: pool(x, row.size, row.stride, row.padding)


def _backward(torch: Any, row: PoolRow, x: Any, dy: Any) -> Callable[[], Any]:
    n, aten, functional = row.describe().n, torch.ops.aten, torch.nn.functional
    match row.op:
        case "max" if n > 1:
            name = f"adaptive_max_pool{n}d" if row.adaptive else f"max_pool{n}d"
            if row.adaptive:
                places = getattr(functional, name)(x, row.size, return_indices=True)[1]
                adaptive = getattr(aten, f"{name}_backward")
                return lambda: adaptive(dy, x, places)
            stride = row.size if row.stride is None else row.stride
            places = getattr(functional, name)(x, row.size, stride, row.padding, return_indices=True)[1]
            window = ([row.size] * n, [stride] * n, [row.padding] * n, [1] * n, False)
            scatter = getattr(aten, f"{name}_with_indices_backward")
            return lambda: scatter(dy, x, *window, places)
        case "avg" if row.adaptive:
            spread = getattr(aten, f"_adaptive_avg_pool{n}d_backward")
            return lambda: spread(dy, x)
        case "avg":
            stride = row.size if row.stride is None else row.stride
            spread = getattr(aten, f"avg_pool{n}d_backward")
            return lambda: spread(dy, x, [row.size] * n, [stride] * n, [row.padding] * n, False, False, None)
        case _:
            return _autograd(torch, row, x, dy)


def _autograd(torch: Any, row: PoolRow, x: Any, dy: Any) -> Callable[[], Any]:
    """The gradient of what has no backward operator of its own, of a graph that is there already."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf, errors = x.clone().requires_grad_(), dy.clone()
        y = _forward(torch, row, leaf)()

    def run() -> Any:
        with torch.inference_mode(False), torch.enable_grad():
            return torch.autograd.grad(y, leaf, errors, retain_graph=True)[0]

    return run
