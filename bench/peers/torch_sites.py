"""Weights with sites, which PyTorch has not: gathered windows times the weights of their sites, in the ways that people write it.

With T sites and output positions p = t + T·q, all products are products of matrices, one per site:

    windows u[t, (n, q), r], weights w[t, r, o], errors dy[t, (n, q), o]:     y = u·w     dw = uᵀ·dy     du = dy·wᵀ, folded to dx

Locally connected weights have T = the output's size and a single q. With few sites, each is a convolution of stride T of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.peers.peer import Contestant
from bench.problems import FIRST, LAST, Array, Row


def contestants(torch: Any, row: Row, first: Array, second: Array) -> Iterator[Contestant]:
    """A signal is a picture of height 1. Every way makes its result anew, in the layout that it took."""
    spec = row.describe()
    assert (spec.groups, *spec.dilation) == (1,) * (spec.n + 1), row.name
    roles = {"y": "xw", "x": "yw", "w": "xy"}[row.product]
    held = {role: _as_picture(array, role, row) for role, array in zip(roles, (first, second), strict=True)}

    def reader(layout: str) -> Callable[[Any], Array]:
        shape = {"y": spec.y_shape, "x": spec.x_shape, "w": spec.w_shape}[row.product]
        theirs = _turned(_as_picture(np.empty(shape, np.bool_), row.product, row), row.product, row.layout, layout).shape
        return lambda result: _turned(np.asarray(result).reshape(theirs), row.product, layout, row.layout).reshape(shape)

    for layout in (FIRST, LAST):
        theirs = {role: torch.from_numpy(np.ascontiguousarray(_turned(array, role, row.layout, layout))) for role, array in held.items()}
        ways: list[tuple[str, _Way]] = []
        if all(out % t == 0 for out, t in zip(spec.output, spec.sites or (), strict=True)):
            ways.append(("gathered", Gathered(torch, row, layout)))
            if layout == FIRST:
                ways.append(("unfold, einsum", Einsum(torch, row)))
        if row.sharing == "tiled" and layout == FIRST:
            ways.append(("convolutions", PerSite(torch, row)))
        for name, way in ways:
            run = _call(getattr(way, {"y": "forward", "x": "gradient_of_input", "w": "gradient_of_weights"}[row.product]), theirs, roles)
            yield Contestant("torch", f"{layout} {name}", run, reader(layout), same=layout == row.layout)


def _call(product: Callable[[Any, Any], Any], operands: dict[str, Any], roles: str) -> Callable[[], Any]:
    first, second = (operands[role] for role in roles)
    return lambda: product(first, second)


class _Way:
    """Geometry of two spatial axes that all ways share."""

    def __init__(self, torch: Any, row: Row) -> None:
        spec = row.describe()
        self.torch, self.functional = torch, torch.nn.functional
        lead = (1,) * (2 - spec.n)
        self.size, self.kernel, self.stride = (*lead, *spec.size), (*lead, *spec.kernel), (*lead, *spec.stride)
        self.sites, self.out = (*lead, *(spec.sites or ())), (*lead, *spec.output)
        self.sides = (*(0 for _ in lead), *(low for low, _ in spec.padding))
        self.batch, self.channels, self.features = spec.batch, spec.channels, spec.features
        self.turns = tuple(out // t for out, t in zip(self.out, self.sites, strict=True))


class Gathered(_Way):
    """Strided views of windows, copied into matrices, and batched products; for both layouts."""

    def __init__(self, torch: Any, row: Row, layout: str) -> None:
        super().__init__(torch, row)
        self.last = layout == LAST
        self.reduction = math.prod(self.kernel) * self.channels

    def forward(self, x: Any, w: Any) -> Any:
        return self._from_sites(self.torch.bmm(self._windows(x), self._matrices(w).transpose(1, 2)))

    def gradient_of_weights(self, x: Any, dy: Any) -> Any:
        rows, errors = self._windows(x), self._to_sites(dy)
        if self.last:
            return self.torch.bmm(rows.transpose(1, 2), errors)
        return self.torch.bmm(errors.transpose(1, 2), rows)

    def gradient_of_input(self, dy: Any, w: Any) -> Any:
        rows = self.torch.bmm(self._to_sites(dy), self._matrices(w))
        (t, u), (q, r) = self.sites, self.turns
        if self.last:
            rows = rows.view(t, u, self.batch, q, r, math.prod(self.kernel), self.channels).permute(2, 6, 5, 3, 0, 4, 1)
        else:
            rows = rows.view(t, u, self.batch, q, r, self.channels, math.prod(self.kernel)).permute(2, 5, 6, 3, 0, 4, 1)
        columns = rows.reshape(self.batch, self.reduction, math.prod(self.out))
        dx = self.functional.fold(columns, self.size, self.kernel, padding=self.sides, stride=self.stride)
        return dx.permute(0, 2, 3, 1).contiguous() if self.last else dx

    def _matrices(self, w: Any) -> Any:
        """(sites, O, reduction)."""
        if self.last:
            return w.reshape(-1, self.reduction, self.features).transpose(1, 2)
        return w.reshape(-1, self.features, self.reduction)

    def _windows(self, x: Any) -> Any:
        """(sites, N·turns, reduction): the windows of each site, in the order of the weights."""
        below, beside = self.sides
        around = (beside, beside, below, below)
        (t, u), (q, r) = self.sites, self.turns
        axis = 1 if self.last else 2
        padded = self.functional.pad(x, (0, 0, *around) if self.last else around)
        views = padded.unfold(axis, self.kernel[0], self.stride[0]).unfold(axis + 1, self.kernel[1], self.stride[1])
        if self.last:  # N, P, Q, C, K, L
            rows = views.unflatten(1, (q, t)).unflatten(3, (r, u)).permute(2, 4, 0, 1, 3, 6, 7, 5)
        else:  # N, C, P, Q, K, L
            rows = views.unflatten(2, (q, t)).unflatten(4, (r, u)).permute(3, 5, 0, 2, 4, 1, 6, 7)
        return rows.reshape(t * u, -1, self.reduction)

    def _to_sites(self, y: Any) -> Any:
        """(sites, N·turns, O) of an array like the output."""
        (t, u), (q, r) = self.sites, self.turns
        if self.last:
            split = y.view(self.batch, q, t, r, u, self.features).permute(2, 4, 0, 1, 3, 5)
        else:
            split = y.view(self.batch, self.features, q, t, r, u).permute(3, 5, 0, 2, 4, 1)
        return split.reshape(t * u, -1, self.features)

    def _from_sites(self, rows: Any) -> Any:
        (t, u), (q, r) = self.sites, self.turns
        split = rows.view(t, u, self.batch, q, r, self.features)
        return split.permute(2, 3, 0, 4, 1, 5).contiguous() if self.last else split.permute(2, 5, 3, 0, 4, 1).contiguous()


class Einsum(_Way):
    """torch.nn.functional.unfold and einsum, channels-first."""

    def forward(self, x: Any, w: Any) -> Any:
        return self.torch.einsum("ncqtru,tuoc->noqtru", self._columns(x), self._flat(w)).contiguous()

    def gradient_of_weights(self, x: Any, dy: Any) -> Any:
        return self.torch.einsum("ncqtru,noqtru->tuoc", self._columns(x), self._split(dy)).contiguous()

    def gradient_of_input(self, dy: Any, w: Any) -> Any:
        columns = self.torch.einsum("noqtru,tuoc->ncqtru", self._split(dy), self._flat(w))
        columns = columns.reshape(self.batch, -1, math.prod(self.out))
        return self.functional.fold(columns, self.size, self.kernel, padding=self.sides, stride=self.stride)

    def _columns(self, x: Any) -> Any:
        columns = self.functional.unfold(x, self.kernel, padding=self.sides, stride=self.stride)
        (t, u), (q, r) = self.sites, self.turns
        return columns.view(self.batch, -1, q, t, r, u)

    def _flat(self, w: Any) -> Any:
        return w.reshape(*self.sites, self.features, -1)

    def _split(self, y: Any) -> Any:
        (t, u), (q, r) = self.sites, self.turns
        return y.view(self.batch, self.features, q, t, r, u)


class PerSite(_Way):
    """A convolution for each site, of a stride that meets only its own positions."""

    def forward(self, x: Any, w: Any) -> Any:
        x = self._padded(x)
        y = self.torch.empty((self.batch, self.features, *self.out), dtype=x.dtype)
        for t, u in self._sites():
            self._own(y, t, u).copy_(self.torch.conv2d(self._seen(x, t, u), w[t, u], None, self._steps()))
        return y

    def gradient_of_weights(self, x: Any, dy: Any) -> Any:
        x = self._padded(x)
        dw = self.torch.empty((*self.sites, self.features, self.channels, *self.kernel), dtype=x.dtype)
        for t, u in self._sites():
            dw[t, u] = self._backward(self._own(dy, t, u), self._seen(x, t, u), dw[t, u], (False, True, False))[1]
        return dw

    def gradient_of_input(self, dy: Any, w: Any) -> Any:
        (above, beside), (height, width) = self.sides, self.size
        dx = self.torch.zeros((self.batch, self.channels, height + 2 * above, width + 2 * beside), dtype=dy.dtype)
        for t, u in self._sites():
            seen = self._seen(dx, t, u)
            seen += self._backward(self._own(dy, t, u), seen, w[t, u], (True, False, False))[0]
        return dx[:, :, above : above + height, beside : beside + width].contiguous()

    def _sites(self) -> Iterator[tuple[int, int]]:
        t, u = self.sites
        return itertools.product(range(t), range(u))

    def _steps(self) -> list[int]:
        return [s * t for s, t in zip(self.stride, self.sites, strict=True)]

    def _padded(self, x: Any) -> Any:
        above, beside = self.sides
        return self.functional.pad(x, (beside, beside, above, above))

    def _own(self, y: Any, t: int, u: int) -> Any:
        """The outputs of a site."""
        return y[:, :, t :: self.sites[0], u :: self.sites[1]]

    def _seen(self, x: Any, t: int, u: int) -> Any:
        """What is left of a padded input from the first window of a site on."""
        return x[:, :, t * self.stride[0] :, u * self.stride[1] :]

    def _backward(self, dy: Any, x: Any, w: Any, mask: tuple[bool, bool, bool]) -> Any:
        backward = self.torch.ops.aten.convolution_backward
        return backward(dy, x, w, None, self._steps(), [0, 0], [1, 1], False, [0, 0], 1, mask)


def _as_picture(array: Array, role: str, row: Row) -> Array:
    """A signal's array with the axes of a picture of height 1; pictures stay."""
    if row.describe().n == 2:
        return array
    if role != "w":
        return np.expand_dims(array, 2 if row.layout == FIRST else 1)
    site = array[None]
    return np.expand_dims(site, 4 if row.layout == FIRST else 2)


def _turned(array: Array, role: str, held: str, wanted: str) -> Array:
    """The same array in another layout: data (N, C, H, W), weights (T, U, O, I, K, L)."""
    if held == wanted:
        return array
    if role != "w":
        return np.moveaxis(array, 1, -1) if wanted == LAST else np.moveaxis(array, -1, 1)
    return array.transpose(0, 1, 4, 5, 3, 2) if wanted == LAST else array.transpose(0, 1, 5, 4, 2, 3)
