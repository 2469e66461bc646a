"""JAX: XLA's convolutions and their gradients, compiled beforehand."""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.peers.peer import Contestant
from bench.problems import FIRST, LAST, AnyRow, Array, Row
from bench.targets import WEAK

PADS = {"reflect": "reflect", "edge": "edge", "symmetric": "symmetric", "wrap": "wrap"}
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


class Jax:
    """jax.lax on the CPU in the row's layout, for the groups where torch is weak or has no operator of its own."""

    library = "jax"

    def __init__(self) -> None:
        self.jax: Any = importlib.import_module("jax")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """XLA reads its flags once, when it is first used; with one thread they say so, otherwise it takes all cores."""
        before = os.environ.get("XLA_FLAGS")
        if threads == 1:
            os.environ["XLA_FLAGS"] = f"{before or ''} {ONE_THREAD}".strip()
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        try:
            with self.jax.enable_x64(True):
                yield
        finally:
            if before is None:
                os.environ.pop("XLA_FLAGS", None)
            else:
                os.environ["XLA_FLAGS"] = before

    def contestants(self, row: AnyRow, first: Array, second: Array) -> Iterator[Contestant]:
        if not isinstance(row, Row) or row.kind != "conv" or row.sharing == "tiled":
            return
        if row.group in WEAK or row.sharing == "local":
            yield self._product(row, first, second)

    def _product(self, row: Row, first: Array, second: Array) -> Contestant:
        spec = row.describe()
        shapes = {"x": spec.x_shape, "w": spec.w_shape}
        order = _Order(row)
        operands = [
            self.jax.device_put(order.theirs(a) if role == "w" and row.sharing == "local" else a)
            for role, a in zip({"y": "xw", "x": "yw", "w": "xy"}[row.product], (first, second), strict=True)
        ]
        forward = self._forward(row)
        zeros = self.jax.numpy.zeros

        def gradient_of_input(dy: Any, w: Any) -> Any:
            return self.jax.vjp(lambda x: forward(x, w), zeros(shapes["x"], row.dtype))[1](dy)[0]

        def gradient_of_weights(x: Any, dy: Any) -> Any:
            shape = order.theirs(np.empty(shapes["w"], np.bool_)).shape if row.sharing == "local" else shapes["w"]
            return self.jax.vjp(lambda w: forward(x, w), zeros(shape, row.dtype))[1](dy)[0]

        compiled = self.jax.jit({"y": forward, "x": gradient_of_input, "w": gradient_of_weights}[row.product])

        def read(result: Any) -> Array:
            array = np.asarray(result)
            return order.ours(array) if row.product == "w" and row.sharing == "local" else array

        return Contestant(self.library, row.layout, lambda: compiled(*operands).block_until_ready(), read)

    def _forward(self, row: Row) -> Callable[[Any, Any], Any]:
        spec, lax, jnp = row.describe(), self.jax.lax, self.jax.numpy
        letters = "DHW"[-spec.n :]
        data, weights = (f"NC{letters}", f"OI{letters}") if row.layout == FIRST else (f"N{letters}C", f"{letters}IO")
        steps = {"window_strides": spec.stride, "rhs_dilation": spec.dilation, "dimension_numbers": (data, weights, data)}
        mode = spec.boundary[0].mode
        sides = spec.padding if mode == "constant" else ((0, 0),) * spec.n
        around = ((0, 0), (0, 0), *spec.padding) if row.layout == FIRST else ((0, 0), *spec.padding, (0, 0))

        def forward(x: Any, w: Any) -> Any:
            if mode != "constant":
                x = jnp.pad(x, around, mode=PADS[mode])
            if row.sharing == "local":
                return lax.conv_general_dilated_local(x, w, padding=sides, filter_shape=spec.kernel, **steps)
            out = row.out_dtype
            return lax.conv_general_dilated(x, w, padding=sides, feature_group_count=row.groups, preferred_element_type=out, **steps)

        return forward


class _Order:
    """Locally connected weights as JAX has them: channels before kernel in one axis, sites where a kernel's axes would be."""

    def __init__(self, row: Row) -> None:
        spec = row.describe()
        self.n, self.layout, self.kernel = spec.n, row.layout, spec.kernel
        self.per_group = spec.channels // spec.groups

    def theirs(self, w: Array) -> Array:
        n = self.n
        if self.layout == LAST:  # (*T, *K, I, O): kernel after channels
            w = np.moveaxis(w, -2, n)
            return np.ascontiguousarray(w.reshape(*w.shape[:n], -1, w.shape[-1]))
        flat = w.reshape(*w.shape[: n + 1], -1)  # (*T, O, I·K)
        return np.ascontiguousarray(np.moveaxis(flat, (n, n + 1), (0, 1)))

    def ours(self, w: Array) -> Array:
        n = self.n
        if self.layout == LAST:
            return np.moveaxis(w.reshape(*w.shape[:n], self.per_group, *self.kernel, w.shape[-1]), n, -2)
        back = np.moveaxis(w, (0, 1), (n, n + 1))
        return back.reshape(*back.shape[:-1], self.per_group, *self.kernel)
