"""A network compiled for inputs of one shape: stages fused, plans made, weights packed, values in memory that is used again and again.

One layout serves the whole graph, the one in which its convolutions are expected to take less time. Stages between which large values
pass run together by strips of rows (`strips.py`), and what stays on one thread is one call of machine code (`sequence.py`). Memory for
values is one block: each value gets a place in it for as long as it is wanted, largest first, at the lowest address that is free all
that time. What works in place takes over the memory of what it reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.jit.memory import LINE, address, empty_aligned
from juanji.nn.inference.grouping import Grouping
from juanji.nn.inference.stages import Stage
from juanji.nn.inference.steps import Step, canonical, laid, lies, step
from juanji.nn.inference.strips import Strips
from juanji.nn.operator import Array, Shape
from juanji.run import thread_count
from juanji.sequence import Lanes, joined
from juanji.spec import LAYOUTS

BLOCKS = 4  # that are kept, for as many calls at the same time


class Task(NamedTuple):
    """A stage with its step, or several neighbours that run by strips of rows."""

    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    strips: Strips | None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The values that it reads."""
        return self.stages[0].inputs if self.strips is None else self.strips.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values that it makes for others."""
        return self.stages[0].outputs if self.strips is None else self.strips.outputs

    @property
    def in_place(self) -> bool:
        """Whether its output may be its first input's memory."""
        return self.strips is None and self.steps[0].in_place

    @property
    def room(self) -> int:
        """Bytes of memory that it needs while it runs."""
        return 0 if self.strips is None else self.strips.room

    def calls(self, values: Mapping[str, Array], room: Array) -> list[Callable[[], Any] | Lanes]:
        """What is to be called, on values that stay where they are."""
        if self.strips is not None:
            return [self.strips.ready(values, room)]
        (stage,), (each,) = self.stages, self.steps
        inputs, y = [values[name] for name in stage.inputs], values[stage.outputs[0]]
        if each.view and address(inputs[0]) == address(y):  # in memory of its own where another reads the input later
            return []
        return [each.ready(inputs, y)]


class Block:
    """Memory for the values of one call, views of them by name, and every task as calls on these."""

    def __init__(self, values: Mapping[str, Array], calls: Sequence[Callable[[], Any] | Lanes]):
        self.values, self.calls = values, calls
        self._joined: dict[int, list[Callable[[], Any]]] = {}

    def actions(self, threads: int) -> list[Callable[[], Any]]:
        """The calls for a number of threads."""
        if threads not in self._joined:
            self._joined[threads] = joined(self.calls, threads)
        return self._joined[threads]


@dataclass(frozen=True)
class Program:
    """The tasks for a batch of one size, and where each value lies.

    begins: bytes from the start of a block, by value; rooms: likewise the memory that tasks need while they run. free: blocks not in use.
    """

    tasks: tuple[Task, ...]
    shapes: Mapping[str, Shape]
    layout: str
    begins: Mapping[str, int]
    rooms: Sequence[int]
    size: int
    dtype: np.dtype[Any]
    free: list[Block] = field(default_factory=list)

    def block(self) -> Block:
        """A new block."""
        memory = empty_aligned((self.size,), np.uint8)
        values = {name: np.ndarray(lies(self.shapes[name], self.layout), self.dtype, memory, begin) for name, begin in self.begins.items()}
        calls = [
            call
            for task, begin in zip(self.tasks, self.rooms, strict=True)
            for call in task.calls(values, memory[begin : begin + task.room])
        ]
        return Block(values, calls)

    @property
    def seconds(self) -> float:
        """What the plans expect together, on one core."""
        return sum(each.seconds for task in self.tasks for each in task.steps)


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
        self.stages = tuple(replace(stage, arrays={name: np.array(array) for name, array in stage.arrays.items()}) for stage in stages)
        self.outputs, self.dtype = dict(outputs), dtype
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
            for action in block.actions(thread_count(self._threads)):
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
        for task in program.tasks:
            if task.strips is not None:
                lines.append(f"by strips of {task.strips.height} rows:")
            for stage, each in zip(task.stages, task.steps, strict=True):
                expected = f"  {each.seconds * 1e3:.3f} ms" if each.seconds else ""
                lines.append(f"{'  ' if task.strips else ''}{stage.outputs[0]:<{width}}  {stage.op}{expected}")
        return "\n".join(lines)


def _program(
    stages: Sequence[Stage], shapes: Mapping[str, Shape], layout: str, outputs: Mapping[str, str], dtype: np.dtype[Any], threads: int | None
) -> Program:
    steps = [step(stage, [shapes[name] for name in stage.inputs], shapes[stage.outputs[0]], layout, dtype, threads) for stage in stages]
    kept = set(outputs.values())
    grouping = Grouping(
        [(stage.inputs, stage.outputs) for stage in stages],
        [each.rows for each in steps],
        {name: lies(shape, layout) for name, shape in shapes.items()},
        kept,
        [each.seconds for each in steps],
        machines.probe(),
        thread_count(threads),
        dtype.itemsize,
    )
    tasks = tuple(Task(tuple(stages[i:j]), tuple(steps[i:j]), strips) for i, j, strips in grouping.groups())
    begins, rooms, size = _places(tasks, shapes, kept, dtype.itemsize)
    return Program(tasks, shapes, layout, begins, rooms, size, dtype)


@dataclass
class _Room:
    """Memory for a value and those that take it over: its bytes, and the first and the last step that it is wanted in."""

    size: int
    first: int
    last: int
    begin: int = 0


def _places(tasks: Sequence[Task], shapes: Mapping[str, Shape], kept: set[str], itemsize: int) -> tuple[dict[str, int], list[int], int]:
    """Where each value begins and where each task's room, and how long the block is."""
    end = len(tasks)
    last = {name: i for i, task in enumerate(tasks) for name in task.inputs} | dict.fromkeys(kept, end)
    made = {name for task in tasks for name in task.outputs}
    rooms: dict[str, _Room] = {}
    for name in last.keys() - made:  # inputs of the network
        rooms[name] = _Room(_bytes(shapes[name], itemsize), -1, last[name])
    for i, task in enumerate(tasks):
        for name in task.outputs:
            size = _bytes(shapes[name], itemsize)
            before = rooms.get(task.inputs[0]) if task.in_place and task.inputs else None
            if before is not None and before.size == size and before.last == i and task.inputs.count(task.inputs[0]) == 1:
                before.last = last.get(name, i)
                rooms[name] = before
            else:
                rooms[name] = _Room(size, i, last.get(name, i))
    working = [_Room(-(-task.room // LINE) * LINE, i, i) for i, task in enumerate(tasks)]
    placed: list[_Room] = []
    for room in sorted({id(room): room for room in (*rooms.values(), *working)}.values(), key=lambda r: (-r.size, r.first)):
        beside = sorted((r for r in placed if r.first <= room.last and room.first <= r.last), key=lambda r: r.begin)
        for other in beside:
            if room.begin + room.size <= other.begin:
                break
            room.begin = max(room.begin, other.begin + other.size)
        placed.append(room)
    begins = {name: room.begin for name, room in rooms.items()}
    return begins, [room.begin for room in working], max((r.begin + r.size for r in placed), default=0)


def _bytes(shape: Shape, itemsize: int) -> int:
    return -(-prod(shape) * itemsize // LINE) * LINE
