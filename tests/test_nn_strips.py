"""Stages run by strips of rows give the bits of stages run one by one, whatever the strips, the batch and the threads."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded import beside, guarded
from juanji import elementwise, machine, nn, run, sequence
from juanji.nn.inference import compiled, grouping
from juanji.nn.inference.compiled import Compiled
from juanji.nn.inference.rows import Reach
from juanji.nn.inference.strips import Strips
from juanji.nn.operator import Array, Operator, Symbol

Sizes = tuple[int, int, int]  # channels, rows, columns


def small_caches(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A second cache so small, and strips so low, that even small networks run by strips."""
    probed = dataclasses.replace(machine.probe(), l2=size)
    monkeypatch.setattr(compiled, "machines", SimpleNamespace(probe=lambda: probed))
    monkeypatch.setattr(grouping, "FEWEST_PIXELS", 1)
    monkeypatch.setattr(grouping, "MOVED", 0)


def strips_of(fast: Compiled, batch: int) -> list[Strips]:
    return [task.strips for task in fast.program(batch).tasks if task.strips is not None]


def compiled_by_strips(net: nn.Graph, monkeypatch: pytest.MonkeyPatch, size: int, threads: int = 1) -> Compiled:
    with monkeypatch.context() as context:
        small_caches(context, size)
        fast = net.compile(layout="channels_last", threads=threads)
        for batch in (1, 3):
            fast.program(batch)
    return fast


@given(
    reach=st.builds(Reach, span=st.integers(1, 5), stride=st.integers(1, 4), low=st.integers(0, 4)),
    height=st.integers(1, 12), first=st.integers(0, 5), count=st.integers(0, 4),
)  # fmt: skip
def test_rows_that_rows_read(reach: Reach, height: int, first: int, count: int) -> None:
    touched = [(first + p) * reach.stride - reach.low + k for p in range(count) for k in range(reach.span)]
    begin, end = reach.rows(first, first + count, height)
    assert 0 <= begin <= end <= height
    if count:
        between = [row for row in range(min(touched), max(touched) + 1) if 0 <= row < height]
        assert list(range(begin, end)) == between
        assert reach.outside(first, first + count, height) == (max(0, -min(touched)), max(0, max(touched) + 1 - height))


def drawn(random: np.random.Generator) -> nn.Graph:
    """Convolutions, maxima and sums in a row, with forks and joins, some of whose values are wanted outside."""
    x = nn.Input((4, 23, 9))
    start: Sizes = (16, 23, 9)
    values: list[tuple[Symbol, Sizes]] = [(nn.Conv(16, 1)(x), start)]
    while len(values) < 7:
        source, (channels, rows, columns) = values[random.integers(max(0, len(values) - 2), len(values))]
        alike = [value for value, sizes in values if sizes == (channels, rows, columns)]
        kind = random.choice(["conv", "conv", "depthwise", "pool", "sum"])
        if kind == "sum":
            made = nn.Add()(source, alike[random.integers(len(alike))])
            values.append((nn.ReLU()(made) if random.integers(2) else made, (channels, rows, columns)))
            continue
        size, stride = int(random.integers(1, 4)), int(random.choice([1, 1, 2, 3]))
        padding, dilation = int(random.integers(size)), int(random.choice([1, 1, 2]))
        if kind == "pool":
            padding, dilation = min(padding, size // 2), 1
        out = (rows + 2 * padding - dilation * (size - 1) - 1) // stride + 1
        if out < 3:
            continue
        if kind == "pool":
            op: Operator = nn.MaxPool((size, 1), (stride, 1), padding=(padding, 0))
        else:
            features, groups = (channels, "each") if kind == "depthwise" else (int(random.choice([3, 16, 20])), 1)
            channels = features
            op = nn.Conv(
                features, (size, 3), (stride, 1), padding=(padding, 1), dilation=(dilation, 1), groups=groups,
                activation=str(random.choice(["relu", "tanh"])), boundary=("constant", 0.5) if random.integers(2) else "zero",
            )  # fmt: skip
        values.append((op(source), (channels, out, columns)))
    return nn.Graph(x, {"last": values[-1][0], "early": values[3][0]})


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    net = drawn(random)
    x = random.normal(size=(3, 4, 23, 9)).astype(np.float32)
    plain = net.compile(layout="channels_last", threads=1)
    size, threads = int(random.choice([6_000, 12_000, 24_000])), int(random.integers(1, 4))
    fast = compiled_by_strips(net, monkeypatch, size, threads)
    for batch in (1, 3):
        expected = plain.run({"input": x[:batch]})
        for _ in range(2):
            for name, found in fast.run({"input": x[:batch]}).items():
                np.testing.assert_array_equal(found, expected[name], err_msg=f"{name}, batch {batch}\n{fast}")


@pytest.mark.parametrize("seed", [1, 8, 17, 24])
def test_these_random_networks_do_run_by_strips(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert strips_of(compiled_by_strips(drawn(np.random.default_rng(seed)), monkeypatch, 12_000), 1)


def inverted_residual() -> nn.Graph:
    x = nn.Input((8, 40, 12))
    narrow = nn.Conv(8, 1)(x)
    wide = nn.Conv(48, 1, activation="relu6")(narrow)
    deep = nn.Conv(48, (3, 1), padding=(1, 0), groups="each", activation="relu6")(wide)
    return nn.Graph(x, nn.Conv(8, 1)(nn.Add()(nn.Conv(8, 1)(deep), narrow)))


def test_what_passes_between_stages_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    net = inverted_residual()
    fast = compiled_by_strips(net, monkeypatch, 64_000)
    (strips,) = strips_of(fast, 1)
    assert [member.output for member in strips.members] == ["conv2", "conv3", "conv4"]
    assert strips.outputs == ("conv4",)
    windows, size = strips.windows()
    assert set(windows) == {"conv2", "conv3"}
    assert windows["conv2"].rows == strips.height + 2
    assert size + sum(member.rows.weights for member in strips.members) <= grouping.ROOM * 64_000
    assert fast.arena < 3 * 8 * 40 * 12 * 4 + size + 1024
    assert "by strips" in str(fast)


def test_rows_are_computed_once() -> None:
    strips = strips_in_one(height=7, bands=1)
    for i, member in enumerate(strips.members):
        made = [rows for strip in strips.band(0) for rows in range(*strip.made[i])]
        assert made == list(range(strips.shapes[member.output][1]))


def strips_in_one(height: int, bands: int) -> Strips:
    """The stages of an inverted residual, all by strips."""
    program = inverted_residual().compile(layout="channels_last", threads=1).program(1)
    stages = [task.stages[0] for task in program.tasks]
    rows = [task.steps[0].rows for task in program.tasks]
    shapes = {name: (n, *spatial, c) for name, (n, c, *spatial) in program.shapes.items()}
    large, plain = dataclasses.replace(machine.probe(), l2=1 << 30), [(s.inputs, s.outputs) for s in stages]
    found = grouping.Grouping(plain, rows, shapes, {stages[-1].outputs[0]}, [0.0] * len(stages), large, 1, 4)
    whole = found._strips(0, len(stages))
    assert whole is not None
    return dataclasses.replace(whole, height=height, bands=bands)


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_bands_together_make_every_row_that_is_kept(bands: int) -> None:
    strips = dataclasses.replace(strips_in_one(height=3, bands=bands), kept=frozenset({"conv2", "conv5"}))
    edges = strips.edges()
    assert edges[0] == 0
    assert edges[-1] == 40
    assert len(edges) == bands + 1
    for i, member in enumerate(strips.members):
        if member.output in strips.kept:
            made = {rows for band in range(bands) for strip in strips.band(band) for rows in range(*strip.made[i])}
            assert made == set(range(40))


def test_large_weights_are_not_read_for_every_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    x = nn.Input((4, 30, 10))
    net = nn.Graph(x, nn.Conv(64, 1)(nn.Conv(64, 1)(nn.Conv(64, 1)(x))))
    assert not strips_of(compiled_by_strips(net, monkeypatch, 40_000), 1)
    assert strips_of(compiled_by_strips(net, monkeypatch, 100_000), 1)


# The kernels between ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "sigmoid"])
@pytest.mark.parametrize("count", [1, 15, 16, 100, elementwise.PIECE + 3])
def test_sums_beside_protected_memory(count: int, activation: str | None, dtype: str) -> None:
    random = np.random.default_rng(count)
    a, b = (beside(random.normal(0, 5, count).astype(dtype), at_end) for at_end in (True, False))
    a[0] = np.nan
    for at_end in (True, False):
        y = guarded((count,), dtype, at_end)
        elementwise.ready(("add", 0, 1) if activation is None else (activation, ("add", 0, 1)), [a, b], y, 1)()
        total: Array = a + b
        after: dict[str | None, Any] = {
            None: total, "relu": np.maximum(total, 0), "relu6": np.clip(total, 0, 6), "sigmoid": 1 / (1 + np.exp(-total))
        }  # fmt: skip
        np.testing.assert_allclose(y, after[activation], rtol=1e-6, atol=0 if activation != "sigmoid" else 1e-7)
        elementwise.ready(0, [a], y, 1)()
        np.testing.assert_array_equal(y, a)


@pytest.mark.parametrize("distance", [1, 7, 16, 50, 5000])
def test_rows_moved_over_one_another(distance: int) -> None:
    memory = np.arange(20_000, dtype=np.float32)
    expected = memory[distance:].copy()
    elementwise.ready(0, [memory[distance:]], memory[:-distance], 1)()
    np.testing.assert_array_equal(memory[:-distance], expected)


def sums(count: int) -> tuple[list[run.Ready], Array]:
    """Calls of which each doubles what the one before made."""
    values = np.ones((count + 1, 50), np.float32)
    return [elementwise.ready(("add", 0, 0), [values[i]], values[i + 1], None) for i in range(count)], values


def test_joined_calls_run_in_order() -> None:
    calls, values = sums(20)
    (call,) = sequence.joined(calls, 1)
    for _ in range(2):
        values[1:] = 0
        call()
        np.testing.assert_array_equal(values[:, 0], 2.0 ** np.arange(21))


def test_what_is_not_one_call_stays_apart() -> None:
    calls, values = sums(6)
    seen: list[float] = []
    large = np.ones(1 << 22, np.float32)
    slow = elementwise.ready(0, [large], np.empty_like(large), None)
    between: list[Any] = [*calls[:3], lambda: seen.append(float(values[3, 0])), *calls[3:], slow]
    found = sequence.joined(between, 1)
    assert [type(call).__name__ for call in found] == ["Joined", "function", "Joined"]
    assert [type(call).__name__ for call in sequence.joined(between, 2)] == ["Joined", "function", "Joined", "Ready"]
    for call in found:
        call()
    assert seen == [8.0]
    assert values[6, 0] == 64


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_lanes(threads: int) -> None:
    made = [sums(5) for _ in range(4)]
    for call in sequence.joined([sequence.Lanes([calls for calls, _ in made])], threads):
        call()
    assert all(values[5, 0] == 32 for _, values in made)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_long_lanes_are_heard_between(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [sums(count) for count in (1, 12, 7)]
    whole = sequence.joined([sequence.Lanes([calls for calls, _ in made])], threads)
    assert len(whole) == 1
    monkeypatch.setattr(sequence, "SLICE_CYCLES", 3.5 * made[0][0][0].cycles)
    stages = sequence.joined([sequence.Lanes([calls for calls, _ in made])], threads)
    assert len(stages) == (4 if threads > 1 else 7)  # three calls of each list, or of all, at a time
    for call in stages:
        call()
    assert [values[-1, 0] for _, values in made] == [2.0, 2.0**12, 2.0**7]


def test_pieces_are_no_longer_than_the_limit_unless_they_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, _ = sums(9)
    for call, cycles in zip(calls, (1, 1, 1, 7, 2, 2, 9, 1, 3), strict=True):
        call.cycles = cycles
    monkeypatch.setattr(sequence, "SLICE_CYCLES", 4.0)
    assert [[call.cycles for call in piece] for piece in sequence.pieces(calls)] == [[1, 1, 1], [7], [2, 2], [9], [1, 3]]
    assert list(sequence.pieces([])) == []
