"""A network compiled for inputs of one shape: stages fused, plans made, weights packed, values in memory that is used again and again.

One layout serves the whole graph, the one in which its convolutions are expected to take less time. Memory for values is one block:
each value gets a place in it for as long as it is wanted, largest first, at the lowest address that is free all that time. What works
in place takes over the memory of what it reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.jit.memory import LINE, empty_aligned
from juanji.nn.inference.fusing import Stage
from juanji.nn.inference.steps import Step, canonical, laid, lies, step
from juanji.nn.operator import Array, Shape
from juanji.spec import LAYOUTS

BLOCKS = 4  # that are kept, for as many calls at the same time


class Block(NamedTuple):
    """Memory for the values of one call, views of them by name, and every step as a call on these."""

    values: Mapping[str, Array]
    actions: tuple[Callable[[], Any], ...]


@dataclass(frozen=True)
class Program:
    """The steps for a batch of one size, and where each value lies. begins: bytes from the start of a block; free: blocks not in use."""

    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    shapes: Mapping[str, Shape]
    layout: str
    begins: Mapping[str, int]
    size: int
    dtype: np.dtype[Any]
    free: list[Block] = field(default_factory=list)

    def block(self) -> Block:
        """A new block."""
        memory = empty_aligned((self.size,), np.uint8)
        values = {
            name: np.ndarray(lies(self.shapes[name], self.layout), self.dtype, memory, begin) for name, begin in self.begins.items()
        }
        actions = (
            each.ready([values[name] for name in stage.inputs], values[stage.outputs[0]])
            for stage, each in zip(self.stages, self.steps, strict=True)
            if not each.view
        )
        return Block(values, tuple(actions))

    @property
    def seconds(self) -> float:
        """What the plans expect together, on one core."""
        return sum(s.seconds for s in self.steps)


class Compiled:
    """A fused, planned network: called like the network that it was made of, on inputs of its shape and any batch.

    prepare: from what a caller gives to floats with a batch, by name. It holds weights of its own: later changes of the network's are not
    seen. Safe to call from many threads at once.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        outputs: Mapping[str, str],
        shapes: Callable[[int], Mapping[str, Shape]],
        prepare: Callable[[Any], tuple[dict[str, Array], bool]],
        dtype: np.dtype[Any],
        *,
        layout: str | None = None,
        threads: int | None = None,
    ):
        self.stages, self.outputs, self.dtype = tuple(stages), dict(outputs), dtype
        self._shapes, self._prepare, self._threads = shapes, prepare, threads
        self._programs: dict[int, Program] = {}
        self._lock = threading.Lock()
        if layout is None:  # what is made to compare the layouts is kept of the better one
            layout, self._programs[1] = min(((each, self._made(1, each)) for each in LAYOUTS), key=lambda made: made[1].seconds)
        self.layout = layout

    def program(self, batch: int) -> Program:
        """The program for a batch of this size."""
        with self._lock:
            if batch not in self._programs:
                self._programs[batch] = self._made(batch, self.layout)
            return self._programs[batch]

    def _made(self, batch: int, layout: str) -> Program:
        return _program(self.stages, self._shapes(batch), layout, self.outputs, self.dtype, self._threads)

    def __call__(self, *inputs: npt.ArrayLike) -> Any:
        """The output for inputs (N, C, *S), or (C, *S); several outputs as a tuple."""
        found = tuple(self._run(inputs).values())
        return found[0] if len(found) == 1 else found

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """All outputs by name, for inputs by name."""
        return self._run(inputs)

    def _run(self, inputs: Any) -> dict[str, Array]:
        values, single = self._prepare(inputs)
        program = self.program(next(iter(values.values())).shape[0])
        with self._lock:
            block = program.free.pop() if program.free else None
        block = block or program.block()
        try:
            for name, x in values.items():
                if name in block.values:
                    np.copyto(block.values[name], laid(x, program.layout))
            for action in block.actions:
                action()
            made = {name: canonical(block.values[value], program.layout).copy(order="C") for name, value in self.outputs.items()}
        finally:
            with self._lock:
                if len(program.free) < BLOCKS:
                    program.free.append(block)
        return {name: y[0] for name, y in made.items()} if single else made

    @property
    def memory(self) -> int:
        """Bytes of the values of one sample, each counted once though they share memory."""
        program = self.program(1)
        return sum(prod(program.shapes[name]) for name in program.begins) * self.dtype.itemsize

    @property
    def arena(self) -> int:
        """Bytes of the block that they share."""
        return self.program(1).size

    def __str__(self) -> str:
        program = self.program(1)
        width = max((len(stage.outputs[0]) for stage in self.stages), default=0)
        lines = [f"{self.layout}, {self.arena:,} bytes of memory for values of {self.memory:,}"]
        for stage, each in zip(program.stages, program.steps, strict=True):
            expected = f"  {each.seconds * 1e3:.3f} ms" if each.seconds else ""
            lines.append(f"{stage.outputs[0]:<{width}}  {stage.op}{expected}")
        return "\n".join(lines)


def _program(
    stages: Iterable[Stage], shapes: Mapping[str, Shape], layout: str, outputs: Mapping[str, str], dtype: np.dtype[Any], threads: int | None
) -> Program:
    stages = tuple(stages)
    steps = tuple(
        step(stage, [shapes[name] for name in stage.inputs], shapes[stage.outputs[0]], layout, dtype, threads) for stage in stages
    )
    begins, size = _places(stages, steps, shapes, set(outputs.values()), dtype.itemsize)
    return Program(stages, steps, shapes, layout, begins, size, dtype)


@dataclass
class _Room:
    """Memory for a value and those that take it over: its bytes, and the first and the last step that it is wanted in."""

    size: int
    first: int
    last: int
    begin: int = 0


def _places(
    stages: Sequence[Stage], steps: Sequence[Step], shapes: Mapping[str, Shape], kept: set[str], itemsize: int
) -> tuple[dict[str, int], int]:
    """Where each value begins, and how long the block is."""
    end = len(stages)
    last = {name: i for i, stage in enumerate(stages) for name in stage.inputs} | dict.fromkeys(kept, end)
    made = {name for stage in stages for name in stage.outputs}
    rooms: dict[str, _Room] = {}
    for name in last.keys() - made:  # inputs of the network
        rooms[name] = _Room(_bytes(shapes[name], itemsize), -1, last[name])
    for i, (stage, each) in enumerate(zip(stages, steps, strict=True)):
        for name in stage.outputs:
            size = _bytes(shapes[name], itemsize)
            before = rooms.get(stage.inputs[0]) if each.in_place and stage.inputs else None
            if before is not None and before.size == size and before.last == i and stage.inputs.count(stage.inputs[0]) == 1:
                before.last = last.get(name, i)
                rooms[name] = before
            else:
                rooms[name] = _Room(size, i, last.get(name, i))
    placed: list[_Room] = []
    for room in sorted({id(room): room for room in rooms.values()}.values(), key=lambda r: (-r.size, r.first)):
        beside = sorted((r for r in placed if r.first <= room.last and room.first <= r.last), key=lambda r: r.begin)
        for other in beside:
            if room.begin + room.size <= other.begin:
                break
            room.begin = max(room.begin, other.begin + other.size)
        placed.append(room)
    return {name: room.begin for name, room in rooms.items()}, max((r.begin + r.size for r in placed), default=0)


def _bytes(shape: Shape, itemsize: int) -> int:
    return -(-prod(shape) * itemsize // LINE) * LINE
