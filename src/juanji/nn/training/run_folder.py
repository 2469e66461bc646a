"""The folder of a run: its settings, its numbers, its checkpoints.

    config.json             the settings, which a resumed run must have too
    metrics.jsonl           a line for every iteration and one for every epoch
    checkpoints/N.safetensors   everything that the iterations after N depend on; the last two are kept
    net.safetensors         the network after the last whole epoch, and in the end the one that `train` leaves
    curves.png              losses and metrics over time

Checkpoints appear whole or not at all. The lines of metrics.jsonl are on the disk before the checkpoint that counts them, and whatever
follows them there, a torn line too, is cut off when the run is taken up again; so the file ends up as if nothing had happened.

A folder has one writer: whoever holds the lock of metrics.jsonl, which the system takes back from a process that ends, however it ends.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from juanji.atomic import atomic_write, remove_parts
from juanji.errors import ArgumentError, FileError
from juanji.nn.formats import safetensors_files
from juanji.nn.training.history import History

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

Array = npt.NDArray[Any]
RECORD, VERSION = "juanji.training", 1
KEPT = 2
GROUPS = ("network", "memory", "best")


@dataclass
class Checkpoint:
    """The state of a training between two iterations.

    iteration: how many are done. network: parameters and buffers. memory: of the optimiser. best: the network at its best epoch, and its
    validation loss then. stopped: why it ended, where that does not depend on how long it was to go on.
    """

    iteration: int
    network: dict[str, Array]
    memory: dict[str, Array]
    best: dict[str, Array] = field(default_factory=dict)
    best_loss: float = math.inf
    best_epoch: int = 0
    stopped: str = ""


class RunFolder:
    """A run folder that is being written."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self._length = 0  # of metrics.jsonl
        self._lines: int | None = None  # its file descriptor

    # Begin and resume --------------------------------------------------------------------------------------------------------

    def begin(self, config: Mapping[str, Any], *, resume: bool, free: tuple[str, ...] = ()) -> tuple[Checkpoint | None, History]:
        """Make the folder, or with resume=True take it up: the last checkpoint, and the numbers until then.

        free: settings that may differ. Raises ArgumentError if the folder holds a run that is not to be resumed, one with another setting,
        or one that is still going on; FileError for a folder that cannot be written or is damaged.
        """
        known = self.path / "config.json"
        if known.exists():
            if not resume:
                raise ArgumentError(f"run_dir (={os.fspath(self.path)!r}) holds a run: resume it, or name another folder")
            _refuse_other(_read_json(known), config, free)
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{self.path}: could not be made a folder ({error.strerror})") from None
        self._open_lines()
        for file in (known, self.path / "net.safetensors", self.path / "curves.png", self.checkpoints / "*"):
            remove_parts(file)
        _write_json(known, config)
        checkpoint, length, lines = self._last()
        self._cut_lines(length)
        return checkpoint, History.of_lines(lines)

    def _last(self) -> tuple[Checkpoint | None, int, list[dict[str, Any]]]:
        """The newest checkpoint that is whole, the length that metrics.jsonl had then, and its lines."""
        problems: dict[Path, FileError] = {}
        for path in reversed(self._numbered()):
            try:
                checkpoint, length = _read_checkpoint(path)
                lines = list(self._read_lines(length))
            except FileError as error:
                problems[path] = error
                continue
            for damaged in problems:
                damaged.unlink()
            return checkpoint, length, lines
        if problems:
            raise next(iter(problems.values()))
        return None, 0, []

    def _numbered(self) -> list[Path]:
        return sorted(self.checkpoints.glob("[0-9]*.safetensors"), key=lambda path: int(path.stem))

    def _read_lines(self, length: int) -> Iterator[dict[str, Any]]:
        path = self.path / "metrics.jsonl"
        try:
            text = path.read_bytes()[:length]
        except OSError as error:
            raise FileError(f"{path}: could not be read ({error.strerror})") from None
        if len(text) < length:
            raise FileError(f"{path}: has {len(text)} bytes, but had {length} when the checkpoint was written")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise FileError(f"{path}: line {number} is damaged") from None

    # Numbers -----------------------------------------------------------------------------------------------------------------

    def _open_lines(self) -> None:
        """Open metrics.jsonl, which makes the folder this object's own."""
        path = self.path / "metrics.jsonl"
        try:
            self._lines = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise FileError(f"{path}: could not be written ({error.strerror})") from None
        if fcntl is not None:
            try:
                fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArgumentError(f"run_dir (={os.fspath(self.path)!r}) holds a run that is going on: name another folder") from None
            except OSError:  # a file system without locks
                pass

    def _cut_lines(self, length: int) -> None:
        """Forget the lines that no checkpoint counts."""
        assert self._lines is not None
        path = self.path / "metrics.jsonl"
        if os.path.isfile(path):
            try:
                os.ftruncate(self._lines, length)
            except OSError as error:
                raise FileError(f"{path}: could not be written ({error.strerror})") from None
        self._length = length

    def line(self, numbers: Mapping[str, Any]) -> None:
        """Append a line of numbers; it is in the hands of the system when this returns."""
        assert self._lines is not None
        text = (json.dumps(numbers, allow_nan=False) + "\n").encode()
        try:
            written = os.write(self._lines, text)
            problem = "" if written == len(text) else "the disk is full"
        except OSError as error:
            problem = str(error.strerror)
        if problem:
            raise FileError(f"{self.path / 'metrics.jsonl'}: could not be written ({problem})")
        self._length += len(text)

    def close(self) -> None:
        """Let go of the files."""
        if self._lines is not None:
            os.close(self._lines)
            self._lines = None

    # Checkpoints -------------------------------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove those before the last two. Raises FileError, and then the others are still there."""
        assert self._lines is not None
        try:
            os.fsync(self._lines)
        except OSError as error:
            raise FileError(f"{self.path / 'metrics.jsonl'}: could not be written ({error.strerror})") from None
        arrays = {f"{group}/{name}": array for group in GROUPS for name, array in getattr(checkpoint, group).items()}
        numbers = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint) if f.name not in GROUPS}
        record = {"version": VERSION, "metrics_bytes": self._length, **numbers}
        path = self.checkpoints / f"{checkpoint.iteration:09}.safetensors"
        safetensors_files.write(path, arrays, {RECORD: json.dumps(record)})
        for old in self._numbered()[:-KEPT]:
            old.unlink()


def _read_checkpoint(path: Path) -> tuple[Checkpoint, int]:
    """A checkpoint, and how long metrics.jsonl was."""
    arrays, metadata = safetensors_files.read(path)
    try:
        record = json.loads(str(metadata[RECORD]))
        version, length = record.pop("version"), record.pop("metrics_bytes")
        if version != VERSION:
            raise FileError(f"{path}: was written by another version of this library")
        groups: dict[str, dict[str, Array]] = {group: {} for group in GROUPS}
        for key, array in arrays.items():
            group, _, name = key.partition("/")
            groups[group][name] = array.copy()
        return Checkpoint(**record, **cast(dict[str, Any], groups)), length
    except (KeyError, TypeError, ValueError):
        raise FileError(f"{path}: is no checkpoint of a training") from None


# Settings ------------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A setting as what JSON can hold: a dataclass by its kind and fields, a function by its name."""
    if isinstance(value, type) or (callable(value) and not is_dataclass(value)):
        return f"{value.__module__}.{value.__qualname__}"
    if is_dataclass(value):
        return {"kind": type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _refuse_other(then: Mapping[str, Any], now: Mapping[str, Any], free: tuple[str, ...]) -> None:
    for name in {**then, **now}:
        if name not in free and (found := _difference(name, then.get(name), now.get(name))):
            where, before, after = found
            raise ArgumentError(f"{where} (={_short(after)}) must be as in the run that is resumed, {_short(before)}")


def _difference(where: str, then: Any, now: Any) -> tuple[str, Any, Any] | None:
    """The first setting inside that differs, and its two values."""
    if then == now:
        return None
    if isinstance(then, dict) and isinstance(now, dict) and then.keys() == now.keys():
        inside: Iterator[tuple[str, Any, Any]] = ((f"{where}.{name}", then[name], now[name]) for name in then)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        inside = ((f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(then, now, strict=True)))
    else:
        return where, then, now
    return next(found for name, a, b in inside if (found := _difference(name, a, b)))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A file of JSON that people can read; it appears whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise FileError(f"{path}: is no JSON object of settings")
    return found
