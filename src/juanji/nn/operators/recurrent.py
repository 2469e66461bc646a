"""Recurrent layers: the same step for every element of a sequence, with a state carried along.

A sequence is (T, N, F): time first. With σ the sigmoid and ∘ the product of elements, an LSTM (Hochreiter & Schmidhuber 1997) steps by

    i, o, f = σ(z_i), σ(z_o), σ(z_f)      g = tanh(z_g)      z = W·x_t + R·h_{t−1} + b
    c_t = f ∘ c_{t−1} + i ∘ g             h_t = o ∘ tanh(c_t)

and back, from the last step to the first, with dh and dc arriving from the step after:

    do = dh ∘ tanh(c_t)       dc += dh ∘ o ∘ (1 − tanh²(c_t))       di = dc ∘ g      dg = dc ∘ i      df = dc ∘ c_{t−1}
    dz_i = di ∘ i ∘ (1 − i), likewise o and f;   dz_g = dg ∘ (1 − g²)
    dx_t = dz·W      dh_{t−1} = dz·R      dc_{t−1} = dc ∘ f      dW = Σ dzᵀ·x_t      dR = Σ dzᵀ·h_{t−1}      db = Σ dz

A GRU (Cho et al. 2014) steps by

    u, r = σ(z_u), σ(z_r)      n = tanh(W_n·x_t + b_n + r ∘ (R_n·h_{t−1} + b'_n))      h_t = (1 − u) ∘ n + u ∘ h_{t−1}

or, with reset="before", by n = tanh(W_n·x_t + b_n + R_n·(r ∘ h_{t−1}) + b'_n).
Gates stand one behind the other in ONNX's order: i, o, f, g and u, r, n. The biases are those of W, then those of R.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji.errors import ArgumentError, ShapeError
from juanji.nn.activations import sigmoid
from juanji.nn.initial import Fill, Glorot
from juanji.nn.operator import Array, Back, Box, Operator, Parameter, Parameters, Run, Shape, one_of, whole

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True, eq=False)
class _Recurrent(Operator):
    """A recurrent layer over (T, N, F), with states (D, N, features) as further inputs, zeros where they are missing.

    Outputs: all states as (T, D, N, features), then the last of each state. D is 2 for direction="bidirectional", else 1.
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    features: int
    direction: str = "forward"

    def __post_init__(self) -> None:
        one_of("direction", self.direction, DIRECTIONS)

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return 1 + self.states

    def _backward_in_time(self) -> tuple[bool, ...]:
        return DIRECTIONS[self.direction]

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        self.shapes(*shapes)
        d, h, f = len(self._backward_in_time()), self.features, shapes[0][2]
        return {
            "weight": Parameter((d, self.gates * h, f), Glorot(), (f, self.gates * h)),
            "recurrent": Parameter((d, self.gates * h, h), Glorot(), (h, self.gates * h)),
            "bias": Parameter((d, 2 * self.gates * h), Fill(0.0)),
        }

    def shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        d, given = len(self._backward_in_time()), shapes[1:]
        if len(shapes[0]) != 3:
            raise ShapeError(f"{self} takes a sequence (T, N, F), not {shapes[0]}")
        state = (d, shapes[0][1], self.features)
        if len(given) not in (0, self.states) or any(shape != state for shape in given):
            raise ShapeError(f"{self} takes {self.states} states of shape {state} or none, not {', '.join(map(str, given))}")
        return ((shapes[0][0], *state), *(state,) * self.states)

    def shape(self, *shapes: Shape) -> Shape:
        return self.shapes(*shapes)[0]

    def macs(self, *shapes: Shape) -> int:
        t, n, f = shapes[0]
        return t * n * len(self._backward_in_time()) * self.gates * self.features * (f + self.features)

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return tuple(whole(shape) for shape in shapes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Any, Any]:
        x = inputs[0]
        made = self.shapes(*(value.shape for value in inputs))
        zero = np.zeros(made[1], x.dtype)
        starts = inputs[1:] or (zero,) * self.states
        y = np.empty(made[0], x.dtype)
        tapes: list[list[Any]] = []
        lasts: list[tuple[Array, ...]] = []
        for d, backwards in enumerate(self._backward_in_time()):
            state, tape = tuple(start[d] for start in starts), []
            own = self._of_direction(p, d)
            for t in _times(len(x), backwards):
                state, kept = self.step(own, x[t], state)
                y[t, d] = state[0]
                tape.append(kept)
            tapes.append(tape)
            lasts.append(state)
        return (y, *(np.stack(part) for part in zip(*lasts, strict=True))), (inputs, tapes)

    def backward(self, p: Parameters, saved: Any, dy: Any, wanted: tuple[bool, ...]) -> Back:
        inputs, tapes = saved
        x, dx = inputs[0], np.zeros_like(inputs[0])
        grads = {name: np.zeros_like(p[name]) for name in ("weight", "recurrent", "bias")}
        starts = []
        for d, backwards in enumerate(self._backward_in_time()):
            own, mine = self._of_direction(p, d), self._of_direction(grads, d)
            arriving = tuple(np.zeros((x.shape[1], self.features), x.dtype) if part is None else part[d] for part in dy[1:])
            for t, kept in zip(reversed(list(_times(len(x), backwards))), reversed(tapes[d]), strict=True):
                if dy[0] is not None:
                    arriving = (arriving[0] + dy[0][t, d], *arriving[1:])
                dx_t, arriving = self.step_back(own, mine, x[t], kept, arriving)
                dx[t] += dx_t
            starts.append(arriving)
        given = tuple(np.stack(part) for part in zip(*starts, strict=True)) if len(inputs) > 1 else ()
        return Back((dx, *given), grads)

    @staticmethod
    def _of_direction(p: Parameters, d: int) -> dict[str, Array]:
        return {name: p[name][d] for name in ("weight", "recurrent", "bias")}

    def step(self, p: Parameters, x: Array, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], Any]:
        """The state after one element, and what the way back needs."""
        raise NotImplementedError

    def step_back(
        self, p: Parameters, grads: dict[str, Array], x: Array, kept: Any, dstate: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        """The gradients of the element and of the state before it; those of the parameters are added to grads."""
        raise NotImplementedError


def _times(count: int, backwards: bool) -> Iterator[int]:
    return iter(range(count - 1, -1, -1) if backwards else range(count))


@dataclass(frozen=True, eq=False)
class LSTM(_Recurrent):
    """Long short-term memory over (T, N, F): LSTM(features)(x) or (x, h, c). Gives y (T, D, N, features), the last h and the last c."""

    stem: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def step(self, p: Parameters, x: Array, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], Any]:
        h, c = state
        bias, n = p["bias"], 4 * self.features
        z = x @ p["weight"].T + h @ p["recurrent"].T + (bias[:n] + bias[n:])
        gates, g = sigmoid(z[:, : 3 * self.features]), np.tanh(z[:, 3 * self.features :])
        i, o, f = np.split(gates, 3, axis=1)
        after = f * c + i * g
        shown = np.tanh(after)
        return (o * shown, after), (h, c, i, o, f, g, shown)

    def step_back(
        self, p: Parameters, grads: dict[str, Array], x: Array, kept: Any, dstate: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        h, c, i, o, f, g, shown = kept
        dh, dc = dstate
        dc = dc + dh * o * (1 - shown * shown)
        dz = np.concatenate(
            [dc * g * i * (1 - i), dh * shown * o * (1 - o), dc * c * f * (1 - f), dc * i * (1 - g * g)], axis=1
        )  # fmt: skip
        grads["weight"] += dz.T @ x
        grads["recurrent"] += dz.T @ h
        grads["bias"] += np.tile(dz.sum(axis=0), 2)
        return dz @ p["weight"], (dz @ p["recurrent"], dc * f)


@dataclass(frozen=True, eq=False)
class GRU(_Recurrent):
    """Gated recurrent unit over (T, N, F): GRU(features)(x) or (x, h). Gives y (T, D, N, features) and the last h.

    reset: "after" the matrix product, as in PyTorch, or "before" it.
    """

    stem: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    states: ClassVar[int] = 1
    reset: str = "after"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset not in ("after", "before"):
            raise ArgumentError(f"reset (={self.reset!r}) must be 'after' or 'before'")

    def step(self, p: Parameters, x: Array, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], Any]:
        (h,) = state
        k, recurrent = 2 * self.features, p["recurrent"]
        wide, own = x @ p["weight"].T + p["bias"][: 3 * self.features], p["bias"][3 * self.features :]
        u, r = np.split(sigmoid(wide[:, :k] + h @ recurrent[:k].T + own[:k]), 2, axis=1)
        inner = h @ recurrent[k:].T + own[k:] if self.reset == "after" else (r * h) @ recurrent[k:].T + own[k:]
        n = np.tanh(wide[:, k:] + (r * inner if self.reset == "after" else inner))
        return ((1 - u) * n + u * h,), (h, u, r, n, inner)

    def step_back(
        self, p: Parameters, grads: dict[str, Array], x: Array, kept: Any, dstate: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        h, u, r, n, inner = kept
        (dh,) = dstate
        k, recurrent = 2 * self.features, p["recurrent"]
        dn = dh * (1 - u) * (1 - n * n)
        before = dh * u
        if self.reset == "after":
            dinner, dr, met = dn * r, dn * inner, h
            before = before + dinner @ recurrent[k:]
        else:
            through = dn @ recurrent[k:]
            dinner, dr, met = dn, through * h, r * h
            before = before + through * r
        dgates = np.concatenate([dh * (h - n) * u * (1 - u), dr * r * (1 - r)], axis=1)
        dz = np.concatenate([dgates, dn], axis=1)
        grads["weight"] += dz.T @ x
        grads["recurrent"] += np.concatenate([dgates.T @ h, dinner.T @ met])
        grads["bias"] += np.concatenate([dz.sum(axis=0), dgates.sum(axis=0), dinner.sum(axis=0)])
        return dz @ p["weight"], (before + dgates @ recurrent[:k],)
